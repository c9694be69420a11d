#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The scratch disk: what containers write to their own root.
. "$(dirname "$0")/lib.sh"
load_images

KEPT='k: { image: busybox, command: sleep 1000, stop_grace_period: 0s, init: true, restart: always, volumes: [/kept, /etc, { target: /none, nocopy: true }], storage_opt: { size: 16m } }'
manifest() { # SIZE_OF_B [LINE of the VM ro]
	cat <<Y
hyb: 1
name: s
vms:
  one:
    resources: { memory: 96m }
    containers:
      a: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, restart: always, storage_opt: { size: 512m } }
      b: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, restart: always, storage_opt: { size: $1 } }
      $KEPT
      r: { image: busybox, command: sleep 1000, stop_grace_period: 0s, init: true, restart: always, read_only: true, volumes: [/kept] }
  ro:
    resources: { memory: 192m }
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, restart: always, read_only: true }
      ${2:-}
Y
}
manifest 32m >"$WORK/s.yaml"
manifest 2g 'd: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, restart: always }' >"$WORK/s2.yaml"
check "deploy" hyb deploy "$WORK/s.yaml"
on() { timeout 200 hyb exec "s/$1" -- sh -c "$2"; }
disks() { find "$HYB_ROOT/vms" -name disk-scratch; }
taken() { stat -c %b "$(disks | head -1)"; } # blocks of 512 bytes
below() { echo "$(taken) blocks"; [ "$(taken)" -lt $(($1 * 2048)) ]; } # MiB
boot_id() { on "$1" 'cat /proc/sys/kernel/random/boot_id'; }

is "one disk, for the VM that writes" "$(disks | wc -l)" 1
is "a file of the VM's uid alone, far larger than what it takes" \
	"$(stat -c '%a %F' "$(disks)"; [ "$(stat -c %u "$(disks)")" = "$(stat -c %u "$(dirname "$(disks)")")" ] && [ "$(stat -c %s "$(disks)")" -gt $((544 << 20)) ] && below 8)" "600 regular file
$(taken) blocks"
fails "the read-only container writes nothing" 1 'Read-only file system' on ro/c 'echo x >/x'
is "each has its part" "$(on one/a 'df -k / | tail -1 | awk "{print \$2}"'; on one/b 'df -k / | tail -1 | awk "{print \$2}"')" "524288
32768"

# More than the VM has memory, so that the first of it is on the disk only.
is "more than the VM's memory can be written" "$(on one/a 'echo first >/big && dd if=/dev/zero bs=1M count=150 >>/big 2>/dev/null && sync && echo last >>/big && head -n 1 /big && tail -c 5 /big && stat -c %s /big')" "first
last
157286411"
fails "who goes over his part is told" 1 'No space left on device' on one/b 'dd if=/dev/zero of=/full bs=1M'
like "so is he with a folder, and with what is allocated" "$(on one/b 'fallocate -l 8m /more; rm -f /more; mkdir /part' 2>&1 | tr '\n' ' ')" 'fallocate: .*No space left on device.*mkdir: .*No space left on device'
is "and so is he with files" "$(on one/b 'rm /full; mkdir /f; cd /f; i=0; while true 2>/dev/null >$i; do i=$((i + 1)); done 2>/dev/null; ls /f | wc -l | awk "{print (\$1 > 1000 && \$1 < 4097)}"')" 1
is "the other is not" "$(on one/a 'head -c 1m /dev/zero >/more && stat -c %s /more; mkdir /dir && echo made')" "1048576
made"
check "removed" on one/a 'rm /big && sync'
await "what is removed is the host's again" 60 below 40

# ------------------------------------------------- gone with its container
on one/b 'rm -r /f; head -c 30m /dev/zero >/full; echo kept >/etc/word; sync' >/dev/null 2>&1
BOOT=$(boot_id one/a)
check "restart of a container" hyb restart s/one/b
is "its writing is gone, with what it took" "$(on one/b 'ls /full /etc/word 2>&1 | grep -c "No such file"; df -k / | tail -1 | awk "{print (\$3 < 1000)}"')" "2
1"
is "the neighbour's is not" "$(on one/a 'stat -c %s /more')" 1048576
await "the host has it back" 60 below 12

