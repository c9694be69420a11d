/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and secrets on the host: files, rows, locks, seals. */
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/secret/secret.h"
#include "host-agent/volume/volume.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MIB	 ((uint64_t)1 << 20)
#define MKFS_UID 1878000001u
#define VM_UID	 1878000017u

static char dir[64];
static struct state *state_db;
static struct volume_store *volumes;
static struct err error;

static void open_all(void)
{
	struct volume_config c = {.root = dir,
				  .mkfs_uid = MKFS_UID,
				  .vm_uid_base = VM_UID - 1,
				  .vm_uid_count = 10};
	char path[128];

	snprintf(path, sizeof(path), "%s/state.db", dir);
	assert_int_equal(state_open(path, &state_db, &error), 0);
	c.state = state_db;
	assert_int_equal(volume_store_open(&c, &volumes, &error), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/hyb-unit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	open_all();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	state_close(state_db);
	free(volumes);
	return path_remove(dir, NULL);
}

static void says(int r, int want, const char *text)
{
	if (r != want || (text && !strstr(error.msg, text)))
		fail_msg("%d, wanted %d and '%s': %s", r, want,
			 text ? text : "", error.msg);
}

static void ensure(const char *name, uint64_t size)
{
	if (volume_ensure(volumes, "t", "s", name, size, NULL, &error) < 0)
		fail_msg("%s", error.msg);
}

static struct state_volume find(const char *name)
{
	struct state_volume v;

	if (volume_find(volumes, "t", "s", name, &v, &error) < 0)
		fail_msg("%s", error.msg);
	return v;
}

static int attach(const char *name, int64_t vm, bool writes, int64_t *holder)
{
	struct state_volume v = find(name);
	char path[VOLUME_PATH_MAX];
	int64_t ignored;

	return volume_attach(volumes, &v, vm, VM_UID, writes, path,
			     holder ? holder : &ignored, &error);
}

static void path_of(const char *name, char out[VOLUME_PATH_MAX])
{
	struct state_volume v = find(name);
	struct volume_info info;

	volume_look(volumes, &v, &info);
	snprintf(out, VOLUME_PATH_MAX, "%s", info.path);
}

static bool need_root(void)
{
	if (geteuid() != 0)
		print_message("# skipped: only root gives files away\n");
	return geteuid() == 0;
}

/* -------------------------------------------------------- scratch disks */

static int scratch_make(const char *name, uint64_t size)
{
	return volume_scratch_make(volumes, dir, name, size, VM_UID, &error);
}

static void read_file(const char *name, off_t at, void *out, size_t n)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, out, n, at), n);
	close(fd);
}

static void check_scratch(const char *name, uint64_t size)
{
	unsigned char sb[1024];
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, VM_UID);
	assert_int_equal(st.st_size, size);
	assert_true((uint64_t)st.st_blocks * 512 < size / 8);
	read_file(name, 1024, sb, sizeof(sb));
	assert_int_equal(sb[0x38] | sb[0x39] << 8, 0xef53);
	/* No journal; quotas of projects. */
	assert_int_equal(sb[0x5c] & 4, 0);
	assert_int_equal(sb[0x65] & 0x21, 0x21);
}

static void test_scratch(void **state)
{
	static unsigned char a[1 << 20], b[1 << 20];
	char path[256], other[128];
	struct stat st;

	(void)state;
	if (!need_root())
		return;
	assert_int_equal(scratch_make("one", 64 * MIB), 0);
	check_scratch("one", 64 * MIB);
	/* From the template, whatever stood there: a link is not followed. */
	snprintf(path, sizeof(path), "%s/two", dir);
	snprintf(other, sizeof(other), "%s/one", dir);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(scratch_make("two", 64 * MIB), 0);
	check_scratch("two", 64 * MIB);
	read_file("one", 0, a, sizeof(a));
	read_file("two", 0, b, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
	/* Another size has another; what a killed hybd left is in no way. */
	snprintf(path, sizeof(path), "%s/volumes/.scratch/new", dir);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(scratch_make("three", 96 * MIB), 0);
	check_scratch("three", 96 * MIB);
	assert_int_equal(lstat(path, &st), -1);
	check_scratch("one", 64 * MIB);
	/* A template that is not what was made is not used. */
	snprintf(path, sizeof(path), "%s/volumes/.scratch/1-%llu.ext4", dir,
		 (unsigned long long)(96 * MIB));
	assert_int_equal(truncate(path, 1000), 0);
	says(scratch_make("four", 96 * MIB), -EEXIST, "is not hyb's");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(other, path), 0);
	says(scratch_make("four", 96 * MIB), -ELOOP, "template");
	says(volume_scratch_make(volumes, "/nowhere", "x", 64 * MIB, VM_UID,
				 &error),
	     -ENOENT, "/nowhere");
}

