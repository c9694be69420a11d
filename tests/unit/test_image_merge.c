/* SPDX-License-Identifier: Apache-2.0 */
/* The rules by which layers become one tree, and what hostile layers get. */
#include <fcntl.h>
#include <setjmp.h>

#include "common/base/cleanup.h"
#include "host-agent/image/convert/erofs.h"
#include "host-agent/image/convert/merge.h"
#include "tests/unit/image_build.h"

#include <cmocka.h>

static const uint8_t uuid[16] = {1};

struct run {
	struct erofs *out;
	struct merge *m;
	int fd;
	struct err e;
	struct merge_stats stats;
	uint64_t bytes;
};

static void run_init(struct run *r, uint32_t max_entries)
{
	memset(r, 0, sizeof(*r));
	r->fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(erofs_new(r->fd, 1ull << 40, uuid, &r->out, &r->e), 0);
	assert_int_equal(merge_new(r->out, max_entries, &r->m, &r->e), 0);
}

static void run_done(struct run *r)
{
	merge_free(r->m);
	erofs_free(r->out);
	close(r->fd);
}

static int run_bytes(struct run *r, const void *data, size_t len, size_t step)
{
	struct mem_source mem = {.data = data, .len = len, .step = step};
	struct byte_source src = {.next = mem_next, .arg = &mem};

	return merge_layer(r->m, &src, &r->e);
}

static int run_lines(struct run *r, const char *lines)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	tar_lines(&b, lines);
	return run_bytes(r, b.data, b.len, 777);
}

static int run_finish(struct run *r)
{
	return merge_finish(r->m, &r->stats, &r->bytes, &r->e);
}

/* fsck.erofs has an opinion too. */
static void check_fsck(struct run *r)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd),
		 "fsck.erofs /proc/%d/fd/%d >/dev/null 2>&1 </dev/null",
		 (int)getpid(), r->fd);
	fflush(NULL);
	assert_int_equal(system(cmd), 0);
}

struct tree_case {
	const char *name;
	const char *layers[5];
	const char *want; /* the tree */
};

