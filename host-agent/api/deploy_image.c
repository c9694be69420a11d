/* SPDX-License-Identifier: Apache-2.0 */
/* What a deployment asks of its images before anything is changed. */
#include "host-agent/api/api.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"

/* Of a deployment: an image says as many, and as long ones, as it likes. */
#define WARNINGS_MAX 64

/* Is it the target, or below it? */
static bool is_below(const char *path, const char *target)
{
	size_t n = strlen(target), len = strlen(path);

	while (n > 0 && target[n - 1] == '/')
		n--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len >= n && strncmp(path, target, n) == 0 &&
	       (len == n || path[n] == '/');
}

static bool is_mounted(const struct model_container *c, const char *path)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if (is_below(path, c->mounts[i].target))
			return true;
	return false;
}

/* An image says with VOLUME where data is that its users want to keep; here
 * only what is mounted there outlives the container. */
static void warn_of_volumes(const struct model_vm *vm,
			    const struct model_container *c,
			    const struct oci_image_config *image,
			    json_t *warnings)
{
	const char **v;
	char path[256];

	for (v = image->volumes; v && *v && !c->read_only; v++) {
		if (is_mounted(c, *v))
			continue;
		if (json_array_size(warnings) == WARNINGS_MAX)
			return;
		json_array_append_new(
			warnings,
			json_sprintf("container '%s/%s': what it writes to "
				     "'%s', a VOLUME of its image, is gone "
				     "when it is restarted: give it a volume",
				     vm->name, c->name,
				     text_escape(*v, path, sizeof(path))));
	}
}

int images_admit(struct request *q, const struct model_stack *s,
		 json_t *warnings, struct err *e)
{
	size_t i, k;
	int r;

	for (i = 0; i < s->n_vms; i++) {
		const struct model_vm *vm = &s->vms[i];

		for (k = 0; k < vm->n_containers; k++) {
			const struct model_container *c = &vm->containers[k];
			_cleanup_image_info_ struct image_info *image = NULL;

			r = tenant_image(q, s->tenant, c->image, &image, e);
			if (r < 0)
				return err_wrap(e, "container '%s/%s'",
						vm->name, c->name);
			warn_of_volumes(vm, c, &image->config, warnings);
		}
	}
	return 0;
}
