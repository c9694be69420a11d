#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the guest: first in the initramfs, then in the disk under a tmpfs.
if [ ! -e /etc/debian_version ]; then
	/bin/busybox --install -s /bin
	mkdir -p /proc /dev /lower /rw /new
	mount -t proc proc /proc
	mount -t devtmpfs dev /dev
	mount -t erofs -o ro /dev/vda /lower
	mount -t tmpfs -o size=80%,mode=755 rw /rw
	mkdir /rw/u /rw/w
	mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w none /new
	cp -a /hyb /init /new/
	umount /proc
	mount --move /dev /new/dev
	exec switch_root /new /init
fi
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,gid=5,mode=620 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs vartmp /var/tmp
mount -t tmpfs containers /var/lib/containers
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ip link set lo up
hostname guest
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for c in cpuset cpu io memory pids; do
	echo +$c >/sys/fs/cgroup/cgroup.subtree_control
done
echo "--- begin"
setsid bash /hyb/tests.sh </dev/null 2>&1
echo "--- end"
sync
busybox reboot -f
