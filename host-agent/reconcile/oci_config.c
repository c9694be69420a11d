/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/reconcile/oci_config.h"

#include "common/base/parse.h"
#include "common/oci/seccomp_profile.h"
#include "host-agent/virt/virt.h"

#include <signal.h>
#include <string.h>

#define OCI_VERSION "1.2.0"
#define DEFAULT_PATH \
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/* CFS bandwidth: limits are in thousandths of this many microseconds. */
#define CPU_PERIOD_US 100000

static void append_all(json_t *array, const char *const *v)
{
	for (; v && *v; v++)
		json_array_append_new(array, json_string(*v));
}

/* Entrypoint and command by Compose's rules: each replaces the image's, and an
 * entrypoint of the manifest drops the image's command with it, unless it is
 * empty, which only takes the image's entrypoint away. */
static json_t *make_args(const struct model_container *c,
			 const struct image_defaults *image)
{
	json_t *args = json_array();

	if (c->has_entrypoint)
		append_all(args, c->entrypoint);
	else
		append_all(args, image->entrypoint);
	if (c->has_command)
		append_all(args, c->command);
	else if (!c->has_entrypoint || !c->entrypoint[0])
		append_all(args, image->cmd);
	return args;
}

static size_t key_length(const char *kv)
{
	return strcspn(kv, "=");
}

static bool has_key(const char *const *v, const char *kv)
{
	size_t n = key_length(kv);

	for (; v && *v; v++)
		if (key_length(*v) == n && strncmp(*v, kv, n) == 0)
			return true;
	return false;
}

/* The image's variables that the manifest does not set, then the manifest's. */
static json_t *make_env(const struct model_container *c,
			const struct image_defaults *image)
{
	json_t *env = json_array();
	const char *const *v;

	if (!has_key(image->env, "PATH") && !has_key(c->environment, "PATH"))
		json_array_append_new(env, json_string(DEFAULT_PATH));
	for (v = image->env; v && *v; v++)
		if (!has_key(c->environment, *v))
			json_array_append_new(env, json_string(*v));
	append_all(env, c->environment);
	return env;
}

static json_t *make_resources(const struct model_limits *l)
{
	json_t *r = json_object();

	if (l->memory)
		json_object_set_new(
			r, "memory",
			json_pack("{s:I}", "limit", (json_int_t)l->memory));
	if (l->cpus_milli)
		json_object_set_new(r, "cpu",
				    json_pack("{s:I,s:i}", "quota",
					      (json_int_t)l->cpus_milli *
						      CPU_PERIOD_US / 1000,
					      "period", CPU_PERIOD_US));
	json_object_set_new(
		r, "pids",
		json_pack("{s:i}", "limit",
			  (int)(l->pids ? l->pids : HYB_DEFAULT_PIDS_LIMIT)));
	return r;
}

static json_t *make_tmpfs(const char *target, uint64_t size, uint32_t mode,
			  bool read_only)
{
	json_t *options = json_pack("[s,s]", "nosuid", "nodev");

	if (read_only)
		json_array_append_new(options, json_string("ro"));
	json_array_append_new(
		options, json_sprintf("size=%llu", (unsigned long long)size));
	json_array_append_new(options, json_sprintf("mode=%04o", mode));
	return json_pack("{s:s,s:s,s:s,s:o}", "destination", target, "type",
			 "tmpfs", "source", "tmpfs", "options", options);
}

#define HOSTS "/etc/hosts"

/* Of the guest's file systems; ids inside are the container's. place: reference
 * is taken. */
static json_t *make_volume(const struct model_mount *m, json_t *place)
{
	json_t *options =
		json_pack("[s,s,s,s]", "bind", "idmap", "nosuid", "nodev");

	if (m->read_only)
		json_array_append_new(options, json_string("ro"));
	if (*m->subpath)
		json_array_append_new(
			options, json_sprintf("X-mount.subdir=%s", m->subpath));
	return json_pack("{s:s,s:s,s:o,s:o}", "destination", m->target, "type",
			 "bind", "source", place, "options", options);
}

size_t oci_config_find_bind(const struct model_bind *binds, size_t n,
			    const char *container, const struct model_mount *m)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(binds[i].container, container) == 0 &&
		    strcmp(binds[i].source, m->source) == 0 &&
		    binds[i].read_only == m->read_only)
			break;
	return i;
}

/* A share of the VM's: its ids are mapped on the host. */
static json_t *make_bind(const struct model_container *c,
			 const struct model_mount *m,
			 const struct oci_place *place)
{
	json_t *options = json_pack("[s,s,s]", "nosuid", "nodev",
				    "X-mount.subdir=" VIRT_SHARE_ENTRY);

	if (m->read_only)
		json_array_append_new(options, json_string("ro"));
	return json_pack(
		"{s:s,s:s,s:o,s:o}", "destination", m->target, "type",
		"virtiofs", "source",
		json_sprintf(VIRT_SHARE_TAG,
			     oci_config_find_bind(place->binds, place->n_binds,
						  c->name, m)),
		"options", options);
}

/* Where the agent writes secrets and configs. */
static json_t *make_file(const char *target, const char *guest_id, size_t i)
{
	return json_pack("{s:s,s:s,s:o,s:[s,s,s,s,s]}", "destination", target,
			 "type", "bind", "source",
			 json_sprintf("/run/hyb/files/%s/%zu", guest_id, i),
			 "options", "bind", "ro", "nosuid", "nodev", "noexec");
}

