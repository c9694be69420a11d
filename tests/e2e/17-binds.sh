#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Folders of the host in containers: what is allowed, what a guest can do there,
# and what it cannot do to the host.
. "$(dirname "$0")/lib.sh"

A=$WORK/allowed
mkdir -p "$A/rw/sub" "$A/ro" "$A/roots" "$A/other" "$A/files" "$WORK/secret"
echo host >"$A/rw/file"
echo conf >"$A/ro/conf"
echo deep >"$A/rw/sub/deep"
echo canary >"$WORK/secret/canary"
echo roots >"$A/roots/file"
echo private >"$A/rw/private"
echo one >"$A/files/ro.conf"
echo two >"$A/files/rw.conf"
echo sibling >"$A/files/sibling"
chown -R 1000:1000 "$A/rw" "$A/ro" "$A/other" "$A/files"
chown 0:0 "$A/rw/private"
chmod 600 "$A/rw/private"
ln -s "$WORK/secret/canary" "$A/rw/out"
ln -s /etc/passwd "$A/rw/etc"
ln -s ../../secret/canary "$A/rw/up"
ln -s "$A/rw" "$A/link"
mkfifo "$A/rw/fifo"
export HYB_ALLOW_BIND=$A:rw,$A/ro:ro
load_images

# ------------------------------------------------------------- what is refused
bind() { # SOURCE [OPTIONS [TARGET]]
	cat >"$WORK/bad.yaml" <<Y
hyb: 1
name: bad
vms:
  one: { containers: { c: { image: busybox, command: sleep 1000, volumes: ["$1:${3:-/b}${2:-}"] } } }
Y
}
denied() { # NAME STATUS PATTERN SOURCE [OPTIONS [TARGET]]
	bind "${@:4}"
	fails "$1" "$2" "$3" hyb deploy "$WORK/bad.yaml"
}
denied "a path that is not allowed" 5 "'one/c': binding the host's '/etc' is denied: the operator does not allow" /etc :ro
denied "a path beside an allowed one" 5 'does not allow' "$A-beside" :ro
denied "the folder above" 5 'does not allow' "$WORK" :ro
denied "to be read only, asked for to be written" 5 'to be read only' "$A/ro"
denied "a relative path that leads to what is not allowed" 5 "'$WORK/conf' is denied: the operator does not allow" ./allowed/../conf :ro
denied "a home" 3 "'~' in a path of the host is not expanded" '~/conf' :ro
denied "a path with .." 3 "without '\.\.'" "$A/../secret" :ro
denied "a path that is not there" 4 'No such file' "$A/nothing" :ro
like "and nothing is made there" "$(hyb deploy "$WORK/bad.yaml" 2>&1; ls "$A")" 'hint: hyb makes no folder'
denied "neither a folder nor a file" 1 'neither a folder nor a regular file' "$A/rw/fifo" :ro
denied "a symbolic link" 5 'symbolic link' "$A/link" :ro
denied "a folder behind a symbolic link" 5 'symbolic link' "$A/link/sub" :ro
denied "root's folder for writing" 5 'as whom no VM acts' "$A/roots"
denied "a target that is no absolute path" 3 "it is 'b'" "$A/rw" "" b
denied "a target of the kernel's" 3 "kernel's own places" "$A/rw" "" /proc/x
denied "nocopy" 3 "says nothing to a bind" "$A/rw" :nocopy
cat >"$WORK/bad.yaml" <<Y
hyb: 1
name: bad
vms:
  one:
    containers:
      c:
        image: busybox
        volumes: ["$A/rw:/b", { type: bind, source: "$A/ro", target: /b, read_only: true }]
Y
fails "one target twice" 3 'something at ./b. already' hyb deploy "$WORK/bad.yaml"
for bad in / relative /proc "$HYB_ROOT" "${HYB_ROOT%/*}" /a/../b; do
	like "the operator cannot allow $bad" "$(HYB_ALLOW_BIND='' hybd --root "$HYB_ROOT/x" --allow-bind "$bad" 2>&1)" "allow bind '$bad'"
