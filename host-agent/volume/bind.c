/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/volume/bind.h"

#include "common/base/cleanup.h"
#include "common/base/parse.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---------------------------------------------------------------- the policy */

static bool is_plain(const char *s)
{
	const char *end;

	if (s[0] != '/' || !s[1])
		return false;
	for (; *s; s = end) {
		s++;
		end = s + strcspn(s, "/");
		if (end == s || (end - s == 1 && s[0] == '.') ||
		    (end - s == 2 && s[0] == '.' && s[1] == '.'))
			return false;
	}
	return true;
}

int bind_policy_add(struct bind_policy *p, const char *text, struct err *e)
{
	static const char *const never[] = {"/proc", "/sys", "/dev"};
	struct bind_allow a = {.writes = false};
	const char *mode = strrchr(text, ':');
	size_t len = strlen(text), i;

	if (mode && (strcmp(mode, ":ro") == 0 || strcmp(mode, ":rw") == 0)) {
		a.writes = mode[2] == 'w';
		len = (size_t)(mode - text);
	}
	if (len >= sizeof(a.path))
		return err_set(e, EINVAL, "allow bind: the path is too long");
	memcpy(a.path, text, len);
	if (!is_plain(a.path))
		return err_set(e, EINVAL,
			       "allow bind '%s': PATH, PATH:ro or PATH:rw with "
			       "an absolute path in its plainest form",
			       text);
	for (i = 0; i < ARRAY_SIZE(never); i++)
		if (path_is_below(a.path, never[i]))
			return err_set(e, EINVAL,
				       "allow bind '%s': the kernel's own "
				       "places are not shared",
				       text);
	if (p->n == BIND_ALLOW_MAX)
		return err_set(e, EINVAL, "allow bind: at most %d paths",
			       BIND_ALLOW_MAX);
	p->allow[p->n++] = a;
	return 0;
}

int bind_policy_add_all(struct bind_policy *p, const char *text, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *item, *next;
	int r = 0;

	if (!copy)
		return err_sys(e, ENOMEM, "allow bind");
	for (item = copy; item && r == 0; item = next) {
		next = strchr(item, ',');
		if (next)
			*next++ = '\0';
		if (*item)
			r = bind_policy_add(p, item, e);
	}
	return r;
}

int bind_policy_check(const struct bind_policy *p, const char *root,
		      struct err *e)
{
	char own[PATH_MAX], real[PATH_MAX];
	size_t i;

	if (!realpath(root, own))
		return err_sys(e, errno, "root '%s'", root);
	for (i = 0; i < p->n; i++) {
		/* One that is not there (yet) is what it says. */
		if (!realpath(p->allow[i].path, real))
			memcpy(real, p->allow[i].path,
			       sizeof(p->allow[i].path));
		if (path_is_below(real, own) || path_is_below(own, real) ||
		    strcmp(real, "/") == 0)
			return err_set(e, EINVAL,
				       "allow bind '%s': hyb's own root '%s' "
				       "is not shared",
				       p->allow[i].path, root);
	}
	return 0;
}

/* ------------------------------------------------------ a folder or file */

/* The longest that holds it is the one that counts. */
static const struct bind_allow *find_allow(const struct bind_policy *p,
					   const char *source)
{
	const struct bind_allow *best = NULL;
	size_t i;

	for (i = 0; i < p->n; i++)
		if (path_is_below(source, p->allow[i].path) &&
		    (!best || strlen(p->allow[i].path) > strlen(best->path)))
			best = &p->allow[i];
	return best;
}

static int denied(const char *source, struct err *e)
{
	err_set(e, EPERM,
		"binding the host's '%s' is denied: the operator does not "
		"allow this path",
		source);
	err_hint(e, "the operator allows paths with `hybd --allow-bind PATH`; "
		    "use a volume, or a config or secret for single files");
	return -EPERM;
}

static int open_below(const struct bind_allow *a, const char *source,
		      struct err *e)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	const char *rest = source + strlen(a->path);
	_cleanup_close_ int top = -1;
	int fd, r;

	/* The operator's own path may be reached through links of his. */
	top = open(a->path, O_PATH | O_CLOEXEC);
	if (top < 0)
		return err_sys(e, errno, "bind '%s': open '%s'", source,
			       a->path);
	if (!*rest)
		return steal_fd(&top);
	fd = (int)syscall(SYS_openat2, top, rest + 1, &how, sizeof(how));
	if (fd < 0 && errno == ELOOP) {
		err_set(e, EPERM,
			"binding the host's '%s' is denied: there is a "
			"symbolic link on the way",
			source);
		err_hint(e, "bind the path that it leads to");
		return -EPERM;
	}
	if (fd >= 0)
		return fd;
	r = err_sys(e, errno, "bind '%s'", source);
	if (r == -ENOENT)
		err_hint(e, "hyb makes no folder on the host: make it before");
	return r;
}

static int check_kind(int fd, const char *source, struct stat *st,
		      struct err *e)
{
	if (fstat(fd, st) < 0)
		return err_sys(e, errno, "bind '%s'", source);
	if (S_ISLNK(st->st_mode))
		return err_set(e, EPERM,
			       "binding the host's '%s' is denied: it is a "
			       "symbolic link",
			       source);
	if (S_ISDIR(st->st_mode) || S_ISREG(st->st_mode))
		return 0;
	return err_set(e, ENOTDIR,
		       "bind '%s': it is neither a folder nor a regular file",
		       source);
}

/* As whom does the container's root act? Never as the host's, nor as hyb. */
static bool owner_is_free(const struct bind_policy *p, const struct stat *st)
{
	return st->st_uid != 0 && st->st_gid != 0 &&
	       (st->st_uid < p->reserved_first ||
		st->st_uid > p->reserved_last) &&
	       (st->st_gid < p->reserved_first ||
		st->st_gid > p->reserved_last);
}

int bind_open(const struct bind_policy *p, const char *source, bool read_only,
	      struct bind_folder *ret, struct err *e)
{
	const struct bind_allow *a = find_allow(p, source);
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (!a || !is_plain(source))
		return denied(source, e);
	if (!a->writes && !read_only) {
		err_set(e, EPERM,
			"binding the host's '%s' for writing is denied: the "
			"operator allows it to be read only",
			source);
		err_hint(e, "write `read_only: true`, or `:ro` at its end");
		return -EPERM;
	}
	fd = open_below(a, source, e);
	if (fd < 0)
		return fd;
	r = check_kind(fd, source, &st, e);
	if (r < 0)
		return r;
	ret->uid = ret->gid = p->nobody;
	if (owner_is_free(p, &st)) {
		ret->uid = st.st_uid;
		ret->gid = st.st_gid;
	} else if (!read_only) {
		err_set(e, EPERM,
			"binding the host's '%s' for writing is denied: it "
			"belongs to user %u and group %u, as whom no VM acts",
			source, st.st_uid, st.st_gid);
		err_hint(e, "give it to an ordinary user and group");
		return -EPERM;
	}
	ret->fd = steal_fd(&fd);
	return 0;
}
