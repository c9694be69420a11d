#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hybd is killed before each call of the kernel, one after another, that an
# operation on what is stored makes: there is the old or the new, whole, nothing
# is left over, and the same operation then ends well. ALL=1: before each of all.
. "$(dirname "$0")/lib.sh"
if ! command -v strace >/dev/null; then
	echo "ok 1 - killed at each call # SKIP host: no strace"
	echo 1..1
	trap - EXIT
	rm -rf "$HYB_ROOT" "$WORK"
	exit 0
fi
# Most of the time is waiting: several at once, each with a root of its own.
if [ -z "${ONLY:-}" ]; then
	trap - EXIT
	rm -rf "$HYB_ROOT"
	for group in "snapshot restore unsnap" "create remove secret" "grow disk undisk image"; do
		ONLY=$group "$0" >"$WORK/${group%% *}" 2>&1 &
	done
	wait
	awk '/^(not )?ok /{ sub(/ok [0-9]+/, "ok " ++n) } !/^1\.\.[0-9]/; /^1\.\./{ ended++ }
		END { print (ended == 3 ? "" : "not ") "ok " ++n " - all of them ended"; print "1.." n }' "$WORK"/*
	rm -rf "$WORK"
	exit
fi
EVERY="openat fchown fchmod ftruncate ioctl copy_file_range pwrite64 fsync fdatasync rename renameat link linkat unlink unlinkat mkdir rmdir chown clone3 socketpair pipe2"

no_process() { [ "$(ours | grep -vc '[h]ybd --root\|[s]trace')" = 0 ]; }
# Files of ROOT/volumes, but for templates, and of ROOT/disks.
files() { (cd "$HYB_ROOT" && find volumes disks -type f -o -type l | grep -v '^volumes/\.' | sort | tr '\n' ' '); }
sum() { cksum <"$1"; }
look() { hyb volume inspect "$1" 2>/dev/null | jq -r ".$2"; }
wrong() { echo "# $OP, $CALL $N: $*"; bad=$((bad + 1)); }

# sweep OP CALLS: before_OP, do_OP (killed), after_OP (says what is wrong), do_OP
# again (where again_OP says so), done_OP.
sweep() {
	local killed=0
	bad=0 OP=$1
	for CALL in $2; do
		for ((N = 1; N < 200; N++)); do
			"before_$OP"
			killed_at "$CALL" "$N" "do_$OP" || break
			killed=$((killed + 1))
			for _ in $(seq 600); do hyb ps >/dev/null 2>&1 && break; sleep 0.1; done
			"after_$OP"
			for _ in $(seq 600); do no_process && break; sleep 0.1; done
			no_process || wrong "left: $(ours)"
			"again_$OP" >"$WORK/out" 2>&1 || wrong "again: $(cat "$WORK/out")"
			"done_$OP"
		done
		[ -z "${VERBOSE:-}" ] || echo "# $OP, $CALL: $((N - 1)), $SECONDS s"
		[ $status = 0 ] || wrong "without a kill: $(cat "$WORK/out")"
		"done_$OP"
	done
	is "$OP: killed before ${killed} calls" "$bad $((killed > 0))" "0 1"
}

# A volume and what can be done to it without a VM: what is in it is written here.
content() { printf '%s' "$1" | dd of="$A" bs=1 seek=9000000 conv=notrunc status=none; }
check "a volume" hyb volume create a --size 16m
A=$(look a path)
content base
check "a snapshot of it" hyb volume snapshot a@base
BASE=$(sum "$A") FILES=$(files)
content other
OTHER=$(sum "$A")
plain() { # what must always hold
	[ "$(files)" = "$FILES" ] || wrong "files: $(files)"
	[ "$(look a 'state + "," + .used_by + "," + .problem')" = "ready,," ] || wrong "a: $(hyb volume ls)"
}

before_snapshot() { :; }
do_snapshot() { hyb volume snapshot a@s; }
after_snapshot() {
	local there
	there=$(hyb volume inspect a | jq -r '.snapshots[] | select(.name != "base") | .name + .state')
	case $there in
	sready) hyb volume rm a@s >/dev/null || wrong "cannot be removed" ;;
	'') ;;
	*) wrong "there is $there" ;;
	esac
	plain
	[ "$(sum "$A")" = "$OTHER" ] || wrong "the volume is another"
}
again_snapshot() { do_snapshot; }
done_snapshot() {
	hyb volume rm a@s >/dev/null 2>&1
	[ "$(files)" = "$FILES" ] || wrong "files at the end: $(files)"
}

before_restore() { content other; }
do_restore() { hyb volume restore a@base; }
after_restore() {
	plain
	case $(sum "$A") in "$BASE" | "$OTHER") ;; *) wrong "it is neither" ;; esac
}
again_restore() { do_restore; }
done_restore() { [ "$(sum "$A")" = "$BASE" ] || wrong "not restored"; plain; }

before_unsnap() { hyb volume snapshot a@s >/dev/null; }
do_unsnap() { hyb volume rm a@s; }
after_unsnap() {
	if look a 'snapshots[].name' | grep -q '^s$'; then
		hyb volume export a@s >/dev/null 2>&1 & wait
		[ "$(files | wc -w)" = 3 ] || wrong "listed without its file: $(files)"
	else
		plain
	fi
}
again_unsnap() { do_unsnap || grep -q 'no snapshot' "$WORK/out"; }
done_unsnap() { plain; }

