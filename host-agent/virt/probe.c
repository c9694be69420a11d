/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does KVM work? A device node that opens says nothing: where KVM is nested
 * and filtered, a guest under it can hang for ever. So a guest is run, as an
 * unprivileged uid, in two steps: 16 bytes of code at the reset vector that
 * say hello and leave, and then our kernel until it has begun its init and a
 * moment longer (a filtered KVM can run real mode and the early kernel, and
 * fail at the first instruction that it must emulate). Each has a few seconds. The verdict holds until the host boots again; it lies with its
 * reason in ROOT/virt/accel.
 */
#include "host-agent/virt/internal.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

#include <fcntl.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HELLO_MS  2500
#define KERNEL_MS 4000
#define SETTLE_MS 300
#define KILL_MS	  2000

#define ROM_SIZE 65536

/* At the reset vector: 'h' and a newline to the debug console (port 0xe9),
 * then a write to isa-debug-exit (port 0x501). */
static const unsigned char rom_code[16] = {
	0xba, 0xe9, 0x00, /* mov dx, 0xe9 */
	0xb0, 0x68, 0xee, /* mov al, 'h'; out dx, al */
	0xb0, 0x0a, 0xee, /* mov al, '\n'; out dx, al */
	0xba, 0x01, 0x05, /* mov dx, 0x501 */
	0xee,		  /* out dx, al */
	0xf4,		  /* hlt */
	0xeb, 0xfd,	  /* jmp to the hlt */
};

static int write_rom(struct virt *v, char *path, size_t size, struct err *e)
{
	_cleanup_free_ unsigned char *rom = calloc(1, ROM_SIZE);

	if (!rom)
		return err_sys(e, ENOMEM, "probe KVM");
	memcpy(rom + ROM_SIZE - sizeof(rom_code), rom_code, sizeof(rom_code));
	/* In libvirt's folder, which others may enter. */
	snprintf(path, size, "%s/libvirt/probe.rom", v->root);
	return file_write_atomic(path, rom, ROM_SIZE, 0444, e);
}

/* What QEMU says when KVM gives up; it then waits for ever. */
#define KVM_FAILURE "KVM internal error"

/* Reads until `want` was seen and `settle` ms have passed after it: 0,
 * -ETIMEDOUT, or -EIO when QEMU ended or KVM gave up. */
static int read_until(int fd, const char *want, unsigned int ms,
		      unsigned int settle, char *out, size_t size)
{
	uint64_t deadline = now_ms() + ms;
	bool seen = false;
	size_t len = 0;
	ssize_t n;
	int r;

	for (;;) {
		r = fd_wait(fd, POLLIN, deadline);
		if (r < 0)
			return r == -ETIMEDOUT && seen ? 0 : r;
		n = read(fd, out + len, size - 1 - len);
		if (n <= 0)
			return -EIO;
		out[len += (size_t)n] = '\0';
		if (strstr(out, KVM_FAILURE))
			return -EIO;
		if (!seen && strstr(out, want)) {
			seen = true;
			if (!settle)
				return 0;
			deadline = now_ms() + settle;
		}
		/* Keep the end, where the next words continue. */
		if (len > size / 2) {
			memmove(out, out + len / 2, len - len / 2 + 1);
			len -= len / 2;
		}
	}
}

static int run_until(struct virt *v, const char *const *argv, const char *want,
		     unsigned int ms, unsigned int settle, char *out,
		     size_t size)
{
	_cleanup_close_ int rd = -1, wr = -1, pidfd = -1;
	struct proc_spec spec = {.path = VIRT_EMULATOR,
				 .argv = argv,
				 .stdin_fd = -1,
				 .uid = v->uid_base,
				 .gid = v->uid_base,
				 .drop_ids = true,
				 .new_session = true,
				 .die_with_parent = true};
	int p[2], r;
	pid_t pid;

	out[0] = '\0';
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	rd = p[0];
	wr = p[1];
	spec.stdout_fd = spec.stderr_fd = wr;
	r = proc_spawn(&spec, &pid, &pidfd, NULL);
	if (r < 0)
		return r;
	cleanup_close(&wr);
	r = read_until(rd, want, ms, settle, out, size);
	/* A vCPU that hangs in KVM can still be killed; if not even that
	 * works, it is left behind and the verdict is no. */
	process_end(pidfd, KILL_MS);
	waitpid(pid, NULL, WNOHANG);
	return r;
}

static int say_hello(struct virt *v, const char *rom, char *out, size_t size)
{
	const char *const argv[] = {VIRT_EMULATOR,
				    "-machine",
				    "q35,accel=kvm",
				    "-no-user-config",
				    "-nodefaults",
				    "-display",
				    "none",
				    "-m",
				    "16",
				    "-bios",
				    rom,
				    "-chardev",
				    "stdio,id=out",
				    "-device",
				    "isa-debugcon,iobase=0xe9,chardev=out",
				    "-device",
				    "isa-debug-exit,iobase=0x501,iosize=1",
				    NULL};

	return run_until(v, argv, "h\n", HELLO_MS, 0, out, size);
}

