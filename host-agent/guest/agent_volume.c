/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes: mounted, frozen for a snapshot, unmounted. */
#include "host-agent/guest/agent_int.h"

#include "common/base/json.h"

#include <time.h>

/* A call that waits for a disk which may be on its way. params are kept. */
static int call_with_disk(struct agent *a, const char *method, json_t *params,
			  uint64_t until, uint64_t deadline_ms,
			  const struct vl_field *fields, size_t n, void *out,
			  struct vl_reply *reply, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	int r;

	for (;;) {
		r = agent_call_read(a, method, json_incref(params), deadline_ms,
				    fields, n, out, reply, e);
		if (r == 0 || strcmp(reply->error, IFACE "NotFound") != 0)
			return r;
		if (now_ms() >= until)
			return err_set(e, ETIMEDOUT,
				       "its disk does not come up in the "
				       "guest");
		vl_reply_done(reply);
		*reply = (struct vl_reply)VL_REPLY_INIT;
		nanosleep(&pause, NULL);
	}
}

int agent_mount_volume(struct agent *a, const struct agent_volume *v,
		       uint64_t wait_ms, uint64_t deadline_ms, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	_cleanup_json_ json_t *params = json_pack(
		"{s:s,s:b,s:s,s:s}", "serial", v->serial, "read_only",
		(int)v->read_only, "image", v->image_serial, "path", v->path);

	return call_with_disk(a, IFACE "MountVolume", params,
			      now_ms() + wait_ms, deadline_ms, NULL, 0, NULL,
			      &reply, e);
}

struct places_reply {
	json_t *places;
};

int agent_keep_folders(struct agent *a, const char *container,
		       const char *scratch_serial, const char *image_serial,
		       const struct agent_folder *folders, size_t n,
		       char (*places)[AGENT_PLACE_MAX], uint64_t wait_ms,
		       uint64_t deadline_ms, struct err *e)
{
	const struct vl_field fields[] = {
		{"places", VL_STRINGS, AT(places_reply, places), 0, (int64_t)n,
		 false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	_cleanup_json_ json_t *params = NULL, *list = json_array();
	struct places_reply p = {.places = NULL};
	const json_t *place;
	size_t i;
	int r;

	for (i = 0; i < n; i++)
		json_array_append_new(list,
				      json_pack("{s:s,s:I,s:b}", "path",
						folders[i].path, "size",
						(json_int_t)folders[i].size,
						"copy", (int)folders[i].copy));
	params = json_pack("{s:s,s:s,s:s,s:O}", "container", container,
			   "scratch", scratch_serial, "image", image_serial,
			   "folders", list);
	r = call_with_disk(a, IFACE "KeepFolders", params, now_ms() + wait_ms,
			   deadline_ms, fields, 1, &p, &reply, e);
	if (r < 0)
		return r;
	json_array_foreach(p.places, i, place) {
		if (json_string_length(place) >= AGENT_PLACE_MAX)
			break;
		snprintf(places[i], AGENT_PLACE_MAX, "%s",
			 json_string_value(place));
	}
	return i == n ? 0 : err_set(e, EBADMSG, "the guest's answer");
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
