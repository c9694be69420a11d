/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/vhost_user.h"

#include "common/base/cleanup.h"

#include <endian.h>
#include <sys/socket.h>

/* The largest offset and size of the device's configuration that is
 * answered; what is there is 8 bytes, the CID. */
#define CONFIG_MAX 256

#define VRING_INDEX_MASK 0xffu
#define VRING_NO_FD	 0x100u

struct vring_state {
	uint32_t index;
	uint32_t num;
};

struct vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc, used, avail, log;
};

struct config {
	uint32_t offset, size, flags;
	uint8_t region[CONFIG_MAX];
};

/* A whole message, and the answer to it. */
struct message {
	uint32_t request;
	const uint8_t *data;
	uint32_t size;
	uint8_t answer[VSOCKD_MESSAGE_MAX];
	uint32_t answer_size;
};

static uint64_t message_u64(const struct message *m)
{
	uint64_t v;

	memcpy(&v, m->data, sizeof(v));
	return v;
}

static int answer(struct message *m, const void *data, uint32_t size)
{
	memcpy(m->answer, data, size);
	m->answer_size = size;
	return 0;
}

static int answer_u64(struct message *m, uint64_t v)
{
	return answer(m, &v, sizeof(v));
}

static int take_fd(struct vhost_user *u)
{
	return u->n_fds > 0 ? steal_fd(&u->fds[0]) : -1;
}

static bool any_started(const struct vhost_user *u)
{
	return u->device->ring[RING_RX].started ||
	       u->device->ring[RING_TX].started;
}

static struct vring *ring_at(struct vhost_user *u, uint32_t index,
			     struct err *e)
{
	if (index < RING_COUNT)
		return &u->device->ring[index];
	err_set(e, EPROTO, "there is no ring %u", index);
	return NULL;
}

/* A ring whose shape may still be changed. */
static struct vring *stopped_ring_at(struct vhost_user *u, uint32_t index,
				     struct err *e)
{
	struct vring *v = ring_at(u, index, e);

	if (v && v->started) {
		err_set(e, EPROTO, "ring %u is running", index);
		return NULL;
	}
	return v;
}

static int get_features(struct vhost_user *u, struct message *m, struct err *e)
{
	(void)u;
	(void)e;
	return answer_u64(m, VHOST_FEATURES);
}

static int set_features(struct vhost_user *u, struct message *m, struct err *e)
{
	uint64_t v = message_u64(m);

	if (v & ~VHOST_FEATURES)
		return err_set(e, EPROTO, "features %#jx were not offered",
			       (uintmax_t)(v & ~VHOST_FEATURES));
	if (any_started(u) && v != u->features)
		return err_set(e, EPROTO, "features change while running");
	u->features = v;
	return 0;
}

static int nothing(struct vhost_user *u, struct message *m, struct err *e)
{
	(void)u;
	(void)m;
	(void)e;
	return 0;
}

static int get_protocol_features(struct vhost_user *u, struct message *m,
				 struct err *e)
{
	(void)u;
	(void)e;
	return answer_u64(m, VHOST_PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_user *u, struct message *m,
				 struct err *e)
{
	(void)u;
	if (message_u64(m) & ~VHOST_PROTOCOL_FEATURES)
		return err_set(e, EPROTO,
			       "protocol features that were not offered");
	return 0;
}

static int get_queue_num(struct vhost_user *u, struct message *m, struct err *e)
{
	(void)u;
	(void)e;
	return answer_u64(m, RING_COUNT);
}

static int set_mem_table(struct vhost_user *u, struct message *m, struct err *e)
{
	struct mem_entry entry[VSOCKD_REGIONS_MAX];
	uint32_t n;
	int err;

	memcpy(&n, m->data, sizeof(n));
	if (n == 0 || n > VSOCKD_REGIONS_MAX || n != u->n_fds ||
	    m->size != 8 + n * sizeof(entry[0]))
		return err_set(e, EPROTO,
			       "a table of %u regions in %u bytes with %zu "
			       "descriptors",
			       n, m->size, u->n_fds);
	memcpy(entry, m->data + 8, n * sizeof(entry[0]));
	device_unmap(u->device);
	err = mem_set(&u->device->mem, entry, u->fds, n, e);
	if (err < 0)
		return err;
	/* Rings that run are found again in the new table. */
	if (device_update(u->device) < 0)
		return err_set(e, EPROTO, "a running ring lost its memory");
	return 0;
}

static int set_vring_num(struct vhost_user *u, struct message *m, struct err *e)
{
	struct vring_state s;
	struct vring *v;

	memcpy(&s, m->data, sizeof(s));
	v = stopped_ring_at(u, s.index, e);
	if (!v)
		return -EPROTO;
	if (s.num == 0 || s.num > VSOCKD_RING_MAX || (s.num & (s.num - 1)))
		return err_set(e, EPROTO, "ring %u of %u entries", s.index,
			       s.num);
	v->size = (uint16_t)s.num;
	return 0;
}

static int set_vring_base(struct vhost_user *u, struct message *m,
			  struct err *e)
{
	struct vring_state s;
	struct vring *v;

