#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VMs with an operating system of their own, from an imported disk: a real
# Debian, made as the example makes it.
. "$(dirname "$0")/lib.sh"

talk() { python3 tests/e2e/console.py "$@"; }
read -r P1 P2 P3 P4 P5 <<<"$(free_ports 5)"
page() { [ "$(curl -s -m 60 "http://127.0.0.1:$1/")" = "$2" ]; }
closed() { ! curl -s -m 60 -o /dev/null "http://127.0.0.1:$1/"; }
# What there is of networks: files and namespaces.
networks() { ls -A "$HYB_ROOT/net"; grep -F "$HYB_ROOT/net" /proc/self/mountinfo; }
# The example's disk, made once for each version of the script.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyb/disks
disk=$cache/debian-$(sha256sum docs/examples/debian-disk.sh | cut -c1-16).raw
if [ ! -s "$disk" ]; then
	mkdir -p "$cache"
	check "make the example's disk" docs/examples/debian-disk.sh "$disk.$$"
	mv "$disk.$$" "$disk"
fi

uefi=$cache/uefi-$(cat docs/examples/debian-disk.sh tests/e2e/uefi-disk |
	sha256sum | cut -c1-16).raw
if [ ! -s "$uefi" ]; then
	check "make a disk for UEFI" sh tests/e2e/uefi-disk "$disk" "$uefi.$$"
	mv "$uefi.$$" "$uefi"
fi

# What is no disk, and what is none that is taken.
cd "$WORK" || exit 2
truncate -s 4M small.raw
qemu-img convert -f raw -O qcow2 small.raw good.qcow2
qemu-img create -q -f qcow2 -F raw -b small.raw based.qcow2
qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on outside.qcow2 4M
cp good.qcow2 locked.qcow2
printf '\x02' | dd of=locked.qcow2 bs=1 seek=35 conv=notrunc status=none
head -c 100 good.qcow2 >cut.qcow2
head -c 1000 good.qcow2 >cut2.qcow2
cp good.qcow2 huge.qcow2
printf '\x7f' | dd of=huge.qcow2 bs=1 seek=24 conv=notrunc status=none
cp good.qcow2 strange.qcow2
printf '\x80' | dd of=strange.qcow2 bs=1 seek=72 conv=notrunc status=none
: >empty
head -c 1048577 /dev/zero >odd.raw
mkfifo fifo
cd "$TOP" || exit 2
import() { hyb disk import --format "$@"; }
fails "no format" 2 "format is missing" hyb disk import "$WORK/small.raw" a
fails "an unknown format" 2 "must be raw or qcow2" import vmdk "$WORK/small.raw" a
fails "no file" 1 "open '.*/nothing'" import raw "$WORK/nothing" a
fails "an empty file" 1 "is empty" import raw "$WORK/empty" a
fails "a folder" 1 "no regular file" import raw "$WORK" a
fails "a pipe" 1 "no regular file" import raw "$WORK/fifo" a
fails "half a sector" 1 "whole sectors" import raw "$WORK/odd.raw" a
fails "a name that is none" 1 "a-z, 0-9" import raw "$WORK/small.raw" ../a
fails "qcow2 called raw" 1 "say --format qcow2" import raw "$WORK/good.qcow2" a
fails "raw called qcow2" 1 "no qcow2 image" import qcow2 "$WORK/small.raw" a
fails "a backing file" 1 "based on another file" import qcow2 "$WORK/based.qcow2" a
fails "an external data file" 1 "data is in another file" import qcow2 "$WORK/outside.qcow2" a
fails "encrypted" 1 "is encrypted" import qcow2 "$WORK/locked.qcow2" a
fails "cut in its header" 1 "ends within its header" import qcow2 "$WORK/cut.qcow2" a
fails "cut behind it" 1 "is damaged" import qcow2 "$WORK/cut2.qcow2" a
fails "too large" 1 "the most is" import qcow2 "$WORK/huge.qcow2" a
fails "unknown features" 1 "features that are not known" import qcow2 "$WORK/strange.qcow2" a
is "nothing of them is there" "$(hyb disk ls -o json)$(ls -A "$HYB_ROOT/disks" | grep -v '^default$')" "[]"
check "a qcow2 image" import qcow2 "$WORK/good.qcow2" small
is "becomes a raw disk, root's" "$(stat -c '%s %u %a' "$HYB_ROOT/disks/default/small.raw")" "4194304 0 444"
fails "its name is taken" 1 "there is a disk 'small' already" import raw "$WORK/small.raw" small
check "rm" hyb disk rm small
fails "rm of what is gone" 4 "there is no disk 'small'" hyb disk rm small
fails "deploy without the disk" 4 "there is no disk 'debian12'" hyb deploy docs/examples/legacy.yaml
sed "s/8080/$P2/" docs/examples/legacy.yaml >"$WORK/legacy.yaml"

# One that only UEFI firmware can boot.
cat >"$WORK/uefi.yaml" <<EOF
hyb: 1
name: modern
vms:
  os:
    boot: { disk: uefi, firmware: uefi }
    resources: { vcpus: 1, memory: 256m }
    restart: on-failure
    ports: ["$P1:80"]
EOF
check "import" import raw "$uefi" uefi
# Its mount namespace is its own where it has a /dev/kvm to see to; elsewhere
# this host's own folder would be hidden.
ns=$(readlink "/proc/$(hybd_pid)/ns/mnt")
if [ "$ns" != "$(readlink /proc/self/ns/mnt)" ]; then
	in_hybd() { nsenter -t "$(hybd_pid)" -m "$@"; }
	in_hybd mount -t tmpfs none /usr/share/OVMF
	fails "a host without UEFI firmware" 1 "install the package ovmf" \
		hyb deploy "$WORK/uefi.yaml"
	in_hybd umount /usr/share/OVMF
fi
check "deploy" hyb deploy "$WORK/uefi.yaml"
# A variable of the firmware's (in nobody's vendor space: its own are checked).
guid=6d2f3f1a-2b8e-4c55-9d1e-0a6b7c8d9e0f
check "UEFI boots it, and keeps what is set" talk modern 300 "" "" \
	"# " "printf '\\7\\0\\0\\0kept' >/v; cat /v >/sys/firmware/efi/efivars/HybTest-$guid && echo sto''red; poweroff -f" \
	"stored(.|\n)*Power down"
await "it is off" 60 vm_has modern/os state stopped
uid=$(vm_field modern/os uid)
nvram=$HYB_ROOT/machines/default.modern.os/nvram.fd
is "in a file of the VM's own" "$(stat -c '%u %a' "$nvram")" "$uid 600"
ip1=$(vm_field modern/os ip)
is "its network is not there while it is not" "$(networks)" ""
check "start" hyb start modern
check "there it is" talk modern 300 "" "" \
	"# " "tail -c 4 /sys/firmware/efi/efivars/HybTest-$guid" "kept"
is "its address is what it was" "$(vm_field modern/os ip)" "$ip1"
check "its card gets that by DHCP, without a router" talk modern 300 "" "" \
	"# " "ip link set eth0 up; udhcpc -nqf -t 20 -i eth0 -s /lease" \
	"lease ${ip1//./\\.}/16 router:none" "mkdir /www; echo modern >/www/index.html; httpd -h /www && echo rea''dy" "ready"
check "its page through a published port" page "$P1" modern

# A whole Debian.
check "import" import raw "$disk" debian12
sed "s/$P2/$P1/" "$WORK/legacy.yaml" >"$WORK/taken.yaml"
fails "a port that another has" 1 "is published by 'modern/os'" \
	hyb deploy "$WORK/taken.yaml"
check "deploy" hyb deploy "$WORK/legacy.yaml"
is "ps shows it" "$(hyb ps -o json legacy | jq -r '.[0] | .vm + .container + " " + .state + " " + .image + " " + .ports')" "debian running disk:debian12 127.0.0.1:$P2->80/tcp"
fails "it has no containers" 4 "boots a disk: it has no containers" hyb exec legacy -- id
fails "nor their logs" 4 "hint: .hyb console" hyb logs legacy
fails "its disk is in use" 1 "legacy/debian' is declared to boot it" hyb disk rm debian12
is "plan: nothing to do" "$(hyb plan "$WORK/legacy.yaml" >/dev/null; echo $?)" 0
check "it boots, and its console takes what is typed" talk legacy 300 \
	"login:" root "# " 'echo kept >/root/mark; sync; uname -r; echo O''K' "amd64[^O]*OK"
pid=$(vm_field legacy/debian qemu_pid)
uid=$(vm_field legacy/debian uid)
is "QEMU has the VM's uid, no capabilities, no privileges to gain, a filter" \
	"$(awk '/^(Uid|CapEff|NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$pid/status" | tr '\n' ' ')" "$uid 0000000000000000 1 2 "
welcome="Debian on a disk of its own"
await "its page through a published port" 60 page "$P2" "$welcome"
portd=$(hyb inspect legacy/debian | jq .portd_pid)
is "hyb-portd has the VM's uid, no capabilities, no privileges to gain, a filter" \
	"$(awk '/^(Uid|CapEff|NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$portd/status" | tr '\n' ' ')" "$uid 0000000000000000 1 2 "
