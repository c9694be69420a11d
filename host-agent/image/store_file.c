/* SPDX-License-Identifier: Apache-2.0 */
/* The files in erofs/: KEY.erofs, a whole EROFS, and KEY.diff, what differs
 * from one. */
#include "host-agent/image/store_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"

size_t store_files(const struct stored *i, struct store_file ret[2])
{
	bool whole = !i->base.key[0];

	snprintf(ret[0].name, sizeof(ret[0].name), "%s.%s", i->key,
		 whole ? "erofs" : "diff");
	ret[0].size = i->file_size;
	ret[0].mtime_ns = i->file_mtime_ns;
	if (whole)
		return 1;
	snprintf(ret[1].name, sizeof(ret[1].name), "%s.erofs", i->base.key);
	ret[1].size = i->base.size;
	ret[1].mtime_ns = i->base.mtime_ns;
	return 2;
}

/* The file must be what was left there: VMs read it, so it may not have become
 * shorter, longer, another, or writable. */
static int check_file(const struct image_store *s, const struct store_file *f)
{
	struct stat st;
	int64_t mtime;

	if (fstatat(s->erofs_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -ENOENT;
	mtime = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != 0444 ||
	    st.st_uid != geteuid() || (uint64_t)st.st_size != f->size ||
	    mtime != f->mtime_ns)
		return -EUCLEAN;
	return 0;
}

int store_check(const struct image_store *s, const struct stored *i,
		bool *ret_base)
{
	struct store_file f[2];
	size_t n = store_files(i, f), k;
	int r = 0;

	for (k = 0; r == 0 && k < n; k++) {
		r = check_file(s, &f[k]);
		if (ret_base)
			*ret_base = k > 0;
	}
	return r;
}

static bool uses_file(const struct stored *i, const char *name)
{
	struct store_file f[2];
	size_t n = store_files(i, f);

	return strcmp(f[0].name, name) == 0 ||
	       (n > 1 && strcmp(f[1].name, name) == 0);
}

bool store_find_whole(const struct image_store *s, const char *key,
		      uint64_t *ret_size, int64_t *ret_mtime_ns)
{
	struct store_file f[2];
	char name[80];
	size_t i, k, n;

	snprintf(name, sizeof(name), "%s.erofs", key);
	for (i = 0; i < s->n_images; i++) {
		n = store_files(&s->images[i], f);
		for (k = 0; k < n; k++) {
			if (strcmp(f[k].name, name) != 0 ||
			    check_file(s, &f[k]) < 0)
				continue;
			*ret_size = f[k].size;
			*ret_mtime_ns = f[k].mtime_ns;
			return true;
		}
	}
	return false;
}

DIR *store_open_folder(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = own < 0 ? NULL : fdopendir(own);

	if (!d)
		cleanup_close(&own);
	return d;
}

int store_sweep(struct image_store *s, struct err *e)
{
	_cleanup_closedir_ DIR *d = store_open_folder(s->erofs_fd);
	struct dirent *de;
	size_t i;

	if (!d)
		return err_sys(e, errno, "image store");
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		for (i = 0; i < s->n_images; i++)
			if (uses_file(&s->images[i], de->d_name))
				break;
		if (i == s->n_images)
			unlinkat(s->erofs_fd, de->d_name, 0);
	}
	return 0;
}

/* Is it used only by images that go, and by none of them before number i? */
static bool is_freed(const struct image_store *s, const char *name, size_t i,
		     bool (*goes)(const void *arg, const char *digest),
		     const void *arg)
{
	size_t k;

	for (k = 0; k < s->n_images; k++) {
		const struct stored *x = &s->images[k];

		if (uses_file(x, name) && (k < i || !goes(arg, x->digest)))
			return false;
	}
	return true;
}

uint64_t store_count_freed(const struct image_store *s,
			   bool (*goes)(const void *arg, const char *digest),
			   const void *arg)
{
	struct store_file f[2];
	uint64_t sum = 0;
	size_t i, k, n;

	for (i = 0; i < s->n_images; i++) {
		n = store_files(&s->images[i], f);
		for (k = 0; k < n; k++)
			if (is_freed(s, f[k].name, i, goes, arg))
				sum += f[k].size;
	}
	return sum;
}
