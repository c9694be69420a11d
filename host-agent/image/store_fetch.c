/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skopeo's part of a pull. It writes its "dir" format, which keeps the manifest
 * byte for byte, and so the digest; and takes a layer that is in the folder for
 * one that it has. But it empties the folder first. So what the cache has is
 * linked into it behind that, at a place where skopeo waits for us: it makes
 * its folder, then reads the credentials, then asks the registry; and the file
 * of credentials is a fifo, the gate, which we fill when all is in its place.
 * A skopeo that does it in another order fetches everything.
 */
#include "host-agent/image/store_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

#define ERRORS_MAX 65536
#define TICK_MS	   250
/* While skopeo waits for us. */
#define GATE_TICK_MS 10
/* In a row without a new layer, and the pause before the first. */
#define RETRIES	 2
#define PAUSE_MS 1000

struct attempt {
	struct pull *u;
	int dir_fd, out_fd, gate_fd;
	bool is_open; /* the gate */
	bool passing; /* what failed may work in a while */
	uint64_t bytes;
};

static void attempt_done(struct attempt *a)
{
	cleanup_close(&a->dir_fd);
	cleanup_close(&a->out_fd);
	cleanup_close(&a->gate_fd);
}

/* ---------------------------------------------------------------- errors */

/* skopeo itself tries again less often: not when a layer ends too early. */
static bool is_passing(const char *why)
{
	static const char *const texts[] = {
		"EOF",
		"connection re", /* reset, refused */
		"connection aborted",
		"broken pipe",
		"imeout", /* TLS handshake, i/o, net/http */
		"timed out",
		"stream error",
		"no route to host",
		"is unreachable",
		"Temporary failure",
		"server misbehaving",
		"oo many requests",
		"toomanyrequests",
		"HTTP status: 5",
		"from registry 5",
		"fetching blob 5",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		if (strstr(why, texts[i]))
			return true;
	}
	return false;
}

static int judge_reason(const struct pull *u, const char *why, struct err *e)
{
	if (strstr(why, "no space left on device"))
		return err_set(e, ENOSPC, "no space is left in '%s'",
			       u->s->dir);
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
	if (strstr(why, "sigstore disabled"))
		err_hint(e, "policy.json asks for sigstoreSigned, and this "
			    "host's skopeo is built without it");
	if (strstr(why, "HTTP response to HTTPS") || strstr(why, "x509:"))
		err_hint(e, "where you trust the network to that registry: "
			    "`hyb image pull --tls-verify=false`, or insecure "
			    "= true for it in registries.conf");
	return -EIO;
}

static int judge(struct attempt *a, int status, const char *errors,
		 struct err *e)
{
	char why[700];

	if (status == 0)
		return 0;
	if (status > 128)
		return err_set(e, EIO, "skopeo was killed by signal %d",
			       status - 128);
	skopeo_reason(errors, why, sizeof(why));
	a->passing = is_passing(why);
	return judge_reason(a->u, why, e);
}

/* ---------------------------------------------------------------- the gate */

