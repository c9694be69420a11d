# SPDX-License-Identifier: Apache-2.0
# The runtime specification's corners: hooks of the container's own
# namespaces, scheduling, time and joined namespaces, mounts. Sourced by
# tests.sh, in the VM.
FULL=/run/full
mkdir -p $FULL/rootfs
mount -t tmpfs full $FULL/rootfs
mkdir -p $FULL/rootfs/bin $FULL/rootfs/proc $FULL/rootfs/dev $FULL/rootfs/sys \
	$FULL/rootfs/tmp $FULL/rootfs/etc $FULL/rootfs/run
cp /bin/busybox $FULL/rootfs/bin/busybox
/bin/busybox --list | grep -vx busybox | while read -r a; do ln -sf busybox $FULL/rootfs/bin/$a; done
cat >$FULL/rootfs/bin/hook <<'E'
#!/bin/sh
/bin/cat >/tmp/hook.$1
/bin/readlink /proc/self/ns/mnt >>/tmp/hook.$1
[ "$2" != fail ] || exit 3
[ "$2" != hang ] || exec /bin/sleep 60
E
chmod 755 $FULL/rootfs/bin/hook

PROC='{"destination":"/proc","type":"proc","source":"proc"}'
# full SCRIPT [KEY=VALUE...]: top (members), proc (of process), mounts, ns, lx
full() {
	top='' proc='' mounts="$PROC" ns='{"type":"pid"},{"type":"mount"}' lx='' script=$1
	shift
	for kv in "$@"; do eval "${kv%%=*}=\${kv#*=}"; done
	cat >$FULL/config.json <<E
{"ociVersion":"1.2.0"$top,"process":{"args":["/bin/sh","-c","$script"],"cwd":"/","env":["PATH=/bin"]$proc},
"root":{"path":"rootfs"},"mounts":[$mounts],"linux":{"namespaces":[$ns]$lx}}
E
	{
		$RT create -b $FULL f1 </dev/null 2>/run/err
		echo $? >/run/st
		[ "$(cat /run/st)" != 0 ] || {
			$RT start f1 2>>/run/err
			echo $? >/run/st
		}
	} | timeout 120 cat >/run/out
	wait_stopped f1
	st=$(cat /run/st) out=$(cat /run/out) err=$(cat /run/err)
	$RT delete -f f1
}
gives() { # gives TITLE WANT SCRIPT [KEY=VALUE...]
	t=$1 w=$2
	shift 2
	full "$@"
	is "$t" "$out${err:+ [$err]}" "$w"
}
refused() { # refused TITLE WORDS [KEY=VALUE...]
	t=$1 w=$2
	shift 2
	full "echo ran" "$@"
	if [ "$st" != 0 ]; then like "$t" "$err" "$w"; else not_ok "$t" "it was not refused: $out"; fi
}

# -------------------------------------------------- hooks in the container
h() { echo "\"$1\":[{\"path\":\"$4/bin/hook\",\"args\":[\"hook\",\"$1\",\"$2\"],\"timeout\":${3:-20}}]"; }
rm -f /tmp/hook.*
full "echo ran" top=",\"hooks\":{$(h createContainer '' 20 $FULL/rootfs),$(h startContainer)}"
is "createContainer and startContainer run" "$st $out$err" "0 ran"
like "createContainer reads the state, with the container's word for its pid" \
	"$(cat /tmp/hook.createContainer)" '"status":"creating","bundle":"/run/full"'
like "which is 1 in a pid namespace of its own" "$(cat /tmp/hook.createContainer)" '"pid":1}'
unlike "createContainer runs in the container's mount namespace" "$(cat /tmp/hook.createContainer)" "$(readlink /proc/self/ns/mnt)"
like "startContainer reads the state" "$(cat $FULL/rootfs/tmp/hook.startContainer)" '"status":"created"'
is "and runs inside the root" "$(ls /tmp/hook.startContainer 2>/dev/null)" ""
full "echo ran" top=",\"hooks\":{$(h createContainer fail 20 $FULL/rootfs)}"
is "a createContainer that fails stops the creation" "$st $out" "1 "
like "and is named" "$err" "createContainer[0]: /run/full/rootfs/bin/hook"
full "echo ran" top=",\"hooks\":{$(h startContainer fail)}"
is "a startContainer that fails stops the start" "$st $out" "1 "
like "and is named, too" "$err" "startContainer[0]: /bin/hook"
full "echo ran" top=",\"hooks\":{$(h startContainer hang 1)}"
is "one that hangs is ended" "$st $out" "1 "
refused "a relative path of a hook" "hooks.startContainer[0].path: must be absolute" \
	top=',"hooks":{"startContainer":[{"path":"bin/hook"}]}'