done

# ------------------------------------------------------------------- one VM
manifest() { # SOURCE-OF-/rw
	cat <<Y
hyb: 1
name: s
vms:
  one:
    containers:
      root:
        image: busybox
        command: sleep 100000
        init: true
        stop_grace_period: 1s
        restart: always
        volumes:
          - "$1:/rw"
          - "$A/ro:/ro:ro"
          - { type: bind, source: "$A/rw", target: /rw-ro, read_only: true }
          - { type: bind, source: "$A/roots", target: /roots, read_only: true }
          - ./allowed/files/ro.conf:/etc/app/ro.conf:ro
          - { type: bind, source: "$A/files/rw.conf", target: /etc/app/rw.conf, bind: { create_host_path: false } }
      user: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 1s, restart: always, user: "101:102", volumes: ["$A/rw:/rw"] }
      none: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 1s, restart: always }
Y
}
manifest "$A/rw" >"$WORK/s.yaml"
like "plan says so" "$(hyb plan "$WORK/s.yaml")" 'create .*s/one'
check "deploy with binds" hyb deploy "$WORK/s.yaml"
like "nothing to do the second time" "$(hyb plan "$WORK/s.yaml"; echo "exit $?")" 'exit 0'
is "inspect tells them" "$(hyb inspect s/one/user | jq -c '.applied.mounts[] | [.type, .source, .target, .read_only]')" "[\"bind\",\"$A/rw\",\"/rw\",false]"
# The processes behind them, as hybd has written them down.
shares() { jq -r '.shares[][0]' "$HYB_ROOT"/virt/*/record; }
SHARES=$(shares)
is "a process for each" "$(printf '%s\n' "$SHARES" | wc -l)" 7
r() { hyb exec s/one/root -- sh -c "$1"; }
u() { hyb exec s/one/user -- sh -c "$1"; }

# ------------------------------------------------------------ reading, writing
is "what is there can be read" "$(r 'cat /rw/file /rw/sub/deep /ro/conf /rw-ro/file /roots/file')" "host
deep
conf
host
roots"
is "the owner is the container's root" "$(r 'stat -c %u:%g /rw /rw/file /ro/conf')" "0:0
0:0
0:0"
is "others are nobody" "$(r 'stat -c %u:%g /roots/file /rw/private')" "65534:65534
65534:65534"
check "write, append, rename, link, remove" r 'cd /rw && echo a >new && echo b >>new && mkdir -p d/e && mv new d/e/ && ln d/e/new hard && ln -s d/e/new soft && rm hard && cat soft'
is "on the host it is the owner's" "$(stat -c %u:%g "$A/rw/d/e/new" && cat "$A/rw/d/e/new")" "1000:1000
a
b"
check "what a guest has synced is there" r 'head -c 3m /dev/urandom >/rw/big && sync /rw/big && sha256sum </rw/big >/rw/sum'
is "byte for byte" "$(sha256sum <"$A/rw/big")" "$(cat "$A/rw/sum")"
echo later >"$A/rw/later"
chown 1000:1000 "$A/rw/later"
later() { [ "$(r 'cat /rw/later')" = later ]; }
await "what the host writes is seen" 60 later
fails "another user of the container writes only where he may" 1 'Permission denied' hyb exec s/one/user -- sh -c 'echo x >/rw/user'
check "he may" r 'chmod 777 /rw/sub'
writes() { u 'echo mine >/rw/sub/user'; }
await "and does" 60 writes
is "as an id that is nobody's on the host" "$(stat -c %u:%g "$A/rw/sub/user")" "$((1878065536 + 101)):$((1878065536 + 102))"
is "and himself in every container" "$(u 'stat -c %u:%g /rw/sub/user'; r 'stat -c %u:%g /rw/sub/user')" "101:102
101:102"
is "a chown stays among such ids" "$(r 'touch /rw/given && chown 33:34 /rw/given' && stat -c %u:%g "$A/rw/given")" "$((1878065536 + 33)):$((1878065536 + 34))"

# --------------------------------------------------------------- single files
is "a file by a path that is relative to the manifest, and one to be written" "$(r 'cat /etc/app/*; stat -c %u:%g /etc/app/*; ls -A /etc/app')" "one
two
0:0
0:0
ro.conf
rw.conf"
fails "the first is read only" 1 'Read-only file system' hyb exec s/one/root -- sh -c 'echo x >/etc/app/ro.conf'
check "the other can be written" r 'echo more >>/etc/app/rw.conf && sync /etc/app/rw.conf'
is "on the host it is its owner's" "$(stat -c %u:%g "$A/files/rw.conf"; cat "$A/files/rw.conf")" "1000:1000
two
more"
fails "it cannot be replaced" 1 'busy' hyb exec s/one/root -- sh -c 'echo x >/etc/app/new; mv /etc/app/new /etc/app/rw.conf'
# All that a process behind a bind can get at, whatever a guest asks of it.
reach() {
	for p in $SHARES; do
		for c in $(cat /proc/"$p"/task/*/children); do
			[ -f "/proc/$c/root/shared" ] && (cd "/proc/$c/root" && find . -type f -exec cat {} + && ls -A .)
		done
	done | sort
}
is "the process behind a file has that file and nothing else" "$(reach)" "more
one
shared
shared
two"
echo edited >"$A/files/ro.conf"
edited() { [ "$(r 'cat /etc/app/ro.conf')" = edited ]; }
await "what the host writes into it is seen" 60 edited
echo replaced >"$A/files/new" && chown 1000:1000 "$A/files/new" && mv "$A/files/new" "$A/files/ro.conf"
is "one that is renamed over it is not: it is the file that was bound" "$(sleep 2; r 'cat /etc/app/ro.conf')" edited

