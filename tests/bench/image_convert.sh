#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Layers to EROFS: hyb-image against `umoci unpack` followed by `mkfs.erofs`,
# in turns, medians, on images of SIZES (30 300 1500) MB: files of this
# machine's Debian packages, one layer (the worst case: one decoder), gzip.
# Needs root, as umoci does.
set -eu
cd "$(dirname "$0")/../.."
program=${HYB_IMAGE:-build/default/bin/hyb-image}
cache=${HYB_BENCH_DIR:-build/bench}
sizes=${SIZES:-30 300 1500}
mkdir -p "$cache"
work=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf "$work"' EXIT

# files MB SEED: names of files of /usr, in an order that depends on SEED only,
# until they have that many MB together.
files() {
	python3 - "$1" "$2" <<'END'
import hashlib, os, stat, sys
want, seed = int(sys.argv[1]) * 1000000, sys.argv[2]
names = []
for top, dirs, files in os.walk("/usr"):
    names += (os.path.join(top, f) for f in files)
names.sort(key=lambda n: hashlib.md5((seed + n).encode("utf-8", "surrogateescape")).digest())
for n in names:
    s = os.lstat(n)
    # A file of a hundredth of the image or more would make it a matter of luck.
    if not stat.S_ISREG(s.st_mode) or s.st_size > max(want // 50, 4000000):
        continue
    if want <= 0:
        break
    want -= s.st_size
    sys.stdout.buffer.write(os.fsencode(n[1:]) + b"\0")
if want > 0:
    sys.exit("bench: image_convert: this machine has too few files in /usr")
END
}

# layer IMAGE MB SEED: adds one.
layer() {
	files "$2" "$3" >"$work/names"
	tar -C / --null --verbatim-files-from -T "$work/names" \
		--warning=no-file-changed -cf "$work/layer.tar"
	umoci raw add-layer --image "$1" "$work/layer.tar" >/dev/null
	stat -c %s "$work/layer.tar" >>"$cache/tar-bytes"
	rm "$work/layer.tar"
}

# image NAME MB...: of one layer for each MB; made once.
image() {
	local layout=$cache/$1 name=$1 n=0
	[ ! -e "$layout/done" ] || return 0
	shift
	echo "bench: image_convert: making the image $name, once" >&2
	rm -rf "$layout" "$cache/tar-bytes"
	umoci init --layout "$layout"
	umoci new --image "$layout:bench"
	while [ $# -gt 0 ]; do
		layer "$layout:bench" "$1" "seed-$n"
		n=$((n + 1))
		shift
	done
	umoci gc --layout "$layout"
	awk '{ n += $1 } END { print n }' "$cache/tar-bytes" >"$work/done"
	rm "$cache/tar-bytes"
	mv "$work/done" "$layout/done"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

ours() { tests/bench/image_convert.py "$program" "$cache/$1" "$work/ours.erofs"; }

theirs() {
	local start end
	start=$(date +%s%N)
	umoci unpack --image "$cache/$1:bench" "$work/bundle" >/dev/null 2>&1
	mkfs.erofs --quiet "$work/theirs.erofs" "$work/bundle/rootfs" >/dev/null 2>&1 ||
		mkfs.erofs "$work/theirs.erofs" "$work/bundle/rootfs" >/dev/null
	end=$(date +%s%N)
	awk "BEGIN { printf \"%.3f\n\", ($end - $start) / 1e9 }"
	rm -rf "$work/bundle"
}

warm() { cat "$cache/$1"/blobs/sha256/* >/dev/null; } # for both the same

measure() { # measure MB
	local name=files-$1 runs=${RUNS:-5} fsck=clean a b p o
	[ "$1" -lt 1000 ] || runs=${RUNS:-3}
	image "$name" "$1"
	warm "$name"
	rm -f "$work/ours" "$work/theirs"
	for _ in $(seq "$runs"); do
		ours "$name" >>"$work/ours"
		theirs "$name" >>"$work/theirs"
	done
	fsck.erofs "$work/ours.erofs" >/dev/null 2>&1 || fsck="NOT CLEAN"
	o=$(stat -c %s "$work/ours.erofs")
	a=$(cut -d' ' -f1 "$work/ours" | median)
	b=$(median <"$work/theirs")
	p=$(cut -d' ' -f2 "$work/ours" | sort -n | tail -1)
	awk -v m="$1" -v a="$a" -v b="$b" -v n="$(cat "$cache/$name/done")" -v p="$p" \
		-v o="$o" -v f="$fsck" -v r="$runs" 'BEGIN {
		printf "bench: image_convert_%d %.2f s ratio=%.3f # theirs: umoci unpack + mkfs.erofs, %.2f s;", m, a, a / b, b
		printf " layer of %.0f MB, ours %.0f MB/s, peak memory %.1f MiB, EROFS %.0f MB, fsck.erofs: %s; median of %d\n",
			n / 1e6, n / 1e6 / a, p / 1024, o / 1e6, f, r
	}'
	rm -f "$work"/*.erofs
	[ "$fsck" = clean ]
}

if [ "$(id -u)" != 0 ]; then
	echo "bench: image_convert: needs root (umoci sets owners)" >&2
	exit 1
fi
for mb in $sizes; do measure "$mb"; done
