/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain XML against golden files and libvirt's schema. HYB_GOLDEN_UPDATE=1
 * writes the golden files.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/virt/tsc.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

static struct virt_vm_spec plain_spec(void)
{
	return (struct virt_vm_spec){
		.name = "shop-web-0",
		.uuid = {0xd2, 0x71, 0xc5, 0x4b, 0xc5, 0x2c, 0x4c, 0xde, 0x9b,
			 0x1c, 0x2e, 0x3f, 0x81, 0x03, 0x94, 0x77},
		.vcpus = 1,
		.memory = (uint64_t)256 << 20,
		.uid = 700101,
		.gid = 700102,
		.cid = 42,
		.vm_dir = "/var/lib/hyb/vm/42",
		.carrier = VIRT_VSOCK_UNIX,
		.slots = 10,
		.cpus_milli = 1500};
}

static struct xml_domain plain_domain(const struct virt_vm_spec *vm)
{
	return (struct xml_domain){.vm = vm,
				   .emulator = "/usr/bin/qemu-system-x86_64",
				   .kernel = "/usr/lib/hyb/vmlinux",
				   .initramfs = "/usr/lib/hyb/initramfs.cpio",
				   .cmdline = "quiet console=ttyS0",
				   .tsc_khz = 2594400};
}

static void check_golden(const char *name, const char *text)
{
	_cleanup_free_ char *want = NULL;
	char path[128];

	snprintf(path, sizeof(path), "tests/golden/virt/%s.xml", name);
	if (getenv("HYB_GOLDEN_UPDATE"))
		assert_int_equal(
			file_write_atomic(path, text, strlen(text), 0644, NULL),
			0);
	assert_int_equal(file_read(AT_FDCWD, path, 65536, &want, NULL, NULL),
			 0);
	assert_string_equal(text, want);
}

static void check_schema(const char *text)
{
	char path[] = "/tmp/hyb-virt-XXXXXX";
	const char *const argv[] = {"virt-xml-validate", path, "domain", NULL};
	struct proc_spec spec = {.path = "virt-xml-validate",
				 .argv = argv,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1};
	struct err e = ERR_INIT;
	int fd, r, status;

	if (access("/usr/bin/virt-xml-validate", X_OK) < 0) {
		print_message("virt-xml-validate is not installed\n");
		skip();
	}
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	close(fd);
	r = proc_run(&spec, now_ms() + 120000, 4096, NULL, NULL, &status, &e);
	unlink(path);
	if (r < 0)
		print_message("%s\n", e.msg);
	assert_int_equal(r, 0);
	assert_int_equal(status, 0);
}

static void check_domain(const char *name, const struct xml_domain *d)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	assert_int_equal(xml_domain_format(&b, d), 0);
	check_golden(name, buf_str(&b));
	check_schema(buf_str(&b));
}

static void test_tcg(void **state)
{
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	check_domain("tcg", &d);
}

static void test_kvm(void **state)
{
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	d.kvm = d.cgroups = true;
	vm.vcpus = 4;
	vm.memory = (uint64_t)4 << 30;
	check_domain("kvm", &d);
}

static void test_shares(void **state)
{
	static const struct virt_share shares[VIRT_SHARES_MAX];
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	vm.shares = shares;
	vm.n_shares = VIRT_SHARES_MAX;
	vm.slots = VIRT_SLOTS_MAX;
	check_domain("shares", &d);
}

static void test_kernel_vsock(void **state)
{
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	vm.carrier = VIRT_VSOCK_KERNEL;
	vm.slots = 0;
	vm.extra_cmdline = "hyb.debug=1";
	check_domain("kernel-vsock", &d);
}

/* An operating system of its own, by either firmware, one with a network card. */
static void test_boot(void **state)
{
	struct virt_boot boot = {.base = "/b", .overlay = "/o"};
	const struct virt_nic nic = {-1, "02:00:00:00:00:01"};
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	vm.carrier = VIRT_VSOCK_NONE;
	vm.boot = &boot;
	check_domain("boot-bios", &d);
	boot.nvram = "/n";
	vm.nic = &nic;
	check_domain("boot-uefi", &d);
}

/* Markup in every text ends up as text. */
static void test_escaping(void **state)
{
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);

	(void)state;
	vm.vm_dir = "/d'/><disk type='file'";
	vm.extra_cmdline = "a=\"<>&'\" b=\xc3\xa4";
	d.kernel = "/k</kernel><x>";
	check_domain("escaping", &d);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"a\nb",	    "a\x01",	    "\x7f",	    "\xff",
		"\xc3",	    "\xc0\x80",	    "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xc2\x85", "\xef\xbf\xbf", "a\tb"};
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		d.cmdline = bad[i];
		assert_int_equal(xml_domain_format(&b, &d), -EINVAL);
	}
	d.cmdline = "";
	vm.vm_dir = "/a,server=off";
	for (i = 0; i < 1; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		assert_int_equal(xml_domain_format(&b, &d), -EINVAL);
	}
}

/* Of two windows; a machine that is busy may hold up a reading. */
static void test_tsc(void **state)
{
	const struct timespec window = {.tv_nsec = 200000000};
	struct tsc_mark m[2];
	uint32_t khz[2];
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		tsc_mark(&m[i]);
		nanosleep(&window, NULL);
		khz[i] = tsc_khz(&m[i]);
	}
	if (!khz[0])
		skip(); /* no steady counter */
	assert_in_range(khz[1], khz[0] - khz[0] / 20, khz[0] + khz[0] / 20);
	m[0].asleep -= 1000000000;
	assert_int_equal(tsc_khz(&m[0]), 0);
}

