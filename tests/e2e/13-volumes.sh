#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What containers write, and where it stays.
. "$(dirname "$0")/lib.sh"
load_images

# -------------------------------------------- read_only, shm_size, tmpfs
cat >"$WORK/ro.yaml" <<'Y'
hyb: 1
name: ro
vms:
  one:
    containers:
      c:
        image: busybox
        command: sleep 1000
        stop_grace_period: 1s
        init: true
        read_only: true
        shm_size: 1m
        volumes:
          - { type: tmpfs, target: /scratch/inner, size: 1m }
          - { type: tmpfs, target: /scratch, size: 2m, mode: 0700 }
          - { type: tmpfs, target: /fixed, read_only: true }
Y
check "deploy a read-only container" hyb deploy "$WORK/ro.yaml"
c() { hyb exec ro/one/c -- sh -c "$1"; }
fails "its root cannot be written" 1 'Read-only file system' c 'echo x >/x'
fails "nor can a read-only tmpfs" 1 'Read-only file system' c 'echo x >/fixed/x'
is "a tmpfs can, and one inside another" "$(c 'echo a >/scratch/a; echo b >/scratch/inner/b; cat /scratch/a /scratch/inner/b')" "a
b"
is "with its mode" "$(c 'stat -c %a /scratch /scratch/inner')" "700
1777"
is "of its size" "$(c 'head -c 3m /dev/zero 2>/dev/null >/scratch/full; stat -c %s /scratch/full; df -k /dev/shm | tail -1 | awk "{print \$2}"')" "2093056
1024"
like "nosuid and nodev" "$(c 'grep " /scratch " /proc/mounts')" 'nosuid,nodev'
check "down" hyb down ro
