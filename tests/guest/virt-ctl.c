/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives host-agent/virt from lines on standard input, one command a line,
 * one answer line each ("ok ..." or "error ERRNO TEXT"), events as "event
 * ...". For the tests in this folder.
 *
 *   virt-ctl ROOT KERNEL INITRAMFS VSOCKD [accel [cmdline [uri]]]
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/virt/virt.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct virt *virt;
static const char *root;

static void on_event(const struct virt_event *ev, void *arg)
{
	static const char *const kinds[VIRT_EVENT_MAX] = {
		[VIRT_EVENT_STARTED] = "started",
		[VIRT_EVENT_STOPPED] = "stopped",
		[VIRT_EVENT_VSOCK_LOST] = "vsock-lost",
		[VIRT_EVENT_VSOCK_RECOVERED] = "vsock-recovered",
		[VIRT_EVENT_VSOCK_FAILED] = "vsock-failed",
		[VIRT_EVENT_SHARE_LOST] = "share-lost",
		[VIRT_EVENT_RECONNECTED] = "reconnected",
	};

	(void)arg;
	printf("event %s %s %s '%s'\n", kinds[ev->kind], ev->name,
	       virt_end_name(ev->end), ev->detail);
}

static void on_warning(const char *text, void *arg)
{
	(void)arg;
	printf("warning %s\n", text);
}

static int answer(int r, const struct err *e, uint64_t since)
{
	if (r < 0)
		printf("error %d %s\n", -r, e->msg);
	else
		printf("ok %lu us\n", (now_ns() - since) / 1000);
	return 0;
}

/* A tap in a network namespace that is there for it alone. */
static void *make_tap(void *arg)
{
	struct ifreq r = {.ifr_name = "tap-test",
			  .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int *fd = arg;

	if (unshare(CLONE_NEWNET) == 0)
		*fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd >= 0 && ioctl(*fd, TUNSETIFF, &r) < 0)
		cleanup_close(fd);
	return NULL;
}

/* nic, or bad-nic: a descriptor that is no tap. */
static int start_with_nic(struct virt_vm_spec *s, bool good, struct err *e)
{
	struct virt_nic nic = {.tap_fd = -1, .mac = "02:00:00:00:00:01"};
	_cleanup_close_ int fd = -1;
	pthread_t t;

	if (!good)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	else if (pthread_create(&t, NULL, make_tap, &fd) == 0)
		pthread_join(t, NULL);
	if (fd < 0)
		return err_set(e, EIO, "no tap");
	nic.tap_fd = fd;
	s->nic = &nic;
	return virt_vm_start(virt, s, e);
}

/* start NAME N MEMORY_MIB VCPUS SLOTS [kernel|nic|bad-nic]: uid, gid and CID are
 * made from N. */
static int cmd_start(char **w, struct err *e)
{
	bool nic = w[6] && strstr(w[6], "nic");
	char dir[128];
	struct virt_vm_spec s = {.name = w[1],
				 .vcpus = (uint32_t)atoi(w[4]),
				 .memory = (uint64_t)atoi(w[3]) << 20,
				 .slots = (uint32_t)atoi(w[5]),
				 .vm_dir = dir};

	s.uid = s.gid = 700100 + (uid_t)atoi(w[2]);
	s.cid = 100 + (uint32_t)atoi(w[2]);
	if (w[6] && strcmp(w[6], "kernel") == 0)
		s.carrier = VIRT_VSOCK_KERNEL;
	random_bytes(s.uuid, sizeof(s.uuid));
	snprintf(dir, sizeof(dir), "%s/vm/%s", root, w[1]);
	if (nic)
		return start_with_nic(&s, strcmp(w[6], "nic") == 0, e);
	return virt_vm_start(virt, &s, e);
}

/* stress THREADS ROUNDS: VMs start and end side by side. */
struct stress {
	pthread_t thread;
	int n, rounds;
	struct err e;
	int result;
};

static void *stress_main(void *arg)
{
	struct stress *s = arg;
	char name[16], n[16];
	char *w[] = {"start", name, n, "64", "1", "2", NULL};
	int i;

	snprintf(name, sizeof(name), "st%d", s->n);
	snprintf(n, sizeof(n), "%d", 20 + s->n);
	for (i = 0; i < s->rounds && s->result == 0; i++) {
		s->result = cmd_start(w, &s->e);
		if (s->result == 0)
			s->result = virt_vm_destroy(virt, name, &s->e);
	}
	return NULL;
}

static int cmd_stress(char **w, struct err *e)
{
	struct stress s[8] = {{.n = 0}};
	int threads = atoi(w[1]), i, r = 0;

	for (i = 0; i < threads && i < 8; i++) {
		s[i].n = i;
		s[i].rounds = atoi(w[2]);
		if (pthread_create(&s[i].thread, NULL, stress_main, &s[i]))
			return err_set(e, EAGAIN, "no thread");
	}
	for (i = 0; i < threads && i < 8; i++) {
		pthread_join(s[i].thread, NULL);
		if (s[i].result < 0 && r == 0) {
			r = s[i].result;
			*e = s[i].e;
		}
	}
	return r;
}