	memcpy(&s, m->data, sizeof(s));
	v = stopped_ring_at(u, s.index, e);
	if (!v)
		return -EPROTO;
	if (s.num > UINT16_MAX)
		return err_set(e, EPROTO, "ring %u at %u", s.index, s.num);
	v->next = (uint16_t)s.num;
	v->have_base = true;
	return 0;
}

static int set_vring_addr(struct vhost_user *u, struct message *m,
			  struct err *e)
{
	struct vring_addr a;
	struct vring *v;

	memcpy(&a, m->data, sizeof(a));
	v = stopped_ring_at(u, a.index, e);
	if (!v)
		return -EPROTO;
	if (a.flags)
		return err_set(e, EPROTO, "logging of ring %u was not offered",
			       a.index);
	v->desc_addr = a.desc;
	v->avail_addr = a.avail;
	v->used_addr = a.used;
	v->have_addr = true;
	return 0;
}

/* Stops the ring. For one that this process has never seen run there is no
 * answer that would not lose packets (it is QEMU stopping what a dead device
 * ran): dropping the socket makes QEMU recover the index from the used ring. */
static int get_vring_base(struct vhost_user *u, struct message *m,
			  struct err *e)
{
	struct vring_state s;
	struct vring *v;

	memcpy(&s, m->data, sizeof(s));
	v = ring_at(u, s.index, e);
	if (!v)
		return -EPROTO;
	if (!v->have_base)
		return err_set(e, EPROTO,
			       "QEMU stops ring %u of another device: the VM "
			       "must be suspended before a new device connects",
			       s.index);
	vring_tell(v);
	v->started = false;
	v->enabled = false;
	(void)device_update(u->device);
	s.num = v->next;
	return answer(m, &s, sizeof(s));
}

static int vring_fd(struct vhost_user *u, const struct message *m,
		    uint32_t *ret_index, struct vring **ret_ring, struct err *e)
{
	uint64_t v = message_u64(m);
	bool none = v & VRING_NO_FD;

	if ((v & ~(uint64_t)(VRING_INDEX_MASK | VRING_NO_FD)) ||
	    u->n_fds != (none ? 0 : 1)) {
		err_set(e, EPROTO, "descriptor of a ring: %#jx with %zu",
			(uintmax_t)v, u->n_fds);
		return -EPROTO;
	}
	*ret_index = (uint32_t)(v & VRING_INDEX_MASK);
	*ret_ring = ring_at(u, *ret_index, e);
	return *ret_ring ? 0 : -EPROTO;
}

static int set_vring_kick(struct vhost_user *u, struct message *m,
			  struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct vring *v;
	uint32_t i;
	int err;

	err = vring_fd(u, m, &i, &v, e);
	if (err < 0)
		return err;
	if (v->started)
		return err_set(e, EPROTO, "ring %u is running", i);
	fd = take_fd(u);
	if (fd < 0)
		return err_set(e, EPROTO, "ring %u without kicks", i);
	if (!(u->features & (1ULL << 32)))
		return err_set(e, EPROTO, "started before its features");
	err = device_set_kick(u->device, i, fd);
	if (err < 0)
		return err_sys(e, -err, "watch kicks of ring %u", i);
	steal_fd(&fd);
	v->broken = false;
	v->started = true;
	if (!(u->features & VHOST_F_PROTOCOL))
		v->enabled = true;
	if (device_update(u->device) < 0)
		return err_set(e, EPROTO, "ring %u does not lie in memory", i);
	return 0;
}

static int set_vring_call(struct vhost_user *u, struct message *m,
			  struct err *e)
{
	struct vring *v;
	uint32_t i;
	int err, fd;

