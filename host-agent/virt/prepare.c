/* SPDX-License-Identifier: Apache-2.0 */
/* The process before its first thread, and libvirt's configuration. */
#include "host-agent/virt/internal.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define KVM_NODE "/dev/kvm"
/* Exists everywhere, and for a moment nobody else is in this namespace. */
#define SCRATCH "/tmp"

/* A second node of the same device, open to all in this mount namespace: then
 * libvirt's probe of QEMU (as root) and its check whether QEMU's user may open
 * the node agree, and it keeps what it knows of QEMU. Where they do not agree
 * it probes QEMU some twenty times at every start of a VM. Safe because the
 * namespace is ours, and QEMU sees only the nodes that qemu.conf names. */
static const char *open_kvm_node(dev_t dev)
{
	const char *failed = NULL;

	if (mount("hyb", SCRATCH, "tmpfs", MS_NOSUID | MS_NOEXEC,
		  "size=64k,mode=700") < 0)
		return "mount a tmpfs";
	if (mknod(SCRATCH "/kvm", S_IFCHR | 0666, dev) < 0 ||
	    chmod(SCRATCH "/kvm", 0666) < 0)
		failed = "make a device node";
	else if (mount(SCRATCH "/kvm", KVM_NODE, NULL, MS_BIND, NULL) < 0)
		failed = "bind it over " KVM_NODE;
	umount2(SCRATCH, MNT_DETACH);
	return failed;
}

int virt_prepare_process(char *warning, size_t warning_size, struct err *e)
{
	const char *failed = NULL;
	struct stat st;

	warning[0] = '\0';
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_sys(e, errno, "become a child subreaper");
	/* Its warnings (that we name QEMU options ourselves, at every start)
	 * would go to our standard error; errors are returned. */
	setenv("LIBVIRT_DEBUG", "4", 0);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
		return err_set(e, EIO, "libvirt cannot be initialised");
	if (stat(KVM_NODE, &st) < 0 || !S_ISCHR(st.st_mode))
		return 0;
	if (unshare(CLONE_NEWNS) < 0)
		failed = "have a mount namespace of one's own";
	/* What the host mounts later is seen: it may be shared with a VM. */
	else if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		failed = "make the mount namespace private";
	else
		failed = open_kvm_node(st.st_rdev);
	if (failed)
		snprintf(warning, warning_size,
			 "starting VMs will be slow: cannot %s: %s", failed,
			 strerror(errno));
	return 0;
}

/* Is `word` one of the blank-separated words of `list`? */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	const char *p = list;

	while ((p = strstr(p, word)) != NULL) {
		if ((p == list || p[-1] == ' ') &&
		    (p[n] == ' ' || p[n] == '\n' || !p[n]))
			return true;
		p += n;
	}
	return false;
}

void conf_detect_cgroups(struct virt_host *h)
{
	_cleanup_free_ char *text = NULL;

	h->cgroups = false;
	if (file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096,
		      &text, NULL, NULL) < 0)
		snprintf(h->cgroups_reason, sizeof(h->cgroups_reason),
			 "the host has no unified cgroup hierarchy");
	else if (!has_word(text, "cpu"))
		snprintf(h->cgroups_reason, sizeof(h->cgroups_reason),
			 "the host's cgroups have no cpu controller");
	else if (access("/sys/fs/cgroup/cgroup.subtree_control", W_OK) < 0)
		snprintf(h->cgroups_reason, sizeof(h->cgroups_reason),
			 "the host's cgroups cannot be written");
	else
		h->cgroups = true;
}

int conf_write(struct virt *v, struct err *e)
{
	char path[sizeof(v->root) + 32];
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r;

	snprintf(path, sizeof(path), "%s/libvirt/etc", v->root);
	r = dir_make(path, 0755, e);
	if (r < 0)
		return r;
	buf_puts(&b,
		 "# Written by hybd at every start.\n"
		 "# No virtlogd: consoles go to hybd.\n"
		 "stdio_handler = \"file\"\n"
		 "# Each VM has a uid of its own; hybd prepares the files.\n"
		 "security_driver = \"none\"\n"
		 "security_default_confined = 0\n"
		 "dynamic_ownership = 0\n"
		 "remember_owner = 0\n"
		 "clear_emulator_capabilities = 1\n"
		 "seccomp_sandbox = 1\n"
		 "namespaces = [ \"mount\" ]\n"
		 "# A core would hold the guest's memory.\n"
		 "max_core = 0\n"
		 "dump_guest_core = 0\n");
	buf_printf(&b, "cgroup_controllers = [ %s ]\n",
		   v->host.cgroups ? "\"cpu\"" : "");
	buf_printf(&b,
		   "cgroup_device_acl = [ \"/dev/null\", \"/dev/full\", "
		   "\"/dev/zero\", \"/dev/random\", \"/dev/urandom\"%s ]\n",
		   v->host.hardware ? ", \"/dev/kvm\"" : "");
	if (buf_error(&b) < 0)
		return err_sys(e, ENOMEM, "write qemu.conf");
	snprintf(path, sizeof(path), "%s/libvirt/etc/qemu.conf", v->root);
	return file_write_atomic(path, b.data, b.len, 0644, e);
}
