#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the test VM. The first time it leaves the initramfs's own root, from
# which pivot_root is not possible; the second time it runs the tests.
/bin/busybox --install -s /bin
export PATH=/bin
if [ ! -e /stage2 ]; then
	mkdir -p /newroot
	mount -t tmpfs -o size=64m,mode=755 root /newroot
	mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/run /newroot/tmp
	for f in /bin /init /*.sh /*.tsv /lib /lib64 /bundle; do
		[ ! -e $f ] || cp -a $f /newroot/
	done
	: >/newroot/stage2
	exec switch_root /newroot /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs run /run
ip link set lo up
echo "--- begin"
sh /tests.sh </dev/null 2>&1
echo "--- end"
sync
reboot -f
