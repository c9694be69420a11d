/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hybd, the host agent. It opens the root (one hybd at a time holds it), the
 * state, the images and libvirt, takes up what runs, and serves until SIGTERM
 * or SIGINT. There is no clean shutdown that matters: what it leaves running
 * the next hybd takes up, however this one ended.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "host-agent/api/api.h"
#include "host-agent/hybd/paths.h"

#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#define DEFAULT_ROOT   "/var/lib/hyb"
#define DEFAULT_SOCKET "/run/hyb/hybd.sock"
#define GROUP	       "hyb"
#define LOG_MAX	       (16ll << 20)
/* Uids for VMs: a range that adduser and systemd leave alone. The first is
 * the accelerator probe's, then come hyb-image's and qemu-img's, and those of
 * what VMs do in the host's folders (docs/decisions/binds.md), and that of the
 * tenants' DHCP servers; behind the VMs' those of tenants' image stores, and of
 * each import of a disk. */
#define UID_BASE     1878000000u
#define UID_IMAGE    (UID_BASE + 1)
#define UID_DISK     (UID_BASE + 2)
#define UID_SHARE    (UID_BASE + 3)
#define UID_NOBODY   (UID_BASE + 4)
#define UID_DHCP     (UID_BASE + 5)
#define UID_VMS	     (UID_BASE + 16)
#define UID_VM_COUNT 60000u
#define UID_STORES   (UID_VMS + UID_VM_COUNT)
#define UID_N_STORES 4096u
#define UID_IMPORTS  (UID_STORES + UID_N_STORES)
#define UID_N_DISKS  256u
#define UID_FOREIGN  (UID_BASE + 65536)
#define UID_LAST     (UID_FOREIGN + 65535)
#define NOFILE_WANT  65536
#define TAKE_UP_MS   6000

struct options {
	char root[256];
	const char *connect;
	const char *socket;
	enum virt_accel accel;
	enum log_level level;
	int ready_fd;
	bool kernel_vsock;
	struct bind_policy binds;
	uint64_t layer_cache; /* 0: the store's default */
};

static _Atomic(struct world *) the_world;

/* Why a VM ended, in the words of `hyb ps`. */
static const char *end_reason(enum virt_end end)
{
	switch (end) {
	case VIRT_END_PANIC:
		return "GuestPanic";
	case VIRT_END_SHUTDOWN:
	case VIRT_END_REBOOT:
		return "Completed";
	default:
		return "VMKilled";
	}
}

static void on_event(const struct virt_event *ev, void *arg)
{
	struct world *w = atomic_load(&the_world);

	(void)arg;
	log_debug("VM %s: event %d %s", ev->name, (int)ev->kind, ev->detail);
	if (!w)
		return;
	if (ev->kind == VIRT_EVENT_STOPPED)
		world_domain_ended(w, ev->name, end_reason(ev->end));
	else if (ev->kind == VIRT_EVENT_VSOCK_FAILED)
		world_domain_ended(w, ev->name, "AgentLost");
	else if (ev->kind == VIRT_EVENT_SHARE_LOST)
		world_domain_ended(w, ev->name, "BindLost");
}

static void on_warning(const char *text, void *arg)
{
	(void)arg;
	log_warn("%s", text);
}

/* ----------------------------------------------------------------- options */

static void usage(FILE *f)
{
	fprintf(f,
		"usage: hybd [--root DIR] [--connect URI] [--accel auto|kvm|tcg]\n"
		"            [--socket PATH] [--vsock device|kernel]\n"
		"            [--allow-bind PATH[:ro|:rw]]...\n"
		"            [--layer-cache SIZE]\n"
		"            [--log-level error|warning|info|debug]\n"
		"            [--daemon-ready-fd N] [--version]\n"
		"\n"
		"The host agent of hyb. Environment: HYB_ROOT, HYB_CONNECT,\n"
		"HYB_ACCEL, HYB_KERNEL, HYB_INITRAMFS, HYB_ALLOW_BIND,\n"
		"HYB_LAYER_CACHE.\n");
}

static int bad_option(const char *name, const char *value)
{
	fprintf(stderr, "hybd: --%s: '%s' is not a value it takes\n", name,
		value);
	return -EINVAL;
}

static int bind_take(struct options *o, const char *value, bool many)
{
	struct err e = ERR_INIT;
	int r = many ? bind_policy_add_all(&o->binds, value, &e)
		     : bind_policy_add(&o->binds, value, &e);

	if (r < 0)
		fprintf(stderr, "hybd: %s\n", e.msg);
	return r;
}

