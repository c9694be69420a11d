/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files: what a test produces is compared with a file that people read
 * and review. UPDATE_GOLDEN=1 writes the file anew. Tests run from the root of
 * the repository.
 */
#ifndef HYB_TESTS_UNIT_GOLDEN_H
#define HYB_TESTS_UNIT_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* The file, or NULL. The caller frees it. */
static inline char *golden_read(const char *path, size_t *len)
{
	struct err e = ERR_INIT;
	char *text = NULL;

	if (access(path, F_OK) < 0)
		return NULL;
	if (file_read(AT_FDCWD, path, (size_t)4 << 20, &text, len, &e) < 0)
		fail_msg("%s", e.msg);
	return text;
}

static inline void golden_check(const char *path, const char *got)
{
	_cleanup_free_ char *want = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;

	if (getenv("UPDATE_GOLDEN")) {
		if (file_write_atomic(path, got, strlen(got), 0644, &e) < 0)
			fail_msg("%s", e.msg);
		return;
	}
	want = golden_read(path, &len);
	if (!want)
		fail_msg("%s is missing; UPDATE_GOLDEN=1 writes it. Got:\n%s",
			 path, got);
	if (strcmp(want, got) != 0)
		fail_msg("%s differs. Expected:\n%s\nGot:\n%s", path, want,
			 got);
}

/* Calls fn(path without the suffix) for each file of the folder that ends with
 * the suffix; returns how many. */
static inline int golden_each(const char *folder, const char *suffix,
			      void (*fn)(const char *stem))
{
	struct dirent **names;
	char stem[PATH_MAX];
	size_t len, end = strlen(suffix);
	int i, n, count = 0;

	n = scandir(folder, &names, NULL, alphasort);
	if (n < 0)
		fail_msg("%s: %s", folder, strerror(errno));
	for (i = 0; i < n; i++) {
		len = strlen(names[i]->d_name);
		if (len > end &&
		    strcmp(names[i]->d_name + len - end, suffix) == 0) {
			snprintf(stem, sizeof(stem), "%s/%.*s", folder,
				 (int)(len - end), names[i]->d_name);
			fn(stem);
			count++;
		}
		free(names[i]);
	}
	free(names);
	return count;
}

#endif
