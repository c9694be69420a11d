/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/reconcile/logfile.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>

#define RECORD_MAX (LOGREC_HEADER_SIZE + LOGREC_LENGTH_MAX)

static int path_format(char out[512], const char *dir, const char *name,
		       unsigned int generation)
{
	int n = generation ? snprintf(out, 512, "%s/%s.log.%u", dir, name,
				      generation)
			   : snprintf(out, 512, "%s/%s.log", dir, name);

	return n < 0 || n >= 512 ? -ENAMETOOLONG : 0;
}

/* Reads one whole record at the descriptor's position: its length with the
 * header, 0 at the end (also when the last one is not whole), -EBADMSG. */
static ssize_t record_read(int fd, unsigned char *buf, struct logrec *ret)
{
	ssize_t n = read_full(fd, buf, LOGREC_HEADER_SIZE);

	if (n < 0)
		return n;
	if (n < LOGREC_HEADER_SIZE)
		return 0;
	if (logrec_decode(buf, ret) < 0)
		return -EBADMSG;
	n = read_full(fd, buf + LOGREC_HEADER_SIZE, ret->length);
	if (n < 0)
		return n;
	if ((size_t)n < ret->length)
		return 0;
	return LOGREC_HEADER_SIZE + (ssize_t)ret->length;
}