/* -------------------------------------------------------------- volumes */

static void test_make_and_grow(void **state)
{
	struct volume_info info;
	struct state_volume v;
	char path[VOLUME_PATH_MAX];
	struct stat st;
	int changed = -1;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	v = find("a");
	assert_int_equal(v.made, 16 * MIB);
	volume_look(volumes, &v, &info);
	assert_string_equal(info.problem, "");
	assert_true(info.allocated > 0 && info.allocated < 16 * MIB);
	path_of("a", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(volume_ensure(volumes, "t", "s", "a", 16 * MIB,
				       &changed, &error),
			 0);
	assert_int_equal(changed, 0);
	says(volume_ensure(volumes, "t", "s", "a", 8 * MIB, NULL, &error),
	     -EOPNOTSUPP, "cannot shrink");
	assert_int_equal(volume_ensure(volumes, "t", "s", "a", 32 * MIB,
				       &changed, &error),
			 0);
	assert_int_equal(changed, 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 32 * MIB);
	/* In use it is the VM's to grow. */
	says(attach("a", 1, true, NULL), 0, NULL);
	ensure("a", 64 * MIB);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 32 * MIB);
	v = find("a");
	assert_int_equal(v.size, 64 * MIB);
	assert_int_equal(v.made, 32 * MIB);
	/* ... and if it ended before it did, the next attachment grows it. */
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	says(attach("a", 2, true, NULL), 0, NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	assert_int_equal(st.st_uid, VM_UID);
	says(volume_ensure(volumes, "t", "s", "b", (uint64_t)1 << 59, NULL,
			   &error),
	     -ENOSPC, "free");
	assert_int_equal(volume_find(volumes, "t", "s", "b", &v, &error),
			 -ENOENT);
}

static void test_one_writer(void **state)
{
	int64_t holder = 0;
	struct state_volume v;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	says(attach("a", 1, true, NULL), 0, NULL);
	says(attach("a", 1, true, NULL), 0, NULL); /* the same again */
	says(attach("a", 2, true, &holder), -EBUSY, NULL);
	assert_int_equal(holder, 1);
	says(attach("a", 2, false, &holder), -EBUSY, NULL);
	/* A new hybd knows it, too. */
	state_close(state_db);
	free(volumes);
	open_all();
	says(attach("a", 2, true, &holder), -EBUSY, NULL);
	v = find("a");
	says(volume_remove(volumes, &v, &error), -EBUSY, "in use");
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	says(attach("a", 2, false, NULL), 0, NULL);
	says(attach("a", 3, false, NULL), 0, NULL);
	says(attach("a", 4, true, &holder), -EBUSY, NULL);
	assert_int_equal(volume_detached(volumes, v.id, 2, &error), 0);
	assert_int_equal(volume_detached(volumes, v.id, 3, &error), 0);
	says(attach("a", 4, true, NULL), 0, NULL);
}

/* As QEMU locks it; no row speaks of that one. */
static void test_foreign_process(void **state)
{
	struct flock l = {.l_type = F_RDLCK, .l_start = 201, .l_len = 1};
	char path[VOLUME_PATH_MAX];
	int64_t holder = 7;
	int fd;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	path_of("a", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	says(attach("a", 1, true, &holder), -EBUSY, "still has its disk open");
	assert_int_equal(holder, 0);
	close(fd);
	says(attach("a", 1, true, NULL), 0, NULL);
}

static void test_foreign_files(void **state)
{
	char path[VOLUME_PATH_MAX], kept[VOLUME_PATH_MAX + 8];
	struct state_volume v;
	char uuid[16] = {1};
	int fd;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	path_of("a", path);
	snprintf(kept, sizeof(kept), "%s.kept", path);
	assert_int_equal(rename(path, kept), 0);
	says(attach("a", 1, true, NULL), -ENXIO, "is gone");
	ensure("a", 16 * MIB); /* is not made again by the back door */
	says(attach("a", 1, true, NULL), -ENXIO, "is gone");
	assert_int_equal(symlink(kept, path), 0);
	says(attach("a", 1, true, NULL), -EEXIST, "no regular file");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	says(attach("a", 1, true, NULL), -EEXIST, "no regular file");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	says(attach("a", 1, true, NULL), -EEXIST, "no regular file");
	v = find("a");
	says(volume_remove(volumes, &v, &error), -EISDIR, "no regular file");
	rmdir(path);
	v.deleting = false;
	assert_int_equal(state_volume_put(state_db, &v, &error), 0);
	assert_int_equal(rename(kept, path), 0);
	assert_int_equal(truncate(path, 16 * (off_t)MIB + 1), 0);
	says(attach("a", 1, true, NULL), -EEXIST, "bytes and should have");
	assert_int_equal(truncate(path, 16 * (off_t)MIB), 0);
	assert_int_equal(chown(path, 4711, 0), 0);
	says(attach("a", 1, true, NULL), -EEXIST, "belongs to the user 4711");
	assert_int_equal(chown(path, 0, 0), 0);
	says(attach("a", 1, true, NULL), 0, NULL);
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, uuid, 16, 1024 + 0x68), 16);
	close(fd);
	says(attach("a", 1, true, NULL), -EEXIST, "does not hold");
}

