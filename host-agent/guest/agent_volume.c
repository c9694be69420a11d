/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes: mounted, frozen for a snapshot, unmounted. */
#include "host-agent/guest/agent_int.h"

#include <time.h>

int agent_mount_volume(struct agent *a, const struct agent_volume *v,
		       uint64_t wait_ms, uint64_t deadline_ms, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	uint64_t until = now_ms() + wait_ms;
	int r;

	for (;;) {
		_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

		r = agent_call_read(a, IFACE "MountVolume",
				    json_pack("{s:s,s:b,s:s,s:s}", "serial",
					      v->serial, "read_only",
					      (int)v->read_only, "image",
					      v->image_serial, "path", v->path),
				    deadline_ms, NULL, 0, NULL, &reply, e);
		if (r == 0 || strcmp(reply.error, IFACE "NotFound") != 0)
			return r;
		if (now_ms() >= until)
			return err_set(e, ETIMEDOUT,
				       "its disk does not come up in the "
				       "guest");
		nanosleep(&pause, NULL);
	}
}

int agent_freeze_volume(struct agent *a, const char *serial,
			uint64_t deadline_ms, struct err *e)
{
	return agent_call(a, IFACE "FreezeVolume",
			  json_pack("{s:s}", "serial", serial), deadline_ms, e);
}

int agent_thaw_volume(struct agent *a, const char *serial, uint64_t deadline_ms,
		      struct err *e)
{
	return agent_call(a, IFACE "ThawVolume",
			  json_pack("{s:s}", "serial", serial), deadline_ms, e);
}

int agent_unmount_volume(struct agent *a, const char *serial,
			 uint64_t deadline_ms, struct err *e)
{
	return agent_call(a, IFACE "UnmountVolume",
			  json_pack("{s:s}", "serial", serial), deadline_ms, e);
}
