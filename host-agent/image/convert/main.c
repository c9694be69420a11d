/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-image: reads what strangers wrote, confined.
 *
 *   hyb-image convert|list|plain [--uid N --gid N]
 *
 * convert  layers to one EROFS file
 * list     what an archive is made of
 * plain    decompresses a file
 *
 * All it works on comes as descriptors (job.h). By the time it reads the first
 * of their bytes it has a user of its own, empty namespaces, no capability, no
 * file system (Landlock), limits, and a filter that kills at any system call
 * but those that computing and writing one file take.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/base/sandbox.h"
#include "host-agent/image/convert/convert.h"
#include "host-agent/image/convert/job.h"
#include "host-agent/image/convert/listing.h"

/* Tables of a million entries, buffers, and 4 zstd windows of 128 MiB. */
#define MEMORY_MAX (2ull << 30)
/* Of all threads; 64 GiB take some ten minutes. */
#define CPU_MAX 1800
/* Threads of all hyb-image processes that run as one user. */
#define THREADS_MAX   256
#define PROGRESS_STEP (8ull << 20)

/* An address sanitizer takes terabytes of address space. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#else
/* Leaks are looked for through /proc, which the sandbox does not have. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

enum verb { VERB_CONVERT, VERB_LIST, VERB_PLAIN };

struct options {
	enum verb verb;
	bool drop_ids;
	uint32_t uid;
	uint32_t gid;
};

static void say(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	if (text) {
		size_t n = strlen(text), done = 0;

		text[n] = '\n';
		while (done <= n) {
			ssize_t r =
				write(STDOUT_FILENO, text + done, n + 1 - done);

			if (r <= 0)
				break; /* nobody listens */
			done += (size_t)r;
		}
		free(text);
	}
	json_decref(o);
}

static void say_error(const struct err *e)
{
	json_t *o = json_pack("{s:s, s:i}", "error", e->msg, "errno", e->code);
	char text[HYB_ERR_MSG_MAX];

	/* A message that was cut may end inside a character. */
	if (!o)
		o = json_pack("{s:s, s:i}", "error",
			      text_escape(e->msg, text, sizeof(text)), "errno",
			      e->code);
	say(o);
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"uid", required_argument, NULL, 'u'},
		{"gid", required_argument, NULL, 'g'},
		{NULL, 0, NULL, 0},
	};
	static const char *const verbs[] = {"convert", "list", "plain"};
	bool uid = false, gid = false;
	size_t i;
	int c;

	memset(o, 0, sizeof(*o));
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'u' && parse_uid(optarg, &o->uid) == 0)
			uid = true;
		else if (c == 'g' && parse_uid(optarg, &o->gid) == 0)
			gid = true;
		else
			return -EINVAL;
	}
	if (uid != gid || optind + 1 != argc)
		return -EINVAL;
	o->drop_ids = uid;
	for (i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[optind], verbs[i]) == 0) {
			o->verb = (enum verb)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_limits(struct err *e)
{
	const struct rlimit cpu = {CPU_MAX, CPU_MAX};
	const struct rlimit as = {MEMORY_MAX, MEMORY_MAX};

	if (setrlimit(RLIMIT_CPU, &cpu) < 0 ||
	    (!SANITIZED && setrlimit(RLIMIT_AS, &as) < 0))
		return err_sys(e, errno, "set a resource limit");
	return 0;
}

/* Namespaces, user, limits, Landlock. The filter comes once threads run. */
static int confine(const struct options *o, uint64_t max_file, struct err *e)
{
	const struct sandbox_spec spec = {
		.drop_ids = o->drop_ids,
		.uid = o->uid,
		.gid = o->gid,
		.max_fds = 16,
		.max_file = max_file,
		.max_tasks = THREADS_MAX,
	};
	bool confined;
	int r;

	/* What would otherwise be loaded from files at its first use. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG |
				    OPENSSL_INIT_ADD_ALL_DIGESTS,
			    NULL);
	EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
	json_object_seed(0);
	/* With more than one arena the C library counts processors in /sys and
	 * reads /proc/sys/vm/overcommit_memory when it gives memory back. */
	mallopt(M_ARENA_MAX, 1);
	r = sandbox_enter(&spec, &confined, e);
	if (r == 0)
		r = set_limits(e);
	if (r == 0) {
		r = sandbox_landlock(e);
		r = r == -EOPNOTSUPP ? 0 : r;
	}
	/* A change of ids has undone what the parent asked for. */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		r = err_sys(e, errno, "tie to the parent");
	if (r == 0 && !confined)
		log_warn("no namespaces: not run as root");
	return r;
}

/* Each thread for itself, see convert.h. */
static void filter(void)
{
	static const struct sandbox_call calls[] = {
		{.nr = SYS_read},
		{.nr = SYS_pread64},
		{.nr = SYS_write},
		{.nr = SYS_pwrite64},
		{.nr = SYS_ftruncate},
		{.nr = SYS_fallocate},
		{.nr = SYS_fstat},
		{.nr = SYS_newfstatat},
		{.nr = SYS_close},
		{.nr = SYS_brk},
		{.nr = SYS_mmap, .arg = 2, .forbid = PROT_EXEC},
		{.nr = SYS_mprotect, .arg = 2, .forbid = PROT_EXEC},
		{.nr = SYS_mremap},
		{.nr = SYS_munmap},
		{.nr = SYS_madvise},
		{.nr = SYS_futex},
		{.nr = SYS_getrandom},
		{.nr = SYS_clock_gettime},
		{.nr = SYS_sched_yield},
		{.nr = SYS_rt_sigprocmask},
		{.nr = SYS_rt_sigreturn},
		{.nr = SYS_restart_syscall},
		{.nr = SYS_exit},
		{.nr = SYS_exit_group},
	};
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct err e = ERR_INIT;
	int r;

	pthread_mutex_lock(&lock);
	r = sandbox_seccomp(calls, ARRAY_SIZE(calls), &e);
	pthread_mutex_unlock(&lock);
	if (r < 0) {
		log_error("%s", e.msg);
		_exit(1);
	}
}

static void on_progress(void *arg, uint64_t done)
{
	uint64_t *last = arg;

	if (done < *last + PROGRESS_STEP)
		return;
	*last = done;
	say(json_pack("{s:I}", "progress", (json_int_t)done));
}

static int run_convert(const struct job *j, json_t **ret, struct err *e)
{
	uint64_t last = 0;
	struct convert_job job = {
		.layers = j->layers,
		.n_layers = j->n_layers,
		.out = j->out,
		.max_bytes = j->max_bytes,
		.confine = filter,
		.progress = on_progress,
		.arg = &last,
	};
	struct convert_result res;
	int r;

	memcpy(job.uuid, j->uuid, sizeof(job.uuid));
	r = convert_run(&job, &res, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:I, s:i, s:I, s:I, s:I}", "bytes",
			 (json_int_t)res.bytes, "entries",
			 (int)res.stats.entries, "max_uid",
			 (json_int_t)res.stats.max_uid, "max_gid",
			 (json_int_t)res.stats.max_gid, "dropped_xattrs",
			 (json_int_t)res.stats.dropped_xattrs);
	return 0;
}

