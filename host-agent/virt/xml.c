/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/virt/xml.h"

#include "common/base/cleanup.h"

#include <stdarg.h>

/* TCG's buffer of translated code, an eighth of the guest's memory: all of it
 * is touched sooner or later and counts as QEMU's own memory. When it is full
 * all of it is thrown away. A guest that boots and makes a container fills 50
 * MiB, of which 30 are the boot's and most never run again: below 32 that
 * happens a second time while the container is made (docs/virt.md has a
 * table). */
#define TB_CACHE_MIN_MIB 32
#define TB_CACHE_MAX_MIB 128

/* Root ports sit on slots 2 ... of the root bus, eight to a slot; slot 1 is
 * the vsock device's. */
#define PORT_FIRST_SLOT 2
#define PORTS_PER_SLOT	8
#define VSOCK_SLOT_TEXT "0x1"
/* Shared folders are there from the start, on the root bus: no port for them. */
#define SHARE_FIRST_SLOT 16
/* The network card's own root port: libvirt puts nothing there, and a guest
 * finds its card in the same place whatever else there is. */
#define NIC_SLOT_TEXT "0x18"

/* Length of the UTF-8 sequence at s, 0 when it is none that XML may hold. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n, i;
	uint32_t c;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	c = s[0] & (0xffu >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000) || (c & 0xfffe) == 0xfffe ||
	    (c >= 0x80 && c < 0xa0))
		return 0;
	return n;
}

static void put_escaped(struct buf *b, const char *s)
{
	size_t n;

	for (; *s; s += n) {
		n = utf8_len((const unsigned char *)s);
		if (!n) {
			b->error = b->error ? b->error : -EINVAL;
			return;
		}
		switch (*s) {
		case '<':
			buf_puts(b, "&lt;");
			break;
		case '>':
			buf_puts(b, "&gt;");
			break;
		case '&':
			buf_puts(b, "&amp;");
			break;
		case '\'':
			buf_puts(b, "&apos;");
			break;
		case '"':
			buf_puts(b, "&quot;");
			break;
		default:
			buf_append(b, s, n);
		}
	}
}

int xml_put(struct buf *b, const char *fmt, ...)
{
	const char *p;
	va_list ap;

	va_start(ap, fmt);
	for (p = fmt; *p; p++) {
		if (*p != '%') {
			buf_putc(b, *p);
			continue;
		}
		switch (*++p) {
		case 's':
			put_escaped(b, va_arg(ap, const char *));
			break;
		case 'u':
			buf_printf(b, "%u", va_arg(ap, unsigned int));
			break;
		case 'l':
			p++;
			buf_printf(b, "%lu", va_arg(ap, unsigned long));
			break;
		default:
			buf_putc(b, *p);
		}
	}
	va_end(ap);
	return buf_error(b);
}

static void put_uuid(struct buf *b, const unsigned char u[16])
{
	size_t i;

	buf_puts(b, "  <uuid>");
	for (i = 0; i < 16; i++)
		buf_printf(b, "%s%02x",
			   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			   u[i]);
	buf_puts(b, "</uuid>\n");
}

static unsigned int tb_cache_mib(uint64_t memory)
{
	uint64_t mib = memory >> 23;

	if (mib < TB_CACHE_MIN_MIB)
		return TB_CACHE_MIN_MIB;
	return mib > TB_CACHE_MAX_MIB ? TB_CACHE_MAX_MIB : (unsigned int)mib;
}

/* Our kernel by the shortest way to it; or whatever a disk has, by libvirt's
 * firmware. */
static void put_os(struct buf *b, const struct xml_domain *d)
{
	const struct virt_vm_spec *vm = d->vm;

	xml_put(b,
		"  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n");
	if (vm->boot && vm->boot->nvram)
		xml_put(b,
			"    <loader readonly='yes' secure='no' type='pflash'>" XML_UEFI_CODE
			"</loader>\n"
			"    <nvram>%s/" XML_BOOT_NVRAM "</nvram>\n",
			vm->vm_dir);
	if (vm->boot) {
		xml_put(b, "  </os>\n");
		return;
	}
	xml_put(b,
		"    <loader type='rom'>/usr/share/qemu/qboot.rom</loader>\n"
		"    <kernel>%s</kernel>\n    <initrd>%s</initrd>\n",
		d->kernel, d->initramfs);
	xml_put(b, "    <cmdline>%s%s%s", d->cmdline,
		vm->extra_cmdline ? " " : "",
		vm->extra_cmdline ? vm->extra_cmdline : "");
	/* Emulation gives the guest the host's counter. To measure it by the
	 * PIT takes the guest up to 100 ms, the more the busier the host is. */
	if (!d->kvm && d->tsc_khz)
		xml_put(b, " tsc_early_khz=%u", d->tsc_khz);
	xml_put(b, "</cmdline>\n  </os>\n");
}

