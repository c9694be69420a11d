/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest answers, as hybd reads it. The first byte chooses the call that
 * is being answered, the rest is what comes. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/logrec.h"
#include "host-agent/guest/agent.h"

#include <stdint.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The guest's end says all it has to say and is closed, so nothing is waited
 * for. */
static int answer(struct agent *a, const uint8_t *data, size_t size)
{
	int sv[2], big = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	if (send(sv[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    size > 0)
		size = 0;
	shutdown(sv[1], SHUT_WR);
	vl_conn_init(&a->conn, sv[0], HYB_AGENT_REPLY_MAX);
	return sv[1];
}

static void check_container(const struct agent_container *c)
{
	/* Whatever came, what is handed on keeps the rules. */
	if (c->exit_code < -1 || c->exit_code > 255 || c->pid < 0 ||
	    strlen(c->id) >= sizeof(c->id) || strchr(c->message, '\x1b') ||
	    strchr(c->id, '\n') || c->health > AGENT_HEALTH_BAD ||
	    c->readiness > AGENT_HEALTH_BAD ||
	    strpbrk(c->health_note, "\x1b\n\r") ||
	    strpbrk(c->readiness_note, "\x1b\n\r"))
		abort();
}

/* Nothing that a terminal would obey, and no more than there can be. */
static void check_checks(json_t *checks)
{
	char *text = json_dumps(checks, JSON_COMPACT);

	if (!text || strpbrk(text, "\x1b\n\r") || strstr(text, "\\u00") ||
	    strlen(text) > (size_t)256 * 1024)
		abort();
	free(text);
	json_decref(checks);
}

static void call_checks(struct agent *a, uint64_t deadline)
{
	struct err e = ERR_INIT;
	json_t *checks = NULL;

	if (agent_checks(a, "c.1", deadline, &checks, &e) == 0)
		check_checks(checks);
}

/* Stats and Top. */
static void call_figures(struct agent *a, bool top, uint64_t deadline)
{
	static struct agent_container_stats figures[HYB_AGENT_CONTAINERS_MAX];
	static struct agent_process processes[HYB_AGENT_TOP_MAX];
	struct err e = ERR_INIT;
	size_t n = 0, i;

	if (!top && agent_container_stats(a, deadline, figures, &n, &e) == 0)
		for (i = 0; i < n; i++)
			if (strchr(figures[i].id, '\n') ||
			    figures[i].memory_current < 0 ||
			    figures[i].memory_max < -1)
				abort();
	if (top && agent_top(a, "c.1", deadline, processes, &n, &e) == 0)
		for (i = 0; i < n; i++)
			if (strchr(processes[i].command, '\x1b') ||
			    strlen(processes[i].state) > 4 ||
			    processes[i].pid < 0)
				abort();
}

static void call_sessions(struct agent *a, uint64_t deadline)
{
	static struct agent_session list[HYB_AGENT_SESSIONS_MAX];
	struct err e = ERR_INIT;
	size_t n = 0, i;

	if (agent_sessions(a, "c.1", deadline, list, &n, &e) < 0)
		return;
	for (i = 0; i < n; i++)
		if (strspn(list[i].id, "0123456789abcdef") != 32 ||
		    strchr(list[i].command, '\x1b') || list[i].pid < 0 ||
		    list[i].exit_code < -1 || list[i].exit_code > 255 ||
		    list[i].waiting < 0)
			abort();
}

static void call(struct agent *a, uint8_t which)
{
	static struct agent_container list[HYB_AGENT_CONTAINERS_MAX];
	uint64_t deadline = now_ms() + 1000;
	struct err e = ERR_INIT;
	struct agent_hello hello;
	struct agent_stats stats;
	int64_t pid, code;
	size_t n = 0, i;

	if (which == 253) {
		call_sessions(a, deadline);
		return;
	}
	if (which >= 254) {
		call_figures(a, which == 255, deadline);
		return;
	}
	switch (which % 9) {
	case 0:
		agent_hello(a, deadline, &hello, &e);
		break;
	case 1:
		if (agent_list(a, deadline, list, &n, &e) == 0)
			for (i = 0; i < n; i++)
				check_container(&list[i]);
		break;
	case 2:
		agent_start(a, "c.1", deadline, &pid, &code, &e);
		break;
	case 3:
		if (agent_wait(a, "c.1", deadline, &list[0], &e) == 0)
			check_container(&list[0]);
		break;
	case 4:
		agent_stats(a, deadline, &stats, &e);
		break;
	case 5:
		agent_delete(a, "c.1", true, deadline, &e);
		break;
	case 6:
		call_checks(a, deadline);
		break;
	case 7:
		if (agent_set_checks(a, "c.1", json_null(), json_null(),
				     json_array(), deadline, &list[0], &e) == 0)
			check_container(&list[0]);
		break;
	default:
		while (vl_conn_fill(&a->conn) > 0)
			while (agent_events_next(a, &list[0], &e) > 0)
				check_container(&list[0]);
	}
}

static void records(const uint8_t *data, size_t size)
{
	struct logrec r;

	for (; size >= LOGREC_HEADER_SIZE; data++, size--)
		if (logrec_decode(data, &r) == 0 &&
		    (r.length < 1 || r.length > LOGREC_LENGTH_MAX))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent a;
	int peer;

	if (size < 1 || size > 100000)
		return 0;
	records(data, size);
	peer = answer(&a, data + 1, size - 1);
	if (peer < 0)
		return 0;
	call(&a, data[0]);
	agent_close(&a);
	close(peer);
	return 0;
}
