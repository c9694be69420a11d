/* SPDX-License-Identifier: Apache-2.0 */
/* Links, addresses and neighbours of the namespace that the thread is in. */
#include "common/base/cleanup.h"
#include "host-agent/net/internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <netlink/msg.h>

HYB_DEFINE_CLEANUP(nl_msg, nlmsg_free);

/* --------------------------------------------------------------- settings */

/* Much of this is the host's own setting in a new namespace, so each is set.
 * Those of IPv6 and of bridges are there where the kernel has it. */
static const struct {
	const char *path, *value;
	bool optional;
} settings[] = {
	{"net/ipv4/ip_forward", "0", false},
	{"net/ipv4/conf/all/rp_filter", "1", false},
	{"net/ipv4/conf/default/rp_filter", "1", false},
	{"net/ipv4/conf/all/accept_redirects", "0", false},
	{"net/ipv4/conf/default/accept_redirects", "0", false},
	{"net/ipv4/conf/all/send_redirects", "0", false},
	{"net/ipv4/conf/default/send_redirects", "0", false},
	{"net/ipv4/conf/all/accept_source_route", "0", false},
	{"net/ipv4/conf/default/accept_source_route", "0", false},
	{"net/ipv4/conf/all/proxy_arp", "0", false},
	{"net/ipv4/conf/default/proxy_arp", "0", false},
	/* Answers are told for addresses of this interface alone, and what
	 * nobody asked for is not believed. */
	{"net/ipv4/conf/all/arp_ignore", "1", false},
	{"net/ipv4/conf/all/arp_accept", "0", false},
	/* The DHCP server binds port 67, with no capability. */
	{"net/ipv4/ip_unprivileged_port_start", "67", false},
	{"net/ipv6/conf/all/disable_ipv6", "1", true},
	{"net/ipv6/conf/default/disable_ipv6", "1", true},
	{"net/bridge/bridge-nf-call-iptables", "0", true},
	{"net/bridge/bridge-nf-call-arptables", "0", true},
	{"net/bridge/bridge-nf-call-ip6tables", "0", true},
};

/* /proc/sys/net is that of the thread's namespace. */
int link_settings(struct err *e)
{
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		size_t len = strlen(settings[i].value);
		_cleanup_close_ int fd = -1;

		snprintf(path, sizeof(path), "/proc/sys/%s", settings[i].path);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && settings[i].optional)
			continue;
		if (fd < 0 || write(fd, settings[i].value, len) != (ssize_t)len)
			return err_sys(e, errno, "write '%s' to '%s'",
				       settings[i].value, path);
	}
	return 0;
}

/* --------------------------------------------------------------- requests */

int link_open(struct nl_sock **ret, struct err *e)
{
	_cleanup_(cleanup_nl_sock) struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "make a netlink socket");
	r = nl_connect(s, NETLINK_ROUTE);
	if (r < 0)
		return err_set(e, EIO, "make a netlink socket: %s",
			       nl_geterror(r));
	*ret = steal_ptr(s);
	return 0;
}

/* Of the errors of libnl, those that somebody asks for. */
static int to_errno(int nl_error)
{
	switch (-nl_error) {
	case NLE_EXIST:
		return EEXIST;
	case NLE_OBJ_NOTFOUND:
	case NLE_NODEV:
		return ENOENT;
	case NLE_PERM:
		return EPERM;
	case NLE_BUSY:
		return EBUSY;
	case NLE_NOMEM:
		return ENOMEM;
	default:
		return EIO;
	}
}

/* Sends it and waits for the answer; the text of the error says what was to be
 * done (as for printf). Building it fails for want of memory only, which the
 * sender finds out. */
__attribute__((format(printf, 4, 5))) static int request(struct nl_sock *s,
							 struct nl_msg *m,
							 struct err *e,
							 const char *fmt, ...)
{
	char what[128];
	va_list ap;
	int r;

	if (!m)
		return err_sys(e, ENOMEM, "make a netlink message");
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	r = nl_send_auto(s, m);
	if (r >= 0)
		r = nl_wait_for_ack(s);
	if (r < 0)
		return err_set(e, to_errno(r), "%s: %s", what, nl_geterror(r));
	return 0;
}