/* Killed at any place between the row and the whole file. */
static void test_half_made(void **state)
{
	struct state_volume v;
	char path[VOLUME_PATH_MAX];
	int fd;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	v = find("a");
	path_of("a", path);
	v.made = 0;
	assert_int_equal(state_volume_put(state_db, &v, &error), 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(chown(path, MKFS_UID, MKFS_UID), 0);
	ensure("a", 16 * MIB);
	says(attach("a", 1, true, NULL), 0, NULL);
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	/* Grown by one that was then killed, and to be larger still. */
	v = find("a");
	v.size = 64 * MIB;
	assert_int_equal(state_volume_put(state_db, &v, &error), 0);
	assert_int_equal(truncate(path, 32 * MIB), 0);
	ensure("a", 64 * MIB);
	assert_int_equal(find("a").made, 64 * MIB);
	/* What could not be made larger is as large as it was. */
	assert_int_equal(chown(path, 4711, 0), 0);
	says(volume_ensure(volumes, "t", "s", "a", 128 * MIB, NULL, &error),
	     -EEXIST, "belongs to the user 4711");
	assert_int_equal(find("a").size, 64 * MIB);
	assert_int_equal(chown(path, 0, 0), 0);
	/* Something that is not ours stays where it is. */
	v = find("a");
	v.made = 0;
	assert_int_equal(state_volume_put(state_db, &v, &error), 0);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fchown(fd, 4711, 0), 0);
	close(fd);
	says(volume_ensure(volumes, "t", "s", "a", 64 * MIB, NULL, &error),
	     -EEXIST, "not hyb's");
	assert_int_equal(access(path, F_OK), 0);
	/* What could not be made is not there; nor, at the next start, what was
	 * not finished. */
	says(volume_find(volumes, "t", "s", "a", &v, &error), -ENOENT, NULL);
	ensure("a", 16 * MIB);
	v = find("a");
	v.made = 0;
	assert_int_equal(state_volume_put(state_db, &v, &error), 0);
	volume_purge(volumes);
	says(volume_find(volumes, "t", "s", "a", &v, &error), -ENOENT, NULL);
}

static void test_marked(void **state)
{
	struct state_volume v;
	char path[VOLUME_PATH_MAX];

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	path_of("a", path);
	says(attach("a", 1, true, NULL), 0, NULL);
	v = find("a");
	assert_int_equal(volume_mark(volumes, &v, &error), 0);
	volume_reap(volumes);
	assert_int_equal(access(path, F_OK), 0);
	says(volume_ensure(volumes, "t", "s", "a", 16 * MIB, NULL, &error),
	     -EBUSY, "being deleted");
	says(attach("a", 2, true, NULL), -EBUSY, "being deleted");
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	volume_reap(volumes);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(volume_find(volumes, "t", "s", "a", &v, &error),
			 -ENOENT);
	ensure("a", 16 * MIB);
	assert_true(find("a").id > v.id);
}

