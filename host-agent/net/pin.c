/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namespace of a tenant is pinned by a mount over ROOT/net/TENANT/ns: it
 * lives when nobody is in it, and the next hybd finds it.
 *
 * Where that mount is gone though the namespace lives (hybd's mount namespace
 * ended with it, as a service manager may arrange), the DHCP server is asked:
 * it is in the namespace.
 */
#include "common/base/cleanup.h"
#include "host-agent/net/internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define OWN_NET "/proc/thread-self/ns/net"

/* A thread that enters namespaces and ends: none of ours ever comes back. */
struct visit {
	int mnt, net; /* -1: stays */
	int (*fn)(void *arg, struct err *e);
	void *arg;
	struct err *e;
	int result;
};

static void *visit_main(void *arg)
{
	struct visit *v = arg;

	/* A mount namespace is entered only by who has a working directory of
	 * its own. */
	if (v->mnt >= 0 &&
	    (unshare(CLONE_FS) < 0 || setns(v->mnt, CLONE_NEWNS) < 0))
		v->result = err_sys(v->e, errno, "enter the mount namespace");
	else if (v->net >= 0 && setns(v->net, CLONE_NEWNET) < 0)
		v->result = err_sys(v->e, errno, "enter the network namespace");
	else
		v->result = v->fn(v->arg, v->e);
	return NULL;
}

static int visit(struct visit *v)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, visit_main, v);

	if (r)
		return err_sys(v->e, r, "start a thread");
	pthread_join(t, NULL);
	return v->result;
}

int pin_inside(int ns, int (*fn)(void *arg, struct err *e), void *arg,
	       struct err *e)
{
	struct visit v = {.mnt = -1, .net = ns, .fn = fn, .arg = arg, .e = e};

	return visit(&v);
}

bool pin_same(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

struct pin {
	char path[PATH_MAX];
	int found; /* to be pinned; -1: a new one */
	int ns;
};

static int pin_run(struct net *n, struct pin *p,
		   int (*fn)(void *arg, struct err *e), struct err *e)
{
	struct visit v = {
		.mnt = n->mnt_fd, .net = -1, .fn = fn, .arg = p, .e = e};

	return visit(&v);
}

/* ------------------------------------------------ in the mount namespace */

/* 0, or -ENOENT: nothing is mounted there. */
static int look(struct pin *p)
{
	_cleanup_close_ int fd = open(p->path, O_RDONLY | O_CLOEXEC);
	struct statfs st;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &st) < 0)
		return -errno;
	if (st.f_type != NSFS_MAGIC)
		return -ENOENT;
	p->ns = steal_fd(&fd);
	return 0;
}

static int do_open(void *arg, struct err *e)
{
	struct pin *p = arg;
	int r = look(p);

	return r < 0 ? err_sys(e, -r, "open '%s'", p->path) : 0;
}

static int do_make(void *arg, struct err *e)
{
	struct pin *p = arg;
	char source[64] = OWN_NET;
	int r = look(p), fd;

	if (r == 0)
		return 0;
	if (r != -ENOENT)
		return err_sys(e, -r, "open '%s'", p->path);
	fd = open(p->path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "make '%s'", p->path);
	close(fd);
	if (p->found >= 0)
		snprintf(source, sizeof(source), "/proc/thread-self/fd/%d",
			 p->found);
	else if (unshare(CLONE_NEWNET) < 0)
		return err_sys(e, errno, "make a network namespace");
	if (mount(source, p->path, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "pin the network namespace at '%s'",
			       p->path);
	return do_open(p, e);
}

static int do_remove(void *arg, struct err *e)
{
	struct pin *p = arg;

	while (umount2(p->path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		continue;
	/* EINVAL: nothing is mounted there (any more). */
	if (errno != EINVAL && errno != ENOENT)
		return err_sys(e, errno, "unmount '%s'", p->path);
	if (unlink(p->path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", p->path);
	return 0;
}

/* ------------------------------------------------------------- outside */

static void pin_init(struct net *n, const char *tenant, struct pin *p)
{
	*p = (struct pin){.found = -1, .ns = -1};
	net_path(n, tenant, "ns", p->path);
}

int pin_open(struct net *n, const char *tenant, int *ret_ns, struct err *e)
{
	struct pin p;
	int r;

	pin_init(n, tenant, &p);
	r = pin_run(n, &p, do_open, e);
	if (r == 0)
		*ret_ns = p.ns;
	return r;
}

int pin_make(struct net *n, const char *tenant, int *ret_ns, struct err *e)
{
	_cleanup_close_ int found = -1;
	struct pin p;
	int r;

	pin_init(n, tenant, &p);
	r = pin_run(n, &p, do_open, NULL);
	if (r < 0) {
		found = dhcp_namespace(n, tenant);
		p.found = found;
		r = pin_run(n, &p, do_make, e);
	}
	if (r == 0)
		*ret_ns = p.ns;
	return r;
}

int pin_remove(struct net *n, const char *tenant, struct err *e)
{
	struct pin p;

	pin_init(n, tenant, &p);
	return pin_run(n, &p, do_remove, e);
}