# ------------------------------------------------------------- the process
stat_field() { echo "cut -d')' -f2- /proc/self/stat | cut -d' ' -f$(($1 - 1))"; }
gives "scheduler: SCHED_BATCH with a nice value" "3 5" "echo \$($(stat_field 41)) \$($(stat_field 19))" \
	proc=',"scheduler":{"policy":"SCHED_BATCH","nice":5}'
gives "scheduler: SCHED_FIFO with a priority" "1 7" "echo \$($(stat_field 41)) \$($(stat_field 40))" \
	proc=',"scheduler":{"policy":"SCHED_FIFO","priority":7}'
gives "scheduler: reset on fork" "0" "echo \$($(stat_field 41))" \
	proc=',"scheduler":{"policy":"SCHED_FIFO","priority":7,"flags":["SCHED_FLAG_RESET_ON_FORK"]}'
refused "an unknown policy" "process.scheduler.policy: unknown 'SCHED_MINE'" proc=',"scheduler":{"policy":"SCHED_MINE"}'
refused "an unknown flag" "process.scheduler.flags[0]: unknown" proc=',"scheduler":{"policy":"SCHED_OTHER","flags":["F"]}'
refused "a nice value of a real-time policy" "process.scheduler.nice" proc=',"scheduler":{"policy":"SCHED_RR","nice":1,"priority":1}'
refused "a real-time policy without priority" "process.scheduler.priority" proc=',"scheduler":{"policy":"SCHED_RR"}'
refused "a runtime of another policy" "process.scheduler.runtime" proc=',"scheduler":{"policy":"SCHED_OTHER","runtime":5}'
gives "ioPriority" "best-effort: prio 6" "ionice -p 1" proc=',"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":6}'
refused "an unknown class of ioPriority" "process.ioPriority.class: unknown 'X'" proc=',"ioPriority":{"class":"X","priority":1}'
full "echo ran" proc=',"capabilities":{"bounding":["CAP_KILL","CAP_TOMORROW"],"ambient":["CAP_KILL"]}'
is "an unknown capability is no error" "$st $out" "0 ran"
like "but a warning" "$err" "process.capabilities.bounding: 'CAP_TOMORROW' is unknown"
like "as is one that cannot be ambient" "$err" "process.capabilities.ambient"
full "echo ran" top=',"windows":{"layerFolders":["x"]},"solaris":{},"freebsd":{},"zos":{},"vm":{}'
is "sections of other platforms are no error" "$st $out" "0 ran"
for section in windows solaris freebsd zos vm; do
	like "but a warning: $section" "$err" "$section: left out: not of this platform"
done
gives "umask" "0027" "umask" proc=',"user":{"uid":0,"gid":0,"umask":23}'
gives "additional groups" "0 5 6" "id -G" proc=',"user":{"uid":0,"gid":0,"additionalGids":[5,6]}'
gives "oomScoreAdj" "123" "cat /proc/self/oom_score_adj" proc=',"oomScoreAdj":123'
refused "a resource limit twice" "process.rlimits[1]: 'RLIMIT_CPU' twice" \
	proc=',"rlimits":[{"type":"RLIMIT_CPU","soft":5,"hard":5},{"type":"RLIMIT_CPU","soft":5,"hard":5}]'
gives "domainname" "example.org" "cat /proc/sys/kernel/domainname" ns='{"type":"pid"},{"type":"mount"},{"type":"uts"}' top=',"domainname":"example.org"'
gives "personality" "i686" "uname -m" lx=',"personality":{"domain":"LINUX32"}'
gives "empty labels are none" "ran" "echo ran" proc=',"apparmorProfile":"","selinuxLabel":""'
refused "an AppArmor profile" "process.apparmorProfile" proc=',"apparmorProfile":"mine"'

# -------------------------------------------------------------- namespaces
TIME='{"type":"pid"},{"type":"mount"},{"type":"time"}'
gives "a time namespace with offsets" "later" \
	'read up rest </proc/uptime; [ ${up%.*} -gt 500000 ] && echo later || echo $up' \
	ns="$TIME" lx=',"timeOffsets":{"monotonic":{"secs":1000},"boottime":{"secs":600000}}'
read -r up rest </proc/uptime
is "the parent's clocks are as they were" "$([ ${up%.*} -lt 500000 ] && echo same)" same
is "and its time namespace" "$(readlink /proc/self/ns/time)" "$(readlink /proc/1/ns/time)"
refused "offsets without a time namespace" "linux.timeOffsets" lx=',"timeOffsets":{"boottime":{"secs":1}}'
refused "a namespace twice" "linux.namespaces[2].type: 'pid' is there twice" ns='{"type":"pid"},{"type":"mount"},{"type":"pid"}'
refused "a path that is another type's" "linux.namespaces[1].path: '/proc/self/ns/ipc' is not a namespace of type 'uts'" \
	ns='{"type":"mount"},{"type":"uts","path":"/proc/self/ns/ipc"}'