static int run_plain(const struct job *j, json_t **ret, struct err *e)
{
	uint64_t bytes;
	int r = convert_plain(j->in, j->out, j->max_bytes, filter, &bytes, e);

	if (r == 0)
		*ret = json_pack("{s:I}", "bytes", (json_int_t)bytes);
	return r;
}

static int run(const struct options *o, struct job *j, json_t **ret,
	       struct err *e)
{
	int r = job_receive(STDIN_FILENO, j, e);

	close(STDIN_FILENO);
	if (r < 0)
		return r;
	if ((o->verb != VERB_CONVERT && j->in < 0) ||
	    (o->verb != VERB_LIST && j->out < 0))
		return err_set(e, EINVAL, "a descriptor is missing");
	if (j->max_bytes == 0)
		j->max_bytes = HYB_IMAGE_BYTES_MAX;
	r = confine(o, j->max_bytes, e);
	if (r < 0)
		return r;
	if (o->verb == VERB_CONVERT)
		return run_convert(j, ret, e);
	if (o->verb == VERB_PLAIN)
		return run_plain(j, ret, e);
	filter();
	return listing_make(j->in, ret, e);
}

int main(int argc, char **argv)
{
	static struct job job;
	struct options o;
	struct err e = ERR_INIT;
	json_t *result = NULL;
	int r;

	log_init("hyb-image", LOG_LEVEL_INFO);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("hyb-image " HYB_VERSION);
		return 0;
	}
	if (parse_options(argc, argv, &o) < 0) {
		fprintf(stderr, "usage: hyb-image convert|list|plain "
				"[--uid N --gid N]\n");
		return 2;
	}
	r = sandbox_start(3, &e);
	if (r == 0)
		r = run(&o, &job, &result, &e);
	if (r < 0) {
		say_error(&e);
		return 1;
	}
	say(json_pack("{s:o}", "result", result));
	return 0;
}
