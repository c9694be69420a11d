/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/cp.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/image/convert/tar.h"

#include <fcntl.h>
#include <sys/stat.h>

#define BLOCK	  512
#define READ_SIZE ((size_t)131072)
#define HOLE	  ((size_t)4096)
/* Holes shorter than this are written; of longer ones a file gets holes, and
 * what is no file so much in all: a guest makes one with a number. */
#define SHORT_HOLE ((uint64_t)1 << 20)
#define HOLES_MAX  ((uint64_t)1 << 40)

/* ------------------------------------------------------------------ writing */

struct writer {
	int fd;
	bool grows; /* a file that ends where it is written to */
	uint64_t holes;
	struct buf out;
	char base[TREE_NAME_MAX + 1];
	uint64_t size, at; /* of the file at hand */
};

static int flush_out(struct writer *t, struct err *e)
{
	int r = write_full(t->fd, t->out.data, t->out.len);

	buf_clear(&t->out);
	return r < 0 ? err_sys(e, -r, "write the archive") : 0;
}

static int write_out(struct writer *t, const void *data, size_t len,
		     struct err *e)
{
	buf_append(&t->out, data, len);
	if (t->out.error)
		return err_sys(e, -t->out.error, "write the archive");
	return t->out.len < TREE_DATA_MAX ? 0 : flush_out(t, e);
}

static int write_zeros(struct writer *t, uint64_t n, struct err *e)
{
	static const char zeros[TREE_DATA_MAX];
	size_t len;
	int r = 0;

	for (; n > 0 && r == 0; n -= len) {
		len = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);
		r = write_out(t, zeros, len, e);
	}
	return r;
}

static int write_hole(struct writer *t, uint64_t n, struct err *e)
{
	int r;

	if (n < SHORT_HOLE)
		return write_zeros(t, n, e);
	if (!t->grows) {
		if (n > HOLES_MAX - t->holes) {
			err_set(e, EFBIG,
				"write the archive: holes of more than 1t in "
				"the files");
			err_hint(e, "write it to a file, which gets holes, "
				    "too, or copy without an archive");
			return -EFBIG;
		}
		t->holes += n;
		return write_zeros(t, n, e);
	}
	r = flush_out(t, e);
	if (r < 0)
		return r;
	/* More than a file here may be long is told by the kernel. */
	if (lseek(t->fd, (off_t)n, SEEK_CUR) < 0)
		return err_sys(e, errno == EINVAL ? EFBIG : errno,
			       "write the archive");
	return 0;
}

/* Is it a file, and at its end? Then what is left out reads as zeros. */
static bool fd_grows(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flags >= 0 &&
	       !(flags & O_APPEND) && lseek(fd, 0, SEEK_CUR) == st.st_size;
}

/* What a file has not had yet, and the rest of its last block. */
static int finish_file(struct writer *t, struct err *e)
{
	uint64_t pad = (BLOCK - t->size % BLOCK) % BLOCK;
	int r = write_hole(t, t->size - t->at, e);

	t->size = t->at = 0;
	return r < 0 ? r : write_zeros(t, pad, e);
}

/* Octal digits and a NUL; what does not fit stands in the extended header. */
static void octal(char *field, size_t size, uint64_t v)
{
	uint64_t max = (UINT64_C(1) << (3 * (size - 1))) - 1;

	snprintf(field, size, "%0*llo", (int)size - 1,
		 (unsigned long long)(v > max ? max : v));
}

static int write_header(struct writer *t, const struct tree_entry *n,
			const char *name, char type, uint64_t size,
			struct err *e)
{
	char h[BLOCK] = "";
	unsigned int sum = 0;
	size_t i;

	memcpy(h, name, strnlen(name, 100));
	octal(h + 100, 8, n->mode);
	octal(h + 108, 8, n->uid);
	octal(h + 116, 8, n->gid);
	octal(h + 124, 12, size);
	octal(h + 136, 12, n->mtime > 0 ? (uint64_t)n->mtime : 0);
	memset(h + 148, ' ', 8);
	h[156] = type;
	if (n->link)
		memcpy(h + 157, n->link, strnlen(n->link, 100));
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	for (i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum & 0777777);
	return write_out(t, h, sizeof(h), e);
}

/* "LEN KEY=VALUE\n", LEN counting itself. */
static void record(struct buf *b, const char *key, const void *value,
		   size_t len)
{
	size_t body = strlen(key) + len + 3, total = body + 1, digits;
	char tmp[24];

	do {
		digits = (size_t)snprintf(tmp, sizeof(tmp), "%zu", total);
		if (digits + body == total)
			break;
		total = digits + body;
	} while (1);
	buf_printf(b, "%zu %s=", total, key);
	buf_append(b, value, len);
	buf_putc(b, '\n');
}

