#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Volumes as tar archives: all of a file is kept, and nothing is half there.
. "$(dirname "$0")/lib.sh"
load_images
cat >"$WORK/x.yaml" <<'Y'
hyb: 1
name: x
vms:
  v:
    restart: "no"
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, volumes: ["d:/d"] }
volumes: { d: { size: 64m } }
Y

# An archive with what a file can be; python's tarfile writes any attribute.
cat >"$WORK/make.py" <<'P'
import io, os, struct, sys, tarfile
t = tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT, errors="surrogateescape")
def add(name, data=b"", kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, link="", **pax):
    i = tarfile.TarInfo(name)
    i.type, i.mode, i.uid, i.gid, i.linkname, i.mtime = kind, mode, uid, gid, link, 1000000000.5
    i.size = len(data) if kind == tarfile.REGTYPE else 0
    i.pax_headers = {k.replace("__", "."): v for k, v in pax.items()}
    t.addfile(i, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
def text(b): return b.decode("utf-8", "surrogateescape")
caps = text(struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0))
# u::rw- u:1234:rw- g::r-- m::rw- o::r--
acl = text(struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *x) for x in (
    (1, 6, 0xffffffff), (2, 6, 1234), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 4, 0xffffffff))))
add("./", kind=tarfile.DIRTYPE, mode=0o2750, uid=999, gid=998)
add("./file", b"content\n", mode=0o4755, uid=70000, gid=80000, SCHILY__xattr__user__note="kept")
add("./dir", kind=tarfile.DIRTYPE, mode=0o1777, uid=5)
add("./dir/" + "n" * 200, b"long")
add("./dir/na\nme \x1b[1m\udcff", b"odd")
add("./hard", kind=tarfile.LNKTYPE, link="./file")
add("./soft", kind=tarfile.SYMTYPE, mode=0o777, link="/etc/passwd")
add("./cap", b"x", mode=0o755, uid=9, SCHILY__xattr__security__capability=caps)
add("./acl", b"y", mode=0o664, SCHILY__xattr__system__posix_acl_access=acl)
add("./pipe", kind=tarfile.FIFOTYPE, mode=0o600, uid=7)
add("./holes", b"begin" + bytes(8 << 20) + b"end")
t.close()
P
python3 "$WORK/make.py" "$WORK/a.tar"
# Names, kinds, modes, owners, times, links, sizes, attributes, contents.
cat >"$WORK/show.py" <<'P'
import hashlib, os, sys, tarfile
for i in tarfile.open(sys.argv[1], errors="surrogateescape"):
    x = {k: v for k, v in i.pax_headers.items() if "xattr" in k}
    h = hashlib.sha256(tarfile.open(sys.argv[1]).extractfile(i.name).read()).hexdigest()[:8] if i.isreg() and "\udcff" not in i.name else ""
    # Which of two names comes first is not told.
    if i.name in ("./file", "./hard"):
        kind, link = "link", ""
        print(ascii(os.path.normpath(i.name)), kind, oct(i.mode) if i.isreg() else "")
        if i.isreg():
            print(" of", i.uid, i.gid, i.mtime, i.size, x, h)
        continue
    print(ascii(os.path.normpath(i.name)), i.type, oct(i.mode), i.uid, i.gid, i.mtime if not (i.isfifo()) else "", ascii(i.linkname), i.size, x, h)
P
shown() { python3 "$WORK/show.py" "$1" | sed 's/^\(.*link\) .*/\1/' | sort; }
vols() { hyb volume ls -o json | jq -r '.[] | .name + " " + .state'; }
nothing_left() {
	[ "$(vols)" = "${1:-}" ] &&
		[ "$(find "$HYB_ROOT/volumes" -name '*.raw' | wc -l)" = "$2" ] &&
		[ -z "$(ls -A "$HYB_ROOT/vms" 2>/dev/null)" ]
}

# ------------------------------------------------------------------- import
check "import" hyb volume import v "$WORK/a.tar" --size 64m
is "it is there" "$(vols)" "v ready"
is "a hole is no data" "$(hyb volume ls -o json | jq -r '.[0].allocated < 6000000')" true
fails "into one that exists" 1 'it exists' hyb volume import v "$WORK/a.tar" --size 64m
fails "no size" 2 'size is missing' hyb volume import w "$WORK/a.tar"
fails "a name that is none" 2 'a-z, 0-9' hyb volume import ../w "$WORK/a.tar" --size 64m
fails "no such file" 1 "open '.*/none'" hyb volume import w "$WORK/none" --size 64m
head -c 20m /dev/urandom >"$WORK/big"
tar -C "$WORK" -cf "$WORK/big.tar" big
fails "one that it does not fit in says so" 1 'larger --size' hyb volume import w "$WORK/big.tar" --size 16m
head -c 3000000 "$WORK/big.tar" >"$WORK/cut.tar"
fails "an archive that is cut" 1 'is cut' hyb volume import w "$WORK/cut.tar" --size 64m
fails "more than the host has" 1 'free' hyb volume import w "$WORK/a.tar" --size 15t
check "nothing of them is left" nothing_left "v ready" 1