static struct nl_msg *message(int type, int flags, const void *head, size_t len)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, NLM_F_ACK | flags);

	if (m &&
	    nlmsg_append(m, (void *)(uintptr_t)head, len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

/* Whole attributes or none: a message without one would ask for something
 * else. */
static struct nl_msg *checked(struct nl_msg *m, int failed)
{
	if (m && failed) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

static int index_of(const char *name, struct err *e)
{
	unsigned int i = if_nametoindex(name);

	return i ? (int)i : err_sys(e, errno, "find the interface '%s'", name);
}

static int set_up(struct nl_sock *s, const char *name, int index, struct err *e)
{
	const struct ifinfomsg head = {
		.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m =
		message(RTM_NEWLINK, 0, &head, sizeof(head));

	return request(s, m, e, "set '%s' up", name);
}

/* ----------------------------------------------------------------- bridge */

/* No tree, no groups, no waiting, a MAC that does not follow its ports'. */
static int put_bridge(struct nl_msg *m)
{
	struct ether_addr mac;
	struct nlattr *info, *data;
	int failed = 0;

	ether_aton_r(NET_BRIDGE_MAC, &mac);
	failed |= nla_put_string(m, IFLA_IFNAME, NET_BRIDGE);
	failed |= nla_put(m, IFLA_ADDRESS, sizeof(mac), &mac);
	info = nla_nest_start(m, IFLA_LINKINFO);
	if (!info)
		return -1;
	failed |= nla_put_string(m, IFLA_INFO_KIND, "bridge");
	data = nla_nest_start(m, IFLA_INFO_DATA);
	if (!data)
		return -1;
	failed |= nla_put_u32(m, IFLA_BR_STP_STATE, 0);
	failed |= nla_put_u32(m, IFLA_BR_FORWARD_DELAY, 0);
	failed |= nla_put_u8(m, IFLA_BR_MCAST_SNOOPING, 0);
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	return failed;
}

static int add_address(struct nl_sock *s, int index, struct err *e)
{
	const struct ifaddrmsg head = {.ifa_family = AF_INET,
				       .ifa_prefixlen = NET_PREFIX,
				       .ifa_index = (unsigned int)index};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m = message(
		RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	struct in_addr a;

	inet_pton(AF_INET, HYB_NET_ADDRESS, &a);
	m = checked(m, m && (nla_put(m, IFA_LOCAL, sizeof(a), &a) |
			     nla_put(m, IFA_ADDRESS, sizeof(a), &a)));
	return request(s, m, e, "give '%s' the address %s", NET_BRIDGE,
		       HYB_NET_ADDRESS);
}

static int make_bridge(struct nl_sock *s, struct err *e)
{
	const struct ifinfomsg head = {.ifi_index = 0};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m = message(
		RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));

	m = checked(m, m && put_bridge(m));
	return request(s, m, e, "make the bridge '%s'", NET_BRIDGE);
}

/* One that is there is left alone: to be told its MAC again would make the
 * kernel forget where the machines are. */
int link_bridge(struct nl_sock *s, struct err *e)
{
	int r = 0, index;

	if (!if_nametoindex(NET_BRIDGE))
		r = make_bridge(s, e);
	if (r < 0)
		return r;
	index = index_of(NET_BRIDGE, e);
	if (index < 0)
		return index;
	r = add_address(s, index, e);
	return r < 0 ? r : set_up(s, NET_BRIDGE, index, e);
}

/* ------------------------------------------------------------------ ports */

static int set_master(struct nl_sock *s, const char *tap, int index, int bridge,
		      struct err *e)
{
	const struct ifinfomsg head = {.ifi_index = index};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m =
		message(RTM_NEWLINK, 0, &head, sizeof(head));

	m = checked(m, m && nla_put_u32(m, IFLA_MASTER, (uint32_t)bridge));
	return request(s, m, e, "make '%s' a port of '%s'", tap, NET_BRIDGE);
}

/* Isolated ports speak to the bridge alone. Where a MAC is, is told by us and
 * never learned; what is for nobody goes to nobody. */
static int put_port(struct nl_msg *m)
{
	static const struct {
		int type;
		uint8_t value;
	} flags[] = {
		{IFLA_BRPORT_ISOLATED, 1},	{IFLA_BRPORT_LEARNING, 0},
		{IFLA_BRPORT_UNICAST_FLOOD, 0}, {IFLA_BRPORT_MCAST_FLOOD, 0},
		{IFLA_BRPORT_GUARD, 1},
	};
	struct nlattr *info, *data;
	int failed = 0;
	size_t i;

	info = nla_nest_start(m, IFLA_LINKINFO);
	if (!info)
		return -1;
	failed |= nla_put_string(m, IFLA_INFO_SLAVE_KIND, "bridge");
	data = nla_nest_start(m, IFLA_INFO_SLAVE_DATA);
	if (!data)
		return -1;
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		failed |= nla_put_u8(m, flags[i].type, flags[i].value);
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	return failed;
}

static int set_port(struct nl_sock *s, const char *tap, int index,
		    struct err *e)
{
	const struct ifinfomsg head = {.ifi_index = index};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m =
		message(RTM_NEWLINK, 0, &head, sizeof(head));

	m = checked(m, m && put_port(m));
	return request(s, m, e, "isolate '%s'", tap);
}

/* An entry of the neighbour table (AF_INET) or of the bridge's table of
 * addresses (AF_BRIDGE). */
static struct nl_msg *neighbour(int type, int flags, int family, int index,
				const struct net_machine *mc)
{
	const struct ndmsg head = {
		.ndm_family = (uint8_t)family,
		.ndm_ifindex = index,
		.ndm_state = family == AF_INET ? NUD_PERMANENT : NUD_NOARP,
		.ndm_flags = family == AF_INET ? 0 : NTF_MASTER,
	};
	struct nl_msg *m = message(type, flags, &head, sizeof(head));
	struct ether_addr mac;
	struct in_addr ip;

	ether_aton_r(mc->mac, &mac);
	inet_pton(AF_INET, mc->ip, &ip);
	m = checked(m, m && nla_put(m, NDA_LLADDR, sizeof(mac), &mac));
	if (family == AF_INET)
		m = checked(m, m && nla_put(m, NDA_DST, sizeof(ip), &ip));
	return m;
}

static int add_neighbour(struct nl_sock *s, int family, int index,
			 const struct net_machine *mc, struct err *e)
{
	_cleanup_(cleanup_nl_msg) struct nl_msg *m = neighbour(
		RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, family, index, mc);

	return request(s, m, e, "say that %s, %s is at '%s'", mc->mac, mc->ip,
		       mc->tap);
}

int link_port(struct nl_sock *s, const struct net_machine *mc, struct err *e)
{
	int bridge = index_of(NET_BRIDGE, e), tap, r;

	if (bridge < 0)
		return bridge;
	tap = index_of(mc->tap, e);
	if (tap < 0)
		return tap;
	r = set_master(s, mc->tap, tap, bridge, e);
	if (r == 0)
		r = set_port(s, mc->tap, tap, e);
	if (r == 0)
		r = add_neighbour(s, AF_BRIDGE, tap, mc, e);
	if (r == 0)
		r = add_neighbour(s, AF_INET, bridge, mc, e);
	return r < 0 ? r : set_up(s, mc->tap, tap, e);
}

int link_forget(struct nl_sock *s, const struct net_machine *mc, struct err *e)
{
	_cleanup_(cleanup_nl_msg) struct nl_msg *m = NULL;
	int bridge, r = link_delete(s, mc->tap, e);

	bridge = (int)if_nametoindex(NET_BRIDGE);
	if (r < 0 || !bridge)
		return r;
	m = neighbour(RTM_DELNEIGH, 0, AF_INET, bridge, mc);
	r = request(s, m, e, "forget where %s is", mc->ip);
	return r == -ENOENT ? 0 : r;
}

int link_delete(struct nl_sock *s, const char *name, struct err *e)
{
	const struct ifinfomsg head = {.ifi_index = 0};
	_cleanup_(cleanup_nl_msg) struct nl_msg *m =
		message(RTM_DELLINK, 0, &head, sizeof(head));
	int r;

	m = checked(m, m && nla_put_string(m, IFLA_IFNAME, name));
	r = request(s, m, e, "delete '%s'", name);
	return r == -ENOENT ? 0 : r;
}
