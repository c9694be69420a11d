# SPDX-License-Identifier: Apache-2.0
# Namespaces, mounts and the root of a plain OCI bundle (no annotations of
# hyb), in the VM of tests.sh, which sources this.
M=/run/m
mkdir -p $M/rootfs
mount -t tmpfs m $M/rootfs
mkdir -p $M/rootfs/bin $M/rootfs/proc $M/rootfs/sys $M/rootfs/dev $M/rootfs/tmp $M/rootfs/etc
cp /bin/busybox $M/rootfs/bin/busybox
for a in sh cat echo ls stat readlink grep awk touch mkdir id hostname sleep wc tr sed test ln mount umount uname sort dnsdomainname head date cut true find; do
	ln -s busybox $M/rootfs/bin/$a
done
ALLCAPS='["CAP_SYS_ADMIN","CAP_SYS_CHROOT","CAP_DAC_OVERRIDE","CAP_CHOWN","CAP_FOWNER","CAP_MKNOD","CAP_SETUID","CAP_SETGID"]'
proc='{"destination":"/proc","type":"proc","source":"proc"}'

# oci SCRIPT [KEY=VALUE...]: writes the bundle. Keys: ns (namespaces), mounts
# (after /proc), lx (more of linux), top (more of all), root (of root), user.
oci() {
	printf '%s\n' "$1" >$M/rootfs/s
	shift
	ns='{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc"},{"type":"network"},{"type":"cgroup"}'
	mounts= lx= top= root='"path":"rootfs"' user='"uid":0,"gid":0' id=m1
	for kv in "$@"; do eval "${kv%%=*}=\${kv#*=}"; done
	cat >$M/config.json <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/sh","/s"],"cwd":"/","env":["PATH=/bin"],"user":{$user},
"capabilities":{"bounding":$ALLCAPS,"effective":$ALLCAPS,"permitted":$ALLCAPS}},
"root":{$root},"mounts":[$proc${mounts:+,$mounts}]$top,"linux":{"namespaces":[$ns]$lx}}
E
}
oci_run() {
	{ $RT create -b $M m1 </dev/null && $RT start m1; } 2>/run/err | timeout 20 cat >/run/out
	wait_stopped m1
	out=$(cat /run/out) err=$(cat /run/err)
	$RT delete -f m1
}
m_is() { # m_is TITLE WANT SCRIPT [KEY=VALUE...]
	t=$1 w=$2
	shift 2
	oci "$@"
	oci_run
	is "$t" "$out${err:+ [$err]}" "$w"
}
m_refused() { # m_refused TITLE WANT [KEY=VALUE...]: WANT is in the error
	t=$1 w=$2
	shift 2
	oci true "$@"
	oci_run
	like "$t" "$err" "$w"
}

