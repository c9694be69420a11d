# SPDX-License-Identifier: Apache-2.0
#
# What the agent's tests share: a VM with the agent as PID 1, its device, an
# image disk, the test client, TAP. Sourced from the repository's root.

agent=${HYB_AGENT:-build/default/bin/hyb-agent}
device=${HYB_VSOCKD:-build/default/bin/hyb-vsockd}
kernel=${HYB_KERNEL:-build/guest/vmlinux}
vm_uid=64001
vm_memory=${VM_MEMORY:-128}
tests=0
failures=0
qemu_pid=
device_pid=

skip_all() {
	echo "ok 1 # SKIP $*"
	echo 1..1
	exit 0
}

# is NAME EXPECTED GOT
is() {
	tests=$((tests + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $tests - $1"
	else
		failures=$((failures + 1))
		echo "not ok $tests - $1"
		printf '%s\n' "expected: $2" "got: $3" | sed 's/^/# /'
	fi
}

# ok NAME COMMAND...: the command succeeds
ok() {
	local name=$1
	shift
	if "$@" >"$dir/ok.out" 2>&1; then
		is "$name" 0 0
	else
		is "$name" 0 "$? $(head -c 300 "$dir/ok.out")"
	fi
}

# like NAME PATTERN TEXT: a shell pattern
like() {
	# shellcheck disable=SC2053
	if [[ $3 == $2 ]]; then
		is "$1" 0 0
	else
		is "$1" "$2" "$3"
	fi
}

done_testing() {
	echo "1..$tests"
	[ "$failures" = 0 ]
}

need() {
	[ "$(id -u)" = 0 ] || skip_all "host: needs root"
	local f
	for f in "$@"; do
		[ -e "$f" ] || skip_all "$f is not built"
	done
}

# The client and a busybox image (an EROFS file) in $dir.
agent_prepare() {
	dir=$(mktemp -d /tmp/hyb-agent.XXXXXX)
	trap agent_cleanup EXIT
	chmod 0755 "$dir"
	gcc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I. \
		-o "$dir/client" tests/guest/agent_client.c \
		host-agent/guest/vsock.c build/default/libcommon.a -ljansson
	local r=$dir/root a
	mkdir -p "$r"/{bin,etc,proc,sys,dev,tmp,root,var}
	cp /bin/busybox "$r/bin/busybox"
	for a in $("$r/bin/busybox" --list); do
		[ -e "$r/bin/$a" ] || ln -s busybox "$r/bin/$a"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$r/etc/passwd"
	echo 'app:x:1000:1000::/:/bin/sh' >>"$r/etc/passwd"
	echo 'root:x:0:' >"$r/etc/group"
	echo 'app:x:1000:' >>"$r/etc/group"
}

agent_cleanup() {
	[ -n "$qemu_pid" ] && kill -9 "$qemu_pid" 2>/dev/null
	[ -n "$device_pid" ] && kill -9 "$device_pid" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$dir"
}

# Starts a VM. Its disk "img" is there from the start, or with NODISK not.
vm_start() {
	local disk=(-drive "file=$dir/img.erofs,format=raw,if=none,id=img,readonly=on")
	mkdir -p "$dir/run"
	strip -s -o "$dir/hyb-agent" "$agent"
	images/guest/build.sh "$dir/hyb-agent" "$dir/initramfs"
	[ -e "$dir/img.erofs" ] ||
		mkfs.erofs -T0 --all-root "$dir/img.erofs" "$dir/root" >/dev/null 2>&1
	cp "$kernel" "$dir/vmlinux"
	chmod 0644 "$dir"/{vmlinux,initramfs,img.erofs}
	chown $vm_uid:$vm_uid "$dir/run"
	rm -f "$dir"/run/*
	# The monitor's commands: vm_monitor writes them.
	[ -p "$dir/monitor" ] || mkfifo "$dir/monitor"
	exec 9<>"$dir/monitor"
	if [ -z "${NODISK:-}" ]; then
		disk+=(-device virtio-blk-pci,drive=img,serial=img)
	fi
	vm_started=$(date +%s%N)
	setpriv --reuid $vm_uid --regid $vm_uid --clear-groups \
		qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-no-reboot -machine q35,memory-backend=mem,usb=off -cpu max \
		-accel tcg -m "$vm_memory" -smp 1,maxcpus=2 \
		-bios /usr/share/qemu/qboot.rom \
		-object "memory-backend-memfd,id=mem,size=${vm_memory}M,share=on" \
		-kernel "$dir/vmlinux" -initrd "$dir/initramfs" \
		-append "$(cat kernel-config/cmdline) ${VM_APPEND:-}" \
		-chardev "socket,id=vs,path=$dir/run/vhost,server=on,wait=on" \
		-device vhost-user-vsock-pci,chardev=vs \
		-monitor stdio \
		-device pcie-root-port,id=p1,slot=1 \
		-device pcie-root-port,id=p2,slot=2 \
		-serial "file:$dir/run/console" "${disk[@]}" \
		<&9 >"$dir/qemu.log" 2>&1 &
	qemu_pid=$!
	device_start
	for _ in $(seq 6000); do
		[ -S "$dir/run/vsock" ] && break
		sleep 0.01
	done
}

vm_monitor() {
	echo "$*" >&9
}

# Plugs the image's disk in.
vm_plug() {
	vm_monitor device_add virtio-blk-pci,drive=img,serial=img,bus=p1,id=d1
}

device_start() {
	"$device" --vhost "$dir/run/vhost" --listen "$dir/run/vsock" --cid 3 \
		--wait 120s --peer-uid $vm_uid --uid $vm_uid --gid $vm_uid \
		2>>"$dir/device.log" &
	device_pid=$!
}

# Kills the vsock device and puts a new one in its place.
device_replace() {
	kill -9 "$device_pid"
	wait "$device_pid" 2>/dev/null
	vm_monitor stop
	rm -f "$dir/run/vsock"
	device_start
	local said
	said=$(stat -c %s "$dir/qemu.log")
	for _ in $(seq 1200); do
		vm_monitor info chardev
		tail -c "+$said" "$dir/qemu.log" | tr -d '\r' |
			grep -q '^vs: filename=unix' && break
		sleep 0.05
	done
	vm_monitor cont
}

# Waits (a minute) for the VM's end: 0 when it came.
vm_gone() {
	for _ in $(seq 600); do
		kill -0 "$qemu_pid" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}

a() {
	"$dir/client" "$address" "$@"
}

claim() {
	a call Claim "$(printf '{"instance":"%s","hostname":"vm-test","machine_id":"00112233445566778899aabbccddeeff","time":%s,"entropy":"%s"}' \
		"$1" "$(date +%s%N)" "$(head -c 64 /dev/urandom | od -An -tx1 | tr -d ' \n')")"
}

# create ID [ARGS-JSON [MORE-OF-CONFIG [LOG_SIZE]]]
create() {
	local args=${2:-'["sleep","1000"]'}
	a call Create "$(printf '{"id":"%s","image":"img","disk_timeout":60000,"scratch_size":16777216,"user":"","init":false,"log_size":%s,"config":{"ociVersion":"1.2.0","process":{"user":{"uid":0,"gid":0},"cwd":"/","args":%s,"env":["PATH=/bin"]},"root":{"path":"rootfs"},"hostname":"%s","linux":{%s}}}' \
		"$1" "${4:-262144}" "$args" "$1" "${3:-}")"
}

start() {
	a call Start "{\"id\":\"$1\"}"
}

# run ID ARGS-JSON [MORE-OF-CONFIG]: creates and starts
run() {
	create "$@" && start "$1"
}

wait_for() {
	a call Wait "{\"id\":\"$1\"}"
}

delete() {
	a call Delete "{\"id\":\"$1\",\"force\":${2:-true}}"
}

# field NAME: of the JSON on standard input
field() {
	sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}
