/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: one thread that sees processes end, reads consoles and calls
 * the caller's on_event. It never blocks on a VM: recovery is a worker's.
 */
#include "host-agent/virt/internal.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>

/* How long the reaper may take until it knows how a QEMU ended. */
#define STATUS_MS 200

enum {
	WATCH_QEMU,
	WATCH_VSOCKD,
	WATCH_LISTEN,
	WATCH_CONSOLE,
	WATCH_ROOM, /* the console again, for what is typed */
	WATCH_CLIENT,
	WATCH_SHARE = WATCH_CLIENT + VIRT_CONSOLE_CLIENTS,
	WATCH_MAX = WATCH_SHARE + VIRT_SHARES_MAX
};

void keeper_wake(struct virt *v)
{
	uint64_t one = 1;

	if (v->wake_fd >= 0 && write(v->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void event_push(struct virt *v, enum virt_event_kind kind, struct vm *vm)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return;
	ev->kind = kind;
	if (vm) {
		memcpy(ev->name, vm->name, sizeof(ev->name));
		memcpy(ev->detail, vm->detail, sizeof(ev->detail));
		ev->end = vm->end;
		ev->qemu_pid = vm->qemu.pid;
	}
	*v->events_end = ev;
	v->events_end = &ev->next;
	keeper_wake(v);
}

/* How QEMU ended, where it was our orphan. */
static void find_detail(struct virt *v, struct event *ev)
{
	const struct timespec step = {.tv_nsec = 2000000};
	uint64_t deadline = now_ms() + STATUS_MS;
	struct vm *vm;
	bool known;
	int status;

	reap_kick();
	while (!(known = reap_status(ev->qemu_pid, &status)) &&
	       now_ms() < deadline)
		nanosleep(&step, NULL);
	if (!known)
		return;
	if (WIFSIGNALED(status)) {
		const char *name = signal_name(WTERMSIG(status));

		snprintf(ev->detail, sizeof(ev->detail),
			 "QEMU was ended by signal %d (%s)", WTERMSIG(status),
			 name ? name : "?");
	} else {
		snprintf(ev->detail, sizeof(ev->detail),
			 "QEMU ended with status %d", WEXITSTATUS(status));
	}
	vm = vm_get(v, ev->name, false);
	if (!vm)
		return;
	pthread_mutex_lock(&v->lock);
	if (vm->state == VIRT_GONE && vm->end == VIRT_END_KILLED) {
		memcpy(vm->detail, ev->detail, sizeof(vm->detail));
		record_write(v, vm, NULL);
	}
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
}

static void deliver(struct virt *v)
{
	struct virt_event out;
	struct event *ev;

	for (;;) {
		pthread_mutex_lock(&v->lock);
		ev = v->events;
		if (ev) {
			v->events = ev->next;
			if (!v->events)
				v->events_end = &v->events;
		}
		pthread_mutex_unlock(&v->lock);
		if (!ev)
			return;
		if (ev->kind == VIRT_EVENT_STOPPED &&
		    ev->end == VIRT_END_KILLED && ev->qemu_pid > 0)
			find_detail(v, ev);
		out = (struct virt_event){.kind = ev->kind,
					  .name = ev->name,
					  .end = ev->end,
					  .detail = ev->detail};
		if (v->on_event)
			v->on_event(&out, v->arg);
		free(ev);
	}
}

static void on_ready(struct virt *v, struct vm *vm, int what)
{
	switch (what) {
	case WATCH_QEMU:
		/* libvirt waits for it: its zombie must go. If we were not
		 * told by libvirt yet, we will be. */
		cleanup_close(&vm->qemu_fd);
		reap_kick();
		break;
	case WATCH_VSOCKD:
		cleanup_close(&vm->vsockd_fd);
		/* Ours to reap, unless an earlier hybd started it. */
		(void)waitpid(vm->vsockd.pid, NULL, WNOHANG);
		if (vm->state == VIRT_RUNNING && !vm->destroying &&
		    !vm->starting)
			worker_start(v, vm, device_recover);
		break;
	case WATCH_LISTEN:
		console_on_listen(vm);
		break;
	case WATCH_CONSOLE:
		console_on_data(v, vm);
		break;
	case WATCH_ROOM:
		console_on_room(vm);
		break;
	default:
		if (what >= WATCH_SHARE)
			share_on_ended(v, vm, (size_t)(what - WATCH_SHARE));
		else
			console_on_client(vm, (size_t)(what - WATCH_CLIENT));
		break;
	}
}

/* What is waited for of one VM. */
static void watch_vm(const struct vm *vm, struct pollfd p[WATCH_MAX])
{
	size_t i;

	p[WATCH_QEMU] = (struct pollfd){.fd = vm->qemu_fd, .events = POLLIN};
	p[WATCH_VSOCKD] =
		(struct pollfd){.fd = vm->vsockd_fd, .events = POLLIN};
	p[WATCH_LISTEN] =
		(struct pollfd){.fd = vm->console_listen, .events = POLLIN};
	p[WATCH_CONSOLE] =
		(struct pollfd){.fd = vm->console_fd, .events = POLLIN};
	p[WATCH_ROOM] = (struct pollfd){
		.fd = vm->typed_len ? vm->console_fd : -1, .events = POLLOUT};
	for (i = 0; i < VIRT_CONSOLE_CLIENTS; i++)
		p[WATCH_CLIENT + i] = (struct pollfd){
			.fd = vm->typed_len ? -1 : vm->console_clients[i],
			.events = POLLIN};
	for (i = 0; i < VIRT_SHARES_MAX; i++)
		p[WATCH_SHARE + i] = (struct pollfd){.fd = vm->shares[i].fd,
						     .events = POLLIN};
}

/* Watches of all VMs: lock is held. */
static size_t gather(struct virt *v, struct pollfd **fds, size_t *cap)
{
	struct pollfd *p;
	size_t n = 1, i;
	struct vm *vm;

	for (vm = v->vms; vm; vm = vm->next)
		n += WATCH_MAX;
	if (n > *cap) {
		p = realloc(*fds, n * sizeof(*p));
		if (!p)
			return *cap;
		*fds = p;
		*cap = n;
	}
	p = *fds;
	p[0] = (struct pollfd){.fd = v->wake_fd, .events = POLLIN};
	for (vm = v->vms, i = 1; vm && i + WATCH_MAX <= *cap; vm = vm->next) {
		watch_vm(vm, &p[i]);
		i += WATCH_MAX;
	}
	return i;
}

/* A descriptor may have been closed, and its number used again, while we
 * slept: what is done for one that is not ready is harmless (all reads are
 * non-blocking), but the end of a process is asked for again. */
static bool still_ready(struct pollfd now)
{
	return now.fd >= 0 && poll(&now, 1, 0) > 0;
}

static void handle(struct virt *v, const struct pollfd *p, size_t n)
{
	struct pollfd now[WATCH_MAX];
	struct vm *vm;
	size_t i, w;

	for (vm = v->vms, i = 1; vm && i + WATCH_MAX <= n; vm = vm->next) {
		for (w = 0; w < WATCH_MAX; w++, i++) {
			if (!p[i].revents)
				continue;
			watch_vm(vm, now);
			if (p[i].fd == now[w].fd && still_ready(now[w]))
				on_ready(v, vm, (int)w);
		}
	}
}

static void *keeper_main(void *arg)
{
	struct virt *v = arg;
	struct pollfd *fds = NULL;
	size_t cap = 0, n;
	uint64_t count;
	bool closing;

	do {
		pthread_mutex_lock(&v->lock);
		n = gather(v, &fds, &cap);
		pthread_mutex_unlock(&v->lock);
		if (poll(fds, (nfds_t)n, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents && read(v->wake_fd, &count, 8) < 0 &&
		    errno != EAGAIN)
			break;
		pthread_mutex_lock(&v->lock);
		handle(v, fds, n);
		closing = v->closing;
		pthread_mutex_unlock(&v->lock);
		deliver(v);
	} while (!closing);
	free(fds);
	return NULL;
}

int keeper_start(struct virt *v, struct err *e)
{
	int r = pthread_create(&v->keeper_thread, NULL, keeper_main, v);

	if (r)
		return err_sys(e, r, "start a thread");
	v->keeper_runs = true;
	return 0;
}

void keeper_stop(struct virt *v)
{
	if (!v->keeper_runs)
		return;
	pthread_mutex_lock(&v->lock);
	v->closing = true;
	pthread_mutex_unlock(&v->lock);
	keeper_wake(v);
	pthread_join(v->keeper_thread, NULL);
	v->keeper_runs = false;
}

struct work {
	struct virt *v;
	struct vm *vm;
	void (*fn)(struct virt *v, struct vm *vm);
};

static void *worker_main(void *arg)
{
	struct work w = *(struct work *)arg;

	free(arg);
	w.fn(w.v, w.vm);
	if (w.vm)
		vm_put(w.v, w.vm);
	pthread_mutex_lock(&w.v->lock);
	w.v->workers--;
	pthread_cond_broadcast(&w.v->idle);
	pthread_mutex_unlock(&w.v->lock);
	return NULL;
}

int worker_start(struct virt *v, struct vm *vm,
		 void (*fn)(struct virt *v, struct vm *vm))
{
	struct work *w = malloc(sizeof(*w));
	pthread_t t;
	int r;

	if (!w)
		return -ENOMEM;
	*w = (struct work){v, vm, fn};
	r = pthread_create(&t, NULL, worker_main, w);
	if (r) {
		free(w);
		return -r;
	}
	pthread_detach(t);
	if (vm)
		vm->refs++;
	v->workers++;
	return 0;
}
