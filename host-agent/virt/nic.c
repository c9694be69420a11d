/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card of a VM: a tap that somebody else made, whose descriptor is
 * QEMU's from then on, and a virtio-net device in front of it.
 *
 * It goes to QEMU through libvirt's monitor, while QEMU's CPUs have not run
 * yet, and not in the domain's XML: there libvirt opens a tap by its name, in
 * the network namespace of the calling thread. That is the one in which QEMU is
 * started too (or libvirtd's), and QEMU's is to be empty. So what QEMU has of a
 * network is one descriptor, and with QEMU the tap is gone.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "host-agent/virt/xml.h"

#include <libvirt/libvirt-qemu.h>

#define NETDEV "hybnic"

/* One command, with a descriptor (-1: none); arguments are taken over. */
static int run(virDomainPtr dom, const char *command, json_t *arguments, int fd,
	       struct err *e)
{
	_cleanup_free_ char *text = NULL, *answer = NULL;
	_cleanup_json_ json_t *call = NULL, *reply = NULL;
	const char *why;

	call = json_pack("{s:s,s:o}", "execute", command, "arguments",
			 arguments);
	text = call ? json_dumps(call, JSON_COMPACT) : NULL;
	if (!text)
		return err_sys(e, ENOMEM, "%s", command);
	if (virDomainQemuMonitorCommandWithFiles(dom, text, fd >= 0, &fd, NULL,
						 NULL, &answer, 0) < 0)
		return virt_error(e, "%s", command);
	reply = answer ? json_loads(answer, 0, NULL) : NULL;
	if (json_object_get(reply, "return"))
		return 0;
	why = json_string_value(
		json_object_get(json_object_get(reply, "error"), "desc"));
	return err_set(e, EIO, "%s: QEMU says: %s", command,
		       why ? why : "nothing");
}

/* One queue, and no vhost-net: that would be a device of the host's kernel for
 * QEMU to open. No boot ROM. */
int nic_attach(virDomainPtr dom, const struct virt_nic *nic, struct err *e)
{
	int r;

	r = run(dom, "getfd", json_pack("{s:s}", "fdname", NETDEV), nic->tap_fd,
		e);
	if (r == 0)
		r = run(dom, "netdev_add",
			json_pack("{s:s,s:s,s:s}", "type", "tap", "id", NETDEV,
				  "fd", NETDEV),
			-1, e);
	if (r == 0)
		r = run(dom, "device_add",
			json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "driver",
				  "virtio-net-pci", "id", NETDEV "0", "netdev",
				  NETDEV, "mac", nic->mac, "bus", XML_NIC_PORT,
				  "addr", "0x0", "romfile", ""),
			-1, e);
	return r < 0 ? err_wrap(e, "attach the network card") : 0;
}
