/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/device.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "host-agent/vsockd/iov.h"

#include <stdarg.h>
#include <sys/epoll.h>

static const char *const ring_names[] = {"receive", "transmit"};
_Static_assert(ARRAY_SIZE(ring_names) == RING_COUNT, "a name per ring");

int device_init(struct device *d, uint64_t cid, int epoll_fd, struct err *e)
{
	size_t i;

	memset(d, 0, sizeof(*d));
	d->cid = cid;
	d->epoll_fd = epoll_fd;
	for (i = 0; i < RING_COUNT; i++)
		vring_init(&d->ring[i]);
	return conn_table_init(&d->conns, cid, epoll_fd, e);
}

void device_done(struct device *d)
{
	unsigned int i;

	for (i = 0; i < RING_COUNT; i++) {
		(void)device_set_kick(d, i, -1);
		vring_done(&d->ring[i]);
	}
	conn_table_done(&d->conns);
	mem_done(&d->mem);
}

void device_log(struct device *d, const char *fmt, ...)
{
	uint64_t now = now_ms();
	char text[256];
	va_list ap;

	if (now - d->log_since >= 10000) {
		d->log_since = now;
		d->log_lines = 0;
	}
	if (d->log_lines++ >= VSOCKD_LOG_LINES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s", text);
}

int device_set_kick(struct device *d, unsigned int i, int fd)
{
	/* Edge-triggered: the counter need not be read, and a descriptor that
	 * is always readable (a closed pipe) wakes us once. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET,
				 .data.u64 = DEVICE_EVENT_KICK(i)};
	struct vring *v = &d->ring[i];

	if (v->kick_fd >= 0) {
		/* Explicitly: QEMU holds the same open file, so close() alone
		 * would leave it registered. */
		if (d->epoll_fd >= 0)
			(void)epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, v->kick_fd,
					NULL);
		cleanup_close(&v->kick_fd);
	}
	if (fd >= 0 && d->epoll_fd >= 0 &&
	    epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	v->kick_fd = fd;
	return 0;
}

void device_unmap(struct device *d)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++) {
		vring_tell(&d->ring[i]);
		vring_unmap(&d->ring[i]);
	}
	d->up = false;
}

static void on_broken(struct device *d, int i)
{
	device_log(d,
		   "the guest broke its %s ring: left alone until it "
		   "starts again",
		   ring_names[i]);
	d->ring[i].broken = true;
	d->up = false;
	conn_driver_up(&d->conns, false);
	/* Nothing can reach the guest any more, not even a reset. */
	conn_drop_all(&d->conns);
}

int device_update(struct device *d)
{
	bool was_up = d->up, up = true;
	struct vring *v;
	size_t i;

	d->up = false;
	for (i = 0; i < RING_COUNT; i++) {
		v = &d->ring[i];
		if (v->started && !v->desc && !v->broken &&
		    vring_map(v, &d->mem) < 0)
			return -EPROTO;
		if (!v->started)
			vring_unmap(v);
		up = up && vring_is_live(v);
	}
	d->up = up;
	/* A ring of a running driver is never at 0 on both sides (but for one
	 * chance in 2^32): this is a driver that has just begun, after a
	 * reset of the guest, and knows no connection. */
	if (d->up && !was_up && d->ring[RING_RX].next == 0 &&
	    d->ring[RING_TX].next == 0)
		conn_drop_all(&d->conns);
	conn_driver_up(&d->conns, d->up);
	return 0;
}

/* One chain of the transmit ring. */
static int take_packet(struct device *d, const struct vring_chain *c)
{
	struct iovec payload[VSOCKD_SEGS_MAX];
	uint8_t raw[PACKET_HEADER_SIZE];
	struct packet p;
	size_t n;
	int err;

	/* The one and only read of the header. */
	if (iov_read(c->iov, c->count, 0, raw, sizeof(raw)) < sizeof(raw)) {
		d->bad_packets++;
		return 0;
	}
	err = packet_parse(raw, c->len - sizeof(raw), d->cid, &p);
	if (err < 0) {
		d->bad_packets++;
		if (err == -EPROTOTYPE)
			conn_refuse(&d->conns, &p);
		return 0;
	}
	n = iov_cut(c->iov, c->count, sizeof(raw), p.len, payload);
	return conn_on_packet(&d->conns, &p, payload, n);
}

static unsigned int pump_tx(struct device *d)
{
	struct vring *v = &d->ring[RING_TX];
	struct vring_chain c;
	unsigned int n;
	int got;

	for (n = 0; n < VSOCKD_TURN_PACKETS && d->up; n++) {
		got = vring_peek(v, &d->mem, false, &c);
		if (got > 0 && take_packet(d, &c) < 0)
			got = -EFAULT;
		if (got < 0)
			on_broken(d, RING_TX);
		if (got <= 0)
			break;
		vring_push(v, &c, 0);
		if (n % VSOCKD_BATCH_PACKETS == VSOCKD_BATCH_PACKETS - 1)
			vring_tell(v);
	}
	vring_tell(v);
	return n;
}

static unsigned int pump_rx(struct device *d)
{
	struct vring *v = &d->ring[RING_RX];
	struct vring_chain c;
	unsigned int n;
	ssize_t len = 0;
	int got;

	d->starved = false;
	for (n = 0; n < VSOCKD_TURN_PACKETS && d->up; n++) {
		if (!conn_has_work(&d->conns))
			break;
		got = vring_peek(v, &d->mem, true, &c);
		d->starved = got == 0;
		if (got > 0 && c.len < PACKET_HEADER_SIZE)
			got = -EPROTO;
		if (got > 0) {
			len = conn_produce(&d->conns, &c);
			got = len < 0 ? -EFAULT : len > 0;
		}
		if (got < 0)
			on_broken(d, RING_RX);
		if (got <= 0)
			break;
		vring_push(v, &c, (uint32_t)len);
		if (n % VSOCKD_BATCH_PACKETS == VSOCKD_BATCH_PACKETS - 1)
			vring_tell(v);
	}
	vring_tell(v);
	return n;
}

bool device_pump(struct device *d)
{
	unsigned int tx, rx;

	if (!d->up)
		return false;
	vring_notify_off(&d->ring[RING_TX]);
	vring_notify_off(&d->ring[RING_RX]);
	tx = pump_tx(d);
	rx = pump_rx(d);
	return tx == VSOCKD_TURN_PACKETS || rx == VSOCKD_TURN_PACKETS;
}

bool device_before_sleep(struct device *d)
{
	bool work = vring_notify_on(&d->ring[RING_TX]);

	/* New receive buffers matter only when there is something for them. */
	if (d->starved && vring_notify_on(&d->ring[RING_RX]))
		work = true;
	return work;
}

bool device_look_again(struct device *d)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++)
		vring_tell_late(&d->ring[i]);
	return vring_has_chain(&d->ring[RING_TX]) ||
	       (d->starved && vring_has_chain(&d->ring[RING_RX]));
}
