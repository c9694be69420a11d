/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image disks by serial. The host attaches them while the guest boots or runs;
 * the kernel then tells by a uevent, behind which sysfs and devtmpfs have it.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#define SYS_BLOCK     "/sys/block"
#define PCI_BUS	      "/sys/bus/pci"
#define VIRTIO_VENDOR "0x1af4\n"

bool serial_is_valid(const char *s)
{
	size_t len = strlen(s);

	/* Never a path: neither "/" nor a leading dot. */
	return len > 0 && len <= AGENT_SERIAL_MAX && s[0] != '.' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
			   "Z0123456789-_.")] == '\0';
}

/* Is it the disk `name` (vda ...)? The driver asks the device: this takes a
 * round trip to the host's QEMU. */
static bool has_serial(int block, const char *name, const char *serial)
{
	char path[64], text[AGENT_SERIAL_MAX + 2] = "";
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%.32s/serial", name);
	fd = openat(block, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	n = read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, serial) == 0;
}

int disks_find(const char *serial, char *ret, size_t size)
{
	_cleanup_closedir_ DIR *d = opendir(SYS_BLOCK);
	const struct dirent *ent;

	while (d && (ent = readdir(d))) {
		if (strncmp(ent->d_name, "vd", 2) != 0 ||
		    !has_serial(dirfd(d), ent->d_name, serial))
			continue;
		snprintf(ret, size, "/dev/%.32s", ent->d_name);
		return access(ret, F_OK) == 0 ? 0 : -ENOENT;
	}
	return -ENOENT;
}

/* What is said does not matter: whoever waits looks for himself. */
static void on_uevent(struct watch *w, uint32_t events)
{
	struct agent *a = container_of(w, struct agent, uevents);
	bool block = false;
	char text[4096];
	ssize_t n;

	(void)events;
	for (;;) {
		n = recv(w->fd, text, sizeof(text), MSG_DONTWAIT);
		if (n <= 0)
			break;
		/* "add@/devices/...": of any block device */
		if (memmem(text, (size_t)n, "/block/", 7))
			block = true;
	}
	if (block)
		create_disks_changed(a);
}

static int poke(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, "1", 1) == 1 ? 0 : -errno;
}

/* A virtio device that no driver has. */
static bool is_stranded(int device)
{
	_cleanup_close_ int fd = openat(device, "vendor", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	return fd >= 0 && read_full(fd, text, sizeof(text) - 1) > 0 &&
	       strcmp(text, VIRTIO_VENDOR) == 0 &&
	       faccessat(device, "driver", F_OK, AT_SYMLINK_NOFOLLOW) < 0;
}

/*
 * A disk that is attached while the kernel has seen the bridges and has not
 * given them their windows yet loses its registers: the kernel finds no room
 * for them, forgets them, and no driver takes the device. Taken away and found
 * again it has them.
 */
static void free_stranded(void)
{
	_cleanup_closedir_ DIR *d = opendir(PCI_BUS "/devices");
	const struct dirent *ent;
	bool found = false;

	while (d && (ent = readdir(d))) {
		_cleanup_close_ int device =
			ent->d_name[0] == '.'
				? -1
				: openat(dirfd(d), ent->d_name,
					 O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (device < 0 || !is_stranded(device))
			continue;
		log_info("device %s has no driver: looking for it again",
			 ent->d_name);
		found |= poke(device, "remove") == 0;
	}
	if (found)
		poke(AT_FDCWD, PCI_BUS "/rescan");
}

static void on_look(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, disk_look);

	free_stranded();
	create_disks_changed(a);
}

void disks_expect(struct agent *a)
{
	a->disk_look.fn = on_look;
	if (!a->disk_look.armed)
		poller_timer_set(&a->poller, &a->disk_look,
				 now_ms() + AGENT_DISK_LOOK_MS);
}

int disks_init(struct agent *a, struct err *e)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = 1};
	_cleanup_close_ int fd = -1;
	int r;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    NETLINK_KOBJECT_UEVENT);
	if (fd < 0)
		return err_sys(e, errno, "uevents");
	if (bind(fd, (struct sockaddr *)(void *)&addr, sizeof(addr)) < 0)
		return err_sys(e, errno, "listen to uevents");
	a->uevents = (struct watch){.fd = steal_fd(&fd), .fn = on_uevent};
	r = poller_watch(&a->poller, &a->uevents, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "uevents") : 0;
}

void disks_done(struct agent *a)
{
	poller_close(&a->poller, &a->uevents);
}