static void record_text(struct buf *b, const char *key, const char *text)
{
	record(b, key, text, strlen(text));
}

static int write_extended(struct writer *t, const struct tree_entry *n,
			  const char *name, struct err *e)
{
	struct tree_entry x = {.mode = 0644, .mtime = n->mtime};
	_cleanup_buf_ struct buf b = {.max = (size_t)1 << 20};
	char text[320];
	const char *key;
	const void *value;
	size_t at = 0, len;
	int r;

	if (strlen(name) > 100)
		record_text(&b, "path", name);
	if (n->link && strlen(n->link) > 100)
		record_text(&b, "linkpath", n->link);
	if (n->size >> 33) {
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)n->size);
		record_text(&b, "size", text);
	}
	if (n->mtime_nsec || n->mtime < 0 || n->mtime >> 33) {
		snprintf(text, sizeof(text), "%lld.%09u", (long long)n->mtime,
			 n->mtime_nsec);
		record_text(&b, "mtime", text);
	}
	if (n->uid >> 21 || n->gid >> 21) {
		snprintf(text, sizeof(text), "%u", n->uid);
		record_text(&b, "uid", text);
		snprintf(text, sizeof(text), "%u", n->gid);
		record_text(&b, "gid", text);
	}
	while (tree_xattr_next(n, &at, &key, &value, &len)) {
		if (strchr(key, '='))
			continue;
		snprintf(text, sizeof(text), "SCHILY.xattr.%s", key);
		record(&b, text, value, len);
	}
	if (b.error)
		return err_sys(e, -b.error, "write the archive");
	if (b.len == 0)
		return 0;
	r = write_header(t, &x, "././@PaxHeader", 'x', b.len, e);
	if (r == 0)
		r = write_out(t, b.data, b.len, e);
	return r < 0 ? r : write_zeros(t, (BLOCK - b.len % BLOCK) % BLOCK, e);
}

static int write_entry(struct writer *t, struct tree_entry *n, struct err *e)
{
	static const char types[TREE_TYPE_MAX] = {
		[TREE_FILE] = '0', [TREE_DIR] = '5',  [TREE_SYMLINK] = '2',
		[TREE_LINK] = '1', [TREE_FIFO] = '6',
	};
	char name[TREE_PATH_MAX + TREE_NAME_MAX + 4];
	char link[TREE_PATH_MAX + TREE_NAME_MAX + 4];
	int r = finish_file(t, e);

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%s%s%s%s", t->base[0] ? t->base : ".",
		 n->name[0] ? "/" : "", n->name,
		 n->type == TREE_DIR ? "/" : "");
	if (n->type == TREE_LINK) {
		snprintf(link, sizeof(link), "%s%s%s",
			 t->base[0] ? t->base : ".", n->link[0] ? "/" : "",
			 n->link);
		n->link = link;
	}
	r = write_extended(t, n, name, e);
	if (r == 0)
		r = write_header(t, n, name, types[n->type], n->size, e);
	t->size = n->size;
	t->at = 0;
	return r;
}

static int write_data(struct writer *t, const unsigned char *p, size_t len,
		      struct err *e)
{
	uint64_t offset;
	int r = tree_parse_data(p, len, &offset, &p, &len, e);

	if (r < 0)
		return r;
	if (offset < t->at || offset > t->size || len > t->size - offset)
		return err_set(e, EBADMSG,
			       "the stream is broken: data out of its place");
	r = write_hole(t, offset - t->at, e);
	if (r == 0)
		r = write_out(t, p, len, e);
	t->at = offset + len;
	return r;
}

/* The end of the archive, and all that waits. */
static int finish(struct writer *t, struct err *e)
{
	int r = finish_file(t, e);

	if (r == 0)
		r = write_zeros(t, 2 * BLOCK, e);
	return r < 0 ? r : flush_out(t, e);
}

static int write_frames(struct writer *t, struct tree_wire *w,
			struct tree_end *sender, struct err *e)
{
	const unsigned char *p;
	struct tree_entry n;
	size_t len;
	int r;

