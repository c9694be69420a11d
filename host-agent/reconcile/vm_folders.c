/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anonymous volumes: folders that the guest keeps on the VM's scratch disk.
 * Nobody but the guest knows of them, and they go with the VM: so there is
 * nothing to be written down or cleared away. Only the VM's actor is here.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#define DISK_MS 10000
#define FILL_MS 300000 /* an image's content may have to be copied */
#define CALL_MS 10000

/* Had it some when it was made last? */
static bool had_folders(const struct ctr *c)
{
	json_t *j = c->row.applied ? json_loads(c->row.applied, 0, NULL) : NULL;
	const json_t *list = json_object_get(j, "mounts"), *m;
	const char *type;
	bool had = false;
	size_t i;

	json_array_foreach(list, i, m) {
		type = json_string_value(json_object_get(m, "type"));
		had = had || (type && strcmp(type, "anonymous") == 0);
	}
	json_decref(j);
	return had;
}

int folders_ensure(struct vm *vm, const struct ctr *c,
		   const struct model_container *m,
		   const struct image_info *image,
		   char (*folders)[AGENT_PLACE_MAX], struct err *e)
{
	struct agent_folder list[HYB_MOUNTS_PER_CONTAINER_MAX];
	char places[HYB_MOUNTS_PER_CONTAINER_MAX][AGENT_PLACE_MAX];
	size_t i, n = 0;
	int r;

	for (i = 0; i < m->n_mounts; i++) {
		if (m->mounts[i].kind == MODEL_MOUNT_ANONYMOUS)
			list[n++] = (struct agent_folder){
				.path = m->mounts[i].target,
				.size = model_anonymous_size(m),
				.copy = !m->mounts[i].no_copy,
			};
	}
	if (n == 0 && !had_folders(c))
		return 0;
	r = agent_keep_folders(&vm->agent, m->name, SCRATCH_SERIAL,
			       image->erofs_serial, list, n, places, DISK_MS,
			       now_ms() + FILL_MS, e);
	if (r < 0)
		return err_wrap(e, "volumes without a name");
	for (i = m->n_mounts; i-- > 0;) {
		folders[i][0] = '\0';
		if (m->mounts[i].kind == MODEL_MOUNT_ANONYMOUS)
			memcpy(folders[i], places[--n], AGENT_PLACE_MAX);
	}
	return 0;
}

void folders_remove(struct vm *vm, const struct ctr *c)
{
	struct err e = ERR_INIT;

	if (!had_folders(c) || vm->agent.conn.fd < 0)
		return;
	if (agent_keep_folders(&vm->agent, c->row.name, SCRATCH_SERIAL, "",
			       NULL, 0, NULL, 0, now_ms() + CALL_MS, &e) < 0)
		log_warn("%s/%s/%s: what is in its volumes without a name "
			 "stays until the VM goes: %s",
			 vm->stack, vm->name, c->row.name, e.msg);
}
