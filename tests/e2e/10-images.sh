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
is "each is stored as what differs from their base" \
	"$(hyb image ls -o json | jq '[.[] | select(.name | test("app:")) | select(.shared_size > 9 * .disk_size)] | length')" 10
check "the base loses its name" hyb image rm busybox
bad=0
for i in 0 1 2 3 4 5 6 7 8 9; do
	printf 'hyb: 1\nname: s\nvms:\n  v:\n    containers:\n      c: { image: "app:%s", command: sleep 1000, init: true, stop_grace_period: 0s }\n' "$i" >"$WORK/s.yaml"
	hyb deploy "$WORK/s.yaml" >"$WORK/out" 2>&1 || { bad=$((bad + 1)); sed 's/^/# /' "$WORK/out"; }
	[ "$(hyb exec s/v/c -- cat /version 2>&1)" = $i ] || bad=$((bad + 1))
	[ $i != 0 ] || boot=$(hyb exec s/v/c -- cat /proc/sys/kernel/random/boot_id)
done
is "ten images one after another in one VM" $bad 0
is "it was one VM all the time" "$(hyb exec s/v/c -- cat /proc/sys/kernel/random/boot_id)" "$boot"
in=$(find "$HYB_ROOT/vms" -name 'base-*' -printf '%i\n' | sort -u)
like "all with one file for their base, which stays" "$(stat -c ' %i ' "$HYB_ROOT"/images/erofs/*.erofs)" " ${in:-none} "
kill -9 "$(hybd_pid)"
# A tree of the host's as an image, and what an image's configuration says.
tar -C "$WORK/b/rootfs" -cf - . | gzip -1 | hyb image import - tree:1 >"$WORK/out" 2>&1
like "import of a pipe" "$(cat "$WORK/out")" "^tree:1 "
# Nearly a million files, and one of 5 GiB that is mostly a hole.
mkdir "$WORK/huge"
truncate -s 5G "$WORK/huge/huge"
printf BEGIN | dd of="$WORK/huge/huge" conv=notrunc status=none
printf END >>"$WORK/huge/huge"
{
	python3 "$(dirname "$0")/large_tar.py" 998000
	tar -b1 -C "$WORK/b/rootfs" -cf - . | head -c -1024
	tar -S -C "$WORK/huge" -cf - huge
} | hyb image import - large:1 >"$WORK/out" 2>&1
is "import of a million files, and of one of 5 GiB" $? 0
is "of which the host has no holes" "$(hyb image inspect large:1 >/dev/null && hyb image ls -o json | jq '.[] | select(.name == "large:1").disk_size | . > 0 and . < 300000000')" true
fails "import of what is no tar" 1 "^hyb: image import '/etc/hostname': layer 1 \(sha256:.*cut" hyb image import /etc/hostname x:1
umoci config --image "$WORK/l:busybox:latest" --tag cfg --config.env FROM=image --config.env BOTH=image \
	--config.user 1234:4321 --config.workingdir /made/up --config.volume /data --config.exposedports 80/tcp \
	--config.stopsignal SIGUSR1 --config.label key=value \
	--config.entrypoint /bin/sh --config.entrypoint -c \
	--config.cmd 'trap "exit 7" USR1; id -u; id -g; pwd; echo $FROM $BOTH; while :; do sleep 0.1; done'
skopeo copy -q "oci:$WORK/l:cfg" "oci:$WORK/cfg:cfg:1" >/dev/null 2>&1
# On one tree with users, an image for each word of a configuration.
rm -rf "$WORK/b2"
umoci unpack --rootless --image "$WORK/l:busybox:latest" "$WORK/b2" >/dev/null 2>&1
mkdir -p "$WORK/b2/rootfs/etc"
printf 'root:x:0:0::/root:/bin/sh\napp:x:1500:1600::/srv/app:/bin/sh\n' >"$WORK/b2/rootfs/etc/passwd"
printf 'root:x:0:\napp:x:1600:\nextra:x:1700:app,root\nother:x:1800:\n' >"$WORK/b2/rootfs/etc/group"
umoci repack --image "$WORK/l:users" "$WORK/b2" >/dev/null 2>&1
python3 - "$WORK/l" <<'P'
import hashlib, json, sys
d = sys.argv[1]
def blob(digest): return json.load(open(d + "/blobs/sha256/" + digest[7:]))
def put(o, old):
    b = json.dumps(o).encode(); h = hashlib.sha256(b).hexdigest()
    open(d + "/blobs/sha256/" + h, "wb").write(b)
    return dict(old, digest="sha256:" + h, size=len(b))
