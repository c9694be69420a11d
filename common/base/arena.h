/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is freed all at once: what a model's strings and arrays live in.
 * All memory is zeroed and aligned for any type. */
#ifndef HYB_COMMON_BASE_ARENA_H
#define HYB_COMMON_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

/* NULL: no memory. max: total bytes it will give out (0: 64 MiB). */
struct arena *arena_new(size_t max);
void arena_free(struct arena *a);
static inline void cleanup_arena(struct arena **a)
{
	if (*a)
		arena_free(*a);
}
#define _cleanup_arena_ __attribute__((cleanup(cleanup_arena)))

/* NULL: no memory, the limit is reached, or n * size overflows. */
void *arena_alloc(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
/* A NULL-terminated list with its strings; NULL stands for an empty one. */
char **arena_strv(struct arena *a, const char *const *list);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