static const struct tree_case trees[] = {
	{"one file", {"f a hello"}, "f /a hello\n"},
	{"names in front of the dots",
	 {"f ! x\nf - y\nf ... z\nf .a w"},
	 "f /! x\nf /- y\nf /... z\nf /.a w\n"},
	{"parents appear", {"f a/b/c x"}, "d /a\nd /a/b\nf /a/b/c x\n"},
	{"absolute and dotted names",
	 {"f /a 1\nf ./b 2\nf .//c/./d 3"},
	 "f /a 1\nf /b 2\nd /c\nf /c/d 3\n"},
	{"a later entry replaces", {"f a 1\nf a 2"}, "f /a 2\n"},
	{"a file replaces a folder with all in it",
	 {"d a\nf a/b 1", "f a 2"},
	 "f /a 2\n"},
	{"a folder replaces a file",
	 {"f a 1", "d a\nf a/b 2"},
	 "d /a\nf /a/b 2\n"},
	{"folders merge",
	 {"d a\nf a/x 1", "d a 700\nf a/y 2"},
	 "d /a\nf /a/x 1\nf /a/y 2\n"},
	{"whiteout of a file", {"f a 1\nf b 2", "f .wh.a"}, "f /b 2\n"},
	{"whiteout of a folder",
	 {"f d/a 1\nf d/e/b 2\nf c 3", "f .wh.d"},
	 "f /c 3\n"},
	{"whiteout of nothing", {"f a 1", "f .wh.b\nf x/.wh.y"}, "f /a 1\n"},
	{"whiteout, then the name anew",
	 {"f a 1", "f .wh.a\nf a 2"},
	 "f /a 2\n"},
	{"the name anew, then whiteout",
	 {"f a 1", "f a 2\nf .wh.a"},
	 "f /a 2\n"},
	{"a whiteout hides lower layers only",
	 {"f d/a 1", "f d/b 2\nf .wh.d"},
	 "d /d\nf /d/b 2\n"},
	{"hidden, then seen again", {"f a 1", "f .wh.a", "f a 3"}, "f /a 3\n"},
	{"opaque",
	 {"f d/a 1\nf d/s/b 2", "d d\nf d/.wh..wh..opq\nf d/c 3"},
	 "d /d\nf /d/c 3\n"},
	{"opaque at the end",
	 {"f d/a 1\nf d/s/b 2", "d d\nf d/c 3\nf d/.wh..wh..opq"},
	 "d /d\nf /d/c 3\n"},
	{"opaque keeps what this layer put deeper",
	 {"f d/s/b 2\nf d/s/t/u 3", "f d/s/c 3\nf d/.wh..wh..opq"},
	 "d /d\nd /d/s\nf /d/s/c 3\n"},
	{"opaque root", {"f a 1\nd b", "f .wh..wh..opq\nf c 2"}, "f /c 2\n"},
	{"opaque of nothing", {"f a 1", "f x/.wh..wh..opq"}, "f /a 1\n"},
	{"aufs leftovers",
	 {"f .wh..wh.aufs\nd .wh..wh.plnk\nf "
	  ".wh..wh.plnk/1.2 x\nf a 1"},
	 "f /a 1\n"},
	{"hard link", {"f a 1\nh b a"}, "f /a 1 x2\nf /b 1 x2\n"},
	{"hard link to a lower layer",
	 {"f a 1", "h b a"},
	 "f /a 1 x2\nf /b 1 x2\n"},
	{"hard link, then the first name goes",
	 {"f a 1\nh b a", "f .wh.a"},
	 "f /b 1\n"},
	{"hard link to itself", {"f a 1\nh a a"}, "f /a 1\n"},
	{"hard link to an absolute name",
	 {"f d/a 1\nh b /d/a"},
	 "f /b 1 x2\nd /d\nf /d/a 1 x2\n"},
	{"hard link to a symbolic link",
	 {"l a x\nh b a"},
	 "l /a x x2\nl /b x x2\n"},
	{"hard link over its target's folder",
	 {"f d/a 1\nh d d/a"},
	 "f /d 1\n"},
	{"hard link of a hard link",
	 {"f a 1\nh b a\nh c b"},
	 "f /a 1 x3\nf /b 1 x3\nf /c 1 x3\n"},
	{"symbolic links stay",
	 {"l a /etc/passwd\nl b ../../x\nl c c"},
	 "l /a /etc/passwd\nl /b ../../x\nl /c c\n"},
	{"a folder that is a link below",
	 {"d usr/lib\nl lib usr/lib", "f lib/x 1"},
	 "l /lib usr/lib\nd /usr\nd /usr/lib\nf /usr/lib/x 1\n"},
	{"an explicit folder replaces the link",
	 {"d usr/lib\nl lib usr/lib", "d lib\nf lib/x 1"},
	 "d /lib\nf /lib/x 1\nd /usr\nd /usr/lib\n"},
	{"a link out of the image stays in it",
	 {"l a ../../../etc\nf a/b 1"},
	 "l /a ../../../etc\nd /etc\nf /etc/b 1\n"},
	{"an absolute link stays in the image",
	 {"l a /x\nf a/b 1"},
	 "l /a /x\nd /x\nf /x/b 1\n"},
	{"a whiteout through a link",
	 {"f x/b 1\nf x/c 2\nl a x", "f a/.wh.b"},
	 "l /a x\nd /x\nf /x/c 2\n"},
	{"devices and fifos", {"c null\np pipe"}, "c /null\np /pipe\n"},
	{"an empty layer", {"f a 1", "", "f b 2"}, "f /a 1\nf /b 2\n"},
	{"nothing at all", {""}, ""},
	{"a folder by a slash", {"f a/"}, "d /a\n"},
	{"a folder by a slash, with data", {"f a/ 1\nf b 2"}, "d /a\nf /b 2\n"},
	{"the root's own entry", {"d ./ 700\nf a 1"}, "f /a 1\n"},
};

static void test_trees(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		const struct tree_case *c = &trees[i];
		_cleanup_buf_ struct buf got = BUF_INIT;
		struct run r;

		run_init(&r, 1000);
		for (k = 0; c->layers[k]; k++) {
			if (run_lines(&r, c->layers[k]) < 0)
				fail_msg("%s: %s", c->name, r.e.msg);
		}
		assert_int_equal(run_finish(&r), 0);
		erofs_list(r.fd, &got, false);
		if (strcmp(buf_str(&got), c->want) != 0)
			fail_msg("%s: got\n%s", c->name, buf_str(&got));
		check_fsck(&r);
		run_done(&r);
	}
}

struct bad_case {
	const char *name;
	const char *layers[3];
	const char *want; /* part of the error */
};