static void test_put(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(xml_put(&b, "<a b='%s' c='%u' d='%lu'>100%%</a>", "<",
				 7u, (unsigned long)1 << 40),
			 0);
	assert_string_equal(buf_str(&b),
			    "<a b='&lt;' c='7' d='1099511627776'>100%</a>");
}

static void test_disk(void **state)
{
	_cleanup_buf_ struct buf ro = BUF_INIT, rw = BUF_INIT;
	struct xml_disk d = {.path = "/var/lib/hyb/vm/42/disk-a&b",
			     .target = "vdb",
			     .serial = "img-1",
			     .readonly = true};

	(void)state;
	assert_int_equal(xml_disk_format(&ro, &d), 0);
	check_golden("disk-ro", buf_str(&ro));
	d.readonly = false;
	assert_int_equal(xml_disk_format(&rw, &d), 0);
	check_golden("disk-rw", buf_str(&rw));
	/* QEMU's lock keeps others out of a volume; of an image it need not. */
	buf_clear(&ro);
	buf_clear(&rw);
	d.volume = true;
	assert_int_equal(xml_disk_format(&rw, &d), 0);
	check_golden("volume-rw", buf_str(&rw));
	d.readonly = true;
	assert_int_equal(xml_disk_format(&ro, &d), 0);
	check_golden("volume-ro", buf_str(&ro));
	/* Nothing on it must survive: no flush reaches the host's disk. */
	buf_clear(&rw);
	d.readonly = d.volume = false;
	d.scratch = true;
	assert_int_equal(xml_disk_format(&rw, &d), 0);
	check_golden("scratch", buf_str(&rw));
	/* Both files and both formats are named. */
	buf_clear(&ro);
	d = (struct xml_disk){.path = "/var/lib/hyb/vm/42/disk-a&b",
			      .target = "vdb",
			      .serial = "img-1",
			      .base = "/var/lib/hyb/vm/42/base-a&b",
			      .readonly = true};
	assert_int_equal(xml_disk_format(&ro, &d), 0);
	check_golden("disk-difference", buf_str(&ro));
}

static void test_disks_parse(void **state)
{
	static const char xml[] =
		"<domain><devices>"
		"<disk type='file' device='disk'><source file='/a'/>"
		"<target dev='vda' bus='virtio'/><readonly/><shareable/>"
		"<serial>img-1</serial><alias name='virtio-disk0'/></disk>"
		"<disk type='file'><target dev='vdc' bus='virtio'/>"
		"<serial>vol-2</serial><alias name='virtio-disk2'/></disk>"
		"<disk type='file'><target dev='vdd'/></disk>"
		"</devices></domain>";
	struct virt_disk d[4];
	struct xml_alias a[4];

	(void)state;
	assert_int_equal(xml_disks_parse(xml, d, a, 4), 2);
	assert_string_equal(d[0].serial, "img-1");
	assert_string_equal(d[0].target, "vda");
	assert_true(d[0].readonly);
	assert_string_equal(a[0].text, "virtio-disk0");
	assert_string_equal(d[1].serial, "vol-2");
	assert_string_equal(d[1].target, "vdc");
	assert_false(d[1].readonly);
	assert_int_equal(xml_disks_parse(xml, d, NULL, 1), 1);
	assert_int_equal(xml_disks_parse("", d, a, 4), 0);
	assert_int_equal(xml_disks_parse("<disk ", d, a, 4), 0);
}

static void quiet(void *data, virErrorPtr e)
{
	(void)data;
	(void)e;
}

/* libvirt itself takes it, and finds our disks in what it prints. */
static void test_libvirt_takes_it(void **state)
{
	struct virt_vm_spec vm = plain_spec();
	struct xml_domain d = plain_domain(&vm);
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_free_ char *out = NULL;
	virConnectPtr conn;
	virDomainPtr dom;
	char *type;

	(void)state;
	virSetErrorFunc(NULL, quiet);
	conn = virConnectOpen("test:///default");
	assert_non_null(conn);
	assert_int_equal(xml_domain_format(&b, &d), 0);
	/* The test driver knows one type of domain. */
	type = strstr(b.data, "type='qemu'");
	assert_non_null(type);
	memcpy(type, "type='test'", 11);
	dom = virDomainDefineXML(conn, b.data);
	if (!dom)
		print_message("%s\n", virGetLastErrorMessage());
	assert_non_null(dom);
	out = virDomainGetXMLDesc(dom, 0);
	assert_non_null(out);
	assert_non_null(strstr(out, "<name>shop-web-0</name>"));
	assert_non_null(strstr(out, "d271c54b-c52c-4cde-9b1c-2e3f81039477"));
	virDomainFree(dom);
	virConnectClose(conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_tcg),
		cmocka_unit_test(test_kvm),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_kernel_vsock),
		cmocka_unit_test(test_boot),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_tsc),
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_disks_parse),
		cmocka_unit_test(test_libvirt_takes_it),
	};

	return cmocka_run_group_tests_name("virt/xml", tests, NULL, NULL);
}
