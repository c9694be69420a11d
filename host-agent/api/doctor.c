/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the running daemon: what it found out about the host, and what of
 * ours is left over. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/varlink/params.h"
#include "host-agent/reconcile/courier.h"

#include <sys/statvfs.h>

#define DISK_LOW ((uint64_t)1 << 30)

static void add(json_t *checks, const char *name, const char *status,
		const char *message, const char *hint)
{
	json_array_append_new(
		checks, json_pack("{s:s,s:s,s:s,s:s}", "name", name, "status",
				  status, "message", message, "hint", hint));
}

static void check_accel(struct request *q, json_t *checks)
{
	struct virt_host host;
	char text[400];

	virt_host_info(q->api->virt, &host);
	snprintf(text, sizeof(text), "%s: %s", virt_accel_name(host.accel),
		 host.reason);
	add(checks, "accelerator", host.hardware ? "ok" : "warn", text,
	    host.hardware ? ""
			  : "software emulation is no security boundary; use "
			    "a host with working KVM for other people's "
			    "workloads");
	if (host.cgroups)
		add(checks, "host limits", "ok", "cgroup v2", "");
	else
		add(checks, "host limits", "warn", host.cgroups_reason,
		    "VMs' use of the host's CPU and I/O is not limited");
}

static void check_disk(struct request *q, json_t *checks)
{
	struct statvfs st;
	uint64_t left;
	char text[128];

	if (statvfs(q->api->root, &st) < 0)
		return;
	left = (uint64_t)st.f_bavail * st.f_frsize;
	snprintf(text, sizeof(text), "%.1f GiB free below the root",
		 (double)left / (double)(1 << 30));
	add(checks, "disk space", left < DISK_LOW ? "warn" : "ok", text,
	    left < DISK_LOW ? "images and logs need room" : "");
}

static void check_images(struct request *q, json_t *checks)
{
	const double gib = (double)(1 << 30);
	struct image_usage u;
	char text[160];

	image_store_usage(image_stores_operators(q->api->images), &u);
	snprintf(text, sizeof(text),
		 "%.1f GiB of images; %zu layers kept for pulls, %.1f of at "
		 "most %.1f GiB",
		 (double)u.images / gib, u.n_layers, (double)u.layers / gib,
		 (double)u.layers_max / gib);
	add(checks, "image store", "ok", text, "");
}

/* Is the domain one of the world's? */
static bool is_known(struct world *w, const char *domain)
{
	const struct vm *vm;
	char name[64];
	bool known = false;

	world_lock(w);
	for (vm = w->vms; vm && !known; vm = vm->next) {
		vm_domain_name(vm, name);
		known = !vm->gone && strcmp(name, domain) == 0;
	}
	world_unlock(w);
	return known;
}

static void check_leftovers(struct request *q, bool repair, json_t *checks)
{
	struct virt_vm_info *vms = NULL;
	size_t n = 0, i, left = 0, removed = 0;
	struct err e = ERR_INIT;
	char text[128];

	if (virt_list(q->api->virt, &vms, &n, &e) < 0) {
		add(checks, "leftovers", "fail", e.msg, "");
		return;
	}
	for (i = 0; i < n; i++) {
		if (is_known(q->api->world, vms[i].name) ||
		    courier_is(vms[i].name))
			continue;
		left++;
		if (repair &&
		    virt_vm_destroy(q->api->virt, vms[i].name, &e) == 0 &&
		    virt_vm_forget(q->api->virt, vms[i].name, &e) == 0)
			removed++;
	}
	free(vms);
	snprintf(text, sizeof(text), "%zu VMs that no stack has, %zu removed",
		 left, removed);
	add(checks, "leftovers", left > removed ? "warn" : "ok", text,
	    left > removed ? "`hyb doctor --repair` removes them" : "");
}

struct doctor_params {
	bool repair;
};

int on_doctor(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"repair", VL_BOOL, offsetof(struct doctor_params, repair), 0,
		 0, true},
	};
	struct doctor_params p = {.repair = false};
	struct request *q = ctx;
	json_t *checks;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &p, NULL, e);
	if (r == 0 && p.repair && q->uid != 0)
		r = err_set(e, EPERM, "only root may repair");
	if (r < 0)
		return r;
	checks = json_array();
	check_accel(q, checks);
	check_disk(q, checks);
	check_images(q, checks);
	check_leftovers(q, p.repair, checks);
	return request_reply(q, json_pack("{s:o}", "checks", checks), false, e);
}
