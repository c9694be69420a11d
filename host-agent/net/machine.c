/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's part of its tenant's network. */
#include "common/base/cleanup.h"
#include "host-agent/net/internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define TUN_NODE "/dev/net/tun"

void net_machine_address(unsigned int number, struct net_machine *ret)
{
	struct in_addr a;

	inet_pton(AF_INET, HYB_NET_ADDRESS, &a);
	a.s_addr = htonl(ntohl(a.s_addr) + number);
	inet_ntop(AF_INET, &a, ret->ip, sizeof(ret->ip));
	snprintf(ret->mac, sizeof(ret->mac), "02:68:79:%02x:%02x:%02x",
		 number >> 16 & 0xff, number >> 8 & 0xff, number & 0xff);
	snprintf(ret->tap, sizeof(ret->tap), "tap%u", number);
}

static int check(const char *tenant, unsigned int number, struct err *e)
{
	int r = net_check_tenant(tenant, e);

	if (r < 0)
		return r;
	if (number < 1 || number > HYB_NET_NUMBER_MAX)
		return err_set(e, ERANGE, "there is no machine %u: 1 ... %u",
			       number, HYB_NET_NUMBER_MAX);
	return 0;
}

/* -------------------------------------------- in the tenant's namespace */

struct work {
	struct net *n;
	const char *tenant;
	unsigned int number;
	const char *host_name;
	struct net_machine m;
	uint16_t port;
	int fd; /* the result */
};

static int attach_tap(const char *name, int *ret, struct err *e)
{
	_cleanup_close_ int fd =
		open(TUN_NODE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int r;

	if (fd < 0) {
		r = err_sys(e, errno, "open '" TUN_NODE "'");
		if (r == -ENOENT || r == -ENODEV)
			err_hint(e, "the host's kernel needs its module tun: "
				    "`modprobe tun`");
		return r;
	}
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &req) < 0) {
		r = err_sys(e, errno, "make the tap '%s'", name);
		if (r == -EBUSY)
			err_hint(e, "a QEMU has it still");
		return r;
	}
	*ret = steal_fd(&fd);
	return 0;
}

/* A QEMU that was taken over can make its tap persistent, and leave it with
 * settings of its own: the last descriptor of one that is not takes it along. */
static int make_tap(const char *name, int *ret, struct err *e)
{
	bool left = if_nametoindex(name) != 0;
	_cleanup_close_ int fd = -1;
	int r = attach_tap(name, &fd, e);

	if (r == 0 && left) {
		if (ioctl(fd, TUNSETPERSIST, 0) < 0)
			return err_sys(e, errno, "remove the old tap '%s'",
				       name);
		cleanup_close(&fd);
		r = attach_tap(name, &fd, e);
	}
	if (r == 0)
		*ret = steal_fd(&fd);
	return r;
}

/* Filters first: the tap comes up behind them. */
static int do_add(void *arg, struct err *e)
{
	_cleanup_(cleanup_nl_sock) struct nl_sock *s = NULL;
	struct work *w = arg;
	_cleanup_close_ int tap = -1;
	int r = make_tap(w->m.tap, &tap, e);

	if (r == 0)
		r = dhcp_add(w->n, w->tenant, w->number, w->host_name, e);
	if (r == 0)
		r = filter_machine(&w->m, e);
	if (r == 0)
		r = link_open(&s, e);
	if (r == 0)
		r = link_port(s, &w->m, e);
	if (r == 0)
		w->fd = steal_fd(&tap);
	return r;
}

static int do_remove(void *arg, struct err *e)
{
	_cleanup_(cleanup_nl_sock) struct nl_sock *s = NULL;
	struct work *w = arg;
	int r = link_open(&s, e);

	if (r == 0)
		r = link_forget(s, &w->m, e);
	/* Where a tenant was cut short there may be no filter. */
	if (r == 0)
		r = filter_tenant(w->n, w->tenant, e);
	return r < 0 ? r : filter_forget(&w->m, e);
}

static int do_connect(void *arg, struct err *e)
{
	_cleanup_close_ int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct work *w = arg;
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(w->port)};

	inet_pton(AF_INET, w->m.ip, &to.sin_addr);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 &&
	    errno != EINPROGRESS)
		return err_sys(e, errno, "connect to %s:%u", w->m.ip, w->port);
	w->fd = steal_fd(&fd);
	return 0;
}

/* -------------------------------------------------------------- outside */

int net_machine_add(struct net *n, const char *tenant, unsigned int number,
		    const char *host_name, struct net_machine *ret, int *ret_fd,
		    struct err *e)
{
	_cleanup_unlock_ pthread_mutex_t *lock = tenant_lock(n, tenant);
	struct work w = {.n = n,
			 .tenant = tenant,
			 .number = number,
			 .host_name = host_name,
			 .fd = -1};
	_cleanup_close_ int ns = -1;
	int r = check(tenant, number, e);

	if (r == 0 && host_name && !name_is_valid(host_name))
		r = err_set(e, EINVAL, "'%s' is no name of a machine",
			    host_name);
	if (r == 0)
		r = tenant_ensure(n, tenant, &ns, e);
	if (r < 0)
		return r;
	net_machine_address(number, &w.m);
	r = pin_inside(ns, do_add, &w, e);
	if (r < 0)
		return err_wrap(e, "network of tenant '%s': machine %u", tenant,
				number);
	if (ret)
		*ret = w.m;
	*ret_fd = w.fd;
	return 0;
}

int net_machine_remove(struct net *n, const char *tenant, unsigned int number,
		       struct err *e)
{
	_cleanup_unlock_ pthread_mutex_t *lock = tenant_lock(n, tenant);
	struct work w = {.n = n, .tenant = tenant, .number = number, .fd = -1};
	_cleanup_close_ int ns = -1;
	int r = check(tenant, number, e);

	if (r < 0)
		return r;
	net_machine_address(number, &w.m);
	if (pin_open(n, tenant, &ns, NULL) == 0)
		r = pin_inside(ns, do_remove, &w, e);
	if (r == 0)
		r = dhcp_remove(n, tenant, number, e);
	return r < 0 ? err_wrap(e, "network of tenant '%s': remove machine %u",
				tenant, number)
		     : 0;
}

int net_connect(struct net *n, const char *tenant, unsigned int number,
		uint16_t port, int *ret_fd, struct err *e)
{
	struct work w = {.port = port, .fd = -1};
	int r = check(tenant, number, e);

	if (r < 0)
		return r;
	net_machine_address(number, &w.m);
	r = net_inside(n, tenant, do_connect, &w, e);
	if (r == 0)
		*ret_fd = w.fd;
	return r;
}
