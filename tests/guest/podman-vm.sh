#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman and conmon over hyb-runtime: a Debian guest with cgroup v2 in a VM,
# and beside it crun and runc, which must answer the same. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
kernel=build/guest/vmlinux
runtime=build/default/bin/hyb-runtime
skip() {
	echo "ok 1 - podman # SKIP $1"
	echo "1..1"
	exit 0
}
for need in "$kernel" "$runtime"; do
	[ -e "$need" ] || { echo "1..0 # skip: $need is not built"; exit 1; }
done
[ "$(id -u)" = 0 ] || skip "host: needs root"
command -v mmdebstrap >/dev/null || skip "host: no mmdebstrap"
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-podman.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

# The guest's disk, kept by the hash of what goes into it.
packages=mount,podman,crun,runc,conmon,busybox-static,uidmap,procps,iproute2,jq
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyb/podman
hash=$({ echo "$packages"; cat tests/guest/podman/disk.sh; } | sha256sum | cut -c1-32)
disk=$cache/$hash.erofs
mkdir -p "$cache"
if ! [ -s "$disk" ]; then
	exec 9>"$cache/lock"
	flock 9
	[ -s "$disk" ] || tests/guest/podman/disk.sh "$packages" "$work" "$disk" >"$work/log" 2>&1 || {
		sed 's/^/# /' "$work/log" | tail -5
		skip "host: the guest's packages cannot be had"
	}
	exec 9>&-
fi

mkdir -p "$work/i/bin" "$work/i/hyb"
cp "$(command -v busybox)" "$work/i/bin/busybox"
strip -s -o "$work/i/hyb/hyb-runtime" "$runtime"
cp tests/guest/podman/*.sh "$work/i/hyb/"
cp tests/guest/podman/init.sh "$work/i/init"
chmod 755 "$work/i/init"
(cd "$work/i" && find . | cpio -o -H newc --quiet) >"$work/i.cpio"
timeout 560 qemu-system-x86_64 -nodefaults -no-user-config -machine q35,accel=tcg \
	-cpu max -smp 1 -m 1024 -display none -no-reboot -serial stdio \
	-kernel "$kernel" -initrd "$work/i.cpio" \
	-append "$(cat kernel-config/cmdline) root=none" \
	-drive if=none,id=a,format=raw,readonly=on,file="$disk" -device virtio-blk-pci,drive=a \
	</dev/null | tr -d '\r' >"$work/console"
if ! grep -q '^--- end' "$work/console"; then
	echo "not ok - the VM did not get to its end"
	tail -40 "$work/console" | sed 's/^/# /'
	exit 1
fi
sed -n '/^--- begin/,/^--- end/p' "$work/console" | grep -v '^---'
! grep -q '^not ok' "$work/console"
