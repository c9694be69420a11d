/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/input.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/cli/cli.h"
#include "host-agent/manifest/manifest.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

void input_done(struct input *in)
{
	free(in->text);
	free(in->folder);
	json_decref(in->env_files);
	json_decref(in->files);
	memset(in, 0, sizeof(*in));
}

/* One byte over the limit is read, so that the parser says what is wrong. */
static int read_stdin(char **ret, size_t *ret_len, struct err *e)
{
	size_t cap = HYB_MANIFEST_SIZE_MAX + 2;
	_cleanup_free_ char *text = malloc(cap);
	ssize_t n;

	if (!text)
		return err_sys(e, ENOMEM, "read standard input");
	n = read_full(STDIN_FILENO, text, cap - 1);
	if (n < 0)
		return err_sys(e, (int)-n, "read standard input");
	text[n] = '\0';
	*ret_len = (size_t)n;
	*ret = steal_ptr(text);
	return 0;
}

static int read_manifest(const char *file, char **ret, size_t *ret_len,
			 struct err *e)
{
	struct stat st;

	if (strcmp(file, "-") == 0)
		return read_stdin(ret, ret_len, e);
	if (stat(file, &st) == 0 && S_ISDIR(st.st_mode))
		return err_sys(e, EISDIR, "read '%s'", file);
	return file_read(AT_FDCWD, file, HYB_MANIFEST_SIZE_MAX, ret, ret_len,
			 e);
}

/* Paths in a manifest count from its folder; of standard input from here. */
static int read_beside(void *arg, const char *path, char **ret, size_t *ret_len,
		       struct err *e)
{
	const struct input *in = arg;
	const char *slash = strrchr(in->file, '/');
	char full[PATH_MAX];
	int n;

	if (path[0] == '/' || !slash)
		n = snprintf(full, sizeof(full), "%s", path);
	else
		n = snprintf(full, sizeof(full), "%.*s/%s",
			     (int)(slash - in->file), in->file, path);
	if (n < 0 || (size_t)n >= sizeof(full))
		return err_sys(e, ENAMETOOLONG, "open '%s'", path);
	return file_read(AT_FDCWD, full, HYB_MANIFEST_ENV_MAX, ret, ret_len, e);
}

/* What has been read ahead is what is checked and sent: the files are opened
 * once. */
static int read_env(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e)
{
	const struct input *in = arg;
	int r;

	r = read_beside(arg, path, ret, ret_len, e);
	if (r < 0)
		return r;
	/* What is not UTF-8 becomes no entry; the parser says why. */
	json_object_set_new(in->env_files, path, json_stringn(*ret, *ret_len));
	return 0;
}

static int read_source(void *arg, const char *path, char **ret, size_t *ret_len,
		       struct err *e)
{
	const struct input *in = arg;
	char *hex;
	int r;

	r = read_beside(arg, path, ret, ret_len, e);
	if (r < 0)
		return r;
	hex = malloc(2 * *ret_len + 1);
	if (!hex)
		return err_sys(e, ENOMEM, "read");
	hex_format(*ret, *ret_len, hex);
	json_object_set_new(in->files, path, json_string(hex));
	explicit_bzero(hex, 2 * *ret_len);
	free(hex);
	return 0;
}

/* Where relative paths of binds count from, without links: ".." of it is what
 * the text says. */
static char *find_folder(const char *file)
{
	const char *slash = strrchr(file, '/');
	_cleanup_free_ char *folder = NULL;

	if (!slash)
		return realpath(".", NULL);
	folder = strndup(file, (size_t)(slash - file) + 1);
	return folder ? realpath(folder, NULL) : NULL;
}

static void show_diagnostics(const struct manifest *m)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	manifest_render_diagnostics(m, &b);
	fflush(stdout);
	fputs(buf_str(&b), stderr);
}

static int check(const char *verb, struct input *in)
{
	_cleanup_manifest_ struct manifest m = {.stacks = NULL};
	struct manifest_reader reader = {.read = read_env,
					 .read_file = read_source,
					 .folder = in->folder,
					 .arg = in};
	struct err e = ERR_INIT;
	int r;

	r = manifest_parse(in->file, in->text, in->len, &reader, &m);
	if (r == 0) {
		in->n_stacks = m.n_stacks;
		in->n_tenants = m.n_tenants;
		return 0;
	}
	if (r != -EINVAL) {
		err_sys(&e, -r, "read '%s'", in->file);
		return cli_fail(CLI_FAILED, verb, &e);
	}
	show_diagnostics(&m);
	err_set(&e, EINVAL, "'%s': %zu%s error%s", in->file, m.n_diagnostics,
		m.truncated ? " or more" : "", m.n_diagnostics == 1 ? "" : "s");
	return cli_fail(CLI_MANIFEST, verb, &e);
}

int input_load(const char *verb, const char *file, struct input *in)
{
	struct err e = ERR_INIT;
	int st;

	memset(in, 0, sizeof(*in));
	in->file = file;
	in->folder = find_folder(file);
	in->env_files = json_object();
	in->files = json_object();
	if (read_manifest(file, &in->text, &in->len, &e) < 0) {
		st = cli_fail(e.code == EFBIG ? CLI_MANIFEST : CLI_FAILED, verb,
			      &e);
		input_done(in);
		return st;
	}
	st = check(verb, in);
	if (st)
		input_done(in);
	return st;
}

struct input *inputs_load(const char *verb, int n, char **files,
			  int *ret_status)
{
	struct input *in = calloc((size_t)n, sizeof(*in));
	int i, k, st, first = 0;

	for (i = 0; in && i < n; i++) {
		for (k = 0; k < i; k++)
			if (strcmp(files[k], files[i]) == 0)
				break;
		if (k < i)
			st = cli_usage(verb, "'%s' is given twice", files[i]);
		else
			st = input_load(verb, files[i], &in[i]);
		first = first ? first : st;
	}
	*ret_status = in ? first : CLI_FAILED;
	if (*ret_status == 0)
		return in;
	inputs_free(in, n);
	return NULL;
}

void inputs_free(struct input *in, int n)
{
	int i;

	for (i = 0; in && i < n; i++)
		input_done(&in[i]);
	free(in);
}

json_t *input_params(const struct input *in)
{
	/* A file's name may hold any bytes; what is not UTF-8 is replaced. */
	json_t *params, *name = json_string(in->file);

	params = json_pack("{s:s%,s:O}", "text", in->text, in->len, "env_files",
			   in->env_files);
	if (params && json_object_size(in->files) > 0)
		json_object_set(params, "files", in->files);
	/* One that is not UTF-8 is not sent. */
	if (params && in->folder)
		json_object_set_new(params, "folder", json_string(in->folder));
	if (!params ||
	    json_object_set_new(params, "file",
				name ? name : json_string("manifest")) < 0) {
		json_decref(params);
		return NULL;
	}
	return params;
}
