/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines through libvirt. This layer knows VMs, disks and the
 * processes behind them (QEMU and, for the unix carrier of vsock,
 * hyb-vsockd); it knows nothing of manifests, containers or the guest's RPC.
 *
 * Threads. virt_prepare_process() comes first in main(), while the process
 * has one thread. virt_open() starts three threads of its own: libvirt's event
 * loop (virEventAddHandle() and friends may be used by the caller from then
 * on), one that reaps orphans, and one that looks after consoles and devices
 * and calls virt_config.on_event. All other functions may be called from any
 * thread but those three, block until the thing is done, and serialise
 * themselves per VM.
 *
 * Lifetime. VMs outlive the process. virt_close() leaves them running; a new
 * process that opens the same root has them back: see virt_list(). What a
 * restart needs to know of a VM lies in ROOT/virt/NAME/ (root's alone):
 *   record       one line of JSON, written before QEMU is started (and
 *                not fsynced: no VM outlives the host)
 *   console.log  what the VM wrote to its console, cut at VIRT_CONSOLE_MAX;
 *                console.log.1 is the piece before it
 */
#ifndef HYB_HOST_AGENT_VIRT_VIRT_H
#define HYB_HOST_AGENT_VIRT_VIRT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longest ROOT: libvirt's longest socket below it must end at 107 bytes. */
#define VIRT_ROOT_MAX 42
/* Longest vm_dir, for the same reason ("/console.sock"). */
#define VIRT_DIR_MAX	 90
#define VIRT_CONSOLE_MAX ((size_t)256 * 1024)
#define VIRT_SLOTS_MAX	 24
#define VIRT_VCPUS_MAX	 64
#define VIRT_SERIAL_MAX	 20
#define VIRT_NAME_SIZE	 64

enum virt_accel {
	VIRT_ACCEL_AUTO,
	VIRT_ACCEL_KVM,
	VIRT_ACCEL_TCG,
	VIRT_ACCEL_MAX
};
enum virt_carrier {
	VIRT_VSOCK_UNIX,
	VIRT_VSOCK_KERNEL,
	VIRT_VSOCK_NONE, /* a guest without an agent */
	VIRT_VSOCK_MAX
};

enum virt_state {
	VIRT_GONE, /* no such domain, or its QEMU is dead */
	VIRT_RUNNING,
	VIRT_PAUSED, /* only for moments, or by someone else */
	VIRT_STATE_MAX
};

/* Why a VM is gone. */
enum virt_end {
	VIRT_END_NONE,	    /* not ended, or it never ran here */
	VIRT_END_SHUTDOWN,  /* the guest powered itself off */
	VIRT_END_REBOOT,    /* the guest reset itself: ended, never rebooted */
	VIRT_END_PANIC,	    /* the guest's kernel panicked */
	VIRT_END_DESTROYED, /* virt_vm_destroy(), or libvirt was asked to */
	VIRT_END_KILLED,    /* QEMU was killed or ended by itself */
	VIRT_END_UNKNOWN,   /* it ended while nobody looked */
	VIRT_END_MAX
};

enum virt_event_kind {
	VIRT_EVENT_STARTED,
	VIRT_EVENT_STOPPED,	    /* end and detail are set */
	VIRT_EVENT_VSOCK_LOST,	    /* its device died; recovery goes on */
	VIRT_EVENT_VSOCK_RECOVERED, /* streams are broken, connect again */
	VIRT_EVENT_VSOCK_FAILED,    /* no recovery: destroy the VM */
	VIRT_EVENT_SHARE_LOST,	    /* a shared folder's process has ended, and
				       what the guest asks of it is not
				       answered: destroy the VM */
	VIRT_EVENT_RECONNECTED,	    /* to libvirtd: look at everything again;
				       name is "" */
	VIRT_EVENT_MAX
};

struct virt_event {
	enum virt_event_kind kind;
	const char *name; /* of the domain; valid during the call */
	enum virt_end end;
	const char *detail; /* "signal 9 (SIGKILL)", or ""; during the call */
};

struct virt;

struct virt_config {
	const char *root; /* absolute, exists, root's; at most VIRT_ROOT_MAX */
	const char *uri;  /* "" : qemu:///embed on ROOT/libvirt */
	enum virt_accel accel;
	uint32_t uid_base;	 /* this uid and gid run the probe */
	const char *kernel;	 /* absolute paths; each must be readable by */
	const char *initramfs;	 /* anyone (x on all parents included) */
	const char *cmdline;	 /* kernel command line, one line */
	const char *vsockd_path; /* hyb-vsockd */
	const char *fsd_path;	 /* hyb-fsd; NULL: no shares */
	/* What VMs do in shared folders is done as other ids of the host than
	 * the owner's: a reserved one, and this and the 65535 behind it. */
	uint32_t share_id, share_range;
	/* Called on a thread of virt's: must not block and must not call
	 * virt_ functions. May be NULL. */
	void (*on_event)(const struct virt_event *ev, void *arg);
	void *arg;
	/* A sentence for the log about something degraded; as on_event. */
	void (*on_warning)(const char *text, void *arg);
};

/* What the host turned out to be. */
struct virt_host {
	enum virt_accel accel; /* VIRT_ACCEL_KVM or VIRT_ACCEL_TCG */
	bool hardware;	       /* isolation: hardware, else emulated */
	char reason[256];      /* why this accelerator */
	char libvirt[32];      /* "9.0.0" */
	char qemu[32];	       /* "7.2.22" */
	bool kernel_vsock;     /* VIRT_VSOCK_KERNEL can be asked for */
	bool cgroups;	       /* virt_vm_spec's host limits are enforced */
	char cgroups_reason[128];
};

/*
 * To be called by main() before any thread exists: child subreaper, a private
 * mount namespace in which /dev/kvm is seen by libvirt and by QEMU's uid in
 * the same way (else libvirt probes QEMU's capabilities again at every start),
 * and libvirt's event loop implementation. Without the right to unshare the
 * mount namespace: 0 and a warning in warning[] ("" when all is well).
 */
int virt_prepare_process(char *warning, size_t warning_size, struct err *e);

/*
 * Opens libvirt and takes up what runs. The first time after a boot of the
 * host this probes the accelerator (seconds at the worst); the verdict lies in
 * ROOT/virt/accel. -EBUSY: another process holds this root. -ENOPKG: libvirt
 * or QEMU are not installed (with a hint). -EOPNOTSUPP: KVM was asked for and
 * does not work. -ENAMETOOLONG: root. One at a time per process.
 */
int virt_open(const struct virt_config *cfg, struct virt **ret, struct err *e);
/* Ends the threads; VMs go on. */
void virt_close(struct virt *v);

void virt_host_info(struct virt *v, struct virt_host *ret);
/* "hardware" or "emulated". */
const char *virt_isolation(struct virt *v);

/* A whole operating system from a disk of its own, in place of our kernel: the
 * firmware boots it, a reset restarts it, and its power button works. The
 * files are linked into vm_dir; the overlay belongs to the VM's uid. */
struct virt_boot {
	const char *base;    /* raw, 0444 */
	const char *overlay; /* qcow2 over it */
	const char *nvram;   /* UEFI firmware with these variables, the VM's
				uid's; NULL: BIOS */
};

/* Is there UEFI firmware? *ret_vars: the file with the variables that a VM
 * begins with. -ENOPKG. */
int virt_uefi(const char **ret_vars, struct err *e);

/* A network card, before a tap that the caller has made: one queue, with
 * IFF_VNET_HDR. QEMU gets a descriptor of its own; which network it is in only
 * the caller knows. */
struct virt_nic {
	int tap_fd;	 /* borrowed */
	const char *mac; /* "02:00:00:00:00:01" */
};

#define VIRT_SHARES_MAX 8
/* The tag in the guest of a VM's share number %zu. */
#define VIRT_SHARE_TAG "bind%zu"

/* What is shared, a folder or a file, has this name in the share's root, which
 * has nothing else. */
#define VIRT_SHARE_ENTRY "shared"

/* A folder or a single file of the host's, by virtiofs. */
struct virt_share {
	int folder_fd; /* what is shared; borrowed */
	bool read_only;
	uint32_t uid, gid; /* not 0: of the host, whose id in the guest is … */
	uint32_t ids_base; /* … this one; the guest's next 65535 are those
			      behind virt_config.share_range */
};

struct virt_vm_spec {
	const char *name; /* name_is_valid() */
	unsigned char uuid[16];
	uint32_t vcpus;	 /* 1 ... VIRT_VCPUS_MAX */
	uint64_t memory; /* bytes, a multiple of 2 MiB, at least 32 MiB */
	uid_t uid;	 /* of this VM alone, not 0 */
	gid_t gid;
	uint32_t cid;	    /* 3 ... 2^32-2, of this VM alone */
	const char *vm_dir; /* made if missing: 0700, uid:gid; same file
				system as the image store */
	enum virt_carrier carrier;
	uint32_t slots;		   /* disks and NICs that can be attached */
	const char *extra_cmdline; /* behind the configured one; NULL: none */
	const struct virt_boot *boot; /* NULL: our kernel and initramfs */
	const struct virt_nic *nic;   /* NULL: none */
	const struct virt_share *shares;
	size_t n_shares; /* at most VIRT_SHARES_MAX */
	/* Host limits of the QEMU process; 0: none. Where the host has no
	 * usable cgroup controllers they are not applied (virt_host.cgroups).
	 */
	uint32_t cpus_milli;
};

/*
 * Starts a blank VM; back when its CPUs run. -EEXIST: a domain of that name
 * is there. On failure nothing is left, neither process nor domain; vm_dir
 * and what was in it stay.
 */
int virt_vm_start(struct virt *v, const struct virt_vm_spec *spec,
		  struct err *e);

/* Where hyb-vsockd listens for this VM: "VMDIR/vsock.sock". Clients may
 * connect when virt_vm_start() is back. -ENAMETOOLONG. */
int virt_vsock_path(const char *vm_dir, char *out, size_t size);

/*
 * Attaches a regular file as a raw virtio-blk disk. path: absolute; when it is
 * not inside the VM's directory it is hard-linked there as "disk-SERIAL"
 * first (-EXDEV on another file system). The VM's uid must be able to open
 * it: read-only ones 0444, writable ones owned by it. serial: [a-z0-9-]{1,20},
 * seen in the guest as /sys/block/vdX/serial. Attaching a serial that is
 * attached is success. -ENOSPC: no slot is free. -ENOENT: no such VM.
 */
int virt_vm_attach_disk(struct virt *v, const char *name, const char *path,
			const char *serial, bool readonly, struct err *e);
/* The same, read-only, for what differs from a raw file: path is a qcow2 over
 * base, whatever the file itself says. base is linked as "base-SERIAL". */
int virt_vm_attach_difference(struct virt *v, const char *name,
			      const char *path, const char *base,
			      const char *serial, struct err *e);
/* The same for a volume: written through to the host's disk where the guest
 * flushes, and locked by QEMU against others that write. */
int virt_vm_attach_volume(struct virt *v, const char *name, const char *path,
			  const char *serial, bool readonly, struct err *e);
/* The same for a disk that is gone with its VM: what the guest flushes goes no
 * further than the host's page cache. */
int virt_vm_attach_scratch(struct virt *v, const char *name, const char *path,
			   const char *serial, struct err *e);
/* Makes the disk and its file so large, for the running guest. -ENOENT: there
 * is no disk with this serial. */
int virt_vm_resize_disk(struct virt *v, const char *name, const char *serial,
			uint64_t bytes, struct err *e);
/* Detaches and removes the link; back when the guest has let go (at most
 * 5 s, then -ETIMEDOUT). A serial that is not attached: success. */
int virt_vm_detach_disk(struct virt *v, const char *name, const char *serial,
			struct err *e);

struct virt_disk {
	char serial[VIRT_SERIAL_MAX + 1];
	char target[8]; /* "vda": libvirt's word, not the guest's */
	bool readonly;
};

/* The disks of a VM; *ret is freed with free(). */
int virt_vm_disks(struct virt *v, const char *name, struct virt_disk **ret,
		  size_t *ret_n, struct err *e);

/* Ends a VM with everything that belongs to it but vm_dir's disks; the
 * sockets in vm_dir go. A VM that is not there: success. ROOT/virt/NAME stays
 * (console) until virt_vm_forget(). Back when QEMU and hyb-vsockd are gone. */
int virt_vm_destroy(struct virt *v, const char *name, struct err *e);
/* Presses the VM's power button and waits until it has ended, at most ms (then
 * -ETIMEDOUT, and it runs on). A VM that is not there: success. */
int virt_vm_shutdown(struct virt *v, const char *name, uint64_t ms,
		     struct err *e);
/* Removes ROOT/virt/NAME. -EBUSY: the VM runs. */
int virt_vm_forget(struct virt *v, const char *name, struct err *e);

struct virt_vm_info {
	char name[VIRT_NAME_SIZE];
	unsigned char uuid[16];
	enum virt_state state;
	enum virt_end end; /* when VIRT_GONE and it ran */
	char detail[96];
	pid_t qemu_pid;	     /* 0: none; verified by start time */
	uint64_t qemu_start; /* proc_start_time() */
	pid_t vsockd_pid;    /* 0: none or the kernel's carrier */
	uint64_t vsockd_start;
	bool share_lost; /* the process of a shared folder has ended */
	uid_t uid;
	uint32_t cid;
	enum virt_carrier carrier;
	char vm_dir[VIRT_DIR_MAX + 1];
};

/* State of one VM; VIRT_GONE (and 0) for one that nobody has heard of. */
int virt_vm_info(struct virt *v, const char *name, struct virt_vm_info *ret,
		 struct err *e);
/* All VMs that have a record in ROOT/virt or a domain that is ours, gone ones
 * included; *ret is freed with free(). Checked against the processes, so a VM
 * that died while nobody looked is VIRT_GONE here. */
int virt_list(struct virt *v, struct virt_vm_info **ret, size_t *ret_n,
	      struct err *e);

struct virt_memory {
	uint64_t qemu_pss;	/* bytes, without the guest's memory */
	uint64_t guest_touched; /* the guest's memory as far as it exists */
	uint64_t vsockd_pss;	/* without the guest's memory */
	uint64_t vsockd_rss;	/* the same, pages shared with others in full */
};

int virt_vm_memory(struct virt *v, const char *name, struct virt_memory *ret,
		   struct err *e);

/* The last bytes of the console, at most max, escaped for a terminal line by
 * line; works for ended VMs too. The caller frees *ret. */
int virt_vm_console(struct virt *v, const char *name, size_t max, char **ret,
		    struct err *e);

/* So many may be connected to one VM's console at once. */
#define VIRT_CONSOLE_CLIENTS 4
/* The VM's console as a stream: what it writes from now on comes out of *ret,
 * what is written there is typed. Who does not read loses lines, and holds
 * nobody up. The end of the stream is the VM's, or this process's. -ENOENT: no
 * such VM runs. -EBUSY: VIRT_CONSOLE_CLIENTS are connected. */
int virt_vm_console_open(struct virt *v, const char *name, int *ret,
			 struct err *e);

const char *virt_state_name(enum virt_state s);
const char *virt_end_name(enum virt_end r);
const char *virt_accel_name(enum virt_accel a);
/* "auto", "kvm", "tcg". 0 or -EINVAL. */
int virt_accel_parse(const char *s, enum virt_accel *ret);

#endif
