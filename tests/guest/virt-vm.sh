#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# host-agent/virt over real VMs: start, confinement, disks, every kind of end,
# a dead vsock device, and an embedding process that is killed.
. "$(dirname "$0")/virt-lib.sh"

ctl_start
ok $? "libvirt opens"
grep -q '^host tcg emulated ' <<<"$answer"
ok $? "tcg is emulated isolation"

# ---------------------------------------------------------------- start
ctl start vm1 1 128 1 8
ok $? "a VM starts"
[[ $(guest vm1 ping) == pong* ]]
ok $? "its guest answers over vsock"
event_wait 'event started vm1'
ok $? "event: started"
ctl start vm1 1 128 1 8
[ $? = 1 ] && [[ $answer == "error 17 "* ]]
ok $? "a second one of that name is refused (EEXIST)"

# ---------------------------------------------------------- confinement
q=$(qemu_pid vm1)
d=$(vsockd_pid vm1)
status=$(cat "/proc/$q/status")
is "$(sed -n 's/^Uid:\t//p' <<<"$status" | tr '\t' ' ')" \
	"700101 700101 700101 700101" "QEMU has the VM's uid"
is "$(sed -n 's/^Groups:\t//p' <<<"$status" | tr -d ' ')" "700101" \
	"QEMU has no other group"
is "$(sed -n 's/^CapEff:\t//p' <<<"$status")" 0000000000000000 \
	"QEMU has no capabilities"
is "$(sed -n 's/^NoNewPrivs:\t//p' <<<"$status")" 1 "QEMU: no new privileges"
is "$(sed -n 's/^Seccomp:\t//p' <<<"$status")" 2 "QEMU: seccomp"
for ns in net mnt; do
	[ "$(readlink "/proc/$q/ns/$ns")" != "$(readlink /proc/self/ns/$ns)" ]
	ok $? "QEMU has a $ns namespace of its own"
done
is "$(grep -c : "/proc/$q/net/dev")" 1 "QEMU's network has nothing but lo"
[ -n "$(find "$root/vm/vm1" -maxdepth 0 -uid 700101 -perm 0700)" ]
ok $? "the VM's folder is its uid's alone"
is "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$d/status")" 700101 \
	"hyb-vsockd has the VM's uid"
[ "$(readlink "/proc/$d/ns/net")" != "$(readlink /proc/self/ns/net)" ]
ok $? "hyb-vsockd has a net namespace of its own"
is "$(grep -c 'console\|virt-init: up' "$root/virt/vm1/console.log" |
	sed 's/[1-9][0-9]*/some/')" some "the console is kept"

# ---------------------------------------------------------------- disks
printf 'HYB-READ-ONLY-01' >"$root/ro.img"
truncate -s 1M "$root/ro.img"
chmod 0444 "$root/ro.img"
printf 'HYB-WRITABLE--02' >"$root/rw.img"
truncate -s 2M "$root/rw.img"
chown 700101:700101 "$root/rw.img"
chmod 0600 "$root/rw.img"
ctl attach vm1 "$root/ro.img" img-1 ro
ok $? "a read-only disk is attached"
ctl attach vm1 "$root/rw.img" vol-1 rw
ok $? "a writable disk is attached"
ctl attach vm1 "$root/ro.img" img-1 ro
ok $? "attaching it again is success"
for i in $(seq 600); do
	[ "$(guest vm1 blocks | wc -l)" = 2 ] && break
	sleep 0.1
done
is "$(guest vm1 blocks | sort | tr '\n' ';')" \
	"img-1 2048 ro;vol-1 4096 rw;" "the guest sees both by serial"
