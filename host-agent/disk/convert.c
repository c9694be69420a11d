/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img, the only program that reads and writes qcow2 for us. */
#include "host-agent/disk/disk_int.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

#define CONVERT_MS ((uint64_t)3600 * 1000)
#define CREATE_MS  30000
#define OUTPUT_MAX 16384
/* CPU seconds, and bytes of memory: some times what 2 TiB need. */
#define CPU_MAX	   "3600"
#define MEMORY_MAX "4294967296"

/* Its first line, as one line of ours. */
static int judge(int status, const char *errors, struct err *e)
{
	char why[512];

	if (status == 0)
		return 0;
	if (status > 128)
		return err_set(e, EIO, "qemu-img was ended by signal %d",
			       status - 128);
	text_escape(errors, why, sizeof(why));
	why[strcspn(why, "\n")] = '\0';
	return err_set(e, EINVAL, "qemu-img: %s",
		       why[0] ? why : "it gives no reason");
}

/* ret_status: the caller judges it; NULL: another than 0 is an error. */
static int run(const char *const *argv, uint64_t ms, int *ret_status,
	       struct err *e)
{
	_cleanup_free_ char *errors = NULL;
	struct proc_spec spec = {.path = argv[0],
				 .argv = argv,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1,
				 .die_with_parent = true};
	int status, r;

	r = proc_run(&spec, now_ms() + ms, OUTPUT_MAX, NULL, &errors, &status,
		     e);
	if (r == -ENOENT)
		err_hint(e, "install the package qemu-utils");
	if (r < 0 || !ret_status)
		return r < 0 ? r : judge(status, errors, e);
	*ret_status = status;
	return 0;
}

/* qemu-img check: leaked clusters only, which are harmless. */
#define STATUS_LEAKS 3

/* Runs qemu-img as the uid that owns nothing else, with the words of `what`
 * behind. Its own pid namespace too: when it ends, nothing of it is left that
 * could still write to the file. */
static int run_confined(const struct disk_store *s, uid_t uid_nr, uint64_t size,
			const char *const *what, int *ret_status, struct err *e)
{
	char fsize[40], uid[32], gid[32];
	const char *argv[40] = {"prlimit",
				"--core=0",
				"--nofile=64",
				"--cpu=" CPU_MAX,
				"--as=" MEMORY_MAX,
				fsize,
				"--",
				"unshare",
				"--mount",
				"--net",
				"--ipc",
				"--uts",
				"--pid",
				"--fork",
				"--kill-child",
				"--",
				"setpriv",
				uid,
				gid,
				"--clear-groups",
				"--no-new-privs",
				"--inh-caps=-all",
				"--bounding-set=-all",
				"--",
				"qemu-img"};
	size_t n = 0;

	while (argv[n])
		n++;
	while (*what && n + 1 < ARRAY_SIZE(argv))
		argv[n++] = *what++;
	snprintf(fsize, sizeof(fsize), "--fsize=%llu",
		 (unsigned long long)size);
	snprintf(uid, sizeof(uid), "--reuid=%u", uid_nr);
	snprintf(gid, sizeof(gid), "--regid=%u", s->gid);
	return run(argv, CONVERT_MS, ret_status, e);
}

int disk_convert(const struct disk_store *s, uid_t uid, const char *in,
		 const char *out, uint64_t size, struct err *e)
{
	const char *check[] = {"check", "-q", "-f", "qcow2", in, NULL};
	const char *convert[] = {"convert", "-q", "-f", "qcow2", "-O",
				 "raw",	    in,	  out,	NULL};
	int status, r;

	/* One that was cut would become a disk with holes. */
	r = run_confined(s, uid, size, check, &status, NULL);
	if (r == 0 && status != 0 && status != STATUS_LEAKS)
		return err_set(e, EINVAL,
			       "it is damaged: `qemu-img check` finds errors");
	return run_confined(s, uid, size, convert, NULL, e);
}

int disk_make_overlay(const char *path, const char *base, uint64_t size,
		      struct err *e)
{
	char bytes[32];
	/* -u: the base is not opened, its size is known. */
	const char *argv[] = {"qemu-img", "create", "-q",  "-u", "-f",
			      "qcow2",	  "-F",	    "raw", "-b", base,
			      path,	  bytes,    NULL};

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
	return run(argv, CREATE_MS, NULL, e);
}
