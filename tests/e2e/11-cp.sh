#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hyb cp: trees both ways, streams, and a container that plays tricks.
. "$(dirname "$0")/lib.sh"

cat >"$WORK/c.yaml" <<'Y'
hyb: 1
name: c
vms:
  v:
    resources: { memory: 512m }
    containers:
      a: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 1s }
      mean: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 1s }
      ended: { image: busybox, command: "true", restart: no }
Y
load_images
check "deploy" hyb deploy "$WORK/c.yaml"
in_a() { hyb exec c/v/a -- sh -c "$1"; }
cd "$WORK" || exit 2

# A tree there and back: names of any bytes, an empty file, holes, modes, times,
# links, hard links, FIFOs, user attributes.
python3 - tree <<'P'
import os, sys
t = sys.argv[1].encode()
os.makedirs(t + b"/d/empty")
os.makedirs(t + b"/d/deep/" + b"/".join([b"x"] * 20))
open(t + b"/zero", "w").close()
open(t + b"/na\xff\xfeme \n\x1b[31m'\"", "wb").write(b"odd")
open(t + b"/" + b"l" * 255, "wb").write(b"long")
with open(t + b"/sparse", "wb") as f:
    f.truncate(64 << 20)
    f.seek(32 << 20)
    f.write(os.urandom(100000))
open(t + b"/random", "wb").write(os.urandom(5 << 20))
open(t + b"/d/mode", "wb").write(b"m")
os.chmod(t + b"/d/mode", 0o751)
os.symlink(b"../zero", t + b"/d/link")
os.symlink(b"/etc/passwd", t + b"/d/abs")
os.link(t + b"/random", t + b"/d/hard")
os.mkfifo(t + b"/fifo")
try:
    os.setxattr(t + b"/d/mode", b"user.k", b"v\0w")
except OSError:
    pass
os.utime(t + b"/zero", ns=(1, 1234567890123456789))
os.chmod(t + b"/d/empty", 0o500)
os.utime(t + b"/d/empty", ns=(1, 1000000000 * 10**9))
P
cat >sum.py <<'P'
# What a tree is, byte by byte.
import hashlib, os, stat, sys
top, owners = sys.argv[1].encode(), len(sys.argv) > 2
seen = {}
for d, ds, fs in sorted(os.walk(top)):
    for n in sorted(ds + fs) + ([b""] if d == top else []):
        p = os.path.join(d, n) if n else d
        s = os.lstat(p)
        w = [os.path.relpath(p, top), stat.S_IFMT(s.st_mode), s.st_mode & 0o7777]
        if not stat.S_ISLNK(s.st_mode) and not stat.S_ISFIFO(s.st_mode):
            w.append(s.st_mtime_ns)
        if stat.S_ISREG(s.st_mode):
            w += [s.st_size, hashlib.sha256(open(p, "rb").read()).hexdigest()]
            if s.st_nlink > 1:
                w.append(seen.setdefault(s.st_ino, len(seen)))
        if stat.S_ISLNK(s.st_mode):
            w.append(os.readlink(p))
        if owners:
            w += [s.st_uid, s.st_gid]
        print(w)
P
python3 sum.py tree >tree.sum
like "in" "$(hyb cp tree c/v/a:/tmp/there 2>&1)" "^hyb: copied 3[0-9] files, "
is "holes stay holes" "$(in_a 'du -k /tmp/there/sparse | cut -f1 | sed "s/^...$/few/"')" few
is "an empty file" "$(in_a 'stat -c "%s %F" /tmp/there/zero')" "0 regular empty file"
is "owned by its root" "$(in_a 'stat -c %u:%g /tmp/there/d/mode')" "0:0"
check "out" hyb cp -q c/v/a:/tmp/there back
check "the same tree, byte for byte" diff <(python3 sum.py back) tree.sum
is "not more on disk" "$(du -k back/sparse | awk '{print $1 < 1000}')" 1

