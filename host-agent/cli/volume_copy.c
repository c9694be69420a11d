/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume export · import: a volume's files as a tar stream. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/tree/wire.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/cp.h"
#include "host-agent/cli/progress.h"
#include "host-agent/cli/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Until the stream is there: a VM starts, and a volume that is in use is copied
 * first. And until all is written back. */
#define OPEN_MS	 ((uint64_t)3600 * 1000)
#define CLOSE_MS ((uint64_t)600 * 1000)
#define IDLE_MS	 120000
#define UNDO_MS	 60000
#define SHOW_MS	 200

struct carry {
	struct vl_conn conn;
	struct tree_wire wire;
	struct progress progress;
	const char *name, *phase;
	int stream, done; /* done: a byte in it says that all went well */
	uint64_t moved, shown_at;
	struct tree_end end;
};

static void on_moved(void *arg, size_t bytes)
{
	struct carry *c = arg;
	json_t *event;

	c->moved += bytes;
	if (!c->progress.live || now_ms() < c->shown_at + SHOW_MS)
		return;
	c->shown_at = now_ms();
	event = json_pack("{s:s,s:s,s:I}", "object", c->name, "phase", c->phase,
			  "done", (json_int_t)c->moved);
	progress_on_event(&c->progress, event);
	json_decref(event);
}

static void carry_init(struct carry *c, const char *name, const char *phase)
{
	memset(c, 0, sizeof(*c));
	c->conn.fd = c->stream = c->done = c->wire.fd = -1;
	c->name = name;
	c->phase = phase;
	progress_init(&c->progress);
}

static void carry_done(struct carry *c)
{
	progress_done(&c->progress);
	tree_wire_done(&c->wire);
	cleanup_close(&c->stream);
	cleanup_close(&c->done);
	vl_conn_done(&c->conn);
}

/* Calls, and has the stream. */
static int carry_open(struct cli *cli, struct carry *c, const char *method,
		      json_t *params, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	uint64_t deadline = now_ms() + OPEN_MS;
	int fds[2] = {-1, -1}, st;

	st = client_open(cli, CLIENT_START, &c->conn, e);
	if (st) {
		json_decref(params);
		return st;
	}
	if (vl_call_send(&c->conn, method, params, VL_MORE, NULL, 0, deadline,
			 e) < 0 ||
	    vl_reply_read(&c->conn, deadline, &reply, e) < 0)
		return CLI_UNREACHABLE;
	st = client_status(&reply, e);
	if (st)
		return st;
	if (!reply.continues || vl_conn_take_fds(&c->conn, fds, 2) != 2) {
		cleanup_close(&fds[0]);
		err_set(e, EBADMSG, "hybd sent no stream");
		return CLI_FAILED;
	}
	c->stream = fds[0];
	c->done = fds[1];
	if (tree_wire_init(&c->wire, c->stream, IDLE_MS, e) < 0)
		return CLI_FAILED;
	c->wire.on_moved = on_moved;
	c->wire.moved_arg = c;
	return 0;
}

/* All went well here: so it is to be there. */
static int carry_close(struct carry *c, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	if (write_full(c->done, ".", 1) < 0 ||
	    vl_reply_read(&c->conn, now_ms() + CLOSE_MS, &reply, e) < 0) {
		if (!e->code)
			err_set(e, ECONNRESET, "hybd is gone");
		return CLI_UNREACHABLE;
	}
	return client_status(&reply, e);
}

/* What went wrong here: hybd undoes what was begun, and when that is done says
 * so, so that who tries again finds nothing of it. */
static void carry_undo(struct carry *c)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	if (c->done < 0)
		return;
	cleanup_close(&c->stream);
	cleanup_close(&c->done);
	vl_reply_read(&c->conn, now_ms() + UNDO_MS, &reply, NULL);
}

