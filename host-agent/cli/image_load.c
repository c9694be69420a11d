/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image load FILE|DIR|-, hyb image import TAR|- [NAME]: opened here, with the caller's rights. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/image.h"
#include "host-agent/cli/progress.h"
#include "host-agent/cli/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LOAD_TIMEOUT_MS ((uint64_t)3600 * 1000)
#define COPY_SIZE	((size_t)1 << 20)

struct args {
	const char *name;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'\0', "name", OPT_STRING, AT(name), "NAME",
	 "what to call it (default: the name in the archive)"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

/* A file without a name that goes with its descriptor. */
static int open_spool(struct err *e)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	if (!dir || dir[0] != '/')
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "make a file in '%s'", dir);
	return fd;
}

/* hybd wants a file that it can read more than once: a stream is copied into
 * one first. */
static int spool(int from, struct err *e)
{
	_cleanup_close_ int fd = open_spool(e);
	_cleanup_free_ char *buf = malloc(COPY_SIZE);
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	if (!buf)
		return err_sys(e, ENOMEM, "copy the image");
	while ((n = read_full(from, buf, COPY_SIZE)) > 0) {
		r = write_full(fd, buf, (size_t)n);
		if (r < 0)
			return err_sys(e, -r, "copy the image to a file");
	}
	if (n < 0)
		return err_sys(e, (int)-n, "read the image");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "rewind the image");
	return steal_fd(&fd);
}

static int open_source(const char *file, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (strcmp(file, "-") == 0)
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", file);
	if (S_ISDIR(st.st_mode) ||
	    (S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0))
		return steal_fd(&fd);
	if (isatty(fd)) {
		err_set(e, EINVAL, "'%s' is a terminal", file);
		err_hint(e, "name a file or a folder, or pipe an archive in");
		return -EINVAL;
	}
	/* One like /dev/zero has no end. */
	if (S_ISCHR(st.st_mode))
		return err_set(e, EINVAL,
			       "'%s' is a device, no file, folder or pipe",
			       file);
	return spool(fd, e);
}

static int load(struct cli *cli, const struct args *a, const char *method,
		const char *file, int fd, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *params = json_object();
	struct progress p;
	int st;

	if (a->name &&
	    json_object_set_new(params, "name", json_string(a->name)) < 0) {
		json_decref(params);
		err_set(e, EINVAL, "the name is not UTF-8");
		return CLI_USAGE;
	}
	/* A name that is not UTF-8 goes without saying. */
	if (strcmp(file, "-") != 0)
		json_object_set_new(params, "source", json_string(file));
	st = client_open(cli, CLIENT_START, &c, e);
	if (st) {
		json_decref(params);
		return st;
	}
	progress_init(&p);
	client_catch_interrupt();
	st = client_call_more(&c, method, params, &fd, 1, LOAD_TIMEOUT_MS,
			      progress_on_event, &p, &reply, e);
	progress_clear(&p);
	progress_done(&p);
	if (st == 0) {
		image_print(json_object_get(reply.parameters, "images"),
			    a->format, false);
		image_print_skipped(reply.parameters);
	}
	/* What hybd takes for a wrong call is a file that is no image. */
	return st == CLI_USAGE ? CLI_FAILED : st;
}

int image_take(struct cli *cli, const char *name, enum out_format format,
	       const char *file, struct err *e)
{
	const struct args a = {.name = name, .format = format};
	_cleanup_close_ int fd = open_source(file, e);

	if (fd < 0)
		return CLI_FAILED;
	return load(cli, &a, HOST_IFACE "ImageLoad", file, fd, e);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	int st = CLI_FAILED;

	(void)n;
	fd = open_source(words[0], &e);
	if (fd >= 0)
		st = load(cli, args, HOST_IFACE "ImageLoad", words[0], fd, &e);
	return st ? image_fail(st, "load", words[0], &e) : st;
}

const struct verb cli_verb_image_load = {
	.name = "image load",
	.words = "FILE|DIR|-",
	.brief = "Takes images from an archive or a folder into the store",
	.about = "An OCI layout (a folder), an oci-archive or a "
		 "docker-archive; '-' is standard\ninput.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_FILES,
	.run = run,
};

static const struct opt import_opts[] = {
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

static int run_import(struct cli *cli, const void *args, int n, char **words)
{
	struct args a = *(const struct args *)args;
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	int st = CLI_FAILED;

	a.name = n > 1 ? words[1] : NULL;
	fd = open_source(words[0], &e);
	if (fd >= 0)
		st = load(cli, &a, HOST_IFACE "ImageImport", words[0], fd, &e);
	return st ? image_fail(st, "import", words[0], &e) : st;
}

const struct verb cli_verb_image_import = {
	.name = "image import",
	.words = "TAR|- [NAME]",
	.brief = "Makes an image of the tar of a root file system",
	.about = "The tar may be compressed by gzip or zstd; '-' is standard "
		 "input. The image has\none layer and no command: a manifest "
		 "says what to run. Without NAME it is\nfound by its digest.",
	.opts = import_opts,
	.n_opts = ARRAY_SIZE(import_opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = 2,
	.kind = WORDS_FILES,
	.run = run_import,
};
