/* SPDX-License-Identifier: Apache-2.0 */
/* hyb cp SRC DST: files between here and a container. */
#include "host-agent/cli/cp.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/tree/tree.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

#define IDLE_MS 60000

struct args {
	bool archive, follow, quiet;
	struct opt_duration timeout;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'a', "archive", OPT_FLAG, AT(archive), NULL, "keep owners"},
	{'L', "follow-link", OPT_FLAG, AT(follow), NULL,
	 "where SRC is a symbolic link: what it points to"},
	{'q', "quiet", OPT_FLAG, AT(quiet), NULL, "do not say what was copied"},
	{'\0', "timeout", OPT_DURATION, AT(timeout), "TIME",
	 "give up when nothing has moved for so long (default 60s)"},
};

/* SRC or DST. */
struct side {
	bool stream;	/* - */
	char name[256]; /* of a container; "": here */
	char path[TREE_PATH_MAX + 1];
};

struct job {
	const struct args *a;
	struct side src, dst;
	char base[TREE_NAME_MAX + 1]; /* what SRC is called; "": its contents */
	uint32_t flags;
	struct tree_end done;
};

/* NAME:PATH, -, or a path here, which begins with / or . where it has a colon.
 */
static int side_parse(const char *word, struct side *s)
{
	const char *colon = strchr(word, ':'), *path = word;

	memset(s, 0, sizeof(*s));
	s->stream = strcmp(word, "-") == 0;
	if (colon && word[0] != '/' && word[0] != '.') {
		if (colon == word || (size_t)(colon - word) >= sizeof(s->name))
			return cli_usage("cp", "'%s': no name", word);
		snprintf(s->name, sizeof(s->name), "%.*s", (int)(colon - word),
			 word);
		path = colon + 1;
	}
	if (!path[0])
		return cli_usage("cp", "'%s': the path is missing", word);
	if (strlen(path) + 1 > TREE_PATH_MAX)
		return cli_usage("cp", "the path is too long");
	snprintf(s->path, sizeof(s->path), "%s%s",
		 s->name[0] && path[0] != '/' ? "/" : "", path);
	return 0;
}

/* The name that SRC has in a folder; what has none stands for its contents. */
static int source_name(struct job *j)
{
	const char *path = j->src.path;
	size_t end = strlen(path), start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	if (end - start > TREE_NAME_MAX)
		return cli_usage("cp", "the name is too long");
	snprintf(j->base, sizeof(j->base), "%.*s", (int)(end - start),
		 path + start);
	if (!j->base[0] || strcmp(j->base, ".") == 0 ||
	    strcmp(j->base, "..") == 0) {
		j->base[0] = '\0';
		j->flags |= TREE_CONTENTS;
	}
	return 0;
}

static int job_parse(struct job *j, const struct args *a, char **words)
{
	int st;

	j->a = a;
	st = side_parse(words[0], &j->src);
	if (st == 0)
		st = side_parse(words[1], &j->dst);
	if (st)
		return st;
	if (!j->src.name[0] == !j->dst.name[0])
		return cli_usage("cp", "one of SRC and DST is NAME:PATH, the "
				       "other is not");
	if (j->dst.stream && isatty(STDOUT_FILENO))
		return cli_usage("cp", "an archive is not written to a "
				       "terminal");
	if (j->dst.name[0])
		j->flags |= TREE_IN;
	if (a->archive && !(j->flags & TREE_IN) && !j->dst.stream &&
	    geteuid() != 0)
		return cli_usage("cp", "--archive: only root can give files "
				       "other owners here");
	if (a->follow)
		j->flags |= TREE_FOLLOW;
	if (a->archive || j->src.stream)
		j->flags |= TREE_OWNERS;
	if (j->src.stream) {
		j->flags |= TREE_STREAM;
		return 0;
	}
	return source_name(j);
}

/* ------------------------------------------------------------------ copying */

static int copy_out(struct job *j, struct tree_wire *w, struct err *e)
{
	struct tree_target target = {
		.path = j->dst.path,
		.base = j->base,
		.flags = j->flags,
		.uid = -1,
		.gid = -1,
	};
	struct tree_end sender = {0};
	int r;

	if (j->dst.stream)
		r = cp_tar_write(w, STDOUT_FILENO, j->base, &sender, e);
	else
		r = tree_receive(w, &target, &j->done, &sender, e);
	if (j->dst.stream) {
		j->done.entries = sender.entries;
		j->done.bytes = sender.bytes;
	}
	j->done.skipped = sender.skipped;
	return r;
}

