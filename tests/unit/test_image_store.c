/* SPDX-License-Identifier: Apache-2.0 */
/* The image store with the real hyb-image: sources, names, crashes, and what
 * broken or hostile images get. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/image_source.h"
#include "host-agent/image/store.h"
#include "tests/unit/image_layout.h"

#include <cmocka.h>

static void test_sources(void **state)
{
	struct layout l;
	int fd;
	struct image_info **list = NULL;

	(void)state;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", "f etc/y 2");
	load_ok(l.dir, NULL, l.manifest_digest);
	get_ok("web:1", l.manifest_digest);
	check_clean(1);
	/* The same as an archive, plain, gzip and zstd, under other names. */
	sh("cd %s && tar cf ../web.tar . && gzip -k ../web.tar && zstd -q "
	   "../web.tar",
	   l.dir);
	load_ok(at("web.tar"), "a", l.manifest_digest);
	load_ok(at("web.tar.gz"), "b:2", l.manifest_digest);
	load_ok(at("web.tar.zst"), "localhost:5000/c/d", l.manifest_digest);
	/* gzip in several members, as pigz and estargz write it. */
	sh("cd %s && { head -c 3000 web.tar | gzip; tail -c +3001 web.tar | "
	   "gzip; } >two.gz",
	   top);
	load_ok(at("two.gz"), "two", l.manifest_digest);
	/* A descriptor, of a folder and of a pipe. */
	fd = open(l.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(load_fd(fd, "e", 12345, &list), 0);
	image_info_free_list(list);
	close(fd);
	{
		FILE *p;
		char cmd[300];

		snprintf(cmd, sizeof(cmd), "cat %s", at("web.tar.gz"));
		p = popen(cmd, "re");
		assert_int_equal(load_fd(fileno(p), "f", 0, &list), 0);
		image_info_free_list(list);
		pclose(p);
	}
	get_ok("a:latest", l.manifest_digest);
	get_ok("docker.io/library/b:2", l.manifest_digest);
	get_ok("localhost:5000/c/d", l.manifest_digest);
	get_ok("e", l.manifest_digest);
	get_ok("f", l.manifest_digest);
	check_clean(1);
	reopen();
	get_ok("localhost:5000/c/d", l.manifest_digest);
	layout_done(&l);
}

