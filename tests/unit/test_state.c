/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/reconcile/logfile.h"
#include "host-agent/state/state.h"
#include "host-agent/state/state_tenant.h"
#include "host-agent/state/state_volume.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static const struct quota_use no_use;
static char dir[64];
static char path[128];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/hyb-unit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return path_remove(dir, NULL);
}

static struct state *open_state(void)
{
	struct state *s = NULL;
	struct err e = ERR_INIT;

	if (state_open(path, &s, &e) < 0)
		fail_msg("%s", e.msg);
	return s;
}

static int count_one(void *arg, const struct state_stack *st)
{
	int *n = arg;

	assert_string_equal(st->name, "web");
	assert_string_equal(st->desired, "{\"b\":2}");
	(*n)++;
	return 0;
}

static void test_stacks(void **state)
{
	struct state *s = open_state();
	struct err e = ERR_INIT;
	int64_t g1 = 0, g2 = 0;
	int n = 0;

	(void)state;
	assert_int_equal(state_stack_put(s, "default", "web", "{\"a\":1}",
					 &no_use, &g1, &e),
			 0);
	assert_int_equal(state_stack_put(s, "default", "web", "{\"b\":2}",
					 &no_use, &g2, &e),
			 0);
	assert_true(g2 > g1);
	state_close(s);
	s = open_state();
	assert_int_equal(state_stack_each(s, count_one, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(state_stack_remove(s, "default", "web", &e), 0);
	n = 0;
	assert_int_equal(state_stack_each(s, count_one, &n, &e), 0);
	assert_int_equal(n, 0);
	state_close(s);
}

static int put_tenant(struct state *s, const char *text, struct err *e)
{
	struct model_tenant *t = NULL;
	json_t *j = json_loads(text, 0, NULL);
	int r = model_tenant_from_json(j, &t, e);

	json_decref(j);
	if (r == 0)
		r = state_tenant_put(s, t, e);
	model_tenant_free(t);
	return r;
}

#define TENANT(quota)                                             \
	"{\"name\":\"acme\",\"quota\":{" quota                    \
	"},\"allow\":{\"images\":null},\"access\":{\"users\":[]," \
	"\"groups\":[]}}"

static void test_quota(void **state)
{
	struct quota_use one = {{1, 2, 64 << 20, 1 << 20, 0, 1}}, two, used;
	struct state *s = open_state();
	struct state_snapshot snap = {.name = "s", .size = 16 << 20};
	struct state_volume v = {.tenant = "acme",
				 .name = "data",
				 .uuid = "u",
				 .size = 16 << 20};
	struct err e = ERR_INIT;
	int64_t g;

	(void)state;
	two = one;
	two.n[QUOTA_VMS] = 2;
	/* Nobody is counted who is not declared; and a declaration that came
	 * later stops nothing, but lets nothing grow. */
	assert_int_equal(state_stack_put(s, "acme", "a", "{}", &two, &g, &e),
			 0);
	assert_int_equal(
		put_tenant(s, TENANT("\"vms\":1,\"storage\":34603008"), &e), 0);
	assert_int_equal(state_stack_put(s, "acme", "a", "{}", &two, &g, &e),
			 0);
	assert_int_equal(state_stack_put(s, "acme", "b", "{}", &one, &g, &e),
			 -EDQUOT);
	assert_string_equal(e.msg, "QuotaExceeded: tenant 'acme': vms: 2 used,"
				   " 1 more asked, the limit is 1");
	assert_int_equal(state_quota_ask_stack(s, "acme", "b", &one, &e),
			 -EDQUOT);
	assert_int_equal(state_quota_ask_stack(s, "acme", "a", &one, &e), 0);
	assert_int_equal(state_stack_put(s, "other", "b", "{}", &two, &g, &e),
			 0);
	/* What was refused or only asked has left nothing. */
	assert_int_equal(state_tenant_use(s, "acme", &used, &e), 0);
	assert_int_equal(used.n[QUOTA_VMS], 2);
	assert_int_equal(used.n[QUOTA_STORAGE], 1 << 20);
	/* Volumes, what they grow by, and snapshots: 33 MiB there are. */
	assert_int_equal(state_volume_add(s, &v, &e), 0);
	snap.volume_id = v.id;
	assert_int_equal(state_snapshot_add(s, &snap, &e), 0);
	v.size += 1 << 20;
	assert_int_equal(state_volume_put(s, &v, &e), -EDQUOT);
	v.size -= 1 << 20;
	v.deleting = true;
	assert_int_equal(state_volume_put(s, &v, &e), 0);
	snap.volume_id = v.id;
	snprintf(snap.name, sizeof(snap.name), "t");
	assert_int_equal(state_snapshot_add(s, &snap, &e), -EDQUOT);
	assert_int_equal(state_tenant_remove(s, "acme", &e), -EBUSY);
	assert_int_equal(state_tenant_remove(s, "nobody", &e), -ENOENT);
	assert_int_equal(put_tenant(s, TENANT(""), &e), 0);
	assert_int_equal(state_stack_put(s, "acme", "b", "{}", &one, &g, &e),
			 0);
	state_close(s);
}

struct racer {
	struct state *s;
	int id, won;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	const struct quota_use one = {{1, 0, 0, 0, 0, 0}};
	char name[32];
	int64_t g;
	int i;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "s-%d-%d", racer->id, i);
		if (state_stack_put(racer->s, "acme", name, "{}", &one, &g,
				    NULL) == 0)
			racer->won++;
	}
	return NULL;
}