static const struct bad_case bads[] = {
	{"up", {"f ../a 1"}, "entry '../a': its path has '..' in it"},
	{"up inside", {"f a/../../b 1"}, "'..'"},
	{"up at the end", {"d a/.."}, "'..'"},
	{"link up", {"f a 1\nh b ../a"}, "entry 'b': a hard link to '../a'"},
	{"link to nothing", {"h b a"}, "which does not exist"},
	{"link to a hidden file",
	 {"f a 1", "f .wh.a\nh b a"},
	 "which does not exist"},
	{"link to a folder", {"d a\nh b a"}, "which is a folder"},
	{"link to the root", {"h b /"}, "a hard link to the root"},
	{"link to an empty name", {"h b"}, "a hard link to the root"},
	{"empty symbolic link", {"l b"}, "a symbolic link to nothing"},
	{"below a file", {"f a 1\nf a/b 2"}, "is a file, not a folder"},
	{"below a device", {"c a\nf a/b 2"}, "is a file, not a folder"},
	{"loop of links", {"l a b\nl b a\nf a/x 1"}, "too many symbolic links"},
	{"link to itself as a folder",
	 {"l a a\nf a/x 1"},
	 "too many symbolic links"},
	{"root as a file", {"f . 1"}, "it would replace the root"},
	{"root as a link", {"l . x"}, "it would replace the root"},
	{"whiteout of no name", {"f .wh."}, "a whiteout of no name"},
	{"whiteout of here", {"f a/.wh.."}, "a whiteout of no name"},
	{"whiteout of the parent", {"f a/.wh..."}, "a whiteout of no name"},
	{"whiteout as a folder", {"f .wh.x/y 1"}, "is called '.wh.'"},
};

static void test_bad(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		const struct bad_case *c = &bads[i];
		struct run r;
		int n = 0;

		run_init(&r, 1000);
		for (k = 0; c->layers[k] && n == 0; k++)
			n = run_lines(&r, c->layers[k]);
		if (n == 0 || !strstr(r.e.msg, c->want))
			fail_msg("%s: got %d '%s'", c->name, n, r.e.msg);
		run_done(&r);
	}
}

/* ------------------------------------------------------ broken tar streams */

struct raw {
	struct buf b;
	struct run r;
};

static int raw_run(struct raw *w)
{
	int n;

	run_init(&w->r, 1000);
	n = run_bytes(&w->r, w->b.data, w->b.len, 100000);
	if (n == 0)
		n = run_finish(&w->r);
	return n;
}

static void raw_done(struct raw *w)
{
	run_done(&w->r);
	buf_done(&w->b);
	memset(&w->b, 0, sizeof(w->b));
}

static void expect_error(struct raw *w, const char *part)
{
	int n = raw_run(w);

	if (n == 0 || !strstr(w->r.e.msg, part))
		fail_msg("expected '%s', got %d '%s'", part, n, w->r.e.msg);
	raw_done(w);
}

static void expect_tree(struct raw *w, bool full, const char *want)
{
	_cleanup_buf_ struct buf got = BUF_INIT;

	if (raw_run(w) < 0)
		fail_msg("%s", w->r.e.msg);
	erofs_list(w->r.fd, &got, full);
	assert_string_equal(buf_str(&got), want);
	check_fsck(&w->r);
	raw_done(w);
}

/* A header whose field at `at` reads `text`. */
static void put_with(struct buf *b, struct ent t, size_t at, const void *text,
		     size_t len)
{
	char h[512];

	tar_header(h, &t, t.len);
	memcpy(h + at, text, len);
	tar_sum(h);
	buf_append(b, h, 512);
	if (t.len)
		tar_data_(b, t.data, t.len);
}

