#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Layers to EROFS: hyb-image against `umoci unpack` followed by `mkfs.erofs`,
# on an image of this machine's own files (300 MB and more, one layer, gzip),
# in turns, median of RUNS (5). Needs root, as umoci does for owners.
set -eu
cd "$(dirname "$0")/../.."
program=${HYB_IMAGE:-build/default/bin/hyb-image}
cache=${HYB_BENCH_DIR:-build/bench}
runs=${RUNS:-5}
mkdir -p "$cache"
work=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$work"' EXIT

# layer LAYOUT TAR: an image of one layer.
image() {
	umoci init --layout "$1"
	umoci new --image "$1:bench"
	umoci raw add-layer --image "$1:bench" "$2"
	umoci gc --layout "$1"
}

# Trees of this machine, in a fixed order, until there are 300 MB.
real_image() {
	local layout=$cache/real size=0 trees=() tree
	[ -e "$layout/done" ] && return
	rm -rf "$layout"
	for tree in usr/share/doc usr/lib/python3 usr/bin usr/lib/gcc \
		usr/lib/x86_64-linux-gnu usr/share; do
		[ -d "/$tree" ] || continue
		trees+=("$tree")
		size=$((size + $(du -sxm "/$tree" | cut -f1)))
		[ "$size" -lt 350 ] || break
	done
	[ "$size" -ge 350 ] || { echo "bench: image_convert: this machine has no 350 MB of files to take" >&2; exit 1; }
	echo "bench: making an image of ${trees[*]} ($size MB), once" >&2
	tar -C / --sort=name --warning=no-file-changed -cf "$work/layer.tar" "${trees[@]}"
	image "$layout" "$work/layer.tar"
	stat -c %s "$work/layer.tar" >"$layout/done"
	rm "$work/layer.tar"
}

# One file of SIZE MB, half of which compresses.
file_image() {
	local layout=$cache/file-$1
	[ -e "$layout/done" ] && return
	rm -rf "$layout"
	{ head -c "$(($1 / 2))M" /dev/urandom; head -c "$(($1 / 2))M" /dev/zero; } >"$work/file"
	tar -C "$work" -cf "$work/layer.tar" file
	image "$layout" "$work/layer.tar"
	: >"$layout/done"
	rm "$work/file" "$work/layer.tar"
}

median() { sort -n | sed -n "$(((runs + 1) / 2))p"; }

ours() { tests/bench/image_convert.py "$program" "$1" "$work/ours.erofs"; }

theirs() {
	local start end
	start=$(date +%s%N)
	umoci unpack --image "$cache/real:bench" "$work/bundle" >/dev/null 2>&1
	mkfs.erofs --quiet "$work/theirs.erofs" "$work/bundle/rootfs" >/dev/null 2>&1 ||
		mkfs.erofs "$work/theirs.erofs" "$work/bundle/rootfs" >/dev/null
	end=$(date +%s%N)
	awk "BEGIN { printf \"%.3f\n\", ($end - $start) / 1e9 }"
	rm -rf "$work/bundle"
}

if [ "$(id -u)" != 0 ]; then
	echo "bench: image_convert: needs root (umoci sets owners)" >&2
	exit 1
fi
real_image
file_image 30
file_image 300
bytes=$(cat "$cache/real/done")
cat "$cache"/real/blobs/sha256/* >/dev/null # into the page cache, for both
for _ in $(seq "$runs"); do
	ours "$cache/real" >>"$work/ours"
	theirs >>"$work/theirs"
	rm -f "$work"/*.erofs
done
fsck_ok=no
ours "$cache/real" >/dev/null && fsck.erofs "$work/ours.erofs" >/dev/null 2>&1 && fsck_ok=yes
ours_bytes=$(stat -c %s "$work/ours.erofs")
mine=$(cut -d' ' -f1 "$work/ours" | median)
other=$(median <"$work/theirs")
peak=$(cut -d' ' -f2 "$work/ours" | sort -n | tail -1)
peak30=$(ours "$cache/file-30" | cut -d' ' -f2)
peak300=$(ours "$cache/file-300" | cut -d' ' -f2)
awk -v a="$mine" -v b="$other" -v n="$bytes" -v p="$peak" -v s="$peak30" -v l="$peak300" \
	-v o="$ours_bytes" -v f="$fsck_ok" 'BEGIN {
	printf "bench: image_convert %.0f MB/s ratio=%.3f", n / 1e6 / a, a / b
	printf " # theirs: umoci unpack + mkfs.erofs, %.2f s for %.0f MB; ours %.2f s,", b, n / 1e6, a
	printf " peak memory %.1f MiB (one file of 30 MB: %.1f, of 300 MB: %.1f),", p / 1024, s / 1024, l / 1024
	printf " EROFS %.0f MB, fsck.erofs: %s\n", o / 1e6, f == "yes" ? "clean" : "NOT CLEAN"
}'
[ "$fsck_ok" = yes ]
