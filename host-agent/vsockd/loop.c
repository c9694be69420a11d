/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/loop.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

static struct {
	bool on;
	volatile sig_atomic_t armed;
	volatile sig_atomic_t idle;
	volatile sig_atomic_t turn;
	sig_atomic_t seen; /* the turn at the last alarm */
} watchdog;

static void arm(void)
{
	const struct itimerval t = {.it_value.tv_sec = VSOCKD_WATCHDOG_S};

	watchdog.armed = 1;
	setitimer(ITIMER_REAL, &t, NULL);
}

static void on_alarm(int sig)
{
	static const char text[] = "hyb-vsockd: the loop hangs: end\n";
	int saved = errno;

	(void)sig;
	if (watchdog.idle) {
		watchdog.armed = 0;
	} else if (watchdog.turn == watchdog.seen) {
		if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
			_exit(4);
		_exit(3);
	} else {
		watchdog.seen = watchdog.turn;
		arm();
	}
	errno = saved;
}

int loop_watchdog(struct err *e)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	if (sigaction(SIGALRM, &sa, NULL) < 0)
		return err_sys(e, errno, "install the watchdog");
	watchdog.on = true;
	return 0;
}

static void watchdog_busy(void)
{
	if (!watchdog.on)
		return;
	/* Wraps at 2^30, far from overflow. */
	watchdog.turn = (watchdog.turn + 1) & 0x3fffffff;
	watchdog.idle = 0;
	if (!watchdog.armed)
		arm();
}

static int watch(int epoll_fd, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int loop_init(struct loop *l, struct device *device, struct vhost_user *vhost,
	      int epoll_fd, int listen_fd, struct err *e)
{
	int err;

	*l = (struct loop){.device = device,
			   .vhost = vhost,
			   .epoll_fd = epoll_fd,
			   .listen_fd = listen_fd};
	err = watch(epoll_fd, vhost->fd, LOOP_EVENT_VHOST);
	if (err == 0)
		err = watch(epoll_fd, listen_fd, LOOP_EVENT_LISTEN);
	return err < 0 ? err_sys(e, -err, "watch the sockets") : 0;
}

static void accept_clients(struct loop *l)
{
	unsigned int i;
	int fd;

	for (i = 0; i < VSOCKD_TURN_ACCEPTS; i++) {
		fd = accept4(l->listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return; /* EAGAIN, or a client that went away */
		if (conn_add(&l->device->conns, fd) == 0) {
			l->full = false;
			continue;
		}
		if (!l->full)
			device_log(l->device,
				   "all %d connections are in use: new ones "
				   "are closed",
				   VSOCKD_CONNS_MAX);
		l->full = true;
	}
}

static int on_event(struct loop *l, const struct epoll_event *ev, struct err *e)
{
	uint64_t what = ev->data.u64;

	if (what == LOOP_EVENT_VHOST)
		return vhost_user_on_readable(l->vhost, e);
	if (what == LOOP_EVENT_LISTEN)
		accept_clients(l);
	else if (what <= UINT32_MAX)
		conn_on_client(&l->device->conns, (uint32_t)what, ev->events);
	/* A kick: the rings are looked at in any case. */
	return 0;
}

/* Deadlines are in seconds: one look a second, while there are any. */
static void expire(struct loop *l)
{
	struct conn_table *t = &l->device->conns;
	uint64_t now;

	if (!t->timed)
		return;
	now = now_ms();
	if (now < l->next_expiry)
		return;
	(void)conn_expire(t, now);
	l->next_expiry = now + 1000;
}

static int timeout_of(const struct loop *l, bool work, int max_ms)
{
	static const int look_ms[] = {VSOCKD_LOOK2_MS, VSOCKD_LOOK1_MS};
	int t = max_ms;

	if (work)
		return 0;
	if (l->looks > 0 && (t < 0 || t > look_ms[l->looks - 1]))
		t = look_ms[l->looks - 1];
	if (l->device->conns.timed && (t < 0 || t > 1000))
		t = 1000;
	return t;
}

int loop_turn(struct loop *l, int max_ms, struct err *e)
{
	struct epoll_event ev[64];
	bool work;
	int i, n, err;

	work = device_pump(l->device);
	if (!work)
		work = device_before_sleep(l->device);
	expire(l);
	watchdog.idle = 1;
	n = epoll_wait(l->epoll_fd, ev, ARRAY_SIZE(ev),
		       timeout_of(l, work, max_ms));
	watchdog_busy();
	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "wait for events");
	if (n == 0 && !work && l->looks > 0) {
		l->looks--;
		if (device_look_again(l->device))
			l->looks = 2;
	} else if (n > 0 || work) {
		l->looks = l->device->up ? 2 : 0;
	}
	for (i = 0; i < n; i++) {
		err = on_event(l, &ev[i], e);
		if (err < 0)
			return err;
	}
	return 0;
}
