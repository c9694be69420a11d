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

# ------------------------------------------------------------ named volumes
manifest() { # SIZE
	cat <<Y
hyb: 1
name: s
vms:
  one:
    containers:
      root: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, restart: always, volumes: ["data:/data", "etc:/etc"] }
      c:
        image: busybox
        command: sleep 1000
        stop_grace_period: 1s
        init: true
        restart: always
        user: "1000:1000"
        volumes: [data:/data, "etc:/etc/copied", { source: etc, target: /ro, read_only: true }]
volumes:
  data: { size: $1 }
  etc: { size: 16m }
Y
}
manifest 16m >"$WORK/s.yaml"
manifest 64m >"$WORK/s64.yaml"
manifest 32m >"$WORK/s32.yaml"
like "plan says that they are new" "$(hyb plan "$WORK/s.yaml")" 'volume s/data'
check "deploy with volumes" hyb deploy "$WORK/s.yaml"
c() { hyb exec s/one/c -- sh -c "$1"; }
root() { hyb exec s/one/root -- sh -c "$1"; }
is "nothing to do the second time" "$(hyb plan "$WORK/s.yaml" >/dev/null 2>&1; echo $?)" 0
is "a new volume is empty, and root's" "$(root 'ls -A /data | wc -l; stat -c %u:%g /data')" "0
0:0"
like "nosuid and nodev" "$(root 'grep " /data " /proc/mounts')" 'ext4 rw,nosuid,nodev'
check "give it to the other container's user" root 'chown 1000:1000 /data'
check "it writes there" c 'echo kept >/data/file && sync'
is "and both see it, with its owner" "$(root 'cat /data/file; stat -c %u:%g /data/file')" "kept
1000:1000"
is "an empty volume begins as what the image has there" "$(root 'ls /etc/passwd'; c 'ls /etc/copied/passwd')" "/etc/passwd
/etc/copied/passwd"
fails "no write through the read-only mount" 1 'Read-only' hyb exec -u 0 s/one/c -- sh -c 'echo x >/ro/x'
is "on disk it takes less than its size" "$(hyb volume ls -o json | jq -r '.[] | select(.name == "s/data") | .size == 16777216 and .allocated < .size and .allocated > 0')" true

