#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The container engine against Debian's crun, and runc beside it: same VM, same
# run, same bundle (what `crun spec` writes).
# engine.sh [engine_start|engine_exec|engine_memory|engine_many]
set -eu
cd "$(dirname "$0")/../.."
only=${1:-}
kernel=build/guest/vmlinux
runtime=build/default/bin/hyb-runtime
crun=$(command -v crun) || { echo "bench: engine: crun is not installed" >&2; exit 1; }
runc=$(command -v runc) || { echo "bench: engine: runc is not installed" >&2; exit 1; }
for need in "$kernel" "$runtime"; do
	[ -e "$need" ] || { echo "bench: engine: $need is not built" >&2; exit 1; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-bench-engine.XXXXXX")
trap 'rm -rf "$work"' EXIT

top=$work/initramfs
mkdir -p "$top"/bin "$top"/bundle/rootfs
cp "$(command -v busybox)" "$top/bin/busybox"
strip -s -o "$top/bin/hyb-runtime" "$runtime"
cp "$crun" "$top/bin/crun"
cp "$runc" "$top/bin/runc"
ldd "$crun" "$runc" | grep -o '/[^ :]*' | grep '^/lib' | sort -u | while read -r lib; do
	mkdir -p "$top$(dirname "$lib")"
	cp -L "$lib" "$top$lib"
done
(cd "$top/bundle" && "$crun" spec)
jq '.process.terminal = false | .process.args = ["/bin/true"]' \
	"$top/bundle/config.json" | jq -c . >"$work/config.json"
mv "$work/config.json" "$top/bundle/config.json"
cp tests/guest/engine/init.sh "$top/init"
cp tests/guest/engine/bench.sh "$top/tests.sh"
chmod 755 "$top/init"
(cd "$top" && find . | cpio -o -H newc --quiet) >"$work/initramfs.cpio"

timeout 500 qemu-system-x86_64 -nodefaults -no-user-config \
	-machine q35,accel="${HYB_ACCEL:-tcg}" -cpu max -smp 1 -m 512 \
	-display none -no-reboot -serial stdio \
	-kernel "$kernel" -initrd "$work/initramfs.cpio" \
	-append "$(cat kernel-config/cmdline) root=none" \
	</dev/null | tr -d '\r' >"$work/console" || true
if ! grep -q '^--- end' "$work/console" || grep -q '^failed' "$work/console"; then
	echo "bench: engine: the VM did not get to its end" >&2
	tail -20 "$work/console" >&2
	exit 1
fi

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
figure() { # figure NAME ROW UNIT TEXT
	local ours theirs runc ratio
	ours=$(awk -v r="$2" '$1 == r { print $2 }' "$work/console" | median)
	theirs=$(awk -v r="$2" '$1 == r { print $3 }' "$work/console" | median)
	runc=$(awk -v r="$2" '$1 == r { print $4 }' "$work/console" | median)
	ratio=$(awk -v r="$2" '$1 == r { print $2 / $3 }' "$work/console" | median)
	awk -v n="$1" -v a="$ours" -v b="$theirs" -v c="$runc" -v r="$ratio" -v u="$3" -v t="$4" -v v="$("$crun" --version | awk 'NR == 1 { print $3 }')" 'BEGIN {
		printf "bench: %s %.1f %s ratio=%.3f # theirs: crun %s %s, %.1f %s%s, same VM and bundle, medians\n", n, a, u, r, v, t, b, u, c ? sprintf(" (runc: %.1f)", c) : ""
	}'
}
wants() { [ -z "$only" ] || [ "$only" = "$1" ]; }
! wants engine_start || figure engine_start start ms "create+start+delete of true"
! wants engine_exec || figure engine_exec exec ms "exec of true"
! wants engine_memory || figure engine_memory memory KiB "peak of create+start+delete"
! wants engine_many || figure engine_many many ms "100 created and started in 512 MiB"
! wants engine_many || figure engine_many_memory cost KiB "of the VM's memory for each of the 100"
