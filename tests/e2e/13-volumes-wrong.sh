#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever is in the place of a volume's file: the error says which volume, what
# and why, what is there stays, and other volumes, VMs and tenants go on.
. "$(dirname "$0")/lib.sh"
load_images
look() { hyb volume inspect "$1" 2>/dev/null | jq -r ".$2"; }
manifest() { # NAME
	cat <<Y
hyb: 1
name: $1
vms:
  bad:
    restart: "no"
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["v:/v"] }
  good:
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["w:/w"] }
volumes: { v: { size: 16m }, w: { size: 16m } }
Y
}
manifest a >"$WORK/a.yaml"
check "deploy" hyb deploy "$WORK/a.yaml"
check "what is to be kept" hyb exec a/bad/c -- sh -c 'echo kept >/v/f; sync'
BOOT=$(hyb exec a/good/c -- cat /proc/sys/kernel/random/boot_id)
check "one of its VMs is stopped" hyb stop a/bad
check "a snapshot" hyb volume snapshot a/v@s
check "another volume, by hand" hyb volume create other --size 16m
V=$(look a/v path) OTHER=$(look other path) SNAP=$(ls "$HYB_ROOT"/volumes/default/snap-*)
cp --sparse=always "$V" "$WORK/kept"

# Without a VM: every verb that touches the file.
# wrong NAME PATTERN [keep]: in the place of V is now something else
wrong() {
	local out what
	what=$(stat -c '%F %s %u %h' "$V" 2>/dev/null)
	for verb in "snapshot a/v@t" "restore a/v@s" "export a/v -o $WORK/none.tar"; do
		# shellcheck disable=SC2086
		out=$(timeout 60 hyb volume $verb 2>&1 </dev/null) && echo "$verb: it succeeded"
		printf '%s\n' "$out" | grep -q "volume 'a/v[^']*': .*$2" || echo "$verb: $out"
	done >"$WORK/said"
	[ "$(look a/v state)" = failed ] || echo "it is not listed as failed: $(look a/v state)" >>"$WORK/said"
	look a/v problem | grep -q "$2" || echo "problem: $(look a/v problem)" >>"$WORK/said"
	[ "$(stat -c '%F %s %u %h' "$V" 2>/dev/null)" = "$what" ] || echo "it was touched: $what" >>"$WORK/said"
	[ "$(look other state)$(look a/w state)" = "readyin use" ] || echo "others are $(hyb volume ls)" >>"$WORK/said"
	is "$1" "$(cat "$WORK/said")" ""
}
in_its_place() { rm -rf "$V"; "$@"; }
in_its_place ln -s "$WORK/kept" "$V"; wrong "a symbolic link" "no regular file"
in_its_place mkfifo "$V"; wrong "a FIFO" "no regular file"
in_its_place mkdir "$V"; wrong "a folder" "no regular file"
in_its_place mknod "$V" c 1 3; wrong "a device" "no regular file"
in_its_place mknod "$V" b 259 4095; wrong "a device that is not there" "no regular file"
in_its_place python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$V"
wrong "a socket" "no regular file"
in_its_place ln "$OTHER" "$V"; wrong "another volume's file" "does not hold the file system"
in_its_place truncate -s 16m "$V"; wrong "no file system" "does not hold the file system"
mkfs.ext4 -qF "$V" >/dev/null 2>&1; wrong "another file system" "does not hold the file system"
in_its_place cp --sparse=always "$WORK/kept" "$V"; truncate -s 8m "$V"; wrong "a shorter one" "has 8388608 bytes and should have 16777216"
truncate -s 32m "$V"; wrong "a longer one" "has 33554432 bytes and should have 16777216"
in_its_place cp --sparse=always "$WORK/kept" "$V"; chown 12345 "$V"; wrong "somebody else's" "belongs to the user 12345"
# A snapshot that is none is not put in the place of what is there.
in_its_place cp --sparse=always "$WORK/kept" "$V"
mv "$SNAP" "$WORK/snap"
for how in "mkfifo $SNAP" "truncate -s 16m $SNAP" "ln -s $WORK/snap $SNAP"; do
	$how
	out=$(timeout 60 hyb volume restore a/v@s 2>&1)
	printf '%s %s\n' $? "$(printf '%s' "$out" | grep -c "volume 'a/v@s': .*not\b")" "$(cksum <"$V")"
	rm "$SNAP"