is "$(guest vm1 'first img-1')" HYB-READ-ONLY-01 "the guest reads the first"
is "$(guest vm1 'first vol-1')" HYB-WRITABLE--02 "the guest reads the second"
ctl attach vm1 "$root/none.img" img-2 ro
[[ $answer == "error 2 "* ]]
ok $? "a file that is missing: ENOENT"
ln -s /etc/passwd "$root/link.img"
ctl attach vm1 "$root/link.img" img-2 ro
[[ $answer == error* ]]
ok $? "a symbolic link is refused"
ctl attach vm1 "$root" img-2 ro
[[ $answer == error* ]]
ok $? "a folder is refused"
ctl attach vm1 "$root/ro.img" '../x' ro
[[ $answer == "error 22 "* ]]
ok $? "a serial that is a path is refused"
ctl detach vm1 img-1
ok $? "a disk is detached"
ctl disks vm1
is "$(grep -c '^disk' <<<"$answer")" 1 "one disk is left"
[ ! -e "$root/vm/vm1/disk-img-1" ]
ok $? "its link is gone"
ctl detach vm1 img-1
ok $? "detaching it again is success"

# What differs from a file, without a word in it of what it differs from.
qemu-img create -q -f qcow2 -o cluster_size=4k "$root/diff.img" 1M
qemu-io -f qcow2 -c 'write -P 0x41 4096 4096' "$root/diff.img" >/dev/null
chmod 0444 "$root/diff.img"
ctl attach-diff vm1 "$root/diff.img" "$root/none.img" img-4
[[ $answer == "error 2 "* ]]
ok $? "a base that is missing: ENOENT"
ctl attach-diff vm1 "$root/diff.img" "$root/ro.img" img-4
ok $? "a difference is attached"
ctl detach vm1 img-4
ok $? "and detached"
[ ! -e "$root/vm/vm1/disk-img-4" ] && [ ! -e "$root/vm/vm1/base-img-4" ]
ok $? "both links are gone"
ctl attach-diff vm1 "$root/diff.img" "$root/ro.img" img-4
ok $? "and attached again"

# --------------------------------------------- a new process, the same VM
ctl_kill
ctl_start
ok $? "after kill -9 a new process opens the root"
ctl info vm1
is "$(field qemu <<<"$answer" | head -n 1)" "$q" "it has the same QEMU back"
is "$(field vsockd <<<"$answer" | head -n 1)" "$d" "and the same hyb-vsockd"
[[ $(guest vm1 ping) == pong* ]]
ok $? "the guest answers as before"
ctl disks vm1
grep -q '^disk vol-1 vd[a-z] rw' <<<"$answer" &&
	grep -q '^disk img-4 vd[a-z] ro' <<<"$answer"
ok $? "the disks are known"
for i in $(seq 600); do
	[ "$(guest vm1 blocks | wc -l)" = 2 ] && break
	sleep 0.1
done
is "$(guest vm1 'first img-4')" HYB-READ-ONLY-01 "a difference has its base's bytes"
ctl detach vm1 img-4
ok $? "and is detached by the new process"
ctl attach vm1 "$root/ro.img" img-3 ro
ok $? "a disk can be attached"

# Killed while it attaches: libvirt has not written down what QEMU has. Slow
# answers of QEMU make the moment wide enough to be hit.
lost=0 hits=0
for i in $(seq 12); do
	ctl detach vm1 img-3
	echo "attach vm1 $root/ro.img img-3 ro" >&"$to"
	sleep "0.$(printf %03d $((i * 2)))"
	ctl_kill
	ctl_start || lost=$((lost + 1))
	ctl disks vm1
	grep -q '^disk img-3' <<<"$answer" || hits=$((hits + 1))
	ctl attach vm1 "$root/ro.img" img-3 ro || lost=$((lost + 1))
	[ "$lost" = 0 ] || break
done
is "$lost" 0 "killed while it attaches: the next attaches it all the same"
[ "$hits" -gt 0 ]
ok $? "and it was killed before the end ($hits of 12 times)"
for i in $(seq 600); do
	[ "$(guest vm1 blocks | wc -l)" = 2 ] && break
	sleep 0.1
done
is "$(guest vm1 'first img-3')" HYB-READ-ONLY-01 "and the guest reads it"