int cp_last_word(struct tree_wire *w, uint64_t *bytes, struct err *e)
{
	struct err own = ERR_INIT;
	struct tree_end end = {0};
	const unsigned char *p;
	size_t len;
	int r;

	r = tree_get(w, &p, &len, &own);
	if (r == TREE_END)
		r = tree_parse_end(p, len, &end, &own);
	else if (r >= 0)
		r = err_set(&own, EBADMSG, "the stream is broken");
	if (r == 0 && end.code)
		r = err_set(&own, end.code, "%s", end.text);
	if (r < 0 && (!e->code || end.code))
		*e = own;
	else if (r == 0 && !e->code)
		*bytes = end.bytes;
	return -e->code;
}

static int copy_in(struct job *j, struct tree_wire *w, struct err *e)
{
	struct tree_end end;
	int r;

	if (j->src.stream)
		r = cp_tar_read(w, STDIN_FILENO, 0, &j->done, e);
	else
		r = tree_send(w, j->src.path, j->flags, &j->done, e);
	if (r == -ECANCELED) {
		err_clear(e);
		r = cp_last_word(w, &j->done.bytes, e);
		return r ? r : err_set(e, EBADMSG, "the stream is broken");
	}
	end = j->done;
	tree_end_from(&end, e);
	if (e->code) {
		/* Ours is the reason; the guest is told. */
		tree_put_end(w, &end, NULL);
		return -e->code;
	}
	tree_put_end(w, &end, e);
	return cp_last_word(w, &j->done.bytes, e);
}

static int copy(struct job *j, int fd, struct err *e)
{
	_cleanup_tree_wire_ struct tree_wire w = {.fd = -1};
	struct tree_request q = {
		.flags = j->flags,
		.path = j->dst.name[0] ? j->dst.path : j->src.path,
		.base = j->base,
	};
	uint64_t idle = j->a->timeout.given ? j->a->timeout.ms : IDLE_MS;
	int r;

	r = tree_wire_init(&w, fd, idle ? idle : IDLE_MS, e);
	if (r == 0)
		r = tree_put_request(&w, &q, e);
	if (r < 0)
		return r;
	return j->flags & TREE_IN ? copy_in(j, &w, e) : copy_out(j, &w, e);
}

static int open_stream(struct cli *cli, const struct job *j, int *ret,
		       struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const char *name = j->src.name[0] ? j->src.name : j->dst.name;
	json_t *params = json_pack("{s:s}", "name", name);
	int st;

	if (!params)
		return cli_usage("cp", "the name is not UTF-8");
	st = client_open(cli, CLIENT_START, &c, e);
	if (st) {
		json_decref(params);
		return st;
	}
	st = client_call(&c, HOST_IFACE "Copy", params, CLI_QUICK_MS, &reply,
			 e);
	if (st)
		return st;
	if (vl_conn_take_fds(&c, ret, 1) == 1)
		return 0;
	err_set(e, EBADMSG, "hybd sent no stream");
	return CLI_FAILED;
}

static void report(const struct job *j)
{
	char size[24];

	if (j->done.skipped)
		out_note("%u left out: sockets and devices are not copied",
			 j->done.skipped);
	if (!j->a->quiet)
		out_note("copied %llu file%s, %s",
			 (unsigned long long)j->done.entries,
			 j->done.entries == 1 ? "" : "s",
			 out_size(j->done.bytes, size));
}

static int status_of(const struct err *e)
{
	return e->code == ENOENT      ? CLI_NOT_FOUND
	       : e->code == ETIMEDOUT ? CLI_TIMED_OUT
				      : CLI_FAILED;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_free_ struct job *j = calloc(1, sizeof(*j));
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	char what[300];
	int st;

	(void)n;
	if (!j)
		return CLI_FAILED;
	st = job_parse(j, args, words);
	if (st)
		return st;
	if (j->dst.stream && isatty(STDOUT_FILENO))
		return cli_usage("cp", "an archive is not written to a "
				       "terminal: name a path, or use a pipe");
	snprintf(what, sizeof(what), "cp '%.120s' '%.120s'", words[0],
		 words[1]);
	st = open_stream(cli, j, &fd, &e);
	if (st)
		return e.code ? cli_fail(st, what, &e) : st;
	if (copy(j, fd, &e) < 0)
		return cli_fail(status_of(&e), what, &e);
	report(j);
	return 0;
}

const struct verb cli_verb_cp = {
	.name = "cp",
	.words = "SRC DST",
	.brief = "Copies files into a container or out of it",
	.about =
		"SRC or DST is NAME:PATH, the other a path here, or - for a tar stream. Where DST is\na folder SRC is put into it, else in its place; SRC/. is what is in SRC. In the\ncontainer files belong to 0:0, here to the caller, but with --archive and from a\nstream. Links in the tree are copied as links and never followed.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 2,
	.max_words = 2,
	.kind = WORDS_FILES,
	.run = run,
};