/* Walks to the end of the last whole record. */
static int scan_end(struct logfile *f)
{
	_cleanup_free_ unsigned char *buf = malloc(RECORD_MAX);
	struct logrec rec;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	if (lseek(f->fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((n = record_read(f->fd, buf, &rec)) > 0) {
		f->size += n;
		f->end = rec.offset + rec.length;
	}
	if (n < 0 && n != -EBADMSG)
		return (int)n;
	if (ftruncate(f->fd, f->size) < 0 ||
	    lseek(f->fd, f->size, SEEK_SET) < 0)
		return -errno;
	return 0;
}

/* The end of the newest rotated file, for a current one that is empty. */
static uint64_t rotated_end(const char *dir, const char *name)
{
	_cleanup_free_ unsigned char *buf = malloc(RECORD_MAX);
	_cleanup_close_ int fd = -1;
	uint64_t end = 0;
	struct logrec rec;
	char path[512];

	if (!buf || path_format(path, dir, name, 1) < 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	while (fd >= 0 && record_read(fd, buf, &rec) > 0)
		end = rec.offset + rec.length;
	return end;
}

int logfile_open(const char *dir, const char *name, struct logfile *ret,
		 struct err *e)
{
	struct logfile f = {.fd = -1};
	int r;

	r = path_format(f.path, dir, name, 0);
	if (r < 0)
		return err_sys(e, -r, "open the log of '%s'", name);
	f.fd = open(f.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f.fd < 0)
		return err_sys(e, errno, "open '%s'", f.path);
	r = scan_end(&f);
	if (r < 0) {
		close(f.fd);
		return err_sys(e, -r, "read '%s'", f.path);
	}
	if (f.size == 0)
		f.end = rotated_end(dir, name);
	*ret = f;
	return 0;
}

void logfile_close(struct logfile *f)
{
	cleanup_close(&f->fd);
}

/* NAME.log.1 becomes NAME.log.2 and so on; a new NAME.log begins. A hybd that
 * is killed in between leaves a gap in the numbers and loses nothing. */
static int rotate(struct logfile *f)
{
	char from[540], to[540];
	unsigned int i;
	int fd;

	for (i = LOGFILE_KEEP - 1; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%u", f->path, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%u", f->path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", f->path);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	close(f->fd);
	f->fd = fd;
	f->size = 0;
	return 0;
}

int logfile_append(struct logfile *f, const void *records, size_t len,
		   uint64_t end, struct err *e)
{
	int r;

	if (f->size >= LOGFILE_ROTATE_BYTES) {
		r = rotate(f);
		if (r < 0)
			return err_sys(e, -r, "rotate '%s'", f->path);
	}
	r = write_full(f->fd, records, len);
	if (r < 0) {
		/* Nothing half-written stays: the bytes are not acknowledged
		 * and come again. */
		if (ftruncate(f->fd, f->size) == 0)
			lseek(f->fd, f->size, SEEK_SET);
		return err_sys(e, -r, "write '%s'", f->path);
	}
	f->size += (off_t)len;
	f->end = end;
	return 0;
}

int logfile_remove(const char *dir, const char *name, struct err *e)
{
	char path[512];
	unsigned int i;

	for (i = 0; i < LOGFILE_KEEP; i++) {
		if (path_format(path, dir, name, i) < 0)
			continue;
		if (unlink(path) < 0 && errno != ENOENT)
			return err_sys(e, errno, "remove '%s'", path);
	}
	return 0;
}

/* ------------------------------------------------------------- reading */

/* Opens the oldest file that holds something from offset `next` on: files are
 * tried from the oldest, and passed over when all in them is older. */
static int reader_open_file(struct logreader *r)
{
	unsigned int i = LOGFILE_KEEP;
	char path[540];

	while (i-- > 0) {
		if (i)
			snprintf(path, sizeof(path), "%s.%u", r->path, i);
		else
			snprintf(path, sizeof(path), "%s", r->path);
		r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (r->fd >= 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
	}
	return -ENOENT;
}

/* The file is read to its end: was it rotated away? Then the one that follows
 * it is opened. 1: there is more. */
static int reader_next_file(struct logreader *r)
{
	struct stat mine, st;
	char path[540], newer[540];
	unsigned int i;
	int fd;

	if (fstat(r->fd, &mine) < 0)
		return -errno;
	for (i = 0; i < LOGFILE_KEEP; i++) {
		snprintf(path, sizeof(path), i ? "%s.%u" : "%s", r->path, i);
		if (stat(path, &st) == 0 && st.st_ino == mine.st_ino)
			break;
	}
	if (i == 0)
		return 0;
	while (i-- > 0) {
		snprintf(newer, sizeof(newer), i ? "%s.%u" : "%s", r->path, i);
		fd = open(newer, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			close(r->fd);
			r->fd = fd;
			return 1;
		}
	}
	return 0;
}

/* A whole record at or behind r->next, or 0. */
static ssize_t reader_record(struct logreader *r, unsigned char *buf,
			     struct logrec *rec)
{
	off_t at;
	ssize_t n;
	int more;

	for (;;) {
		if (r->fd < 0 && reader_open_file(r) < 0)
			return 0;
		at = lseek(r->fd, 0, SEEK_CUR);
		n = record_read(r->fd, buf, rec);
		if (n > 0) {
			if (rec->offset + rec->length <= r->next)
				continue;
			return n;
		}
		if (n < 0)
			return n;
		if (lseek(r->fd, at, SEEK_SET) < 0)
			return -errno;
		more = reader_next_file(r);
		if (more <= 0)
			return more;
	}
}

/* The offset from which `tail` lines are left. */
static int find_tail(struct logreader *r, int64_t tail, unsigned char *buf)
{
	uint64_t lines = 0, skip, seen = 0;
	struct logrec rec = {0};
	unsigned char last = '\n';
	ssize_t n;
	size_t i;

	while ((n = reader_record(r, buf, &rec)) > 0) {
		for (i = 0; i < rec.length; i++)
			lines += buf[LOGREC_HEADER_SIZE + i] == '\n';
		last = buf[LOGREC_HEADER_SIZE + rec.length - 1];
		r->next = rec.offset + rec.length;
	}
	if (n < 0)
		return (int)n;
	if (last != '\n')
		lines++;
	if (lines <= (uint64_t)tail) {
		r->next = 0;
		cleanup_close(&r->fd);
		return 0;
	}
	if (tail == 0)
		return 0;
	skip = lines - (uint64_t)tail;
	r->next = 0;
	cleanup_close(&r->fd);
	while (seen < skip && (n = reader_record(r, buf, &rec)) > 0) {
		for (i = 0; i < rec.length && seen < skip; i++)
			seen += buf[LOGREC_HEADER_SIZE + i] == '\n';
		r->next = rec.offset + i;
	}
	cleanup_close(&r->fd);
	return n < 0 ? (int)n : 0;
}

int logreader_open(const char *dir, const char *name, int64_t tail,
		   uint64_t since, struct logreader *ret, struct err *e)
{
	_cleanup_free_ unsigned char *buf = malloc(RECORD_MAX);
	struct logreader r = {.fd = -1, .since = since};
	int x = path_format(r.path, dir, name, 0);

	if (!buf)
		x = -ENOMEM;
	if (x == 0 && tail >= 0)
		x = find_tail(&r, tail, buf);
	if (x < 0) {
		logreader_close(&r);
		return err_sys(e, -x, "read the log of '%s'", name);
	}
	*ret = r;
	return 0;
}

void logreader_close(struct logreader *r)
{
	cleanup_close(&r->fd);
}

ssize_t logreader_next(struct logreader *r, unsigned char *buf, struct err *e)
{
	struct logrec rec;
	size_t cut;
	ssize_t n;

	for (;;) {
		n = reader_record(r, buf, &rec);
		if (n < 0)
			return err_sys(e, (int)-n, "read '%s'", r->path);
		if (n == 0)
			return 0;
		cut = rec.offset < r->next ? r->next - rec.offset : 0;
		r->next = rec.offset + rec.length;
		if (rec.time < r->since)
			continue;
		if (cut == 0)
			return n;
		/* The tail begins inside this record. */
		memmove(buf + LOGREC_HEADER_SIZE,
			buf + LOGREC_HEADER_SIZE + cut, rec.length - cut);
		rec.offset += cut;
		rec.length -= (uint32_t)cut;
		logrec_encode(&rec, buf);
		return LOGREC_HEADER_SIZE + (ssize_t)rec.length;
	}
}
