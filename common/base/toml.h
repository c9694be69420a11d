/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the strings of a TOML document (version 1.0): what configuration files
 * of other programs say. Values of other kinds are checked for their form only
 * as far as is needed to find their end.
 */
#ifndef HYB_COMMON_BASE_TOML_H
#define HYB_COMMON_BASE_TOML_H

#include "common/base/err.h"

#include <stddef.h>

/* Longest key or string, depth of arrays and inline tables. */
#define HYB_TOML_TEXT_MAX  1024
#define HYB_TOML_DEPTH_MAX 16

/* One string. table: the path of its table, joined by dots, "" for the top;
 * index: place in an array, -1: it is no array's. An array, also an empty one,
 * is announced with value NULL and index -1. Negative ends the reading. */
typedef int (*toml_fn)(void *arg, const char *table, const char *key, int index,
		       const char *value, struct err *e);

/* -EINVAL with the number of the line. text has a NUL at its end. */
int toml_read(const char *text, toml_fn fn, void *arg, struct err *e);

#endif