refused "a path that is no namespace" "is not a namespace of type 'uts'" ns='{"type":"mount"},{"type":"uts","path":"/proc/version"}'
refused "a path that is missing" "linux.namespaces[1].path: open '/no/ns'" ns='{"type":"mount"},{"type":"uts","path":"/no/ns"}'
refused "an unknown type" "linux.namespaces[1].type: unknown type 'moon'" ns='{"type":"mount"},{"type":"moon"}'
# One that lives, to be joined.
rm -f /run/sleeper
unshare -U -n -i -u -p -f -r sh -c 'echo ready >/run/sleeper; exec sleep 1000' &
unshare=$!
i=0; while [ $i -lt 6000 ] && [ ! -s /run/sleeper ]; do usleep 10000; i=$((i + 1)); done
sleeper=$(cat /proc/$unshare/task/$unshare/children)
sleeper=${sleeper% }
for t in net ipc uts; do
	name=$t
	[ $t != net ] || name=network
	gives "join a namespace: $t" "$(readlink /proc/$sleeper/ns/$t)" "readlink /proc/self/ns/$t" \
		ns="{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"$name\",\"path\":\"/proc/$sleeper/ns/$t\"}"
done
gives "join a pid namespace" "$(readlink /proc/$sleeper/ns/pid)" "readlink /proc/self/ns/pid" \
	ns="{\"type\":\"pid\",\"path\":\"/proc/$sleeper/ns/pid\"},{\"type\":\"mount\"}"
gives "join a user namespace" "$(readlink /proc/$sleeper/ns/user) 0" 'echo $(readlink /proc/self/ns/user) $(id -u)' \
	ns="{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"user\",\"path\":\"/proc/$sleeper/ns/user\"}"
gives "join user and network namespace" "$(readlink /proc/$sleeper/ns/net)" 'readlink /proc/self/ns/net' \
	ns="{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"network\",\"path\":\"/proc/$sleeper/ns/net\"},{\"type\":\"user\",\"path\":\"/proc/$sleeper/ns/user\"}"
gives "mappings beside a joined user namespace say nothing" "$(awk '{print $2}' /proc/$sleeper/uid_map)" "awk '{print \$2}' /proc/self/uid_map" \
	ns="{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"user\",\"path\":\"/proc/$sleeper/ns/user\"}" \
	lx=',"uidMappings":[{"containerID":0,"hostID":1,"size":1}],"gidMappings":[{"containerID":0,"hostID":1,"size":1}]'
kill -9 $sleeper
wait $unshare 2>/dev/null
USERNS='{"type":"pid"},{"type":"mount"},{"type":"user"}'
MAPS=',"uidMappings":[{"containerID":0,"hostID":100000,"size":1000},{"containerID":1000,"hostID":0,"size":1}],"gidMappings":[{"containerID":0,"hostID":100000,"size":1000}]'
chmod 1777 $FULL/rootfs/tmp
gives "mappings of more than one line" "0 100000 1000 1000 0 1" 'echo $(cat /proc/self/uid_map)' ns="$USERNS" lx="$MAPS"
refused "a user without a mapping" "process.user: 5000:0 has no mapping" ns="$USERNS" lx="$MAPS" proc=',"user":{"uid":5000,"gid":0}'
refused "a user namespace without mappings" "linux.uidMappings" ns="$USERNS"

# ------------------------------------------------------------------ mounts
mkdir -p /run/src/sub
mount -t tmpfs src /run/src
mkdir -p /run/src/sub
mount -t tmpfs sub /run/src/sub
echo content >/run/src/sub/file
chown 5:6 /run/src/sub/file
bind() { echo "$PROC,{\"destination\":\"/run/b\",\"type\":\"bind\",\"source\":\"/run/src\",\"options\":[$1]}"; }
try='touch /run/b/x 2>/dev/null && echo rw || echo ro; touch /run/b/sub/x 2>/dev/null && echo rw || echo ro'
gives "bind" "$(printf 'rw\nrw')" "$try" mounts="$(bind '"rbind"')"
gives "ro is of the mount itself" "$(printf 'ro\nrw')" "$try" mounts="$(bind '"rbind","ro"')"
gives "rro is of all below it" "$(printf 'ro\nro')" "$try" mounts="$(bind '"rbind","rro"')"
for word in nosuid nodev noexec noatime nodiratime nosymfollow; do
	full "grep ' /run/b' /proc/self/mounts" mounts="$(bind "\"rbind\",\"r$word\"")"
	is "r$word" "$(echo "$out" | grep -c $word)" 2
	full "grep ' /run/b' /proc/self/mounts" mounts="$(bind "\"rbind\",\"$word\"")"
	is "$word" "$(echo "$out" | grep -c $word)" 1
