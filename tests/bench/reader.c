/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own reading beside a container's, in turns, in one VM.
 *
 * As PID 1 it leaves a process behind in the guest, outside all containers, and
 * becomes the agent (/agent). That process mounts the disks a second time and
 * reads what it is asked to, over an abstract socket of the VM's network.
 *
 *   reader FILE image|volume seq|rand ROUNDS
 *
 * in a container reads FILE, has the guest read its /bench.bin of the disk, and
 * prints a line a round: bytes a second here, bytes a second there. Before each
 * reading the guest drops the file from its page cache.
 *
 *   reader FILE alone seq|rand ROUNDS
 *
 * drops and reads FILE itself, with nobody beside it.
 *
 * With "append" for seq|rand it appends 4 KiB to FILE and syncs it, and a line has
 * microseconds: the guest does that to its /bench.bin.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RANDOM_READS 4000

static void die(const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double read_all(int fd)
{
	static char buf[1 << 20];
	double begin = now(), bytes = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		bytes += (double)n;
	if (n < 0)
		return -1;
	return bytes / (now() - begin);
}

static double read_random(int fd, off_t size)
{
	unsigned long long x = 88172645463325252ull;
	char buf[4096];
	double begin = now();
	int i;

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (i = 0; i < RANDOM_READS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (pread(fd, buf, sizeof(buf),
			  (off_t)(x % (unsigned long long)(size / 4096)) *
				  4096) != (ssize_t)sizeof(buf))
			return -1;
	}
	return RANDOM_READS * 4096.0 / (now() - begin);
}

/* Microseconds of 4 KiB more that are synced. */
static double append(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	static char block[4096];
	double begin = now(), r = -1;

	memset(block, 'x', sizeof(block));
	if (fd >= 0 && write(fd, block, sizeof(block)) == sizeof(block) &&
	    fsync(fd) == 0)
		r = (now() - begin) * 1e6;
	if (fd >= 0)
		close(fd);
	return r;
}

/* Bytes a second, or what append() says; -1: error. */
static double measure(const char *path, const char *how)
{
	int fd;
	struct stat st;
	double r = -1;

	if (how[0] == 'a')
		return append(path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0)
		r = how[0] == 's' ? read_all(fd) : read_random(fd, st.st_size);
	if (fd >= 0)
		close(fd);
	return r;
}

/* ------------------------------------------------------------ in the guest */

/* The file on one of the VM's disks, which is mounted once more for that. */
static const char *find_file(const char *disk)
{
	static char image[] = "/bench-image/bench.bin",
		    volume[] = "/bench-volume/data/bench.bin";
	const char *path = disk[0] == 'i' ? image : volume;
	const char *at = disk[0] == 'i' ? "/bench-image" : "/bench-volume";
	char dev[] = "/bench-dev/vda";

	if (access(path, R_OK) == 0)
		return path;
	for (; dev[13] <= 'h'; dev[13]++) {
		if (disk[0] == 'i' ? mount(dev, at, "erofs", MS_RDONLY, "")
				   : mount(dev, at, "ext4", 0, ""))
			continue;
		if (access(path, R_OK) == 0)
			return path;
		umount(at);
	}
	return NULL;
}

static double drop(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = fsync(fd) < 0 && errno != EROFS && errno != EINVAL;
	r |= posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return r ? -1 : 0;
}

static int listener(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path + 1, "bench", 5);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 4) < 0)
		die("listen");
	return fd;
}

static void serve(void)
{
	int fd = listener();

	if (unshare(CLONE_NEWNS) < 0 || mkdir("/bench-dev", 0755) < 0 ||
	    mkdir("/bench-image", 0755) < 0 ||
	    mkdir("/bench-volume", 0755) < 0 ||
	    mount("dev", "/bench-dev", "devtmpfs", 0, "") < 0)
		die("prepare");
	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		char ask[64];
		ssize_t n;

		while (c >= 0 && (n = recv(c, ask, sizeof(ask) - 1, 0)) > 0) {
			const char *path, *how;
			double r = -1;

			ask[n] = '\0';
			how = strchr(ask, ' ');
			path = find_file(ask);
			if (path && how)
				r = how[1] == 'd' ? drop(path)
						  : measure(path, how + 1);
			send(c, &r, sizeof(r), MSG_NOSIGNAL);
		}
		if (c >= 0)
			close(c);
	}
}

static void be_init(char **argv)
{
	if (fork() == 0)
		serve();
	argv[0] = (char *)"/agent";
	execv(argv[0], argv);
	die("/agent");
}

/* -------------------------------------------------------- in the container */

static double ask_guest(int fd, const char *disk, const char *what)
{
	char text[64];
	double r;

	snprintf(text, sizeof(text), "%s %s", disk, what);
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 ||
	    recv(fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r))
		die("ask the guest");
	if (r < 0)
		die("the guest cannot read it");
	return r;
}

static int alone(const char *path, const char *how, int rounds)
{
	double r;

	while (rounds-- > 0) {
		r = how[0] != 'a' && drop(path) < 0 ? -1 : measure(path, how);
		if (r < 0)
			die(path);
		printf("%.0f\n", r);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, i, rounds;

	if (getpid() == 1 && argc < 5)
		be_init(argv);
	if (argc != 5)
		die("usage");
	if (strcmp(argv[2], "alone") == 0)
		return alone(argv[1], argv[3], atoi(argv[4]));
	memcpy(a.sun_path + 1, "bench", 5);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	rounds = atoi(argv[4]);
	for (i = 0; i < rounds; i++) {
		double here = 0, there = 0;
		int k;

		/* Who is first changes. */
		for (k = 0; k < 2; k++) {
			if (argv[3][0] != 'a')
				ask_guest(fd, argv[2], "drop");
			if ((i + k) % 2)
				there = ask_guest(fd, argv[2], argv[3]);
			else
				here = measure(argv[1], argv[3]);
		}
		if (here < 0)
			die(argv[1]);
		printf("%.0f %.0f\n", here, there);
	}
	return 0;
}