is "QEMU is in no network" "$(nsenter -t "$pid" -n ip -o link | awk '{ print $2 }')" lo:
# A listener on all of the host's addresses, and one in the other VM.
python3 -c 'import socket, sys, time
s = socket.create_server(("", int(sys.argv[1])))
time.sleep(3600)' "$P5" &
listener=$!
await "the host listens" 60 python3 -c 'import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1])))' "$P5"
ip2=$(vm_field legacy/debian ip)
check "it has its address, no way out, and reaches neither host nor neighbour" talk legacy 200 "" "" \
	"# " 'busybox ip -o -4 addr show scope global; busybox ip route; echo ro''utes' "inet ${ip2//./\\.}/16[^\n]*\n10\.210\.0\.0/16 dev [^\n]*\nroutes" \
	"for a in 10.210.0.1/$P5 $ip1/80; do timeout 3 bash -c \"</dev/tcp/\$a\"; echo ended \$?; done" \
	"ended 124\s(.|\n)*ended 124\s"
kill "$listener"
wait "$listener" 2>/dev/null
kill_9 "$(hybd_pid)"
check "without a hybd its page is there" page "$P2" "$welcome"
check "the next hybd has it" vm_has legacy/debian qemu_pid "$pid"
check "and its page" page "$P2" "$welcome"
hyb port-forward legacy "$P3:80" "$P4:81" >"$WORK/forward" 2>&1 &
forward=$!
await "port-forward" 60 page "$P3" "$welcome"
check "where nobody listens it ends" closed "$P4"
like "and says so" "$(cat "$WORK/forward")" "port 81: .*Connection refused"
kill "$forward"
wait "$forward" 2>/dev/null
sed -i "s/$P2/$P3/" "$WORK/legacy.yaml"
like "another port is a change without a restart" "$(hyb plan "$WORK/legacy.yaml")" "legacy/debian +live +ports changed"
check "deploy" hyb deploy "$WORK/legacy.yaml"
check "its page is there" page "$P3" "$welcome"
check "and no longer where it was" closed "$P2"
is "it is the same VM" "$(vm_field legacy/debian qemu_pid)" "$pid"
check "and its console" talk legacy 60 "" "" "# " 'echo ag''ain' "again"
check "a stop presses the power button" hyb stop legacy
is "and Debian shuts down" "$(grep -c 'does not shut itself down' "$HYB_ROOT/hybd.log")" 0
check "start" hyb start legacy
check "what it wrote is there, and a reset restarts it" talk legacy 400 \
	"login:" root "# " 'cat /root/mark' 'kept' '' '# ' 'systemctl reboot' "login:"
