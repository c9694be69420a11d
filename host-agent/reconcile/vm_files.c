/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets and configs on their way to a guest: opened for the moment of the
 * call that carries them. Only the VM's actor is here. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "host-agent/reconcile/oci_config.h"

#define CALL_MS 30000

static int add_file(json_t *list, size_t i, const struct model_file *f,
		    const char *hex, struct err *e)
{
	json_t *o = json_pack("{s:o,s:I,s:I,s:I,s:s}", "name",
			      json_sprintf("%zu", i), "mode",
			      (json_int_t)f->mode, "uid", (json_int_t)f->uid,
			      "gid", (json_int_t)f->gid, "data", hex);

	if (json_array_append_new(list, o) < 0)
		return err_sys(e, ENOMEM, "secrets");
	return 0;
}

static int add_bytes(json_t *list, size_t i, const struct model_file *f,
		     const char *data, size_t len, struct err *e)
{
	char *hex = malloc(2 * len + 1);
	int r;

	if (!hex)
		return err_sys(e, ENOMEM, "files");
	hex_format(data, len, hex);
	r = add_file(list, i, f, hex, e);
	secret_free(hex, 2 * len);
	return r;
}

static int add_secret(struct vm *vm, json_t *list, size_t i,
		      const struct model_file *f, struct err *e)
{
	int64_t version;
	char *data;
	size_t len = 0;
	int r;

	r = secret_get(vm->world->secrets, vm->tenant,
		       f->external ? "" : vm->stack, f->source, &data, &len,
		       &version, e);
	if (r < 0)
		return r;
	r = add_bytes(list, i, f, data, len, e);
	secret_free(data, len);
	return r;
}

static int add_hosts(struct vm *vm, json_t *list,
		     const struct model_container *m, struct err *e)
{
	_cleanup_free_ char *text = oci_config_hosts(m, vm->name);
	const struct model_file f = {.mode = 0644};

	return text ? add_bytes(list, m->n_files, &f, text, strlen(text), e)
		    : 0;
}

/* For agent_create(); secrets alone for a rotation. NULL: e says why. */
static json_t *make_files(struct vm *vm, const struct model_container *m,
			  bool secrets_only, struct err *e)
{
	json_t *list = json_array();
	size_t i;
	int r = list ? 0 : err_sys(e, ENOMEM, "secrets");

	for (i = 0; r == 0 && i < m->n_files; i++) {
		const struct model_file *f = &m->files[i];

		if (!f->config)
			r = add_secret(vm, list, i, f, e);
		else if (!secrets_only)
			r = add_file(list, i, f, f->content, e);
	}
	if (r == 0 && !secrets_only)
		r = add_hosts(vm, list, m, e);
	if (r == 0)
		return list;
	files_free(list);
	return NULL;
}

json_t *files_make(struct vm *vm, const struct model_container *m,
		   struct err *e)
{
	return make_files(vm, m, false, e);
}

void files_free(json_t *list)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		json_t *data = json_object_get(o, "data");
		/* The list's own copy: nobody else has it. */
		char *s = (char *)(uintptr_t)json_string_value(data);

		if (s)
			explicit_bzero(s, json_string_length(data));
	}
	json_decref(list);
}

static bool has_secrets(const struct model_container *m)
{
	size_t i;

	for (i = 0; i < m->n_files; i++)
		if (!m->files[i].config)
			return true;
	return false;
}

static void rotate_one(struct vm *vm, const struct model_container *m)
{
	struct ctr *c = vm_find_ctr(vm, m->name);
	struct err e = ERR_INIT;
	json_t *list;

	if (!c || !c->in_guest || !has_secrets(m))
		return;
	list = make_files(vm, m, true, &e);
	if (!list || agent_update_files(&vm->agent, c->id, list,
					now_ms() + CALL_MS, &e) < 0)
		log_warn("%s/%s/%s: secrets: %s", vm->stack, vm->name, m->name,
			 e.msg);
	files_free(list);
}

void files_rotate(struct vm *vm, const struct model_vm *m)
{
	uint64_t now = secret_generation(vm->world->secrets);
	size_t i;

	if (vm->secrets_seen == now || !vm->row.exists)
		return;
	for (i = 0; i < m->n_containers; i++)
		rotate_one(vm, &m->containers[i]);
	vm->secrets_seen = now;
}