/* Of many deployments at once as many pass as there is room for. */
static void test_quota_race(void **state)
{
	struct racer racers[4] = {{NULL, 0, 0}};
	struct state *s = open_state();
	struct err e = ERR_INIT;
	pthread_t threads[4];
	int i, won = 0;

	(void)state;
	assert_int_equal(put_tenant(s, TENANT("\"vms\":5"), &e), 0);
	for (i = 0; i < 4; i++) {
		racers[i] = (struct racer){s, i, 0};
		assert_int_equal(
			pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		won += racers[i].won;
	}
	assert_int_equal(won, 5);
	state_close(s);
}

static int last_container(void *arg, const struct state_container *c)
{
	struct state_container *out = arg;

	*out = *c;
	out->applied = NULL;
	return 0;
}

static void test_vms(void **state)
{
	struct state *s = open_state();
	struct state_container c = {.name = "c",
				    .state = "running",
				    .exit_code = -1,
				    .incarnation = 3,
				    .user_paused = true,
				    .restart_of = 3,
				    .log_base = 1ull << 33},
			       back = {0};
	struct state_vm vm = {0}, again = {0};
	struct err e = ERR_INIT;
	int64_t first;

	(void)state;
	assert_int_equal(state_vm_ensure(s, "default", "web", "v", &vm, &e), 0);
	assert_int_equal(strlen(vm.uuid), 36);
	assert_int_equal(vm.uuid[14], '4');
	assert_int_equal(strlen(vm.instance), 32);
	assert_int_equal(state_vm_ensure(s, "default", "web", "v", &again, &e),
			 0);
	assert_int_equal(again.id, vm.id);
	assert_string_equal(again.instance, vm.instance);
	c.vm_id = vm.id;
	assert_int_equal(state_container_put(s, &c, &e), 0);
	/* A new id takes the containers along; the old is never used again. */
	first = vm.id;
	assert_int_equal(state_vm_renew(s, &vm, &e), 0);
	assert_true(vm.id > first);
	assert_string_not_equal(vm.instance, again.instance);
	assert_int_equal(
		state_container_each(s, vm.id, last_container, &back, &e), 0);
	assert_string_equal(back.name, "c");
	assert_true(back.log_base == c.log_base && back.incarnation == 3);
	assert_true(back.user_paused && back.restart_of == 3);
	vm.exists = true;
	vm.applied = strdup("{}");
	assert_int_equal(state_vm_put(s, &vm, &e), 0);
	state_vm_done(&vm);
	assert_int_equal(state_vm_remove(s, vm.id, &e), 0);
	memset(&back, 0, sizeof(back));
	assert_int_equal(
		state_container_each(s, vm.id, last_container, &back, &e), 0);
	assert_string_equal(back.name, "");
	assert_int_equal(state_vm_ensure(s, "default", "web", "v", &vm, &e), 0);
	assert_true(vm.id > first + 1);
	state_close(s);
}

static int last_vm(void *arg, const struct state_vm *vm)
{
	struct state_vm *out = arg;

	*out = *vm;
	out->applied = NULL;
	return 0;
}

/* A store that an earlier hyb wrote (version 1) goes on being one. */
static void test_upgrade(void **state)
{
	static const char old[] =
		"CREATE TABLE stacks(tenant TEXT NOT NULL, name TEXT NOT NULL,"
		" desired TEXT NOT NULL, generation INTEGER NOT NULL,"
		" PRIMARY KEY(tenant, name));"
		"CREATE TABLE vms(id INTEGER PRIMARY KEY, tenant TEXT NOT NULL,"
		" stack TEXT NOT NULL, name TEXT NOT NULL, uuid TEXT NOT NULL,"
		" instance TEXT NOT NULL, applied TEXT,"
		" user_stopped INTEGER NOT NULL, present INTEGER NOT NULL,"
		" reason TEXT NOT NULL, message TEXT NOT NULL,"
		" restarts INTEGER NOT NULL, created_at INTEGER NOT NULL,"
		" started_at INTEGER NOT NULL, portd_pid INTEGER NOT NULL,"
		" portd_start INTEGER NOT NULL, ports TEXT NOT NULL,"
		" UNIQUE(tenant, stack, name));"
		"CREATE TABLE containers(vm_id INTEGER NOT NULL REFERENCES"
		" vms(id) ON DELETE CASCADE ON UPDATE CASCADE,"
		" name TEXT NOT NULL, applied TEXT, digest TEXT NOT NULL,"
		" user_stopped INTEGER NOT NULL, state TEXT NOT NULL,"
		" reason TEXT NOT NULL, message TEXT NOT NULL,"
		" exit_code INTEGER NOT NULL, restarts INTEGER NOT NULL,"
		" created_at INTEGER NOT NULL, started_at INTEGER NOT NULL,"
		" finished_at INTEGER NOT NULL, incarnation INTEGER NOT NULL,"
		" log_base INTEGER NOT NULL, PRIMARY KEY(vm_id, name));"
		"CREATE TABLE counters(name TEXT PRIMARY KEY,"
		" value INTEGER NOT NULL);"
		"INSERT INTO counters VALUES('vm', 7), ('generation', 0);"
		"INSERT INTO vms VALUES(7, 'default', 'web', 'v', 'u', 'i',"
		" NULL, 1, 1, '', '', 2, 3, 4, 5, 6, 'p');"
		"INSERT INTO containers VALUES(7, 'c', NULL, 'd', 0, 'running',"
		" '', '', -1, 1, 2, 3, 4, 5, 6);"
		"PRAGMA user_version = 1;";
	struct state_container c = {0};
	struct state_vm vm = {0};
	struct err e = ERR_INIT;
	struct state *s;
	sqlite3 *db;
	int round;

	(void)state;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, old, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	for (round = 0; round < 2; round++) {
		s = open_state();
		assert_int_equal(state_vm_each(s, last_vm, &vm, &e), 0);
		assert_true(vm.id == 7 && vm.user_stopped && vm.exists);
		assert_string_equal(vm.ports, "p");
		assert_int_equal(vm.restart_of, 0);
		assert_int_equal(vm.net_number, 0);
		assert_int_equal(
			state_container_each(s, 7, last_container, &c, &e), 0);
		assert_true(c.log_base == 6 && c.incarnation == 5);
		assert_true(!c.user_paused && c.restart_of == 0);
		state_close(s);
	}
}

/* What was put before a kill is there after it. */
static void test_killed(void **state)
{
	struct state *s;
	struct state_vm vm = {0};
	struct err e = ERR_INIT;
	int p[2], status;
	char last = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		char name[8];

		s = open_state();
		for (char i = 1;; i++) {
			snprintf(name, sizeof(name), "v%d", i);
			if (state_vm_ensure(s, "default", "web", name, &vm,
					    &e) < 0)
				_exit(1);
			if (write(p[1], &i, 1) != 1)
				_exit(1);
		}
	}
	close(p[1]);
	while (last < 20 && read(p[0], &last, 1) == 1)
		;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(p[0]);
	s = open_state();
	for (char i = 1; i <= last; i++) {
		char name[8];

		snprintf(name, sizeof(name), "v%d", i);
		assert_int_equal(
			state_vm_ensure(s, "default", "web", name, &vm, &e), 0);
		assert_int_equal(vm.id, i);
	}
	state_close(s);
}