static void put_machine(struct buf *b, const struct xml_domain *d)
{
	const struct virt_vm_spec *vm = d->vm;
	/* QEMU's software emulation leaves out memory barriers for a VM that
	 * can only ever have one vCPU, and a kick of the vsock device, which
	 * is another process, could be lost: so it might have two. */
	unsigned int max = d->kvm || vm->vcpus > 1 ? vm->vcpus : 2;

	xml_put(b, "  <memory unit='b'>%lu</memory>\n", vm->memory);
	/* hyb-vsockd maps it: shared, and without a name in any file system. */
	xml_put(b, "  <memoryBacking>\n    <source type='memfd'/>\n"
		   "    <access mode='shared'/>\n  </memoryBacking>\n");
	xml_put(b, "  <vcpu placement='static' current='%u'>%u</vcpu>\n",
		vm->vcpus, max);
	if (d->cgroups && vm->cpus_milli)
		xml_put(b,
			"  <cputune>\n    <global_period>100000"
			"</global_period>\n    <global_quota>%lu"
			"</global_quota>\n  </cputune>\n",
			(uint64_t)vm->cpus_milli * 100);
	put_os(b, d);
	/* ACPI: hot-plug. */
	xml_put(b, "  <features>\n    <acpi/>\n    <apic/>\n"
		   "    <vmport state='off'/>\n    <smm state='off'/>\n");
	if (!d->kvm)
		xml_put(b,
			"    <tcg>\n      <tb-cache unit='MiB'>%u</tb-cache>\n"
			"    </tcg>\n",
			tb_cache_mib(vm->memory));
	xml_put(b, "  </features>\n");
	if (d->kvm)
		xml_put(b, "  <cpu mode='host-passthrough' check='none' "
			   "migratable='off'/>\n");
	else
		/* With ERMS a kernel clears its pages by REP STOSB, of which
		 * emulation makes 4096 turns through its main loop. */
		xml_put(b, "  <cpu mode='maximum' check='none'>\n"
			   "    <feature policy='disable' name='erms'/>\n"
			   "  </cpu>\n");

	xml_put(b, "  <clock offset='utc'>\n"
		   "    <timer name='hpet' present='no'/>\n  </clock>\n"
		   "  <on_poweroff>destroy</on_poweroff>\n");
	xml_put(b, "  <on_reboot>%s</on_reboot>\n",
		vm->boot ? "restart" : "destroy");
	xml_put(b, "  <on_crash>destroy</on_crash>\n");
}

static void put_ports(struct buf *b, uint32_t n)
{
	unsigned int i;

	xml_put(b, "    <controller type='pci' index='0' "
		   "model='pcie-root'/>\n");
	for (i = 0; i < n; i++) {
		xml_put(b,
			"    <controller type='pci' index='%u' "
			"model='pcie-root-port'>\n"
			"      <address type='pci' domain='0' bus='0' "
			"slot='%u' function='%u'",
			i + 1, PORT_FIRST_SLOT + i / PORTS_PER_SLOT,
			i % PORTS_PER_SLOT);
		if (i % PORTS_PER_SLOT == 0)
			xml_put(b, " multifunction='on'");
		xml_put(b, "/>\n    </controller>\n");
	}
}

/* What is under a qcow2 file: with both formats named, nothing is read from the
 * file that would say so. */
static void put_base(struct buf *b, const char *indent, const char *path)
{
	xml_put(b, "%s<backingStore type='file'>\n", indent);
	xml_put(b, "%s  <format type='raw'/>\n", indent);
	xml_put(b, "%s  <source file='%s'/>\n", indent, path);
	xml_put(b, "%s  <backingStore/>\n%s</backingStore>\n", indent, indent);
}

