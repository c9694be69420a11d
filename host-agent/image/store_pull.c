/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registries, by skopeo: it knows their protocols, credentials, mirrors and
 * signature policies. It runs as the store's own user, in a folder that is
 * removed afterwards.
 */
#include "host-agent/image/store_load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/proc.h"
#include "host-agent/image/image_found.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/store_fetch.h"

/* Other platforms' images are of no use: their programs run on no VM here. */
static int read_platform(struct pull *u, struct err *e)
{
	const char *text = u->p->platform, *arch, *variant;
	size_t arch_len, variant_len;

	if (!text)
		return 0;
	arch = strchr(text, '/');
	arch = arch ? arch + 1 : text + strlen(text);
	arch_len = strcspn(arch, "/");
	variant = arch[arch_len] ? arch + arch_len + 1 : "";
	variant_len = strlen(variant);
	if (!arch_len || arch_len >= sizeof(u->arch) ||
	    variant_len >= sizeof(u->variant) ||
	    (arch[arch_len] && !variant_len) ||
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-/")] ||
	    strchr(variant, '/'))
		return err_set(
			e, EINVAL,
			"the platform must be OS/ARCHITECTURE[/VARIANT], "
			"such as linux/%s",
			image_host_architecture());
	snprintf(u->arch, sizeof(u->arch), "%.*s", (int)arch_len, arch);
	snprintf(u->variant, sizeof(u->variant), "%s", variant);
	if (strncmp(text, "linux/", 6) == 0 &&
	    strcmp(u->arch, image_host_architecture()) == 0)
		return 0;
	return err_set(e, EOPNOTSUPP,
		       "programs for '%s' do not run here: VMs are linux/%s",
		       text, image_host_architecture());
}

/* The folder is made under a name that nobody else uses: one process has the
 * store, and counts. */
static int make_dir(struct pull *u, struct err *e)
{
	struct image_store *s = u->s;
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->next_tmp++;
	pthread_mutex_unlock(&s->lock);
	snprintf(u->dir, sizeof(u->dir), "%s/tmp/pull-%llu", s->dir,
		 (unsigned long long)n);
	snprintf(u->out, sizeof(u->out), "%s/image", u->dir);
	snprintf(u->auth, sizeof(u->auth), "%s/auth.json", u->dir);
	if (mkdir(u->dir, 0700) < 0)
		return err_sys(e, errno, "make '%s'", u->dir);
	if (geteuid() == 0 && chown(u->dir, s->c.uid, s->c.gid) < 0)
		return err_sys(e, errno, "make '%s'", u->dir);
	return 0;
}

/* Can skopeo's user get there? Parents may be closed to it. */
static int check_dir(const struct pull *u, struct err *e)
{
	int fd, err;

	if (geteuid() != 0)
		return 0;
	setfsgid(u->s->c.gid);
	setfsuid(u->s->c.uid);
	fd = open(u->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = errno;
	setfsuid(0);
	setfsgid(0);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	err_sys(e, err, "uid %u cannot enter '%s'", (unsigned int)u->s->c.uid,
		u->dir);
	err_hint(e, "let everybody pass the folders above it: chmod o+x");
	return -err;
}

/* Nothing but "auths": other members ("credHelpers", "credsStore") are names of
 * programs, which skopeo runs. */
static int check_auth(const char *text, struct err *e)
{
	_cleanup_json_ json_t *o = json_loads(text, 0, NULL);

	if (json_object_size(o) == 1 &&
	    json_is_object(json_object_get(o, "auths")))
		return 0;
	/* Why is not said: it would show what is in them. */
	return err_set(e, EINVAL,
		       "the credentials are no object of \"auths\" alone");
}

/* The caller's credentials, none where there are none, become a file of
 * skopeo's user. */
static int write_auth(const struct pull *u, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (u->p->auth) {
		r = check_auth(u->p->auth, e);
		if (r < 0)
			return r;
	}
	fd = open(u->auth, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write credentials");
	r = write_full(fd, u->auth_text, strlen(u->auth_text));
	if (r < 0)
		return err_sys(e, -r, "write credentials");
	if (geteuid() == 0 && fchown(fd, u->s->c.uid, u->s->c.gid) < 0)
		return err_sys(e, errno, "write credentials");
	return 0;
}

static int load_fetched(const struct pull *u, struct image_info **ret,
			struct err *e)
{
	_cleanup_free_ struct image_info **list = NULL;
	_cleanup_close_ int fd =
		open(u->out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct load l = {
		.fd = fd,
		.name = u->ref.full,
		/* What skopeo's user wrote is read as that user. */
		.as_caller = true,
		.uid = u->s->c.uid,
		.gid = u->s->c.gid,
		.deadline_ms = u->deadline_ms,
		.progress = u->progress,
		.arg = u->arg,
	};
	int r;

	if (fd < 0)
		return err_sys(e, errno, "open what skopeo wrote");
	r = store_load(u->s, &l, &list, e);
	if (r == 0)
		*ret = list[0];
	return r;
}

/* A layer of the cache that is damaged is out of it then; so the second time it
 * is fetched. */
static int fetch_and_load(struct pull *u, struct image_info **ret,
			  struct err *e)
{
	bool again = true;
	int r;

	u->skopeo = (struct skopeo){
		.program = u->s->skopeo,
		.home = u->dir,
		.uid = u->s->c.uid,
		.gid = u->s->c.gid,
		.arch = u->arch,
		.variant = u->variant,
		.authfile = u->auth,
		.no_tls_verify = u->p->no_tls_verify,
	};
	pull_plan_start(&u->plan, &u->skopeo, u->ref.name, u->ref.full);
	r = store_ask(u, e);
	if (r < 0)
		return r;
	for (;;) {
		r = store_fetch(u, e);
		if (r == 0)
			r = load_fetched(u, ret, e);
		if (r == 0 || r == -ECANCELED || r == -ETIMEDOUT || !again ||
		    !u->layers || layers_check(u->s, u->layers) == 0)
			return r;
		again = false;
	}
}

int store_pull_now(struct image_store *s, const struct image_pull *p,
		   uint64_t deadline_ms, image_progress progress, void *arg,
		   struct image_info **ret, struct err *e)
{
	struct pull u = {.s = s,
			 .p = p,
			 .auth_text = p->auth ? p->auth : "{\"auths\":{}}",
			 .deadline_ms = deadline_ms,
			 .progress = progress,
			 .arg = arg,
			 .plan = {.pidfd = -1, .answer = -1, .errors = -1}};
	struct err ignored = ERR_INIT;
	int r = image_ref_parse(p->reference, &u.ref, e);

	if (r < 0)
		return r;
	r = read_platform(&u, e);
	if (r < 0)
		return err_wrap(e, "pull '%s'", image_ref_familiar(u.ref.full));
	r = make_dir(&u, e);
	if (r == 0)
		r = check_dir(&u, e);
	if (r == 0)
		r = write_auth(&u, e);
	if (r == 0)
		r = fetch_and_load(&u, ret, e);
	pull_plan_done(&u.plan);
	layers_end(s, u.layers);
	path_remove(u.dir, &ignored);
	if (r < 0)
		return err_wrap(e, "pull '%s'", image_ref_familiar(u.ref.full));
	return 0;
}