# Where it goes, as docker cp says.
in_a 'mkdir -p /tmp/dir; echo hello >/tmp/file; ln -s file /tmp/link'
echo f >f
hyb cp -q f c/v/a:/tmp/new
hyb cp -q f c/v/a:/tmp/dir
hyb cp -q f c/v/a:/tmp/dir/g
hyb cp -q f c/v/a:tmp/rel
is "a file to a name, into a folder" "$(in_a 'cat /tmp/new /tmp/dir/f /tmp/dir/g /tmp/rel' | tr '\n' ' ')" "f f f f "
mkdir -p s/sub && echo 1 >s/sub/one
hyb cp -q s c/v/a:/tmp/dir && hyb cp -q s/. c/v/a:/tmp/dir && hyb cp -q s c/v/a:/tmp/fresh
is "a folder into one, its contents, and to a new name" "$(in_a 'cd /tmp; find dir/s dir/sub fresh -type f | sort | tr "\n" " "')" "dir/s/sub/one dir/sub/one fresh/sub/one "
fails "no parent" 4 "its folder '/tmp/no/'" hyb cp f c/v/a:/tmp/no/where
fails "a folder that is none" 4 "there is no such folder" hyb cp f c/v/a:/tmp/nodir/
fails "a folder over a file" 1 "cannot be put in its place" hyb cp s c/v/a:/tmp/file
check "over a file" hyb cp -q f c/v/a:/tmp/file
is "it is that" "$(in_a 'cat /tmp/file')" f
hyb cp -q c/v/a:/tmp/link l1 && hyb cp -qL c/v/a:/tmp/link l2
is "a link, and what it points to" "$(readlink l1) $(stat -c %F l2)" "file regular file"
fails "what is not there" 4 "'/tmp/nothing': No such file" hyb cp c/v/a:/tmp/nothing x
fails "no parent here" 4 "its folder" hyb cp c/v/a:/tmp/file no/where
fails "not readable here" 4 "'nothing': No such file" hyb cp nothing c/v/a:/tmp
fails "no archive on a terminal" 2 "not written to a terminal" script -qec "hyb cp c/v/a:/tmp -" /dev/null
check "proc is a folder" hyb cp -q c/v/a:/proc proc
is "without its files" "$(ls proc | wc -l)" 0

# Owners.
in_a 'echo o >/tmp/o; chown 1234:567 /tmp/o; chmod 4711 /tmp/o'
hyb cp -q c/v/a:/tmp/o o1 && hyb cp -qa c/v/a:/tmp/o o2
is "the caller's, or with -a as they are; no set-id bits" "$(stat -c '%u:%g %a' o1 o2 | tr '\n' ' ')" "0:0 711 1234:567 711 "
hyb cp -qa o2 c/v/a:/tmp/o3
is "and there" "$(in_a 'stat -c "%u:%g %a" /tmp/o3')" "1234:567 711"

# Streams.
tar --format=posix -cf - tree | hyb cp -q - c/v/a:/tmp/dir
is "a tar in" $? 0
hyb cp -q c/v/a:/tmp/dir/tree - >out.tar
mkdir un
check "a tar out, which tar reads" tar -C un -xf out.tar
check "the same tree" diff <(python3 sum.py un/tree) tree.sum
# A guest makes holes with a number.
in_a 'cd /tmp; mkdir huge; echo begin >huge/a; truncate -s 300000000000 huge/a; echo end >>huge/a; truncate -s 4000000000000 huge/b'
check "a tar of huge holes, to a file" sh -c 'hyb cp -q c/v/a:/tmp/huge - >huge.tar'
is "is one with holes" "$(du -k huge.tar | awk '{ print $1 < 4096 }') $(tar -tvf huge.tar | awk '{ print $3, $6 }' | sort | tr '\n' ' ')" "1 0 huge/ 300000000004 huge/a 4000000000000 huge/b "
fails "not into a pipe" 1 "holes of more than 1t" bash -c 'hyb cp c/v/a:/tmp/huge/b - > >(cat >/dev/null)'
echo before >huge.tar
like "nor behind what is in a file" "$(hyb cp c/v/a:/tmp/huge/b - 2>&1 1<>huge.tar)" "holes of more than 1t"
hyb cp -q c/v/a:/tmp/huge huge
is "to a folder with its holes" "$(stat -c %s huge/a huge/b | tr '\n' ' ') $(du -sk huge | awk '{ print $1 < 4096 }')" "300000000004 4000000000000  1"
rm -r huge huge.tar
tar -C tree -czf z.tgz d
fails "a compressed one" 1 "archive" sh -c 'hyb cp - c/v/a:/tmp/dir <z.tgz'
fails "into what is no folder" 1 "is no folder" sh -c 'tar -cf - f | hyb cp - c/v/a:/tmp/file'
fails "into what is not there" 4 "no such folder" sh -c 'tar -cf - f | hyb cp - c/v/a:/tmp/nodir'
python3 - <<'P'
import io, tarfile
def tar(name, *entries):
    with tarfile.open(name, "w") as t:
        for n, kind, link in entries:
            i = tarfile.TarInfo(n)
            i.type, i.linkname = kind, link
            i.size = 3 if kind == tarfile.REGTYPE else 0
            t.addfile(i, io.BytesIO(b"bad") if i.size else None)
