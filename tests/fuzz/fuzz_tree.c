/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest sends for `hyb cp`, as it is unpacked here. The first byte's bits
 * choose how; nothing may ever come to be beside the target. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/tree/tree.h"
#include "host-agent/cli/cp.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char target[96], outside[96], way_out[96];

/* Beside the target there is what was there, untouched. */
static void check(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	const struct dirent *de;
	struct stat st;
	int n = 0;

	while (d && (de = readdir(d)))
		n++;
	if (n != 4 || stat(outside, &st) < 0 || st.st_size != 0 ||
	    st.st_nlink != 1 || (st.st_mode & 07777) != 0600)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_tree_wire_ struct tree_wire w = {.fd = -1};
	char dir[64] = "/tmp/hyb-fuzz.XXXXXX";
	struct tree_end end = {0}, sender = {0};
	struct tree_target t = {.base = "b", .uid = -1, .gid = -1};
	struct err e = ERR_INIT;
	int sv[2], big = 1 << 20, null;

	if (size < 1 || size > 100000)
		return 0;
	if (!mkdtemp(dir))
		return 0;
	snprintf(target, sizeof(target), "%s/t", dir);
	snprintf(outside, sizeof(outside), "%s/o", dir);
	null = open(outside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (null < 0 || mkdir(target, 0700) < 0)
		abort();
	close(null);
	/* A way out that is there already. */
	snprintf(way_out, sizeof(way_out), "%s/t/l", dir);
	if (symlink("..", way_out) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	if (send(sv[1], data + 1, size - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0;
	close(sv[1]);
	if (tree_wire_init(&w, sv[0], 1000, &e) < 0)
		abort();
	if (data[0] & 4) {
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		cp_tar_write(&w, null, "b", &sender, &e);
		close(null);
	} else {
		t.path = target;
		t.flags = (data[0] & 1 ? TREE_STREAM : 0) |
			  (data[0] & 2 ? TREE_CONTENTS : 0);
		tree_receive(&w, &t, &end, &sender, &e);
	}
	close(sv[0]);
	check(dir);
	path_remove(dir, NULL);
	return 0;
}