# --------------------------------------------------- what must survive, does
check "written and synced" c 'echo acknowledged >/data/synced && sync /data/synced'
kill -9 "$(vm_field s/one qemu_pid)"
await "QEMU is killed: the VM is made again" 60 vm_restarts s/one 1
back() { [ "$(c 'cat /data/file /data/synced' 2>/dev/null)" = "kept
acknowledged" ]; }
await "and what was synced is there" 30 back
check "down keeps volumes" hyb down s
is "they are listed" "$(hyb volume ls -o json | jq -r '.[] | .name + " " + .state')" "s/data ready
s/etc ready"
check "deploy again" hyb deploy "$WORK/s.yaml"
is "with all that was in them" "$(c 'cat /data/synced')" acknowledged
fails "one that is used is not removed" 1 "the stack 's' declares it" hyb volume rm s/data

# ------------------------------------------------------------------ growing
like "raising a size is a live change" "$(hyb plan "$WORK/s64.yaml")" 'live.*size changed: 16m → 64m|size changed: 16m → 64m'
BOOT=$(c 'cat /proc/sys/kernel/random/boot_id')
check "deploy it" hyb deploy "$WORK/s64.yaml"
large() { [ "$(c 'df -k /data | tail -1 | awk "{print (\$2 > 40000)}"')" = 1 ]; }
await "the file system has grown" 10 large
is "in the same VM" "$(c 'cat /proc/sys/kernel/random/boot_id')" "$BOOT"
check "and takes more than before" c 'head -c 30m /dev/zero >/data/big && sync && rm /data/big'
fails "it does not shrink" 1 'cannot shrink to 32m' hyb deploy "$WORK/s32.yaml"

# ---------------------------------------------------------------------- full
fails "a full volume is ENOSPC" 1 'No space left on device' hyb exec s/one/c -- dd if=/dev/zero of=/data/full bs=1M
is "for that volume only" "$(root 'echo x >/etc/x && cat /etc/x; rm -f /data/full; echo y >/tmp/y && cat /tmp/y')" "x
y"

# ---------------------------------------------- hybd is killed, QEMU is not
QEMU=$(vm_field s/one qemu_pid)
kill_9 "$(hybd_pid)"
is "the next hybd finds the volume in use" "$(hyb volume ls -o json | jq -r '.[] | select(.name == "s/data") | .state + " " + .used_by')" "in use s/one"
is "by the same QEMU" "$(vm_field s/one qemu_pid)" "$QEMU"
check "and it can be written to" c 'echo more >/data/more'

# ---------------------------------------------------------------- snapshots
check "snapshot of a volume that is written to" hyb volume snapshot s/data@before
fails "not twice by one name" 1 'such a snapshot' hyb volume snapshot s/data@before
is "it is listed" "$(hyb volume inspect s/data | jq -r '.snapshots[] | .name + " " + .state')" "before ready"
if command -v strace >/dev/null; then
	killed_at ioctl 1 hyb volume snapshot s/data@killed && T=$SECONDS
	check "hybd is killed while it copies: its writer goes on" c 'echo x >/data/x && sync'
	is "at once, not after a minute" "$((SECONDS - T < 45)) $(hyb volume inspect s/data | jq -r '.snapshots[].name')" "1 before"
fi
check "the guest goes on" c 'echo after >/data/more && sync'
fails "no restore while it is in use" 1 'in use' hyb volume restore s/data@before
check "stop" hyb stop s
check "restore" hyb volume restore s/data@before
check "start" hyb start s
is "it is what it was" "$(c 'cat /data/more')" more
check "a snapshot goes" hyb volume rm s/data@before
fails "and is gone" 4 'no snapshot' hyb volume restore s/data@before
is "with its file" "$(ls "$HYB_ROOT"/volumes/default | grep -c snap)" 0
check "one is taken again" hyb volume snapshot s/data@last

# --------------------------------------------- one writer, or several readers
check "a volume by hand" hyb volume create shared --size 16m
fails "not twice" 1 'exists' hyb volume create shared --size 16m
user() { # STACK OPTION COMMAND
	cat <<Y
hyb: 1
name: $1
vms:
  v: { containers: { c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["shared:/s$2"] } } }
volumes: { shared: { external: true } }
Y
}
user w "" >"$WORK/w.yaml"
user w2 "" >"$WORK/w2.yaml"
user r1 :ro >"$WORK/r1.yaml"
# Others that have a part of it.
parts() { # CONTAINER=SUBPATH...
	echo "hyb: 1
name: r2
vms:
  v:
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: [\"shared:/s:ro\"] }"
	for p in "$@"; do
		echo "      ${p%%=*}: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: [{ type: volume, source: shared, target: /s, read_only: true, volume: { subpath: ${p#*=} } }] }"
	done
	echo "volumes: { shared: { external: true } }"
}
parts folder=a/b file=a/b/f link=in >"$WORK/r2.yaml"
check "one VM writes" hyb deploy "$WORK/w.yaml"
check "writes" hyb exec w/v/c -- sh -c 'echo said >/s/word; mkdir -p /s/a/b; echo deep >/s/a/b/f; ln -s a/b /s/in; ln -s /etc /s/out; ln -s ../../../../.. /s/a/up; sync'
fails "no second writer" 1 "in use by w/v" hyb deploy "$WORK/w2.yaml"
fails "nor a reader beside it" 1 "in use by w/v" hyb deploy "$WORK/r1.yaml"
kill_9 "$(hybd_pid)"
fails "not after hybd was killed either" 1 "in use by w/v" hyb deploy "$WORK/w2.yaml"
check "the writer goes" hyb down w
check "one reads" hyb deploy "$WORK/r1.yaml"
check "and another" hyb deploy "$WORK/r2.yaml"
is "both the same" "$(hyb exec r1/v/c -- cat /s/word; hyb exec r2/v/c -- cat /s/word)" "said
said"
is "a part of a volume: a folder, a file, and by a link that stays in it" "$(for c in folder link; do hyb exec r2/v/$c -- sh -c 'ls /s; cat /s/f; ls /s/..| grep -c ^word'; done; hyb exec r2/v/file -- cat /s)" "f
deep
0
f
deep
0
deep"
for p in out "'a/up'" a/none word/x; do
	parts folder=a/b "bad=$p" >"$WORK/bad.yaml"
	out=$(hyb deploy "$WORK/bad.yaml" 2>&1)
	printf '%s %s\n' "$?" "$(printf '%s\n' "$out" | grep -o "'[^']*' of what is mounted on '/s': .*" | head -1)"
done >"$WORK/bad"
is "no link leads out of it, and it must be there" "$(cat "$WORK/bad")" "1 'out' of what is mounted on '/s': Invalid cross-device link
1 'a/up' of what is mounted on '/s': Invalid cross-device link
1 'a/none' of what is mounted on '/s': No such file or directory
1 'word/x' of what is mounted on '/s': Not a directory"
fails "now nobody writes" 1 "in use by r" hyb deploy "$WORK/w.yaml"
check "down" hyb down r1 r2

# -------------------------------------------------- what is not hyb's own
check "down" hyb down s
DISK=$(hyb volume inspect s/data | jq -r .path)
mv "$DISK" "$WORK/kept"
deploy() { timeout 100 hyb deploy "$WORK/s64.yaml" --timeout 30s; }
fails "one that is gone is not made again" 1 'is gone' deploy
cp --sparse=always "$WORK/kept" "$DISK"; chown 12345 "$DISK"
fails "a file of somebody else's" 1 'belongs to the user 12345' deploy
like "and volume ls says so" "$(hyb volume ls -o json | jq -r '.[] | select(.name == "s/data") | .state + " " + .problem')" '^failed .*belongs to'
rm "$DISK"; mv "$WORK/kept" "$DISK"
check "put back, it is as it was" hyb deploy "$WORK/s64.yaml"
is "with its data" "$(c 'cat /data/more')" more

# -------------------------------------------- hybd is killed while it attaches
for ms in 0.05 0.7 1.1; do
	hyb down s >/dev/null 2>&1
	hyb deploy "$WORK/s64.yaml" >/dev/null 2>&1 &
	sleep $ms
	kill_9 "$(hybd_pid)" 2>/dev/null
	wait
	hyb deploy "$WORK/s64.yaml" >"$WORK/out" 2>&1 || { sed 's/^/# /' "$WORK/out"; break; }
	[ "$(c 'cat /data/more')" = more ] || { echo "# after $ms: the data is gone"; break; }
done
is "a hybd killed while it attaches leaves nothing in the way" "$ms $(hyb volume inspect s/data | jq -r .used_by)" "1.1 s/one"

# ------------------------------------------------------ secrets and configs
SECRET=c0ffee-is-what-nobody-shall-find-$$
printf '%s' "$SECRET-one" >"$WORK/tls.key"
printf 'listen 80;\n\0binary\377' >"$WORK/a.conf"
printf '%s' "$SECRET-ext" | check "secret set" hyb secret set ext
fails "nothing is no secret" 1 "standard input is empty" hyb secret set ext </dev/null
cat >"$WORK/x.yaml" <<'Y'
hyb: 1
name: x
vms:
  v:
    containers:
      c:
        image: busybox
        command: sleep 1000
        stop_grace_period: 1s
        init: true
        user: "1000:1000"
        read_only: true
        secrets:
          - { source: tls, target: /run/secrets/tls.key, mode: 0400, uid: 1000, gid: 1000 }
          - ext
          - { source: ext, target: /etc/app/ext }
        configs:
          - { source: conf, target: /etc/app/a.conf }
          - { source: inline, target: /etc/inline, mode: 0444 }
secrets:
  tls: { file: ./tls.key }
  ext: { external: true }
configs:
  conf: { file: ./a.conf }
  inline: { content: "hello\n" }
Y
check "deploy with secrets and configs" hyb deploy "$WORK/x.yaml"
x() { hyb exec x/v/c -- sh -c "$1"; }
is "they are there" "$(x 'cat /run/secrets/tls.key /run/secrets/ext /etc/inline')" "$SECRET-one$SECRET-exthello"
is "byte for byte" "$(x 'sha256sum </etc/app/a.conf')" "$(sha256sum <"$WORK/a.conf")"
is "with mode and owner" "$(x 'stat -c "%a %u %g" /run/secrets/tls.key /run/secrets/ext')" "400 1000 1000
444 0 0"
fails "nobody writes to them" 1 'Read-only|Permission' x 'echo >/run/secrets/tls.key'
like "on no disk of the guest's" "$(x 'grep /run/secrets/tls.key /proc/mounts')" '^tmpfs'
is "nothing to do the second time" "$(hyb plan "$WORK/x.yaml" >/dev/null 2>&1; echo $?)" 0
printf '%s' "$SECRET-two!" >"$WORK/tls.key"
like "plan tells of a changed secret, not what it is" "$(hyb plan "$WORK/x.yaml")" 'secret x/tls.*its content changed'
STARTED=$(field x/v/c started_at)
check "deploy rotates it" hyb deploy "$WORK/x.yaml"
rotated() { [ "$(x 'cat /run/secrets/tls.key')" = "$SECRET-two!" ]; }
await "live" 10 rotated
printf '%s' "$SECRET-ext2" | check "secret set again" hyb secret set ext
rotated() { [ "$(x 'cat /run/secrets/ext')" = "$SECRET-ext2" ]; }
await "live, too" 10 rotated
# Who reads it meanwhile has one or the other, whole: a thousand A, two thousand B.
cat >"$WORK/reader" <<'Y'
n=0
until [ -e /dev/shm/stop ]; do
	for f in /run/secrets/ext /etc/app/ext; do
		x=
		read -r x <$f || echo "$f: absent" >>/dev/shm/wrong
		case ${#x}$x in 1000A*B* | 2000B*A*) echo "$f: mixed" ;; 1000A* | 2000B*) ;; *) echo "$f: ${#x}" ;; esac >>/dev/shm/wrong
	done
	n=$((n + 1))
	echo $n >/dev/shm/count
done
Y
A=$(head -c 1000 /dev/zero | tr '\0' A) B=$(head -c 2000 /dev/zero | tr '\0' B)
echo "$A" | hyb secret set ext >/dev/null
rotated() { [ "$(x 'cat /etc/app/ext')" = "${1:-$A}" ]; }
await "one that is read at two places" 60 rotated
x 'rm -f /dev/shm/stop; '"$(cat "$WORK/reader")" >"$WORK/reader.out" 2>&1 &
READER=$!
END=$((SECONDS + 120))
await "a reader" 60 x '[ $(cat /dev/shm/count) -gt 20 ]'
for v in "$B" "$A" "$B" "$A" "$B" "$A" "$B" "$A"; do
	echo "$v" | hyb secret set ext >/dev/null
	until rotated "$v" || [ $SECONDS -gt $END ]; do sleep 0.1; done
done
x 'touch /dev/shm/stop'
wait $READER
is "a reader has the old or the new one, whole" "$(x 'cat /dev/shm/wrong | sort | uniq -c | head'; x 'echo $(($(cat /dev/shm/count) > 20))')" 1
is "and no mount of the old ones is left" "$(x 'grep -c " /run/secrets/ext \| /etc/app/ext " /proc/mounts')" 2
is "in the same container" "$(field x/v/c started_at)" "$STARTED"
kill_9 "$(hybd_pid)"
is "secret ls" "$(hyb secret ls -o json | jq -r '.[].name' | sort)" "ext
x/tls"
fails "one that is used stays" 1 'used by x/v/c' hyb secret rm ext
sync
is "nothing under the root has them" "$(grep -rlaF "$SECRET" "$HYB_ROOT" 2>/dev/null)" ""
HEX=$(printf '%s' "$SECRET" | od -An -tx1 | tr -d ' \n')
is "in hexadecimal neither" "$(grep -rlaF "$HEX" "$HYB_ROOT" 2>/dev/null)" ""
echo "$SECRET" >"$WORK/pattern"
is "nor any command line, nor an environment" "$(cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -acFf "$WORK/pattern")" 0
is "the key is root's alone" "$(stat -c '%a %u %s' "$HYB_ROOT/secret.key")" "600 0 32"
check "down" hyb down x
is "the stack's own are gone with it" "$(hyb secret ls -o json | jq -r '.[].name')" ext
check "secret rm" hyb secret rm ext
fails "a missing one is told" 4 'no secret .ext' hyb deploy "$WORK/x.yaml"
head -c 70000 /dev/zero >"$WORK/tls.key"
fails "one that is too large" 3 'bytes, more than|too large|cannot be read' hyb validate "$WORK/x.yaml"

# ------------------------------------------------------------------ the end
check "down --volumes" hyb down --volumes s
is "deletes them" "$(hyb volume ls -o json | jq -r '.[].name'; ls "$HYB_ROOT"/volumes/default)" "shared
$(basename "$(hyb volume inspect shared | jq -r .path)")"
check "volume rm" hyb volume rm shared
is "nothing is left" "$(hyb volume ls -o json; ls "$HYB_ROOT"/volumes/default | wc -l)" "[]
0"
fails "nor can it be removed twice" 4 'no volume' hyb volume rm shared
cat >"$WORK/huge.yaml" <<'Y'
hyb: 1
name: huge
vms: { v: { containers: { c: { image: busybox, command: sleep 1000, volumes: ["d:/d"] } } } }
volumes: { d: { size: 15t } }
Y
fails "more than the host has" 1 'free' hyb deploy "$WORK/huge.yaml"
is "leaves nothing" "$(hyb volume ls -o json; hyb ps -a -o json)" "[]
[]"