	err = vring_fd(u, m, &i, &v, e);
	if (err < 0)
		return err;
	fd = take_fd(u);
	/* A write to it must never wait. */
	if (fd >= 0 && fd_set_nonblock(fd, true) < 0) {
		close(fd);
		return err_set(e, EPROTO, "descriptor of calls of ring %u", i);
	}
	cleanup_close(&v->call_fd);
	v->call_fd = fd;
	/* What was told while there was no descriptor, or another. */
	if (v->started)
		vring_call(v);
	return 0;
}

static int set_vring_err(struct vhost_user *u, struct message *m, struct err *e)
{
	struct vring *v;
	uint32_t i;

	return vring_fd(u, m, &i, &v, e);
}

static int set_vring_enable(struct vhost_user *u, struct message *m,
			    struct err *e)
{
	struct vring_state s;
	struct vring *v;

	memcpy(&s, m->data, sizeof(s));
	v = ring_at(u, s.index, e);
	if (!v)
		return -EPROTO;
	if (s.num > 1)
		return err_set(e, EPROTO, "enable ring %u: %u", s.index, s.num);
	v->enabled = s.num;
	if (device_update(u->device) < 0)
		return err_set(e, EPROTO, "ring %u does not lie in memory",
			       s.index);
	return 0;
}

static int get_config(struct vhost_user *u, struct message *m, struct err *e)
{
	uint64_t cid = htole64(u->device->cid);
	struct config c = {.offset = 0};

	memcpy(&c, m->data, m->size);
	if (c.size > CONFIG_MAX || m->size != 12 + c.size ||
	    c.offset > sizeof(cid) || c.size > sizeof(cid) - c.offset)
		return err_set(e, EPROTO, "configuration %u+%u", c.offset,
			       c.size);
	memcpy(c.region, (uint8_t *)&cid + c.offset, c.size);
	return answer(m, &c, m->size);
}

static const struct request {
	const char *name;
	int (*run)(struct vhost_user *u, struct message *m, struct err *e);
	uint32_t min, max; /* bytes of payload */
	size_t fds;	   /* most descriptors */
} requests[] = {
#define REQUEST(id, fn, min_, max_, fds_) \
	[VHOST_##id] = {                  \
		.name = #id, .run = fn, .min = min_, .max = max_, .fds = fds_}
	REQUEST(GET_FEATURES, get_features, 0, 0, 0),
	REQUEST(SET_FEATURES, set_features, 8, 8, 0),
	REQUEST(SET_OWNER, nothing, 0, 0, 0),
	REQUEST(RESET_OWNER, nothing, 0, 0, 0),
	REQUEST(SET_MEM_TABLE, set_mem_table, 8 + 32, 8 + 8 * 32, 8),
	REQUEST(SET_VRING_NUM, set_vring_num, 8, 8, 0),
	REQUEST(SET_VRING_ADDR, set_vring_addr, 40, 40, 0),
	REQUEST(SET_VRING_BASE, set_vring_base, 8, 8, 0),
	REQUEST(GET_VRING_BASE, get_vring_base, 8, 8, 0),
	REQUEST(SET_VRING_KICK, set_vring_kick, 8, 8, 1),
	REQUEST(SET_VRING_CALL, set_vring_call, 8, 8, 1),
	REQUEST(SET_VRING_ERR, set_vring_err, 8, 8, 1),
	REQUEST(GET_PROTOCOL_FEATURES, get_protocol_features, 0, 0, 0),
	REQUEST(SET_PROTOCOL_FEATURES, set_protocol_features, 8, 8, 0),
	REQUEST(GET_QUEUE_NUM, get_queue_num, 0, 0, 0),
	REQUEST(SET_VRING_ENABLE, set_vring_enable, 8, 8, 0),
	REQUEST(GET_CONFIG, get_config, 12, 12 + CONFIG_MAX, 0),
#undef REQUEST
};

_Static_assert(ARRAY_SIZE(requests) == VHOST_REQUEST_COUNT, "all requests");
_Static_assert(sizeof(struct vring_addr) == 40 &&
		       sizeof(struct mem_entry) == 32 &&
		       sizeof(struct config) <= VSOCKD_MESSAGE_MAX &&
		       HYB_FDS_MAX >= VSOCKD_REGIONS_MAX,
	       "sizes on the wire");

void vhost_user_init(struct vhost_user *u, struct device *device, int fd)
{
	memset(u, 0, sizeof(*u));
	u->device = device;
	u->fd = fd;
}

static void close_fds(struct vhost_user *u)
{
	size_t i;

	for (i = 0; i < u->n_fds; i++)
		cleanup_close(&u->fds[i]);
	u->n_fds = 0;
}

void vhost_user_done(struct vhost_user *u)
{
	close_fds(u);
}

static int send_answer(struct vhost_user *u, const struct message *m,
		       struct err *e)
{
	uint8_t out[VHOST_HEADER_SIZE + VSOCKD_MESSAGE_MAX];
	const uint32_t head[3] = {m->request,
				  VHOST_FLAG_VERSION | VHOST_FLAG_REPLY,
				  m->answer_size};
	size_t len = VHOST_HEADER_SIZE + m->answer_size;
	ssize_t n;

	memcpy(out, head, sizeof(head));
	memcpy(out + sizeof(head), m->answer, m->answer_size);
	n = send(u->fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)len)
		return 0;
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return -ENOTCONN;
	return err_set(e, EPROTO, "QEMU does not read its answers");
}

static int carry_out(struct vhost_user *u, uint32_t flags, struct message *m,
		     struct err *e)
{
	const struct request *r;
	int err;