/* Cut or flipped anywhere: refused with a word, or read; never a crash. */
static void test_damage(void **state)
{
	struct state *s = open_state();
	struct err e = ERR_INIT;
	char *good = NULL, *bad;
	size_t len, at;
	int64_t g;

	(void)state;
	assert_int_equal(
		state_stack_put(s, "default", "web", "{}", &no_use, &g, &e), 0);
	state_close(s);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 24, &good, &len, &e),
			 0);
	bad = malloc(len);
	assert_non_null(bad);
	for (at = 0; at < len; at += 97) {
		memcpy(bad, good, len);
		bad[at] = (char)(bad[at] ^ 0x5a);
		assert_int_equal(file_write_atomic(path, bad, len, 0600, &e),
				 0);
		s = NULL;
		if (state_open(path, &s, &e) < 0)
			assert_non_null(strstr(e.msg, "state '"));
		else
			state_close(s);
	}
	for (at = 0; at < len; at += 1000) {
		assert_int_equal(file_write_atomic(path, good, at, 0600, &e),
				 0);
		s = NULL;
		if (state_open(path, &s, &e) == 0)
			state_close(s);
	}
	free(bad);
	free(good);
}

/* ------------------------------------------------------------------- logs */

static size_t record(unsigned char *out, uint64_t offset, uint64_t time,
		     const char *text)
{
	struct logrec r = {.offset = offset,
			   .time = time,
			   .length = (uint32_t)strlen(text),
			   .stream = LOGREC_STDOUT};

	logrec_encode(&r, out);
	memcpy(out + LOGREC_HEADER_SIZE, text, r.length);
	return LOGREC_HEADER_SIZE + r.length;
}

