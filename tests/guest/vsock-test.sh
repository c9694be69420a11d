#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hyb-vsockd against a real QEMU and a real Linux driver. TAP. Needs root (the
# device drops its rights), qemu-system-x86, the guest kernel and hyb-vsockd.
set -euo pipefail
cd "$(dirname "$0")/../.."

device=${HYB_VSOCKD:-build/default/bin/hyb-vsockd}
portd=${HYB_PORTD:-build/default/bin/hyb-portd}
kernel=${HYB_KERNEL:-build/guest/vmlinux}
uid=64000

skip() {
	printf "1..1\nok 1 # SKIP host: %s\n" "$*"
	exit 0
}

[ "$(id -u)" = 0 ] || skip "needs root"
for f in "$device" "$portd"; do
	[ -x "$f" ] || skip "$f is not built"
done
[ -f "$kernel" ] || skip "$kernel is not built"
command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"

dir=$(mktemp -d /tmp/hyb-vsock.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 0755 "$dir"
mkdir -p "$dir/root/dev" "$dir/run"
flags=(-std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I.)
gcc "${flags[@]}" -static -pthread -o "$dir/root/init" tests/guest/vsock/guest.c
gcc "${flags[@]}" -o "$dir/host" tests/guest/vsock/host.c \
	host-agent/guest/vsock.c common/base/{fd,err}.c
(cd "$dir/root" && find . | cpio --quiet -o -H newc) >"$dir/initramfs"
cp "$kernel" "$dir/vmlinux"
cp "$device" "$dir/hyb-vsockd"
cp "$portd" "$dir/hyb-portd"
chmod 0644 "$dir/vmlinux" "$dir/initramfs"
chown $uid:$uid "$dir/run"
chmod 0700 "$dir/run"
status=0
"$dir/host" "$dir/hyb-vsockd" "$dir/hyb-portd" "$dir/vmlinux" \
	"$dir/initramfs" "$dir/run" || status=$?
if [ $status != 0 ]; then
	sed 's/^/# /' "$dir/run/device.log" "$dir/run/portd.log" || true
	tail -20 "$dir/run/qemu.log" | sed 's/^/# qemu: /' || true
fi
exit $status