# ------------------------------------------------- the device is replaced
before=$(guest vm1 ping)
d=$(vsockd_pid vm1)
kill -KILL "$d"
event_wait 'event vsock-recovered vm1'
ok $? "hyb-vsockd killed: recovered"
[[ $(guest vm1 ping) == pong* ]]
ok $? "the guest answers through the new one"
is "$(qemu_pid vm1)" "$q" "in the same QEMU"
kill -STOP "$(vsockd_pid vm1)"
kill -KILL "$(vsockd_pid vm1)"
events=
event_wait 'event vsock-recovered vm1'
ok $? "and again"
[[ $(guest vm1 ping) == pong* ]]
ok $? "the guest answers again"

# A second process must be refused.
out=$("$root/tools/virt-ctl" "$root" "$kernel" "$initramfs" "$vsockd" tcg \
	</dev/null 2>&1)
[[ $out == "error 16 "* ]]
ok $? "a second process on the root: EBUSY"

# ------------------------------------------------------------------ ends
ctl destroy vm1
ok $? "a VM is destroyed"
event_wait 'event stopped vm1 destroyed'
ok $? "event: destroyed"
wait_gone "$q"
ok $? "QEMU is gone"
ctl destroy vm1
ok $? "destroying it again is success"
ls "$root/vm/vm1" | grep -q '\.sock$'
is $? 1 "its sockets are gone"
ctl destroy no-such-vm
ok $? "destroying what never was is success"

end() { # end NAME GUEST-COMMAND PATTERN TEXT
	ctl start "$1" 2 128 1 2
	ok $? "$1 starts"
	[[ $(guest "$1" ping) == pong* ]]
	ok $? "$1 answers"
	guest "$1" "$2" >/dev/null &
	event_wait "$3"
	ok $? "$4"
	wait $!
	ctl destroy "$1"
}
end vm-panic panic 'event stopped vm-panic panic' "a panic is told as panic"
end vm-off poweroff 'event stopped vm-off shutdown' \
	"a power-off is told as shutdown"
end vm-reset reboot 'event stopped vm-reset reboot' \
	"a reset is told as reboot, and ends the VM"

ctl start vm-kill 3 128 2 2
ok $? "vm-kill starts"
q=$(qemu_pid vm-kill)
d=$(vsockd_pid vm-kill)
kill -KILL "$q"
event_wait "event stopped vm-kill killed '.*SIGKILL"
ok $? "QEMU killed: told, with the signal"
wait_gone "$d"
ok $? "its hyb-vsockd ends too"
ctl start vm-kill 3 128 2 2 bad-nic
[[ $answer == "error 5 "*"network card"* ]] && [ "$(qemu_pid vm-kill)" = 0 ]
ok $? "a network card that is none: told, and no QEMU is left"
ctl start vm-kill 3 128 2 2 nic
ok $? "it starts again under the same name, with a network card"
q=$(qemu_pid vm-kill)
is "$(grep -h '^iff:' /proc/"$q"/fdinfo/* | cut -f2) $(nsenter -t "$q" -n ip -o link | awk '{ print $2 }')" \
	"tap-test lo:" "QEMU has the tap, and is in no network"
ctl_kill
kill -KILL "$q"
wait_gone "$q"
ctl_start
ok $? "a VM that died while nobody looked: the root opens"
ctl info vm-kill
grep -q '^vm vm-kill gone unknown' <<<"$answer"
ok $? "it is known to be gone"
ctl start vm-kill 3 128 1 2
ok $? "and can be started again"
ctl destroy vm-kill
ctl forget vm-kill
ok $? "it is forgotten"
[ ! -e "$root/virt/vm-kill" ]
ok $? "with its record"

# ------------------------------------- killed while a VM is being started
none_of() { # none_of VM: no QEMU of this test for it, within a minute
	local i
	for i in $(seq 300); do
		pgrep -f "guest=$1,.*$root/" >/dev/null || return 0
		sleep 0.2
	done
	return 1
}
left=0
for ms in 20 80 150 220 300; do
	echo "start vm-cut 4 128 1 2" >&"$to"
	sleep "0.$(printf %03d $ms)"
	ctl_kill
	ctl_start || left=$((left + 1))
	ctl destroy vm-cut || left=$((left + 1))
	if ! none_of vm-cut; then
		left=$((left + 1))
		echo "# a QEMU is left after $ms ms"
	fi
