/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of virt/ share.
 *
 * Locks: vm->op serialises what is done to one VM and is held for as long as
 * that takes; virt->lock guards the table and every other field and is never
 * held across anything that blocks. Order: op before lock.
 */
#ifndef HYB_HOST_AGENT_VIRT_INTERNAL_H
#define HYB_HOST_AGENT_VIRT_INTERNAL_H

#include "host-agent/virt/tsc.h"
#include "host-agent/virt/virt.h"

#include <libvirt/libvirt.h>
#include <pthread.h>

#define VIRT_EMULATOR "/usr/bin/qemu-system-x86_64"

/* A process by what names it for the life of the host's boot. */
struct process {
	pid_t pid; /* 0: none */
	uint64_t start;
};

/* The process of a shared folder. */
struct share {
	struct process process;
	int fd;	 /* pidfd; -1: it has ended */
	int log; /* what it says; -1: an earlier hybd has started it */
};

struct vm {
	struct vm *next;
	unsigned int refs;
	pthread_mutex_t op;

	/* The record; see record.h. */
	char name[VIRT_NAME_SIZE];
	unsigned char uuid[16];
	uid_t uid;
	gid_t gid;
	uint32_t cid;
	uint32_t slots;
	enum virt_carrier carrier;
	char vm_dir[VIRT_DIR_MAX + 1];
	struct process qemu, vsockd;
	struct share shares[VIRT_SHARES_MAX];
	size_t n_shares;
	enum virt_end end;
	char detail[96];

	enum virt_state state;
	bool forgotten; /* out of the table; the last user frees it */
	bool starting;
	int early_end; /* VIR_DOMAIN_EVENT_STOPPED_..., while starting; -1 */
	bool destroying;
	bool panicked; /* seen just before its end */
	bool rebooted;
	int qemu_fd;   /* pidfd; -1: none */
	int vsockd_fd; /* pidfd; -1: none */
	int console_listen, console_fd, console_log;
	size_t console_len;
	int console_clients[VIRT_CONSOLE_CLIENTS];
	/* Typed, and not taken by QEMU yet: while there is any, no client is
	 * read. */
	char typed[1024];
	size_t typed_len;
};

struct event {
	struct event *next;
	enum virt_event_kind kind;
	char name[VIRT_NAME_SIZE];
	enum virt_end end;
	pid_t qemu_pid; /* to ask the reaper how it ended */
	char detail[96];
};

struct virt {
	char root[VIRT_ROOT_MAX + 1];
	char *uri, *kernel, *initramfs, *cmdline, *vsockd_path, *fsd_path;
	uint32_t uid_base, share_id, share_range;
	bool embedded;
	void (*on_event)(const struct virt_event *ev, void *arg);
	void *arg;
	void (*on_warning)(const char *text, void *arg);
	struct virt_host host;
	struct tsc_mark tsc; /* since it was opened */

	virConnectPtr conn;
	int callback, qemu_callback;
	int lock_fd;

	pthread_mutex_t lock;
	pthread_cond_t idle; /* workers went down */
	unsigned int workers;
	struct vm *vms;
	struct event *events, **events_end;
	bool closing;
	int wake_fd; /* eventfd of the keeper */
	pthread_t loop_thread, keeper_thread;
	bool loop_runs, keeper_runs;
};

/* The VM by that name with a reference, or NULL. make: a new entry when there
 * is none. */
