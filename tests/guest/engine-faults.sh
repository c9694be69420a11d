#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every call that `hyb-runtime create` makes is made to fail in turn (strace
# injects the error, in parent and child): the creation must fail, and leave
# no process, mount, cgroup or state behind. The same for one in a user and a
# mount namespace of others, and for start, exec and delete. Prints TAP.
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
# In a user and a mount namespace of others, with mapped ids and a copy up.
mkdir -p "$work/j/rootfs"/{bin,etc,proc,sys,dev,map,seed} "$work/source"
cp "$work/b/rootfs/bin/true" "$work/j/rootfs/bin/true"
echo one >"$work/j/rootfs/seed/one"
ln -s one "$work/j/rootfs/seed/two"
mkdir "$work/j/rootfs/seed/three"
chown -R 65536000:65536000 "$work/j/rootfs"
chmod 755 "$work/j" "$work/source"
mkfifo "$work/held"
unshare -U -m sh -c 'echo $$ >"$1/holder"; exec cat "$1/held"' sh "$work" &
exec 7>"$work/held"
trap 'exec 7>&-; wait; rm -rf "$work"' EXIT
until [ -s "$work/holder" ]; do sleep 0.1; done
holder=$(cat "$work/holder")
echo "0 65536000 65536" >"/proc/$holder/uid_map"
echo "0 65536000 65536" >"/proc/$holder/gid_map"
cat >"$work/j/config.json" <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/true"],"cwd":"/","env":["PATH=/bin"]},"root":{"path":"rootfs"},
"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/seed","type":"tmpfs","source":"t","options":["tmpcopyup"]},
{"destination":"/map","type":"bind","source":"$work/source","options":["bind"],
"uidMappings":[{"containerID":0,"hostID":65536005,"size":1}],"gidMappings":[{"containerID":0,"hostID":65536006,"size":1}]}],
"linux":{"namespaces":[{"type":"pid"},{"type":"user","path":"/proc/$holder/ns/user"},{"type":"mount","path":"/proc/$holder/ns/mnt"}]}}
E
# One that lives, for exec.
mkdir -p "$work/l"
sed 's#"/bin/true"#"/bin/true","sleep","1000"#; s#"rootfs"#"'"$work"'/b/rootfs"#' "$work/b/config.json" >"$work/l/config.json"
cp "$(command -v busybox)" "$work/b/rootfs/bin/busybox"
sed -i 's#"/bin/true","sleep"#"/bin/busybox","sleep"#' "$work/l/config.json"

cgroups() { ls -d /sys/fs/cgroup/hyb/fault* /sys/fs/cgroup/unified/hyb/fault* 2>/dev/null | wc -l; }
# Processes of the runtime on this state folder.
processes() {
	local p n=0 line
	for p in /proc/[0-9]*; do
		line=
		IFS= read -r -d '' line <"$p/cmdline" || :
		case $line in "$runtime") grep -qaF -- "$work/root" "$p/cmdline" && n=$((n + 1)) ;; esac
	done 2>/dev/null
	echo $n
}
mounts() { cat /proc/self/mounts "/proc/$holder/mounts" | grep -c "hyb-rootfs\|$work"; }
# What a container called fault has left.
left() { echo "$(cgroups) $(mounts) $(ls "$work/root" 2>/dev/null | grep -c fault) $(processes)"; }
# A process that ends may take its time.
gone() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$(left)" != "0 0 0 0" ] || return 0
		sleep 0.1
	done
	return 1
}
rt() { "$runtime" --root "$work/root" "$@"; }
# run CALL NTH VERB...: its exit code where that call fails
run() {
	local call=$1 nth=$2
	shift 2
	timeout 120 strace --seccomp-bpf -D -f -qq -o /dev/null -e trace="$call" \
		-e inject="$call:error=ENOMEM:when=$nth" "$runtime" --root "$work/root" "$@" >"$work/out" 2>&1 </dev/null
}
n=0 bad=0 total=0

