/* SPDX-License-Identifier: Apache-2.0 */
/* What is set up once per process. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"

struct engine engine = {.cgroup_root = -1, .device_programme = -1};

static void warn_missing(void)
{
	static const struct {
		unsigned int bit;
		const char *text;
	} needed[] = {{CGROUP_MEMORY, " memory"},
		      {CGROUP_CPU, " cpu"},
		      {CGROUP_PIDS, " pids"}};
	size_t i, len = 0;
	char list[64] = "";

	for (i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(engine.have & needed[i].bit))
			len += (size_t)snprintf(list + len, sizeof(list) - len,
						"%s", needed[i].text);
	if (len)
		snprintf(engine.warning, sizeof(engine.warning),
			 "cgroup v2 has no controllers for:%s; these limits "
			 "are not applied",
			 list);
}

/* The initial user namespace is the one that maps every id to itself. */
static bool is_initial_userns(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned int inside, outside, count;
	size_t len;

	if (file_read(AT_FDCWD, "/proc/self/uid_map", 65536, &text, &len,
		      NULL) < 0)
		return true;
	return sscanf(text, "%u %u %u", &inside, &outside, &count) == 3 &&
	       inside == 0 && outside == 0 && count == UINT32_MAX;
}

static bool is_setgroups_denied(void)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(AT_FDCWD, "/proc/self/setgroups", 64, &text, &len,
			 NULL) == 0 &&
	       strncmp(text, "deny", 4) == 0;
}

int container_engine_setup(struct err *e)
{
	_cleanup_close_ int fd = -1;

	if (engine.ready)
		return 0;
	engine.confined = geteuid() != 0 || !is_initial_userns();
	engine.no_setgroups = engine.confined && is_setgroups_denied();
	engine.cgroup_root = cgroup_root_open(NULL);
	if (engine.cgroup_root < 0) {
		engine.cgroup_root = -1;
		engine.ready = true;
		snprintf(engine.warning, sizeof(engine.warning),
			 "cgroup v2 is not mounted; no limit is applied and "
			 "devices are not filtered");
		return 0;
	}
	if (engine.confined) {
		delegate_find();
		engine.ready = true;
		return 0;
	}
	fd = cgroup_make(engine.cgroup_root, HYB_CGROUP_BASE, &engine.have, e);
	if (fd < 0)
		return fd;
	warn_missing();
	engine.ready = true;
	return 0;
}

int container_engine_move(uint64_t memory_min, struct err *e)
{
	_cleanup_close_ int fd = -1;
	unsigned int have;
	int r;

	if (engine.cgroup_root < 0)
		return 0;
	fd = cgroup_make(engine.cgroup_root, HYB_CGROUP_OWN, &have, e);
	if (fd < 0)
		return fd;
	r = cgroup_write(fd, "cgroup.procs", "0");
	if (r < 0)
		return err_sys(e, -r, "move into cgroup '%s'", HYB_CGROUP_OWN);
	if (have & CGROUP_MEMORY)
		r = cgroup_write_u64(fd, "memory.min", memory_min);
	return r < 0 ? err_sys(e, -r, "cgroup: memory.min") : 0;
}

bool container_engine_confined(void)
{
	container_engine_setup(NULL);
	return engine.confined;
}

const char *container_engine_warning(void)
{
	return engine.warning;
}
