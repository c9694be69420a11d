/* SPDX-License-Identifier: Apache-2.0 */
/* Top: the processes of one container, from /proc. What they call themselves is
 * theirs to choose: cut and escaped here, and again by the host. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <stdio.h>

/* Text of a file in /proc/PID: its length, 0 where there is none (any more). */
static size_t read_proc(pid_t pid, const char *file, char *ret, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read_full(fd, ret, size - 1);
	ret[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t)n;
}

/* The last number of a line "Key:\tN\tN..." ; -1: none. */
static long long status_number(const char *text, const char *key, bool last)
{
	const char *at = strstr(text, key), *end;
	long long v = -1;
	char *next;

	if (!at)
		return -1;
	at += strlen(key);
	end = at + strcspn(at, "\n");
	while (at < end) {
		long long n = strtoll(at, &next, 10);

		if (next == at || next > end)
			break;
		v = n;
		if (!last)
			break;
		at = next;
	}
	return v;
}

/* Arguments with blanks between them, or the name in brackets. */
static void command_of(pid_t pid, const char *status, char *ret, size_t size)
{
	size_t n = read_proc(pid, "cmdline", ret, size), i, len;
	const char *name;

	while (n > 0 && ret[n - 1] == '\0')
		n--;
	for (i = 0; i < n; i++)
		if (ret[i] == '\0')
			ret[i] = ' ';
	if (n > 0)
		return;
	name = strncmp(status, "Name:\t", 6) == 0 ? status + 6 : "";
	len = strcspn(name, "\n");
	snprintf(ret, size, "[%.*s]", (int)len, name);
}

/* utime and stime of /proc/PID/stat, behind the name, which may hold anything
 * but is ended by the last ")". */
static json_int_t cpu_usec(pid_t pid, char *ret_state)
{
	unsigned long long user = 0, sys = 0;
	long ticks = sysconf(_SC_CLK_TCK);
	char text[1024];
	const char *at;

	read_proc(pid, "stat", text, sizeof(text));
	at = strrchr(text, ')');
	*ret_state = '?';
	if (!at || sscanf(at + 1,
			  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu "
			  "%llu",
			  ret_state, &user, &sys) != 3)
		return 0;
	return (json_int_t)((user + sys) * 1000000 /
			    (unsigned long long)(ticks > 0 ? ticks : 100));
}

pid_t pid_inside(pid_t pid)
{
	char status[4096];
	long long n;

	if (read_proc(pid, "status", status, sizeof(status)) == 0)
		return 0;
	n = status_number(status, "\nNSpid:", true);
	return n > 0 ? (pid_t)n : pid;
}

/* NULL: it has ended meanwhile. */
static json_t *process_json(const struct slot *s, pid_t pid)
{
	long long base =
		(long long)HYB_CONTAINER_IDS * (s - s->agent->slots + 1);
	char status[4096], command[AGENT_TOP_COMMAND + 1], state[2] = "";
	long long uid, inside, rss, threads;
	struct wire_text text;
	json_int_t cpu;

	if (read_proc(pid, "status", status, sizeof(status)) == 0)
		return NULL;
	uid = status_number(status, "\nUid:", false);
	inside = status_number(status, "\nNSpid:", true);
	rss = status_number(status, "\nVmRSS:", false);
	threads = status_number(status, "\nThreads:", false);
	command_of(pid, status, command, sizeof(command));
	cpu = cpu_usec(pid, &state[0]);
	if (uid >= base && uid < base + HYB_CONTAINER_IDS)
		uid -= base;
	return json_pack("{s:I,s:I,s:s,s:I,s:I,s:I,s:s}", "pid",
			 (json_int_t)(inside > 0 ? inside : pid), "uid",
			 (json_int_t)(uid > 0 ? uid : 0), "state", state, "rss",
			 (json_int_t)(rss > 0 ? rss * 1024 : 0), "cpu_usec",
			 cpu, "threads",
			 (json_int_t)(threads > 0 ? threads : 1), "command",
			 wire_text(&text, command));
}

int method_top(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, 0, 0, AGENT_ID_MAX, false},
	};
	pid_t pids[AGENT_TOP_MAX];
	const char *id = NULL;
	struct peer *p = ctx;
	struct slot *s;
	json_t *list, *one;
	int n, i, r;

	r = vl_params_read(call->parameters, fields, 1, true, &id, NULL, e);
	if (r < 0)
		return r;
	s = peer_slot(p, id);
	if (!s)
		return 0;
	n = container_pids(s->container, pids, AGENT_TOP_MAX, e);
	if (n < 0) {
		peer_error_err(p, e);
		return 0;
	}
	list = json_array();
	for (i = 0; i < n && i < AGENT_TOP_MAX; i++) {
		one = process_json(s, pids[i]);
		if (one)
			json_array_append_new(list, one);
	}
	peer_reply(p, json_pack("{s:o,s:i}", "processes", list, "total", n));
	return 0;
}
