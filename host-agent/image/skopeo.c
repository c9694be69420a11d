/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/skopeo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/proc.h"

#define WORDS_MAX 24

/* Of its environment skopeo gets proxies, and a home that is the folder. */
static int make_env(const struct skopeo *k, char **env, size_t max)
{
	static const char *const keep[] = {
		"http_proxy",  "https_proxy", "no_proxy",      "HTTP_PROXY",
		"HTTPS_PROXY", "NO_PROXY",    "SSL_CERT_FILE", "SSL_CERT_DIR",
	};
	static const char *const home[] = {"HOME", "TMPDIR", "XDG_RUNTIME_DIR"};
	size_t i, n = 0;

	env[n++] = strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			  "/usr/bin:/sbin:/bin");
	env[n++] = strdup("LANG=C.UTF-8");
	for (i = 0; i < ARRAY_SIZE(home); i++) {
		if (asprintf(&env[n], "%s=%s", home[i], k->home) < 0)
			env[n] = NULL;
		n++;
	}
	for (i = 0; i < ARRAY_SIZE(keep) && n + 1 < max; i++) {
		const char *v = getenv(keep[i]);

		if (!v)
			continue;
		if (asprintf(&env[n], "%s=%s", keep[i], v) < 0)
			env[n] = NULL;
		n++;
	}
	env[n] = NULL;
	for (i = 0; i < n; i++) {
		if (!env[i])
			return -ENOMEM;
	}
	return 0;
}

/* Options that stand before the verb, then the words. */
static int make_argv(const struct skopeo *k, const char *const *words,
		     const char **argv)
{
	size_t n = 0;

	argv[n++] = "skopeo";
	if (k->arch && k->arch[0]) {
		argv[n++] = "--override-os=linux";
		argv[n++] = "--override-arch";
		argv[n++] = k->arch;
	}
	if (k->variant && k->variant[0]) {
		argv[n++] = "--override-variant";
		argv[n++] = k->variant;
	}
	for (; *words; words++) {
		if (n + 1 >= WORDS_MAX)
			return -E2BIG;
		argv[n++] = *words;
	}
	argv[n] = NULL;
	return 0;
}

int skopeo_spawn(const struct skopeo *k, const char *const *words, int out,
		 int err, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	const char *argv[WORDS_MAX];
	char *env[16] = {NULL};
	struct proc_spec spec = {
		.path = k->program,
		.argv = argv,
		.envp = (const char *const *)env,
		.stdin_fd = -1,
		.stdout_fd = out,
		.stderr_fd = err,
		.uid = k->uid,
		.gid = k->gid,
		.drop_ids = geteuid() == 0,
		.die_with_parent = true,
	};
	size_t i;
	int r = make_argv(k, words, argv);

	if (r == 0)
		r = make_env(k, env, ARRAY_SIZE(env));
	r = r < 0 ? err_sys(e, -r, "run skopeo")
		  : proc_spawn(&spec, ret_pid, ret_pidfd, e);
	if (r == -ENOENT)
		err_hint(e, "install the package skopeo");
	for (i = 0; i < ARRAY_SIZE(env); i++)
		free(env[i]);
	return r;
}

void skopeo_reason(const char *text, char *out, size_t size)
{
	const char *p = text, *last = NULL;
	size_t n = 0;

	while ((p = strstr(p, "msg=\""))) {
		p += 5;
		last = p;
	}
	if (!last) {
		text_escape(text[0] ? text : "no reason given", out, size);
		out[strcspn(out, "\n")] = '\0';
		return;
	}
	for (p = last; *p && *p != '"' && n + 1 < size; p++) {
		if (p[0] == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		else if (p[0] == '\\' && p[1])
			continue; /* a control character: its letter stays */
		if (*p >= ' ' && *p != 0x7f)
			out[n++] = *p;
	}
	out[n] = '\0';
}
