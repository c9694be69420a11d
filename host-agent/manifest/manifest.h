/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: YAML text that anybody may have written → typed stacks, or
 * every error in it at once, each with its place. docs/manifest.md is the
 * user's side of it.
 *
 * Theory of operation. tree.c reads libyaml's events into a tree that keeps
 * positions, with every limit applied while reading. fields.c walks a mapping
 * of it along a table of known keys; stack.c, container.c, ports.c, depends.c
 * and environment.c hold the tables and what each key means; crosscheck.c
 * looks at what only the whole can tell. Errors are collected in diag.c and
 * never stop the reading, except where the text is not YAML or is over a
 * limit. Nothing here opens a file.
 */
#ifndef HYB_HOST_AGENT_MANIFEST_MANIFEST_H
#define HYB_HOST_AGENT_MANIFEST_MANIFEST_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "host-agent/model/model.h"
#include "host-agent/model/tenant.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Limits of one manifest. */
#define HYB_MANIFEST_SIZE_MAX	 ((size_t)1 << 20) /* bytes of text */
#define HYB_MANIFEST_DEPTH_MAX	 32
#define HYB_MANIFEST_NODES_MAX	 20000 /* after expansion of aliases */
#define HYB_MANIFEST_ANCHORS_MAX 1000  /* in one document */
#define HYB_MANIFEST_ERRORS_MAX	 100   /* shown */
#define HYB_MANIFEST_PORTS_MAX	 1024  /* published, in all documents */
#define HYB_MANIFEST_ENV_MAX	 ((size_t)1 << 20) /* bytes of all env_files */
#define HYB_MANIFEST_WORDS_MAX	 4096		   /* of a command */

struct manifest_diagnostic {
	uint32_t line, col;  /* from 1; col counts characters */
	const char *message; /* one line, safe for a terminal */
	const char *source;  /* the line as it is shown, or "" */
	uint32_t caret;	     /* columns of source before the caret */
};

struct manifest {
	/* In the order of the documents. To keep one, take the pointer and
	 * leave NULL in its place. */
	struct model_stack **stacks;
	size_t n_stacks;
	struct model_tenant **tenants; /* the same */
	size_t n_tenants;
	/* By position. */
	const struct manifest_diagnostic *diagnostics;
	size_t n_diagnostics;
	bool truncated;	  /* there are more errors than these */
	const char *file; /* as errors show it */
	struct arena *arena;
};

/* Where the contents of env_files and seccomp profiles come from: path as the manifest has it. The
 * contents are freed with free(). What it says in *e is shown at the path's
 * place in the manifest. */
struct manifest_reader {
	int (*read)(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e);
	/* The same for the files of secrets and configs, which are bytes; NULL:
	 * there are none. */
	int (*read_file)(void *arg, const char *path, char **ret,
			 size_t *ret_len, struct err *e);
	/* What the relative paths of binds are relative to: an absolute path.
	 * NULL: they are errors. */
	const char *folder;
	void *arg;
};

/* file: its name in errors; "-" is standard input. env_reader NULL: an
 * env_file or a profile is an error. Returns 0 (stacks, no diagnostics), -EINVAL (at least
 * one diagnostic, no stacks) or -ENOMEM; *ret is to be released with
 * manifest_done() in every case. */
int manifest_parse(const char *file, const char *text, size_t len,
		   const struct manifest_reader *env_reader,
		   struct manifest *ret);
void manifest_done(struct manifest *m);
#define _cleanup_manifest_ __attribute__((cleanup(manifest_done)))

/* "file:line:col: message", the source line and a caret under it, for each. */
int manifest_render_diagnostics(const struct manifest *m, struct buf *out);

/* The same of one place in the text that was parsed, for what only the deployment
 * finds out about it. */
int manifest_render_place(const struct manifest *m, const char *text,
			  uint32_t line, uint32_t col, const char *message,
			  struct buf *out);

/* The paths that env_file and seccomp name in this text, each once, ending with NULL;
 * freed with strv_free(). A manifest that is not valid gives those that could
 * be read, so that manifest_parse() reports the rest. 0 or -ENOMEM. */
int manifest_env_files(const char *text, size_t len, char ***ret_paths);

#endif
