/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <poll.h>
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
#include "common/base/parse.h"
#include "common/oci/image.h"

/* Files of a folder that are held open: layers, and documents before them. */
#define OPEN_MAX_ (HYB_OCI_LAYERS_MAX + 8)
/* Links from one name of an archive to the next. */
#define LINKS_MAX 4

/* Bytes that are hashed at once. */
#define HASH_CHUNK ((size_t)1 << 20)

struct entry {
	const char *name;
	const char *link; /* or NULL */
	uint64_t offset, size;
	size_t order; /* in the archive */
};

struct image_source {
	struct image_source_config c;
	bool is_dir;
	int file; /* archive: the file itself or our copy */
	struct image_part tree;
	struct arena *arena;
	struct entry *entries; /* archive: by name; of equals the last counts */
	size_t n_entries;
	int fds[OPEN_MAX_]; /* folder */
	size_t n_fds;
};

void image_digest(const void *data, size_t len, char *out)
{
	uint8_t md[32] = {0};

	EVP_Digest(data, len, md, NULL, EVP_sha256(), NULL);
	memcpy(out, "sha256:", 7);
	hex_format(md, sizeof(md), out + 7);
}

int image_digest_part(const struct image_part *p,
		      int (*tick)(void *arg, uint64_t done), void *arg,
		      char digest[72], struct err *e)
{
	_cleanup_free_ uint8_t *buf = malloc(HASH_CHUNK);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sum[32] = {0};
	uint64_t done = 0;
	int r = buf && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
			? 0
			: err_sys(e, ENOMEM, "image store");

	while (r == 0 && done < p->size) {
		const uint64_t left = p->size - done;
		ssize_t n = pread(p->fd, buf,
				  left < HASH_CHUNK ? (size_t)left : HASH_CHUNK,
				  (off_t)(p->offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? err_sys(e, errno, "read the file")
				  : err_set(e, ENODATA, "the file is cut");
			break;
		}
		EVP_DigestUpdate(md, buf, (size_t)n);
		done += (uint64_t)n;
		if (tick)
			r = tick(arg, done);
	}
	if (r == 0)
		EVP_DigestFinal_ex(md, sum, NULL);
	EVP_MD_CTX_free(md);
	memcpy(digest, "sha256:", 7);
	hex_format(sum, sizeof(sum), digest + 7);
	return r;
}

/* --------------------------------------------------------------- folders */

/* Safe because the path cannot leave the folder (RESOLVE_BENEATH), no link is
 * followed, what is not a regular file is not waited for, and the kernel
 * checks the rights of the user who named the folder: on this thread only,
 * with the capabilities that override them gone as long as it lasts. */
static int open_beneath(const struct image_source *s, const char *path)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int fd, err;

	if (s->c.as_caller && uid == 0) {
		setfsgid(s->c.gid);
		setfsuid(s->c.uid);
	}
	fd = (int)syscall(SYS_openat2, s->c.fd, path, &how, sizeof(how));
	err = errno;
	if (s->c.as_caller && uid == 0) {
		setfsuid(uid);
		setfsgid(gid);
	}
	return fd < 0 ? -err : fd;
}

static int find_in_dir(struct image_source *s, const char *path,
		       struct image_part *ret, struct err *e)
{
	_cleanup_close_ int fd = open_beneath(s, path);
	char text[200];
	struct stat st;

	if (fd == -ENOENT)
		return -ENOENT;
	text_escape(path, text, sizeof(text));
	if (fd < 0)
		return err_sys(e, -fd, "open '%s'", text);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", text);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "'%s' is not a regular file", text);
	if (s->n_fds == OPEN_MAX_)
		return err_set(e, E2BIG, "too many files in one image");
	*ret = (struct image_part){.fd = fd, .size = (uint64_t)st.st_size};
	s->fds[s->n_fds++] = steal_fd(&fd);
	return 0;
}

/* -------------------------------------------------------------- archives */

