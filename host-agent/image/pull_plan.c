/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/pull_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/proc.h"
#include "host-agent/image/image_found.h"
#include "host-agent/image/image_source.h"

#define ASKED_MAX 2

static void ask(struct pull_plan *p, const char *full)
{
	const struct skopeo *k = p->skopeo;
	struct err ignored = ERR_INIT;
	const char *words[8];
	const char *at = strchr(full, '@');
	char from[600];
	size_t n = 0;

	p->asked++;
	snprintf(p->wanted, sizeof(p->wanted), "%s", at ? at + 1 : "");
	p->answer = memfd_create("manifest", MFD_CLOEXEC);
	p->errors = memfd_create("errors", MFD_CLOEXEC);
	if (p->answer < 0 || p->errors < 0)
		return;
	snprintf(from, sizeof(from), "docker://%s", full);
	words[n++] = "inspect";
	words[n++] = "--raw";
	if (k->authfile) {
		words[n++] = "--authfile";
		words[n++] = k->authfile;
	}
	if (k->no_tls_verify)
		words[n++] = "--tls-verify=false";
	words[n++] = from;
	words[n] = NULL;
	if (skopeo_spawn(k, words, p->answer, p->errors, &p->pid, &p->pidfd,
			 &ignored) < 0)
		p->pidfd = -1;
}

void pull_plan_start(struct pull_plan *p, const struct skopeo *skopeo,
		     const char *name, const char *full)
{
	*p = (struct pull_plan){.skopeo = skopeo,
				.name = name,
				.pidfd = -1,
				.answer = -1,
				.errors = -1};
	p->arena = arena_new(0);
	if (p->arena)
		ask(p, full);
}

/* As skopeo reads it: Go folds the case of members' names, and takes U+017F for
 * an s. */
static bool is_urls(const char *key)
{
	static const char *const forms[] = {"urls", "url\xc5\xbf"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(forms); i++)
		if (strcasecmp(key, forms[i]) == 0)
			return true;
	return false;
}

static bool has_urls(const json_t *v)
{
	const json_t *x;
	const char *key;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, x)
			if (has_urls(x))
				return true;
		return false;
	}
	json_object_foreach((json_t *)(uintptr_t)v, key, x)
		if (is_urls(key) || has_urls(x))
			return true;
	return false;
}

/* One that does not mean the same to all readers leads away, too. */
static bool leads_away(const char *text, size_t len)
{
	_cleanup_json_ json_t *o =
		json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	return !o || has_urls(o);
}

/* A manifest is the answer; an index leads to the next question. */
static void read_answer(struct pull_plan *p, const char *text, size_t len)
{
	const struct oci_descriptor *d;
	struct err ignored = ERR_INIT;
	struct oci_index index;
	char full[600];

	image_digest(text, len, p->digest);
	if (p->wanted[0] && strcmp(p->wanted, p->digest) != 0) {
		snprintf(p->why, sizeof(p->why),
			 "the registry gives another manifest than %s",
			 p->wanted);
		return;
	}
	if (oci_manifest_parse(text, len, p->arena, &p->manifest, &ignored) ==
	    0) {
		p->leads_away = leads_away(text, len);
		p->known = true;
		return;
	}
	if (p->asked >= ASKED_MAX ||
	    oci_index_parse(text, len, p->arena, &index, &ignored) < 0)
		return;
	d = image_found_choose(&index);
	if (!d)
		return;
	snprintf(full, sizeof(full), "%s@%s", p->name, d->digest);
	ask(p, full);
}

static void read_errors(struct pull_plan *p, int fd, char *text)
{
	ssize_t n = lseek(fd, 0, SEEK_SET) < 0
			    ? -1
			    : read_full(fd, text, HYB_OCI_IMAGE_JSON_MAX - 1);

	if (n <= 0)
		return;
	text[n] = '\0';
	skopeo_reason(text, p->why, sizeof(p->why));
}

/* It has ended. */
static void take_answer(struct pull_plan *p)
{
	_cleanup_close_ int fd = p->answer, errors = p->errors;
	_cleanup_free_ char *text = malloc(HYB_OCI_IMAGE_JSON_MAX);
	struct err ignored = ERR_INIT;
	int status = 0;
	ssize_t n;

	proc_wait(p->pid, p->pidfd, 0, &status, &ignored);
	cleanup_close(&p->pidfd);
	p->answer = p->errors = -1;
	if (status != 0 && text)
		read_errors(p, errors, text);
	if (status != 0 || !text || lseek(fd, 0, SEEK_SET) < 0)
		return;
	n = read_full(fd, text, HYB_OCI_IMAGE_JSON_MAX);
	if (n > 0)
		read_answer(p, text, (size_t)n);
}

bool pull_plan_ended(struct pull_plan *p)
{
	struct pollfd w = {.fd = p->pidfd, .events = POLLIN};

	if (p->pidfd >= 0 && poll(&w, 1, 0) > 0)
		take_answer(p);
	return p->pidfd < 0;
}

void pull_plan_done(struct pull_plan *p)
{
	struct err ignored = ERR_INIT;
	int status;

	if (p->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
		proc_wait(p->pid, p->pidfd, 0, &status, &ignored);
	}
	cleanup_close(&p->pidfd);
	cleanup_close(&p->answer);
	cleanup_close(&p->errors);
	if (p->arena)
		arena_free(p->arena);
	p->arena = NULL;
}
