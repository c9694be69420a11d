/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/pull_size.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/image/image_found.h"

#define PATIENCE_MS 1000
#define ASKED_MAX   2

void pull_size_init(struct pull_size *z)
{
	z->since_ms = now_ms();
	z->pidfd = -1;
	z->answer = -1;
}

static void start(struct pull_size *z, const char *full)
{
	const struct skopeo *k = z->skopeo;
	struct err ignored = ERR_INIT;
	const char *words[8];
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char from[600];
	size_t n = 0;

	z->asked++;
	z->answer = memfd_create("manifest", MFD_CLOEXEC);
	if (z->answer < 0 || null < 0)
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
	if (skopeo_spawn(k, words, z->answer, null, &z->pid, &z->pidfd,
			 &ignored) < 0)
		z->pidfd = -1;
}

/* Each file once, as skopeo writes them. */
static uint64_t sum_of(const struct oci_manifest *m)
{
	uint64_t sum = m->config.size;
	size_t i, k;

	for (i = 0; i < m->n_layers; i++) {
		for (k = 0; k < i; k++)
			if (strcmp(m->layers[k].digest, m->layers[i].digest) ==
			    0)
				break;
		if (k < i)
			continue;
		if (m->layers[i].size > UINT64_MAX - sum)
			return 0;
		sum += m->layers[i].size;
	}
	return sum;
}

/* A manifest gives the sum; an index the next question. */
static void read_answer(struct pull_size *z, const char *text, size_t len)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	const struct oci_descriptor *d;
	struct err ignored = ERR_INIT;
	struct oci_manifest manifest;
	struct oci_index index;
	char full[600];

	if (!a)
		return;
	if (oci_manifest_parse(text, len, a, &manifest, &ignored) == 0) {
		z->total = sum_of(&manifest);
		return;
	}
	if (z->asked >= ASKED_MAX ||
	    oci_index_parse(text, len, a, &index, &ignored) < 0)
		return;
	d = image_found_choose(&index);
	if (!d)
		return;
	snprintf(full, sizeof(full), "%s@%s", z->name, d->digest);
	start(z, full);
}

/* It has ended. */
static void take_answer(struct pull_size *z)
{
	_cleanup_close_ int fd = z->answer;
	_cleanup_free_ char *text = malloc(HYB_OCI_IMAGE_JSON_MAX);
	struct err ignored = ERR_INIT;
	int status = 0;
	ssize_t n;

	proc_wait(z->pid, z->pidfd, 0, &status, &ignored);
	cleanup_close(&z->pidfd);
	z->answer = -1;
	if (status != 0 || !text || lseek(fd, 0, SEEK_SET) < 0)
		return;
	n = read_full(fd, text, HYB_OCI_IMAGE_JSON_MAX);
	if (n > 0)
		read_answer(z, text, (size_t)n);
}

uint64_t pull_size_ask(struct pull_size *z)
{
	struct pollfd p = {.fd = z->pidfd, .events = POLLIN};

	if (z->asked == 0 && now_ms() - z->since_ms >= PATIENCE_MS)
		start(z, z->full);
	else if (z->pidfd >= 0 && poll(&p, 1, 0) > 0)
		take_answer(z);
	return z->total;
}

void pull_size_done(struct pull_size *z)
{
	struct err ignored = ERR_INIT;
	int status;

	if (z->pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, z->pidfd, SIGKILL, NULL, 0);
		proc_wait(z->pid, z->pidfd, 0, &status, &ignored);
	}
	cleanup_close(&z->pidfd);
	cleanup_close(&z->answer);
}