static bool covers_hosts(const char *target)
{
	return strcmp(target, "/") == 0 || strcmp(target, "/etc") == 0 ||
	       strcmp(target, HOSTS) == 0;
}

static bool has_hosts(const struct model_container *c)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if (covers_hosts(c->mounts[i].target))
			return false;
	for (i = 0; i < c->n_files; i++)
		if (covers_hosts(c->files[i].target))
			return false;
	return true;
}

static const char *hostname_of(const struct model_container *c,
			       const char *vm_name)
{
	return c->hostname[0] ? c->hostname : vm_name;
}

char *oci_config_hosts(const struct model_container *c, const char *vm_name)
{
	char *text;

	if (!has_hosts(c) ||
	    asprintf(&text,
		     "127.0.0.1\tlocalhost\n"
		     "::1\tlocalhost ip6-localhost ip6-loopback\n"
		     "127.0.1.1\t%s\n",
		     hostname_of(c, vm_name)) < 0)
		return NULL;
	return text;
}

/* Where the agent has mounted it, or made it. */
static json_t *place_of(const struct oci_place *place,
			const struct model_mount *m, size_t i)
{
	if (m->kind == MODEL_MOUNT_ANONYMOUS)
		return json_string(place->folders[i]);
	return json_sprintf("/run/hyb/volumes/vol-%lld/data",
			    (long long)place->volume_id(place->arg, m->source));
}

/* What the engine's own mounts do not have. */
static json_t *make_mounts(const struct model_container *c,
			   const struct oci_place *place)
{
	json_t *list = json_array(), *shm, *one;
	size_t i;

	if (c->shm_size) {
		shm = make_tmpfs("/dev/shm", c->shm_size, 01777, false);
		json_array_append_new(json_object_get(shm, "options"),
				      json_string("noexec"));
		json_array_append_new(list, shm);
	}
	for (i = 0; i < c->n_mounts; i++) {
		const struct model_mount *m = &c->mounts[i];

		if (m->kind == MODEL_MOUNT_TMPFS)
			one = make_tmpfs(m->target, m->size, m->mode,
					 m->read_only);
		else if (m->kind == MODEL_MOUNT_BIND)
			one = make_bind(c, m, place);
		else
			one = make_volume(m, place_of(place, m, i));
		json_array_append_new(list, one);
	}
	for (i = 0; i < c->n_files; i++)
		json_array_append_new(
			list, make_file(c->files[i].target, place->id, i));
	if (has_hosts(c))
		json_array_append_new(list, make_file(HOSTS, place->id, i));
	return list;
}

/* What the guest gives uid 0 (docs/container.md); a profile's conditions are
 * about these. */
static const char *const default_caps[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",	 "CAP_FSETID",
	"CAP_KILL",    "CAP_SETGID",	       "CAP_SETUID",	 "CAP_SETPCAP",
	"CAP_SETFCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", NULL};

/* Without one the guest's own profile is in force. The kernel is the guest's
 * word, and its answer hits its own containers only. */
static int add_seccomp(const struct model_container *c, const char *kernel,
		       json_t *lx, struct err *e)
{
	struct seccomp_target target = {.caps = default_caps};
	json_t *profile = NULL;
	int r;

	if (!*c->seccomp)
		return 0;
	r = seccomp_profile_parse(c->seccomp, strlen(c->seccomp), &profile, e);
	if (r < 0)
		return err_wrap(e, "seccomp");
	seccomp_kernel_parse(kernel, target.kernel);
	r = json_object_set_new(lx, "seccomp",
				seccomp_profile_convert(profile, &target));
	json_decref(profile);
	return r < 0 ? err_sys(e, ENOMEM, "seccomp") : 0;
}

int oci_config_make(const struct model_container *c,
		    const struct image_defaults *image,
		    const struct oci_place *place, json_t **ret, struct err *e)
{
	const char *cwd = c->working_dir[0] ? c->working_dir
			  : image->working_dir && image->working_dir[0]
				  ? image->working_dir
				  : "/";
	json_t *args = make_args(c, image), *config;
	int r;

	if (json_array_size(args) == 0) {
		json_decref(args);
		err_set(e, EINVAL,
			"nothing to run: neither the image '%s' nor the "
			"manifest gives a command",
			c->image);
		err_hint(e, "set `command` for this container");
		return -EINVAL;
	}
	config = json_pack(
		"{s:s, s:{s:o, s:o, s:s, s:{s:i,s:i}, s:b}, s:{s:s,s:b}, s:s,"
		" s:{s:o}, s:o}",
		"ociVersion", OCI_VERSION, "process", "args", args, "env",
		make_env(c, image), "cwd", cwd, "user", "uid", 0, "gid", 0,
		"noNewPrivileges", 1, "root", "path", "rootfs", "readonly",
		(int)c->read_only, "hostname", hostname_of(c, place->vm_name),
		"linux", "resources", make_resources(&c->limits), "mounts",
		make_mounts(c, place));
	if (!config)
		return err_sys(e, ENOMEM, "make the configuration");
	r = add_seccomp(c, place->kernel, json_object_get(config, "linux"), e);
	if (r < 0) {
		json_decref(config);
		return r;
	}
	*ret = config;
	return 0;
}

int oci_config_stop_signal(const struct model_container *c,
			   const struct image_defaults *image)
{
	int sig;

	if (c->stop_signal)
		return c->stop_signal;
	if (image->stop_signal && parse_signal(image->stop_signal, &sig) == 0)
		return sig;
	return SIGTERM;
}
