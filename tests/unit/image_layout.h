/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the image store: a store in a folder of its own, and OCI
 * layouts made by hand. Include after <setjmp.h> and its like, before
 * <cmocka.h>'s users. */
#ifndef HYB_TESTS_UNIT_IMAGE_LAYOUT_H
#define HYB_TESTS_UNIT_IMAGE_LAYOUT_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/image/image_source.h"
#include "host-agent/image/store.h"
#include "tests/unit/image_build.h"

#include <cmocka.h>

static char top[64]; /* everything of one test is below it */
static struct image_store *store;
static struct err e;
static char **skipped; /* of the last load_fd() */
__attribute__((unused)) static uint64_t max_bytes, layer_cache; /* its own */
__attribute__((
	unused)) static const char *skopeo; /* in place of the real one */

__attribute__((unused)) static const char *program(void)
{
	const char *p = getenv("HYB_IMAGE");

	return p ? p : "build/default/bin/hyb-image";
}

__attribute__((format(printf, 1, 2), unused)) static int sh(const char *fmt,
							    ...)
{
	char cmd[2000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	fflush(NULL);
	return system(cmd);
}

__attribute__((unused)) static const char *at(const char *name)
{
	static char paths[4][200];
	static int n;
	char *p = paths[n++ % 4];

	snprintf(p, 200, "%s/%s", top, name);
	return p;
}

__attribute__((unused)) static int try_open(struct image_store **ret)
{
	char program_path[PATH_MAX];
	struct image_store_config c = {.hyb_image = program_path,
				       .uid = 64998,
				       .gid = 64998,
				       .max_bytes = max_bytes,
				       .layer_cache = layer_cache,
				       .skopeo = skopeo};
	char dir[200], conf[200];

	assert_non_null(realpath(program(), program_path));
	snprintf(dir, sizeof(dir), "%s/images", top);
	c.dir = dir;
	snprintf(conf, sizeof(conf), "%s/containers", top);
	c.registries = conf;
	return image_store_open(&c, ret, &e);
}

__attribute__((unused)) static void reopen(void)
{
	image_store_close(store);
	store = NULL;
	if (try_open(&store) < 0)
		fail_msg("%s", e.msg);
}

__attribute__((unused)) static int setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/hyb-image-test-XXXXXX");
	if (!mkdtemp(top) || chmod(top, 0755) < 0)
		return -1;
	memset(&e, 0, sizeof(e));
	store = NULL;
	return try_open(&store);
}

__attribute__((unused)) static int teardown(void **state)
{
	(void)state;
	image_store_close(store);
	strv_free(skipped);
	skipped = NULL;
	return path_remove(top, &e);
}

/* ------------------------------------------------------------- building */

__attribute__((unused)) static void write_file(const char *path,
					       const void *data, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

/* A blob of the layout; its digest. */
__attribute__((unused)) static void blob(const char *layout, const void *data,
					 size_t len, char digest[72])
{
	char path[300];

	image_digest(data, len, digest);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%.64s", layout,
		 digest + 7);
	write_file(path, data, len);
}

struct layout {
	char dir[100];
	char layer[4][72];
	size_t layer_len[4];
	size_t n;
	struct buf config, manifest, index;
	char config_digest[72], manifest_digest[72];
};

#define MEDIA "application/vnd.oci.image."

__attribute__((unused)) static void layout_init(struct layout *l,
						const char *name)
{
	memset(l, 0, sizeof(*l));
	snprintf(l->dir, sizeof(l->dir), "%s/%s", top, name);
	assert_int_equal(sh("mkdir -p %s/blobs/sha256", l->dir), 0);
}

__attribute__((unused)) static void layout_done(struct layout *l)
{
	buf_done(&l->config);
	buf_done(&l->manifest);
	buf_done(&l->index);
}

__attribute__((unused)) static void layout_layer(struct layout *l,
						 const char *lines)
{
	struct buf b = BUF_INIT;

	tar_lines(&b, lines);
	blob(l->dir, b.data, b.len, l->layer[l->n]);
	l->layer_len[l->n++] = b.len;
	buf_done(&b);
}

__attribute__((unused)) static void layout_config(struct layout *l)
{
	size_t i;

	buf_clear(&l->config);
	buf_puts(&l->config,
		 "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{"
		 "\"Env\":[\"A=b\"],\"Cmd\":[\"/bin/x\"]},\"rootfs\":{"
		 "\"type\":\"layers\",\"diff_ids\":[");
	for (i = 0; i < l->n; i++)
		buf_printf(&l->config, "%s\"%s\"", i ? "," : "", l->layer[i]);
	buf_puts(&l->config, "]}}");
}

__attribute__((unused)) static void layout_manifest(struct layout *l)
{
	size_t i;

	blob(l->dir, l->config.data, l->config.len, l->config_digest);
	buf_clear(&l->manifest);
	buf_printf(&l->manifest,
		   "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA
		   "config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		   "\"layers\":[",
		   l->config_digest, l->config.len);
	for (i = 0; i < l->n; i++)
		buf_printf(&l->manifest,
			   "%s{\"mediaType\":\"" MEDIA
			   "layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}",
			   i ? "," : "", l->layer[i], l->layer_len[i]);
	buf_puts(&l->manifest, "]}");
}