static void test_broken_headers(void **state)
{
	static const struct {
		size_t at;
		const char *text;
		size_t len;
		const char *want;
	} fields[] = {
		{100, "0000 99", 7, "its mode is not a valid number"},
		{108, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "its uid"},
		{108, "\x80\0\0\0\x80\0\0\0", 8, "its uid"},
		{116, "xxxxxxx", 7, "its gid"},
		{124, "-0000000001", 11, "its size"},
		{124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12,
		 "its size"},
		{124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12,
		 "its size"},
		{124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12,
		 "its size"},
		{124, "77777777777\0", 12, "cut"},
		{136, "1234x", 5, "its time"},
		{156, "Q", 1, "a type that is not known"},
		{0, "\0", 1, "an entry has no name"},
	};
	struct raw w = {.b = BUF_INIT};
	struct ent t = {.type = '0', .name = "a", .mode = 0644};
	char h[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		put_with(&w.b, t, fields[i].at, fields[i].text, fields[i].len);
		if (fields[i].want[0] != 'c')
			tar_end(&w.b);
		expect_error(&w, fields[i].want);
	}
	tar_header(h, &t, 0);
	h[148]++;
	buf_append(&w.b, h, 512);
	expect_error(&w, "checksum is wrong");
	/* One zero block and more behind it. */
	memset(h, 0, 512);
	buf_append(&w.b, h, 512);
	tar_put(&w.b, &t);
	expect_error(&w, "data behind an end mark");
	/* Not a tar at all. */
	buf_printf(&w.b, "%0600d", 5);
	expect_error(&w, "checksum is wrong");
}

static void test_cut_anywhere(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char data[700];
	struct ent t = {.type = '0',
			.name = "file",
			.mode = 0644,
			.data = data,
			.len = sizeof(data)};
	size_t n;

	(void)state;
	memset(data, 'x', sizeof(data));
	tar_pax(&b, "mtime", "12.5", -1);
	tar_put(&b, &t);
	t.name = "second";
	tar_put(&b, &t);
	for (n = 0; n < b.len; n += 37) {
		struct run r;
		int want_ok = n % 512 == 0 && (n == 0 || n == 2560);
		int got;

		run_init(&r, 10);
		got = run_bytes(&r, b.data, n, 100);
		if (!want_ok && (got == 0 || !strstr(r.e.msg, "cut")))
			fail_msg("cut at %zu: %d '%s'", n, got, r.e.msg);
		run_done(&r);
	}
}

static void test_pax(void **state)
{
	struct raw w = {.b = BUF_INIT};
	struct ent t = {
		.type = '0', .name = "a", .mode = 04755, .data = "x", .len = 1};
	char long_name[301];

	(void)state;
	memset(long_name, 'n', 300);
	long_name[100] = '/';
	long_name[200] = '/';
	long_name[300] = '\0';
	tar_pax(&w.b, "path", "real\xff\xfename", -1);
	tar_put(&w.b, &t);
	tar_pax(&w.b, "uid", "70000", -1);
	t.name = "b";
	tar_put(&w.b, &t);
	tar_pax(&w.b, "mtime", "-1.25", -1);
	t.name = "c";
	tar_put(&w.b, &t);
	tar_end(&w.b);
	expect_tree(&w, true,
		    "f /b x 4755 70000:0 0\nf /c x 4755 0:0 -2\n"
		    "f /real\xff\xfename x 4755 0:0 0\n");
	t.name = "a";
	/* GNU's long name, with its NUL. */
	t.type = 'L';
	t.data = long_name;
	t.len = 301;
	tar_put(&w.b, &t);
	t = (struct ent){.type = '0', .name = "cut", .mode = 0644};
	tar_put(&w.b, &t);
	tar_end(&w.b);
	assert_int_equal(raw_run(&w), 0);
	assert_int_equal(w.r.stats.entries, 3);
	raw_done(&w);
}

static void test_bad_pax(void **state)
{
	static const char *const records[] = {
		"5 a=b\n",   "7 a=b\n",
		"999 a=b\n", "6 a=bc",
		"-6 a=b\n",  "6  a=b\n",
		"6 abcd\n",  "06 a=b",
		"0 a=b\n",   "18446744073709551621 a=b\n",
	};
	static const struct {
		const char *key, *value;
		long len;
		const char *want;
	} values[] = {
		{"path", "a\0b", 3, "not valid"},
		{"size", "12x", -1, "not valid"},
		{"size", "99999999999999999999", -1, "not valid"},
		{"size", "9223372036854775807", -1, "too large"},
		{"uid", "4294967296", -1, "over 2^31-1"},
		{"uid", "-1", -1, "not valid"},
		{"gid", "2147483648", -1, "over 2^31-1"},
		{"mtime", "now", -1, "not valid"},
		{"SCHILY.xattr.", "x", -1, "not valid"},
		{"GNU.sparse.numbytes", "1", -1, "not valid"},
		{"GNU.sparse.offset", "1", -1, "map of holes"},
		{"GNU.sparse.map", "1,", -1, "not valid"},
		{"GNU.sparse.map", "0,1", -1, "has no size"},
		{"GNU.sparse.major", "2", -1, "not valid"},
	};
	struct raw w = {.b = BUF_INIT};
	struct ent t = {.type = '0', .name = "a", .mode = 0644};
	char big[5000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		struct ent x = {.type = 'x',
				.name = "x",
				.data = records[i],
				.len = strlen(records[i])};

		if (strcmp(records[i], "6 a=b\n") == 0)
			continue;
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		tar_end(&w.b);
		expect_error(&w, "PAX header");
	}
	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		tar_pax(&w.b, values[i].key, values[i].value, values[i].len);
		tar_put(&w.b, &t);
		tar_end(&w.b);
		expect_error(&w, values[i].want);
	}
	memset(big, 'a', sizeof(big));
	big[4999] = '\0';
	tar_pax(&w.b, "path", big, -1);
	tar_put(&w.b, &t);
	expect_error(&w, "over 4095 bytes");
	big[300] = '\0';
	tar_pax(&w.b, "path", big, -1);
	tar_put(&w.b, &t);
	expect_error(&w, "over 255 bytes");
	/* A header that claims to be 2 MiB long. */
	t.type = 'x';
	put_with(&w.b, t, 124, "00010000000", 11);
	expect_error(&w, "over 1 MiB");
}

