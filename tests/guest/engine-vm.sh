#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The container engine in a real VM: hyb-runtime as the only program beside
# busybox, images as EROFS disks, one of them full of traps. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
kernel=build/guest/vmlinux
runtime=build/default/bin/hyb-runtime
for need in "$kernel" "$runtime"; do
	[ -e "$need" ] || { echo "1..0 # skip: $need is not built"; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-engine.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

cc -O1 -static -D_GNU_SOURCE -o "$work/probe" tests/guest/engine/probe.c || exit 2
cc -O1 -static -D_GNU_SOURCE -o "$work/seccomp" tests/guest/engine/seccomp.c || exit 2
busybox=$(command -v busybox)

# rootfs DIR: a small image
rootfs() {
	mkdir -p "$1"/{bin,etc,proc,sys,dev,tmp,root,home/u}
	cp "$busybox" "$1/bin/busybox"
	cp "$work/probe" "$work/seccomp" "$1/bin/"
	"$busybox" --list | grep -vx busybox | while read -r a; do ln -sf busybox "$1/bin/$a"; done
	printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n777:x:0:0::/:/bin/sh\n' >"$1/etc/passwd"
	printf 'root:x:0:\nu:x:1000:\nextra:x:2000:u\n' >"$1/etc/group"
	chown -R 1000:1000 "$1/home/u"
	chmod 1777 "$1/tmp"
}
rootfs "$work/good"
mknod "$work/good/node-vda" b 254 0 2>/dev/null
# Links where the engine wants folders.
rootfs "$work/links"
rm -r "$work/links/dev" "$work/links/proc"
ln -s /etc "$work/links/dev"
ln -s /etc "$work/links/proc"
# Links and FIFOs where it reads files.
rootfs "$work/files"
mv "$work/files/etc/passwd" "$work/files/etc/real"
ln -s ../../../../../../etc/real "$work/files/etc/passwd"
rm "$work/files/etc/group"
mkfifo "$work/files/etc/group"
for i in good links files; do
	mkfs.erofs -T0 "$work/$i.erofs" "$work/$i" >/dev/null 2>&1 || exit 2
done

mkdir -p "$work/initramfs/bin"
cp "$busybox" "$work/initramfs/bin/busybox"
strip -s -o "$work/initramfs/bin/hyb-runtime" "$runtime"
cp "$work/probe" "$work/seccomp" "$work/initramfs/bin/"
cp tests/golden/seccomp/default.tsv "$work/initramfs/seccomp-default.tsv"
cp tests/guest/engine/init.sh "$work/initramfs/init"
cp tests/guest/engine/*.sh "$work/initramfs/"
chmod 755 "$work/initramfs/init"
(cd "$work/initramfs" && find . | cpio -o -H newc --quiet) >"$work/initramfs.cpio"

timeout 580 qemu-system-x86_64 -nodefaults -no-user-config -machine q35,accel=tcg \
	-cpu max -smp 1 -m 512 -display none -no-reboot -serial stdio \
	-kernel "$kernel" -initrd "$work/initramfs.cpio" \
	-append "$(cat kernel-config/cmdline) root=none" \
	-drive if=none,id=a,format=raw,readonly=on,file="$work/good.erofs" -device virtio-blk-pci,drive=a \
	-drive if=none,id=b,format=raw,readonly=on,file="$work/links.erofs" -device virtio-blk-pci,drive=b \
	-drive if=none,id=c,format=raw,readonly=on,file="$work/files.erofs" -device virtio-blk-pci,drive=c \
	</dev/null | tr -d '\r' >"$work/console"
if ! grep -q '^--- end' "$work/console"; then
	echo "not ok - the VM did not get to its end"
	tail -40 "$work/console" | sed 's/^/# /'
	exit 1
fi
sed -n '/^--- begin/,/^--- end/p' "$work/console" | grep -v '^---'
! grep -q '^not ok' "$work/console"