static void put(struct logfile *f, uint64_t time, const char *text)
{
	unsigned char raw[4096];
	struct err e = ERR_INIT;
	size_t n = record(raw, f->end, time, text);

	assert_int_equal(logfile_append(f, raw, n, f->end + strlen(text), &e),
			 0);
}

static void expect(int64_t tail, uint64_t since, const char *want)
{
	unsigned char *buf = malloc(LOGREC_HEADER_SIZE + LOGREC_LENGTH_MAX);
	struct buf got = BUF_INIT;
	struct logreader r;
	struct err e = ERR_INIT;
	ssize_t n;

	assert_non_null(buf);
	assert_int_equal(logreader_open(dir, "c", tail, since, &r, &e), 0);
	while ((n = logreader_next(&r, buf, &e)) > 0)
		buf_append(&got, buf + LOGREC_HEADER_SIZE,
			   (size_t)n - LOGREC_HEADER_SIZE);
	assert_int_equal(n, 0);
	assert_string_equal(buf_str(&got), want);
	buf_done(&got);
	logreader_close(&r);
	free(buf);
}

static void test_log(void **state)
{
	struct logfile f;
	struct err e = ERR_INIT;
	char file[128];

	(void)state;
	expect(-1, 0, "");
	assert_int_equal(logfile_open(dir, "c", &f, &e), 0);
	put(&f, 10, "one\ntwo\nthr");
	put(&f, 20, "ee\nfour\n");
	expect(-1, 0, "one\ntwo\nthree\nfour\n");
	expect(2, 0, "three\nfour\n");
	expect(3, 0, "two\nthree\nfour\n");
	expect(0, 0, "");
	expect(100, 0, "one\ntwo\nthree\nfour\n");
	expect(-1, 15, "ee\nfour\n");
	put(&f, 30, "no newline");
	expect(1, 0, "no newline");
	logfile_close(&f);
	/* A record that was not written whole is cut off. */
	snprintf(file, sizeof(file), "%s/c.log", dir);
	assert_int_equal(truncate(file, f.size - 3), 0);
	assert_int_equal(logfile_open(dir, "c", &f, &e), 0);
	assert_true(f.end == 19);
	put(&f, 40, "again\n");
	expect(2, 0, "four\nagain\n");
	logfile_close(&f);
	assert_int_equal(logfile_remove(dir, "c", &e), 0);
	expect(-1, 0, "");
}

static void test_log_rotation(void **state)
{
	static char line[2001];
	struct logfile f;
	struct err e = ERR_INIT;
	struct logreader r;
	unsigned char *buf = malloc(LOGREC_HEADER_SIZE + LOGREC_LENGTH_MAX);
	uint64_t seen = 0, first = 0;
	struct logrec rec;
	size_t i;

	(void)state;
	assert_non_null(buf);
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	assert_int_equal(logfile_open(dir, "c", &f, &e), 0);
	for (i = 0; i < 12000; i++)
		put(&f, i, line);
	logfile_close(&f);
	/* What is left is without a gap, ends at the end, and is bounded. */
	assert_int_equal(logreader_open(dir, "c", -1, 0, &r, &e), 0);
	while (logreader_next(&r, buf, &e) > 0) {
		assert_int_equal(logrec_decode(buf, &rec), 0);
		if (!seen)
			first = rec.offset;
		else
			assert_true(rec.offset == seen);
		seen = rec.offset + rec.length;
	}
	logreader_close(&r);
	assert_true(seen == 12000ull * 2000);
	assert_true(first > 0 || seen <= 3ull * LOGFILE_ROTATE_BYTES);
	assert_int_equal(logfile_open(dir, "c", &f, &e), 0);
	assert_true(f.end == seen);
	logfile_close(&f);
	free(buf);
}

#define WITH_DIR(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(test_stacks),	     WITH_DIR(test_quota),
		WITH_DIR(test_quota_race),   WITH_DIR(test_vms),
		WITH_DIR(test_upgrade),	     WITH_DIR(test_killed),
		WITH_DIR(test_damage),	     WITH_DIR(test_log),
		WITH_DIR(test_log_rotation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
