/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets and configs: files on a tmpfs of the guest's, FILES/ID/NAME, that
 * the configuration binds into the container. They belong to the container's
 * user namespace and are gone with it. New content is a new file, bound in the
 * place of the old (docs/decisions/secret-rotation.md).
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FILES "/run/hyb/files"

struct file_params {
	const char *name;
	int64_t mode, uid, gid;
	const char *data; /* hexadecimal */
};

static int open_folder(const char *id, bool make, struct err *e)
{
	char path[128];
	int fd;

	if (make && mkdir("/run/hyb", 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make '/run/hyb'");
	if (make && mkdir(FILES, 0700) == 0) {
		/* Never swapped: the guest has no swap. */
		if (mount("tmpfs", FILES, "tmpfs",
			  MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=0700,size=8m,nr_inodes=8k") < 0)
			return err_sys(e, errno, "mount '" FILES "'");
	} else if (make && errno != EEXIST) {
		return err_sys(e, errno, "make '" FILES "'");
	}
	snprintf(path, sizeof(path), FILES "/%s", id);
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make '%s'", path);
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}

static int read_file_params(const json_t *j, struct file_params *q,
			    struct err *e)
{
#define AT(m) offsetof(struct file_params, m)
	static const struct vl_field fields[] = {
		{"name", VL_STRING, AT(name), 1, 8, false},
		{"mode", VL_INT, AT(mode), 0, 0777, false},
		{"uid", VL_INT, AT(uid), 0, HYB_CONTAINER_IDS - 1, false},
		{"gid", VL_INT, AT(gid), 0, HYB_CONTAINER_IDS - 1, false},
		{"data", VL_STRING, AT(data), 0, AGENT_FILE_MAX * 2, false},
	};
#undef AT
	int r = vl_params_read(j, fields, ARRAY_SIZE(fields), true, q, NULL, e);

	if (r < 0)
		return r;
	if (!q->name[0] || q->name[strspn(q->name, "0123456789")])
		return err_set(e, EINVAL, "files: name: not a number");
	if (strlen(q->data) % 2)
		return err_set(e, EINVAL, "files: data: not hexadecimal");
	return 0;
}

/* The new file, whole, under a name that is nobody's yet. */
static int make_file(int folder, const char *name, const struct file_params *q,
		     uint32_t base, struct err *e)
{
	size_t len = strlen(q->data) / 2;
	_cleanup_close_ int fd = -1;
	unsigned char *raw = malloc(len + 1);
	int r = 0;

	if (!raw)
		return err_sys(e, ENOMEM, "files");
	if (hex_parse(q->data, raw, len) < 0)
		r = err_set(e, EINVAL, "files: data: not hexadecimal");
	if (r == 0 && unlinkat(folder, name, 0) < 0 && errno != ENOENT)
		r = err_sys(e, errno, "files: '%s'", q->name);
	if (r == 0) {
		fd = openat(folder, name,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
				    O_CLOEXEC,
			    0600);
		r = fd < 0 ? -errno : write_full(fd, raw, len);
		if (r == 0 && (fchown(fd, base + (uid_t)q->uid,
				      base + (gid_t)q->gid) < 0 ||
			       fchmod(fd, (mode_t)q->mode) < 0))
			r = -errno;
		if (r < 0)
			r = err_sys(e, -r, "files: '%s'", q->name);
	}
	explicit_bzero(raw, len);
	free(raw);
	return r < 0 ? r : steal_fd(&fd);
}

/* In the container first: where that fails all stays as it was. */
static int put_file(int folder, const char *id, const struct file_params *q,
		    uint32_t base, struct container *c, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char fresh[16], source[160];
	int r = 0;

	snprintf(fresh, sizeof(fresh), "%s.new", q->name);
	snprintf(source, sizeof(source), FILES "/%s/%s", id, q->name);
	fd = make_file(folder, fresh, q, base, e);
	if (fd >= 0 && c)
		r = container_rebind(c, source, fd, e);
	if (fd >= 0 && r == 0 && renameat(folder, fresh, folder, q->name) < 0)
		r = err_sys(e, errno, "files: '%s'", q->name);
	if (fd < 0 || r < 0)
		unlinkat(folder, fresh, 0);
	return fd < 0 ? fd : r;
}

int files_write(const char *id, const json_t *list, uint32_t base,
		struct container *c, struct err *e)
{
	_cleanup_close_ int folder = -1;
	struct err other = ERR_INIT;
	struct file_params q;
	const json_t *j;
	size_t i;
	int r = 0, one;

	if (json_array_size(list) == 0)
		return 0;
	folder = open_folder(id, !c, e);
	if (folder < 0)
		return folder;
	/* One that cannot be put there does not keep back the others. */
	json_array_foreach(list, i, j) {
		memset(&q, 0, sizeof(q));
		one = read_file_params(j, &q, r < 0 ? &other : e);
		if (one == 0)
			one = put_file(folder, id, &q, base, c,
				       r < 0 ? &other : e);
		if (r == 0)
			r = one;
	}
	return r;
}

int files_remove(const char *id, struct err *e)
{
	char path[128];

	snprintf(path, sizeof(path), FILES "/%s", id);
	return path_remove(path, e);
}