static int by_name(const void *va, const void *vb)
{
	const struct entry *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

/* Equal names in the order of the archive. */
static int by_name_and_order(const void *va, const void *vb)
{
	const struct entry *a = va, *b = vb;
	int r = strcmp(a->name, b->name);

	return r ? r : (a->order > b->order) - (a->order < b->order);
}

static const char *get_string(struct image_source *s, json_t *o,
			      const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_string(v) ? arena_strdup(s->arena, json_string_value(v))
				 : NULL;
}

/* Takes over the list that hyb-image made. */
static int take_list(struct image_source *s, json_t *list, struct err *e)
{
	struct stat st;
	size_t i, n = json_array_size(list);
	uint64_t end;

	if (fstat(s->file, &st) < 0)
		return err_sys(e, errno, "read the archive");
	end = (uint64_t)st.st_size;
	s->entries = arena_alloc(s->arena, n + 1, sizeof(*s->entries));
	if (!s->entries)
		return err_sys(e, ENOMEM, "read the archive");
	for (i = 0; i < n; i++) {
		json_t *o = json_array_get(list, i);
		struct entry *x = &s->entries[s->n_entries];
		json_int_t off =
			json_integer_value(json_object_get(o, "offset"));
		json_int_t size =
			json_integer_value(json_object_get(o, "size"));

		x->name = get_string(s, o, "name");
		x->link = get_string(s, o, "link");
		if (!x->name || off < 0 || size < 0 || (uint64_t)off > end ||
		    (uint64_t)size > end - (uint64_t)off)
			continue;
		x->offset = (uint64_t)off;
		x->size = (uint64_t)size;
		x->order = i;
		s->n_entries++;
	}
	qsort(s->entries, s->n_entries, sizeof(*s->entries), by_name_and_order);
	return 0;
}

static const struct entry *find_entry(const struct image_source *s,
				      const char *name)
{
	const struct entry key = {.name = name};
	const struct entry *x =
		bsearch(&key, s->entries, s->n_entries, sizeof(key), by_name);

	while (x && x + 1 < s->entries + s->n_entries &&
	       strcmp(x[1].name, name) == 0)
		x++;
	return x;
}

static int find_in_archive(const struct image_source *s, const char *path,
			   struct image_part *ret, struct err *e)
{
	const struct entry *x = find_entry(s, path);
	int links = 0;

	while (x && x->link) {
		if (++links > LINKS_MAX)
			return err_set(e, ELOOP,
				       "too many links in the archive");
		x = find_entry(s, x->link);
	}
	if (!x)
		return -ENOENT;
	*ret = (struct image_part){s->file, x->offset, x->size};
	return 0;
}

struct image_part image_source_tree(const struct image_source *s)
{
	return s->tree;
}

int image_source_find(struct image_source *s, const char *path,
		      struct image_part *ret, struct err *e)
{
	while (strncmp(path, "./", 2) == 0)
		path += 2;
	return s->is_dir ? find_in_dir(s, path, ret, e)
			 : find_in_archive(s, path, ret, e);
}

/* --------------------------------------------------------------- opening */

/* A file without a name in the store's folder for such. */
static int make_copy(const struct image_source *s, struct err *e)
{
	int fd =
		openat(s->c.tmp_dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char name[32];
	uint64_t tag;

	if (fd >= 0)
		return fd;
	/* Not every file system has them. */
	random_bytes(&tag, sizeof(tag));
	snprintf(name, sizeof(name), "copy-%016llx", (unsigned long long)tag);
	fd = openat(s->c.tmp_dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(e, errno, "make a temporary file");
	unlinkat(s->c.tmp_dir, name, 0);
	return fd;
}

/* From a pipe, which may be slow. */
static int copy_pipe(struct image_source *s, struct err *e)
{
	const struct image_child *c = s->c.child;
	char chunk[65536];
	uint64_t done = 0;

	s->file = make_copy(s, e);
	if (s->file < 0)
		return s->file;
	for (;;) {
		ssize_t n;
		int r = image_child_wait(c, s->c.fd, "read", done, 0, e);

		if (r == -ECANCELED)
			return r;
		if (r < 0)
			return err_sys(e, -r, "read the image");
		n = read(s->c.fd, chunk, sizeof(chunk));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return err_sys(e, errno, "read the image");
		if (n == 0)
			return 0;
		done += (uint64_t)n;
		if (done > c->max_bytes)
			return err_set(e, EFBIG,
				       "the image is larger than the limit");
		r = write_full(s->file, chunk, (size_t)n);
		if (r < 0)
			return err_sys(e, -r, "write a temporary file");
		if (c->progress && c->progress(c->arg, "read", done, 0) != 0)
			return err_set(e, ECANCELED, "cancelled");
	}
}

static bool is_compressed(int fd)
{
	static const uint8_t gzip[3] = {0x1f, 0x8b, 8};
	static const uint8_t zstd[4] = {0x28, 0xb5, 0x2f, 0xfd};
	uint8_t head[4] = {0};

	return pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       (memcmp(head, gzip, sizeof(gzip)) == 0 ||
		memcmp(head, zstd, sizeof(zstd)) == 0);
}

static int decompress(struct image_source *s, struct err *e)
{
	struct image_child c = *s->c.child;
	_cleanup_close_ int in = s->file;
	json_t *result = NULL;
	int r;

	s->file = make_copy(s, e);
	if (s->file < 0)
		return s->file;
	c.verb = "plain";
	c.phase = "read";
	c.in = in;
	c.out = s->file;
	r = image_child_run(&c, &result, e);
	json_decref(result);
	return r;
}

static int open_archive(struct image_source *s, struct err *e)
{
	struct image_child c = *s->c.child;
	json_t *list = NULL;
	struct stat st;
	int r = 0;

	if (is_compressed(s->file))
		r = decompress(s, e);
	if (r < 0)
		return r;
	if (fstat(s->file, &st) < 0)
		return err_sys(e, errno, "read the image");
	if (st.st_size == 0)
		return err_set(e, EINVAL, "the file is empty, not an image");
	s->tree = (struct image_part){.fd = s->file,
				      .size = (uint64_t)st.st_size};
	if (s->c.is_tree)
		return 0;
	c.verb = "list";
	c.in = s->file;
	c.out = -1;
	r = image_child_run(&c, &list, e);
	if (r == 0)
		r = take_list(s, list, e);
	json_decref(list);
	if (r < 0)
		return err_wrap(e, "not an image archive");
	return 0;
}

static int open_any(struct image_source *s, struct err *e)
{
	struct stat st;
	int r = 0;

	if (fstat(s->c.fd, &st) < 0)
		return err_sys(e, errno, "read the image");
	s->arena = arena_new(0);
	if (!s->arena)
		return err_sys(e, ENOMEM, "read the image");
	if (S_ISDIR(st.st_mode) && s->c.is_tree)
		return err_set(e, EISDIR, "a tar is needed, not a folder");
	if (S_ISDIR(st.st_mode)) {
		s->is_dir = true;
		return 0;
	}
	if (S_ISREG(st.st_mode)) {
		s->file = fcntl(s->c.fd, F_DUPFD_CLOEXEC, 3);
		if (s->file < 0)
			return err_sys(e, errno, "read the image");
	} else if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
		r = copy_pipe(s, e);
	} else {
		return err_set(e, EINVAL,
			       "an image is a file, a pipe or a folder");
	}
	return r < 0 ? r : open_archive(s, e);
}

int image_source_open(const struct image_source_config *c,
		      struct image_source **ret, struct err *e)
{
	struct image_source *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "read the image");
	s->c = *c;
	s->file = -1;
	r = open_any(s, e);
	if (r < 0) {
		image_source_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void image_source_close(struct image_source *s)
{
	if (!s)
		return;
	while (s->n_fds > 0)
		close(s->fds[--s->n_fds]);
	if (s->file >= 0)
		close(s->file);
	if (s->arena)
		arena_free(s->arena);
	free(s);
}

/* --------------------------------------------------------------- reading */

static int read_part(const struct image_part *p, const char *path, char *out,
		     struct err *e)
{
	ssize_t n = pread_full(p->fd, out, (size_t)p->size, p->offset);

	if (n < 0)
		return err_sys(e, (int)-n, "read '%s'", path);
	if ((uint64_t)n < p->size)
		return err_set(e, ENODATA, "'%s' is cut", path);
	return 0;
}

int image_source_read(struct image_source *s, const char *path, size_t max,
		      const char *digest, uint64_t size, struct arena *a,
		      const char **ret, size_t *ret_len, char *ret_digest,
		      struct err *e)
{
	char have[72], text[200];
	struct image_part p;
	char *data;
	int r = image_source_find(s, path, &p, e);

	text_escape(path, text, sizeof(text));
	if (r == -ENOENT)
		return err_set(e, ENOENT, "'%s' is missing", text);
	if (r < 0)
		return r;
	if (size != UINT64_MAX && p.size != size)
		return err_set(e, EBADMSG,
			       "'%s' is %llu bytes long, and should be %llu",
			       text, (unsigned long long)p.size,
			       (unsigned long long)size);
	if (p.size > max)
		return err_set(e, E2BIG, "'%s' is over %zu bytes long", text,
			       max);
	data = arena_alloc(a, (size_t)p.size + 1, 1);
	if (!data)
		return err_sys(e, ENOMEM, "read '%s'", text);
	r = read_part(&p, text, data, e);
	if (r < 0)
		return r;
	image_digest(data, (size_t)p.size, have);
	if (digest && strcmp(have, digest) != 0)
		return err_set(e, EBADMSG, "'%s' has the digest %s", text,
			       have);
	if (ret_digest)
		memcpy(ret_digest, have, sizeof(have));
	/* Documents are done with once read: their descriptor may go. */
	if (s->is_dir && s->n_fds > 0)
		close(s->fds[--s->n_fds]);
	*ret = data;
	*ret_len = (size_t)p.size;
	return 0;
}