index = json.load(open(d + "/index.json"))
ref = "org.opencontainers.image.ref.name"
base = next(m for m in index["manifests"] if m["annotations"][ref] == "users")
m = blob(base["digest"]); c = blob(m["config"]["digest"])
who = dict(Entrypoint=["/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"])
stay = dict(Cmd=["sleep", "1000"])
check = lambda *t, **k: dict(stay, Healthcheck=dict(k, Test=t, Interval=300000000))
images = dict(
    name=dict(who, User="app"), group=dict(who, User="app:other"), number=dict(who, User="7:8"), uid=dict(who, User="1500"),
    nobody=dict(who, User="nosuch"), words=dict(Entrypoint=["/bin/echo", "e"], Cmd=["c"]),
    cmd=check("CMD", "test", "-e", "/etc/passwd"), shell=check("CMD-SHELL", "test $(id -u) = 0 && echo well", Retries=1),
    none=check("NONE"), sick=check("CMD", "false", Retries=1))
out = []
for name, config in images.items():
    old = {k: v for k, v in c["config"].items() if k not in ("Entrypoint", "Cmd")}
    e = put(dict(m, config=put(dict(c, config=dict(old, **config)), m["config"])), base)
    out.append(dict(e, annotations={ref: "is-" + name + ":1"}))
json.dump(dict(index, manifests=out), open(d + "/index.json", "w"))
P
check "an image with a configuration" hyb image load "$WORK/cfg"
check "and images of its words" hyb image load "$WORK/l"
is "inspect shows it" "$(hyb image inspect cfg:1 | jq -c '.config | [.volumes, .exposed_ports, .labels.key, .user, .working_dir, .stop_signal]')" \
	'[["/data"],["80/tcp"],"value","1234:4321","/made/up","SIGUSR1"]'
cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  v:
    containers:
      c: { image: "tree:1", command: sleep 1000, init: true, stop_grace_period: 0s }
      large: { image: "large:1", command: sleep 1000, init: true, stop_grace_period: 0s }
      cfg: { image: "cfg:1", environment: { BOTH: manifest }, restart: no }
      kept: { image: "cfg:1", volumes: ["kept:/data"], command: "exit", restart: no }
      name: { image: "is-name:1", restart: no }
      group: { image: "is-group:1", restart: no }
      number: { image: "is-number:1", restart: no }
      uid: { image: "is-uid:1", restart: no }
      mine: { image: "is-name:1", user: "0", restart: no }
      w: { image: "is-words:1", restart: no }
      wc: { image: "is-words:1", command: [x], restart: no }
      we: { image: "is-words:1", entrypoint: [/bin/echo, y], restart: no }
      wec: { image: "is-words:1", entrypoint: [/bin/echo, y], command: [x], restart: no }
      cmd: { image: "is-cmd:1", init: true, stop_grace_period: 0s }
      shell: { image: "is-shell:1", init: true, stop_grace_period: 0s }
      none: { image: "is-none:1", init: true, stop_grace_period: 0s }
      sick: { image: "is-sick:1", init: true, stop_grace_period: 0s, healthcheck: { test: [CMD, "true"], interval: 300ms } }
      off: { image: "is-sick:1", init: true, stop_grace_period: 0s, healthcheck: { test: [NONE] } }
