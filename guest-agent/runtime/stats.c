/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses, from its cgroup's files, in the shape of runc's
 * events. What this kernel has no file for is left out. */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"

#define FILE_MAX ((size_t)256 * 1024)

static json_t *number(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

/* The file's lines, one after the other; NULL: there is no such file. */
static char *read_lines(int cgroup, const char *file)
{
	char *text = NULL;
	size_t len;

	return file_read(cgroup, file, FILE_MAX, &text, &len, NULL) < 0 ? NULL
									: text;
}

/* Adds a file that is one number ("max" is as large as can be). */
static void add_number(json_t *to, const char *key, int cgroup,
		       const char *file)
{
	uint64_t v;

	if (cgroup_read_u64(cgroup, file, &v) == 0)
		json_object_set_new(to, key, number(v));
}

/* Adds one line of a file of "key number", times scale. */
static void add_key(json_t *to, const char *key, int cgroup, const char *file,
		    const char *line, uint64_t scale)
{
	uint64_t v;

	if (cgroup_read_key(cgroup, file, line, &v) == 0)
		json_object_set_new(
			to, key,
			number(v > INT64_MAX / scale ? INT64_MAX : v * scale));
}

/* All lines of a file of "key number". */
static json_t *read_keys(int cgroup, const char *file)
{
	_cleanup_free_ char *text = read_lines(cgroup, file);
	char *save = NULL, *line, key[64];
	json_t *json = json_object();
	uint64_t v;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%63s %" SCNu64, key, &v) == 2)
			json_object_set_new(json, key, number(v));
	return json;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and "full ..." */
static void add_pressure(json_t *to, int cgroup, const char *file)
{
	_cleanup_free_ char *text = read_lines(cgroup, file);
	char *save = NULL, *line, kind[8];
	double avg10, avg60, avg300;
	json_t *json;
	uint64_t total;

	if (!text)
		return;
	json = json_object();
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line,
			   "%7s avg10=%lf avg60=%lf avg300=%lf "
			   "total=%" SCNu64,
			   kind, &avg10, &avg60, &avg300, &total) == 5)
			json_object_set_new(json, kind,
					    json_pack("{sf sf sf so}", "avg10",
						      avg10, "avg60", avg60,
						      "avg300", avg300, "total",
						      number(total)));
	json_object_set_new(to, "psi", json);
}

static json_t *cpu(int cgroup)
{
	json_t *usage = json_object(), *throttling = json_object(),
	       *json = json_object();

	add_key(usage, "total", cgroup, "cpu.stat", "usage_usec", 1000);
	add_key(usage, "kernel", cgroup, "cpu.stat", "system_usec", 1000);
	add_key(usage, "user", cgroup, "cpu.stat", "user_usec", 1000);
	add_key(throttling, "periods", cgroup, "cpu.stat", "nr_periods", 1);
	add_key(throttling, "throttledPeriods", cgroup, "cpu.stat",
		"nr_throttled", 1);
	add_key(throttling, "throttledTime", cgroup, "cpu.stat",
		"throttled_usec", 1000);
	json_object_set_new(json, "usage", usage);
	json_object_set_new(json, "throttling", throttling);
	add_pressure(json, cgroup, "cpu.pressure");
	return json;
}

static json_t *memory(int cgroup)
{
	json_t *usage = json_object(), *swap = json_object(),
	       *json = json_object();

	add_key(json, "cache", cgroup, "memory.stat", "file", 1);
	add_number(usage, "usage", cgroup, "memory.current");
	add_number(usage, "max", cgroup, "memory.peak");
	add_number(usage, "limit", cgroup, "memory.max");
	add_key(usage, "failcnt", cgroup, "memory.events", "max", 1);
	add_number(swap, "usage", cgroup, "memory.swap.current");
	add_number(swap, "limit", cgroup, "memory.swap.max");
	json_object_set_new(json, "usage", usage);
	json_object_set_new(json, "swap", swap);
	json_object_set_new(json, "raw", read_keys(cgroup, "memory.stat"));
	add_pressure(json, cgroup, "memory.pressure");
	return json;
}

static json_t *pids(int cgroup)
{
	json_t *json = json_object();
	uint64_t limit;

	add_number(json, "current", cgroup, "pids.current");
	/* 0 is runc's word for none. */
	if (cgroup_read_u64(cgroup, "pids.max", &limit) == 0)
		json_object_set_new(json, "limit",
				    number(limit > INT64_MAX ? 0 : limit));
	return json;
}

static void add_io(json_t *to, const char *line, unsigned int major,
		   unsigned int minor, const char *key, const char *op)
{
	const char *at = strstr(line, key);
	uint64_t v;

	if (at && sscanf(at + strlen(key), "%" SCNu64, &v) == 1)
		json_array_append_new(to, json_pack("{sI sI ss so}", "major",
						    (json_int_t)major, "minor",
						    (json_int_t)minor, "op", op,
						    "value", number(v)));
}

/* "254:0 rbytes=1 wbytes=2 rios=3 wios=4 ..." */
static json_t *blkio(int cgroup)
{
	_cleanup_free_ char *text = read_lines(cgroup, "io.stat");
	json_t *bytes = json_array(), *ops = json_array(),
	       *json = json_object();
	char *save = NULL, *line;
	unsigned int major, minor;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%u:%u ", &major, &minor) != 2)
			continue;
		add_io(bytes, line, major, minor, " rbytes=", "Read");
		add_io(bytes, line, major, minor, " wbytes=", "Write");
		add_io(ops, line, major, minor, " rios=", "Read");
		add_io(ops, line, major, minor, " wios=", "Write");
	}
	json_object_set_new(json, "ioServiceBytesRecursive", bytes);
	json_object_set_new(json, "ioServicedRecursive", ops);
	add_pressure(json, cgroup, "io.pressure");
	return json;
}

json_t *stats_describe(const char *id, int cgroup)
{
	return json_pack("{ss ss s{so so so so}}", "type", "stats", "id", id,
			 "data", "cpu", cpu(cgroup), "memory", memory(cgroup),
			 "pids", pids(cgroup), "blkio", blkio(cgroup));
}