static int make_gate(struct attempt *a, struct err *e)
{
	struct pull *u = a->u;
	struct err ignored = ERR_INIT;

	path_remove(u->out, &ignored);
	a->dir_fd =
		open(u->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (a->dir_fd < 0)
		return err_sys(e, errno, "open '%s'", u->dir);
	unlinkat(a->dir_fd, "gate", 0);
	if (mkfifoat(a->dir_fd, "gate", 0600) < 0 ||
	    (geteuid() == 0 && fchownat(a->dir_fd, "gate", u->s->c.uid,
					u->s->c.gid, AT_SYMLINK_NOFOLLOW) < 0))
		return err_sys(e, errno, "make a fifo in '%s'", u->dir);
	return 0;
}

/* Whoever opens the name again reads a file. */
static int open_gate(struct attempt *a, struct err *e)
{
	const char *text = a->u->auth_text;
	const size_t len = strlen(text);
	ssize_t n;

	if (unlinkat(a->dir_fd, "gate", 0) < 0 ||
	    symlinkat("auth.json", a->dir_fd, "gate") < 0)
		return err_sys(e, errno, "give skopeo the credentials");
	if (len > 65536)
		(void)fcntl(a->gate_fd, F_SETPIPE_SZ, (int)len);
	n = write(a->gate_fd, text, len);
	if (n != (ssize_t)len)
		return err_sys(e, n < 0 ? errno : EMSGSIZE,
			       "give skopeo the credentials");
	cleanup_close(&a->gate_fd);
	a->is_open = true;
	return 0;
}

/* Is skopeo there? Its user may have put something else there. */
static int find_gate(struct attempt *a, struct err *e)
{
	struct stat st;

	a->gate_fd = openat(a->dir_fd, "gate",
			    O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (a->gate_fd < 0)
		return errno == ENXIO ? 0 : err_sys(e, errno, "run skopeo");
	if (fstat(a->gate_fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return 0;
	return err_set(e, EIO, "skopeo took its fifo away");
}

/* Goes on where it can: 0, however far it came. */
static int try_gate(struct attempt *a, struct err *e)
{
	struct pull *u = a->u;
	int r = a->gate_fd < 0 ? find_gate(a, e) : 0;

	if (r < 0 || a->gate_fd < 0 || !pull_plan_ended(&u->plan))
		return r;
	if (u->plan.known && !u->layers)
		r = layers_begin(u->s, &u->plan.manifest, u->ref.name,
				 &u->layers, e);
	if (r < 0)
		return r;
	if (a->out_fd < 0)
		a->out_fd =
			openat(a->dir_fd, "image",
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (u->layers && a->out_fd >= 0 &&
	    layers_take(u->s, u->layers, a->out_fd) == -EAGAIN)
		return 0;
	return open_gate(a, e);
}

/* --------------------------------------------------------------- progress */

/* But not those of the cache. */
static uint64_t bytes_in(const char *path, const struct layers *l)
{
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *de;
	uint64_t sum = 0;

	while (d && (de = readdir(d))) {
		struct stat st;

		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode) && !(l && layers_linked(l, de->d_name)))
			sum += (uint64_t)st.st_size;
	}
	return sum;
}

static int tell(const struct pull *u, uint64_t bytes, struct err *e)
{
	const struct layers *l = u->layers;
	const uint64_t total = l ? l->rest + u->plan.manifest.config.size : 0;

	if (u->progress &&
	    u->progress(u->arg, "fetch", total && bytes > total ? total : bytes,
			total) != 0)
		return err_set(e, ECANCELED, "cancelled");
	if (now_ms() > u->deadline_ms)
		return err_set(e, ETIMEDOUT,
			       "the registry did not deliver in time");
	return 0;
}

static int look(struct attempt *a, struct err *e)
{
	const struct pull *u = a->u;
	const uint64_t bytes = bytes_in(u->out, u->layers);

	int r = store_quota_check_temp(u->s, bytes, e);

	if (r < 0)
		return r;
	if (u->layers && a->is_open) {
		if (bytes > a->bytes)
			layers_moved(u->s, u->layers);
		layers_keep(u->s, u->layers, a->out_fd, u->s->c.uid);
	}
	a->bytes = bytes;
	return tell(u, bytes, e);
}

/* Collects what it says until it ends; looks after limits meanwhile. */
static int watch(struct attempt *a, int fd, struct buf *errors, struct err *e)
{
	uint64_t next = 0;
	char chunk[4096];

	for (;;) {
		ssize_t n;
		int r = fd_wait(fd, POLLIN,
				now_ms() +
					(a->is_open ? TICK_MS : GATE_TICK_MS));

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
		r = a->is_open ? 0 : try_gate(a, e);
		if (r == 0 && now_ms() >= next) {
			r = look(a, e);
			next = now_ms() + TICK_MS;
		}
		if (r < 0)
			return r;
	}
}

/* ---------------------------------------------------------------- attempts */

static int run(struct attempt *a, const char *const *words, struct err *e)
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
	r = skopeo_spawn(&a->u->skopeo, words, -1, wr, &pid, &pidfd, e);
	if (r < 0)
		return r;
	cleanup_close(&wr);
	r = watch(a, rd, &errors, e);
	if (r < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	proc_wait(pid, pidfd, 0, &status, &ignored);
	return r < 0 ? r : judge(a, status, buf_str(&errors), e);
}

static int copy(struct attempt *a, struct err *e)
{
	struct pull *u = a->u;
	char from[600], to[4120], gate[4110];
	const char *words[12];
	size_t n = 0;

	/* The image of a registry's mirror settings is skopeo's business; a
	 * tag beside a digest it does not take. The name is the user's, never
	 * a digest in place of a tag: policies ask for it. But of a strict pull
	 * it is the manifest that was looked at, and no other. */
	if (u->p->strict)
		snprintf(from, sizeof(from), "docker://%s@%s", u->ref.name,
			 u->plan.digest);
	else
		snprintf(from, sizeof(from), "docker://%s", u->ref.full);
	snprintf(to, sizeof(to), "dir:%s", u->out);
	snprintf(gate, sizeof(gate), "%s/gate", u->dir);
	words[n++] = "copy";
	words[n++] = "--quiet";
	words[n++] = "--src-authfile";
	words[n++] = gate;
	if (u->p->no_tls_verify)
		words[n++] = "--src-tls-verify=false";
	words[n++] = from;
	words[n++] = to;
	words[n] = NULL;
	return run(a, words, e);
}

static int attempt(struct pull *u, bool *ret_passing, struct err *e)
{
	_cleanup_(attempt_done) struct attempt a = {
		.u = u, .dir_fd = -1, .out_fd = -1, .gate_fd = -1};
	int r = make_gate(&a, e);

	if (r == 0)
		r = copy(&a, e);
	/* Layers that are whole stay, whatever became of the others. */
	if (u->layers && a.is_open && a.out_fd >= 0)
		layers_keep(u->s, u->layers, a.out_fd, u->s->c.uid);
	if (u->layers)
		layers_stop(u->s, u->layers);
	*ret_passing = a.passing;
	return r;
}

static int pause_for(const struct pull *u, uint64_t ms, struct err *e)
{
	const uint64_t until = now_ms() + ms;
	const struct timespec tick = {.tv_nsec = TICK_MS * 1000000};
	int r = 0;

	while (r == 0 && now_ms() < until) {
		nanosleep(&tick, NULL);
		r = tell(u, 0, e);
	}
	return r;
}

static int check_strict(const struct pull *u, struct err *e)
{
	if (!u->plan.known)
		return judge_reason(u,
				    u->plan.why[0]
					    ? u->plan.why
					    : "the registry gives no manifest "
					      "that is understood",
				    e);
	if (u->plan.leads_away)
		return err_set(e, EPERM,
			       "its manifest has parts of the image at other "
			       "addresses (`urls`), from where nothing is "
			       "fetched for a tenant");
	return 0;
}

int store_ask(struct pull *u, struct err *e)
{
	const struct timespec tick = {.tv_nsec = GATE_TICK_MS * 1000000};
	const bool asked = u->p->have || u->p->strict;
	int r = 0;

	while (asked && r == 0 && !pull_plan_ended(&u->plan)) {
		nanosleep(&tick, NULL);
		r = tell(u, 0, e);
	}
	if (r == 0 && u->p->have && u->plan.known &&
	    strcmp(u->plan.digest, u->p->have) == 0)
		r = err_set(e, EALREADY, "the registry has no other");
	return r == 0 && u->p->strict ? check_strict(u, e) : r;
}

static size_t count_kept(const struct pull *u)
{
	return u->layers ? u->layers->n_kept : 0;
}

int store_fetch(struct pull *u, struct err *e)
{
	bool gave_way = false;
	unsigned int tries = 0;

	for (;;) {
		const size_t had = count_kept(u);
		bool passing = false;
		int r = attempt(u, &passing, e);

		if (r == -ENOSPC && !gave_way) {
			gave_way = true;
			if (layers_give_way(u->s) > 0)
				continue;
		}
		if (r == 0 || !passing)
			return r;
		/* Each layer once: so this ends. */
		if (count_kept(u) > had)
			tries = 0;
		else if (tries++ == RETRIES)
			return r;
		r = pause_for(u, (uint64_t)PAUSE_MS << tries >> (tries > 0), e);
		if (r < 0)
			return r;
	}
}
