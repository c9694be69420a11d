#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The host's disk is full: who writes to a volume is told, all else goes on.
. "$(dirname "$0")/lib.sh"
if ! mount -t tmpfs -o size=220m,mode=0711 hyb-full "$HYB_ROOT" 2>/dev/null; then
	echo "ok 1 - a full disk # SKIP host: no file system of a size can be mounted"
	echo 1..1
	rm -rf "$HYB_ROOT" "$WORK"
	trap - EXIT
	exit 0
fi
trap 'finish 2>/dev/null; umount -l "$HYB_ROOT" 2>/dev/null; rmdir "$HYB_ROOT" 2>/dev/null' EXIT
load_images
cat >"$WORK/f.yaml" <<'Y'
hyb: 1
name: f
vms:
  v:
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["d:/d"] }
      other: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["e:/e"] }
volumes: { d: { size: 100m }, e: { size: 16m } }
Y
check "deploy" hyb deploy "$WORK/f.yaml"
check "a block that is there" hyb exec f/v/other -- sh -c 'head -c 1m /dev/zero >/e/there && sync'
FREE=$(df -k --output=avail "$HYB_ROOT" | tail -1)
head -c $(((FREE - 6000) * 1024)) /dev/zero >"$HYB_ROOT/fill"
fails "writing more than the host has is an error of who writes" 1 'Input/output error|Read-only' \
	hyb exec f/v/c -- dd if=/dev/zero of=/d/f bs=1M count=64 conv=fsync
is "the VM goes on" "$(hyb exec f/v/other -- echo here)" here
is "what is there can be read" "$(hyb exec f/v/other -- cat /e/there | wc -c)" 1048576
is "and runs still" "$(vm_field f/v state) $(field f/v/c state)" "running running"
fails "nothing new is made" 1 'free' hyb volume create more --size 64m
rm "$HYB_ROOT/fill"
check "with room again all goes on: down" hyb down f
check "and deploy" hyb deploy "$WORK/f.yaml"
check "the volume takes writes again" hyb exec f/v/c -- sh -c 'rm -f /d/f; echo x >/d/x && sync /d/x && cat /d/x'
check "down" hyb down --volumes f