done | sort -u >"$WORK/said"
is "a snapshot that is something else" "$(cat "$WORK/said")" "$(printf '%s\n' "1 1" "$(cksum <"$WORK/kept") " | sort)"
fails "one that is gone" 1 "volume 'a/v@s': its file '.*' is gone" hyb volume restore a/v@s
mv "$WORK/snap" "$SNAP"

# Names and sizes.
while read -r status pattern command; do
	# shellcheck disable=SC2086
	out=$(hyb volume $command 2>&1 </dev/null)
	got=$?
	[ $got = "$status" ] && printf '%s' "$out" | grep -Eq "${pattern//_/ }" || echo "$command: $got, $out"
done >"$WORK/said" <<'Y'
2 a-z,_0-9 create ../x --size 16m
2 a-z,_0-9 create X --size 16m
2 size create x --size 0
2 from_16m create x --size 15m
2 multiple create x --size 16777217b
1 free create x --size 15t
2 from_16m_to_16t create x --size 17t
2 size create x --size -1
2 size create x --size 99999999999999999999t
2 VOLUME@SNAPSHOT snapshot other
2 name_of_a_snapshot snapshot other@..
2 name_of_a_snapshot snapshot other@a@b
4 no_snapshot restore other@none
4 no_volume snapshot none@x
4 no_volume rm a/none
2 a_volume_is_meant inspect other@x
Y
is "names and sizes" "$(cat "$WORK/said")" ""

# Nothing can be written there.
FILES=$(ls "$HYB_ROOT/volumes/default")
# hybd may have a mount namespace of its own.
there() { nsenter -t "$(hybd_pid)" -m "$@"; }
if there mount --bind "$HYB_ROOT/volumes" "$HYB_ROOT/volumes" && there mount -o remount,bind,ro "$HYB_ROOT/volumes"; then
	fails "a read-only file system: create" 1 "volume 'x': .*Read-only" hyb volume create x --size 16m
	fails "snapshot" 1 "volume 'a/v@t': .*Read-only" hyb volume snapshot a/v@t
	fails "restore" 1 "volume 'a/v@s': .*Read-only" hyb volume restore a/v@s
	fails "grow" 1 "volume 'other': .*Read-only" hyb volume create other --size 32m
	check "others go on" hyb exec a/good/c -- sh -c 'echo x >/w/x && sync'
	there umount "$HYB_ROOT/volumes"
	is "nothing of it stays" "$(ls "$HYB_ROOT/volumes/default"; look other size; look x name; look a/v 'snapshots[].name')" "$FILES
16777216
s"
fi

# With its VM.
deploy() { timeout 100 hyb deploy "$WORK/a.yaml" --timeout 30s; }
start() { timeout 100 hyb start a/bad; }
others() { [ "$(hyb exec a/good/c -- cat /proc/sys/kernel/random/boot_id)$(field a/good/c restarts)" = "${BOOT}0" ]; }
exec 7<>"$V"
python3 -c 'import fcntl, os, struct
fcntl.fcntl(7, 37, struct.pack("hhlliixx", fcntl.F_WRLCK, 0, 0, 0, 0, 0))' || echo "# no lock"
fails "one that a process has locked" 1 "volume 'a/v': a process still has its disk open" start
exec 7>&-
check "others go on" others
# Its superblock says what it should, and all else is noise.
hyb stop a/bad >/dev/null 2>&1
python3 - "$V" <<'P'
import os, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(4096)
    f.write(os.urandom(3 << 20))
P
fails "a file system that is damaged" 1 "volume 'a/v'|volume 'v'" start
check "others go on" others
hyb stop a/bad >/dev/null 2>&1
check "a snapshot helps" hyb volume restore a/v@s
check "start" start
is "and all is there" "$(hyb exec a/bad/c -- cat /v/f)" kept
check "others have gone on" others
check "down" hyb down --volumes a
