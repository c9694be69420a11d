/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the guests that test host-agent/virt: answers one command line a
 * vsock connection on port 1024.
 *   ping       "pong UPTIME"
 *   blocks     "SERIAL SIZE ro|rw" of each disk
 *   first S    the first 16 bytes of the disk with that serial
 *   panic, poweroff, reboot
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return n > 0 ? 0 : -1;
}

static void first(FILE *f, const char *disk)
{
	char path[512], data[17] = "";
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", disk);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, data, 16) != 16)
		fprintf(f, "unreadable\n");
	else
		fprintf(f, "%s\n", data);
	if (fd >= 0)
		close(fd);
}

static void blocks(FILE *f, const char *want)
{
	char path[512], serial[64], size[64], ro[8];
	DIR *d = opendir("/sys/block");
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "vd", 2) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/serial", e->d_name);
		read_file(path, serial, sizeof(serial));
		snprintf(path, sizeof(path), "/sys/block/%s/size", e->d_name);
		read_file(path, size, sizeof(size));
		snprintf(path, sizeof(path), "/sys/block/%s/ro", e->d_name);
		read_file(path, ro, sizeof(ro));
		if (!want)
			fprintf(f, "%s %s %s\n", serial, size,
				ro[0] == '1' ? "ro" : "rw");
		else if (strcmp(want, serial) == 0)
			first(f, e->d_name);
	}
	if (d)
		closedir(d);
}

static void serve(FILE *f)
{
	char line[256], up[64];

	if (!fgets(line, sizeof(line), f))
		return;
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "ping") == 0) {
		read_file("/proc/uptime", up, sizeof(up));
		fprintf(f, "pong %s\n", up);
	} else if (strcmp(line, "blocks") == 0) {
		blocks(f, NULL);
	} else if (strncmp(line, "first ", 6) == 0) {
		blocks(f, line + 6);
	} else if (strcmp(line, "panic") == 0) {
		exit(1);
	} else if (strcmp(line, "poweroff") == 0) {
		reboot(RB_POWER_OFF);
	} else if (strcmp(line, "reboot") == 0) {
		reboot(RB_AUTOBOOT);
	}
}

int main(void)
{
	struct sockaddr_vm a = {.svm_family = AF_VSOCK,
				.svm_port = 1024,
				.svm_cid = VMADDR_CID_ANY};
	int s, c;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	s = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(s, 16) < 0)
		return 1;
	printf("virt-init: up\n");
	fflush(stdout);
	for (;;) {
		FILE *f;

		c = accept(s, NULL, NULL);
		if (c < 0)
			continue;
		f = fdopen(c, "r+");
		if (!f)
			return 1;
		serve(f);
		fclose(f);
	}
}