done
mount -o remount,bind,noexec,nosuid /run/src/sub
full "grep ' /run/b/sub' /proc/self/mounts" mounts="$(bind '"rbind","rexec","rsuid"')"
is "rexec and rsuid take away" "$(echo "$out" | grep -c -e noexec -e nosuid)" 0
for p in private:0 shared:1 slave:1 unbindable:0; do
	mount --make-shared /run/src
	full "grep -c -e ' /run/b .*shared:' -e ' /run/b .*master:' /proc/self/mountinfo" mounts="$(bind "\"bind\",\"${p%:*}\"")"
	is "propagation ${p%:*}" "$out" "${p#*:}"
done
mount --make-private /run/src
gives "bind of a file" "content" "cat /etc/made" \
	mounts="$PROC,{\"destination\":\"/etc/made\",\"type\":\"bind\",\"source\":\"/run/src/sub/file\",\"options\":[\"bind\"]}"
gives "targets are made" "a folder" "[ -d /a/b/c ] && echo a folder" \
	mounts="$PROC,{\"destination\":\"/a/b/c\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}"
gives "a remount changes what is there" "ro" "touch /run/b/x 2>/dev/null && echo rw || echo ro" \
	mounts="$(bind '"bind"'),{\"destination\":\"/run/b\",\"type\":\"none\",\"source\":\"none\",\"options\":[\"remount\",\"ro\"]}"
mkdir -p $FULL/rootfs/seed/deep
echo one >$FULL/rootfs/seed/file
ln -sf /etc/passwd $FULL/rootfs/seed/link
mkfifo $FULL/rootfs/seed/deep/fifo
chown -R 7:8 $FULL/rootfs/seed
chmod 4757 $FULL/rootfs/seed/file
chmod 1777 $FULL/rootfs/seed
TMP='{"destination":"/seed","type":"tmpfs","source":"tmpfs","options":['
full 'stat -c \"%n %a %u:%g %F\" /seed /seed/file /seed/link /seed/deep/fifo; cat /seed/file; readlink /seed/link; echo new > /seed/file' \
	mounts="$PROC,$TMP\"tmpcopyup\",\"size=1m\"]}"
is "tmpcopyup begins as what it covers" "$out$err" "/seed 1777 7:8 directory
/seed/file 4757 7:8 regular file
/seed/link 777 7:8 symbolic link
/seed/deep/fifo 644 7:8 fifo
one
/etc/passwd"
is "and is a copy" "$(cat $FULL/rootfs/seed/file)" one
gives "without it the tmpfs is empty" "0" "ls /seed | wc -l" mounts="$PROC,$TMP\"size=1m\"]}"
refused "tmpcopyup of a bind" "'tmpcopyup'" mounts="$(bind '"bind","tmpcopyup"')"
refused "even of one that says tmpfs" "'tmpcopyup'" \
	mounts='{"destination":"/seed","type":"tmpfs","source":"/run/src","options":["bind","tmpcopyup"]}'
OWN='"uidMappings":[{"containerID":5,"hostID":55,"size":1}],"gidMappings":[{"containerID":6,"hostID":66,"size":1}]'
gives "a mount with mappings of its own" "55:66" "stat -c %u:%g /m/file" \
	mounts="$PROC,{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/run/src/sub\",\"options\":[\"bind\"],$OWN}"
gives "idmap: as the container's user namespace" "5:6" "stat -c %u:%g /m/file" ns="$USERNS" lx="$MAPS" \
	mounts="$PROC,{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/run/src/sub\",\"options\":[\"bind\",\"idmap\"]}"
gives "ridmap: what is below, too" "5:6" "stat -c %u:%g /m/sub/file" ns="$USERNS" lx="$MAPS" \
	mounts="$PROC,{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/run/src\",\"options\":[\"rbind\",\"ridmap\"]}"
refused "idmap without a user namespace" "'idmap' of '/m'" \
	mounts="{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/run/src\",\"options\":[\"bind\",\"idmap\"]}"
refused "mappings of a tmpfs" "it is no bind" mounts="{\"destination\":\"/m\",\"type\":\"tmpfs\",\"source\":\"t\",$OWN}"
refused "mappings of uids only" "needs uidMappings and gidMappings" \
	mounts="{\"destination\":\"/m\",\"type\":\"bind\",\"source\":\"/run/src\",\"options\":[\"bind\"],\"uidMappings\":[{\"containerID\":5,\"hostID\":55,\"size\":1}]}"
many=$PROC
for i in $(seq 300); do many="$many,{\"destination\":\"/run/many/$i\",\"type\":\"bind\",\"source\":\"/run/src/sub\",\"options\":[\"bind\"]}"; done
gives "300 mounts" "300" "grep -c /run/many /proc/self/mounts" mounts="$many"
umount /run/src/sub
umount /run/src