struct vm *vm_get(struct virt *v, const char *name, bool make);
void vm_put(struct virt *v, struct vm *vm);
void keeper_wake(struct virt *v);
/* Copies ev; virt->lock is held. */
void event_push(struct virt *v, enum virt_event_kind kind, struct vm *vm);
void virt_warn(struct virt *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What libvirt last said to this thread, as an error. */
int virt_error(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The connection with a reference (it changes when libvirtd goes away and comes
 * back); virConnectClose() it. */
virConnectPtr conn_get(struct virt *v);
/* The domain by name: 0, -ENOENT, or another error. */
int virt_lookup(struct virt *v, const char *name, virDomainPtr *ret,
		struct err *e);
/* Did the process end? */
bool process_is_alive(const struct process *p);
/* Kills it by pidfd and waits until it is gone, at most `ms`. */
int process_end(int pidfd, unsigned int ms);
/* QEMU's pid as libvirt wrote it down, checked to be a process of this VM. */
int vm_find_qemu(struct virt *v, struct vm *vm, struct process *ret);
/* Marks it as gone, tells the caller, closes what is open. lock is held. */
void vm_set_gone(struct virt *v, struct vm *vm, enum virt_end end,
		 const char *detail);
/* Links a regular file under this name into the VM's directory, which may hold
 * anything: nothing in it is followed, and what is in the way is replaced. */
int vm_link_file(const struct vm *vm, const char *path, const char *name,
		 struct err *e);
/* Removes the sockets in its directory. */
void vm_remove_sockets(const struct vm *vm);
/* Runs fn(v, vm) on a thread of its own; a reference is held meanwhile. vm may
 * be NULL. lock is held. */
int worker_start(struct virt *v, struct vm *vm,
		 void (*fn)(struct virt *v, struct vm *vm));

/* prepare.c */
int conf_write(struct virt *v, struct err *e);
void conf_detect_cgroups(struct virt_host *h);

/* leftover.c; before the embedded driver is opened. */
void leftover_clear(struct virt *v);

/* reap.c: orphans that this process adopts, and how they ended. */
int reap_start(struct err *e);
void reap_stop(void);
/* libvirt is about to fork: look often. */
void reap_busy(bool on);
/* One of them has ended. */
void reap_kick(void);
/* Wait status of an adopted process that has been reaped; false: unknown. */
bool reap_status(pid_t pid, int *ret);

/* probe.c */
int probe_accel(struct virt *v, enum virt_accel wanted, struct err *e);

/* record.c */
int record_write(struct virt *v, const struct vm *vm, struct err *e);
/* All records of the root become entries of the table. */
int record_load_all(struct virt *v, struct err *e);
int record_path(const struct virt *v, const char *name, const char *file,
		char *out, size_t size);

/* device.c */
int device_start(struct virt *v, struct vm *vm, struct err *e);
void device_stop(struct virt *v, struct vm *vm);
/* The keeper saw its end. */
void device_recover(struct virt *v, struct vm *vm);
/* A VM that was found suspended: an earlier hybd died while recovering. */
void device_unpause(struct virt *v, struct vm *vm);

/* nic.c: into a VM whose CPUs have not run yet. */
int nic_attach(virDomainPtr dom, const struct virt_nic *nic, struct err *e);

/* share.c */
int shares_start(struct virt *v, struct vm *vm, const struct virt_vm_spec *s,
		 struct err *e);
void shares_stop(struct virt *v, struct vm *vm);
/* Puts what they have said before an error. */
void shares_explain(struct virt *v, struct vm *vm, struct err *e);
/* On a worker: one has ended, which matters if the VM goes on. */
void share_lost(struct virt *v, struct vm *vm);
/* These with lock held. There are none (their descriptors are not closed). */
void shares_forget(struct vm *vm);
void shares_close(struct vm *vm);
/* Holds those of the record again; false: one has ended. */
bool shares_take_up(struct vm *vm);
bool shares_are_whole(const struct vm *vm);
/* The keeper saw the end of number i. */
void share_on_ended(struct virt *v, struct vm *vm, size_t i);

/* console.c; all with lock held. */
int console_open(struct virt *v, struct vm *vm, struct err *e);
void console_close(struct vm *vm);
void console_on_listen(struct vm *vm);
void console_on_data(struct virt *v, struct vm *vm);
/* Client i has typed something, or has gone. */
void console_on_client(struct vm *vm, size_t i);
/* QEMU takes what is typed again. */
void console_on_room(struct vm *vm);

/* keeper.c */
int keeper_start(struct virt *v, struct err *e);
void keeper_stop(struct virt *v);

/* events.c */
/* libvirt's VIR_DOMAIN_EVENT_STOPPED_... ; lock is held. */
void vm_on_stopped(struct virt *v, struct vm *vm, int detail);
/* Asks this connection for events, and for its own end. */
int events_register(struct virt *v, virConnectPtr conn, struct err *e);
/* Of the connection that v has. */
void events_unregister(struct virt *v);
int loop_start(struct virt *v, struct err *e);
void loop_stop(struct virt *v);

/* list.c: compares the table with libvirt and the processes. */
int virt_take_up(struct virt *v, struct err *e);
/* After libvirtd was away: what ended meanwhile. */
void virt_take_up_again(struct virt *v);

/* reconnect.c: libvirtd went away. Called on the loop's thread. */
void on_conn_closed(virConnectPtr conn, int reason, void *opaque);

#endif