static int finish(struct carry *c, const char *verb, const char *name, int st,
		  const struct err *e)
{
	char what[320], size[24];

	progress_clear(&c->progress);
	if (st) {
		carry_undo(c);
		snprintf(what, sizeof(what), "%s '%.256s'", verb, name);
		return cli_fail(st, what, e);
	}
	if (c->end.skipped)
		out_note("%u left out: sockets and devices are not copied",
			 c->end.skipped);
	out_note("%s %llu file%s, %s", c->phase,
		 (unsigned long long)c->end.entries,
		 c->end.entries == 1 ? "" : "s", out_size(c->end.bytes, size));
	return CLI_DONE;
}

/* ------------------------------------------------------------------ export */

struct export_args {
	const char *file;
};

static const struct opt export_opts[] = {
	{'o', "output", OPT_STRING, offsetof(struct export_args, file), "FILE",
	 "write the archive there, in place of standard output"},
};

/* Where the archive goes. A file takes its name when it is whole. */
struct target {
	int fd;
	char folder[TREE_PATH_MAX + 2];
	bool nameless; /* a file that has no name yet */
};

static int target_open(struct target *t, const char *file, struct err *e)
{
	const char *slash;
	struct stat st;

	t->fd = -1;
	t->nameless = false;
	if (!file) {
		t->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return t->fd < 0 ? err_sys(e, errno, "standard output") : 0;
	}
	slash = strrchr(file, '/');
	if (strlen(file) > TREE_PATH_MAX - 8)
		return err_sys(e, ENAMETOOLONG, "'%.80s...'", file);
	snprintf(t->folder, sizeof(t->folder), "%.*s",
		 slash ? (int)(slash - file) + 1 : 2, slash ? file : "./");
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode)) {
		t->fd = open(file, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	} else {
		t->fd = open(t->folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
		t->nameless = t->fd >= 0;
		if (t->fd < 0 && errno == EOPNOTSUPP)
			t->fd = open(file,
				     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				     0600);
	}
	return t->fd < 0 ? err_sys(e, errno, "write '%s'", file) : 0;
}

/* On disk, under its name. */
static int target_name(struct target *t, const char *file, struct err *e)
{
	char self[64], fresh[TREE_PATH_MAX + 40];

	if (!t->nameless)
		return 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd);
	snprintf(fresh, sizeof(fresh), "%s.hyb-%d", file, (int)getpid());
	if (fsync(t->fd) < 0)
		return err_sys(e, errno, "write '%s'", file);
	unlink(fresh);
	if (linkat(AT_FDCWD, self, AT_FDCWD, fresh, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(e, errno, "write '%s'", file);
	if (rename(fresh, file) < 0) {
		err_sys(e, errno, "write '%s'", file);
		unlink(fresh);
		return -e->code;
	}
	return 0;
}

static int export(struct cli *cli, struct carry *c, const char *file,
		  struct target *t, struct err *e)
{
	const struct tree_request q = {
		.flags = TREE_CONTENTS | TREE_OWNERS | TREE_WHOLE,
		.path = "/",
		.base = "",
	};
	int st;

	/* Before a VM is started for nothing. */
	if (target_open(t, file, e) < 0)
		return CLI_FAILED;
	st = carry_open(cli, c, HOST_IFACE "VolumeExport",
			json_pack("{s:s}", "name", c->name), e);
	if (st)
		return st;
	if (tree_put_request(&c->wire, &q, e) < 0 ||
	    cp_tar_write(&c->wire, t->fd, "", &c->end, e) < 0 ||
	    target_name(t, file, e) < 0)
		return CLI_FAILED;
	return carry_close(c, e);
}

static int run_export(struct cli *cli, const void *args, int n, char **words)
{
	const struct export_args *a = args;
	struct err e = ERR_INIT;
	struct target t;
	struct carry c;
	int st;

	(void)n;
	if (!a->file && isatty(STDOUT_FILENO))
		return cli_usage("volume export", "an archive is not written "
						  "to a terminal: use -o FILE");
	carry_init(&c, words[0], "exported");
	st = export(cli, &c, a->file, &t, &e);
	cleanup_close(&t.fd);
	st = finish(&c, "volume export", words[0], st, &e);
	carry_done(&c);
	return st;
}

const struct verb cli_verb_volume_export = {
	.name = "volume export",
	.words = "VOLUME[@SNAPSHOT]",
	.brief = "Writes what is in a volume as a tar archive",
	.about =
		"With owners, modes, times, links, attributes and names as they "
		"are. A VM of its own\nreads the volume; one that is being "
		"written to is copied first, as `hyb volume\nsnapshot` does. "
		"Sockets are left out.",
	.opts = export_opts,
	.n_opts = ARRAY_SIZE(export_opts),
	.args_size = sizeof(struct export_args),
	.min_words = 1,
	.max_words = 1,
	.run = run_export,
};

/* ------------------------------------------------------------------ import */

struct import_args {
	const char *size;
};

static const struct opt import_opts[] = {
	{'\0', "size", OPT_STRING, offsetof(struct import_args, size), "SIZE",
	 "how much the volume can hold: 512m, 20g"},
};

static int send_archive(struct carry *c, int fd, struct err *e)
{
	const struct tree_request q = {
		.flags = TREE_IN | TREE_STREAM | TREE_OWNERS | TREE_WHOLE,
		.path = "/",
		.base = "",
	};
	struct tree_end end;
	int r;

	r = tree_put_request(&c->wire, &q, e);
	if (r == 0)
		r = cp_tar_read(&c->wire, fd, TREE_WHOLE, &c->end, e);
	if (r == -ECANCELED) {
		err_clear(e);
		r = cp_last_word(&c->wire, &c->end.bytes, e);
		return r < 0 ? r : err_set(e, EBADMSG, "the stream is broken");
	}
	end = c->end;
	tree_end_from(&end, e);
	if (e->code) {
		tree_put_end(&c->wire, &end, NULL);
		return -e->code;
	}
	tree_put_end(&c->wire, &end, e);
	return cp_last_word(&c->wire, &end.bytes, e);
}

static int import(struct cli *cli, struct carry *c, const char *file,
		  uint64_t size, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int st;

	fd = strcmp(file, "-") == 0
		     ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
		     : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		err_sys(e, errno, "open '%s'", file);
		return CLI_FAILED;
	}
	st = carry_open(cli, c, HOST_IFACE "VolumeImport",
			json_pack("{s:s,s:I}", "name", c->name, "size",
				  (json_int_t)size),
			e);
	if (st)
		return st;
	if (send_archive(c, fd, e) < 0) {
		if (e->code == ENOSPC)
			err_hint(e, "it takes a larger --size: what was "
				    "imported is removed");
		return CLI_FAILED;
	}
	return carry_close(c, e);
}

static int run_import(struct cli *cli, const void *args, int n, char **words)
{
	const struct import_args *a = args;
	struct err e = ERR_INIT;
	uint64_t size = 0;
	struct carry c;
	int st;

	(void)n;
	if (!a->size)
		return cli_usage("volume import", "--size is missing");
	if (parse_size(a->size, &size) < 0)
		return cli_usage("volume import",
				 "'%s' is not a size such as 512m or 20g",
				 a->size);
	st = cli_text("volume import", words[0]);
	if (st)
		return st;
	carry_init(&c, words[0], "imported");
	st = import(cli, &c, words[1], size, &e);
	st = finish(&c, "volume import", words[0], st, &e);
	carry_done(&c);
	return st;
}

const struct verb cli_verb_volume_import = {
	.name = "volume import",
	.words = "NAME FILE|-",
	.brief = "Makes a volume of a tar archive",
	.about =
		"FILE is a plain tar, as `hyb volume export` and tar write it; - "
		"is standard input.\nThe volume is new and belongs to no stack; a "
		"manifest uses it as NAME:\n{ external: true }. It is there when "
		"it is whole, or not at all.",
	.opts = import_opts,
	.n_opts = ARRAY_SIZE(import_opts),
	.args_size = sizeof(struct import_args),
	.min_words = 2,
	.max_words = 2,
	.kind = WORDS_FILES,
	.run = run_import,
};
