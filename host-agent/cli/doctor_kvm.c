/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does KVM work? /dev/kvm may exist, open, and answer every ioctl, and a guest
 * under it still hang for ever (nested virtualisation that is filtered). So a
 * child runs a guest of one page: real mode, `out 0x80`, `hlt`. It is killed
 * when that takes longer than two seconds.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/doctor.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROBE_MS   2000
#define GUEST_ADDR 0x1000

/* The child's exit status. */
enum probe { PROBE_OK, PROBE_NO_VM, PROBE_NO_CPU, PROBE_BAD_RUN, PROBE_HANGS };

/* mov al, 0x42; out 0x80, al; hlt */
static const unsigned char guest_code[] = {0xb0, 0x42, 0xe6, 0x80, 0xf4};

static int start_at(int vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = GUEST_ADDR, .rflags = 2};

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

static enum probe run_guest(int vcpu, const struct kvm_run *run)
{
	const unsigned char *io;

	if (start_at(vcpu) < 0 || ioctl(vcpu, KVM_RUN, 0) < 0)
		return PROBE_BAD_RUN;
	io = (const unsigned char *)run + run->io.data_offset;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x80 ||
	    *io != 0x42)
		return PROBE_BAD_RUN;
	if (ioctl(vcpu, KVM_RUN, 0) < 0 || run->exit_reason != KVM_EXIT_HLT)
		return PROBE_BAD_RUN;
	return PROBE_OK;
}

static enum probe probe(int kvm)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = GUEST_ADDR, .memory_size = 4096};
	int vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu, size;
	unsigned char *page;
	struct kvm_run *run;

	if (vm < 0)
		return PROBE_NO_VM;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return PROBE_NO_VM;
	memcpy(page, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)page;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return PROBE_NO_VM;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || size < (int)sizeof(*run))
		return PROBE_NO_CPU;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
		   0);
	if (run == MAP_FAILED)
		return PROBE_NO_CPU;
	return run_guest(vcpu, run);
}

static enum probe probe_in_child(int kvm)
{
	_cleanup_close_ int pidfd = -1;
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return PROBE_NO_VM;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit((int)probe(kvm));
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || fd_wait(pidfd, POLLIN, now_ms() + PROBE_MS) < 0) {
		kill(pid, SIGKILL);
		/* A child that hangs in the kernel stays; it is not waited
		 * for. */
		if (pidfd >= 0 && fd_wait(pidfd, POLLIN, now_ms() + 500) == 0)
			waitpid(pid, NULL, 0);
		return PROBE_HANGS;
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return PROBE_BAD_RUN;
	return (enum probe)WEXITSTATUS(status);
}

void doctor_kvm(json_t *checks)
{
	static const char *const words[] = {
		[PROBE_OK] = "/dev/kvm runs instructions of a guest; "
			     "whether a whole VM runs, hybd finds out",
		[PROBE_NO_VM] = "/dev/kvm opens but makes no VM",
		[PROBE_NO_CPU] = "/dev/kvm makes no virtual CPU",
		[PROBE_BAD_RUN] = "/dev/kvm is there, and a guest does not run "
				  "as it should",
		[PROBE_HANGS] = "/dev/kvm is there, and a guest hangs on it",
	};
	static const char emulated[] =
		"VMs are emulated (slow, and no security boundary); switch "
		"virtualisation on in the firmware, or nested virtualisation "
		"on the host below";
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	enum probe p;

	if (kvm < 0) {
		doctor_add(checks, "kvm", "warn", emulated, "/dev/kvm: %s",
			   strerror(errno));
		return;
	}
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		doctor_add(checks, "kvm", "warn", emulated,
			   "/dev/kvm speaks another version");
		return;
	}
	p = probe_in_child(kvm);
	if (p > PROBE_HANGS)
		p = PROBE_BAD_RUN;
	doctor_add(checks, "kvm", p == PROBE_OK ? "ok" : "warn",
		   p == PROBE_OK ? "" : emulated, "%s", words[p]);
}