static int layer_cache_take(struct options *o, const char *value)
{
	if (parse_size(value, &o->layer_cache) < 0)
		return bad_option("layer-cache", value);
	if (o->layer_cache == 0)
		o->layer_cache = IMAGE_NO_LAYER_CACHE;
	return 0;
}

static int option_take(struct options *o, int c, const char *value)
{
	uint64_t n;

	switch (c) {
	case 'r':
		snprintf(o->root, sizeof(o->root), "%s", value);
		return 0;
	case 'c':
		o->connect = value;
		return 0;
	case 's':
		o->socket = value;
		return 0;
	case 'a':
		if (virt_accel_parse(value, &o->accel) < 0)
			return bad_option("accel", value);
		return 0;
	case 'v':
		if (strcmp(value, "kernel") != 0 &&
		    strcmp(value, "device") != 0)
			return bad_option("vsock", value);
		o->kernel_vsock = strcmp(value, "kernel") == 0;
		return 0;
	case 'l':
		if (log_level_parse(value, &o->level) < 0)
			return bad_option("log-level", value);
		return 0;
	case 'b':
		return bind_take(o, value, false);
	case 'L':
		return layer_cache_take(o, value);
	case 'R':
		if (parse_u64(value, 0, 1u << 20, &n) < 0)
			return bad_option("daemon-ready-fd", value);
		o->ready_fd = (int)n;
		return 0;
	default:
		return -EINVAL;
	}
}

/* 0, 1: done already, or -EINVAL. */
static int options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"root", required_argument, NULL, 'r'},
		{"connect", required_argument, NULL, 'c'},
		{"accel", required_argument, NULL, 'a'},
		{"socket", required_argument, NULL, 's'},
		{"vsock", required_argument, NULL, 'v'},
		{"log-level", required_argument, NULL, 'l'},
		{"allow-bind", required_argument, NULL, 'b'},
		{"layer-cache", required_argument, NULL, 'L'},
		{"daemon-ready-fd", required_argument, NULL, 'R'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *root = getenv("HYB_ROOT"), *accel = getenv("HYB_ACCEL");
	const char *binds = getenv("HYB_ALLOW_BIND");
	const char *layers = getenv("HYB_LAYER_CACHE");
	int c;

	snprintf(o->root, sizeof(o->root), "%s",
		 root && root[0] ? root : DEFAULT_ROOT);
	o->connect = getenv("HYB_CONNECT");
	if (accel && accel[0] && virt_accel_parse(accel, &o->accel) < 0)
		return bad_option("accel (HYB_ACCEL)", accel);
	if (binds && bind_take(o, binds, true) < 0)
		return -EINVAL;
	if (layers && layers[0] && layer_cache_take(o, layers) < 0)
		return -EINVAL;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'V') {
			printf("hybd %s\n", HYB_VERSION);
			return 1;
		}
		if (c == 'h') {
			usage(stdout);
			return 1;
		}
		if (option_take(o, c, optarg) < 0) {
			usage(stderr);
			return -EINVAL;
		}
	}
	if (optind != argc) {
		fprintf(stderr, "hybd: unexpected argument '%s'\n",
			argv[optind]);
		return -EINVAL;
	}
	if (!o->connect)
		o->connect = "";
	return 0;
}

/* -------------------------------------------------------------- the process */

/* Built with a sanitizer: what is lost is told on standard error. (It looks by
 * itself in exit handlers only, of which there are none.) */
static void leaks_report(void)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_do_recoverable_leak_check();
#endif
}

/* What hyb has started writes there; what a tenant can bring about ends in a
 * line now and then. */
static void limit_log(const char *root)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/hybd.log", root);
	log_limit(path, LOG_MAX);
}

/* Takes the root: the lock goes with the process. */
static int lock_root(const char *root, struct err *e)
{
	char path[300];
	int fd, r;

	snprintf(path, sizeof(path), "%s/hybd.lock", root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	r = fd_lock(fd);
	if (r < 0) {
		close(fd);
		if (r != -EBUSY)
			return err_sys(e, -r, "lock '%s'", path);
		err_set(e, EBUSY, "root '%s' is held by another hybd", root);
		err_hint(e, "use that one, or another --root");
		return -EBUSY;
	}
	return fd;
}

static void raise_nofile(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	if (l.rlim_max < NOFILE_WANT) {
		l.rlim_cur = l.rlim_max;
		log_warn("the limit of open files is %llu; %d are wanted for "
			 "many VMs",
			 (unsigned long long)l.rlim_max, NOFILE_WANT);
	} else {
		l.rlim_cur = l.rlim_max;
	}
	setrlimit(RLIMIT_NOFILE, &l);
}

static int make_root(const char *root, struct err *e)
{
	static const char *const subs[] = {"images", "vms", "logs"};
	char path[300];
	struct stat st;
	size_t i;
	int r;

	if (root[0] != '/')
		return err_set(e, EINVAL, "root '%s' is not an absolute path",
			       root);
	r = dir_make(root, 0711, e);
	if (r < 0)
		return r;
	if (stat(root, &st) < 0)
		return err_sys(e, errno, "root '%s'", root);
	if (!(st.st_mode & S_IXOTH)) {
		err_set(e, EACCES,
			"root '%s' is closed to the users that VMs run as",
			root);
		err_hint(e, "chmod o+x '%s'", root);
		return -EACCES;
	}
	for (i = 0; i < ARRAY_SIZE(subs) && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, subs[i]);
		r = dir_make(path, i == 2 ? 0700 : 0711, e);
	}
	return r;
}

