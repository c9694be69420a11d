/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership by cleanup attributes: a variable marked _cleanup_X_ releases what
 * it holds when it goes out of scope; steal_ptr() and steal_fd() hand it on at
 * the one success exit.
 */
#ifndef HYB_COMMON_BASE_CLEANUP_H
#define HYB_COMMON_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Closes *fd unless it is negative; keeps errno. */
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
		*fd = -1;
	}
}

static inline void cleanup_free(void *p)
{
	void *ptr;

	memcpy(&ptr, p, sizeof(ptr));
	free(ptr);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_close_	   _cleanup_(cleanup_close)
#define _cleanup_free_	   _cleanup_(cleanup_free)
#define _cleanup_fclose_   _cleanup_(cleanup_fclose)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir)

/* Defines cleanup_TYPE() for `_cleanup_(cleanup_TYPE) TYPE *x`. */
#define HYB_DEFINE_CLEANUP(type, free_fn)                  \
	static inline void cleanup_##type(struct type **p) \
	{                                                  \
		if (*p)                                    \
			free_fn(*p);                       \
	}                                                  \
	struct type

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

static inline void *steal_ptr_raw(void *pp)
{
	void *v, *null = NULL;

	memcpy(&v, pp, sizeof(v));
	memcpy(pp, &null, sizeof(null));
	return v;
}

/* The value of the pointer variable p, which is NULL from then on. */
#define steal_ptr(p) ((__typeof__(p))steal_ptr_raw(&(p)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