	if (m->request >= ARRAY_SIZE(requests) || !requests[m->request].run)
		return err_set(e, EPROTO, "vhost-user request %u is unknown",
			       m->request);
	r = &requests[m->request];
	if ((flags & ~VHOST_FLAG_NEED_REPLY) != VHOST_FLAG_VERSION)
		return err_set(e, EPROTO, "%s with flags %#x", r->name, flags);
	if (m->size < r->min || m->size > r->max || u->n_fds > r->fds)
		return err_set(e, EPROTO, "%s with %u bytes, %zu descriptors",
			       r->name, m->size, u->n_fds);
	err = r->run(u, m, e);
	if (err < 0) {
		(void)err_wrap(e, "vhost-user %s", r->name);
		return err;
	}
	if (m->answer_size == 0 && (flags & VHOST_FLAG_NEED_REPLY))
		(void)answer_u64(m, 0);
	return m->answer_size ? send_answer(u, m, e) : 0;
}

/* How much of the message is missing; -EPROTO: it will not fit. */
static ssize_t missing(const struct vhost_user *u, struct err *e)
{
	uint32_t head[3];

	if (u->in_len < VHOST_HEADER_SIZE)
		return (ssize_t)(VHOST_HEADER_SIZE - u->in_len);
	memcpy(head, u->in, sizeof(head));
	if (head[2] > VSOCKD_MESSAGE_MAX)
		return err_set(e, EPROTO, "vhost-user request %u with %u bytes",
			       head[0], head[2]);
	return (ssize_t)(VHOST_HEADER_SIZE + head[2] - u->in_len);
}

static int finish_message(struct vhost_user *u, struct err *e)
{
	uint32_t head[3];
	struct message m;
	int err;

	memcpy(head, u->in, sizeof(head));
	m.request = head[0];
	m.size = head[2];
	m.data = u->in + VHOST_HEADER_SIZE;
	m.answer_size = 0;
	err = carry_out(u, head[1], &m, e);
	close_fds(u);
	u->in_len = 0;
	return err;
}

int vhost_user_on_readable(struct vhost_user *u, struct err *e)
{
	unsigned int done = 0;
	ssize_t want, n;
	size_t fds;
	int err;

	while (done < VSOCKD_TURN_MESSAGES) {
		want = missing(u, e);
		if (want < 0)
			return (int)want;
		if (want > 0) {
			fds = 0;
			n = fds_recv(u->fd, u->in + u->in_len, (size_t)want,
				     u->fds + u->n_fds, HYB_FDS_MAX - u->n_fds,
				     &fds);
			if (n == -EAGAIN)
				return 0;
			if (n == 0 || n == -ECONNRESET)
				return -ENOTCONN;
			if (n < 0)
				return err_sys(e, (int)-n, "read from QEMU");
			u->n_fds += fds;
			u->in_len += (size_t)n;
			continue;
		}
		err = finish_message(u, e);
		if (err < 0)
			return err;
		done++;
	}
	return 0;
}
