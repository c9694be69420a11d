#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# host-agent/virt over libvirtd (qemu:///system). The daemon is one of our own,
# in a mount and a network namespace of its own with empty folders, so that
# the host's libvirt, if there is one, is not touched.
if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || { echo "ok 1 - virt # SKIP host: needs root"; exit; }
	exec unshare -m -n --propagation private bash "$0" inside
fi
for d in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt \
	/var/log/libvirt; do
	mkdir -p "$d" && mount -t tmpfs virt-system "$d" || exit 1
done
ip link set lo up
. "$(dirname "$0")/virt-lib.sh"
command -v libvirtd >/dev/null || skip_all "host: no libvirtd"

mkdir -p /etc/libvirt/qemu
printf 'stdio_handler = "file"\nsecurity_driver = "none"\n' \
	>/etc/libvirt/qemu.conf
printf 'auth_unix_rw = "none"\nunix_sock_group = "root"\n' >"$root/libvirtd.conf"
# As hybd does for itself: one view of /dev/kvm for root and for QEMU.
if [ -c /dev/kvm ]; then
	mount -t tmpfs -o size=64k virt-system /var/lib/libvirt
	mknod -m 0666 /var/lib/libvirt/kvm c 10 232 &&
		mount --bind /var/lib/libvirt/kvm /dev/kvm
fi

daemon_start() {
	libvirtd -f "$root/libvirtd.conf" >"$root/libvirtd.log" 2>&1 &
	daemon=$!
	daemon_pids=$daemon
	local i
	for i in $(seq 600); do
		[ -S /run/libvirt/libvirt-sock ] && return 0
		sleep 0.1
	done
	return 1
}

daemon_start
ok $? "libvirtd runs"
ctl_start tcg qemu:///system
ok $? "the connection opens"
ctl start sys1 1 128 1 4 nic
ok $? "a VM starts, with a network card"
[[ $(guest sys1 ping) == pong* ]]
ok $? "its guest answers"
q=$(qemu_pid sys1)
is "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$q/status")" 700101 \
	"QEMU has the VM's uid"
is "$(grep -h '^iff:' /proc/"$q"/fdinfo/* | cut -f2)" tap-test \
	"QEMU has the tap of another network namespace"
truncate -s 1M "$root/ro.img"
chmod 0444 "$root/ro.img"
ctl attach sys1 "$root/ro.img" img-1 ro
ok $? "a disk is attached"
qemu-img create -q -f qcow2 "$root/diff.img" 1M
chmod 0444 "$root/diff.img"
ctl attach-diff sys1 "$root/diff.img" "$root/ro.img" img-2
ok $? "a difference is attached"

kill -KILL "$daemon"
wait "$daemon" 2>/dev/null
rm -f /run/libvirt/libvirt-sock /run/libvirtd.pid
[[ $(guest sys1 ping) == pong* ]]
ok $? "libvirtd killed: the guest does not notice"
daemon_start
ok $? "libvirtd runs again"
event_wait 'event reconnected'
ok $? "the connection is back"
ctl disks sys1
grep -q '^disk img-1' <<<"$answer" && grep -q '^disk img-2' <<<"$answer"
ok $? "the disks are known"
ctl detach sys1 img-2
ok $? "a difference is detached by what libvirtd knows again"
is "$(qemu_pid sys1)" "$q" "the QEMU is the same"
kill -KILL "$q"
event_wait 'event stopped sys1 killed'
ok $? "events come again"
ctl start sys1 1 128 1 4
ok $? "it starts again"
ctl_kill
ctl_start tcg qemu:///system
ok $? "killed and opened again"
[[ $(guest sys1 ping) == pong* ]]
ok $? "the VM went on"
ctl destroy sys1
ok $? "it is destroyed"
for i in $(seq 600); do
	[ -e /run/libvirt/qemu/sys1.pid ] || break
	sleep 0.1
done
[ ! -e /run/libvirt/qemu/sys1.pid ]
ok $? "nothing is left"
ctl_stop
kill "$daemon"
wait "$daemon" 2>/dev/null
finish