# -------------------------------------------------------------- namespaces
ns_id() { readlink /proc/$1/ns/$2; }
no_ns() { # no_ns TYPE: the list without it
	echo '{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc"},{"type":"network"},{"type":"cgroup"}' |
		sed "s/{\"type\":\"$1\"},*//; s/,\$//"
}
holder() { # holder FLAGS: a process in new namespaces; its pid in $holder
	rm -f /run/holder
	unshare "$@" sh -c 'echo ready >/run/holder; exec sleep 1000' </dev/null >/dev/null 2>&1 &
	holder=$!
	i=0
	while [ $i -lt 500 ] && [ ! -s /run/holder ]; do usleep 10000; i=$((i + 1)); done
}
end_holder() { kill -9 $holder $(cat /proc/$holder/task/$holder/children 2>/dev/null) 2>/dev/null; wait $holder 2>/dev/null; }
joined() { # joined TYPE FILE: path in it leads there, and exec follows
	oci 'sleep 1000' ns="$(no_ns $1),{\"type\":\"$1\",\"path\":\"/proc/$holder/ns/$3\"}" ${4:+"$4"} ${5:+"$5"}
	$RT create -b $M m1 </dev/null >/run/out 2>/run/err && $RT start m1 >>/run/out 2>>/run/err
	pid=$($RT state m1 2>>/run/err | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	is "a $1 namespace is joined by path" "$(ns_id ${pid:-x} $2)$(cat /run/err)" "$(ns_id $holder $3)"
	is "exec is in the joined $1 namespace" "$($RT exec m1 sh -c "readlink /proc/self/ns/$2; ls /s" 2>&1)" "$(ns_id $holder $3)
/s"
	$RT delete -f m1
}
holder -n -i -u
joined network net net
joined ipc ipc ipc
joined uts uts uts
m_is "the hostname is set in a joined uts namespace" "there" hostname ns="$(no_ns uts),{\"type\":\"uts\",\"path\":\"/proc/$holder/ns/uts\"}" top=',"hostname":"there"'
m_refused "a path of another type is refused" "linux.namespaces[5].path: '/proc/$holder/ns/net' is not a namespace of type 'ipc'" \
	ns="$(no_ns ipc),{\"type\":\"ipc\",\"path\":\"/proc/$holder/ns/net\"}"
end_holder
mkfifo /run/fifo
m_refused "a path that is no namespace is refused" "linux.namespaces[5].path: '/run/fifo' is not a namespace" ns="$(no_ns ipc),{\"type\":\"ipc\",\"path\":\"/run/fifo\"}"
m_refused "a path that is not there is refused" "linux.namespaces[5].path: open '/run/nothing': No such file" ns="$(no_ns ipc),{\"type\":\"ipc\",\"path\":\"/run/nothing\"}"
m_refused "a relative path of a namespace is refused" "linux.namespaces[5].path" ns="$(no_ns ipc),{\"type\":\"ipc\",\"path\":\"proc/self/ns/ipc\"}"
m_refused "a type listed twice is refused" "linux.namespaces[1].type: 'pid' is there twice" ns='{"type":"pid"},{"type":"pid"},{"type":"mount"}'
m_refused "an unknown type is refused" "linux.namespaces[0].type: unknown type 'disk'" ns='{"type":"disk"},{"type":"mount"}'
m_refused "without a mount namespace there is none" "linux.namespaces: a mount namespace is needed" ns='{"type":"pid"}'
holder -p -f
joined pid pid pid_for_children
end_holder
# A cgroup namespace of its own, whose root is a cgroup that goes again.
mkdir /sys/fs/cgroup/held
sh -c 'echo $$ >/sys/fs/cgroup/held/cgroup.procs; exec probe hold 33554432' >/run/held &
holder=$!
i=0; while [ $i -lt 300 ] && [ ! -s /run/held ]; do usleep 10000; i=$((i + 1)); done
joined cgroup cgroup cgroup
end_holder
rmdir /sys/fs/cgroup/held

# A user namespace of another: its ids are those of the one that is joined.
holder -U
echo "0 300000 1000" >/proc/$holder/uid_map
echo "0 400000 1000" >/proc/$holder/gid_map
chown -R 300000:400000 $M/rootfs
joined user user user
user_ns=",{\"type\":\"user\",\"path\":\"/proc/$holder/ns/user\"}"
m_is "a joined user namespace: ids, new namespaces belong to it" "0 0 300000 new" \
	'hostname new; echo $(id -u) $(id -g) $(awk "{print \$2}" /proc/self/uid_map) $(hostname)' ns="$(no_ns none)$user_ns"
m_is "its /dev belongs to its root" "0:0 0:0" 'echo $(stat -c %u:%g /dev) $(stat -c %u:%g /dev/null)' ns="$(no_ns none)$user_ns"
m_refused "a user without a mapping there is refused" "has no mapping" ns="$(no_ns none)$user_ns" user='"uid":5000,"gid":0'
end_holder
chown -R 0:0 $M/rootfs

# A mount namespace of another: nothing of it changes but the root's place.
holder -m
joined mount mnt mnt
is "the joined mount namespace keeps its own root" "$(nsenter -t $holder -m sh -c 'ls /tests.sh' 2>&1)" /tests.sh
before=$(wc -l </proc/$holder/mountinfo)
oci true ns="$(no_ns mount),{\"type\":\"mount\",\"path\":\"/proc/$holder/ns/mnt\"}" mounts='{"destination":"/x","type":"nofs"}'
oci_run
like "a mount that fails in a joined mount namespace" "$err" "nofs"
is "leaves nothing there" "$(wc -l </proc/$holder/mountinfo)" "$before"
oci true ns="$(no_ns mount),{\"type\":\"mount\",\"path\":\"/proc/$holder/ns/mnt\"}"
sed -i 's#"/bin/sh"#"/bin/none"#' $M/config.json
oci_run
like "a program that is missing in a joined mount namespace" "$err" "/bin/none"
is "leaves nothing there either" "$(wc -l </proc/$holder/mountinfo)" "$before"
end_holder
unshare -m sh -c "mount --make-shared $M/rootfs; echo ready >/run/holder2; exec sleep 1000" &
holder=$!
i=0; while [ $i -lt 300 ] && [ ! -s /run/holder2 ]; do usleep 10000; i=$((i + 1)); done
m_refused "a joined mount namespace where the root's place is shared" "a shared mount of the joined namespace" ns="$(no_ns mount),{\"type\":\"mount\",\"path\":\"/proc/$holder/ns/mnt\"}"
end_holder
m_refused "the engine's own mount namespace is refused" "the engine's own" ns="$(no_ns mount),{\"type\":\"mount\",\"path\":\"/proc/self/ns/mnt\"}"

# time
up='awk "{print int(\$1)}" /proc/uptime'
m_is "a time namespace with offsets" "yes monotonic 1000 500000000 boottime 100000 0" \
	'[ $('"$up"') -gt 100000 ] && a=yes; echo $a $(cat /proc/self/timens_offsets)' \
	ns="$(no_ns none),{\"type\":\"time\"}" lx=',"timeOffsets":{"monotonic":{"secs":1000,"nanosecs":500000000},"boottime":{"secs":100000}}'
is "the engine's own clock is as it was" "$([ $(awk '{print int($1)}' /proc/uptime) -lt 100000 ] && echo yes)" yes
m_is "a time namespace without offsets" "other" "[ \$(readlink /proc/self/ns/time) = $(ns_id self time) ] || echo other" ns="$(no_ns none),{\"type\":\"time\"}"
m_refused "timeOffsets without a time namespace" "linux.timeOffsets: there is no new time namespace" lx=',"timeOffsets":{"boottime":{"secs":1}}'
m_refused "timeOffsets before the beginning of time" "linux.timeOffsets: Numerical result out of range" \
	ns="$(no_ns none),{\"type\":\"time\"}" lx=',"timeOffsets":{"boottime":{"secs":-10000000}}'
m_refused "timeOffsets' nanoseconds" "linux.timeOffsets.boottime.nanosecs" \
	ns="$(no_ns none),{\"type\":\"time\"}" lx=',"timeOffsets":{"boottime":{"nanosecs":1000000000}}'
oci 'sleep 1000' ns="$(no_ns none),{\"type\":\"time\"}" lx=',"timeOffsets":{"boottime":{"secs":100000}}'
$RT create -b $M m1 </dev/null >/dev/null 2>/run/err && $RT start m1
holder=$($RT state m1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
is "exec is in the time namespace" "$($RT exec m1 sh -c "[ \$($up) -gt 100000 ] && echo yes")" yes
sed -i 's/"timeOffsets":{[^}]*}}/"x":0/; s#{"type":"time"}#{"type":"time","path":"/proc/'$holder'/ns/time"}#' $M/config.json
sed 's#sleep 1000#awk "{print int(\\$1 / 100000)}" /proc/uptime#' $M/rootfs/s >$M/s && cp $M/s $M/rootfs/s
{ $RT create -b $M m2 </dev/null && $RT start m2; } 2>&1 | timeout 20 cat >/run/out
wait_stopped m2
is "a time namespace is joined by path" "$(cat /run/out)" 1
$RT delete -f m2
$RT delete -f m1
