/* SPDX-License-Identifier: Apache-2.0 */
/* hyb disk import, ls, rm: disks that whole operating systems boot from. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/progress.h"
#include "host-agent/cli/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>

#define IMPORT_TIMEOUT_MS ((uint64_t)4 * 3600 * 1000)

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"tenant",	"name",	   "size", "disk_size",
				     "created", "used_by", NULL};

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char text[32];

	(void)whole;
	out_table_cell(t, out_str(row, "name"));
	out_table_size(t, row, "size");
	out_table_size(t, row, "disk_size");
	out_table_cell(t, out_age(out_str(row, "created"), text));
	out_table_cell(t, out_str(row, "used_by"));
}

static void print_rows(const json_t *rows, enum out_format format)
{
	static const char *const headings[] = {"NAME",	  "SIZE",    "ON DISK",
					       "CREATED", "USED BY", NULL};

	out_rows(rows, format, false, fields, headings, print_row);
}

/* ------------------------------------------------------------------ import */

struct import_args {
	const char *file_format;
	enum out_format format;
};

static const struct opt import_opts[] = {
	{'f', "format", OPT_STRING, offsetof(struct import_args, file_format),
	 "raw|qcow2", "what FILE is; it is never guessed"},
	{'o', "output", OPT_FORMAT, offsetof(struct import_args, format),
	 "table|json", "how to show it"},
};

static int import(struct cli *cli, const struct import_args *a,
		  const char *file, const char *name, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	_cleanup_close_ int fd = -1;
	struct progress p;
	json_t *rows;
	int st;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		err_sys(e, errno, "open '%s'", file);
		return CLI_FAILED;
	}
	st = client_open(cli, CLIENT_START, &c, e);
	if (st)
		return st;
	progress_init(&p);
	client_catch_interrupt();
	st = client_call_more(
		&c, HOST_IFACE "DiskImport",
		json_pack("{s:s,s:s}", "name", name, "format", a->file_format),
		&fd, 1, IMPORT_TIMEOUT_MS, progress_on_event, &p, &reply, e);
	progress_clear(&p);
	progress_done(&p);
	if (st)
		return st == CLI_USAGE ? CLI_FAILED : st;
	rows = json_pack("[O]", json_object_get(reply.parameters, "disk"));
	print_rows(rows, a->format);
	json_decref(rows);
	return CLI_DONE;
}

static int run_import(struct cli *cli, const void *args, int n, char **words)
{
	const struct import_args *a = args;
	struct err e = ERR_INIT;
	char what[320];
	int st;

	(void)n;
	if (!a->file_format)
		return cli_usage("disk import",
				 "--format is missing: raw or qcow2");
	if (strcmp(a->file_format, "raw") != 0 &&
	    strcmp(a->file_format, "qcow2") != 0)
		return cli_usage("disk import",
				 "--format must be raw or qcow2, not '%s'",
				 a->file_format);
	st = cli_text("disk import", words[1]);
	if (st)
		return st;
	st = import(cli, a, words[0], words[1], &e);
	if (st == CLI_DONE)
		return st;
	snprintf(what, sizeof(what), "disk import '%.256s'", words[0]);
	return cli_fail(st, what, &e);
}

const struct verb cli_verb_disk_import = {
	.name = "disk import",
	.words = "FILE NAME",
	.brief = "Takes a disk image in, for VMs to boot from",
	.about = "FILE is read here and copied; VMs write to overlays of their "
		 "own. A qcow2 image\nbecomes a raw one; it must not need "
		 "another file.",
	.opts = import_opts,
	.n_opts = ARRAY_SIZE(import_opts),
	.args_size = sizeof(struct import_args),
	.min_words = 2,
	.max_words = 2,
	.kind = WORDS_FILES,
	.run = run_import,
};

/* ------------------------------------------------------------------ ls, rm */

struct ls_args {
	enum out_format format;
};

static const struct opt ls_opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct ls_args, format),
	 "table|json", "how to show it"},
};

static int run_ls(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct ls_args *a = args;
	struct err e = ERR_INIT;
	int st;

	(void)n;
	(void)words;
	st = client_one(cli, HOST_IFACE "DiskList", NULL, &reply, &e);
	if (st)
		return cli_fail(st, "disk ls", &e);
	print_rows(json_object_get(reply.parameters, "disks"), a->format);
	return CLI_DONE;
}

const struct verb cli_verb_disk_ls = {
	.name = "disk ls",
	.words = "",
	.brief = "Lists the disks that VMs can boot from",
	.about = "SIZE is what a VM sees, ON DISK what it takes of the host's.",
	.opts = ls_opts,
	.n_opts = ARRAY_SIZE(ls_opts),
	.args_size = sizeof(struct ls_args),
	.run = run_ls,
};

static int remove_one(struct vl_conn *c, const char *name)
{
	char what[320];

	snprintf(what, sizeof(what), "disk rm '%.256s'", name);
	return client_remove(c, what, HOST_IFACE "DiskRemove", name);
}

static int run_rm(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	return client_each(cli, "disk rm", n, words, remove_one);
}

const struct verb cli_verb_disk_rm = {
	.name = "disk rm",
	.words = "NAME...",
	.brief = "Removes disks that no VM is declared to boot",
	.about = "",
	.min_words = 1,
	.max_words = -1,
	.run = run_rm,
};
