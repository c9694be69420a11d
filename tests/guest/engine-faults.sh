#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every call that `hyb-runtime create` makes is made to fail in turn (strace
# injects the error, in parent and child): the creation must fail, and leave
# no process, mount, cgroup or state behind. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
runtime=$PWD/build/default/bin/hyb-runtime
skip() { echo "ok 1 - faults # skip $1"; echo "1..1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "host: not root"
command -v strace >/dev/null || skip "host: no strace"
[ -x "$runtime" ] || { echo "not ok 1 - $runtime is not built"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-faults.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/b/rootfs"/{bin,etc,proc,sys,dev}
cp "$(command -v busybox)" "$work/b/rootfs/bin/true"
echo 'root:x:0:0::/root:/bin/sh' >"$work/b/rootfs/etc/passwd"
chown -R 65536000:65536000 "$work/b/rootfs"
chmod 755 "$work" "$work/b"
cat >"$work/b/config.json" <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/true"],"cwd":"/","env":["PATH=/bin"]},
"root":{"path":"rootfs","readonly":true},"hostname":"box",
"mounts":[{"destination":"/mnt","type":"bind","source":"/usr","options":["rbind","ro"]}],
"annotations":{"io.hyb.ids":"65536000"},
"linux":{"namespaces":[{"type":"network"},{"type":"time"}],"timeOffsets":{"boottime":{"secs":5}},"sysctl":{"kernel.msgmax":"4096"},"rootfsPropagation":"private"}}
E
cgroups() { ls -d /sys/fs/cgroup/hyb/fault* /sys/fs/cgroup/unified/hyb/fault* 2>/dev/null | wc -l; }
# Processes of the runtime on this state folder.
processes() {
	local p n=0 line
	for p in /proc/[0-9]*; do
		line=$(cat "$p/cmdline" 2>/dev/null | tr '\0' ' ')
		case $line in "$runtime --root $work"*) n=$((n + 1)) ;; esac
	done
	echo $n
}
mounts() { grep -c "hyb-rootfs\|$work" /proc/self/mounts; }
n=0 bad=0 total=0
run() { # run CALL ERROR NTH: the exit code of create
	timeout 120 strace -D -f -qq -o /dev/null -e trace="$1" -e inject="$1:error=$2:when=$3" \
		"$runtime" --root "$work/root" create -b "$work/b" fault >"$work/out" 2>&1 </dev/null
}
if ! run fsopen ENOMEM 9999; then
	echo "not ok 1 - creation without a fault"
	sed 's/^/# /' "$work/out"
	exit 1
fi
"$runtime" --root "$work/root" delete -f fault
# Where create tolerates a failure it must have made a whole container. A call
# is through when two in a row fail nobody: there is none left to fail.
calls="clone3 socketpair recvmsg sendto fsopen fsconfig fsmount move_mount open_tree
mount_setattr openat2 mknodat symlinkat fchownat mkdirat mount pivot_root umount2 fchdir chdir
setresuid setresgid setgroups pipe2 write capset prctl unshare sethostname setsid close_range prlimit64
bpf bind listen mkdir rename fsync"
for call in $calls; do
	nth=1 ok=1 failed=0 through=0
	while [ $nth -le 60 ]; do
		run "$call" ENOMEM $nth
		code=$?
		total=$((total + 1))
		if [ $code = 0 ]; then
			if ! "$runtime" --root "$work/root" delete -f fault >/dev/null 2>&1; then
				ok=0 why="fault $nth: created, but cannot be deleted"
			fi
			through=$((through + 1))
		else
			through=0
			failed=$((failed + 1))
		fi
		for _ in $(seq 300); do
			left="$(cgroups) $(mounts) $(ls "$work/root" 2>/dev/null | grep -c fault) $(processes)"
			[ "$left" = "0 0 0 0" ] && break
			sleep 0.1
		done
		if [ "$left" != "0 0 0 0" ]; then
			ok=0 why="fault $nth (exit $code: $(head -c 200 "$work/out")) leaves cgroups, mounts, states, processes: $left"
			"$runtime" --root "$work/root" delete -f fault >/dev/null 2>&1
		fi
		[ $code -lt 124 ] || { ok=0 why="fault $nth: exit $code"; }
		[ $ok = 1 ] && [ $through -lt 2 ] || break
		nth=$((nth + 1))
	done
	n=$((n + 1))
	if [ $ok = 1 ]; then
		echo "ok $n - $call: $failed faults"
	else
		echo "not ok $n - $call"
		echo "# $why"
		bad=$((bad + 1))
	fi
done
echo "# $total creations"
echo "1..$n"
[ $bad = 0 ]