/* A folder is read with the rights of who passed it. */
static void test_callers_rights(void **state)
{
	struct layout l;
	struct image_info **list = NULL;
	int fd;

	(void)state;
	if (geteuid() != 0) {
		print_message("# host: not root\n");
		skip();
	}
	layout_make(&l, "web", "web:1", "f x hello", NULL);
	assert_int_equal(
		sh("chmod 0600 %s/blobs/sha256/%s", l.dir, l.layer[0] + 7), 0);
	fd = open(l.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(load_fd(fd, NULL, 12345, &list), -EACCES);
	assert_non_null(strstr(e.msg, "layer 1"));
	/* We are ourselves again. */
	load_ok(l.dir, NULL, NULL);
	/* A link out of the folder is not followed. */
	sh("rm %s/blobs/sha256/%s; ln -s /etc/hostname %s/blobs/sha256/%s",
	   l.dir, l.layer[0] + 7, l.dir, l.layer[0] + 7);
	assert_true(load_fd(fd, NULL, 0, &list) < 0);
	assert_non_null(strstr(e.msg, "symbolic link"));
	sh("rm %s/blobs/sha256/%s; mkfifo %s/blobs/sha256/%s", l.dir,
	   l.layer[0] + 7, l.dir, l.layer[0] + 7);
	assert_true(load_fd(fd, NULL, 0, &list) < 0);
	assert_non_null(strstr(e.msg, "not a regular file"));
	close(fd);
	layout_done(&l);
}

static void test_docker_archive(void **state)
{
	struct layout l;
	char manifest[500];
	int i;

	(void)state;
	layout_make(&l, "lay", "x:1", "d bin\nf bin/x hello", "f .wh.bin");
	for (i = 0; i < 2; i++) {
		const char *link =
			i ? "ln -s ../l1/layer.tar l2/layer.tar" : "";

		sh("rm -rf %s && mkdir -p %s/l1 %s/l2 && cd %s && cp "
		   "../lay/blobs/sha256/%s l1/layer.tar && cp "
		   "../lay/blobs/sha256/%s l2/layer.tar && cp "
		   "../lay/blobs/sha256/%s c.json && %s true",
		   at("dock"), at("dock"), at("dock"), at("dock"),
		   l.layer[0] + 7, l.layer[1] + 7, l.config_digest + 7,
		   i ? "rm l2/layer.tar && " : "");
		sh("cd %s && %s", at("dock"), i ? link : "true");
		snprintf(manifest, sizeof(manifest),
			 "[{\"Config\":\"c.json\",\"RepoTags\":[\"dock:1\","
			 "\"other/dock:2\"],\"Layers\":[\"l1/layer.tar\","
			 "\"l2/layer.tar\"]}]");
		write_file(at("dock/manifest.json"), manifest,
			   strlen(manifest));
		sh("cd %s && tar cf ../dock%d.tar *", at("dock"), i);
	}
	load_ok(at("dock0.tar"), NULL, NULL);
	get_ok("dock:1", NULL);
	get_ok("other/dock:2", NULL);
	get_ok(l.config_digest, NULL);
	/* Of two images the second is broken: neither is loaded. */
	{
		struct image_info **list;

		snprintf(manifest, sizeof(manifest),
			 "[{\"Config\":\"c.json\",\"RepoTags\":[\"one:1\"],"
			 "\"Layers\":[\"l1/layer.tar\",\"l2/layer.tar\"]},"
			 "{\"Config\":\"c.json\",\"RepoTags\":[\"one:2\"],"
			 "\"Layers\":[\"l2/layer.tar\",\"l1/layer.tar\"]}]");
		sh("mkdir %s && cd %s && tar xf ../dock0.tar", at("half"),
		   at("half"));
		write_file(at("half/manifest.json"), manifest,
			   strlen(manifest));
		assert_true(load(at("half"), NULL, &list) < 0);
		assert_non_null(strstr(e.msg, "diff_id"));
		assert_int_equal(image_store_get(store, "one:1",
						 &(struct image_info *){NULL},
						 &e),
				 -ENOENT);
	}
	/* The second layer is a link to the first: not what the
	 * configuration says. */
	{
		struct image_info **list;

		assert_true(load(at("dock1.tar"), NULL, &list) < 0);
		assert_non_null(strstr(e.msg, "layer 2"));
		assert_non_null(strstr(e.msg, "diff_id"));
	}
	check_clean(1);
	layout_done(&l);
}

static bool always(void *arg, const char *digest)
{
	*(const char **)arg = digest;
	return true;
}

static void test_names_and_removal(void **state)
{
	struct layout a, b;
	const char *asked = NULL;
	char **gone = NULL;
	struct image_info **list = NULL, *i = NULL;

	(void)state;
	layout_make(&a, "a", "a:1", "f x 1", NULL);
	layout_make(&b, "b", "b:1", "f x 2", NULL);
	load_ok(a.dir, NULL, NULL);
	load_ok(a.dir, "second:name", NULL);
	load_ok(b.dir, NULL, NULL);
	check_clean(2);
	/* Not found, with a hint. */
	assert_int_equal(image_store_get(store, "secnd:name", &i, &e), -ENOENT);
	assert_non_null(strstr(e.hint, "second:name"));
	assert_int_equal(image_store_get(store, "zzzzzzzzzzz", &i, &e),
			 -ENOENT);
	assert_non_null(strstr(e.hint, "pull"));
	assert_int_equal(image_store_get(store, "UPPER", &i, &e), -EINVAL);
	assert_int_equal(image_store_get(store, "../../etc", &i, &e), -EINVAL);
	assert_int_equal(image_store_get(store, "", &i, &e), -EINVAL);
	/* By digest, by its beginning, by name and digest. */
	get_ok(a.manifest_digest, a.manifest_digest);
	a.manifest_digest[20] = '\0';
	get_ok(a.manifest_digest, NULL);
	get_ok(a.manifest_digest + 7, NULL);
	/* A name that moves. */
	load_ok(b.dir, "second:name", NULL);
	get_ok("second:name", b.manifest_digest);
	get_ok("a:1", NULL);
	assert_int_equal(image_store_list(store, &list, &e), 0);
	assert_string_equal(list[0]->names[0], "a:1");
	assert_null(list[0]->names[1]);
	assert_string_equal(list[1]->names[1], "second:name");
	image_info_free_list(list);
	/* One of two names goes even where the image is used. */
	assert_int_equal(image_store_remove(store, "second:name", always,
					    &asked, &gone, &e),
			 0);
	assert_null(asked);
	assert_string_equal(gone[0], "second:name");
	strv_free(gone);
	assert_int_equal(
		image_store_remove(store, "b:1", always, &asked, &gone, &e),
		-EBUSY);
	assert_non_null(asked);
	get_ok("b:1", b.manifest_digest);
	assert_int_equal(
		image_store_remove(store, "b:1", NULL, NULL, &gone, &e), 0);
	assert_int_equal(strv_len(gone), 2);
	strv_free(gone);
	check_clean(1);
	reopen();
	check_clean(1);
	get_ok("a:1", NULL);
	layout_done(&a);
	layout_done(&b);
}

/* Two images of the same layers share a file. */
static void test_shared_file(void **state)
{
	struct layout a, b;
	char **gone;

	(void)state;
	layout_make(&a, "a", "a:1", "f x 1", NULL);
	layout_init(&b, "b");
	layout_layer(&b, "f x 1");
	layout_config(&b);
	b.config.data[b.config.len - 1] = ' ';
	buf_puts(&b.config, "}");
	layout_manifest(&b);
	layout_index(&b, "b:1");
	load_ok(a.dir, NULL, NULL);
	load_ok(b.dir, NULL, NULL);
	assert_int_equal(count_files("images/erofs"), 1);
	assert_int_equal(count_files("images/meta"), 2);
	assert_int_equal(
		image_store_remove(store, "a:1", NULL, NULL, &gone, &e), 0);
	strv_free(gone);
	get_ok("b:1", NULL);
	check_clean(1);
	layout_done(&a);
	layout_done(&b);
}

static void test_damage(void **state)
{
	struct image_info *i = NULL;
	struct image_store *other = NULL;
	struct layout l;
	int status;
	pid_t pid;

	(void)state;
	layout_make(&l, "a", "a:1", "f x 1", NULL);
	load_ok(l.dir, NULL, NULL);
	sh("truncate -s 4096 %s/images/erofs/*", top);
	assert_int_equal(image_store_get(store, "a:1", &i, &e), -EUCLEAN);
	assert_non_null(strstr(e.hint, "again"));
	load_ok(l.dir, NULL, NULL);
	get_ok("a:1", NULL);
	sh("chmod u+w %s/images/erofs/*", top);
	assert_int_equal(image_store_get(store, "a:1", &i, &e), -EUCLEAN);
	load_ok(l.dir, NULL, NULL);
	sh("rm %s/images/erofs/*", top);
	assert_int_equal(image_store_get(store, "a:1", &i, &e), -EUCLEAN);
	load_ok(l.dir, NULL, NULL);
	get_ok("a:1", NULL);
	/* A description that is broken is dropped, its file with it. */
	sh("for f in %s/images/meta/*; do echo x >$f; done", top);
	reopen();
	check_clean(0);
	assert_int_equal(image_store_get(store, "a:1", &i, &e), -ENOENT);
	load_ok(l.dir, NULL, NULL);
	/* Names that are broken are not guessed. */
	image_store_close(store);
	store = NULL;
	sh("echo x >%s/images/names.json", top);
	assert_true(try_open(&store) < 0);
	assert_non_null(strstr(e.msg, "names.json"));
	sh("rm %s/images/names.json", top);
	reopen();
	get_ok(l.manifest_digest, NULL);
	/* One store, one process. */
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(try_open(&other) == -EBUSY ? 0 : 1);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	layout_done(&l);
}

/* A process with the store is killed after it has forked and before its child
 * has begun its program: the store is free at once. */
static void test_killed_in_fork(void **state)
{
	pid_t pid, child = 0;
	int p[2], status;

	(void)state;
	image_store_close(store);
	store = NULL;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (try_open(&store) < 0)
			_exit(1);
		child = fork();
		if (child == 0) {
			child = getpid();
			if (write(p[1], &child, sizeof(child)) < 0)
				_exit(1);
		}
		for (;;)
			pause();
	}
	close(p[1]);
	assert_int_equal(read(p[0], &child, sizeof(child)), sizeof(child));
	close(p[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	status = try_open(&store);
	kill(child, SIGKILL);
	if (status < 0)
		fail_msg("%s", e.msg);
}

/* ------------------------------------------------------------- bad images */

static void expect_bad(const char *what, const char *path, const char *part)
{
	struct image_info **list = NULL;
	int r = load(path, NULL, &list);

	if (r == 0)
		fail_msg("%s: was loaded", what);
	if (!strstr(e.msg, part))
		fail_msg("%s: expected '%s', got '%s'", what, part, e.msg);
	check_clean(0);
}

/* Replaces the first `from` in the buffer; both of one length keep digests'
 * places. */
static void swap(struct buf *b, const char *from, const char *to)
{
	char *p = strstr(b->data, from);
	struct buf n = BUF_INIT;

	assert_non_null(p);
	buf_append(&n, b->data, (size_t)(p - b->data));
	buf_puts(&n, to);
	buf_puts(&n, p + strlen(from));
	buf_done(b);
	*b = n;
}

struct edit {
	const char *what;
	char where; /* c configuration, m manifest, i index */
	const char *from, *to;
	const char *want;
};

static const struct edit edits[] = {
	{"no layers", 'c', "\"sha256:", "\"sha256:x", "not a sha256 digest"},
	{"other platform", 'c', "amd64", "s390x", "is for s390x"},
	{"not Linux", 'c', "\"linux\"", "\"windows\"", "is for windows"},
	{"rootfs type", 'c', "\"layers\",", "\"other\",", "rootfs.type"},
	{"env", 'c', "[\"A=b\"]", "\"A=b\"", "config.Env: is not a list"},
	{"env item", 'c', "\"A=b\"", "5", "config.Env: has an item"},
	{"cmd NUL", 'c', "/bin/x", "a\\u0000b", "config"},
	{"config no JSON", 'c', "{", "<", "image configuration: line 1"},
	{"duplicate key", 'c', "\"os\"", "\"os\":\"x\",\"os\"", "line 1"},
	{"schema 1", 'm', "\"schemaVersion\":2", "\"schemaVersion\":1",
	 "schemaVersion"},
	{"layer type", 'm', "layer.v1.tar", "layer.v9.tar",
	 "layers[0]: its media type"},
	{"encrypted", 'm', "layer.v1.tar", "layer.v1.tar+encrypted",
	 "layers[0]: its media type"},
	{"an artifact", 'm', "config.v1+json", "empty.v1+json",
	 "its media type is not of an image"},
	{"no config", 'm', "\"config\"", "\"konfig\"", "config: is not"},
	{"digest kind", 'm', "\"sha256:", "\"sha512:", "its digest is not"},
	{"digest path", 'm', "\"sha256:", "\"sha256:../../", "its digest"},
	{"size", 'm', "\"size\":", "\"size\":1", "should be"},
	{"negative size", 'm', "\"size\":", "\"size\":-", "not a whole number"},
	{"layers no list", 'm', "\"layers\":[", "\"layers\":5,\"x\":[",
	 "layers: is not a list"},
	{"index no list", 'i', "\"manifests\":[", "\"x\":[", "manifests"},
	{"index empty", 'i', "\"manifests\":[", "\"manifests\":[],\"x\":[",
	 "names no image"},
	{"manifest missing", 'i', "\"sha256:", "\"sha256:", NULL},
	{"unknown kind", 'i', "manifest.v1+json", "what.v1+json",
	 "no image for linux/"},
	{"index is a list", 'i', "{\"schema", "[{\"schema", "line 1"},
};

static void test_bad_documents(void **state)
{
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(edits) / sizeof(edits[0]); n++) {
		const struct edit *x = &edits[n];
		char name[20], path[200];
		struct layout l;

		snprintf(name, sizeof(name), "bad%zu", n);
		layout_init(&l, name);
		layout_layer(&l, "f x 1");
		layout_config(&l);
		if (x->where == 'c')
			swap(&l.config, x->from, x->to);
		layout_manifest(&l);
		if (x->where == 'm')
			swap(&l.manifest, x->from, x->to);
		layout_index(&l, "bad:1");
		if (x->where == 'i') {
			swap(&l.index, x->from, x->to);
			snprintf(path, sizeof(path), "%s/index.json", l.dir);
			write_file(path, l.index.data, l.index.len);
		}
		if (!x->want)
			sh("rm %s/blobs/sha256/%s", l.dir,
			   l.manifest_digest + 7);
		expect_bad(x->what, l.dir, x->want ? x->want : "is missing");
		layout_done(&l);
	}
}

static void test_bad_layers(void **state)
{
	struct layout l;
	char path[300];

	(void)state;
	/* Zero layers. */
	layout_init(&l, "zero");
	layout_config(&l);
	layout_manifest(&l);
	layout_index(&l, "x:1");
	expect_bad("zero layers", l.dir, "the image has no layers");
	layout_done(&l);
	/* The configuration lists another number. */
	layout_init(&l, "count");
	layout_layer(&l, "f x 1");
	layout_config(&l);
	layout_layer(&l, "f y 1");
	layout_manifest(&l);
	layout_index(&l, "x:1");
	expect_bad("count", l.dir, "2 layers, and its configuration lists 1");
	layout_done(&l);
	/* A wrong diff_id. */
	layout_init(&l, "diff");
	layout_layer(&l, "f x 1");
	layout_config(&l);
	l.config.data[l.config.len - 10] ^= 1;
	layout_manifest(&l);
	layout_index(&l, "x:1");
	expect_bad("diff_id", l.dir, "layer 1 (sha256:");
	assert_non_null(strstr(e.msg, "diff_id"));
	layout_done(&l);
	/* The layer's bytes are others than its digest says. */
	layout_make(&l, "bytes", "x:1", "f x 1", NULL);
	snprintf(path, sizeof(path), "%s/blobs/sha256/%.64s", l.dir,
		 l.layer[0] + 7);
	sh("printf y | dd of=%s bs=1 seek=512 conv=notrunc status=none", path);
	expect_bad("changed layer", l.dir, "its digest is sha256:");
	/* Cut. */
	sh("truncate -s 700 %s", path);
	expect_bad("cut layer", l.dir, "layer 1");
	sh("rm %s", path);
	expect_bad("no layer", l.dir, "is missing");
	layout_done(&l);
	/* A hostile entry is named, with its layer. */
	layout_make(&l, "up", "x:1", "f ok 1", "f ../evil 1");
	expect_bad("escape", l.dir, "layer 2 (sha256:");
	assert_non_null(strstr(e.msg, "entry '../evil'"));
	layout_done(&l);
	/* gzip that is cut, and with a wrong sum. */
	layout_init(&l, "gz");
	layout_layer(&l, "f x 1");
	layout_config(&l);
	sh("cd %s/blobs/sha256 && gzip -k %s && truncate -s -6 *.gz", l.dir,
	   l.layer[0] + 7);
	{
		_cleanup_free_ char *gz = NULL;
		size_t len;

		snprintf(path, sizeof(path), "%s/blobs/sha256/%.64s.gz", l.dir,
			 l.layer[0] + 7);
		assert_int_equal(
			file_read(AT_FDCWD, path, 1 << 20, &gz, &len, &e), 0);
		blob(l.dir, gz, len, l.layer[0]);
		l.layer_len[0] = len;
	}
	layout_manifest(&l);
	layout_index(&l, "x:1");
	expect_bad("cut gzip", l.dir, "gzip: the data are cut");
	layout_done(&l);
}

static void test_loops(void **state)
{
	struct layout l;
	char digest[72], path[200];
	int i;

	(void)state;
	layout_make(&l, "loop", "x:1", "f x 1", NULL);
	memcpy(digest, l.manifest_digest, sizeof(digest));
	/* Indexes inside one another; a true loop cannot have right digests. */
	for (i = 0; i < 6; i++) {
		buf_clear(&l.index);
		buf_printf(&l.index,
			   "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
			   "\"" MEDIA "%s.v1+json\",\"digest\":\"%s\","
			   "\"size\":%zu}]}",
			   i ? "index" : "manifest", digest, l.manifest.len);
		if (i < 5)
			blob(l.dir, l.index.data, l.index.len, digest);
		buf_clear(&l.manifest);
		buf_append(&l.manifest, l.index.data, l.index.len);
	}
	snprintf(path, sizeof(path), "%s/index.json", l.dir);
	write_file(path, l.index.data, l.index.len);
	expect_bad("indexes", l.dir, "inside one another");
	layout_done(&l);
}

static void test_not_images(void **state)
{
	struct layout l;
	size_t n;

	(void)state;
	write_file(at("empty"), "", 0);
	expect_bad("empty", at("empty"), "the file is empty");
	write_file(at("text"), "hello, world\n", 13);
	expect_bad("text", at("text"), "not an image archive");
	sh("mkdir %s; touch %s/x; tar cf %s -C %s x", at("d"), at("d"),
	   at("plain.tar"), at("d"));
	expect_bad("a tar", at("plain.tar"), "neither index.json");
	expect_bad("a folder", at("d"), "neither index.json");
	expect_bad("a device", "/dev/null", "a file, a pipe or a folder");
	expect_bad("nothing", at("none"), "No such file");
	/* Cut at every kind of place. */
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	sh("cd %s && tar cf ../web.tar --sort=name index.json blobs", l.dir);
	for (n = 100; n < 6000; n += 412) {
		sh("head -c %zu %s >%s", n, at("web.tar"), at("cut.tar"));
		expect_bad("cut", at("cut.tar"), "load '");
	}
	layout_done(&l);
}

/* --------------------------------------------------------------- crashes */

static void test_killed(void **state)
{
	struct layout l;
	unsigned int seed = 1;
	int i, seen = 0;

	(void)state;
	make_big(&l);
	for (i = 0; i < 25; i++) {
		_cleanup_image_info_ struct image_info *info = NULL;
		struct timespec ts = {0, 0};
		int status;
		pid_t pid;

		image_store_close(store);
		store = NULL;
		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			struct image_info **list;

			if (try_open(&store) < 0)
				_exit(2);
			_exit(load(l.dir, NULL, &list) < 0);
		}
		ts.tv_nsec = (rand_r(&seed) % 200) * 1000000l;
		nanosleep(&ts, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		/* The lock goes with the last child of that process. */
		if (try_open(&store) < 0)
			fail_msg("%s", e.msg);
		if (image_store_get(store, "big:1", &info, &e) == 0) {
			seen++;
			assert_int_equal(sh("fsck.erofs %s >/dev/null 2>&1",
					    whole_of(info)),
					 0);
			check_clean(1);
			if (i < 20) {
				char **gone;

				assert_int_equal(
					image_store_remove(store, "big:1", NULL,
							   NULL, &gone, &e),
					0);
				strv_free(gone);
			}
		} else if (image_store_get(store, l.manifest_digest, &info,
					   &e) == 0) {
			check_clean(1); /* whole, and not yet named */
		} else {
			check_clean(0);
		}
	}
	print_message("# %d of 25 were done before the kill\n", seen);
	layout_done(&l);
}

/* Another umask, user and number of threads make the same bytes. */
static void test_reproducible(void **state)
{
	struct layout l;
	mode_t old;

	(void)state;
	make_big(&l);
	load_ok(l.dir, NULL, NULL);
	assert_int_equal(sh("cp %s/images/erofs/* %s", top, at("first")), 0);
	image_store_close(store);
	store = NULL;
	sh("rm -rf %s/images; sleep 1.1", top);
	old = umask(0077);
	setenv("TZ", "Asia/Tokyo", 1);
	reopen();
	load_ok(l.dir, NULL, NULL);
	umask(old);
	assert_int_equal(sh("cmp %s/images/erofs/* %s", top, at("first")), 0);
	layout_done(&l);
}

/* umoci's tree and ours, by names, kinds, owners, modes, times, contents. (Not
 * counts of links: fsck.erofs extracts each name on its own.) */
static void test_like_umoci(void **state)
{
	static const char facts[] =
		"find . -mindepth 1 \\( -type d -printf '%p %y %m %U %G\\n' "
		"-o -printf '%p %y %m %U %G %T@ %s %l\\n' \\) | sort; "
		"find . -type f | sort | xargs sha256sum";
	struct layout l;

	(void)state;
	if (geteuid() != 0) {
		print_message("# host: not root\n");
		skip();
	}
	layout_make(&l, "web", "web:1",
		    "d bin\nf bin/x hello\nf bin/y gone\nd lib\nf lib/a 1\n"
		    "l l lib\nh bin/z bin/x\nd op\nf op/1 1\nd op/s\n"
		    "f op/s/2 2\nc dev\np pipe\nf exe x",
		    "f bin/.wh.y\nf l/b through\nd op\nf op/.wh..wh..opq\n"
		    "f op/3 3\nf exe replaced\nh bin/w bin/x");
	load_ok(l.dir, NULL, NULL);
	assert_int_equal(sh("umoci unpack --image %s:web:1 %s >/dev/null",
			    l.dir, at("bundle")),
			 0);
	assert_int_equal(sh("fsck.erofs --extract=%s %s/images/erofs/* "
			    ">/dev/null 2>&1",
			    at("ours"), top),
			 0);
	sh("cd %s && { %s; } >%s", at("bundle/rootfs"), facts,
	   at("theirs.txt"));
	sh("cd %s && { %s; } >%s", at("ours"), facts, at("ours.txt"));
	assert_int_equal(sh("diff %s %s", at("theirs.txt"), at("ours.txt")), 0);
	layout_done(&l);
}

static void test_references(void **state)
{
	static const char *const good[][3] = {
		{"busybox", "docker.io/library/busybox:latest",
		 "busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36",
		 "busybox:1.36"},
		{"acme/web", "docker.io/acme/web:latest", "acme/web:latest"},
		{"docker.io/busybox", "docker.io/library/busybox:latest",
		 "busybox:latest"},
		{"index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c"},
		{"localhost/x", "localhost/x:latest", "localhost/x:latest"},
		{"localhost:5000/x:y", "localhost:5000/x:y",
		 "localhost:5000/x:y"},
		{"quay.io/a/b/c:D_1", "quay.io/a/b/c:D_1", "quay.io/a/b/c:D_1"},
	};
	static const char *const bad[] = {
		"",	 "A",	     "a:",
		":a",	 "a@",	     "a@sha256",
		"a b",	 "a//b",     "/a",
		"a/",	 "-a",	     "a/-b",
		"a:b:c", "..",	     "a/../b",
		"a:.x",	 "x:y/z:%n", "a.b:/c",
		"a\n",	 "\xff",     "host:99999999/x",
	};
	struct image_ref r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(image_ref_parse(good[i][0], &r, &e), 0);
		assert_string_equal(r.full, good[i][1]);
		assert_string_equal(image_ref_familiar(r.full), good[i][2]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (image_ref_parse(bad[i], &r, &e) == 0)
			fail_msg("'%s' was taken as '%s'", bad[i], r.full);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references),
		TEST(test_sources),
		TEST(test_callers_rights),
		TEST(test_docker_archive),
		TEST(test_names_and_removal),
		TEST(test_shared_file),
		TEST(test_damage),
		TEST(test_bad_documents),
		TEST(test_bad_layers),
		TEST(test_loops),
		TEST(test_not_images),
		TEST(test_killed_in_fork),
		TEST(test_killed),
		TEST(test_reproducible),
		TEST(test_like_umoci),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
