/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef HYB_HOST_NET_INTERNAL_H
#define HYB_HOST_NET_INTERNAL_H

#include "common/base/parse.h"
#include "host-agent/net/net.h"

#include <limits.h>
#include <netlink/netlink.h>
#include <pthread.h>
#include <stdbool.h>

#define NET_BRIDGE     "br0"
#define NET_BRIDGE_MAC "02:68:79:00:00:00" /* machine 0, which there is not */
#define NET_PREFIX     16
#define NET_RANGE      "10.210.0.0"
#define NET_MASK       "255.255.0.0"
#define NET_LOCKS      16

struct net {
	char root[PATH_MAX / 2]; /* ROOT/net */
	char dhcpd_path[PATH_MAX];
	uid_t dhcpd_uid;
	int mnt_fd;
	/* One for tenants with the same sum of their letters. */
	pthread_mutex_t locks[NET_LOCKS];
	void (*on_restart)(void *arg, const char *tenant, const struct err *e);
	void *arg;
	/* watch.c; the lock is taken behind a tenant's, and guards both: */
	pthread_mutex_t watch_lock;
	struct watched *watched;
	bool closing;
	pthread_t watcher;
	int wake_fd;
};

/* ------------------------------------------------------------------ net.c */

/* A file of the tenant's: ROOT/net/TENANT/NAME; the folder for "". */
void net_path(const struct net *n, const char *tenant, const char *name,
	      char out[PATH_MAX]);
/* As net_tenant_ensure(), with the tenant's lock held; *ret_ns: its namespace. */
int tenant_ensure(struct net *n, const char *tenant, int *ret_ns,
		  struct err *e);
/* -EINVAL where it is no name. */
int net_check_tenant(const char *tenant, struct err *e);
pthread_mutex_t *tenant_lock(struct net *n, const char *tenant);
void tenant_unlock(pthread_mutex_t **lock);
#define _cleanup_unlock_ _cleanup_(tenant_unlock) __attribute__((unused))

/* ---------------------------------------------------------------- watch.c */

int watch_start(struct net *n, struct err *e);
void watch_stop(struct net *n);
/* The tenant's DHCP server is this process, which is watched from now on; the
 * caller keeps the descriptor. With the tenant's lock held, these two. */
int watch_add(struct net *n, const char *tenant, int pidfd, struct err *e);
void watch_drop(struct net *n, const char *tenant);

/* ------------------------------------------------------------------ pin.c */

/* The tenant's namespace, made or found again where it is not pinned; the
 * folder is there. */
int pin_make(struct net *n, const char *tenant, int *ret_ns, struct err *e);
/* -ENOENT: there is none. */
int pin_open(struct net *n, const char *tenant, int *ret_ns, struct err *e);
/* None is fine. */
int pin_remove(struct net *n, const char *tenant, struct err *e);
/* Runs fn in a thread that is in that network namespace. */
int pin_inside(int ns, int (*fn)(void *arg, struct err *e), void *arg,
	       struct err *e);
/* Whether both descriptors are of one namespace. */
bool pin_same(int a, int b);

/* ------------------------------- link.c: in the namespace, all of these */

int link_open(struct nl_sock **ret, struct err *e);
HYB_DEFINE_CLEANUP(nl_sock, nl_socket_free);
/* The kernel's settings of the namespace, and the bridge with its address. */
int link_settings(struct err *e);
int link_bridge(struct nl_sock *s, struct err *e);
/* The tap is a port of the bridge, and up; the bridge knows where the machine
 * is and asks nobody. */
int link_port(struct nl_sock *s, const struct net_machine *m, struct err *e);
int link_forget(struct nl_sock *s, const struct net_machine *m, struct err *e);
int link_delete(struct nl_sock *s, const char *name, struct err *e);

/* ----------------------------- filter.c: in the namespace, all of these */

/* The tenant's, and those of the machines that it has, unless just these are
 * loaded. */
int filter_tenant(struct net *n, const char *tenant, struct err *e);
int filter_machine(const struct net_machine *m, struct err *e);
int filter_forget(const struct net_machine *m, struct err *e);

/* ----------------------------------------------------------------- dhcp.c */

/* It runs, and answers; ns: the tenant's namespace. */
int dhcp_ensure(struct net *n, const char *tenant, int ns, struct err *e);
int dhcp_stop(struct net *n, const char *tenant, struct err *e);
/* The namespace that the tenant's DHCP server runs in. -ESRCH: there is none. */
int dhcp_namespace(struct net *n, const char *tenant);
/* What it tells the machine. */
int dhcp_add(struct net *n, const char *tenant, unsigned int number,
	     const char *host_name, struct err *e);
int dhcp_remove(struct net *n, const char *tenant, unsigned int number,
		struct err *e);
/* Calls fn for each machine that it knows of, until one fails. */
int dhcp_each(struct net *n, const char *tenant,
	      int (*fn)(void *arg, unsigned int number), void *arg,
	      struct err *e);

#endif
