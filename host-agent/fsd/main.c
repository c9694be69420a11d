/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-fsd: puts a cage around virtiofsd, which shares one folder or file of the
 * host with one VM, and becomes it (docs/decisions/binds.md).
 *
 * What is shared is descriptor 3, which hybd has looked at: nothing is looked up
 * by name here. Descriptor 4 is the listening socket for QEMU.
 *
 * Theory of operation. virtiofsd does what the guest's kernel asks, with the
 * user ids that the guest's kernel says. So it runs as root of a user namespace
 * in which host ids are few:
 *
 *   in it             on the host
 *   0                 own_id, a reserved id that owns nothing
 *   base              the owner of what is shared
 *   base+1 ... 65535  a reserved range that owns nothing but what guests made
 *
 * base is where the container's ids begin in its guest. Nobody else is to be
 * had, the host's root least of all, and what belongs to others can be used as
 * their "others" may. The root of the share is an empty tmpfs, read-only, in
 * which what is shared is mounted with the name that was given: so a file has no
 * neighbours, of a folder nothing is above it. That mount is nosuid and nodev,
 * read-only where it is to be, before the namespace is made: which locks it. Modes with set-id
 * bits are refused by a filter of system calls, as the files can be reached on
 * the host by another way than this mount. virtiofsd then adds its own
 * namespaces, change of root, capabilities and filter.
 */
#include "common/base/cage.h"
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "common/base/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define EXIT_USAGE 2
#define SHARED_FD  3
#define SOCKET_FD  4
/* Any folder that every system has will do: in a mount namespace of ours. */
#define SHARE	  "/tmp"
#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"
/* A descriptor for each file that the guest's kernel remembers. */
#define FDS_MAX 65536
#define IDS	65536u
#define SET_ID	(S_ISUID | S_ISGID)
#define ATTRS	(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

struct options {
	const char *name;
	uint32_t own_id, owner_uid, owner_gid, range, base;
	bool read_only, wait;
};

static const char usage_text[] =
	"usage: hyb-fsd --own-id N --owner UID:GID --range N --base N\n"
	"               --name NAME [--read-only] [--wait]\n"
	"3 is the folder or file, 4 the listening socket. --wait: goes on once\n"
	"a byte comes on standard input, ends at its end.\n";

static int parse_owner(char *s, struct options *o)
{
	char *colon = strchr(s, ':');

	if (!colon)
		return -EINVAL;
	*colon++ = '\0';
	return parse_uid(s, &o->owner_uid) < 0 ||
			       parse_uid(colon, &o->owner_gid) < 0
		       ? -EINVAL
		       : 0;
}

