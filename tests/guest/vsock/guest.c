/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the VM of vsock-test.sh: small servers on AF_VSOCK, a thread a
 * connection. Ports: see ports.h.
 */
#include "tests/guest/vsock/ports.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void serve_echo(int fd)
{
	static _Thread_local char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write_all(fd, buf, (size_t)n) < 0)
			return;
}

/* Counts until the end of the stream, checks the pattern, answers. */
static void serve_sink(int fd)
{
	char *buf = malloc(CHUNK);
	uint64_t total = 0, bad = 0;
	ssize_t n, i;

	while (buf && (n = read(fd, buf, CHUNK)) > 0) {
		for (i = 0; i < n; i += 509)
			if ((uint8_t)buf[i] !=
			    (uint8_t)((total + (uint64_t)i) % 251))
				bad++;
		total += (uint64_t)n;
	}
	write_all(fd, &total, sizeof(total));
	write_all(fd, &bad, sizeof(bad));
	free(buf);
}

/* Reads a count, sends that many bytes of the pattern. */
static void serve_source(int fd)
{
	char *buf = malloc(CHUNK + 251);
	uint64_t want, done = 0, part;
	size_t i;

	if (!buf || read(fd, &want, sizeof(want)) != sizeof(want)) {
		free(buf);
		return;
	}
	for (i = 0; i < CHUNK + 251; i++)
		buf[i] = (char)(uint8_t)(i % 251);
	while (done < want) {
		part = want - done < CHUNK ? want - done : CHUNK;
		if (write_all(fd, buf + done % 251, part) < 0)
			break;
		done += part;
	}
	free(buf);
}

/* Tries what a guest may not do: connect to the host. */
static void serve_dial(int fd)
{
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_HOST,
				 .svm_port = 1234};
	int s = socket(AF_VSOCK, SOCK_STREAM, 0);
	int32_t err = 0;

	if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err = errno;
	close(s);
	write_all(fd, &err, sizeof(err));
}

static void serve_stuck(int fd)
{
	(void)fd;
	for (;;)
		pause();
}

static void serve_memory(int fd)
{
	struct sysinfo si;
	uint64_t used;

	sysinfo(&si);
	used = (si.totalram - si.freeram) * si.mem_unit;
	write_all(fd, &used, sizeof(used));
}

static void serve_agent(int fd)
{
	static const char reply[] = "{\"parameters\":{}}";
	char c;

	while (read(fd, &c, 1) == 1)
		if (c == '\0') {
			if (write_all(fd, reply, sizeof(reply)) == 0)
				serve_echo(fd);
			return;
		}
}

static void serve_off(int fd)
{
	(void)fd;
	reboot(RB_POWER_OFF);
}

static const struct service {
	unsigned int port;
	void (*serve)(int fd);
} services[] = {
	{PORT_ECHO, serve_echo},     {PORT_SINK, serve_sink},
	{PORT_SOURCE, serve_source}, {PORT_DIAL, serve_dial},
	{PORT_STUCK, serve_stuck},   {PORT_MEMORY, serve_memory},
	{PORT_OFF, serve_off},	     {PORT_AGENT, serve_agent},
};

struct job {
	const struct service *service;
	int fd;
};

static void *run_job(void *arg)
{
	struct job job = *(struct job *)arg;

	free(arg);
	job.service->serve(job.fd);
	close(job.fd);
	return NULL;
}

static void start_thread(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	if (pthread_create(&t, &attr, run, arg) != 0)
		perror("thread");
	pthread_attr_destroy(&attr);
}

static void *run_service(void *arg)
{
	const struct service *s = arg;
	struct sockaddr_vm sa = {.svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_ANY,
				 .svm_port = s->port};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), c;
	struct job *job;

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 512) < 0) {
		perror("listen");
		return NULL;
	}
	for (;;) {
		c = accept(fd, NULL, NULL);
		job = c >= 0 ? malloc(sizeof(*job)) : NULL;
		if (!job)
			continue;
		*job = (struct job){s, c};
		start_thread(run_job, job);
	}
	return NULL;
}

int main(void)
{
	size_t i;

	mount("dev", "/dev", "devtmpfs", 0, NULL);
	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		start_thread(run_service, (void *)(uintptr_t)&services[i]);
	printf("guest: serving\n");
	fflush(stdout);
	for (;;)
		pause();
}
