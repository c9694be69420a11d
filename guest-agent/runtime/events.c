/* SPDX-License-Identifier: Apache-2.0 */
/* events: what a container uses, as JSON lines. */
#include "guest-agent/runtime/runtime.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#define INTERVAL_DEFAULT_NS UINT64_C(5000000000)

static int print_line(json_t *json, struct err *e)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text)
		return err_sys(e, ENOMEM, "events");
	puts(text);
	fflush(stdout);
	free(text);
	return ferror(stdout) ? err_sys(e, EIO, "write") : 0;
}

static int print_once(const struct loaded *l, const char *id, struct err *e)
{
	int cgroup = container_cgroup(l->c);

	return cgroup < 0
		       ? err_set(e, ENOTSUP,
				 "events '%s': the container has no cgroup", id)
		       : print_line(stats_describe(id, cgroup), e);
}

/* Until it has ended; kills for want of memory are told as they come. */
static int follow(const struct loaded *l, const char *id, uint64_t interval_ns,
		  struct err *e)
{
	struct container_stats s;
	uint64_t kills = 0;
	int r;

	for (;;) {
		r = print_once(l, id, e);
		if (r < 0)
			return r;
		r = fd_wait(container_pidfd(l->c), POLLIN,
			    now_ms() + interval_ns / 1000000);
		if (container_get_stats(l->c, &s, NULL) == 0 &&
		    s.oom_kills > kills) {
			kills = s.oom_kills;
			print_line(
				json_pack("{ss ss}", "type", "oom", "id", id),
				e);
		}
		if (r != -ETIMEDOUT)
			return 0;
	}
}

int verb_events(const struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{"stats", no_argument, NULL, 's'},
		{"interval", required_argument, NULL, 'i'},
		{NULL, 0, NULL, 0}};
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	const struct verb *v = find_verb("events");
	uint64_t interval = INTERVAL_DEFAULT_NS;
	bool once = false;
	int opt, r;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (opt == 's')
			once = true;
		else if (opt != 'i')
			return usage_error(v, NULL);
		else if (parse_duration(optarg, &interval) < 0 || !interval)
			return usage_error(v, "--interval: '%s' is no time",
					   optarg);
	}
	if (argc - optind != 1)
		return usage_error(v, "one container id is needed");
	r = load(o, argv[optind], false, false, &l, e);
	if (r != 0)
		return r;
	if (l.status == CONTAINER_STOPPED)
		return err_set(e, ESRCH, "container '%s' is not running",
			       argv[optind]);
	return once ? print_once(&l, argv[optind], e)
		    : follow(&l, argv[optind], interval, e);
}