static int parse_option(int c, void *arg)
{
	struct options *o = arg;

	switch (c) {
	case 'i':
		return parse_uid(optarg, &o->own_id);
	case 'o':
		return parse_owner(optarg, o);
	case 'r':
		return parse_uid(optarg, &o->range);
	case 'b':
		return parse_uid(optarg, &o->base);
	case 'n':
		o->name = optarg;
		return *optarg && !strchr(optarg, '/') ? 0 : -EINVAL;
	case 'R':
		o->read_only = true;
		return 0;
	case 'w':
		o->wait = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* No id is the host's root. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"own-id", required_argument, NULL, 'i'},
		{"owner", required_argument, NULL, 'o'},
		{"range", required_argument, NULL, 'r'},
		{"base", required_argument, NULL, 'b'},
		{"name", required_argument, NULL, 'n'},
		{"read-only", no_argument, NULL, 'R'},
		{"wait", no_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	int r = cage_options(argc, argv, longs, parse_option, o);

	if (r == 0 && (!o->own_id || !o->owner_uid || !o->owner_gid ||
		       !o->range || !o->base || !o->name))
		r = -EINVAL;
	return r;
}

/* ---------------------------------------------------------------- mounts */

/* What is shared as a mount of its own, without what is mounted below it. */
static int take_shared(bool *ret_file, bool read_only, struct err *e)
{
	struct stat st;

	if (fstat(SHARED_FD, &st) < 0 ||
	    (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set(e, ENOTDIR,
			       "descriptor %d is no folder and no file",
			       SHARED_FD);
	*ret_file = S_ISREG(st.st_mode);
	return cage_take(SHARED_FD, "",
			 ATTRS | (read_only ? MOUNT_ATTR_RDONLY : 0), e);
}

/* The root of the share, with nothing but the place for what is shared. */
static int mount_root(const char *name, bool file, struct err *e)
{
	_cleanup_close_ int root = -1;
	int r;

	if (mount("tmpfs", SHARE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=2,mode=0555") < 0)
		return err_sys(e, errno, "mount a tmpfs");
	root = open(SHARE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, errno, "open the tmpfs");
	r = file ? mknodat(root, name, S_IFREG | 0400, 0)
		 : mkdirat(root, name, 0500);
	if (r < 0)
		return err_sys(e, errno, "make the place for what is shared");
	if (mount(NULL, SHARE, NULL,
		  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV |
			  MS_NOEXEC,
		  NULL) < 0)
		return err_sys(e, errno, "make the tmpfs read-only");
	return steal_fd(&root);
}

static int mount_shared(const struct options *o, struct err *e)
{
	_cleanup_close_ int tree = -1, root = -1;
	bool file = false;
	int r;

	tree = take_shared(&file, o->read_only, e);
	if (tree < 0)
		return tree;
	r = cage_namespaces(e);
	if (r < 0)
		return r;
	root = mount_root(o->name, file, e);
	if (root < 0)
		return root;
	r = cage_put(tree, root, o->name, e);
	if (r < 0)
		return r;
	close(SHARED_FD);
	return 0;
}

/* ------------------------------------------------------------------- ids */

static int enter_ids(const struct options *o, struct err *e)
{
	static const char map[] = "0 %u 1\n%u %u 1\n%u %u %u\n";
	char uids[128], gids[128];

	snprintf(uids, sizeof(uids), map, o->own_id, o->base, o->owner_uid,
		 o->base + 1, o->range + 1, IDS - 1);
	snprintf(gids, sizeof(gids), map, o->own_id, o->base, o->owner_gid,
		 o->base + 1, o->range + 1, IDS - 1);
	/* The mounts' flags are locked by going to a namespace of less
	 * rights. */
	return sandbox_user_namespace(uids, gids, e);
}

/* ---------------------------------------------------------------- filter */

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define REFUSE	     RETURN(SECCOMP_RET_ERRNO | EPERM)

/* One call: refused where its mode (the lower half of argument `arg`) has a bit
 * of `bits`. Five instructions. */
#define CHECK(call, arg, bits)                                            \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4), LOAD(args[arg]), \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1), REFUSE, \
		RETURN(SECCOMP_RET_ALLOW)

/* No file gets a set-id bit, none is a device. What has no mode to look at in a
 * register is refused as unknown. virtiofsd's own filter, which it loads later,
 * is the list of what is allowed at all. */
static int filter(struct err *e)
{
	struct sock_filter code[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		CHECK(SYS_openat, 3, SET_ID),
		CHECK(SYS_open, 2, SET_ID),
		CHECK(SYS_creat, 1, SET_ID),
		CHECK(SYS_chmod, 1, SET_ID),
		CHECK(SYS_fchmod, 1, SET_ID),
		CHECK(SYS_fchmodat, 2, SET_ID),
		CHECK(SYS_mkdir, 1, SET_ID),
		CHECK(SYS_mkdirat, 2, SET_ID),
		/* S_IFCHR is a bit of S_IFBLK, and of no other kind that may
		 * be made. */
		CHECK(SYS_mknod, 1, SET_ID | S_IFCHR),
		CHECK(SYS_mknodat, 2, SET_ID | S_IFCHR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 452 /* fchmodat2 */, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | ENOSYS),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {.len = (unsigned short)ARRAY_SIZE(code),
					.filter = code};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
		return err_sys(e, errno, "filter system calls");
	return 0;
}

static int limit_fds(struct err *e)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return err_sys(e, errno, "limit its descriptors");
	if (l.rlim_max > FDS_MAX)
		l.rlim_max = FDS_MAX;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0)
		return err_sys(e, errno, "limit its descriptors");
	return 0;
}

static int run(void *arg, struct err *e)
{
	const struct options *o = arg;
	static char *const argv[] = {"virtiofsd",
				     "-f",
				     "--fd=4",
				     "--rlimit-nofile=0",
				     "-o",
				     "source=" SHARE
				     ",sandbox=namespace,cache=auto,no_xattr,"
				     "no_posix_lock,no_flock,log_level=err",
				     NULL};
	static char *const env[] = {"LANG=C.UTF-8", NULL};
	int r;

	r = limit_fds(e);
	if (r == 0)
		r = mount_shared(o, e);
	if (r == 0)
		r = enter_ids(o, e);
	if (r == 0)
		r = filter(e);
	if (r < 0)
		return r;
	if (fcntl(SOCKET_FD, F_SETFD, 0) < 0)
		return err_sys(e, errno, "descriptor %d", SOCKET_FD);
	execve(VIRTIOFSD, argv, env);
	return err_sys(e, errno, "start '%s'", VIRTIOFSD);
}

int main(int argc, char **argv)
{
	struct options o = {.own_id = 0};
	struct cage c = {.name = "hyb-fsd", .n_fds = 2, .run = run, .arg = &o};

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	c.wait = o.wait;
	return cage_main(&c);
}
