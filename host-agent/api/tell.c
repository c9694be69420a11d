/* SPDX-License-Identifier: Apache-2.0 */
/* What several calls tell alike: times, and bytes done of a whole. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <time.h>

/* How often a client hears of progress, at the most. */
#define PROGRESS_MS 100

json_t *time_json(int64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[32];
	struct tm tm;

	if (ns <= 0 || !gmtime_r(&s, &tm))
		return json_null();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

int bytes_tell(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	struct bytes_teller *t = arg;
	struct err e = ERR_INIT;

	if (strcmp(phase, t->phase) == 0 && now_ms() - t->told_at < PROGRESS_MS)
		return 0;
	t->told_at = now_ms();
	snprintf(t->phase, sizeof(t->phase), "%s", phase);
	if (request_is_gone(t->q)) {
		t->q->close = true;
		return -ECONNRESET;
	}
	if (!(t->q->call->flags & VL_MORE))
		return 0;
	return request_reply(t->q,
			     json_pack("{s:{s:s,s:I,s:I}}", "event", "phase",
				       phase, "done", (json_int_t)done, "total",
				       (json_int_t)total),
			     true, &e);
}
