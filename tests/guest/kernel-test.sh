#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kernel-test.sh: boots the guest kernel in real VMs, with a small PID 1 of
# its own (tests/guest/kernel/init.c), and checks what the agent and
# containers need, what must not be there, hotplug of disks by both of q35's
# ways, panics, memory and boot time. Prints TAP; figures as "# ..." lines.
#
#   HYB_VMLINUX   kernel to test (default: build/guest/vmlinux)
#   HYB_ACCEL     tcg (default) or kvm
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
kernel=${HYB_VMLINUX:-$root/build/guest/vmlinux}
accel=${HYB_ACCEL:-tcg}
cmdline=$(cat "$root/kernel-config/cmdline")
boots=5			# for the median of the boot time
deadline=60		# seconds for a guest's whole life
max_fixed_kib=28672	# VM memory - MemAvailable at 256 MiB
min_left_kib=32768	# MemAvailable at 56 MiB
max_hotplug_ms=2000	# 30-80 on an idle machine; others may be busy

number=0
failed=0
qemu_pid=

work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-kernel-test.XXXXXX")

cleanup() {
	[ -z "$qemu_pid" ] || kill -9 "$qemu_pid" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

ok() {
	number=$((number + 1))
	echo "ok $number - $*"
}

not_ok() {
	number=$((number + 1))
	failed=$((failed + 1))
	echo "not ok $number - $*"
}

check() {	# NAME COMMAND...
	local name=$1
	shift
	if "$@"; then
		ok "$name"
	else
		not_ok "$name"
	fi
}

bail_out() {
	echo "Bail out! $*"
	exit 1
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

prepare() {
	"${CC:-cc}" -std=gnu17 -O1 -Wall -Wextra -static -o "$work/init" \
		"$root/tests/guest/kernel/init.c" || bail_out "init.c"
	strip "$work/init"
	"$root/images/guest/build.sh" "$work/init" "$work/initramfs.cpio" ||
		bail_out "no initramfs"
	mkdir "$work/image"
	echo hello > "$work/image/greeting"
	echo other > "$work/image/other"
	python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"text")' \
		"$work/image/greeting" ||
		bail_out "no xattrs under $work"
		mkfs.erofs "$work/image.erofs" "$work/image" > "$work/log" 2>&1 ||
		bail_out "mkfs.erofs: $(tail -n 1 "$work/log")"
	mkfifo "$work/qmp.in" "$work/qmp.out"
}

# Starts a guest. Its console is read from descriptor $console, QMP is
# written to $qmp_in; $started is when.
start_guest() {		# PART MEMORY_MIB QEMU_OPTION...
	local part=$1 memory=$2
	shift 2
	# Both ends of both, so that neither side waits for the other.
	exec {qmp_in}<> "$work/qmp.in" {qmp_out}<> "$work/qmp.out"
	started=$(now_ms)
	exec {console}< <(exec qemu-system-x86_64 \
		-machine "q35,accel=$accel,hpet=off,smbus=off,sata=off,graphics=off" \
		-cpu max -m "$memory" -nodefaults -no-user-config \
		-display none -bios /usr/share/qemu/qboot.rom \
		-kernel "$kernel" -initrd "$work/initramfs.cpio" \
		-append "$cmdline hyb.test=$part" -no-reboot \
		-serial stdio -chardev "pipe,id=qmp,path=$work/qmp" \
		-mon chardev=qmp,mode=control \
		-device virtio-rng-pci -device pvpanic "$@" \
		2> "$work/qemu.err" < /dev/null)
	qemu_pid=$!
	echo '{"execute":"qmp_capabilities"}' >&"$qmp_in"
}

# Waits for the guest's end; its QMP output is then in $work/qmp.log.
end_guest() {
	local end=$((SECONDS + 60))
	while kill -0 "$qemu_pid" 2>/dev/null && ((SECONDS < end)); do
		sleep 0.02
	done
	kill -9 "$qemu_pid" 2>/dev/null
	qemu_pid=
	: > "$work/qmp.log"
	while IFS= read -r -t 0.1 -u "$qmp_out" line; do
		echo "$line" >> "$work/qmp.log"
	done
	exec {console}<&- {qmp_in}>&- {qmp_out}>&-
}

plug() {	# NAME PORT READ_ONLY
	printf '{"execute":"device_add","arguments":{"driver":"%s","id":"%s","drive":"%s-node","serial":"%s","bus":"%s"}}\n' \
		virtio-blk-pci "$1" "$1" "$1" "$2" >&"$qmp_in"
}

# Two free root ports and two disks that wait to be plugged in, as hybd has
# them when a blank VM is claimed.
disk_options=(
	-device pcie-root-port,id=port1,chassis=1
	-device pcie-root-port,id=port2,chassis=2
)

# Runs a guest to its end and turns what it says into test results. Figures
# go to the array figure[].
declare -A figure
run_guest() {		# LABEL PART MEMORY_MIB QEMU_OPTION...
	local label=$1 line plugged="" seen_done=0
	shift
	figure=()
	start_guest "$@"
	while IFS= read -r -t "$deadline" -u "$console" line; do
		line=${line%$'\r'}
		case $line in
		init)
			figure[init_ms]=$(($(now_ms) - started)) ;;
		"ok "*)
			ok "$label: ${line#ok }" ;;
		"not ok "*)
			not_ok "$label: ${line#not ok }" ;;
		"figure "*)
			read -r _ name value _ <<< "$line"
			figure[$name]=$value ;;
		ready)
			plugged=$(now_ms)
			plug image port1 ;;
		seen)
			figure[hotplug_ms]=$(($(now_ms) - plugged))
			plug scratch port2 ;;
		"done")
			seen_done=1 ;;
		*)
			echo "# $label: $line" ;;
		esac
	done
	end_guest
	if ((!seen_done)); then
		not_ok "$label: guest came to its end: $(tail -n 1 "$work/qemu.err")"
	fi
}