	for (;;) {
		r = tree_get(w, &p, &len, e);
		if (r == TREE_ENTRY) {
			r = tree_parse_entry(w, p, len, &n, e);
			if (r == 0)
				r = write_entry(t, &n, e);
		} else if (r == TREE_DATA) {
			r = write_data(t, p, len, e);
		} else if (r == TREE_END) {
			r = tree_parse_end(p, len, sender, e);
			if (r == 0 && sender->code)
				r = err_set(e, sender->code, "%s",
					    sender->text);
			return r < 0 ? r : finish(t, e);
		} else if (r >= 0) {
			r = err_set(e, EBADMSG, "the stream is broken");
		}
		if (r < 0)
			return r;
	}
}

int cp_tar_write(struct tree_wire *w, int fd, const char *base,
		 struct tree_end *sender, struct err *e)
{
	struct writer t = {.fd = fd,
			   .grows = fd_grows(fd),
			   .out = {.max = 4 * TREE_FRAME_MAX}};
	int r;

	snprintf(t.base, sizeof(t.base), "%s", base);
	r = write_frames(&t, w, sender, e);
	buf_done(&t.out);
	return r;
}

/* ------------------------------------------------------------------ reading */

struct reader {
	int fd;
	uint32_t flags;
	bool rooted; /* the root has been sent */
	uint8_t data[READ_SIZE];
	char name[TREE_PATH_MAX + 1];
	char link[TREE_PATH_MAX + 1];
	unsigned char xattrs[TREE_XATTRS_MAX];
};

static ssize_t next_piece(void *arg, const uint8_t **ret, struct err *e)
{
	struct reader *t = arg;
	ssize_t n;

	do {
		n = read(t->fd, t->data, sizeof(t->data));
	} while (n < 0 && errno == EINTR);
	*ret = t->data;
	return n < 0 ? err_sys(e, errno, "read the archive") : n;
}

/* Without "./" and slashes that say nothing. */
static int clean(const char *name, char out[TREE_PATH_MAX + 1], struct err *e)
{
	const char *p = name;
	size_t len, at = 0;

	if (name[0] == '/')
		return err_set(e, EINVAL,
			       "archive: '%s' is absolute: only names below "
			       "the folder are taken",
			       name);
	for (;; p += len) {
		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 0)
			break;
		if (len == 1 && p[0] == '.')
			continue;
		if (at + len + 2 > TREE_PATH_MAX)
			return err_sys(e, ENAMETOOLONG, "archive: '%.80s...'",
				       name);
		if (at)
			out[at++] = '/';
		memcpy(out + at, p, len);
		at += len;
	}
	out[at] = '\0';
	if (tree_name_is_valid(out))
		return 0;
	return err_set(e, EINVAL,
		       "archive: '%s' leads out of the folder, or too deep",
		       name);
}

static int pack_xattrs(struct reader *t, const struct tar_entry *from,
		       struct tree_entry *n, struct err *e)
{
	size_t at = 0, i, k, len;

	for (i = 0; i < from->n_xattrs; i++) {
		len = strlen(from->xattrs[i].name) + 1;
		if (!tree_xattr_is_kept(from->xattrs[i].name, t->flags))
			continue;
		if (len > TREE_NAME_MAX || from->xattrs[i].len > UINT32_MAX ||
		    at + len + 4 + from->xattrs[i].len > sizeof(t->xattrs)) {
			if (t->flags & TREE_WHOLE)
				return err_set(e, E2BIG,
					       "archive: '%s': its attributes "
					       "are too large",
					       from->path);
			continue;
		}
		memcpy(t->xattrs + at, from->xattrs[i].name, len);
		at += len;
		for (k = 0; k < 4; k++)
			t->xattrs[at++] =
				(unsigned char)(from->xattrs[i].len >> (8 * k));
		memcpy(t->xattrs + at, from->xattrs[i].value,
		       from->xattrs[i].len);
		at += from->xattrs[i].len;
	}
	n->xattrs = t->xattrs;
	n->xattrs_len = at;
	return 0;
}

/* 1: there is nothing to be sent of it. */
static int convert(struct reader *t, const struct tar_entry *from,
		   struct tree_entry *n, struct tree_end *end, struct err *e)
{
	static const enum tree_type types[] = {
		[TAR_FILE] = TREE_FILE,	      [TAR_LINK] = TREE_LINK,
		[TAR_SYMLINK] = TREE_SYMLINK, [TAR_DIR] = TREE_DIR,
		[TAR_FIFO] = TREE_FIFO,
	};
	int r = clean(from->path, t->name, e);

