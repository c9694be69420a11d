/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenant networks (docs/network.md): a network namespace for each tenant, which
 * holds a bridge, a tap for each machine, a DHCP server and packet filters. The
 * host's own interfaces, routes and filters are never touched, and there is no
 * way out of the namespace: a machine sees the bridge's own address, which
 * answers DHCP, ARP and echo, and what the host connects to it; not another
 * machine.
 *
 * All of it is made again or completed by net_tenant_ensure() whatever instant
 * a maker was killed at, and nothing of it ends with this process: a tap lives
 * as long as a descriptor of it, so as long as its QEMU.
 *
 * Any thread may call; calls for one tenant wait for each other. The caller's
 * thread never changes its namespace: each call makes one that does and ends.
 */
#ifndef HYB_HOST_NET_NET_H
#define HYB_HOST_NET_NET_H

#include "common/base/err.h"

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A machine's number: its MAC, its address and its tap's name follow from it.
 * The same in two tenants are two machines. */
#define HYB_NET_NUMBER_MAX 65000u
/* The bridge's own address, in every tenant: the DHCP server's. */
#define HYB_NET_ADDRESS "10.210.0.1"

struct net;

struct net_config {
	/* A descriptor of the mount namespace in which the namespaces are
	 * pinned (/proc/self/ns/mnt of a process that outlives this one, or of
	 * this one before it made one of its own); -1: the caller's. */
	int mnt_fd;
	const char *root;	/* ROOT; ROOT/net/ is made, 0700 */
	const char *dhcpd_path; /* hyb-dhcpd */
	uid_t dhcpd_uid;	/* reserved; owns no file and runs nothing */
	/* A DHCP server had ended and was started again (e is NULL), or could
	 * not be, which will be tried again. May be NULL. Called from a thread
	 * of this library's, with the tenant locked: it must not call it. */
	void (*on_restart)(void *arg, const char *tenant, const struct err *e);
	void *arg;
};

/* Opens ROOT/net, and watches the DHCP servers of the tenants that are ensured
 * from then on, with a thread: a program that forks calls this behind the fork.
 * net_close() leaves all that was made as it is. */
int net_open(const struct net_config *c, struct net **ret, struct err *e);
void net_close(struct net *n);

/*
 * The tenant's network is there and whole from then on: namespace, bridge,
 * filters, DHCP server. What is there already is left alone (machines that run
 * notice nothing), what is missing is made, a DHCP server that died is started
 * again. tenant is a name (name_is_valid()).
 */
int net_tenant_ensure(struct net *n, const char *tenant, struct err *e);
/* Ends its DHCP server and removes the namespace and all files. A tap that a
 * QEMU holds keeps the namespace alive without a name until that ends. No such
 * tenant is fine. */
int net_tenant_remove(struct net *n, const char *tenant, struct err *e);

struct net_machine {
	char tap[IFNAMSIZ];
	char mac[18]; /* "02:68:79:00:00:07" */
	char ip[16];  /* "10.210.0.8" */
};

/* What follows from a number (1 ... HYB_NET_NUMBER_MAX): no network is needed
 * for it. */
void net_machine_address(unsigned int number, struct net_machine *ret);

/*
 * A tap for a machine, as a port of the tenant's bridge (net_tenant_ensure()
 * is part of it); *ret_fd: its descriptor, O_CLOEXEC, non-blocking, with
 * IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, one queue. The tap is gone with the last
 * descriptor: so give it to QEMU and close it. host_name is what DHCP tells
 * the guest it is called (a name_is_valid() name; a few that dnsmasq has another
 * meaning for are not told), NULL: nothing.
 * -EBUSY: a QEMU has this machine's tap. ret may be NULL.
 */
int net_machine_add(struct net *n, const char *tenant, unsigned int number,
		    const char *host_name, struct net_machine *ret, int *ret_fd,
		    struct err *e);
/* Removes what the tenant's network knows of the machine, and its tap even if a
 * QEMU still has it. No such machine, and no such tenant, is fine. */
int net_machine_remove(struct net *n, const char *tenant, unsigned int number,
		       struct err *e);

struct net_wanted {
	const char *tenant;
	unsigned int number; /* 0: the tenant's network, without a machine */
};

/*
 * After a start: removes tenants and machines that are not in the list, and
 * ensures the tenants that are. What cannot be removed or made is left for the
 * next sweep: the first error is returned, the others are still gone through.
 */
int net_sweep(struct net *n, const struct net_wanted *wanted, size_t n_wanted,
	      struct err *e);

/* A descriptor of the tenant's namespace for setns(), O_CLOEXEC. -ENOENT: there
 * is no such network. */
int net_namespace(struct net *n, const char *tenant, int *ret_fd,
		  struct err *e);

/*
 * Runs fn in a thread of its own that is in the tenant's namespace, and returns
 * what it returns; sockets that it makes and processes that it starts are of
 * that namespace. (PR_SET_PDEATHSIG would kill such a process at once: the
 * thread ends.) fn gets e.
 */
int net_inside(struct net *n, const char *tenant,
	       int (*fn)(void *arg, struct err *e), void *arg, struct err *e);

/* A non-blocking TCP socket of the tenant's namespace that is connecting to the
 * machine's port: POLLOUT and SO_ERROR say how that ended. */
int net_connect(struct net *n, const char *tenant, unsigned int number,
		uint16_t port, int *ret_fd, struct err *e);

#endif