static void print_info(const struct virt_vm_info *i)
{
	printf("vm %s %s %s qemu %d vsockd %d uid %u '%s'\n", i->name,
	       virt_state_name(i->state), virt_end_name(i->end), i->qemu_pid,
	       i->vsockd_pid, i->uid, i->detail);
}

static int cmd_list(struct err *e)
{
	_cleanup_free_ struct virt_vm_info *list = NULL;
	size_t n = 0, i;
	int r = virt_list(virt, &list, &n, e);

	for (i = 0; r == 0 && i < n; i++)
		print_info(&list[i]);
	return r;
}

static int cmd_disks(const char *name, struct err *e)
{
	_cleanup_free_ struct virt_disk *disks = NULL;
	size_t n = 0, i;
	int r = virt_vm_disks(virt, name, &disks, &n, e);

	for (i = 0; r == 0 && i < n; i++)
		printf("disk %s %s %s\n", disks[i].serial, disks[i].target,
		       disks[i].readonly ? "ro" : "rw");
	return r;
}

static int cmd_memory(const char *name, struct err *e)
{
	struct virt_memory m;
	int r = virt_vm_memory(virt, name, &m, e);

	if (r == 0)
		printf("memory qemu %lu guest %lu vsockd %lu rss %lu KiB\n",
		       m.qemu_pss >> 10, m.guest_touched >> 10,
		       m.vsockd_pss >> 10, m.vsockd_rss >> 10);
	return r;
}

static int cmd_console(const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = virt_vm_console(virt, name, 16384, &text, e);

	if (r == 0)
		printf("%s\n", text);
	return r;
}

static int run(char **w, size_t n, struct err *e)
{
	struct virt_vm_info info;
	int r;

	if (strcmp(w[0], "start") == 0 && n >= 6)
		return cmd_start(w, e);
	if (strcmp(w[0], "destroy") == 0 && n == 2)
		return virt_vm_destroy(virt, w[1], e);
	if (strcmp(w[0], "forget") == 0 && n == 2)
		return virt_vm_forget(virt, w[1], e);
	if (strcmp(w[0], "attach") == 0 && n == 5)
		return virt_vm_attach_disk(virt, w[1], w[2], w[3],
					   strcmp(w[4], "ro") == 0, e);
	if (strcmp(w[0], "attach-diff") == 0 && n == 5)
		return virt_vm_attach_difference(virt, w[1], w[2], w[3], w[4],
						 e);
	if (strcmp(w[0], "detach") == 0 && n == 3)
		return virt_vm_detach_disk(virt, w[1], w[2], e);
	if (strcmp(w[0], "disks") == 0 && n == 2)
		return cmd_disks(w[1], e);
	if (strcmp(w[0], "memory") == 0 && n == 2)
		return cmd_memory(w[1], e);
	if (strcmp(w[0], "console") == 0 && n == 2)
		return cmd_console(w[1], e);
	if (strcmp(w[0], "stress") == 0 && n == 3)
		return cmd_stress(w, e);
	if (strcmp(w[0], "list") == 0)
		return cmd_list(e);
	if (strcmp(w[0], "sleep") == 0 && n == 2)
		return usleep((useconds_t)atoi(w[1]) * 1000);
	if (strcmp(w[0], "info") == 0 && n == 2) {
		r = virt_vm_info(virt, w[1], &info, e);
		if (r == 0)
			print_info(&info);
		return r;
	}
	return err_set(e, EINVAL, "what?");
}

int main(int argc, char **argv)
{
	struct virt_config cfg = {.root = argc > 1 ? argv[1] : "",
				  .uid_base = 700000,
				  .kernel = argc > 2 ? argv[2] : "",
				  .initramfs = argc > 3 ? argv[3] : "",
				  .vsockd_path = argc > 4 ? argv[4] : "",
				  .cmdline =
					  argc > 6 ? argv[6] : "console=ttyS0",
				  .uri = argc > 7 ? argv[7] : "",
				  .on_event = on_event,
				  .on_warning = on_warning};
	uint64_t since = now_ns();
	struct err e = ERR_INIT;
	struct virt_host h;
	char line[1024];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 5 || (argc > 5 && virt_accel_parse(argv[5], &cfg.accel) < 0))
		return 2;
	root = cfg.root;
	if (virt_prepare_process(line, sizeof(line), &e) < 0 ||
	    virt_open(&cfg, &virt, &e) < 0) {
		printf("error %d %s (%s)\n", e.code, e.msg, e.hint);
		return 1;
	}
	if (line[0])
		printf("warning %s\n", line);
	virt_host_info(virt, &h);
	printf("host %s %s libvirt %s qemu %s vsock %d cgroups %d '%s'\n",
	       virt_accel_name(h.accel), virt_isolation(virt), h.libvirt,
	       h.qemu, h.kernel_vsock, h.cgroups, h.reason);
	answer(0, &e, since);
	while (fgets(line, sizeof(line), stdin)) {
		char *w[12] = {NULL}, *save = NULL, *p;
		size_t n = 0;

		line[strcspn(line, "\n")] = '\0';
		for (p = strtok_r(line, " ", &save); p && n < 11;
		     p = strtok_r(NULL, " ", &save))
			w[n++] = p;
		if (!n)
			continue;
		since = now_ns();
		err_clear(&e);
		answer(run(w, n, &e), &e, since);
	}
	virt_close(virt);
	return 0;
}
