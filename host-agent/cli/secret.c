/* SPDX-License-Identifier: Apache-2.0 */
/* hyb secret set · ls · rm */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"
#include "host-agent/model/check.h"

#include <fcntl.h>

/* ------------------------------------------------------------------- set */

struct set_args {
	const char *file;
};

static const struct opt set_opts[] = {
	{'f', "file", OPT_STRING, offsetof(struct set_args, file), "FILE",
	 "what it is (default: standard input)"},
};

static int read_secret(const char *file, char **ret, size_t *ret_len,
		       struct err *e)
{
	size_t max = HYB_FILE_CONTENT_MAX + 1;
	ssize_t n;

	if (file)
		return file_read(AT_FDCWD, file, HYB_FILE_CONTENT_MAX, ret,
				 ret_len, e);
	*ret = malloc(max);
	if (!*ret)
		return err_sys(e, ENOMEM, "read standard input");
	n = read_full(STDIN_FILENO, *ret, max);
	if (n < 0)
		return err_sys(e, (int)-n, "read standard input");
	/* Of a pipe whose first command failed; what was set stays. */
	if (n == 0) {
		err_set(e, EINVAL, "standard input is empty");
		err_hint(e, "`-f /dev/null` sets an empty secret");
		return -EINVAL;
	}
	if ((size_t)n > HYB_FILE_CONTENT_MAX)
		return err_set(e, EFBIG, "a secret has at most %zu bytes",
			       HYB_FILE_CONTENT_MAX);
	*ret_len = (size_t)n;
	return 0;
}

static int run_set(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	_cleanup_free_ char *data = NULL, *hex = NULL;
	const struct set_args *a = args;
	struct err e = ERR_INIT;
	size_t len = 0;
	int st;

	(void)n;
	if (read_secret(a->file, &data, &len, &e) < 0)
		return cli_fail(CLI_FAILED, "secret set", &e);
	hex = malloc(2 * len + 1);
	if (!hex)
		return CLI_FAILED;
	hex_format(data, len, hex);
	explicit_bzero(data, len);
	st = client_one(cli, HOST_IFACE "SecretSet",
			json_pack("{s:s,s:s}", "name", words[0], "data", hex),
			&reply, &e);
	explicit_bzero(hex, 2 * len);
	if (st)
		return cli_fail(st, "secret set", &e);
	printf("%s: %s\n", words[0],
	       json_is_true(json_object_get(reply.parameters, "changed"))
		       ? "set"
		       : "nothing to do");
	return CLI_DONE;
}

const struct verb cli_verb_secret_set = {
	.name = "secret set",
	.words = "NAME",
	.brief = "Sets a secret, from a file or standard input",
	.about = "A manifest uses it as NAME: { external: true }. Containers "
		 "that run have the new\ncontent at once, in the same file.",
	.opts = set_opts,
	.n_opts = ARRAY_SIZE(set_opts),
	.args_size = sizeof(struct set_args),
	.min_words = 1,
	.max_words = 1,
	.run = run_set,
};

/* -------------------------------------------------------------------- ls */

struct ls_args {
	enum out_format format;
};

static const struct opt ls_opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct ls_args, format),
	 "table|json", "how to show it"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"tenant", "name", "version", "created_at",
				     NULL};

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char text[32];

	(void)whole;
	out_table_cell(t, out_str(row, "name"));
	snprintf(text, sizeof(text), "%lld",
		 (long long)out_int(row, "version", 0));
	out_table_cell(t, text);
	out_table_cell(t, out_age(out_str(row, "created_at"), text));
}

static int run_ls(struct cli *cli, const void *args, int n, char **words)
{
	static const char *const headings[] = {"NAME", "VERSION", "SET", NULL};
	const struct ls_args *a = args;

	(void)n;
	(void)words;
	return client_list(cli, "secret ls", HOST_IFACE "SecretList", "secrets",
			   a->format, fields, headings, print_row);
}

const struct verb cli_verb_secret_ls = {
	.name = "secret ls",
	.words = "",
	.brief = "Lists secrets, never what is in them",
	.opts = ls_opts,
	.n_opts = ARRAY_SIZE(ls_opts),
	.args_size = sizeof(struct ls_args),
	.run = run_ls,
};

/* -------------------------------------------------------------------- rm */

static int remove_one(struct vl_conn *c, const char *name)
{
	return client_remove(c, "secret rm", HOST_IFACE "SecretRemove", name);
}

static int run_rm(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	return client_each(cli, "secret rm", n, words, remove_one);
}

const struct verb cli_verb_secret_rm = {
	.name = "secret rm",
	.words = "NAME...",
	.brief = "Removes secrets that no stack uses",
	.min_words = 1,
	.max_words = -1,
	.run = run_rm,
};
