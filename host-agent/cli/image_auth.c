/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's credentials of registries, from where `skopeo login`, `podman
 * login` and `docker login` leave them. They are read here, with the caller's
 * rights, and go to hybd as one file without a name. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "host-agent/cli/image.h"

#include <fcntl.h>
#include <sys/mman.h>

#define FILE_MAX (1u << 20)

/* Those that are not in `all` yet. An entry without a secret says that a helper
 * program has it; those are not asked. */
static int add_auths(json_t *all, const char *text, size_t len,
		     const char *path, struct err *e)
{
	_cleanup_json_ json_t *o = json_loadb(text, len, 0, NULL);
	json_t *v;
	const char *key;

	/* Why is not said: it would show what is in the file. */
	if (!json_is_object(o))
		return err_set(e, EINVAL, "'%s' is no JSON object", path);
	json_object_foreach(json_object_get(o, "auths"), key, v)
		if ((json_object_get(v, "auth") ||
		     json_object_get(v, "identitytoken")) &&
		    !json_object_get(all, key) &&
		    json_object_set(all, key, v) < 0)
			return err_sys(e, ENOMEM, "read '%s'", path);
	return 0;
}

static int add_file(json_t *all, const char *path, bool may_be_missing,
		    struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = file_read(AT_FDCWD, path, FILE_MAX, &text, &len, e);

	if (may_be_missing && (r == -ENOENT || r == -ENOTDIR)) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	r = add_auths(all, text, len, path, e);
	explicit_bzero(text, len);
	return r;
}

/* DIR/NAME, where the variable has DIR; else, where HOME is set, HOME/INSTEAD. */
static int add_of(json_t *all, const char *variable, const char *name,
		  const char *instead, struct err *e)
{
	const char *dir = getenv(variable), *home = getenv("HOME");
	_cleanup_free_ char *path = NULL;
	int n = 0;

	if (dir && *dir)
		n = asprintf(&path, "%s/%s", dir, name);
	else if (instead && home && *home)
		n = asprintf(&path, "%s/%s", home, instead);
	if (n < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "read credentials");
	}
	return path ? add_file(all, path, true, e) : 0;
}

/* In the order in which skopeo looks. */
static int add_usual(json_t *all, struct err *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[64];
	int r = 0;

	/* Where root's podman has made the folder, others have nothing in it. */
	if ((!runtime || !*runtime) &&
	    (access("/run/containers", X_OK) == 0 || errno != EACCES)) {
		snprintf(path, sizeof(path), "/run/containers/%u/auth.json",
			 (unsigned int)getuid());
		r = add_file(all, path, true, e);
	}
	if (r == 0)
		r = add_of(all, "XDG_RUNTIME_DIR", "containers/auth.json", NULL,
			   e);
	if (r == 0)
		r = add_of(all, "XDG_CONFIG_HOME", "containers/auth.json",
			   ".config/containers/auth.json", e);
	if (r == 0)
		r = add_of(all, "DOCKER_CONFIG", "config.json",
			   ".docker/config.json", e);
	return r;
}

int image_auth_open(const char *file, int *ret, struct err *e)
{
	_cleanup_json_ json_t *all = json_object(), *o = NULL;
	const char *named = file ? file : getenv("REGISTRY_AUTH_FILE");
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	*ret = -1;
	r = named && *named ? add_file(all, named, false, e)
			    : add_usual(all, e);
	if (r < 0)
		return err_wrap(e, "credentials");
	if (json_object_size(all) == 0)
		return 0;
	o = json_pack("{s:O}", "auths", all);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	fd = memfd_create("auth", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (!text || fd < 0)
		return err_sys(e, text ? errno : ENOMEM, "credentials");
	r = write_full(fd, text, strlen(text));
	explicit_bzero(text, strlen(text));
	if (r < 0 || fcntl(fd, F_ADD_SEALS,
			   F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return err_sys(e, r < 0 ? -r : errno, "credentials");
	*ret = steal_fd(&fd);
	return 0;
}