/* The socket's folder, and the socket: root and the group may connect. */
static int listen_socket(const struct options *o, char path[256], struct err *e)
{
	struct group *gr = getgrnam(GROUP);
	char dir[256], *slash;
	int fd, r;

	if (o->socket)
		snprintf(path, 256, "%s", o->socket);
	else if (strcmp(o->root, DEFAULT_ROOT) == 0)
		snprintf(path, 256, "%s", DEFAULT_SOCKET);
	else
		snprintf(path, 256, "%.240s/hybd.sock", o->root);
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash)
		return err_set(e, EINVAL, "socket '%s' is no absolute path",
			       path);
	*slash = '\0';
	r = dir_make(dir, 0755, e);
	if (r < 0)
		return r;
	fd = unix_listen(path, 0660, 128, e);
	if (fd < 0)
		return fd;
	if (gr && chown(path, 0, gr->gr_gid) < 0)
		log_warn("give '%s' to the group %s: %s", path, GROUP,
			 strerror(errno));
	return fd;
}

/* Waits for the signal that ends this process. */
static void *wait_signal(void *arg)
{
	const struct api *api = arg;
	uint64_t one = 1;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigwait(&set, &sig);
	log_info("signal %d: ending; VMs go on", sig);
	if (write(api->quit_fd, &one, sizeof(one)) < 0)
		_exit(1);
	return NULL;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void tell_ready(const struct options *o)
{
	if (o->ready_fd < 0)
		return;
	if (write(o->ready_fd, "1", 1) < 0)
		log_warn("tell that we are ready: %s", strerror(errno));
	close(o->ready_fd);
}

static int open_virt(const struct options *o, const struct paths *p,
		     const char *cmdline, struct virt **ret, struct err *e)
{
	struct virt_config cfg = {
		.root = o->root,
		.uri = o->connect,
		.accel = o->accel,
		.uid_base = UID_BASE,
		.kernel = p->kernel,
		.initramfs = p->initramfs,
		.cmdline = cmdline,
		.vsockd_path = p->vsockd,
		.fsd_path = p->fsd,
		.share_id = UID_SHARE,
		.share_range = UID_FOREIGN,
		.on_event = on_event,
		.on_warning = on_warning,
	};

	return virt_open(&cfg, ret, e);
}

static int open_images(const struct options *o, const struct paths *p,
		       struct state *state, struct image_stores **ret,
		       struct err *e)
{
	char dir[300];
	struct image_store_config cfg = {
		.dir = dir,
		.hyb_image = p->image,
		.uid = UID_IMAGE,
		.gid = UID_IMAGE,
		.layer_cache = o->layer_cache,
	};

	snprintf(dir, sizeof(dir), "%s/images", o->root);
	return tenant_images_open(state, &cfg, UID_STORES, UID_N_STORES, ret,
				  e);
}

static int open_volumes(const struct options *o, struct state *state,
			struct volume_store **ret, struct err *e)
{
	const struct volume_config cfg = {
		.root = o->root,
		.state = state,
		.mkfs_uid = UID_IMAGE,
		.vm_uid_base = UID_VMS,
		.vm_uid_count = UID_VM_COUNT,
	};

	return volume_store_open(&cfg, ret, e);
}

static int open_disks(const struct options *o, struct state *state,
		      struct disk_store **ret, struct err *e)
{
	struct disk_store_config cfg = {.root = o->root,
					.uid = UID_IMPORTS,
					.n_uids = UID_N_DISKS,
					.gid = UID_DISK};

	return tenant_disks_open(state, &cfg, ret, e);
}

static void on_dhcp_restart(void *arg, const char *tenant, const struct err *e)
{
	(void)arg;
	if (e)
		log_warn("network of tenant '%s': %s", tenant, e->msg);
	else
		log_warn("network of tenant '%s': its DHCP server had ended, "
			 "and was started again",
			 tenant);
}

static int open_net(const struct options *o, const struct paths *p, int mnt_fd,
		    struct net **ret, struct err *e)
{
	const struct net_config cfg = {
		.root = o->root,
		.mnt_fd = mnt_fd,
		.dhcpd_path = p->dhcpd,
		.dhcpd_uid = UID_DHCP,
		.on_restart = on_dhcp_restart,
	};

	return net_open(&cfg, ret, e);
}

static int serve(const struct options *o, const struct paths *p, int mnt_fd,
		 struct err *e)
{
	_cleanup_free_ char *cmdline = NULL;
	struct world_config wc = {.root = o->root,
				  .portd_path = p->portd,
				  .uid_base = UID_VMS,
				  .uid_count = UID_VM_COUNT,
				  .kernel_vsock = o->kernel_vsock,
				  .binds = &o->binds};
	struct api api = {.root = o->root,
			  .connect = o->connect,
			  .group = GROUP,
			  .binds = &o->binds,
			  .removals = PTHREAD_RWLOCK_INITIALIZER};
	char state_path[300], socket_path[256];
	struct world *world = NULL;
	pthread_t thread;
	int r;

	r = paths_cmdline(p, &cmdline, e);
	if (r < 0)
		return r;
	snprintf(state_path, sizeof(state_path), "%s/state.db", o->root);
	r = state_open(state_path, &api.state, e);
	if (r == 0)
		r = open_images(o, p, api.state, &api.images, e);
	if (r == 0)
		r = open_volumes(o, api.state, &api.volumes, e);
	if (r == 0)
		r = secret_store_open(o->root, api.state, &api.secrets, e);
	if (r == 0)
		r = open_disks(o, api.state, &api.disks, e);
	if (r == 0)
		r = open_net(o, p, mnt_fd, &wc.net, e);
	if (r == 0)
		r = open_virt(o, p, cmdline, &api.virt, e);
	if (r < 0)
		return r;
	wc.disks = api.disks;
	wc.volumes = api.volumes;
	wc.secrets = api.secrets;
	r = world_open(&wc, api.state, api.images, api.virt, &world, e);
	atomic_store(&the_world, world);
	if (r < 0)
		return r;
	/* A guest that does not answer holds nobody up for longer. */
	world_await_taken_up(world, TAKE_UP_MS);
	api.world = world;
	api.quit_fd = eventfd(0, EFD_CLOEXEC);
	api.listen_fd = listen_socket(o, socket_path, e);
	if (api.listen_fd < 0)
		return api.listen_fd;
	if (pthread_create(&thread, NULL, wait_signal, &api) != 0)
		return err_set(e, EAGAIN, "start a thread");
	log_info("hybd %s serves '%s' on '%s'", HYB_VERSION, o->root,
		 socket_path);
	tell_ready(o);
	return api_run(&api, e);
}

int main(int argc, char **argv)
{
	struct options o = {.ready_fd = -1,
			    .accel = VIRT_ACCEL_AUTO,
			    .level = LOG_LEVEL_INFO,
			    .binds = {.reserved_first = UID_BASE,
				      .reserved_last = UID_LAST,
				      .nobody = UID_NOBODY}};
	struct err e = ERR_INIT;
	char warning[512] = "";
	struct paths paths;
	int r, lock, mnt_fd;

	r = options_read(argc, argv, &o);
	if (r != 0)
		return r < 0 ? 2 : 0;
	log_init("hybd", o.level);
	block_signals();
	umask(0022);
	if (o.ready_fd >= 0)
		fd_set_cloexec(o.ready_fd, true);
	raise_nofile();
	r = make_root(o.root, &e);
	lock = r == 0 ? lock_root(o.root, &e) : -1;
	if (lock < 0)
		r = -e.code;
	limit_log(o.root);
	if (r == 0)
		r = bind_policy_check(&o.binds, o.root, &e);
	if (r == 0)
		r = paths_find(&paths, &e);
	if (r == 0)
		r = paths_publish(&paths, o.root, &e);
	/* What is mounted here outlives this process. */
	mnt_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (r == 0 && mnt_fd < 0)
		r = err_sys(&e, errno, "open '/proc/self/ns/mnt'");
	if (r == 0)
		r = virt_prepare_process(warning, sizeof(warning), &e);
	if (r == 0 && warning[0])
		log_warn("%s", warning);
	if (r == 0)
		r = serve(&o, &paths, mnt_fd, &e);
	if (r < 0) {
		log_error("%s", e.msg);
		if (e.hint[0])
			log_error("hint: %s", e.hint);
		/* 7: there is no hybd to be had. Threads are running: no exit
		 * handlers. */
		_exit(e.code == EBUSY || e.code == ENOPKG ? 7 : 1);
	}
	leaks_report();
	_exit(0);
}