static void poke(const char *name, off_t at, char value)
{
	char path[VOLUME_PATH_MAX];
	int fd;

	path_of(name, path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &value, 1, at), 1);
	close(fd);
}

static char peek(const char *name, off_t at)
{
	char path[VOLUME_PATH_MAX], value = 0;
	int fd;

	path_of(name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &value, 1, at), 1);
	close(fd);
	return value;
}

static size_t count_snapshots(int64_t id)
{
	_cleanup_free_ struct state_snapshot *list = NULL;
	size_t n = 0;

	assert_int_equal(state_snapshot_list(state_db, id, &list, &n, &error),
			 0);
	return n;
}

static int quiet_calls;

static int quiet_ok(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	quiet_calls++;
	return 0;
}

static int quiet_bad(void *arg, struct err *e)
{
	(void)arg;
	return err_set(e, ENOENT, "it is not frozen any more");
}

static void test_snapshots(void **state)
{
	const struct volume_quiet quiet = {quiet_ok, quiet_ok, NULL};
	const struct volume_quiet thawed = {quiet_ok, quiet_bad, NULL};
	struct state_snapshot half = {.name = "half"};
	const off_t at = 12 * (off_t)MIB;
	struct volume_info info;
	struct state_volume v;

	(void)state;
	if (!need_root())
		return;
	ensure("a", 16 * MIB);
	v = find("a");
	poke("a", at, 'x');
	assert_int_equal(volume_snapshot(volumes, &v, "one", NULL, &error), 0);
	says(volume_snapshot(volumes, &v, "one", NULL, &error), -EEXIST,
	     "already");
	poke("a", at, 'y');
	says(attach("a", 1, true, NULL), 0, NULL);
	says(volume_snapshot(volumes, &v, "two", NULL, &error), -EBUSY, NULL);
	says(volume_restore(volumes, &v, "one", &error), -EBUSY, NULL);
	assert_int_equal(volume_snapshot(volumes, &v, "two", &quiet, &error),
			 0);
	assert_int_equal(quiet_calls, 2);
	/* A guest that thawed by itself has written meanwhile. */
	says(volume_snapshot(volumes, &v, "three", &thawed, &error), -ENOENT,
	     "took too long");
	assert_int_equal(count_snapshots(v.id), 2);
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	/* It has grown since: it stays as large. */
	ensure("a", 32 * MIB);
	v = find("a");
	assert_int_equal(volume_restore(volumes, &v, "one", &error), 0);
	assert_int_equal(peek("a", at), 'x');
	volume_look(volumes, &v, &info);
	assert_string_equal(info.problem, "");
	assert_true(info.allocated < 16 * MIB);
	assert_int_equal(volume_restore(volumes, &v, "two", &error), 0);
	assert_int_equal(peek("a", at), 'y');
	says(attach("a", 1, true, NULL), 0, NULL);
	assert_int_equal(volume_release_vm(volumes, 1, &error), 0);
	says(volume_restore(volumes, &v, "no", &error), -ENOENT, "no snapshot");
	/* One that is lost is there again. */
	assert_int_equal(unlink(info.path), 0);
	says(attach("a", 1, true, NULL), -ENXIO, "gone");
	assert_int_equal(volume_restore(volumes, &v, "two", &error), 0);
	assert_int_equal(peek("a", at), 'y');
	/* Killed in between: as if it had never been. */
	half.volume_id = v.id;
	assert_int_equal(state_snapshot_add(state_db, &half, &error), 0);
	says(volume_restore(volumes, &v, "half", &error), -ENOENT, NULL);
	volume_purge(volumes);
	assert_int_equal(count_snapshots(v.id), 2);
	assert_int_equal(volume_snapshot_remove(volumes, &v, "one", &error), 0);
	assert_int_equal(volume_remove(volumes, &v, &error), 0);
	assert_int_equal(count_snapshots(0), 0);
}

/* -------------------------------------------------------------- secrets */

static struct secret_store *open_secrets(void)
{
	struct secret_store *s = NULL;

	if (secret_store_open(dir, state_db, &s, &error) < 0)
		fail_msg("%s", error.msg);
	return s;
}

