/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet filters of the namespace that the thread is in (docs/network.md).
 *
 * Two tables named hyb. In the bridge's family all is dropped but what the
 * chains of the machine allow at whose tap a frame comes in or goes out: so a
 * machine that is half made, or half removed, is one that has no network. In
 * the inet family is what the bridge itself may get and send.
 *
 * What is loaded is one transaction: whole, or not there. It is loaded again
 * without harm; and where an earlier version of hybd loaded something else, ours
 * takes its place, machine by machine.
 */
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "host-agent/net/internal.h"

#include <nftables/libnftables.h>

HYB_DEFINE_CLEANUP(nft_ctx, nft_ctx_free);

/* libnftables keeps tables of names that are the process's. */
static pthread_mutex_t nft_lock = PTHREAD_MUTEX_INITIALIZER;

/* What is dropped is counted where it is a machine's doing. DHCP and echo are
 * not tracked: a machine could fill the host's memory with them. */
static const char tenant_text[] =
	"add table bridge hyb\n"
	"add chain bridge hyb from { type filter hook prerouting priority -300;"
	" policy drop; }\n"
	"add chain bridge hyb across { type filter hook forward priority 0;"
	" policy drop; }\n"
	"add chain bridge hyb to { type filter hook postrouting priority 300;"
	" policy drop; }\n"
	"add map bridge hyb sources { type ifname : verdict; }\n"
	"add map bridge hyb sinks { type ifname : verdict; }\n"
	"add rule bridge hyb from iifname vmap @sources\n"
	"add rule bridge hyb to oifname vmap @sinks\n"
	"add table inet hyb\n"
	"add chain inet hyb untracked { type filter hook prerouting"
	" priority raw; }\n"
	"add rule inet hyb untracked meta l4proto icmp notrack\n"
	"add rule inet hyb untracked udp dport 67 notrack\n"
	"add chain inet hyb unsent { type filter hook output priority raw; }\n"
	"add rule inet hyb unsent meta l4proto icmp notrack\n"
	"add rule inet hyb unsent udp sport 67 notrack\n"
	"add chain inet hyb input { type filter hook input priority filter;"
	" policy drop; }\n"
	"add rule inet hyb input iifname != " NET_BRIDGE " drop\n"
	"add rule inet hyb input udp sport 68 udp dport 67 accept\n"
	"add rule inet hyb input ip daddr " HYB_NET_ADDRESS
	" icmp type echo-request accept\n"
	"add rule inet hyb input ip daddr " HYB_NET_ADDRESS
	" meta l4proto tcp ct state established accept\n"
	"add rule inet hyb input counter drop\n"
	"add chain inet hyb forward { type filter hook forward priority filter;"
	" policy drop; }\n"
	"add chain inet hyb output { type filter hook output priority filter;"
	" policy drop; }\n"
	"add rule inet hyb output oifname != " NET_BRIDGE " drop\n"
	/* A DHCP server that was taken over connects to nobody. */
	"add rule inet hyb output meta skuid %u udp sport 67 udp dport 68"
	" accept\n"
	"add rule inet hyb output meta skuid %u counter drop\n"
	"add rule inet hyb output ip saddr " HYB_NET_ADDRESS
	" meta l4proto tcp ct state { new, established } accept\n"
	"add rule inet hyb output ip saddr " HYB_NET_ADDRESS
	" icmp type echo-reply accept\n";

/* %1: tap; %2: MAC; %3: address; %4: the MAC as a number (expand()). The tag of
 * a VLAN is in the place of the type: it is looked at first, as the rules
 * behind look at what is inside of it. */
static const char machine_text[] =
	"add chain bridge hyb from-%1\n"
	"flush chain bridge hyb from-%1\n"
	"add rule bridge hyb from-%1 ether type { 8021q, 8021ad }"
	" counter drop comment \"VLAN\"\n"
	"add rule bridge hyb from-%1 ether type != { ip, arp }"
	" counter drop comment \"protocol\"\n"
	"add rule bridge hyb from-%1 ether saddr != %2"
	" counter drop comment \"MAC\"\n"
	"add rule bridge hyb from-%1 ether daddr != { " NET_BRIDGE_MAC
	", ff:ff:ff:ff:ff:ff } counter drop comment \"destination\"\n"
	/* What the host answers by itself costs its time and not the VM's: so
	 * often, and no oftener. */
	"add rule bridge hyb from-%1 ether type arp"
	" limit rate over 50/second burst 100 packets"
	" counter drop comment \"ARP rate\"\n"
	"add rule bridge hyb from-%1 arp htype 1 arp ptype ip arp hlen 6"
	" arp plen 4 arp operation { request, reply } arp saddr ether %2"
	" arp saddr ip { 0.0.0.0, %3 } accept\n"
	"add rule bridge hyb from-%1 ether type arp"
	" counter drop comment \"ARP\"\n"
	"add rule bridge hyb from-%1 udp sport 67"
	" counter drop comment \"DHCP\"\n"
	/* Nobody needs them here, and the host would keep them for a while. */
	"add rule bridge hyb from-%1 ip frag-off & 0x3fff != 0"
	" counter drop comment \"fragment\"\n"
	"add rule bridge hyb from-%1 udp dport 67"
	" limit rate over 20/second burst 40 packets"
	" counter drop comment \"DHCP rate\"\n"
	"add rule bridge hyb from-%1 meta l4proto icmp"
	" limit rate over 100/second burst 200 packets"
	" counter drop comment \"ICMP rate\"\n"
	"add rule bridge hyb from-%1 ip saddr %3 ip daddr " HYB_NET_ADDRESS
	" accept\n"
	"add rule bridge hyb from-%1 ip saddr { 0.0.0.0, %3 }"
	" ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept\n"
	"add rule bridge hyb from-%1 counter drop comment \"address\"\n"
	"add element bridge hyb sources { %1 : goto from-%1 }\n"
	"add chain bridge hyb to-%1\n"
	"flush chain bridge hyb to-%1\n"
	/* The answers of DHCP are broadcast: the hardware address in them says
	 * for whom. */
	"add rule bridge hyb to-%1 ip saddr " HYB_NET_ADDRESS
	" ip daddr 255.255.255.255 udp sport 67 udp dport 68"
	" @th,288,48 %4 accept\n"
	"add rule bridge hyb to-%1 ip saddr " HYB_NET_ADDRESS
	" ip daddr %3 accept\n"
	"add rule bridge hyb to-%1 arp saddr ip " HYB_NET_ADDRESS
	" arp daddr ether %2 accept\n"
	"add rule bridge hyb to-%1 arp saddr ip " HYB_NET_ADDRESS
	" arp daddr ip %3 accept\n"
	"add element bridge hyb sinks { %1 : goto to-%1 }\n";

