/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consoles. QEMU connects to a socket in the VM's directory; what it writes
 * goes to ROOT/virt/NAME/console.log, a folder that only root can enter (the
 * VM's own directory belongs to QEMU's uid, which could put a link there).
 */
#include "host-agent/virt/internal.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Of one VM in one turn: others get theirs. */
#define TURN_BYTES 16384

static int open_log(struct virt *v, struct vm *vm, bool next)
{
	char path[PATH_MAX], old[PATH_MAX];
	struct stat st;
	int r;

	r = record_path(v, vm->name, "console.log", path, sizeof(path));
	if (r == 0)
		r = record_path(v, vm->name, "console.log.1", old, sizeof(old));
	if (r < 0)
		return r;
	if (next && rename(path, old) < 0 && errno != ENOENT)
		return -errno;
	cleanup_close(&vm->console_log);
	vm->console_log = open(
		path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		0600);
	if (vm->console_log < 0 || fstat(vm->console_log, &st) < 0)
		return -errno;
	vm->console_len = (size_t)st.st_size;
	return 0;
}

int console_open(struct virt *v, struct vm *vm, struct err *e)
{
	char path[VIRT_DIR_MAX + 32];
	int r;

	snprintf(path, sizeof(path), "%s/" XML_CONSOLE_SOCK, vm->vm_dir);
	console_close(vm);
	r = open_log(v, vm, false);
	if (r < 0)
		return err_sys(e, -r, "console of VM '%s'", vm->name);
	r = unix_listen(path, 0600, 4, e);
	if (r < 0)
		return err_wrap(e, "console of VM '%s'", vm->name);
	vm->console_listen = r;
	if (lchown(path, vm->uid, vm->gid) < 0)
		return err_sys(e, errno, "give '%s' away", path);
	return fd_set_nonblock(vm->console_listen, true);
}

void console_close(struct vm *vm)
{
	size_t i;

	cleanup_close(&vm->console_listen);
	cleanup_close(&vm->console_fd);
	cleanup_close(&vm->console_log);
	for (i = 0; i < VIRT_CONSOLE_CLIENTS; i++)
		cleanup_close(&vm->console_clients[i]);
	vm->typed_len = 0;
}

void console_on_listen(struct vm *vm)
{
	int fd = accept4(vm->console_listen, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	/* The newest is the one that QEMU has now. */
	cleanup_close(&vm->console_fd);
	vm->console_fd = fd;
}

/* A piece that a client does not take at once is lost to it. */
static void show(struct vm *vm, const char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < VIRT_CONSOLE_CLIENTS; i++)
		if (vm->console_clients[i] >= 0 &&
		    send(vm->console_clients[i], buf, len,
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno != EAGAIN && errno != EINTR)
			cleanup_close(&vm->console_clients[i]);
}

void console_on_room(struct vm *vm)
{
	ssize_t n;

	if (vm->console_fd < 0)
		return; /* QEMU connects within a second */
	n = send(vm->console_fd, vm->typed, vm->typed_len,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n <= 0)
		return; /* its end is seen where it is read */
	vm->typed_len -= (size_t)n;
	memmove(vm->typed, vm->typed + n, vm->typed_len);
}

void console_on_client(struct vm *vm, size_t i)
{
	ssize_t n = recv(vm->console_clients[i], vm->typed, sizeof(vm->typed),
			 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		cleanup_close(&vm->console_clients[i]);
		return;
	}
	vm->typed_len = (size_t)n;
	console_on_room(vm);
}

int virt_vm_console_open(struct virt *v, const char *name, int *ret,
			 struct err *e)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	struct vm *vm = vm_get(v, name, false);
	int pair[2], r = 0;
	size_t i;

	if (!vm)
		return err_set(e, ENOENT, "there is no VM '%s'", name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		vm_put(v, vm);
		return err_sys(e, errno, "make a socket");
	}
	ours = pair[0];
	theirs = pair[1];
	pthread_mutex_lock(&v->lock);
	for (i = 0; i < VIRT_CONSOLE_CLIENTS; i++)
		if (vm->console_clients[i] < 0)
			break;
	if (vm->state == VIRT_GONE || vm->console_listen < 0)
		r = err_set(e, ENOENT, "the VM does not run");
	else if (i == VIRT_CONSOLE_CLIENTS)
		r = err_set(e, EBUSY, "%d are connected to its console already",
			    VIRT_CONSOLE_CLIENTS);
	else
		vm->console_clients[i] = steal_fd(&ours);
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
	if (r < 0)
		return r;
	keeper_wake(v);
	*ret = steal_fd(&theirs);
	return 0;
}

void console_on_data(struct virt *v, struct vm *vm)
{
	char buf[TURN_BYTES];
	ssize_t n = read(vm->console_fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		cleanup_close(&vm->console_fd);
		return;
	}
	show(vm, buf, (size_t)n);
	if (vm->console_len >= VIRT_CONSOLE_MAX && open_log(v, vm, true) < 0)
		return;
	/* A full disk loses console lines, nothing else. */
	if (vm->console_log >= 0 &&
	    write_full(vm->console_log, buf, (size_t)n) == 0)
		vm->console_len += (size_t)n;
}

/* The last `max` bytes of a file behind what is in b. */
static void read_tail(const char *path, size_t max, struct buf *b)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (st.st_size > (off_t)max &&
	    lseek(fd, st.st_size - (off_t)max, SEEK_SET) < 0)
		return;
	text = malloc(max);
	n = text ? read_full(fd, text, max) : -1;
	if (n > 0)
		buf_append(b, text, (size_t)n);
}

static void put_lines(struct buf *b, const char *s, size_t len)
{
	const char *end = s + len, *nl;
	size_t n;

	while (s < end) {
		nl = memchr(s, '\n', (size_t)(end - s));
		n = (size_t)((nl ? nl : end) - s);
		buf_put_escaped(b, s, n && s[n - 1] == '\r' ? n - 1 : n);
		if (nl)
			buf_putc(b, '\n');
		s += n + 1;
	}
}

int virt_vm_console(struct virt *v, const char *name, size_t max, char **ret,
		    struct err *e)
{
	_cleanup_buf_ struct buf raw = BUF_INIT, out = BUF_INIT;
	char path[PATH_MAX];
	size_t skip;

	if (max > 2 * VIRT_CONSOLE_MAX)
		max = 2 * VIRT_CONSOLE_MAX;
	if (record_path(v, name, "console.log.1", path, sizeof(path)) == 0)
		read_tail(path, max, &raw);
	if (record_path(v, name, "console.log", path, sizeof(path)) == 0)
		read_tail(path, max, &raw);
	skip = raw.len > max ? raw.len - max : 0;
	put_lines(&out, buf_str(&raw) + skip, raw.len - skip);
	buf_puts(&out, "");
	*ret = out.len ? buf_steal(&out) : strdup("");
	return *ret ? 0 : err_sys(e, ENOMEM, "console of VM '%s'", name);
}
