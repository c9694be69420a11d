/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host shares with a VM: for each a process (hyb-fsd, which becomes virtiofsd)
 * that listens on a socket in the VM's folder, to which QEMU connects once.
 *
 * It ends by itself when QEMU does, whatever has become of us. The other way
 * round QEMU 7.2 takes no other in the place of one that died, and what the
 * guest had asked of it would wait for ever: so that is told as the end of the
 * VM (VIRT_EVENT_SHARE_LOST), which is made again with new ones.
 *
 * What they say goes into a memfd of a fixed size: a guest can make them say
 * much, and it can fill nothing.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#define END_MS 5000
/* A VM whose QEMU is ending has shares that end: so long it may take until it
 * has. */
#define SETTLE_MS 1500

static int make_socket(const struct vm *vm, size_t i, struct err *e)
{
	char path[VIRT_DIR_MAX + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/" XML_SHARE_SOCK, vm->vm_dir,
		 (unsigned int)i);
	fd = unix_listen(path, 0600, 1, e);
	if (fd >= 0 && lchown(path, vm->uid, vm->gid) < 0) {
		err_sys(e, errno, "give '%s' away", path);
		close(fd);
		return -e->code;
	}
	return fd;
}

/* go: where a byte lets it begin. */
static int spawn(struct virt *v, const struct virt_share *s, int listen_fd,
		 int log, int *ret_go, pid_t *ret_pid, struct err *e)
{
	char own[16], owner[32], range[16], base[16];
	const char *argv[] = {"hyb-fsd", "--wait", "--own-id", own,
			      "--owner", owner,	   "--range",  range,
			      "--base",	 base,	   "--name",   VIRT_SHARE_ENTRY,
			      NULL,	 NULL};
	const int fds[] = {s->folder_fd, listen_fd};
	_cleanup_close_ int in = -1, go = -1;
	struct proc_spec spec = {.path = v->fsd_path,
				 .argv = argv,
				 .stdout_fd = -1,
				 .stderr_fd = log,
				 .fds = fds,
				 .n_fds = ARRAY_SIZE(fds),
				 .new_session = true};
	int p[2], pidfd, r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	spec.stdin_fd = in = p[0];
	go = p[1];
	snprintf(own, sizeof(own), "%u", v->share_id);
	snprintf(owner, sizeof(owner), "%u:%u", s->uid, s->gid);
	snprintf(range, sizeof(range), "%u", v->share_range);
	snprintf(base, sizeof(base), "%u", s->ids_base);
	if (s->read_only)
		argv[12] = "--read-only";
	r = proc_spawn(&spec, ret_pid, &pidfd, e);
	if (r < 0)
		return r;
	*ret_go = steal_fd(&go);
	return pidfd;
}

/* Its pid is on record before it begins: until then it ends with us. */
static int start_one(struct virt *v, struct vm *vm, size_t i,
		     const struct virt_share *s, struct err *e)
{
	_cleanup_close_ int listen_fd = make_socket(vm, i, e), go = -1;
	_cleanup_close_ int log = proc_log_make("hyb-fsd");
	uint64_t start;
	int pidfd, r;
	pid_t pid;

	if (listen_fd < 0)
		return listen_fd;
	if (log < 0)
		return err_sys(e, -log, "make a memfd");
	pidfd = spawn(v, s, listen_fd, log, &go, &pid, e);
	if (pidfd < 0)
		return pidfd;
	if (proc_start_time(pid, &start) < 0)
		start = 0; /* it is dead: its pidfd says so */
	pthread_mutex_lock(&v->lock);
	vm->shares[i].fd = pidfd;
	vm->shares[i].log = steal_fd(&log);
	vm->shares[i].process = (struct process){pid, start};
	vm->n_shares = i + 1;
	r = record_write(v, vm, e);
	pthread_mutex_unlock(&v->lock);
	if (r == 0 && write(go, "", 1) != 1)
		r = err_sys(e, errno, "start it");
	return r;
}

int shares_start(struct virt *v, struct vm *vm, const struct virt_vm_spec *s,
		 struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < s->n_shares; i++) {
		r = start_one(v, vm, i, &s->shares[i], e);
		if (r < 0)
			return err_wrap(e, "share %zu of VM '%s'", i, vm->name);
	}
	keeper_wake(v);
	return r;
}

