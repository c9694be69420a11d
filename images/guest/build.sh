#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh AGENT OUT: makes the guest's initramfs, with the program AGENT as
# /init. The same AGENT gives the same bytes. Not compressed: unpacking would
# cost the guest more time than reading saves, and the kernel has no
# decompressor.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
max_size=2621440	# 2.5 MiB: it is in memory twice for a moment

[ $# -eq 2 ] || {
	echo "usage: build.sh AGENT OUT" >&2
	exit 2
}
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"${CC:-cc}" -std=gnu17 -O1 -Wall -Wextra -o "$work/mkcpio" "$here/mkcpio.c"
"$work/mkcpio" "$1" > "$work/initramfs.cpio"
size=$(stat -c %s "$work/initramfs.cpio")
if [ "$size" -gt "$max_size" ]; then
	echo "images/guest: initramfs of $size bytes, at most $max_size" >&2
	exit 1
fi
mkdir -p "$(dirname "$2")"
cp "$work/initramfs.cpio" "$2.tmp"
mv "$2.tmp" "$2"
