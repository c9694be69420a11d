/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants. What there is of one, in the order in which it is made, and the
 * other way round removed:
 *
 *   ROOT/net/TENANT/        the folder: from here on there is something
 *   ROOT/net/TENANT/hosts/  its machines (dhcp.c)
 *   ROOT/net/TENANT/ns      the namespace (pin.c)
 *     settings, filters, bridge (link.c, filter.c)
 *   ROOT/net/TENANT/dhcpd   the DHCP server (dhcp.c)
 *
 * Each step finds out whether it was done before, so whoever is killed between
 * two of them leaves what the next one completes.
 */
#include "host-agent/net/net.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/net/internal.h"

void net_path(const struct net *n, const char *tenant, const char *name,
	      char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s%s%s", n->root, tenant, *name ? "/" : "",
		 name);
}

int net_open(const struct net_config *c, struct net **ret, struct err *e)
{
	struct net *n;
	size_t i;
	int r;

	if (!c->dhcpd_uid)
		return err_set(e, EINVAL, "the DHCP server cannot be root");
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_sys(e, ENOMEM, "open the networks");
	n->dhcpd_uid = c->dhcpd_uid;
	n->mnt_fd = c->mnt_fd;
	n->on_restart = c->on_restart;
	n->arg = c->arg;
	r = snprintf(n->root, sizeof(n->root), "%s/net", c->root);
	if (r >= (int)sizeof(n->root) ||
	    snprintf(n->dhcpd_path, sizeof(n->dhcpd_path), "%s",
		     c->dhcpd_path) >= (int)sizeof(n->dhcpd_path))
		r = err_sys(e, ENAMETOOLONG, "open '%s/net'", c->root);
	else
		r = dir_make(n->root, 0700, e);
	for (i = 0; i < NET_LOCKS; i++)
		pthread_mutex_init(&n->locks[i], NULL);
	if (r == 0)
		r = watch_start(n, e);
	if (r < 0) {
		free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void net_close(struct net *n)
{
	size_t i;

	if (!n)
		return;
	watch_stop(n);
	for (i = 0; i < NET_LOCKS; i++)
		pthread_mutex_destroy(&n->locks[i]);
	free(n);
}

pthread_mutex_t *tenant_lock(struct net *n, const char *tenant)
{
	unsigned int sum = 0;
	const char *c;

	for (c = tenant; *c; c++)
		sum += (unsigned char)*c;
	pthread_mutex_lock(&n->locks[sum % NET_LOCKS]);
	return &n->locks[sum % NET_LOCKS];
}

void tenant_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

int net_check_tenant(const char *tenant, struct err *e)
{
	return name_is_valid(tenant)
		       ? 0
		       : err_set(e, EINVAL, "'%s' is no name of a tenant",
				 tenant);
}

/* ----------------------------------------------------------------- ensure */

struct fill {
	struct net *n;
	const char *tenant;
};

/* The bridge is up when all that guards it is there. */
static int do_fill(void *arg, struct err *e)
{
	const struct fill *f = arg;
	_cleanup_(cleanup_nl_sock) struct nl_sock *s = NULL;
	int r = link_settings(e);

	if (r == 0)
		r = filter_tenant(f->n, f->tenant, e);
	if (r == 0)
		r = link_open(&s, e);
	return r < 0 ? r : link_bridge(s, e);
}

static int make_folders(struct net *n, const char *tenant, struct err *e)
{
	char path[PATH_MAX];
	int r;

	net_path(n, tenant, "", path);
	r = dir_make(path, 0700, e);
	net_path(n, tenant, "hosts", path);
	/* The DHCP server gets a descriptor of it. */
	return r < 0 ? r : dir_make(path, 0755, e);
}

int tenant_ensure(struct net *n, const char *tenant, int *ret_ns, struct err *e)
{
	struct fill f = {.n = n, .tenant = tenant};
	_cleanup_close_ int ns = -1;
	int r = make_folders(n, tenant, e);

	if (r == 0)
		r = pin_make(n, tenant, &ns, e);
	if (r == 0)
		r = pin_inside(ns, do_fill, &f, e);
	if (r == 0)
		r = dhcp_ensure(n, tenant, ns, e);
	if (r < 0)
		return err_wrap(e, "network of tenant '%s'", tenant);
	*ret_ns = steal_fd(&ns);
	return 0;
}

int net_tenant_ensure(struct net *n, const char *tenant, struct err *e)
{
	_cleanup_unlock_ pthread_mutex_t *lock = tenant_lock(n, tenant);
	_cleanup_close_ int ns = -1;
	int r = net_check_tenant(tenant, e);

	return r < 0 ? r : tenant_ensure(n, tenant, &ns, e);
}

/* ----------------------------------------------------------------- remove */

/* A QEMU may hold the namespace a while longer: with nothing in it that its
 * tap could speak to. */
static int do_empty(void *arg, struct err *e)
{
	_cleanup_(cleanup_nl_sock) struct nl_sock *s = NULL;
	int r = link_open(&s, e);

	(void)arg;
	return r < 0 ? r : link_delete(s, NET_BRIDGE, e);
}

int net_tenant_remove(struct net *n, const char *tenant, struct err *e)
{
	_cleanup_unlock_ pthread_mutex_t *lock = tenant_lock(n, tenant);
	_cleanup_close_ int ns = -1;
	char path[PATH_MAX];
	int r = net_check_tenant(tenant, e);

	if (r < 0)
		return r;
	net_path(n, tenant, "", path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = dhcp_stop(n, tenant, e);
	if (r == 0 && pin_open(n, tenant, &ns, NULL) == 0)
		r = pin_inside(ns, do_empty, NULL, e);
	if (r == 0)
		r = pin_remove(n, tenant, e);
	if (r == 0)
		r = path_remove(path, e);
	return r < 0 ? err_wrap(e, "remove the network of tenant '%s'", tenant)
		     : 0;
}

/* ------------------------------------------------------------------ sweep */

struct sweep {
	struct net *n;
	const struct net_wanted *wanted;
	size_t n_wanted;
	const char *tenant;
	struct err *first; /* may be NULL */
	int result;
};

static void note(struct sweep *s, int r, const struct err *e)
{
	if (r == 0 || s->result < 0)
		return;
	s->result = r;
	if (s->first)
		*s->first = *e;
}

static bool is_wanted(const struct sweep *s, const char *tenant,
		      unsigned int number)
{
	size_t i;

	for (i = 0; i < s->n_wanted; i++)
		if (strcmp(s->wanted[i].tenant, tenant) == 0 &&
		    (!number || s->wanted[i].number == number))
			return true;
	return false;
}

static int sweep_machine(void *arg, unsigned int number)
{
	struct sweep *s = arg;
	struct err e = ERR_INIT;

	if (!is_wanted(s, s->tenant, number))
		note(s, net_machine_remove(s->n, s->tenant, number, &e), &e);
	return 0;
}

static void sweep_tenant(struct sweep *s, const char *tenant)
{
	struct err e = ERR_INIT;

	s->tenant = tenant;
	if (!is_wanted(s, tenant, 0)) {
		note(s, net_tenant_remove(s->n, tenant, &e), &e);
		return;
	}
	note(s, dhcp_each(s->n, tenant, sweep_machine, s, &e), &e);
}

int net_sweep(struct net *n, const struct net_wanted *wanted, size_t n_wanted,
	      struct err *e)
{
	struct sweep s = {
		.n = n, .wanted = wanted, .n_wanted = n_wanted, .first = e};
	_cleanup_closedir_ DIR *dir = opendir(n->root);
	struct dirent *d;
	size_t i, k;

	if (!dir)
		return err_sys(e, errno, "open '%s'", n->root);
	while ((d = readdir(dir)))
		if (name_is_valid(d->d_name))
			sweep_tenant(&s, d->d_name);
	for (i = 0; i < n_wanted; i++) {
		struct err one = ERR_INIT;

		for (k = 0; k < i; k++)
			if (strcmp(wanted[k].tenant, wanted[i].tenant) == 0)
				break;
		if (k == i)
			note(&s, net_tenant_ensure(n, wanted[i].tenant, &one),
			     &one);
	}
	return s.result;
}

/* ------------------------------------------------------------------ inside */

int net_namespace(struct net *n, const char *tenant, int *ret_fd, struct err *e)
{
	int r = net_check_tenant(tenant, e);

	return r < 0 ? r : pin_open(n, tenant, ret_fd, e);
}

int net_inside(struct net *n, const char *tenant,
	       int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	_cleanup_close_ int ns = -1;
	int r = net_namespace(n, tenant, &ns, e);

	if (r < 0)
		return err_wrap(e, "network of tenant '%s'", tenant);
	return pin_inside(ns, fn, arg, e);
}