/* ----------------------------------------------------------------- sparse */

static void check_sparse(struct raw *w, uint64_t size, const char *want)
{
	struct erofs_img g;
	struct stat st;
	struct erofs_ino i;
	const uint8_t *b;
	size_t n;

	if (raw_run(w) < 0)
		fail_msg("%s", w->r.e.msg);
	fstat(w->r.fd, &st);
	g.len = (size_t)st.st_size;
	g.p = mmap(NULL, g.len, PROT_READ, MAP_SHARED, w->r.fd, 0);
	b = g.p + get_le(g.p + 1024 + 14, 2) * 32 + 64; /* root, inline */
	/* Its entries are ".", ".." and "s". */
	erofs_get(&g, get_le(b + 24, 8), &i);
	assert_int_equal(i.size, size);
	for (n = 0; n < size; n++) {
		uint8_t c = *erofs_at(&g, &i, n);

		if (c !=
		    (uint8_t)(n < strlen(want) && want[n] != '.' ? want[n] : 0))
			fail_msg("byte %zu is %d", n, c);
	}
	munmap((void *)(uintptr_t)g.p, g.len);
	check_fsck(&w->r);
	raw_done(w);
}

static void test_sparse(void **state)
{
	struct raw w = {.b = BUF_INIT};
	struct ent t = {.type = '0',
			.name = "s",
			.mode = 0644,
			.data = "abcd",
			.len = 4};
	char map[516] = "2\n1\n2\n6\n2\n";

	(void)state;
	/* PAX 0.1: .ab...cd, and 9000 zeros. */
	tar_pax(&w.b, "GNU.sparse.map", "1,2,6,2", -1);
	tar_put(&w.b, &t);
	expect_error(&w, "has no size");

	{
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct ent x = {.type = 'x', .name = "x"};

		/* Lengths count themselves. */
		buf_puts(&b, "29 GNU.sparse.realsize=10000\n");
		buf_puts(&b, "26 GNU.sparse.map=1,2,6,2\n");
		assert_int_equal(b.len, 29 + 26);
		x.data = b.data;
		x.len = b.len;
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		tar_end(&w.b);
		check_sparse(&w, 10000, ".ab...cd");
		/* A map that says more than there is. */
		b.data[b.len - 2] = '3';
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		expect_error(&w, "map of holes is not of its size");
		b.data[b.len - 2] = '2';
		b.data[b.len - 4] = '2'; /* the second begins in the first */
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		expect_error(&w, "map of holes is broken");
	}
	{
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct ent x = {.type = 'x', .name = "x"};

		/* 1.0: the map in front of the data. */
		buf_puts(&b, "22 GNU.sparse.major=1\n");
		buf_puts(&b, "22 GNU.sparse.minor=0\n");
		buf_puts(&b, "29 GNU.sparse.realsize=10000\n");
		assert_int_equal(b.len, 22 + 22 + 29);
		x.data = b.data;
		x.len = b.len;
		memcpy(map + 512, "abcd", 4);
		t.data = map;
		t.len = sizeof(map);
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		tar_end(&w.b);
		check_sparse(&w, 10000, ".ab...cd");
		memcpy(map, "99999999999\n", 12);
		tar_put(&w.b, &x);
		tar_put(&w.b, &t);
		expect_error(&w, "too many holes");
	}
}

