/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that was killed in the middle of a libvirt call leaves behind
 * and what libvirt itself does not get over. Put right while the root is ours
 * and its embedded driver is not open yet. libvirt's own notes of a VM, the
 * status files, say what it will believe.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/virt/qmp.h"

#include <dirent.h>
#include <sys/un.h>
#include <time.h>

#define STATUS_MAX  ((size_t)1 << 20)
#define TIDY_MS	    2000 /* of one VM */
#define DISK_TYPE   "child<virtio-blk-pci>"
#define NODE_PREFIX "libvirt-"
#define SOCKET_MAX  sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* A process that is killed between libvirt's first note of a VM and the fork
 * of its QEMU leaves that note. libvirt then takes it for a VM whose start
 * never ends: it can be neither ended nor started for ever. There is no
 * process behind it (a child that was forked waits for its parent and ends
 * with it), and nobody else has this root: so the note goes. */
static bool is_limbo(const char *status)
{
	const char *tag = strstr(status, "<domstatus ");
	const char *end = tag ? strchr(tag, '>') : NULL;
	const char *pid = tag ? strstr(tag, " pid='0'") : NULL;

	return end && pid && pid < end;
}

/* The path in `<monitor path='...' type='unix'/>`, as libvirt wrote it: a path
 * below a root of ours has nothing in it that XML would escape. */
static bool monitor_path(const char *status, char out[SOCKET_MAX])
{
	static const char tag[] = "<monitor path='";
	const char *p = strstr(status, tag);
	size_t n;

	if (!p)
		return false;
	p += strlen(tag);
	n = strcspn(p, "'");
	if (p[n] != '\'' || n == 0 || n >= SOCKET_MAX)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

/* Does libvirt know of a device or block node by that name? */
static bool is_known(const char *status, const char *name)
{
	char attribute[80];

	/* <alias name='virtio-disk0'/>, <nodename ... name='libvirt-1-format'/>;
	 * <device alias='virtio-disk0'/> says nothing, it may be an old one. */
	snprintf(attribute, sizeof(attribute), " name='%.64s'", name);
	return strstr(status, attribute) != NULL;
}

/* Asks for the end of disks that libvirt does not know; true: there are none
 * (any more). */
static bool remove_devices(struct qmp *q, const char *status, bool ask)
{
	_cleanup_json_ json_t *list =
		qmp_call(q, "qom-list",
			 json_pack("{s:s}", "path", "/machine/peripheral"));
	bool none = true;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *id = json_text(item, "name");

		if (strcmp(json_text(item, "type"), DISK_TYPE) != 0 ||
		    is_known(status, id))
			continue;
		none = false;
		if (ask)
			json_decref(qmp_call(q, "device_del",
					     json_pack("{s:s}", "id", id)));
	}
	return none;
}

/* The same for block nodes. Those that something holds QEMU keeps: a format
 * node holds its storage node, a device that is going holds both. */
static bool remove_nodes(struct qmp *q, const char *status)
{
	_cleanup_json_ json_t *list = qmp_call(q, "query-named-block-nodes",
					       json_pack("{s:b}", "flat", 1));
	bool none = true;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *name = json_text(item, "node-name");

		if (strncmp(name, NODE_PREFIX, strlen(NODE_PREFIX)) != 0 ||
		    is_known(status, name))
			continue;
		none = false;
		json_decref(qmp_call(q, "blockdev-del",
				     json_pack("{s:s}", "node-name", name)));
	}
	return none;
}

/* A disk whose device is gone and which QEMU has not let go of yet: libvirt
 * ends a VM that has one. */
static bool all_have_devices(struct qmp *q)
{
	_cleanup_json_ json_t *list = qmp_call(q, "query-block", NULL);
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (!json_text(item, "device")[0] &&
		    !json_text(item, "qdev")[0])
			return false;
	return true;
}

/*
 * The process was killed while QEMU was at work for it:
 * - A call that was not answered is answered to the next one who connects.
 *   libvirt takes that for the answer to its own first call, finds that things
 *   do not fit, and ends the VM. So we are the next: qmp_open() throws away
 *   what comes before the answer to its own call.
 * - A disk that was half attached is in QEMU and not in libvirt's notes. Every
 *   disk that is attached later would end in "Duplicate nodes" or "Duplicate
 *   device ID". So what libvirt does not know of goes.
 */
static void monitor_tidy(const char *path, const char *status)
{
	const struct timespec step = {.tv_nsec = 10000000};
	uint64_t deadline = now_ms() + TIDY_MS;
	_cleanup_qmp_ struct qmp q = QMP_INIT;
	bool done, ask = true;

	if (qmp_open(&q, path, deadline) < 0)
		return;
	for (;;) {
		done = remove_devices(&q, status, ask);
		done = remove_nodes(&q, status) && done;
		done = all_have_devices(&q) && done;
		if (done || now_ms() >= deadline)
			return;
		ask = false;
		nanosleep(&step, NULL);
	}
}

void leftover_clear(struct virt *v)
{
	_cleanup_closedir_ DIR *d = NULL;
	char path[sizeof(v->root) + 32];
	struct dirent *entry;
	size_t n;

	snprintf(path, sizeof(path), "%s/libvirt/run/qemu", v->root);
	d = opendir(path);
	while (d && (entry = readdir(d)) != NULL) {
		_cleanup_free_ char *status = NULL;
		char monitor[SOCKET_MAX];

		n = strlen(entry->d_name);
		if (n <= 4 || strcmp(entry->d_name + n - 4, ".xml") != 0 ||
		    file_read(dirfd(d), entry->d_name, STATUS_MAX, &status,
			      NULL, NULL) < 0)
			continue;
		if (is_limbo(status))
			unlinkat(dirfd(d), entry->d_name, 0);
		else if (monitor_path(status, monitor))
			monitor_tidy(monitor, status);
	}
}
