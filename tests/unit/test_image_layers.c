/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of layers against a skopeo that is somebody else's: a script that
 * does what whoever has taken it over could do in its folder. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/image_layout.h"

/* The words of one case are the file "case", run with OUT (the image's folder),
 * LAYER (the file of its layer), HEX, TOP and GATE. */
static const char script[] =
	"#!/bin/sh\n"
	"TOP=%s\n"
	"for last; do :; done\n"
	"if [ $1 = inspect ]; then exec cat $TOP/manifest; fi\n"
	"for w; do [ \"$prev\" != --src-authfile ] || GATE=$w; prev=$w; done\n"
	"OUT=${last#dir:} HEX=$(cat $TOP/hex)\n"
	"LAYER=$TOP/web/blobs/sha256/$HEX\n"
	"enter() { mkdir $OUT; cat $GATE >$TOP/auth; }\n"
	"give() { cp $TOP/manifest $OUT/manifest.json\n"
	"	cp $TOP/web/blobs/sha256/$(cat $TOP/config) $OUT; }\n"
	"done_() { [ -e $TOP/done ] || [ $((n += 1)) -gt 2400 ]; }\n"
	". $TOP/case\n"
	"echo 'level=fatal msg=\"broken on purpose\"' >&2\n"
	"exit 1\n";

static int set_up(void **state)
{
	static char path[200];
	struct layout l;
	FILE *f;

	if (setup(state) < 0)
		return -1;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	write_file(at("manifest"), l.manifest.data, l.manifest.len);
	write_file(at("hex"), l.layer[0] + 7, 64);
	write_file(at("config"), l.config_digest + 7, 64);
	layout_done(&l);
	snprintf(path, sizeof(path), "%s/skopeo", top);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, script, top);
	fclose(f);
	skopeo = path;
	/* It writes "auth" there. */
	if (chmod(path, 0755) < 0 || chmod(top, 01777) < 0)
		return -1;
	reopen();
	return 0;
}

static int tear_down(void **state)
{
	skopeo = NULL;
	return teardown(state);
}

static int pull_name(const char *name, struct image_info **ret, struct err *err)
{
	const struct image_pull p = {.reference = name, .timeout_ms = 120000};

	return image_store_pull(store, &p, NULL, NULL, ret, err);
}

/* Pulls with these words as skopeo's. */
static int pull(const char *words, struct image_info **ret)
{
	write_file(at("case"), words, strlen(words));
	err_clear(&e);
	return pull_name("localhost/web:1", ret, &e);
}

/* It fails, as skopeo says; n layers are in the cache, right and sealed. */
static void expect(const char *words, const char *error, size_t n)
{
	struct image_info *i = NULL;
	int r = pull(words, &i);

	if (r >= 0 || !strstr(e.msg, error))
		fail_msg("'%s': %d '%s'", words, r, e.msg);
	if (count_files("images/layers") != n)
		fail_msg("'%s': %zu layers", words,
			 count_files("images/layers"));
	assert_int_equal(count_files("images/tmp"), 0);
	assert_int_equal(
		sh("cd %s/images/layers && for f in *; do [ ! -e $f ] || "
		   "[ \"$(sha256sum <$f) $(stat -c '%%a %%u' $f)\" = "
		   "\"$f  - 444 %u\" ] || exit 1; done",
		   top, (unsigned int)geteuid()),
		0);
}