features() {		# LABEL QEMU_OPTION...
	local label=$1 part=$2
	shift 2
	rm -f "$work/scratch.ext4"
	truncate -s 16M "$work/scratch.ext4"
	mkfs.ext4 -q "$work/scratch.ext4" || bail_out "mkfs.ext4"
	run_guest "$label" "$part" 256 "${disk_options[@]}" \
		-blockdev "driver=file,filename=$work/image.erofs,node-name=image-node,read-only=on" \
		-blockdev "driver=file,filename=$work/scratch.ext4,node-name=scratch-node" \
		"$@"
	echo "# $label: disk seen by the guest ${figure[hotplug_ms]:-?} ms after device_add"
	check "$label: a disk is seen within $max_hotplug_ms ms" \
		test "${figure[hotplug_ms]:-999999}" -le "$max_hotplug_ms"
}

two_cpus() {
	run_guest "2 vCPUs" figures 256 -smp 2
	check "2 vCPUs: both run" test "${figure[cpus]:-0}" -eq 2
}

memory() {	# MEMORY_MIB
	run_guest "$1 MiB" figures "$1"
	local name
	for name in mem_total mem_free mem_available slab kernel_stacks \
		percpu; do
		echo "# $1 MiB: $name ${figure[$name]:-?} KiB"
	done
	echo "# $1 MiB: not available $(($1 * 1024 - ${figure[mem_available]:-0})) KiB"
}

memories() {
	memory 256
	check "256 MiB: at most $max_fixed_kib KiB are not available" \
		test $((256 * 1024 - ${figure[mem_available]:-0})) \
		-le "$max_fixed_kib"
	memory 64
	memory 56
	check "56 MiB: at least $min_left_kib KiB are available" \
		test "${figure[mem_available]:-0}" -ge "$min_left_kib"
}

boot_times() {
	local times=() i
	for ((i = 0; i < boots; i++)); do
		run_guest "boot $((i + 1))" figures 256
		times+=("${figure[init_ms]:-999999}")
	done
	mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
	echo "# boot: ${times[boots / 2]} ms from QEMU's start to init" \
		"(median of $boots; ${times[*]}; $accel)"
}

panics() {
	local text="" line
	start_guest panic 256
	while IFS= read -r -t "$deadline" -u "$console" line; do
		text+=$line$'\n'
	done
	end_guest
	check "a panic is shown on the console" \
		grep -q 'Kernel panic' <<< "$text"
	check "a panic is told to QEMU" \
		grep -q GUEST_PANICKED "$work/qmp.log"
}

[ -f "$kernel" ] || bail_out "$kernel is missing: make guest"
prepare
features "ACPI hotplug" features
features "native hotplug" disks \
	-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off
two_cpus
panics
memories
boot_times
echo "1..$number"
exit $((failed > 0))