static void end_one(struct share *s)
{
	int fd = proc_open(s->process.pid, s->process.start);

	if (fd >= 0) {
		process_end(fd, END_MS);
		close(fd);
	}
	/* Ours, or an earlier hybd's: then this fails. */
	if (s->process.pid > 0)
		(void)waitpid(s->process.pid, NULL, WNOHANG);
	cleanup_close(&s->fd);
	cleanup_close(&s->log);
}

void shares_stop(struct virt *v, struct vm *vm)
{
	struct share list[VIRT_SHARES_MAX];
	size_t i, n;

	pthread_mutex_lock(&v->lock);
	n = vm->n_shares;
	memcpy(list, vm->shares, sizeof(list));
	shares_forget(vm);
	pthread_mutex_unlock(&v->lock);
	for (i = 0; i < n; i++)
		end_one(&list[i]);
}

void shares_forget(struct vm *vm)
{
	size_t i;

	for (i = 0; i < VIRT_SHARES_MAX; i++)
		vm->shares[i] = (struct share){.fd = -1, .log = -1};
	vm->n_shares = 0;
}

void shares_close(struct vm *vm)
{
	size_t i;

	for (i = 0; i < VIRT_SHARES_MAX; i++) {
		cleanup_close(&vm->shares[i].fd);
		cleanup_close(&vm->shares[i].log);
	}
}

bool shares_take_up(struct vm *vm)
{
	bool whole = true;
	size_t i;

	for (i = 0; i < vm->n_shares; i++) {
		struct share *s = &vm->shares[i];

		s->fd = proc_open(s->process.pid, s->process.start);
		whole = whole && s->fd >= 0;
	}
	return whole;
}

/* The first that has ended; -1: none. */
static int find_ended(const struct vm *vm)
{
	size_t i;

	for (i = 0; i < vm->n_shares; i++)
		if (vm->shares[i].fd < 0)
			return (int)i;
	return -1;
}

bool shares_are_whole(const struct vm *vm)
{
	return find_ended(vm) < 0;
}

void share_on_ended(struct virt *v, struct vm *vm, size_t i)
{
	cleanup_close(&vm->shares[i].fd);
	/* Ours to reap, unless an earlier hybd started it. */
	(void)waitpid(vm->shares[i].process.pid, NULL, WNOHANG);
	if (vm->state == VIRT_RUNNING && !vm->destroying && !vm->starting)
		worker_start(v, vm, share_lost);
}

/* Does its QEMU end within the time? */
static bool qemu_ends(struct virt *v, struct vm *vm)
{
	struct process qemu;
	bool ends;
	int fd;

	pthread_mutex_lock(&v->lock);
	qemu = vm->qemu;
	pthread_mutex_unlock(&v->lock);
	fd = proc_open(qemu.pid, qemu.start);
	ends = fd < 0 || fd_wait(fd, POLLIN, now_ms() + SETTLE_MS) == 0;
	cleanup_close(&fd);
	return ends;
}

void share_lost(struct virt *v, struct vm *vm)
{
	char text[256] = "";
	bool lost;
	int i;

	if (qemu_ends(v, vm))
		return;
	pthread_mutex_lock(&v->lock);
	i = find_ended(vm);
	lost = i >= 0 && vm->state == VIRT_RUNNING && !vm->destroying &&
	       !vm->starting;
	if (lost) {
		proc_log_line(vm->shares[i].log, text, sizeof(text));
		event_push(v, VIRT_EVENT_SHARE_LOST, vm);
	}
	pthread_mutex_unlock(&v->lock);
	if (lost)
		virt_warn(v,
			  "VM '%s': the process that shares folder %d with it "
			  "has ended%s%s",
			  vm->name, i, text[0] ? ": " : "", text);
}

/* Why a start may have failed: what the shares said. */
void shares_explain(struct virt *v, struct vm *vm, struct err *e)
{
	char text[256] = "";
	size_t i;

	pthread_mutex_lock(&v->lock);
	for (i = 0; i < vm->n_shares && !text[0]; i++)
		proc_log_line(vm->shares[i].log, text, sizeof(text));
	pthread_mutex_unlock(&v->lock);
	if (text[0])
		err_wrap(e, "shared folder: %s", text);
}