static void test_sparse_gnu(void **state)
{
	struct raw w = {.b = BUF_INIT};
	struct ent t = {.type = 'S', .name = "s", .mode = 0644};
	char h[512];

	(void)state;
	tar_header(h, &t, 4);
	memcpy(h + 257, "ustar  ", 8);
	memset(h + 345, 0, 167);
	tar_octal(h + 386, 12, 1);
	tar_octal(h + 398, 12, 2);
	tar_octal(h + 410, 12, 6);
	tar_octal(h + 422, 12, 2);
	tar_octal(h + 483, 12, 10000);
	tar_sum(h);
	buf_append(&w.b, h, 512);
	tar_data_(&w.b, "abcd", 4);
	tar_end(&w.b);
	check_sparse(&w, 10000, ".ab...cd");
	/* Extension blocks without an end. */
	h[482] = 1;
	tar_sum(h);
	buf_append(&w.b, h, 512);
	memset(h, 0, 512);
	h[504] = 1;
	buf_append(&w.b, h, 512);
	buf_append(&w.b, h, 512);
	expect_error(&w, "map of holes is broken");
}

static void test_limits(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct raw w = {.b = BUF_INIT};
	char name[64];
	struct run r;
	int i, n;

	(void)state;
	/* More entries than allowed. */
	for (i = 0; i < 11; i++) {
		snprintf(name, sizeof(name), "f f%d x\n", i);
		buf_puts(&b, name);
	}
	run_init(&r, 10);
	assert_true(run_lines(&r, b.data) < 0);
	assert_non_null(strstr(r.e.msg, "more than"));
	run_done(&r);
	/* Too deep. */
	{
		_cleanup_buf_ struct buf p = BUF_INIT;
		struct ent t = {.type = '0', .name = "x", .mode = 0644};

		for (n = 0; n < 300; n++)
			buf_puts(&p, "a/");
		buf_puts(&p, "f");
		tar_pax(&w.b, "path", p.data, -1);
		tar_put(&w.b, &t);
		expect_error(&w, "directories deep");
	}
	/* More bytes than the output may have: said by size, not written. */
	{
		struct ent t = {.type = '0', .name = "x", .mode = 0644};

		tar_pax(&w.b, "size", "99999999999999", -1);
		tar_put(&w.b, &t);
		expect_error(&w, "larger than 64 GiB");
	}
}

static void test_xattrs(void **state)
{
	struct raw w = {.b = BUF_INIT};
	struct ent t = {
		.type = '0', .name = "a", .mode = 0644, .data = "x", .len = 1};
	char *big = calloc(1, 70000);

	(void)state;
	tar_pax(&w.b, "SCHILY.xattr.user.test", "va\0lue", 6);
	tar_put(&w.b, &t);
	tar_pax(&w.b, "SCHILY.xattr.trusted.overlay.opaque", "y", -1);
	t.name = "b";
	tar_put(&w.b, &t);
	tar_pax(&w.b, "SCHILY.xattr.user.overlay.redirect", "/x", -1);
	t.name = "c";
	tar_put(&w.b, &t);
	/* Larger than a block, and on the root. */
	tar_pax(&w.b, "SCHILY.xattr.user.big", big, 60000);
	t.name = "d";
	tar_put(&w.b, &t);
	tar_pax(&w.b, "SCHILY.xattr.user.root", big, 2000);
	t = (struct ent){.type = '5', .name = "./", .mode = 0755};
	tar_put(&w.b, &t);
	tar_end(&w.b);
	assert_int_equal(raw_run(&w), 0);
	assert_int_equal(w.r.stats.dropped_xattrs, 2);
	check_fsck(&w.r);
	raw_done(&w);
	tar_pax(&w.b, "SCHILY.xattr.user.big", big, 65600);
	t = (struct ent){.type = '0', .name = "a", .mode = 0644};
	tar_put(&w.b, &t);
	expect_error(&w, "more than 64 KiB");
	tar_pax(&w.b, "SCHILY.xattr.user.root", big, 3000);
	t = (struct ent){.type = '5', .name = "./", .mode = 0755};
	tar_put(&w.b, &t);
	tar_end(&w.b);
	expect_error(&w, "its attributes take more than");
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_broken_headers),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_pax),
		cmocka_unit_test(test_bad_pax),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_sparse_gnu),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_xattrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