	if (r < 0)
		return r;
	if (from->type == TAR_CHAR || from->type == TAR_BLOCK) {
		end->skipped++;
		return 1;
	}
	/* The folder itself. */
	if (!t->name[0] && (!(t->flags & TREE_WHOLE) || from->type != TAR_DIR))
		return 1;
	if (from->uid > INT32_MAX || from->gid > INT32_MAX)
		return err_set(e, EINVAL, "archive: '%s': owner %u:%u",
			       from->path, from->uid, from->gid);
	*n = (struct tree_entry){
		.type = types[from->type],
		.mode = from->mode & 07777,
		.uid = from->uid,
		.gid = from->gid,
		.mtime = from->mtime,
		.mtime_nsec = from->mtime_nsec,
		.name = t->name,
		.link = from->type == TAR_SYMLINK ? from->link : NULL,
		.size = from->type == TAR_FILE ? from->size : 0,
	};
	if (from->type == TAR_LINK) {
		r = clean(from->link, t->link, e);
		n->link = t->link;
	}
	return r < 0 ? r : pack_xattrs(t, from, n, e);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* How much of the data lies in one block of the file. */
static size_t in_block(uint64_t at, size_t len)
{
	size_t room = HOLE - (size_t)(at % HOLE);

	return len < room ? len : room;
}

/* The next run without blocks of zeros: *p and *at go to its begin, *n is what
 * is left from there; its length. */
static size_t next_run(const uint8_t **p, uint64_t *at, size_t *n)
{
	size_t len, one;

	while (*n > 0) {
		one = in_block(*at, *n);
		if (!all_zero(*p, one))
			break;
		*p += one;
		*at += one;
		*n -= one;
	}
	for (len = 0; len < *n; len += one) {
		one = in_block(*at + len, *n - len);
		if (all_zero(*p + len, one) || len + one > TREE_DATA_MAX)
			break;
	}
	return len;
}

static int send_data(struct tree_wire *w, struct tar *tar, struct tree_end *end,
		     struct err *e)
{
	const uint8_t *p;
	size_t left, len;
	uint64_t at;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = tar_data(tar, &p, &at, e)) != 0) {
		if (n < 0)
			return (int)n;
		left = (size_t)n;
		end->bytes += left;
		while (r == 0 && (len = next_run(&p, &at, &left)) > 0) {
			r = tree_put_data(w, at, p, len, e);
			p += len;
			at += len;
			left -= len;
		}
	}
	return r;
}

/* The root goes first: the archive's own, where that is what it begins with. */
static int send_root(struct reader *t, struct tree_wire *w,
		     const struct tree_entry *first, bool *ret_taken,
		     struct err *e)
{
	const struct tree_entry plain = {
		.type = TREE_DIR, .mode = 0755, .name = ""};

	*ret_taken = first && !first->name[0];
	t->rooted = true;
	return tree_put_entry(w, *ret_taken ? first : &plain, e);
}

static int send_one(struct reader *t, struct tree_wire *w, struct tar *tar,
		    const struct tree_entry *n, struct tree_end *end,
		    struct err *e)
{
	bool taken = false;
	int r = 0;

	if (!t->rooted)
		r = send_root(t, w, n, &taken, e);
	if (r < 0 || taken)
		return r;
	if (!n->name[0])
		return err_set(e, EINVAL,
			       "archive: the folder itself ('./') comes behind "
			       "what is in it");
	r = tree_put_entry(w, n, e);
	if (r == 0 && n->type == TREE_FILE)
		r = send_data(w, tar, end, e);
	if (r == 0)
		end->entries++;
	return r;
}

int cp_tar_read(struct tree_wire *w, int fd, uint32_t flags,
		struct tree_end *end, struct err *e)
{
	_cleanup_free_ struct reader *t = calloc(1, sizeof(*t));
	_cleanup_(cleanup_tar) struct tar *tar = NULL;
	struct byte_source src = {.next = next_piece, .arg = t};
	const struct tar_entry *from;
	struct tree_entry n;
	int r = 0, got;
	bool taken;

	if (t)
		tar = tar_new(&src);
	if (!tar)
		return err_sys(e, ENOMEM, "read the archive");
	t->fd = fd;
	t->flags = flags;
	w->watch = true;
	if (!(flags & TREE_WHOLE))
		r = send_root(t, w, NULL, &taken, e);
	while (r == 0 && (got = tar_next(tar, &from, e)) != 0) {
		if (got < 0)
			return err_wrap(e, "archive");
		r = convert(t, from, &n, end, e);
		if (r == 1) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = send_one(t, w, tar, &n, end, e);
	}
	if (r == 0 && !t->rooted)
		r = send_root(t, w, NULL, &taken, e);
	return r;
}