done
is "$left" 0 "killed during a start: nothing is left"

# The one moment that libvirt does not get over by itself: its note of the VM is
# written, QEMU is not forked yet.
ctl start vm-limbo 4 128 1 2
ok $? "vm-limbo starts"
sed "s/<domstatus state='running' reason='[a-z]*' pid='[0-9]*'/<domstatus \
state='paused' reason='starting up' pid='0'/;
	s/<job type='none' async='none'/<job type='none' async='start'/" \
	"$root/libvirt/run/qemu/vm-limbo.xml" >"$root/limbo.xml"
grep -q "pid='0'" "$root/limbo.xml"
ok $? "its status is what such a moment leaves"
ctl destroy vm-limbo
ctl_stop
cp "$root/limbo.xml" "$root/libvirt/run/qemu/vm-limbo.xml"
ctl_start
ctl start vm-limbo 4 128 1 2
ok $? "killed before QEMU was forked: the VM can be started"
ctl destroy vm-limbo

# ------------------------------------------- many, side by side; no leaks
count_all() { # descriptors, children, files
	ctl list
	echo "$(ls "/proc/$ctl_pid/fd" | wc -l)" \
		"$(wc -w <"/proc/$ctl_pid/task/$ctl_pid/children")" \
		"$(find "$root/vm" "$root/libvirt" "$root/virt" ! -name '*.log*' \
			! -name '*.xml' | wc -l)"
}
ctl stress 2 1
ok $? "two VMs side by side"
sleep 0.5
before=$(count_all)
ctl stress 2 5
ok $? "ten starts and ends from two threads"
for i in $(seq 300); do
	after=$(count_all)
	[ "$after" = "$before" ] && break
	sleep 0.2
done
is "$after" "$before" "no descriptor, process or file more than before"

# ------------------------------------------------------------- bad input
ctl start ../x 5 128 1 2
[[ $answer == "error 22 "* ]]
ok $? "a name that is a path is refused"
ctl start vm-small 5 16 1 2
[[ $answer == "error 22 "* ]]
ok $? "too little memory is refused"
ctl start vm-k 5 128 1 2 kernel
if [ -e /dev/vhost-vsock ]; then
	ok 0 "kernel vsock # SKIP host: it has vhost-vsock"
else
	[[ $answer == "error 95 "* ]]
	ok $? "kernel vsock without /dev/vhost-vsock is refused"
fi
ctl_stop

# ------------------------------------------------- what the host may lack
drivers=/usr/lib/x86_64-linux-gnu/libvirt/connection-driver
if [ -d "$drivers" ]; then
	answer=$(unshare -m sh -c "mount -t tmpfs virt-test $drivers &&
		exec $root/tools/virt-ctl $root $kernel $initramfs $vsockd tcg" \
		</dev/null 2>&1)
	[[ $answer == "error 65 "*"apt-get install"* ]]
	ok $? "libvirt's driver is missing: said so, with a hint"
else
	ok 0 "libvirt's driver is missing # SKIP host: not a Debian layout"
fi
answer=$("$root/tools/virt-ctl" "$root" "$kernel" "$initramfs" "$vsockd" kvm \
	</dev/null 2>&1)
[[ $answer == "error 95 "*"KVM was asked for"* ||
	$answer == *"host kvm hardware"* ]]
ok $? "kvm: had, or refused with the reason"
grep -q "$(cat /proc/sys/kernel/random/boot_id)" "$root/virt/accel"
ok $? "the verdict is kept for this boot"
written=$(stat -c %Y.%i "$root/virt/accel")
answer=$("$root/tools/virt-ctl" "$root" "$kernel" "$initramfs" "$vsockd" auto \
	</dev/null 2>&1)
is "$(stat -c %Y.%i "$root/virt/accel")" "$written" "and not asked for again"
is "$(cat "$root/stderr")" "" "nothing was printed on standard error"
finish