# ------------------------------------------------------------------- export
check "export" hyb volume export v -o "$WORK/b.tar"
is "all is as it was" "$(shown "$WORK/b.tar")" "$(shown "$WORK/a.tar")"
is "the archive is its caller's" "$(stat -c %a "$WORK/b.tar")" 600
fails "what is not there" 4 'no volume' hyb volume export none -o "$WORK/none.tar"
[ ! -e "$WORK/none.tar" ] && ok "and no file is made" || not_ok "and no file is made"
check "what was exported can be imported, from a pipe too" sh -c "cat $WORK/b.tar | hyb volume import again - --size 32m"
check "export that" hyb volume export again -o "$WORK/c.tar"
is "the same again" "$(shown "$WORK/c.tar")" "$(shown "$WORK/a.tar")"

# ------------------------------------------------ in use, snapshots, killed
check "deploy" hyb deploy "$WORK/x.yaml"
c() { hyb exec x/v/c -- sh -c "$1"; }
check "a file" c 'echo one >/d/f; sync'
check "a volume that is in use can be exported" hyb volume export x/d -o "$WORK/d.tar"
is "as it is then" "$(tar -xOf "$WORK/d.tar" ./f)" one
check "the container goes on writing" c 'echo two >/d/f && sync'
is "no copy is left" "$(hyb volume inspect x/d | jq '.snapshots | length') $(find "$HYB_ROOT/volumes" -name 'snap-*' | wc -l)" "0 0"
check "snapshot" hyb volume snapshot x/d@s
check "a change after it" c 'echo three >/d/f && sync'
is "a snapshot is exported" "$(hyb volume export x/d@s | tar -xOf - ./f)" two
kill_9 "$(vm_field x/v qemu_pid)"
vm_ended() { [ "$(hyb volume ls -o json | jq -r '.[] | select(.name == "x/d") | .state')" = ready ]; }
await "the VM is killed" 90 vm_ended
dirty() { dumpe2fs -h "$(hyb volume inspect x/d | jq -r .path)" 2>/dev/null | grep -c needs_recovery; }
is "its journal is to be replayed" "$(dirty)" 1
is "the export has what was synced" "$(hyb volume export x/d | tar -xOf - ./f)" three
is "and leaves the journal to the volume's next user" "$(dirty)" 1
is "no copy is left of it either" "$(find "$HYB_ROOT/volumes" -name 'snap-*' | wc -l)" 1
mkfifo "$WORK/slow"
imports() { vols | grep -q '^half '; }
hyb volume import half "$WORK/slow" --size 64m >"$WORK/half.out" 2>&1 &
HALF=$!
exec 7>"$WORK/slow"
head -c 2m "$WORK/big.tar" >&7
await "an import is under way" 90 imports
fails "nobody uses it meanwhile" 1 'in use|imported' hyb volume rm half
kill_9 "$(hybd_pid)"
is "hybd is killed: the import is gone with all it had" "$(hyb volume ls -o json | jq -r '.[].name' | tr '\n' ' ')" "again v x/d "
exec 7>&-
wait $HALF
[ $? != 0 ] && ok "and says so" || not_ok "and says so"
await "its VM too" 60 sh -c "[ -z \"\$(ls '$HYB_ROOT/vms')\" ]"
hyb volume import half "$WORK/slow" --size 64m >/dev/null 2>&1 &
HALF=$!
exec 7>"$WORK/slow"
head -c 2m "$WORK/big.tar" >&7
await "another" 90 imports
kill_9 $HALF
exec 7>&-
half_gone() { ! imports && [ -z "$(ls "$HYB_ROOT/vms")" ]; }
await "its client is killed: it is gone" 60 half_gone
hyb volume export v >"$WORK/slow" &
HALF=$!
exec 7<"$WORK/slow"
head -c 1000 <&7 >/dev/null
mkfifo "$WORK/slow2"
hyb volume export v >"$WORK/slow2" &
SECOND=$!
exec 8<"$WORK/slow2"
head -c 1000 <&8 >/dev/null
is "its VM is no leftover" "$(hyb doctor --repair -o json | jq -r '.[] | select(.name == "leftovers").message')" "0 VMs that no stack has, 0 removed"
fails "a tenant has two at once" 1 "2 volumes of the tenant .* no more at once" hyb volume export v -o "$WORK/third"
kill_9 $SECOND
exec 8<&-
kill_9 $HALF
exec 7<&-
await "an export whose client is killed leaves the volume as it was" 60 sh -c "[ -z \"\$(ls '$HYB_ROOT/vms')\" ] && hyb volume ls -o json | jq -e '.[] | select(.name == \"v\") | .state == \"ready\"'"
check "it can be removed" hyb volume rm v
check "down" hyb down --volumes x
