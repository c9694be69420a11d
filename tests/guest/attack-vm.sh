#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Attacks on the container engine and what it makes, tried from inside in a real
# VM: links, races, descriptors, devices, /proc, memory, what joins. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
kernel=build/guest/vmlinux
runtime=build/default/bin/hyb-runtime
for need in "$kernel" "$runtime"; do
	[ -e "$need" ] || { echo "1..0 # skip: $need is not built"; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-engine.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

cc -O1 -static -Wall -Wextra -Werror -D_GNU_SOURCE -o "$work/attack" tests/guest/attack/attack.c || exit 2
busybox=$(command -v busybox)

# rootfs DIR: a small image
rootfs() {
	mkdir -p "$1"/{bin,etc,proc,sys,dev,tmp,root,home/u}
	cp "$busybox" "$1/bin/busybox"
	cp "$work/attack" "$1/bin/"
	"$busybox" --list | grep -vx busybox | while read -r a; do ln -sf busybox "$1/bin/$a"; done
	printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n777:x:0:0::/:/bin/sh\n' >"$1/etc/passwd"
	printf 'root:x:0:\nu:x:1000:\nextra:x:2000:u\n' >"$1/etc/group"
	chown -R 1000:1000 "$1/home/u"
	chmod 1777 "$1/tmp"
}
rootfs "$work/good"
mkfs.erofs -T0 "$work/good.erofs" "$work/good" >/dev/null 2>&1 || exit 2

mkdir -p "$work/initramfs/bin"
cp "$busybox" "$work/initramfs/bin/busybox"
strip -s -o "$work/initramfs/bin/hyb-runtime" "$runtime"
cp "$work/attack" "$work/initramfs/bin/"
cp tests/guest/engine/init.sh "$work/initramfs/init"
cp tests/guest/attack/tests.sh "$work/initramfs/"
chmod 755 "$work/initramfs/init"
(cd "$work/initramfs" && find . | cpio -o -H newc --quiet) >"$work/initramfs.cpio"

timeout 580 qemu-system-x86_64 -nodefaults -no-user-config -machine q35,accel=tcg \
	-cpu max -smp 2 -m 512 -display none -no-reboot -serial stdio \
	-kernel "$kernel" -initrd "$work/initramfs.cpio" \
	-append "$(cat kernel-config/cmdline) root=none" \
	-drive if=none,id=a,format=raw,readonly=on,file="$work/good.erofs" -device virtio-blk-pci,drive=a \
	</dev/null | tr -d '\r' >"$work/console"
if ! grep -q '^--- end' "$work/console"; then
	echo "not ok - the VM did not get to its end"
	tail -40 "$work/console" | sed 's/^/# /'
	exit 1
fi
sed -n '/^--- begin/,/^--- end/p' "$work/console" | grep -v '^---'
! grep -q '^not ok' "$work/console"