# ------------------------------------------------------------------ read only
fails "no write through a read-only bind" 1 'Read-only file system' hyb exec s/one/root -- sh -c 'echo x >/ro/x'
fails "nor to the same folder by another target" 1 'Read-only file system' hyb exec s/one/root -- sh -c 'rm /rw-ro/file'
mounts() { # of what virtiofsd itself has as its root
	for p in $SHARES; do
		for c in $(cat /proc/"$p"/task/*/children); do
			awk '{ print $6 }' "/proc/$c/mountinfo"
		done
	done
}
is "it is the host that keeps it so" "$(mounts | sed 's/,relatime.*//' | sort | uniq -c | awk '{ print $1, $2 }')" "11 ro,nosuid,nodev,noexec
3 rw,nosuid,nodev,noexec"

# -------------------------------------------------- what is the host's stays so
fails "a file of root's own cannot be read" 1 'Permission denied' hyb exec s/one/root -- cat /rw/private
fails "a link out of it leads nowhere" 1 "can't open" hyb exec s/one/root -- cat /rw/out
fails "nor does one that climbs" 1 "can't open" hyb exec s/one/root -- cat /rw/up
is "an absolute one is the container's own" "$(r 'cat /rw/etc')" "$(r 'cat /etc/passwd')"
before=$(sha256sum /etc/passwd)
r "ln -s /etc/passwd /rw/evil; echo evil >>/rw/evil; ln -s $WORK/secret/canary /rw/evil2; echo evil >/rw/evil2" >/dev/null 2>&1
is "writing through links does not reach the host" "$(sha256sum /etc/passwd; cat "$WORK/secret/canary")" "$before
canary"
fails "no set-id bit" 1 'Operation not permitted' hyb exec s/one/root -- sh -c 'cp /bin/busybox /rw/su && chmod 4755 /rw/su'
fails "nor of a group" 1 'Operation not permitted' hyb exec s/one/root -- chmod 2755 /rw/su
fails "nor of a folder" 1 'Operation not permitted' hyb exec s/one/root -- chmod 2777 /rw/sub
fails "no device" 1 'Operation not permitted' hyb exec s/one/root -- mknod /rw/null c 1 3
is "nothing of it is on the host" "$(find "$A" '(' -perm /6000 -o -type b -o -type c ')')" ""
is "nor anything of the host's root" "$(find "$A/rw" -uid 0 ! -name private ! -type l ! -type p)" ""
check "a pipe is one within the guest" r 'mkfifo /rw/p2 && (echo through >/rw/p2 &) && [ "$(cat /rw/p2)" = through ]'
is "a container without binds has none" "$(hyb exec s/one/none -- sh -c 'grep -c virtiofs /proc/mounts')" 0
status() { # FIELD: of all processes behind the binds
	for p in $SHARES; do
		for c in "$p" $(cat /proc/"$p"/task/*/children); do
			awk -v f="$1:" '$1 == f { print $2 }' "/proc/$c/status"
		done
	done | sort -u
}
is "they are nobody, can become nobody else, and are filtered" "$(status Uid) $(status CapBnd) $(status NoNewPrivs) $(status Seccomp)" "1878000003 0000000000000000 1 2"
is "with the ids of the owner and of nobody" "$(awk '{ print $2, $3 }' "/proc/${SHARES%%
*}/uid_map")" "1878000003 1
1000 1
1878065537 65535"

# ------------------------------------------------------------------- faults
kill_9 "$(hybd_pid)"
is "hybd is killed: they serve on" "$(r 'cat /rw/file')" host
is "and are the same" "$(shares)" "$SHARES"
kill -9 "${SHARES%%
*}"
await "one is killed: the VM is made again" 120 vm_restarts s/one 1
is "the reason is told" "$(grep -c 'VM ended: BindLost' "$HYB_ROOT/hybd.log")" 1
back() { [ "$(r 'cat /rw/file /rw/sub/user' 2>/dev/null)" = "host
mine" ]; }
await "with what was written" 120 back
is "and with the file that is there now" "$(r 'cat /etc/app/ro.conf')" replaced
gone() { for p in $1; do ! kill -0 "$p" 2>/dev/null || [ "$(awk '{ print $3 }' "/proc/$p/stat")" = Z ] || return 1; done; }
await "the old ones are gone" 60 gone "$SHARES"
SHARES=$(shares)
kill -9 "$(vm_field s/one qemu_pid)"
await "QEMU is killed: they end" 60 gone "$SHARES"
await "and the VM is made again" 120 vm_restarts s/one 2
await "with its binds" 120 back
# What was allowed is swapped for a link while the VM is down.
check "stop" hyb stop s
mv "$A/rw" "$A/moved" && ln -s "$WORK/secret" "$A/rw"
fails "a link in its place is not followed" 5 'symbolic link' hyb start s
fails "nor by a deploy" 5 'symbolic link' hyb deploy "$WORK/s.yaml"

# ------------------------------------------------------------------ changes
manifest "$A/moved" | sed "s,$A/rw,$A/moved," >"$WORK/s2.yaml"
like "another source makes the VM anew" "$(hyb plan "$WORK/s2.yaml")" 'binds changed: .*/rw.* → .*/moved'
check "deploy it" hyb deploy "$WORK/s2.yaml"
is "it is there" "$(r 'cat /rw/file')" host
SHARES=$(shares)
check "down" hyb down s
await "nothing is left running" 60 gone "$SHARES"
is "nor on disk" "$(ls "$HYB_ROOT/vms" "$HYB_ROOT/virt" | grep -c '^hyb-\|^[0-9]')" 0
is "the host's folder is as it was left" "$(cat "$A/moved/file" "$WORK/secret/canary")" "host
canary"
