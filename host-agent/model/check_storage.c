/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/check.h"

#include <string.h>

#include "common/base/parse.h"

/* Without words that say nothing, or lead elsewhere. */
static const char *check_plain_path(const char *s)
{
	const char *p = s, *end;

	if (*s != '/' || strlen(s) > 1023)
		return "an absolute path of at most 1023 bytes";
	if (!s[1])
		return "a path below '/'";
	for (; *p; p = end) {
		p++;
		end = p + strcspn(p, "/");
		if (end == p || (end - p == 1 && *p == '.') ||
		    (end - p == 2 && memcmp(p, "..", 2) == 0))
			return "a path in its plainest form: without '..', "
			       "'.', '//' and a '/' at its end";
	}
	return NULL;
}

const char *check_bind_source(const char *s)
{
	return check_plain_path(s);
}

const char *check_subpath(const char *s)
{
	char path[1025] = "/";
	size_t n = strlen(s);

	if (n < 1 || n > sizeof(path) - 2 || s[0] == '/')
		return "a relative path of at most 1023 bytes";
	memcpy(path + 1, s, n + 1);
	return check_plain_path(path);
}

const char *check_mount_target(const char *s)
{
	static const char *const kernels[] = {"/proc", "/sys", "/dev"};
	const char *why = check_plain_path(s);
	size_t i;

	if (why)
		return why;
	for (i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (path_is_below(s, kernels[i]) && strcmp(s, "/dev/shm") != 0)
			return "none of the kernel's own places (/proc, /sys, "
			       "/dev; /dev/shm may be)";
	return NULL;
}

const char *check_file_name(const char *s)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
				  "STUVWXYZ0123456789_.-";
	size_t n = strlen(s);

	if (n < 1 || n > 63 || strspn(s, set) != n || strchr("_.-", s[0]))
		return "1 to 63 letters, digits, '_', '.' and '-', beginning "
		       "with a letter or digit";
	return NULL;
}

static int check_file(const struct model_container *c, size_t i, struct err *e)
{
	const struct model_file *f = &c->files[i];
	size_t k, n = strlen(f->content);

	if (check_file_name(f->source) || check_mount_target(f->target) ||
	    f->mode > 0777 || f->uid > 65535 || f->gid > 65535 ||
	    n > 2 * HYB_FILE_CONTENT_MAX || n % 2 ||
	    strspn(f->content, "0123456789abcdef") != n ||
	    (!f->config && n > 0))
		return err_set(e, EINVAL, "files is not valid");
	for (k = 0; k < i; k++)
		if (strcmp(c->files[k].target, f->target) == 0)
			return err_set(e, EINVAL, "files: twice at one place");
	return 0;
}

static int check_mount(const struct model_stack *s,
		       const struct model_container *c, size_t i, struct err *e)
{
	const struct model_mount *m = &c->mounts[i];

	if (m->kind >= MODEL_MOUNT_KIND_MAX || check_mount_target(m->target))
		return err_set(e, EINVAL, "mounts is not valid");
	if (i > 0 && strcmp(c->mounts[i - 1].target, m->target) >= 0)
		return err_set(e, EINVAL, "mounts is not in order");
	if (m->kind == MODEL_MOUNT_VOLUME && !model_find_volume(s, m->source))
		return err_set(e, EINVAL, "mounts: no such volume");
	if (*m->subpath &&
	    (m->kind != MODEL_MOUNT_VOLUME || check_subpath(m->subpath)))
		return err_set(e, EINVAL, "mounts: not a part of a volume");
	if (m->kind == MODEL_MOUNT_BIND && check_bind_source(m->source))
		return err_set(e, EINVAL, "mounts: not a path to bind");
	if (m->kind == MODEL_MOUNT_TMPFS &&
	    (m->size < HYB_TMPFS_SIZE_MIN || m->size > HYB_TMPFS_SIZE_MAX))
		return err_set(e, EINVAL, "mounts: size is out of range");
	return 0;
}

static int check_volume(const struct model_stack *s, size_t i, struct err *e)
{
	const struct model_volume *v = &s->volumes[i];

	if (check_name(v->name) || model_find_volume(s, v->name) != v)
		return err_set(e, EINVAL, "volumes is not valid");
	if (v->external ? v->size != 0
			: v->size < HYB_VOLUME_SIZE_MIN ||
				  v->size > HYB_VOLUME_SIZE_MAX)
		return err_set(e, EINVAL, "volumes: size is out of range");
	return 0;
}

static int check_container_storage(const struct model_stack *s,
				   const struct model_container *c,
				   struct err *e)
{
	size_t i;
	int r = 0;

	if (c->n_files > HYB_CONTAINER_FILES_MAX)
		return err_set(e, EINVAL, "too many files");
	if (c->n_mounts > HYB_MOUNTS_PER_CONTAINER_MAX)
		return err_set(e, EINVAL, "too many mounts");
	if (c->shm_size && (c->shm_size < HYB_TMPFS_SIZE_MIN ||
			    c->shm_size > HYB_TMPFS_SIZE_MAX))
		return err_set(e, EINVAL, "shm_size is out of range");
	if (c->layer_size &&
	    (c->read_only || c->layer_size < HYB_LAYER_SIZE_MIN ||
	     c->layer_size > HYB_LAYER_SIZE_MAX))
		return err_set(e, EINVAL, "layer_size is out of range");
	for (i = 0; r == 0 && i < c->n_mounts; i++)
		r = check_mount(s, c, i, e);
	for (i = 0; r == 0 && i < c->n_files; i++)
		r = check_file(c, i, e);
	return r;
}

/* Each is a device of the VM's. */
static int check_binds(const struct model_vm *vm, struct err *e)
{
	size_t i, k, n = 0;

	for (i = 0; i < vm->n_containers; i++)
		for (k = 0; k < vm->containers[i].n_mounts; k++)
			n += vm->containers[i].mounts[k].kind ==
			     MODEL_MOUNT_BIND;
	return n > HYB_VM_BINDS_MAX ? err_set(e, EINVAL, "too many binds") : 0;
}

int check_anonymous(const struct model_vm *vm, struct err *e)
{
	size_t i, n = 0;

	for (i = 0; i < vm->n_containers; i++)
		n += model_count_anonymous(&vm->containers[i]);
	return n > HYB_VM_ANONYMOUS_MAX
		       ? err_set(e, EINVAL,
				 "VM '%s': %zu volumes without a name; a VM "
				 "can have at most %d",
				 vm->name, n, HYB_VM_ANONYMOUS_MAX)
		       : 0;
}

int check_storage(const struct model_stack *s, struct err *e)
{
	size_t i, k;
	int r = 0;

	if (s->n_volumes > HYB_STACK_VOLUMES_MAX)
		return err_set(e, EINVAL, "too many volumes");
	for (i = 0; r == 0 && i < s->n_volumes; i++)
		r = check_volume(s, i, e);
	for (i = 0; r == 0 && i < s->n_vms; i++)
		r = check_binds(&s->vms[i], e);
	for (i = 0; r == 0 && i < s->n_vms; i++)
		r = check_anonymous(&s->vms[i], e);
	for (i = 0; r == 0 && i < s->n_vms; i++)
		for (k = 0; r == 0 && k < s->vms[i].n_containers; k++)
			r = check_container_storage(s, &s->vms[i].containers[k],
						    e);
	return r;
}
