#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One image after another in one VM: old disks make room for new ones.
. "$(dirname "$0")/lib.sh"
load_images
# Ten images on the same base: another layer each.
rm -rf "$WORK/l" && mkdir "$WORK/l" && tar -xf build/images/busybox.tar -C "$WORK/l"
for i in 0 1 2 3 4 5 6 7 8 9; do
	rm -rf "$WORK/b"
	umoci unpack --rootless --image "$WORK/l:busybox:latest" "$WORK/b" >/dev/null 2>&1
	echo "$i" >"$WORK/b/rootfs/version"
	umoci repack --image "$WORK/l:v$i" "$WORK/b" >/dev/null 2>&1
	umoci config --image "$WORK/l:v$i" >/dev/null 2>&1
	mkdir -p "$WORK/o$i"
	skopeo copy -q "oci:$WORK/l:v$i" "oci:$WORK/o$i:app:$i" >/dev/null 2>&1
done
for i in 0 1 2 3 4 5 6 7 8 9; do hyb image load "$WORK/o$i" >/dev/null 2>&1 || break; done
is "ten images from OCI layouts" "$(hyb image ls -o json | jq '[.[] | select(.name | test("app:"))] | length')" 10
bad=0
for i in 0 1 2 3 4 5 6 7 8 9; do
	printf 'hyb: 1\nname: s\nvms:\n  v:\n    containers:\n      c: { image: "app:%s", command: sleep 1000, init: true, stop_grace_period: 0s }\n' "$i" >"$WORK/s.yaml"
	hyb deploy "$WORK/s.yaml" >"$WORK/out" 2>&1 || { bad=$((bad + 1)); sed 's/^/# /' "$WORK/out"; }
	[ "$(hyb exec s/v/c -- cat /version 2>&1)" = $i ] || bad=$((bad + 1))
	[ $i != 0 ] || boot=$(hyb exec s/v/c -- cat /proc/sys/kernel/random/boot_id)
done
is "ten images one after another in one VM" $bad 0
is "it was one VM all the time" "$(hyb exec s/v/c -- cat /proc/sys/kernel/random/boot_id)" "$boot"
check "an image that is not used can go" hyb image rm app:0
check "down" hyb down s
