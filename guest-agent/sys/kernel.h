/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that the C library has no function for, as the kernel has
 * them: the value, or -1 and errno. */
#ifndef HYB_GUEST_SYS_KERNEL_H
#define HYB_GUEST_SYS_KERNEL_H

#include <linux/openat2.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline pid_t sys_clone3(struct clone_args *args)
{
	return (pid_t)syscall(SYS_clone3, args, sizeof(*args));
}

static inline int sys_openat2(int dirfd, const char *path, uint64_t flags,
			      uint64_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = flags, .mode = mode, .resolve = resolve};

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static inline int sys_quotactl_fd(int fd, unsigned int cmd, uint32_t id,
				  void *arg)
{
	return (int)syscall(SYS_quotactl_fd, fd, cmd, id, arg);
}

static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
	return (int)syscall(SYS_pivot_root, new_root, put_old);
}

#endif