static void test_right(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;

	(void)state;
	expect("enter; cp $LAYER $OUT/$HEX", "broken on purpose", 1);
	assert_int_equal(file_read(AT_FDCWD, at("auth"), 100, &text, &len, &e),
			 0);
	assert_string_equal(text, "{\"auths\":{}}");
	/* It is there the next time, read-only. */
	if (pull("enter; [ $(stat -c %a $OUT/$HEX) = 444 ] || exit 1\n"
		 "give; exit 0",
		 &i) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(i->config.n_diff_ids, 1);
}

static void test_wrong(void **state)
{
	(void)state;
	expect("enter; tr a-z b-za <$LAYER >$OUT/$HEX", "broken", 0);
	expect("enter; head -c 100 $LAYER >$OUT/$HEX", "broken", 0);
	expect("enter; (cat $LAYER; echo) >$OUT/$HEX", "broken", 0);
	expect("enter; : >$OUT/$HEX", "broken", 0);
	expect("enter; cp $LAYER $OUT/dir-put-blob1", "broken", 0);
	expect("enter; ln -s $LAYER $OUT/$HEX", "broken", 0);
	expect("enter; mkfifo $OUT/$HEX", "broken", 0);
	expect("enter; mkdir $OUT/$HEX", "broken", 0);
	/* Of the same bytes, but under two names. */
	if (geteuid() == 0)
		expect("enter; cp $LAYER $OUT/$HEX; ln $OUT/$HEX $OUT/x",
		       "broken", 0);
}

/* Who still has it open for writing could change what was hashed. */
static void test_still_open(void **state)
{
	(void)state;
	expect("enter; cp $LAYER $OUT/$HEX; exec 3>>$OUT/$HEX\n"
	       "(until done_; do sleep 0.05; done) "
	       ">/dev/null 2>&1 &\n",
	       "broken", 0);
	assert_int_equal(sh(": >%s/done", top), 0);
	expect("enter; cp $LAYER $OUT/$HEX", "broken", 1);
}

/* Things in the place of the fifo and of the folder. */
static void test_places(void **state)
{
	(void)state;
	write_file(at("victim"), "x", 1);
	expect("ln -s $TOP/victim $OUT.x; mv -T $OUT.x $GATE; sleep 60",
	       "run skopeo", 0);
	expect(": >$OUT.x; mv $OUT.x $GATE; sleep 60", "took its fifo away", 0);
	assert_int_equal(sh("[ \"$(cat %s/victim)\" = x ]", top), 0);
	expect("enter; cp $LAYER $OUT/$HEX", "broken", 1);
	expect("mkdir $HOME/other; ln -s $HOME/other $OUT; cat $GATE; "
	       "[ ! -e $HOME/other/$HEX ] && give",
	       "broken", 1);
	expect("mkdir $HOME/other; ln -s $HOME/other $OUT; cat $GATE; "
	       "give; cp $LAYER $OUT/$HEX; exit 0",
	       "what skopeo wrote", 1);
	/* It takes the name away, not what it leads to. */
	expect("enter; rm -f $OUT/$HEX; echo x >$OUT/$HEX; give; exit 0",
	       "should be", 1);
}

/* What another has done to the cache itself: it is found, and fetched anew. */
static void test_damaged(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL;

	(void)state;
	expect("enter; cp $LAYER $OUT/$HEX", "broken on purpose", 1);
	assert_int_equal(
		sh("cd %s/images/layers && tr a-z b-za <$(echo *) >../x && "
		   "chmod u+w * && cat ../x >$(echo *) && chmod 444 * && "
		   "rm ../x",
		   top),
		0);
	if (pull("enter; [ -e $OUT/$HEX ] && echo had >>$TOP/auth.log || {\n"
		 "echo new >>$TOP/auth.log; cp $LAYER $OUT/$HEX; }\n"
		 "give; exit 0",
		 &i) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(sh("[ \"$(cat %s/auth.log)\" = \"had\nnew\" ]", top),
			 0);
	/* Cut short it is not taken at all. */
	assert_int_equal(sh("cd %s/images/layers && truncate -s 100 *", top),
			 0);
	expect("enter; [ -e $OUT/$HEX ] && exit 0; cp $LAYER $OUT/$HEX",
	       "broken on purpose", 1);
}

/* ------------------------------------------------------------- two at once */

static void *on_first(void *arg)
{
	struct image_info *i = NULL;
	struct err err = ERR_INIT;

	if (pull_name("localhost/first:1", &i, &err) < 0)
		print_message("# first: %s\n", err.msg);
	*(bool *)arg = i;
	image_info_free(i);
	return NULL;
}

/* A pull keeps none of another registry's waiting while bytes come to it; and
 * those of its own registry, when no more come, for a while only. */
static void test_stalled(void **state)
{
	static const char words[] =
		"enter; case \"$*\" in *localhost/first:*) : >$TOP/held\n"
		"until done_; do\n"
		"[ -e $TOP/still ] || echo x >>$OUT/dir-put-blob1\n"
		"sleep 0.05; done;; esac\n"
		"cp $LAYER $OUT/$HEX; give; exit 0";
	static const char *const others[] = {"other.test/web:1",
					     "localhost/web:1"};
	const uint64_t end = now_ms() + 60000;
	bool first = false;
	pthread_t t;
	size_t k;

	(void)state;
	write_file(at("case"), words, strlen(words));
	assert_int_equal(pthread_create(&t, NULL, on_first, &first), 0);
	while (access(at("held"), F_OK) < 0 && now_ms() < end)
		usleep(10000);
	for (k = 0; k < ARRAY_SIZE(others); k++) {
		struct image_info *i = NULL;

		err_clear(&e);
		if (pull_name(others[k], &i, &e) < 0)
			print_message("# %s: %s\n", others[k], e.msg);
		assert_non_null(i);
		image_info_free(i);
		/* The other one has to fetch it itself. */
		if (k == 0)
			assert_int_equal(
				sh("rm %s/images/layers/*; : >%s/still", top,
				   top),
				0);
	}
	write_file(at("done"), "", 0);
	pthread_join(t, NULL);
	assert_true(first);
	assert_int_equal(count_files("images/layers"), 1);
}

/* ------------------------------------------------------------ a full disk */

static void layout_of(struct layout *l, const char *name, char c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char line[1000];
	int i;

	layout_init(l, name);
	memset(line, c, sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	buf_puts(&b, "d bin\n");
	for (i = 0; i < 200; i++)
		buf_printf(&b, "f bin/%d %s%s%s\n", i, line, line, line);
	layout_layer(l, buf_str(&b));
	layout_config(l);
	layout_manifest(l);
	layout_index(l, "x:1");
}

/* In a store that has room for one image and its layer, and for a second image
 * when the layer goes. */
static int in_small_store(const struct layout *b)
{
	struct image_info **list = NULL;
	struct image_info *i = NULL;

	layer_cache = 1 << 30;
	reopen();
	if (pull("enter; cp $LAYER $OUT/$HEX; give; exit 0", &i) < 0) {
		print_message("# pull: %s\n", e.msg);
		return 1;
	}
	image_info_free(i);
	if (count_files("images/layers") != 1)
		return 4;
	if (load(b->dir, "b:1", &list) < 0) {
		print_message("# load: %s\n", e.msg);
		return 2;
	}
	image_info_free_list(list);
	if (count_files("images/layers") != 0 ||
	    image_store_get(store, "localhost/web:1", &i, &e) < 0)
		return 5;
	image_info_free(i);
	/* Now there is nothing that could give way. */
	if (load(at("third"), "c:1", &list) != -ENOSPC ||
	    !strstr(e.msg, "image store '") ||
	    !strstr(e.msg, "No space left")) {
		print_message("# third: %s\n", e.msg);
		return 3;
	}
	return 0;
}

/* What skopeo has no room for: what is kept goes, and it is tried again, once. */
static void test_full_fetching(void **state)
{
	static const char words[] =
		"echo x >>$TOP/log; enter\n"
		"echo 'level=fatal msg=\"write x: no space left on device\"' >&2\n"
		"exit 1";

	(void)state;
	assert_int_equal(sh("cd %s/images/layers && f=$(echo x | sha256sum) && "
			    "echo x >${f%%%%  -} && chmod 444 *",
			    top),
			 0);
	expect("enter", "broken", 1);
	expect(words, "no space is left in '", 0);
	assert_int_equal(e.code, ENOSPC);
	assert_non_null(strstr(e.msg, "/images'"));
	assert_int_equal(sh("[ $(wc -l <%s/log) = 2 ]", top), 0);
}

static void test_full(void **state)
{
	struct layout a, b, c;
	pid_t pid;
	int st;

	(void)state;
	if (geteuid() != 0) {
		print_message("# host: not root\n");
		skip();
	}
	layout_of(&a, "web", 'a');
	write_file(at("manifest"), a.manifest.data, a.manifest.len);
	write_file(at("hex"), a.layer[0] + 7, 64);
	write_file(at("config"), a.config_digest + 7, 64);
	layout_of(&b, "second", 'b');
	layout_of(&c, "third", 'c');
	image_store_close(store);
	store = NULL;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* In a mount namespace that goes with this process. */
		if (unshare(CLONE_NEWNS) < 0 ||
		    sh("mount --make-rprivate / && mount -t tmpfs -o "
		       "size=%zuk,mode=711 none %s/images",
		       a.layer_len[0] * 28 / 10 / 1024, top) != 0)
			_exit(99);
		_exit(in_small_store(&b));
	}
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
	layout_done(&a);
	layout_done(&b);
	layout_done(&c);
}

int main(void)
{
#define TEST_(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_(test_right),	TEST_(test_wrong),
		TEST_(test_still_open), TEST_(test_places),
		TEST_(test_damaged),	TEST_(test_stalled),
		TEST_(test_full),	TEST_(test_full_fetching),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
