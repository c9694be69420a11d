#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who each process is, what it may do, and what a container may not.
. "$(dirname "$0")/lib.sh"
read -r PORT <<<"$(free_ports 1)"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  one: { containers: { c: { image: busybox, command: sleep 1000, init: true, stop_grace_period: 0s, ports: ["127.0.0.1:@PORT:80"] } } }
  own: { containers: { c: { image: busybox, command: sleep 1000, stop_grace_period: 0s, seccomp: ./profile.json } } }
  two: { containers: { c: { image: busybox, command: sleep 1000, init: true, stop_grace_period: 0s, resources: { limits: { pids: 30, memory: 32m } } } } }
Y
cat >"$WORK/profile.json" <<'J'
{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":18,"includes":{"caps":["CAP_CHOWN"],"minKernel":"4.8"}},
{"names":["rmdir"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_ADMIN"]}},
{"names":["sethostname"],"action":"SCMP_ACT_KILL_PROCESS","excludes":{"minKernel":"99.0"}}]}
J
sed -i "s/@PORT/$PORT/" "$WORK/s.yaml"
load_images
check "deploy" hyb deploy "$WORK/s.yaml"

status() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/status"; }
netns=$(readlink /proc/self/ns/net)
mntns=$(readlink /proc/self/ns/mnt)
for vm in one two; do
	qemu=$(vm_field s/$vm qemu_pid) uid=$(vm_field s/$vm uid)
	device=$(pgrep -f "hyb-vsockd .*$(hyb inspect s/$vm | jq -r .directory)/")
	for who in "QEMU $qemu" "hyb-vsockd $device"; do
		read -r name pid <<<"$who"
		is "$name of $vm: its own uid" "$(status "$pid" Uid)" "$uid"
		is "$name of $vm: no capability" "$(status "$pid" CapEff)$(status "$pid" CapPrm)" 00000000000000000000000000000000
		is "$name of $vm: no new privileges" "$(status "$pid" NoNewPrivs)" 1
		is "$name of $vm: seccomp" "$(status "$pid" Seccomp)" 2
		if [ "$(readlink "/proc/$pid/ns/net")" != "$netns" ]; then ok "$name of $vm: another network namespace"; else not_ok "$name of $vm: another network namespace"; fi
		if [ "$(readlink "/proc/$pid/ns/mnt")" != "$mntns" ]; then ok "$name of $vm: another mount namespace"; else not_ok "$name of $vm: another mount namespace"; fi
		is "$name of $vm: no network but its own loopback" "$(tail -n +3 "/proc/$pid/net/dev" | grep -vc ' lo:')" 0
	done
	dir=$(hyb inspect s/$vm | jq -r .directory)
	is "the folder of $vm is its own" "$(stat -c '%a %u' "$dir")" "700 $uid"
done
if [ "$(vm_field s/one uid)" != "$(vm_field s/two uid)" ]; then ok "the VMs' uids differ"; else not_ok "the VMs' uids differ"; fi
portd=$(pgrep -f "hyb-portd .*$HYB_ROOT")
is "hyb-portd: the VM's uid, no capability" "$(status "$portd" Uid) $(status "$portd" CapEff)" "$(vm_field s/one uid) 0000000000000000"
is "the store is root's alone" "$(stat -c '%a %u' "$HYB_ROOT/images/erofs")" "700 0"
is "images are written by nobody" "$(stat -c %a "$HYB_ROOT"/images/erofs/*.erofs | sort -u)" 444
is "the socket: root and a group" "$(stat -c %a "$HYB_ROOT/hybd.sock")" 660

# A caller who is not in the group.
if setpriv --reuid 65534 --clear-groups hyb ps >"$WORK/out" 2>&1; then
	not_ok "a stranger gets nothing" "$(cat "$WORK/out")"
else
	ok "a stranger gets nothing"
fi

in_c() { hyb exec s/two/c -- sh -c "$1" 2>&1; }
denied() { # NAME COMMAND: fails in the container
	local out
	if out=$(hyb exec s/two/c -- sh -c "$2" 2>&1); then not_ok "$1" "$out"; else ok "$1"; fi
}
denied "mount" 'mount -t tmpfs none /mnt || mkdir /m && mount -t tmpfs none /m'
denied "a new user namespace" 'unshare -U true'
denied "a new mount namespace" 'unshare -m true'
denied "mknod of a block device" 'mknod /tmp/b b 254 0'
denied "mknod of /dev/mem" 'mknod /tmp/m c 1 1'
denied "sysrq" 'echo b > /proc/sysrq-trigger'
denied "a sysctl of the kernel" 'echo 1 > /proc/sys/kernel/panic'
denied "a cgroup of its own making" 'mkdir /sys/fs/cgroup/x'
denied "raising its own limit" 'echo max > /sys/fs/cgroup/memory.max'
denied "the kernel log" 'dmesg'
denied "the hostname" 'hostname evil'
denied "the clock" 'date -s 2000-01-01 >/dev/null; [ "$(date +%Y)" = 2000 ]'
denied "rebooting the VM" 'reboot -f'
denied "chroot's old way out" 'cat /proc/1/root/../../init'
is "kallsyms, kcore, keys tell nothing" "$(in_c 'cat /proc/kallsyms /proc/kcore /proc/keys 2>/dev/null | head -c 100 | wc -c')" 0
is "no block device of the guest" "$(in_c 'ls /dev | grep -c "^vd"')" 0
is "what is in /dev" "$(in_c 'ls /dev' | sort | tr '\n' ' ')" "$(printf '%s\n' console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero | grep -vx -e console -e core | sort | tr '\n' ' ')"
is "only its own processes" "$(in_c 'ls /proc | grep -c "^[0-9]"' | awk '{print ($1 <= 6)}')" 1
is "no environment of the agent" "$(in_c 'cat /proc/1/environ 2>/dev/null | tr "\0" "\n" | grep -ci hyb')" 0
like "capabilities of root: eleven, no more" "$(in_c 'grep CapBnd /proc/self/status')" '00000000800405fb'

# A profile of the container's own, in Docker's format.
own() { hyb exec s/own/c -- sh -c "$1" 2>&1; }
is "its own profile is in force" "$(own 'mkdir /x')" "mkdir: can't create directory '/x': Invalid cross-device link"
is "a rule whose capability it has not is not in it" "$(own 'mkdir -p /proc/x 2>/dev/null; rmdir /tmp; ls -d /tmp 2>/dev/null')" ""
hyb exec s/own/c -- hostname evil >/dev/null 2>&1
is "an action that kills" $? 159
is "deployed again nothing changes" "$(hyb plan "$WORK/s.yaml" -o json | jq -r '[.[] | select(.action != "none")] | length')" 0
jq . "$WORK/profile.json" >"$WORK/pretty.json" && cp "$WORK/pretty.json" "$WORK/profile.json"
is "nor where a profile is only written otherwise" "$(hyb plan "$WORK/s.yaml" -o json | jq -r '[.[] | select(.action != "none")] | length')" 0
jq -c . "$WORK/pretty.json" | sed 's/"errnoRet":18/"errnoRet":95/' >"$WORK/profile.json"
like "a profile that has changed makes the container again" "$(hyb plan "$WORK/s.yaml")" 'own.*seccomp'
check "which deploy does" hyb deploy "$WORK/s.yaml"
like "the new one is in force" "$(own 'mkdir /x')" '[Nn]ot supported'
sed -i 's/seccomp: .*profile.json/seccomp: unconfined/' "$WORK/s.yaml"
fails "unconfined is not for everybody" 3 "needs the operator's permission" hyb validate "$WORK/s.yaml"
sed -i 's/seccomp: unconfined/seccomp: .\/profile.json/' "$WORK/s.yaml"
sed -i 's/SCMP_ACT_ALLOW/SCMP_ACT_ANY/' "$WORK/profile.json"
fails "a profile that is wrong is named, with its place" 3 "'./profile.json': defaultAction: is not an action" hyb deploy "$WORK/s.yaml"

# A fork bomb and a memory bomb stay where they are.
hyb exec s/two/c -- sh -c 'bomb() { bomb | bomb & }; bomb; sleep 2' >/dev/null 2>&1 &
sleep 3
is "the VM lives through a fork bomb" "$(vm_field s/two state)" running
check "the other VM never noticed" hyb exec s/one/c -- true
wait
check "stop what bombed" hyb stop s/two/c
check "start it" hyb start s/two/c
in_c 'tail /dev/zero' >/dev/null
settled() { [ "$(field s/two/c state)" = running ] || [ "$(field s/two/c reason)" = OOMKilled ]; }
await "a memory bomb ends in its container" 10 settled
is "the VM lives through it" "$(vm_field s/two state)" running
check "down" hyb down s