is "it is the same VM" "$(vm_field legacy/debian state)" running
await "its page after a reset" 60 page "$P3" "$welcome"
check "switched off from within" talk legacy 120 "" root "# " 'systemctl poweroff' "[Pp]ower"
await "it is off, and stays so by its policy" 30 vm_has legacy/debian state stopped
is "for this reason" "$(vm_field legacy/debian reason)" Completed
sed 's/debian12/other/' "$WORK/legacy.yaml" >"$WORK/other.yaml"
check "another disk" import raw "$WORK/small.raw" other
like "plan says what another disk means" "$(hyb plan "$WORK/other.yaml")" "deletes.data"
check "down" hyb down legacy
check "the other goes on" page "$P1" modern
check "switched off" talk modern 60 "" "" "# " "poweroff -f" "Power down"
await "it is off again" 60 vm_has modern/os state stopped
sed -i 's/firmware: uefi/firmware: bios/' "$WORK/uefi.yaml"
like "plan: other firmware" "$(hyb plan "$WORK/uefi.yaml")" "boot.firmware.*uefi . bios"
check "down" hyb down modern
is "nothing of them is left" "$(ls -A "$HYB_ROOT/machines" "$HYB_ROOT/vms" | grep -v :)$(networks)" ""
check "their ports are closed" closed "$P1"

# A hybd that is killed at any moment of a start, and of an end: one of
# everything, then nothing. (What the disk has does not matter here.)
cat >"$WORK/frail.yaml" <<EOF
hyb: 1
name: frail
vms:
  os:
    boot: { disk: uefi }
    resources: { vcpus: 1, memory: 64m }
    restart: "no"
    ports: ["$P1:80"]
EOF
killed() { # killed DELAY COMMAND...: hybd dies so long after it began
	local hybd
	hybd=$(hybd_pid)
	"${@:2}" >/dev/null 2>&1 &
	sleep "$1"
	kill_9 "$hybd"
	wait $!
}
until_is() { # until_is WANTED COMMAND...
	local end=$((SECONDS + 120))
	while [ "$("${@:2}" 2>&1)" != "$1" ] && [ $SECONDS -lt $end ]; do sleep 0.1; done
}
taps() { nsenter -t "$(cut -d' ' -f1 "$HYB_ROOT/net/default/dhcpd")" -n ip -br link | grep -c '^tap'; }
bad=
for d in 0.03 0.12 0.2 0.3; do
	killed $d hyb deploy "$WORK/frail.yaml"
	hyb deploy "$WORK/frail.yaml" >/dev/null 2>&1 || bad="$bad $d: deploy $?;"
	pid=$(vm_field frail/os qemu_pid)
	got="$(vm_field frail/os state) $(taps) $(ss -ltnH "sport = :$P1" | wc -l)"
	[ "$got" = "running 1 1" ] || bad="$bad $d: $got;"
	kill_9 "$pid"
	until_is failed vm_field frail/os state
	killed $d hyb down frail
	hyb down frail >/dev/null 2>&1
	until_is "[]" hyb vm ls -o json
	got=$(ls -A "$HYB_ROOT/machines" "$HYB_ROOT/vms" | grep -v :)$(networks)
	[ -z "$got" ] || bad="$bad $d: left: $got;"
	closed "$P1" || bad="$bad $d: its port is open;"
done
is "hybd killed while it starts and ends: one of all, then nothing" "$bad" ""
check "their disks can go" hyb disk rm debian12 other uefi
