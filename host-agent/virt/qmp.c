/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/virt/qmp.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <poll.h>
#include <sys/socket.h>

void qmp_close(struct qmp *q)
{
	cleanup_close(&q->fd);
	buf_done(&q->in);
}

/* One line, a JSON object. NULL: none came in time. */
static json_t *read_line(struct qmp *q)
{
	char chunk[4096];
	json_t *j;
	char *end;
	ssize_t n;

	while (!q->in.len || !(end = memchr(q->in.data, '\n', q->in.len))) {
		if (fd_wait(q->fd, POLLIN, q->deadline_ms) < 0)
			return NULL;
		n = recv(q->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n <= 0 || buf_append(&q->in, chunk, (size_t)n) < 0)
			return NULL;
	}
	n = end - q->in.data + 1;
	j = json_loadb(q->in.data, (size_t)n, 0, NULL);
	buf_consume(&q->in, (size_t)n);
	return j ? j : json_object();
}

json_t *qmp_call(struct qmp *q, const char *command, json_t *arguments)
{
	_cleanup_json_ json_t *call = NULL;
	_cleanup_free_ char *text = NULL;
	const char *id;
	json_t *reply, *result;

	/* Its end, and the number: no answer to somebody else's call. */
	snprintf(q->id + 16, sizeof(q->id) - 16, "-%u", ++q->calls);
	call = json_pack("{s:s,s:s,s:o*}", "execute", command, "id", q->id,
			 "arguments", arguments);
	text = call ? json_dumps(call, JSON_COMPACT) : NULL;
	if (!text ||
	    write_deadline(q->fd, text, strlen(text), q->deadline_ms) < 0)
		return NULL;
	while ((reply = read_line(q)) != NULL) {
		id = json_string_value(json_object_get(reply, "id"));
		if (id && strcmp(id, q->id) == 0) {
			result = json_incref(json_object_get(reply, "return"));
			json_decref(reply);
			return result;
		}
		json_decref(reply);
	}
	return NULL;
}

int qmp_open(struct qmp *q, const char *path, uint64_t deadline_ms)
{
	unsigned char random[8];
	json_t *r;

	q->deadline_ms = deadline_ms;
	q->fd = unix_connect(path, NULL);
	if (q->fd < 0)
		return q->fd;
	random_bytes(random, sizeof(random));
	hex_format(random, sizeof(random), q->id);
	r = qmp_call(q, "qmp_capabilities", NULL);
	if (!r)
		return -EIO;
	json_decref(r);
	return 0;
}