volumes: { kept: { size: 16m } }
Y
hyb deploy "$WORK/s.yaml" >"$WORK/out" 2>&1
is "deploy them all" $? 0
like "a VOLUME that nothing is mounted at is told of" "$(grep warning "$WORK/out")" "^hyb: warning: container 'v/cfg': what it writes to '/data', VOLUME of its image, lives as long as its VM"
is "and no other" "$(grep -c warning "$WORK/out")" 1
is "it is an anonymous volume" "$(hyb inspect s/v/cfg | jq -Sc '.desired.mounts, .applied.mounts')" '[{"no_copy":false,"read_only":false,"target":"/data","type":"anonymous"}]
[{"no_copy":false,"read_only":false,"target":"/data","type":"anonymous"}]'
said() { for c in "$@"; do hyb logs "s/v/$c"; done; }
await "all have spoken" 60 sh -c 'for c in name group number uid mine w wc we wec; do hyb logs "s/v/$c" | grep -q . || exit 1; done'
is "User by name, with a group, by numbers, by a number" "$(said name group number uid)" "1500 1600 1600 1700 /srv/app
1500 1800 1800 /srv/app
7 8 8 /
1500 1600 1600 1700 /srv/app"
is "the manifest's user goes before it" "$(said mine)" "0 0 0 1700 /root"
is "Entrypoint and Cmd, and what the manifest has of them" "$(said w wc we wec | tr '\n' ' ')" "e c e x y y x "
is "Healthcheck: CMD, CMD-SHELL, NONE, and the manifest's before them" \
	"$(for c in cmd shell none sick off; do field "s/v/$c" health; done | tr '\n' ' ')" "healthy healthy  healthy  "
sed 's/is-uid:1/is-nobody:1/' "$WORK/s.yaml" >"$WORK/n.yaml"
fails "a User that the image does not have" 1 "image 'is-nobody:1': .*user 'nosuch' is not in the image" hyb deploy "$WORK/n.yaml"
is "the imported tree" "$(hyb exec s/v/c -- cat /version)" 9
is "a million files in a container, and one of 5 GiB" \
	"$(hyb exec s/v/large -- sh -c 'ls -d /d* | wc -l; ls /d0998 | wc -l; stat -c %s /d0998/file997999 /huge; head -c 5 /huge; tail -c 3 /huge' | tr '\n' ' ')" \
	"1000 998 0 5368709123 BEGINEND"
await "the command has spoken" 20 sh -c 'hyb logs s/v/cfg | grep -q manifest'
is "User, WorkingDir, Env, Entrypoint and Cmd" "$(hyb logs s/v/cfg | tr '\n' ' ')" "1234 4321 /made/up image manifest "
check "stop" hyb stop s/v/cfg
is "StopSignal" "$(field s/v/cfg exit_code)" 7

# What nothing uses.
is "prune takes nothing that has a name" "$(hyb image prune -o json | jq -c .removed)" '[]'
check "a name that moves" hyb image load "$WORK/o1" --name app:2
is "prune asks" "$(hyb image prune --dry-run -o json | jq '.removed | length')" 1
is "prune" "$(hyb image prune -o json | jq '.removed | length')" 1
# 192.0.2.0/24 is nobody's: this VM does not come up.
printf 'hyb: 1\nname: w\nvms: {v: {containers: {c: {image: "app:3", ports: ["192.0.2.1:8080:80"]}}}}\n' >"$WORK/w.yaml"
fails "a VM that does not come up" 1 "publish port 192.0.2.1:8080" hyb deploy "$WORK/w.yaml"
fails "its container's image is in use" 1 "image 'app:3' is in use" hyb image rm app:3
hyb image prune -a >/dev/null 2>&1
check "prune leaves it" hyb image inspect app:3
check "down of it" hyb down w
like "prune -a keeps what containers use" "$(hyb image prune -a >/dev/null 2>&1; hyb image ls -o json | jq -r '[.[].name | select(startswith("is-") | not)] | sort | join(" ")')" '^cfg:1 large:1 tree:1$'
check "down" hyb down --volumes s
is "prune -a" "$(hyb image prune -a >/dev/null; hyb image ls -o json | jq length)" 0
is "and no file is left" "$(find "$HYB_ROOT/images/erofs" -type f | wc -l)" 0