static void expect_secret(struct secret_store *s, const char *name,
			  const char *want)
{
	char *data = NULL;
	size_t len = 0;
	int64_t version = 0;

	if (secret_get(s, "t", "", name, &data, &len, &version, &error) < 0)
		fail_msg("%s", error.msg);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(data, want, len);
	secret_free(data, len);
}

static int set(struct secret_store *s, const char *name, const char *data)
{
	int changed = -1;
	int r = secret_set(s, "t", "", name, data, strlen(data), &changed,
			   &error);

	return r < 0 ? r : changed;
}

static void test_secrets(void **state)
{
	_cleanup_free_ struct secret_store *s = open_secrets();
	_cleanup_free_ struct secret_store *again = NULL;
	_cleanup_free_ char *big = calloc(1, HYB_FILE_MAX + 1);
	struct state_secret row = {.sealed = NULL};
	uint64_t generation = secret_generation(s);
	char *data;
	size_t len;
	int64_t version;

	(void)state;
	assert_int_equal(set(s, "a", "what nobody knows"), 1);
	assert_int_equal(set(s, "a", "what nobody knows"), 0);
	assert_int_equal(secret_generation(s), generation + 1);
	assert_int_equal(set(s, "a", "something else"), 2);
	assert_int_equal(set(s, "empty", ""), 1);
	/* Of a deployment that was never stored. */
	assert_int_equal(secret_set(s, "t", "none", "a", "x", 1, NULL, &error),
			 0);
	again = open_secrets();
	assert_int_equal(secret_get(again, "t", "none", "a", &data, &len,
				    &version, &error),
			 -ENOENT);
	expect_secret(again, "a", "something else");
	expect_secret(again, "empty", "");
	assert_int_equal(
		secret_get(s, "t", "", "b", &data, &len, &version, &error),
		-ENOENT);
	says(secret_set(s, "t", "", "big", big, HYB_FILE_MAX + 1, NULL, &error),
	     -EINVAL, "at most");
	/* A row that was moved, or changed, does not open. */
	assert_int_equal(
		state_secret_find(state_db, "t", "", "a", &row, &error), 0);
	assert_null(strstr(row.sealed, "736f6d657468696e6720656c7365"));
	snprintf(row.name, sizeof(row.name), "moved");
	assert_int_equal(state_secret_put(state_db, &row, &error), 0);
	says(secret_get(s, "t", "", "moved", &data, &len, &version, &error),
	     -EBADMSG, "not sealed with");
	snprintf(row.name, sizeof(row.name), "a");
	row.sealed[30] = row.sealed[30] == '0' ? '1' : '0';
	assert_int_equal(state_secret_put(state_db, &row, &error), 0);
	says(secret_get(s, "t", "", "a", &data, &len, &version, &error),
	     -EBADMSG, "not sealed with");
	row.sealed[10] = '\0';
	assert_int_equal(state_secret_put(state_db, &row, &error), 0);
	says(secret_get(s, "t", "", "a", &data, &len, &version, &error),
	     -EBADMSG, "damaged");
	free(row.sealed);
	/* What cannot be opened can be set anew. */
	assert_int_equal(set(s, "a", "again"), 2);
	expect_secret(s, "a", "again");
}

static void test_key(void **state)
{
	struct secret_store *s = open_secrets(), *none = NULL;
	char path[128];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/secret.key", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	assert_int_equal(set(s, "a", "x"), 1);
	free(s);
	assert_int_equal(chmod(path, 0644), 0);
	says(secret_store_open(dir, state_db, &none, &error), -EKEYREJECTED,
	     "mode 0600");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 16), 0);
	says(secret_store_open(dir, state_db, &none, &error), -EKEYREJECTED,
	     "32 bytes");
	assert_int_equal(unlink(path), 0);
	/* No new key while something is sealed with the old one. */
	says(secret_store_open(dir, state_db, &none, &error), -ENOKEY,
	     "1 secret is sealed");
	assert_int_equal(access(path, F_OK), -1);
	assert_null(none);
}

#define WITH_DIR(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DIR(test_scratch),	      WITH_DIR(test_make_and_grow),
		WITH_DIR(test_one_writer),    WITH_DIR(test_foreign_process),
		WITH_DIR(test_foreign_files), WITH_DIR(test_half_made),
		WITH_DIR(test_marked),	      WITH_DIR(test_snapshots),
		WITH_DIR(test_secrets),	      WITH_DIR(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