# The ways, each: try CALL NTH, then what must hold; why is set where it does not.
# Where create tolerates a failure it must have made a whole container.
create() {
	run "$1" "$2" create -b "$work/$bundle" fault
	code=$?
	if [ $code = 0 ] && ! rt delete -f fault >/dev/null 2>&1; then
		why="created, but cannot be deleted"
	fi
}
# A start that fails leaves what can be deleted.
start() {
	rt create -b "$work/$bundle" fault >"$work/out" 2>&1 </dev/null || why="not created"
	run "$1" "$2" start fault
	code=$?
	rt delete -f fault >"$work/out2" 2>&1 || why="not deleted: $(cat "$work/out2")"
}
# An exec that fails leaves the container alone, and no second process in it.
execs() {
	local i=0
	run "$1" "$2" exec fault /bin/true
	code=$?
	while [ "$(rt ps fault 2>/dev/null | grep -c busybox)$(processes)" != 10 ] && [ $i -lt 600 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	[ $i -lt 600 ] || why="the container has: $(rt ps fault 2>&1 | tail -n +2 | tr '\n' ';'), processes of the runtime: $(processes)"
}
# A delete that fails is done by the next one.
delete() {
	rt create -b "$work/$bundle" fault >"$work/out" 2>&1 </dev/null || why="not created"
	run "$1" "$2" delete -f fault
	code=$?
	if [ $code != 0 ]; then
		rt delete -f fault >"$work/out2" 2>&1 || why="not deleted by the second one: $(cat "$work/out2")"
	fi
}
# faults WAY CALL...: each call fails the first time, the second, and so on. It
# is through when two in a row fail nobody: there is none left to fail. Of a
# call that is made often only every fifth from the tenth on.
faults() {
	local way=$1 call nth through failed whole=
	shift
	[ "$way" != execs ] || whole=1
	for call in "$@"; do
		nth=1 through=0 failed=0 why=
		while [ $nth -le 100 ] && [ $through -lt 2 ] && [ -z "$why" ]; do
			"$way" "$call" $nth
			total=$((total + 1))
			if [ $code = 0 ]; then
				through=$((through + 1))
			else
				through=0 failed=$((failed + 1))
			fi
			[ -n "$whole" ] || gone ||
				why="leaves cgroups, mounts, states, processes: $(left)"
			# Coming back from a namespace must not fail: the process ends.
			case $call:$code in
			setns:134) code=1 ;;
			*:124 | *:134 | *:139) why="exit $code" ;;
			esac
			[ -n "$why" ] || nth=$((nth < 10 || through ? nth + 1 : nth + 5))
		done
		n=$((n + 1))
		if [ -z "$why" ]; then
			echo "ok $n - $way${bundle:+ of $bundle}: $call: $failed faults"
		else
			echo "not ok $n - $way${bundle:+ of $bundle}: $call"
			echo "# fault $nth (exit $code: $(head -c 200 "$work/out")): $why"
			bad=$((bad + 1))
			[ -n "$whole" ] || rt delete -f fault >/dev/null 2>&1
		fi
	done
}

for bundle in b j; do
	if ! run fsopen 9999 create -b "$work/$bundle" fault; then
		echo "not ok 1 - creation without a fault: $bundle"
		sed 's/^/# /' "$work/out"
		exit 1
	fi
	rt delete -f fault
done
bundle=b
faults create clone3 socketpair recvmsg sendto fsopen fsconfig fsmount move_mount open_tree \
	mount_setattr openat2 mknodat symlinkat fchownat mkdirat mount pivot_root umount2 fchdir chdir \
	setresuid setresgid setgroups pipe2 write capset prctl unshare sethostname setsid close_range prlimit64 \
	bpf bind listen mkdir rename fsync
bundle=j
faults create setns clone3 pipe2 open_tree mount_setattr move_mount umount2 fchdir chroot \
	fchownat fchmodat mkdirat symlinkat statx openat2 setresuid read
bundle=b
faults start connect sendto recvmsg unlinkat socket
faults delete pidfd_send_signal waitid poll unlinkat openat write
bundle=l
if ! rt create -b "$work/l" fault >"$work/out" 2>&1 </dev/null || ! rt start fault; then
	echo "not ok $((n + 1)) - one that lives"
	exit 1
fi
faults execs setns clone3 socketpair recvmsg sendto openat openat2 pidfd_open fchdir fcntl dup2 \
	setresuid setresgid setgroups prctl capset prlimit64 close_range setsid seccomp
n=$((n + 1))
rt delete -f fault
if gone; then
	echo "ok $n - nothing is left after all of them"
else
	echo "not ok $n - nothing is left after all of them"
	echo "# $(left)"
	bad=$((bad + 1))
fi
echo "# $total with a fault"
echo "1..$n"
[ $bad = 0 ]
