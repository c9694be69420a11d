/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a QEMU's. Input: records of a request, flags, descriptors (a
 * byte: how many in the low four bits, what in the high four: eventfd, sealed
 * memory, unsealed memory, a pipe), a u16 size and that many bytes. Between
 * them the device's pump runs over whatever memory and rings it was given.
 */
#include "host-agent/vsockd/vhost_user.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"

#define MEM_SIZE (64 * 1024)

static struct device device;
static struct vhost_user vhost;
static int kinds[4] = {-1, -1, -1, -1};

static void prepare(void)
{
	int p[2];

	if (kinds[0] >= 0)
		return;
	log_init("fuzz", LOG_LEVEL_ERROR);
	kinds[0] = eventfd(0, EFD_NONBLOCK);
	kinds[1] = memfd_create("a", MFD_ALLOW_SEALING);
	kinds[2] = memfd_create("b", MFD_ALLOW_SEALING);
	if (pipe(p) < 0 || ftruncate(kinds[1], MEM_SIZE) < 0 ||
	    ftruncate(kinds[2], MEM_SIZE) < 0 ||
	    fcntl(kinds[1], F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		abort();
	kinds[3] = p[1];
}

static void check(void)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++) {
		const struct vring *v = &device.ring[i];

		if (v->size > VSOCKD_RING_MAX || (v->size & (v->size - 1)) ||
		    (v->started && !v->broken && !v->desc && device.up))
			abort();
	}
	if (device.mem.count > VSOCKD_REGIONS_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[12 + 512];
	int s[2], fds[HYB_FDS_MAX], err = 0;
	struct err e = ERR_INIT;
	uint32_t head[3];
	size_t i, n, len;

	prepare();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) < 0 ||
	    device_init(&device, 3, -1, &e) < 0)
		abort();
	vhost_user_init(&vhost, &device, s[1]);
	while (size >= 5 && err == 0) {
		head[0] = data[0];
		head[1] = data[1];
		n = (data[2] & 15u) % (HYB_FDS_MAX + 1);
		for (i = 0; i < n; i++)
			fds[i] = kinds[(data[2] >> 4) % 4];
		len = (size_t)(data[3] | data[4] << 8);
		head[2] = (uint32_t)len;
		data += 5;
		size -= 5;
		len = len < size ? len : size;
		len = len < 512 ? len : 512;
		memcpy(out, head, sizeof(head));
		memcpy(out + sizeof(head), data, len);
		data += len;
		size -= len;
		if (fds_send(s[0], out, sizeof(head) + len, fds, n) < 0)
			break;
		err = vhost_user_on_readable(&vhost, &e);
		if (err == 0) {
			(void)device_pump(&device);
			(void)device_before_sleep(&device);
		}
		check();
		/* The answers are read, now and then. */
		while (recv(s[0], out, sizeof(out), 0) > 0)
			;
	}
	vhost_user_done(&vhost);
	device_done(&device);
	close(s[0]);
	close(s[1]);
	return 0;
}