# ------------------------------- volumes without a name: gone with their VM only
is "they begin as the image" "$(on one/k 'head -n 1 /etc/passwd; ls /kept /none | wc -l')" "$(on one/a 'head -n 1 /etc/passwd')
3"
on one/k 'echo word >/kept/word; chown 7:8 /kept/word; echo k >>/etc/hosts; mkdir /none/d; echo gone >/layer' >/dev/null
fails "each has a part of its own" 1 'No space left on device' on one/k 'dd if=/dev/zero of=/none/full bs=1M'
is "beside the container's root and the others" "$(on one/k 'df -k /none /kept / | awk "/hyb|overlay|dev/ {print \$2}"; head -c 8m /dev/zero >/kept/much && head -c 8m /dev/zero >/much && rm /none/full && echo all')" "16384
16384
16384
all"
is "a read-only container can write there" "$(on one/r 'exec 2>&1; echo x >/kept/x && cat /kept/x; echo x >/x')" "x
sh: can't create /x: Read-only file system"
check "restart of it" hyb restart s/one/k
kept() { on one/k 'exec 2>&1; cat /kept/word; stat -c "%u:%g %s" /kept/word /kept/much; grep -c k /etc/hosts; ls -d /none/d /layer /much' | sort; }
is "what is there stays, what is not is gone" "$(kept)" "/none/d
0:0 8388608
1
7:8 5
ls: /layer: No such file or directory
ls: /much: No such file or directory
word"

# -------------------------------------- taken up, grown, added while it runs
RO=$(boot_id ro/c)
kill_9 "$(hybd_pid)"
check "another hybd takes it up; more is wanted" hyb deploy "$WORK/s2.yaml"
is "the larger part is there" "$(on one/b 'df -k / | tail -1 | awk "{print \$2}"')" 2097152
check "and can be used" on one/b 'dd if=/dev/zero of=/x bs=1M count=40 2>/dev/null && rm /x'
is "a VM that had none has a disk for the new container" "$(on ro/d 'echo x >/x && cat /x'; disks | wc -l)" "x
2"
is "what is in volumes without a name is there still" "$(kept | grep -v layer)" "/none/d
0:0 8388608
1
7:8 5
ls: /much: No such file or directory
word"
sed "s|volumes: \[/kept, /etc,|environment: { A: b }, volumes: [/etc,|" "$WORK/s2.yaml" >"$WORK/s3.yaml"
check "one that is not declared any more" hyb deploy "$WORK/s3.yaml"
is "is gone, and the others are not" "$(on one/k 'exec 2>&1; ls -d /kept; ls -d /none/d; grep -c k /etc/hosts; echo $A')" "ls: /kept: No such file or directory
/none/d
1
b"
check "and declared again" hyb deploy "$WORK/s2.yaml"
is "is a new one" "$(on one/k 'ls /kept | wc -l; ls -d /none/d')" "0
/none/d"
is "in the same VMs, with what was there" "$(boot_id one/a) $(boot_id ro/c) $(on one/a 'stat -c %s /more')" "$BOOT $RO 1048576"

# -------------------------------------------------------- gone with its VM
kill -9 "$(vm_field s/one qemu_pid)"
await "QEMU is killed: the VM is made again" 120 vm_restarts s/one 1
fresh() { [ "$(on one/a 'test -e /more || echo fresh'; on one/k 'test -e /none/d || echo fresh')" = "fresh
fresh" ]; }
await "with a new disk" 120 fresh
is "the old one is gone" "$(disks | wc -l)" 2
check "down" hyb down s
is "nothing is left of either" "$(find "$HYB_ROOT/vms" -mindepth 1 | wc -l)" 0

# --------------------------------------- hybd is killed while disks are made
for ms in 0.05 0.3 0.6; do
	hyb deploy "$WORK/s.yaml" >/dev/null 2>&1 &
	sleep $ms
	kill_9 "$(hybd_pid)" 2>/dev/null
	wait
	hyb deploy "$WORK/s.yaml" >"$WORK/out" 2>&1 || { sed 's/^/# /' "$WORK/out"; break; }
	[ "$(disks | wc -l) $(find "$HYB_ROOT/vms" -mindepth 1 -maxdepth 1 | wc -l)" = "1 2" ] || { find "$HYB_ROOT/vms" | sed 's/^/# /'; break; }
	[ "$(on one/a 'echo x >/x && cat /x')" = x ] || break
	hyb down s >/dev/null 2>&1
done
is "a hybd killed meanwhile leaves no disk behind" "$ms" 0.6
is "but templates" "$(find "$HYB_ROOT/volumes/.scratch" -type f ! -name '1-*.ext4' | wc -l)" 0
is "and nothing of VMs" "$(find "$HYB_ROOT/vms" -mindepth 1 | wc -l)" 0