static int boot_kernel(struct virt *v, char *out, size_t size)
{
	const char *const argv[] = {VIRT_EMULATOR,
				    "-machine",
				    "q35,accel=kvm",
				    "-cpu",
				    "host",
				    "-no-user-config",
				    "-nodefaults",
				    "-no-reboot",
				    "-display",
				    "none",
				    "-m",
				    "128",
				    "-bios",
				    "/usr/share/qemu/qboot.rom",
				    "-kernel",
				    v->kernel,
				    "-initrd",
				    v->initramfs,
				    "-append",
				    "console=ttyS0 earlyprintk=ttyS0 panic=-1",
				    "-serial",
				    "stdio",
				    NULL};

	return run_until(v, argv, "as init process", KERNEL_MS, SETTLE_MS, out,
			 size);
}

/* What says why: KVM's failure, or the last line; escaped. */
static void last_words(char *text, char *out, size_t size)
{
	char *p = strstr(text, KVM_FAILURE);
	size_t n;

	if (p) {
		p[strcspn(p, "\r\n")] = '\0';
		text_escape(p, out, size);
		return;
	}
	n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	p = strrchr(text, '\n');
	text_escape(p ? p + 1 : text, out, size);
}

static bool kvm_works(struct virt *v, char *reason, size_t size)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	char out[4096], rom[PATH_MAX], words[128];
	struct err e = ERR_INIT;
	int r;

	if (fd < 0) {
		snprintf(reason, size, "/dev/kvm: %s", strerror(errno));
		return false;
	}
	r = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (r != KVM_API_VERSION) {
		snprintf(reason, size, "/dev/kvm answers with version %d", r);
		return false;
	}
	if (write_rom(v, rom, sizeof(rom), &e) < 0) {
		snprintf(reason, size, "%.200s", e.msg);
		return false;
	}
	r = say_hello(v, rom, out, sizeof(out));
	unlink(rom);
	if (r == 0)
		r = boot_kernel(v, out, sizeof(out));
	last_words(out, words, sizeof(words));
	if (r == 0)
		snprintf(reason, size, "KVM runs our kernel");
	else if (r == -ETIMEDOUT)
		snprintf(reason, size,
			 "/dev/kvm opens, but a guest under it does not say "
			 "hello in time");
	else
		snprintf(reason, size, "a guest does not run under KVM: %s",
			 words[0] ? words : "no output");
	return r == 0;
}

static char *read_boot_id(void)
{
	char *text = NULL;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text,
		      NULL, NULL) == 0)
		text[strcspn(text, "\n")] = '\0';
	return text;
}

/* The verdict of this boot; false: none yet. */
static bool load_verdict(const char *path, const char *boot_id, bool *works,
			 char *reason, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *id, *why;
	bool found = false;
	json_t *j;
	int kvm;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return false;
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (j &&
	    json_unpack(j, "{s:s s:b s:s}", "boot_id", &id, "kvm", &kvm,
			"reason", &why) == 0 &&
	    strcmp(id, boot_id) == 0) {
		*works = kvm;
		snprintf(reason, size, "%s", why);
		found = true;
	}
	json_decref(j);
	return found;
}

static void save_verdict(const char *path, const char *boot_id, bool works,
			 const char *reason)
{
	json_t *j = json_pack("{s:s s:b s:s}", "boot_id", boot_id, "kvm", works,
			      "reason", reason);
	_cleanup_free_ char *text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;

	json_decref(j);
	/* Without it the next start probes again. */
	if (text)
		(void)file_write_atomic(path, text, strlen(text), 0644, NULL);
}

int probe_accel(struct virt *v, enum virt_accel wanted, struct err *e)
{
	_cleanup_free_ char *boot_id = NULL;
	struct virt_host *h = &v->host;
	char path[sizeof(v->root) + 32];
	bool works = false;

	if (wanted == VIRT_ACCEL_TCG) {
		snprintf(h->reason, sizeof(h->reason), "asked for");
	} else {
		snprintf(path, sizeof(path), "%s/virt/accel", v->root);
		boot_id = read_boot_id();
		if (!boot_id || !load_verdict(path, boot_id, &works, h->reason,
					      sizeof(h->reason))) {
			works = kvm_works(v, h->reason, sizeof(h->reason));
			if (boot_id)
				save_verdict(path, boot_id, works, h->reason);
		}
	}
	if (wanted == VIRT_ACCEL_KVM && !works) {
		err_set(e, EOPNOTSUPP,
			"KVM was asked for and cannot be had: "
			"%s",
			h->reason);
		err_hint(e, "use accel: auto or tcg (software emulation, which "
			    "isolates nothing)");
		return -EOPNOTSUPP;
	}
	h->hardware = works;
	h->accel = works ? VIRT_ACCEL_KVM : VIRT_ACCEL_TCG;
	return 0;
}