static void put_boot(struct buf *b, const struct virt_vm_spec *vm)
{
	char base[VIRT_DIR_MAX + sizeof(XML_BOOT_BASE) + 1];

	snprintf(base, sizeof(base), "%s/" XML_BOOT_BASE, vm->vm_dir);
	xml_put(b,
		"    <disk type='file' device='disk'>\n"
		"      <driver name='qemu' type='qcow2' discard='unmap'/>\n"
		"      <source file='%s/" XML_BOOT_OVERLAY "'/>\n",
		vm->vm_dir);
	put_base(b, "      ", base);
	xml_put(b, "      <target dev='vda' bus='virtio'/>\n"
		   "      <boot order='1'/>\n"
		   "      <serial>boot</serial>\n    </disk>\n");
	xml_put(b, "    <rng model='virtio'>\n"
		   "      <backend model='random'>/dev/urandom</backend>\n"
		   "    </rng>\n");
}

static void put_shares(struct buf *b, const struct virt_vm_spec *vm)
{
	unsigned int i;

	for (i = 0; i < vm->n_shares; i++) {
		xml_put(b,
			"    <filesystem type='mount'>\n"
			"      <driver type='virtiofs' queue='1024'/>\n"
			"      <source socket='%s/" XML_SHARE_SOCK "'/>\n",
			vm->vm_dir, i);
		xml_put(b,
			"      <target dir='bind%u'/>\n"
			"      <address type='pci' domain='0' bus='0' "
			"slot='%u' function='0'/>\n    </filesystem>\n",
			i, SHARE_FIRST_SLOT + i);
	}
}

static void put_devices(struct buf *b, const struct xml_domain *d)
{
	const struct virt_vm_spec *vm = d->vm;

	xml_put(b, "  <devices>\n    <emulator>%s</emulator>\n", d->emulator);
	put_ports(b, vm->slots);
	if (vm->boot)
		put_boot(b, vm);
	put_shares(b, vm);
	xml_put(b, "    <controller type='usb' model='none'/>\n"
		   "    <memballoon model='none'/>\n"
		   "    <panic model='isa'/>\n");
	/* The console goes to whoever listens there, and nowhere while nobody
	 * does: QEMU asks again every second. So no VM can fill a disk. */
	xml_put(b,
		"    <serial type='unix'>\n"
		"      <source mode='connect' path='%s/" XML_CONSOLE_SOCK "'>\n"
		"        <reconnect enabled='yes' timeout='1'/>\n"
		"      </source>\n      <target type='isa-serial' port='0'/>\n"
		"    </serial>\n",
		vm->vm_dir);
	if (vm->carrier == VIRT_VSOCK_KERNEL)
		xml_put(b,
			"    <vsock model='virtio'>\n"
			"      <cid auto='no' address='%u'/>\n    </vsock>\n",
			vm->cid);
	xml_put(b, "  </devices>\n");
}

/* What libvirt has no words for. */
static void put_qemu(struct buf *b, const struct xml_domain *d)
{
	/* Devices of the machine that nothing uses: less for a guest to reach
	 * and 40 ms less of its boot (a disk controller, a bus of sensors, a
	 * keyboard). The PIT stays: the kernel measures its clock by it. */
	xml_put(b, "  <qemu:commandline>\n"
		   "    <qemu:arg value='-machine'/>\n"
		   "    <qemu:arg value='sata=off,smbus=off,i8042=off'/>\n");
	/* QEMU is the socket's server and waits for the device, so that a new
	 * device can take the place of a dead one. */
	if (d->vm->carrier == VIRT_VSOCK_UNIX)
		xml_put(b,
			"    <qemu:arg value='-chardev'/>\n"
			"    <qemu:arg value='socket,id=" XML_VHOST_CHARDEV
			",path=%s/" XML_VHOST_SOCK ",server=on,wait=on'/>\n"
			"    <qemu:arg value='-device'/>\n"
			"    <qemu:arg value='vhost-user-vsock-pci,"
			"id=hybvsock0,chardev=" XML_VHOST_CHARDEV
			",bus=pcie.0,addr=" VSOCK_SLOT_TEXT "'/>\n",
			d->vm->vm_dir);
	if (d->vm->nic)
		xml_put(b, "    <qemu:arg value='-device'/>\n"
			   "    <qemu:arg value='pcie-root-port,"
			   "id=" XML_NIC_PORT ",bus=pcie.0,chassis=255,"
			   "addr=" NIC_SLOT_TEXT "'/>\n");
	xml_put(b, "  </qemu:commandline>\n");
	/* With this capability libvirt asks for each of some 400 properties
	 * of the CPU in a question of its own before every start: without, it
	 * asks once. */
	xml_put(b, "  <qemu:capabilities>\n"
		   "    <qemu:del capability='cpu-unavailable-features'/>\n"
		   "  </qemu:capabilities>\n");
}

