/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/listing.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/tar.h"

/* A file read piece by piece, what is skipped not at all. */
struct file_source {
	int fd;
	uint64_t at, size;
	uint8_t buf[65536];
};

static ssize_t file_next(void *arg, const uint8_t **ret, struct err *e)
{
	struct file_source *f = arg;
	ssize_t n;

	do
		n = pread(f->fd, f->buf, sizeof(f->buf), (off_t)f->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, errno, "read");
	f->at += (uint64_t)n;
	*ret = f->buf;
	return n;
}

static uint64_t file_skip(void *arg, uint64_t n)
{
	struct file_source *f = arg;
	uint64_t left = f->at < f->size ? f->size - f->at : 0;

	if (n > left)
		n = left;
	f->at += n;
	return n;
}

/* Cleans path into out: no "." and "..", no slash in front or behind. from:
 * the entry whose symbolic link this is, or NULL. false: it leaves the
 * archive, is too long, or not printable. */
static bool clean(const char *from, const char *path, char *out)
{
	size_t len = 0;

	if (from && path[0] != '/' && strrchr(from, '/')) {
		len = (size_t)(strrchr(from, '/') - from);
		memcpy(out, from, len);
	}
	while (*path) {
		size_t n = strcspn(path, "/"), i;

		for (i = 0; i < n; i++) {
			if (path[i] <= ' ' || path[i] > '~')
				return false;
		}
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			if (len == 0)
				return false;
			while (len > 0 && out[--len] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (len + 1 + n > HYB_IMAGE_PATH_MAX)
				return false;
			if (len)
				out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n;
		path += *path == '/';
	}
	out[len] = '\0';
	return len > 0;
}

static json_t *make_item(const struct tar_entry *n)
{
	char name[HYB_IMAGE_PATH_MAX + 1], link[HYB_IMAGE_PATH_MAX + 1];

	if (!clean(NULL, n->path, name))
		return NULL;
	if (n->type == TAR_FILE && !n->sparse)
		return json_pack("{s:s, s:I, s:I}", "name", name, "offset",
				 (json_int_t)n->data_at, "size",
				 (json_int_t)n->stored);
	if (n->type == TAR_LINK && clean(NULL, n->link, link))
		return json_pack("{s:s, s:s}", "name", name, "link", link);
	if (n->type == TAR_SYMLINK && clean(name, n->link, link))
		return json_pack("{s:s, s:s}", "name", name, "link", link);
	return NULL;
}

int listing_make(int fd, json_t **ret, struct err *e)
{
	struct file_source f = {.fd = fd};
	struct byte_source src = {
		.next = file_next, .skip = file_skip, .arg = &f};
	_cleanup_(cleanup_tar) struct tar *t = tar_new(&src);
	json_t *list = json_array();
	const struct tar_entry *n;
	struct stat st;
	size_t count = 0;
	int r;

	if (!t || !list || fstat(fd, &st) < 0) {
		json_decref(list);
		return err_sys(e, t && list ? errno : ENOMEM, "read");
	}
	f.size = (uint64_t)st.st_size;
	while ((r = tar_next(t, &n, e)) > 0) {
		json_t *item;

		if (++count > HYB_IMAGE_INDEX_MAX) {
			r = err_set(e, E2BIG,
				    "the archive has more than %d entries",
				    HYB_IMAGE_INDEX_MAX);
			break;
		}
		item = make_item(n);
		if (item)
			json_array_append_new(list, item);
	}
	if (r < 0) {
		json_decref(list);
		return r;
	}
	*ret = list;
	return 0;
}