/* Each is made first, so that what is not there can be deleted. */
static const char forget_text[] =
	"add chain bridge hyb from-%1\n"
	"add element bridge hyb sources { %1 : goto from-%1 }\n"
	"delete element bridge hyb sources { %1 }\n"
	"flush chain bridge hyb from-%1\n"
	"delete chain bridge hyb from-%1\n"
	"add chain bridge hyb to-%1\n"
	"add element bridge hyb sinks { %1 : goto to-%1 }\n"
	"delete element bridge hyb sinks { %1 }\n"
	"flush chain bridge hyb to-%1\n"
	"delete chain bridge hyb to-%1\n";

static int run_locked(const char *text, const char *what, struct err *e)
{
	_cleanup_(cleanup_nft_ctx) struct nft_ctx *c =
		nft_ctx_new(NFT_CTX_DEFAULT);
	char said[256] = "";

	if (!c || nft_ctx_buffer_output(c) || nft_ctx_buffer_error(c))
		return err_sys(e, ENOMEM, "%s", what);
	if (nft_run_cmd_from_buffer(c, text) == 0)
		return 0;
	snprintf(said, sizeof(said), "%s", nft_ctx_get_error_buffer(c));
	said[strcspn(said, "\n")] = '\0';
	return err_set(e, EIO, "%s: nftables: %s", what, said);
}

static int run(const char *text, const char *what, struct err *e)
{
	int r;

	pthread_mutex_lock(&nft_lock);
	r = run_locked(text, what, e);
	pthread_mutex_unlock(&nft_lock);
	return r;
}

/* Puts values[N - 1] where the text has %N. */
static int expand(struct buf *b, const char *text, const char *const values[4])
{
	const char *p;

	for (p = text; *p; p++)
		if (*p == '%')
			buf_puts(b, values[*++p - '1']);
		else
			buf_putc(b, *p);
	return buf_error(b);
}

static int run_machine(const char *text, const struct net_machine *m,
		       const char *what, struct err *e)
{
	char number[sizeof(m->mac) + 2] = "0x", *p = number + 2;
	const char *const values[] = {m->tap, m->mac, m->ip, number};
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *c;

	for (c = m->mac; *c; c++)
		if (*c != ':')
			*p++ = *c;
	*p = '\0';
	if (expand(&b, text, values) < 0)
		return err_sys(e, ENOMEM, "%s", what);
	return run(buf_str(&b), what, e);
}

int filter_machine(const struct net_machine *m, struct err *e)
{
	return run_machine(machine_text, m, "load the machine's packet filter",
			   e);
}

int filter_forget(const struct net_machine *m, struct err *e)
{
	return run_machine(forget_text, m, "remove the machine's packet filter",
			   e);
}

/* A chain whose name follows from all that would be loaded: it is there when
 * just that is. */
static void seal_name(char out[16])
{
	const char *const texts[] = {tenant_text, machine_text};
	uint32_t hash = 2166136261u;
	const char *p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++)
		for (p = texts[i]; *p; p++)
			hash = (hash ^ (unsigned char)*p) * 16777619u;
	snprintf(out, 16, "v%08x", hash);
}

static int seal(const char *verb, struct err *e)
{
	char text[64], name[16];

	seal_name(name);
	snprintf(text, sizeof(text), "%s chain inet hyb %s\n", verb, name);
	return run(text, "seal the packet filter", e);
}

static int load_tenant(const struct net *n, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	/* What an earlier hybd loaded goes: made first, that it can be
	 * deleted. */
	buf_puts(&b, "add table bridge hyb\ndelete table bridge hyb\n"
		     "add table inet hyb\ndelete table inet hyb\n");
	buf_printf(&b, tenant_text, n->dhcpd_uid, n->dhcpd_uid);
	if (buf_error(&b) < 0)
		return err_sys(e, ENOMEM, "load the packet filter");
	return run(buf_str(&b), "load the packet filter", e);
}

static int load_machine(void *arg, unsigned int number)
{
	struct net_machine m;

	net_machine_address(number, &m);
	return filter_machine(&m, arg);
}

/* Until all of it is loaded, what is not lets nothing through. */
int filter_tenant(struct net *n, const char *tenant, struct err *e)
{
	struct err own = ERR_INIT;
	int r;

	if (seal("list", NULL) == 0)
		return 0;
	r = load_tenant(n, e);
	if (r == 0)
		r = dhcp_each(n, tenant, load_machine, e ? e : &own, e);
	return r < 0 ? r : seal("add", e);
}
