/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XML that libvirt gets. Pure: text from values, nothing is looked up.
 */
#ifndef HYB_HOST_AGENT_VIRT_XML_H
#define HYB_HOST_AGENT_VIRT_XML_H

#include "common/base/buf.h"
#include "host-agent/virt/virt.h"

/*
 * Appends markup with values. The format is markup and stays as it is; every
 * value is escaped: %s (text), %u (unsigned int), %lu (uint64_t); %% is a
 * per cent sign. Text that XML 1.0 cannot hold (control characters, broken
 * UTF-8) is the buffer's error -EINVAL.
 */
int xml_put(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Everything that decides what a domain looks like. */
struct xml_domain {
	const struct virt_vm_spec *vm;
	bool kvm;
	const char *emulator;
	const char *kernel;
	const char *initramfs;
	const char *cmdline;
	uint32_t tsc_khz; /* emulated: of the host's; 0: not known */
	bool cgroups;	  /* the vm's host limits can be had */
};

/* Links in a VM's directory to the disk that it boots from. */
#define XML_BOOT_BASE	 "boot-base.raw"
#define XML_BOOT_OVERLAY "boot-disk.qcow2"
#define XML_BOOT_NVRAM	 "boot-nvram.fd"
/* UEFI firmware, without secure boot (which would need SMM). */
#define XML_UEFI_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define XML_UEFI_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"

/* Names in a VM's directory. */
#define XML_VHOST_SOCK	 "vhost.sock"
#define XML_VSOCK_SOCK	 "vsock.sock"
#define XML_CONSOLE_SOCK "console.sock"
#define XML_SHARE_SOCK	 "fs-%u.sock"
/* QEMU's name of the character device behind the vsock device. */
#define XML_VHOST_CHARDEV "hybvsock"
/* ... and of the port that a network card is put into. */
#define XML_NIC_PORT "hybnicport"

/* -EINVAL: a value that XML cannot hold. */
int xml_domain_format(struct buf *b, const struct xml_domain *d);

struct xml_disk {
	const char *path;
	const char *target; /* "vda" */
	const char *serial;
	const char *base; /* NULL, or what `path`, a qcow2 then, lies over */
	bool readonly;
	bool volume;  /* no image: what is written must be there */
	bool scratch; /* what is written is gone with the VM */
};

int xml_disk_format(struct buf *b, const struct xml_disk *d);

/* The disks in a domain's XML as libvirt prints it (its text is trusted: it is
 * made from ours). At most max; the number found. alias[i] gets the device's
 * alias where alias is not NULL. */
struct xml_alias {
	char text[32];
};
size_t xml_disks_parse(const char *xml, struct virt_disk *ret,
		       struct xml_alias *alias, size_t max);

#endif
