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
# A tree of the host's as an image, and what an image's configuration says.
tar -C "$WORK/b/rootfs" -cf - . | gzip -1 | hyb image import - tree:1 >"$WORK/out" 2>&1
like "import of a pipe" "$(cat "$WORK/out")" "^tree:1 "
fails "import of what is no tar" 1 "^hyb: image import '/etc/hostname': layer 1 \(sha256:.*cut" hyb image import /etc/hostname x:1
umoci config --image "$WORK/l:busybox:latest" --tag cfg --config.env FROM=image --config.env BOTH=image \
	--config.user 1234:4321 --config.workingdir /made/up --config.volume /data --config.exposedports 80/tcp \
	--config.stopsignal SIGUSR1 --config.label key=value \
	--config.entrypoint /bin/sh --config.entrypoint -c \
	--config.cmd 'trap "exit 7" USR1; id -u; id -g; pwd; echo $FROM $BOTH; while :; do sleep 0.1; done'
skopeo copy -q "oci:$WORK/l:cfg" "oci:$WORK/cfg:cfg:1" >/dev/null 2>&1
check "an image with a configuration" hyb image load "$WORK/cfg"
is "inspect shows it" "$(hyb image inspect cfg:1 | jq -c '.config | [.volumes, .exposed_ports, .labels.key, .user, .working_dir, .stop_signal]')" \
	'[["/data"],["80/tcp"],"value","1234:4321","/made/up","SIGUSR1"]'
cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  v:
    containers:
      c: { image: "tree:1", command: sleep 1000, init: true, stop_grace_period: 0s }
      cfg: { image: "cfg:1", environment: { BOTH: manifest }, restart: no }
Y
check "deploy both" hyb deploy "$WORK/s.yaml"
is "the imported tree" "$(hyb exec s/v/c -- cat /version)" 9
await "the command has spoken" 20 sh -c 'hyb logs s/v/cfg | grep -q manifest'
is "User, WorkingDir, Env, Entrypoint and Cmd" "$(hyb logs s/v/cfg | tr '\n' ' ')" "1234 4321 /made/up image manifest "
check "stop" hyb stop s/v/cfg
is "StopSignal" "$(field s/v/cfg exit_code)" 7

# What nothing uses.
is "prune takes nothing that has a name" "$(hyb image prune -o json | jq -c .removed)" '[]'
check "a name that moves" hyb image load "$WORK/o1" --name app:2
is "prune asks" "$(hyb image prune --dry-run -o json | jq '.removed | length')" 1
is "prune" "$(hyb image prune -o json | jq '.removed | length')" 1
like "prune -a keeps what containers use" "$(hyb image prune -a >/dev/null 2>&1; hyb image ls -o json | jq -r '[.[].name] | sort | join(" ")')" '^cfg:1 tree:1$'
check "down" hyb down s
is "prune -a" "$(hyb image prune -a >/dev/null; hyb image ls -o json | jq length)" 0
