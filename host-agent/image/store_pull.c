/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registries, by skopeo: it knows their protocols, credentials, mirrors and
 * signature policies. It runs as the store's own user, in a folder that is
 * removed afterwards, and writes its "dir" format, which keeps the manifest
 * byte for byte, and so the digest.
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
#include "host-agent/image/pull_size.h"

#define ERRORS_MAX 65536
#define TICK_MS	   250

struct pull {
	struct image_store *s;
	const struct image_pull *p;
	struct image_ref ref;
	char dir[4096]; /* private to skopeo */
	char out[4110]; /* what it writes */
	char auth[4110];
	char arch[24], variant[24]; /* that were asked for; "": the host's */
	uint64_t deadline_ms;
	image_progress progress;
	void *arg;
};

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

/* The caller's credentials become a file of skopeo's user. */
static int write_auth(const struct pull *u, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!u->p->auth)
		return 0;
	r = check_auth(u->p->auth, e);
	if (r < 0)
		return r;
	fd = open(u->auth, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "write credentials");
	r = write_full(fd, u->p->auth, strlen(u->p->auth));
	if (r < 0)
		return err_sys(e, -r, "write credentials");
	if (geteuid() == 0 && fchown(fd, u->s->c.uid, u->s->c.gid) < 0)
		return err_sys(e, errno, "write credentials");
	return 0;
}

/* ---------------------------------------------------------------- skopeo */

static int judge(const struct pull *u, int status, const char *errors,
		 struct err *e)
{
	char why[700];

	if (status == 0)
		return 0;
	if (status > 128)
		return err_set(e, EIO, "skopeo was killed by signal %d",
			       status - 128);
	skopeo_reason(errors, why, sizeof(why));
	if (strstr(why, "manifest unknown") || strstr(why, "name unknown") ||
	    strstr(why, "not found"))
		return err_set(e, ENOENT, "%s", why);
	if (strstr(why, " is blocked in "))
		return err_set(e, EACCES, "%s", why);
	if (strstr(why, "unauthorized") || strstr(why, "denied") ||
	    strstr(why, "authentication required")) {
		err_set(e, EACCES, "%s", why);
		err_hint(e, "`skopeo login %.*s`, then pull again",
			 (int)strcspn(u->ref.name, "/"), u->ref.name);
		return -EACCES;
	}
	err_set(e, EIO, "%s", why);
	if (strstr(why, "HTTP response to HTTPS") || strstr(why, "x509:"))
		err_hint(e, "where you trust the network to that registry: "
			    "--tls-verify=false");
	return -EIO;
}

static uint64_t bytes_in(const char *path)
{
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *de;
	uint64_t sum = 0;

	while (d && (de = readdir(d))) {
		struct stat st;

		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	}
	return sum;
}

/* Collects what it says until it ends; looks after limits meanwhile. */
static int watch(const struct pull *u, const struct skopeo *k, int fd,
		 struct buf *errors, struct err *e)
{
	_cleanup_pull_size_ struct pull_size size = {
		.skopeo = k, .name = u->ref.name, .full = u->ref.full};
	char chunk[4096];

	pull_size_init(&size);
	for (;;) {
		uint64_t bytes, total;
		ssize_t n;
		int r = fd_wait(fd, POLLIN, now_ms() + TICK_MS);

		if (r < 0 && r != -ETIMEDOUT)
			return err_sys(e, -r, "skopeo");
		if (r == 0) {
			n = read(fd, chunk, sizeof(chunk));
			if (n < 0 && errno != EINTR)
				return err_sys(e, errno, "skopeo");
			if (n == 0)
				return 0;
			if (n > 0 && errors->len < ERRORS_MAX)
				buf_append(errors, chunk, (size_t)n);
		}
		bytes = bytes_in(u->out);
		if (bytes > u->s->c.max_bytes)
			return err_set(e, EFBIG,
				       "the image is larger than the limit");
		if (now_ms() > u->deadline_ms)
			return err_set(e, ETIMEDOUT,
				       "the registry did not deliver in time");
		if (!u->progress)
			continue;
		total = pull_size_ask(&size);
		if (u->progress(u->arg, "fetch",
				total && bytes > total ? total : bytes,
				total) != 0)
			return err_set(e, ECANCELED, "cancelled");
	}
}

static int run(const struct pull *u, const struct skopeo *k,
	       const char *const *words, struct err *e)
{
	_cleanup_buf_ struct buf errors = BUF_INIT;
	_cleanup_close_ int rd = -1, wr = -1, pidfd = -1;
	struct err ignored = ERR_INIT;
	int pair[2], status = 0, r;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, errno, "run skopeo");
	rd = pair[0];
	wr = pair[1];
	r = skopeo_spawn(k, words, -1, wr, &pid, &pidfd, e);
	if (r < 0)
		return r;
	cleanup_close(&wr);
	r = watch(u, k, rd, &errors, e);
	if (r < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	proc_wait(pid, pidfd, 0, &status, &ignored);
	return r < 0 ? r : judge(u, status, buf_str(&errors), e);
}

static int fetch(const struct pull *u, struct err *e)
{
	char from[600], to[4120];
	const char *words[12];
	struct skopeo k = {
		.program = u->s->skopeo,
		.home = u->dir,
		.uid = u->s->c.uid,
		.gid = u->s->c.gid,
		.arch = u->arch,
		.variant = u->variant,
	};
	size_t n = 0;

	/* The image of a registry's mirror settings is skopeo's business; a
	 * tag beside a digest it does not take. */
	snprintf(from, sizeof(from), "docker://%s", u->ref.full);
	snprintf(to, sizeof(to), "dir:%s", u->out);
	words[n++] = "copy";
	words[n++] = "--quiet";
	words[n++] = "--retry-times=2";
	if (u->p->auth) {
		k.authfile = u->auth;
		words[n++] = "--src-authfile";
		words[n++] = u->auth;
	}
	k.no_tls_verify = u->p->no_tls_verify;
	if (u->p->no_tls_verify)
		words[n++] = "--src-tls-verify=false";
	words[n++] = from;
	words[n++] = to;
	words[n] = NULL;
	return run(u, &k, words, e);
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

int store_pull_now(struct image_store *s, const struct image_pull *p,
		   uint64_t deadline_ms, image_progress progress, void *arg,
		   struct image_info **ret, struct err *e)
{
	struct pull u = {.s = s,
			 .p = p,
			 .deadline_ms = deadline_ms,
			 .progress = progress,
			 .arg = arg};
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
		r = fetch(&u, e);
	if (r == 0)
		r = load_fetched(&u, ret, e);
	path_remove(u.dir, &ignored);
	if (r < 0)
		return err_wrap(e, "pull '%s'", image_ref_familiar(u.ref.full));
	return 0;
}