R, S, L = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
tar("abs.tar", ("/tmp/abs", R, ""))
tar("up.tar", ("x/../../up", R, ""))
tar("through.tar", ("etc", S, "/etc"), ("etc/through", R, ""))
tar("hard.tar", ("h", L, "../../etc/passwd"))
tar("dev.tar", ("null", tarfile.CHRTYPE, ""), ("ok", R, ""))
P
fails "an absolute name" 1 "is absolute" sh -c 'hyb cp - c/v/a:/tmp/dir <abs.tar'
fails "a name that leads out" 1 "leads out" sh -c 'hyb cp - c/v/a:/tmp/dir <up.tar'
fails "through a link of the archive's own" 1 "nothing is put through it" sh -c 'hyb cp - c/v/a:/tmp/dir <through.tar'
fails "a hard link that leads out" 1 "leads out" sh -c 'hyb cp - c/v/a:/tmp/dir <hard.tar'
like "devices are left out" "$(hyb cp - c/v/a:/tmp/dir <dev.tar 2>&1)" "1 left out"
is "none of them was written" "$(in_a 'ls /tmp/abs /tmp/up /up /etc/through 2>/dev/null; cat /tmp/dir/ok')" bad
head -c 2000000 out.tar >cut.tar
fails "a cut archive" 1 "is cut" sh -c 'hyb cp - c/v/a:/tmp/dir <cut.tar'

# A container that plays tricks. What a path means is its own affair; the host
# and the VM are never reached.
hyb exec c/v/mean -- sh -c 'rm -rf /tmp/x; ln -s / /tmp/root; ln -s ../../../../../../etc /tmp/up; ln -s /proc/1/root /tmp/init
mkdir /tmp/t; ln -s /etc /tmp/t/etc; echo in >/tmp/t/file; mkdir -p /tmp/swap/d; echo swap >/tmp/swap/d/f'
is "its root is its root" "$(hyb cp -q c/v/mean:/tmp/root/etc/group h; cat h)" "$(hyb exec c/v/mean -- cat /etc/group)"
hyb cp -q c/v/mean:/tmp/up/passwd p1
is "and .. ends there" "$(cat p1)" "$(hyb exec c/v/mean -- cat /etc/passwd)"
echo mine >evil
hyb cp -q evil c/v/mean:/tmp/up/evil
is "writing too" "$(hyb exec c/v/mean -- cat /etc/evil) $(ls /etc/evil 2>/dev/null)" "mine "
fails "no file of the agent's" 1 "Permission denied" hyb cp c/v/mean:/tmp/init/init x
hyb cp -q c/v/mean:/tmp/t t
is "links inside are links" "$(readlink t/etc) $(cat t/file)" "/etc in"
mkdir -p victim && ln -s "$WORK/elsewhere" victim/swap && mkdir elsewhere
fails "nothing is put through a link that is there" 1 "nothing is put through a link" hyb cp c/v/mean:/tmp/swap victim
is "nothing came elsewhere" "$(ls elsewhere)" ""
# CVE-2018-15664: a component that is a folder and a link by turns.
hyb exec c/v/mean -- sh -c 'cd /tmp/swap; ln -s / l; while [ ! -e /tmp/stop ]; do mv -T d e; mv -T l d; mv -T d l; mv -T e d; done' >/dev/null 2>&1 &
for i in $(seq 10); do
	hyb cp -q "c/v/mean:/tmp/swap" "race$i" >/dev/null 2>&1
	hyb cp -q evil c/v/mean:/tmp/swap/d/evil-race >/dev/null 2>&1
done
hyb exec c/v/mean -- touch /tmp/stop
wait
is "a race gets nothing of ours" "$(find race* -name shadow -o -name hyb-agent | wc -l) $(ls / | grep -c evil-race)" "0 0"

# What cannot be.
fails "one that has ended" 1 "is exited, not running" hyb cp c/v/ended:/etc x
hyb pause c/v/mean >/dev/null
fails "one that is paused" 1 "is paused, not running" hyb cp c/v/mean:/etc x
hyb resume c/v/mean >/dev/null
fails "no such container" 4 "not found" hyb cp c/v/nothere:/etc x
fails "two here" 2 "one of SRC and DST" hyb cp a b
fails "two there" 2 "one of SRC and DST" hyb cp c/v/a:/x c/v/mean:/y
fails "one word" 2 "DST" hyb cp a
# A disk that is full, a stream that is cut.
fails "no space there" 1 "No space left" sh -c 'head -c 600M /dev/zero >big; hyb cp big c/v/a:/dev/shm/big'
is "half a file is none" "$(in_a 'ls /dev/shm')" ""
hyb cp -q c/v/a:/dev/shm shm
in_a 'head -c 100000000 /dev/zero >/tmp/big'
hyb cp c/v/a:/tmp/big cut >/dev/null 2>cut.err &
P=$!
while kill -0 $P 2>/dev/null && [ ! -s cut ]; do sleep 0.02; done
kill -9 "$(vm_field c/v qemu_pid)"
wait $P
S=$?
if [ $S = 0 ] || { [ $S = 1 ] && grep -q "stream ended early\|reset" cut.err; }; then ok "a guest that goes ($S)"; else not_ok "a guest that goes" "$S: $(cat cut.err)"; fi
[ $S = 0 ] || is "half a file is none here" "$(ls cut 2>/dev/null)" ""
cd "$TOP" || exit 2
check "down" hyb down c