__attribute__((unused)) static void layout_index(struct layout *l,
						 const char *ref)
{
	static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	char path[200];

	blob(l->dir, l->manifest.data, l->manifest.len, l->manifest_digest);
	buf_clear(&l->index);
	buf_printf(&l->index,
		   "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" MEDIA
		   "manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		   "\"annotations\":{\"org.opencontainers.image.ref.name\":"
		   "\"%s\"}}]}",
		   l->manifest_digest, l->manifest.len, ref);
	snprintf(path, sizeof(path), "%s/index.json", l->dir);
	write_file(path, l->index.data, l->index.len);
	snprintf(path, sizeof(path), "%s/oci-layout", l->dir);
	write_file(path, version, sizeof(version) - 1);
}

/* A whole layout of the layers given. */
__attribute__((unused)) static void
layout_make(struct layout *l, const char *name, const char *ref,
	    const char *first, const char *second)
{
	layout_init(l, name);
	layout_layer(l, first);
	if (second)
		layout_layer(l, second);
	layout_config(l);
	layout_manifest(l);
	layout_index(l, ref);
}

__attribute__((unused)) static int load(const char *path, const char *name,
					struct image_info ***ret)
{
	err_clear(&e);
	return image_store_load(store, path, name, NULL, NULL, ret, &e);
}

__attribute__((unused)) static int load_fd(int fd, const char *name, uid_t uid,
					   struct image_info ***ret)
{
	const struct image_input in = {
		.fd = fd,
		.source_name = "web",
		.name = name,
		.caller_uid = uid,
		.caller_gid = uid,
		.ret_skipped = &skipped,
	};

	strv_free(skipped);
	skipped = NULL;
	err_clear(&e);
	return image_store_load_fd(store, &in, ret, &e);
}

__attribute__((unused)) static size_t count_files(const char *dir)
{
	DIR *d = opendir(at(dir));
	struct dirent *de;
	size_t n = 0;

	assert_non_null(d);
	while ((de = readdir(d)))
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Nothing but n images is in the store. */
__attribute__((unused)) static void check_clean(size_t n)
{
	assert_true(count_files("images") <= 6);
	assert_int_equal(count_files("images/tmp"), 0);
	assert_int_equal(count_files("images/erofs"), n);
	assert_int_equal(count_files("images/meta"), n);
}

/* A file with what a VM sees of the image: its own, or one made by qemu-img. */
__attribute__((unused)) static const char *whole_of(const struct image_info *i)
{
	static char out[200];

	if (!i->base_path) {
		snprintf(out, sizeof(out), "%s", i->path);
		return out;
	}
	snprintf(out, sizeof(out), "%s/whole", top);
	assert_int_equal(
		sh("qemu-img convert -O raw 'json:{\"driver\":\"qcow2\","
		   "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"},"
		   "\"backing\":{\"driver\":\"raw\",\"file\":{\"driver\":"
		   "\"file\",\"filename\":\"%s\"}}}' %s",
		   i->path, i->base_path, out),
		0);
	return out;
}

__attribute__((unused)) static void load_ok(const char *path, const char *name,
					    const char *digest)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;

	if (load(path, name, &list) < 0)
		fail_msg("load %s: %s", path, e.msg);
	assert_non_null(list[0]);
	if (digest)
		assert_string_equal(list[0]->digest, digest);
	assert_int_equal(sh("fsck.erofs %s >/dev/null 2>&1", whole_of(list[0])),
			 0);
}

__attribute__((unused)) static void get_ok(const char *ref, const char *digest)
{
	_cleanup_image_info_ struct image_info *i = NULL;

	err_clear(&e);
	if (image_store_get(store, ref, &i, &e) < 0)
		fail_msg("get %s: %s", ref, e.msg);
	if (digest)
		assert_string_equal(i->digest, digest);
	assert_string_equal(i->config.env[0], "A=b");
	assert_int_equal(strlen(i->erofs_serial), 20);
}

/* ------------------------------------------------------------------ kill -9 */

__attribute__((unused)) static bool is_step(unsigned long long nr)
{
	switch (nr) {
	case SYS_linkat:
	case SYS_rename:
	case SYS_renameat:
	case SYS_unlinkat:
	case SYS_fsync:
	case SYS_fchmod:
	case SYS_ftruncate:
	case SYS_pwrite64:
		return true;
	}
	return false;
}

/* Runs fn in a process that is killed before call number n that changes a
 * file. True: it ended before that, with 0. */
__attribute__((unused)) static bool run_killed(int (*fn)(void *arg), void *arg,
					       unsigned int n)
{
	struct user_regs_struct regs;
	bool enter = true;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP))
			_exit(1);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0,
				PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
			 0);
	for (;;) {
		int sig = WSTOPSIG(status);

		ptrace(PTRACE_SYSCALL, pid, 0,
		       sig == SIGSTOP || sig & 0x80 ? 0 : sig);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		assert_int_equal(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
		if (enter && is_step(regs.orig_rax) && n-- == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
		enter = !enter;
	}
	if (WIFSIGNALED(status))
		return false;
	assert_int_equal(WEXITSTATUS(status), 0);
	return true;
}

/* Many small files and some data, so that a conversion takes a while. */
__attribute__((unused)) static void make_big(struct layout *l)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int i;

	layout_init(l, "big");
	for (i = 0; i < 20000; i++)
		buf_printf(&b, "f dir%d/file%d some content %d\n", i % 100, i,
			   i);
	layout_layer(l, buf_str(&b));
	layout_config(l);
	layout_manifest(l);
	layout_index(l, "big:1");
}

#endif
