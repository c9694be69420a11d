/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb image build DIR -t NAME: buildah, as the user who calls and in that
 * user's own storage, then the same as `hyb image load`. hybd has no part in
 * what a Dockerfile runs.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/proc.h"
#include "host-agent/cli/cli.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/image.h"
#include "host-agent/cli/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>

#define ID_MAX 200

struct args {
	const char *name, *file;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'t', "tag", OPT_STRING, AT(name), "NAME", "what to call the image"},
	{'f', "file", OPT_STRING, AT(file), "FILE",
	 "the Dockerfile (default: Containerfile or Dockerfile in DIR)"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

/* What it says goes to standard error, as it says it. */
static int run_buildah(const char *const *argv, struct err *e)
{
	struct proc_spec spec = {
		.path = "buildah",
		.argv = argv,
		.envp = (const char *const *)environ,
		.stdin_fd = -1,
		.stdout_fd = STDERR_FILENO,
		.stderr_fd = -1,
		.die_with_parent = true,
	};
	_cleanup_close_ int pidfd = -1;
	int status = 0, r;
	pid_t pid;

	r = proc_spawn(&spec, &pid, &pidfd, e);
	if (r == -ENOENT)
		err_hint(e, "install the package buildah, or build the image "
			    "elsewhere and `hyb image load` its archive");
	if (r == 0)
		r = proc_wait(pid, pidfd, 0, &status, e);
	if (r < 0)
		return r;
	if (status > 128)
		return err_set(e, EIO, "buildah was killed by signal %d",
			       status - 128);
	if (status)
		return err_set(e, EIO, "buildah %s: exit status %d", argv[1],
			       status);
	return 0;
}

/* chroot isolation needs neither a runtime nor namespaces of its own, so it
 * works in containers and VMs too. */
static int build(const struct args *a, const char *dir, const char *id_file,
		 struct err *e)
{
	const char *argv[14];
	size_t n = 0;

	argv[n++] = "buildah";
	argv[n++] = "build";
	argv[n++] = "--isolation";
	argv[n++] = "chroot";
	argv[n++] = "--iidfile";
	argv[n++] = id_file;
	argv[n++] = "--tag";
	argv[n++] = a->name;
	if (a->file) {
		argv[n++] = "--file";
		argv[n++] = a->file;
	}
	argv[n++] = "--";
	argv[n++] = dir;
	argv[n] = NULL;
	return run_buildah(argv, e);
}

static int push(const char *id_file, const char *archive, struct err *e)
{
	_cleanup_free_ char *id = NULL;
	char to[400];
	const char *argv[] = {"buildah", "push", "--quiet", "--",
			      NULL,	 to,	 NULL};
	size_t len;
	int r = file_read(AT_FDCWD, id_file, ID_MAX, &id, &len, e);

	if (r < 0)
		return r;
	id[strcspn(id, "\n")] = '\0';
	snprintf(to, sizeof(to), "oci-archive:%s", archive);
	argv[4] = id;
	return run_buildah(argv, e);
}

/* In a folder of this call's own. */
static int build_and_load(struct cli *cli, const struct args *a,
			  const char *dir, const char *tmp, struct err *e)
{
	char id_file[300], archive[300];
	int r;

	snprintf(id_file, sizeof(id_file), "%s/id", tmp);
	snprintf(archive, sizeof(archive), "%s/image.tar", tmp);
	r = build(a, dir, id_file, e);
	if (r == 0)
		r = push(id_file, archive, e);
	if (r < 0)
		return CLI_FAILED;
	return image_take(cli, a->name, a->format, archive, e);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;
	const char *base = getenv("TMPDIR");
	struct err e = ERR_INIT, ignored = ERR_INIT;
	char tmp[250];
	struct stat st;
	int status;

	(void)n;
	if (!a->name)
		return cli_usage("image build", "-t NAME is missing");
	if (stat(words[0], &st) < 0) {
		err_sys(&e, errno, "open '%s'", words[0]);
		return image_fail(CLI_FAILED, "build", words[0], &e);
	}
	if (!base || base[0] != '/' || strlen(base) > 200)
		base = "/var/tmp";
	snprintf(tmp, sizeof(tmp), "%s/hyb-build.XXXXXX", base);
	if (!mkdtemp(tmp)) {
		err_sys(&e, errno, "make '%s'", tmp);
		return image_fail(CLI_FAILED, "build", words[0], &e);
	}
	status = build_and_load(cli, a, words[0], tmp, &e);
	path_remove(tmp, &ignored);
	return status ? image_fail(status, "build", words[0], &e) : status;
}

const struct verb cli_verb_image_build = {
	.name = "image build",
	.words = "DIR",
	.brief = "Builds an image of a Dockerfile with buildah",
	.about = "buildah runs as you, with your storage and settings; the "
		 "image then goes into\nthe store.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_FILES,
	.run = run,
};