before_create() { :; }
do_create() { hyb volume create c --size 16m; }
after_create() {
	case $(look c state) in
	ready) [ "$(stat -c %s "$(look c path)")" = 16777216 ] || wrong "of another size" ;;
	'') plain ;;
	*) wrong "it is $(look c state): $(look c problem)" ;;
	esac
}
again_create() { do_create || grep -q exists "$WORK/out"; }
done_create() {
	[ "$(look c state)" = ready ] || wrong "it is not there"
	fsck.ext4 -fn "$(look c path)" >/dev/null 2>&1 || wrong "no file system"
	hyb volume rm c >/dev/null || wrong "cannot be removed"
	plain
}

before_remove() { hyb volume create c --size 16m >/dev/null; hyb volume snapshot c@s >/dev/null; }
do_remove() { hyb volume rm c; }
after_remove() {
	case $(look c state) in
	'') plain ;;
	ready) [ "$(files | wc -w)" = 4 ] || wrong "ready, but: $(files)" ;;
	*) wrong "it is $(look c state): $(look c problem)" ;;
	esac
}
again_remove() { do_remove || grep -q 'no volume' "$WORK/out"; }
done_remove() { plain; }

before_grow() { hyb volume create g --size 16m >/dev/null; G=$(look g path); GSUM=$(head -c 16m "$G" | sha256sum); }
do_grow() { hyb volume create g --size "${1:-32m}"; }
after_grow() {
	case "$(look g state) $(look g size)" in "ready 16777216" | "ready 33554432") ;; *) wrong "it is $(look g state) $(look g size) $(look g problem)" ;; esac
	[ "$(head -c 16m "$G" | sha256sum)" = "$GSUM" ] || wrong "its content is another"
}
# To another size than before: what was begun is not in the way.
again_grow() { do_grow 48m; }
done_grow() {
	[ "$(look g problem)" = "" ] || wrong "$(look g problem)"
	hyb volume rm g >/dev/null || wrong "cannot be removed"
	plain
}

# ---------------------------------------------------- secrets, disks, images
version() { hyb secret ls -o json | jq -r '.[].version'; }
before_secret() { echo old | hyb secret set x >/dev/null; OLD=$(version); }
do_secret() { echo new | hyb secret set x; }
# The one that it must be, set again, is no change.
after_secret() {
	local now one=new
	now=$(version)
	[ "$now" != "$OLD" ] || one=old
	echo $one | hyb secret set x >/dev/null
	[ "$(version)" = "$now" ] || wrong "it is not the $one one"
}
again_secret() { do_secret; }
done_secret() { [ "$(hyb secret ls -o json | jq -r '.[].name')" = x ] || wrong "secrets: $(hyb secret ls)"; }

truncate -s 4M "$WORK/disk.raw"
printf 'what is on it' | dd of="$WORK/disk.raw" bs=1 seek=1000000 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 "$WORK/disk.raw" "$WORK/disk.qcow2"
DISK=$(sum "$WORK/disk.raw")
before_disk() { :; }
do_disk() { hyb disk import --format qcow2 "$WORK/disk.qcow2" d; }
after_disk() {
	case $(hyb disk ls -o json | jq -r '.[].name') in
	d) [ "$(sum "$HYB_ROOT/disks/default/d.raw")" = "$DISK" ] || wrong "it is another" ;;
	*) plain ;;
	esac
}
again_disk() { do_disk || grep -q 'already' "$WORK/out"; }
done_disk() {
	[ "$(sum "$HYB_ROOT/disks/default/d.raw")" = "$DISK" ] || wrong "it is not there"
	hyb disk rm d >/dev/null || wrong "cannot be removed"
	[ -z "$(find "$HYB_ROOT/disks" -mindepth 1 ! -name default)" ] || wrong "left: $(find "$HYB_ROOT/disks")"
	plain
}
before_undisk() { hyb disk import --format raw "$WORK/disk.raw" d >/dev/null 2>&1; }
do_undisk() { hyb disk rm d; }
after_undisk() { after_disk; }
again_undisk() { do_undisk || grep -q 'no disk' "$WORK/out"; }
done_undisk() { plain; }

# What is in the store, but for what a machine's memory of it is.
stored() { (cd "$HYB_ROOT/images" && find . | sort) | tr '\n' ' '; }
hyb image load build/images/busybox.tar >/dev/null 2>&1 && hyb image rm busybox >/dev/null
before_image() { EMPTY=$(stored); }
do_image() { hyb image load build/images/busybox.tar; }
after_image() {
	case $(hyb image ls -o json | jq length) in
	0 | 1) ;;
	*) wrong "images: $(hyb image ls)" ;;
	esac
}
again_image() { do_image; }
done_image() {
	[ "$(hyb image ls -o json | jq length)" = 1 ] || wrong "images: $(hyb image ls)"
	fsck.erofs "$(find "$HYB_ROOT/images" -name '*.erofs' | head -1)" >/dev/null 2>&1 || wrong "not whole: $(stored)"
	hyb image rm busybox >/dev/null || wrong "cannot be removed"
	hyb image prune >/dev/null 2>&1
	[ "$(stored)" = "$EMPTY" ] || wrong "left: $(stored), before: $EMPTY"
}

# The calls of each, in the suite: where a state is written, and where it is seen.
declare -A CALLS=(
	[snapshot]="fdatasync ioctl fsync" [restore]="ftruncate renameat fsync" [unsnap]="unlinkat fdatasync"
	[create]="fdatasync fsync" [remove]="unlinkat fdatasync" [grow]="ftruncate fdatasync"
	[secret]="fdatasync" [disk]="link fsync" [undisk]="unlink" [image]="rename renameat fdatasync"
)
for op in $ONLY; do
	sweep "$op" "${ALL:+$EVERY }${CALLS[$op]}"
done