int xml_domain_format(struct buf *b, const struct xml_domain *d)
{
	const struct virt_vm_spec *vm = d->vm;

	/* A comma would begin another option in QEMU's argument. */
	if (strchr(vm->vm_dir, ','))
		return -EINVAL;
	xml_put(b,
		"<domain type='%s' "
		"xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
		"  <name>%s</name>\n",
		d->kvm ? "kvm" : "qemu", vm->name);
	put_uuid(b, vm->uuid);
	put_machine(b, d);
	put_devices(b, d);
	xml_put(b,
		"  <seclabel type='static' model='dac' relabel='no'>\n"
		"    <label>+%u:+%u</label>\n  </seclabel>\n",
		vm->uid, vm->gid);
	put_qemu(b, d);
	xml_put(b, "</domain>\n");
	return buf_error(b);
}

int xml_disk_format(struct buf *b, const struct xml_disk *d)
{
	/* The format is named: QEMU must never guess it from what a guest
	 * has written there. */
	xml_put(b,
		"<disk type='file' device='disk'>\n"
		"  <driver name='qemu' type='%s' discard='unmap'",
		d->base ? "qcow2" : "raw");
	/* A volume: writeback means that what a guest flushes is flushed here,
	 * and everything else lies in the host's page cache, which does not die
	 * with QEMU. A host disk that is full is the guest's error (EIO), not a
	 * reason to stop all of the VM. */
	if (d->volume)
		xml_put(b, " cache='writeback' error_policy='report' "
			   "rerror_policy='report'");
	/* Nothing waits for the host's disk, not even QEMU's end. */
	if (d->scratch)
		xml_put(b, " cache='unsafe' error_policy='report' "
			   "rerror_policy='report'");
	xml_put(b, "/>\n");
	xml_put(b, "  <source file='%s'/>\n", d->path);
	if (d->base)
		put_base(b, "  ", d->base);
	xml_put(b, "  <target dev='%s' bus='virtio'/>\n  <serial>%s</serial>\n",
		d->target, d->serial);
	if (d->readonly)
		xml_put(b, "  <readonly/>\n");
	/* Not a volume: QEMU's lock on the file is to keep a writer out while
	 * others read. */
	if (d->readonly && !d->volume)
		xml_put(b, "  <shareable/>\n");
	return xml_put(b, "</disk>\n");
}

/* The text between `from` and the next `to`, within [s, end), or false. */
static bool between(const char *s, const char *end, const char *from,
		    const char *to, char *out, size_t size)
{
	const char *p = strstr(s, from), *q;

	if (!p || p >= end)
		return false;
	p += strlen(from);
	q = strstr(p, to);
	if (!q || q > end || (size_t)(q - p) >= size)
		return false;
	memcpy(out, p, (size_t)(q - p));
	out[q - p] = '\0';
	return true;
}

size_t xml_disks_parse(const char *xml, struct virt_disk *ret,
		       struct xml_alias *alias, size_t max)
{
	const char *p = xml, *end, *ro;
	size_t n = 0;

	while (n < max && (p = strstr(p, "<disk ")) != NULL) {
		end = strstr(p, "</disk>");
		if (!end)
			break;
		memset(&ret[n], 0, sizeof(ret[n]));
		ro = strstr(p, "<readonly/>");
		ret[n].readonly = ro && ro < end;
		if (alias && !between(p, end, "<alias name='", "'",
				      alias[n].text, sizeof(alias[n].text)))
			alias[n].text[0] = '\0';
		if (between(p, end, "<target dev='", "'", ret[n].target,
			    sizeof(ret[n].target)) &&
		    between(p, end, "<serial>", "<", ret[n].serial,
			    sizeof(ret[n].serial)))
			n++;
		p = end;
	}
	return n;
}
