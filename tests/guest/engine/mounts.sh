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
	{ $RT create -b $M m1 </dev/null && $RT start m1; } 2>/run/err | timeout 120 cat >/run/out
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
	while [ $i -lt 6000 ] && [ ! -s /run/holder ]; do usleep 10000; i=$((i + 1)); done
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
i=0; while [ $i -lt 6000 ] && [ ! -s /run/held ]; do usleep 10000; i=$((i + 1)); done
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
before=$(wc -l </proc/$holder/mountinfo)
joined mount mnt mnt
is "delete takes the root out of the joined mount namespace" "$(wc -l </proc/$holder/mountinfo)" "$before"
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
i=0; while [ $i -lt 6000 ] && [ ! -s /run/holder2 ]; do usleep 10000; i=$((i + 1)); done
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
{ $RT create -b $M m2 </dev/null && $RT start m2; } 2>&1 | timeout 120 cat >/run/out
wait_stopped m2
is "a time namespace is joined by path" "$(cat /run/out)" 1
$RT delete -f m2
$RT delete -f m1

# ------------------------------------------------------------------ mounts
mkdir -p /run/msrc && mount -t tmpfs -o size=1m msrc /run/msrc
echo one >/run/msrc/file
bind_on() { echo "{\"destination\":\"$1\",\"type\":\"bind\",\"source\":\"/run/msrc\",\"options\":[\"bind\"${2:+,$2}]}"; }
tmp_on() { echo "{\"destination\":\"$1\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"size=64k\"${2:+,$2}]}"; }
# The options of the topmost mount on a path.
opts() { echo "grep ' $1 ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6"; }
sb_opts() { echo "grep ' $1 ' /proc/self/mountinfo | tail -n 1 | sed 's/.* - //' | cut -d' ' -f3"; }
for w in relatime:rw,relatime norelatime:rw,relatime atime:rw,relatime strictatime:rw nostrictatime:rw,relatime \
	noatime:rw,noatime 'noatime","nodiratime:rw,noatime,nodiratime' 'nodiratime","diratime:rw,relatime' 'ro","rw:rw,relatime' \
	'noexec","exec:rw,relatime' 'nosuid","nodev","suid","dev:rw,relatime' 'nosymfollow:rw,relatime,nosymfollow' \
	'nosymfollow","symfollow:rw,relatime' 'defaults","async","auto","nofail:rw,relatime' 'rnoatime","ratime:rw,relatime' \
	'rro","rrw:rw,relatime' 'rnodiratime","rdiratime:rw,relatime' 'rnosymfollow","rsymfollow:rw,relatime' \
	'rstrictatime:rw' 'rrelatime:rw,relatime' 'rnorelatime:rw,relatime' 'rnostrictatime:rw,relatime' 'rnodev","rdev:rw,relatime' \
	'rnoexec:rw,noexec,relatime' 'rnosuid:rw,nosuid,relatime'; do
	m_is "tmpfs: \"${w%%:*}\"" "${w##*:}" "$(opts /x)" mounts="$(tmp_on /x "\"${w%%:*}\"")"
done
for w in sync:rw,sync dirsync:rw,dirsync lazytime:rw,lazytime 'lazytime","nolazytime:rw' mand:rw; do
	m_is "a file system of its own: \"${w%%:*}\"" "${w##*:} 64k" "echo \$($(sb_opts /x) | sed 's/,size=.*//; s/,mand//') \$($(sb_opts /x) | grep -o 'size=64k' | cut -d= -f2)" mounts="$(tmp_on /x "\"${w%%:*}\"")"
done
m_is "nosymfollow: links are not followed" "no" 'ln -s bin /x/l; ls /x/l/ >/dev/null 2>&1 && echo yes || echo no' mounts="$(tmp_on /x '"nosymfollow"')"
m_is "options of the file system" "700 7:8" 'stat -c "%a %u:%g" /x' mounts="$(tmp_on /x '"mode=700","uid=7","gid=8"')"
m_refused "an option that no file system has" "mount: '/x: sizes': Invalid argument" mounts="$(tmp_on /x '"sizes=1"')"
m_is "remount: attributes" "ro,nosuid,relatime" "$(opts /x)" mounts="$(tmp_on /x '"nosuid"'),{\"destination\":\"/x\",\"type\":\"none\",\"options\":[\"remount\",\"ro\"]}"
m_is "remount: options of the file system" "size=32k" "$(sb_opts /x) | grep -o size=32k" mounts="$(tmp_on /x),{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":[\"remount\",\"size=32k\"]}"
m_is "remount: propagation" "shared" "grep ' /x ' /proc/self/mountinfo | grep -o shared" mounts="$(tmp_on /x),{\"destination\":\"/x\",\"type\":\"none\",\"options\":[\"remount\",\"shared\"]}"
m_is "remount: of a bind: attributes, not the file system's options" "ro,relatime" "$(opts /x)" mounts="$(bind_on /x),{\"destination\":\"/x\",\"type\":\"none\",\"options\":[\"remount\",\"bind\",\"ro\",\"size=32k\"]}"
is "which stay as they are" "$(grep ' /run/msrc ' /proc/mounts | grep -o size=1024k)" size=1024k
m_proc=$proc
sh_box "remount: of the container's own tmpfs, in its user namespace" "size=32k" "grep ' /x ' /proc/self/mountinfo | grep -o size=32k" mounts="$(tmp_on /x),{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":[\"remount\",\"size=32k\"]}"
sh_box "remount: of /sys, and it is there still" "ro,nosuid,nodev,noexec,relatime,nosymfollow" "grep ' / /sys ' /proc/self/mountinfo | cut -d' ' -f6" mounts='{"destination":"/sys/","type":"none","options":["remount","nosymfollow"]}'
proc=$m_proc
m_is "a recursive opposite of an attribute" "rw,relatime" "$(opts /x)" mounts="$(tmp_on /x '"ro","rrw"')"
mkdir -p $M/rootfs/plain
m_refused "remount of what is no mount" "mount: '/plain': Invalid argument" mounts='{"destination":"/plain","type":"none","options":["remount","ro"]}'
m_is "a relative destination is below the root" "one" 'cat /rel/file' mounts="$(bind_on rel)"
m_is "a destination is tidied up" "one" 'cat /a/c/file' mounts="$(bind_on /a//./b/../c/)"
m_is "a destination above the root is below it" "one" 'cat /up/file' mounts="$(bind_on /../../up)"
m_refused "nothing is mounted over the root" "mounts[1]: cannot mount over '/'" mounts="$(bind_on /x/..)"
m_is "/dev/ is /dev" "one" 'cat /dev/file' mounts="$(bind_on /dev/)"
m_is "mounts on top of /dev" "one 1777" 'echo $(cat /dev/sub/file) $(stat -c %a /dev/shm)' mounts="$(bind_on /dev/sub),{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"mode=1777\"]}"
m_is "a file on top of a device" "one" 'cat /dev/zero' mounts="{\"destination\":\"/dev/zero\",\"type\":\"bind\",\"source\":\"/run/msrc/file\",\"options\":[\"bind\"]}"
m_refused "a folder is not mounted on a file" "mount: '/s': Not a directory" mounts="$(bind_on /s)"
m_refused "a file is not mounted on a folder" "mount: '/tmp': Is a directory" mounts="{\"destination\":\"/tmp\",\"type\":\"bind\",\"source\":\"/run/msrc/file\",\"options\":[\"bind\"]}"
m_is "mqueue" "mqueue queue" 'touch /dev/mqueue/queue; echo $(stat -f -c %T /dev/mqueue | sed s/UNKNOWN/mqueue/) $(ls /dev/mqueue)' mounts='{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue"}'
m_is "sysfs of its network namespace" "lo" 'ls /sys/class/net' mounts='{"destination":"/sys","type":"sysfs","source":"sysfs"}'
m_is "sysfs of the engine's network namespace" "$(ls /sys/class/net)" 'ls /sys/class/net' ns="$(no_ns network)" mounts='{"destination":"/sys","type":"sysfs","source":"sysfs"}'
CG='{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]}'
m_is "cgroup with a namespace: its own part" "1" 'grep -c . /sys/fs/cgroup/cgroup.procs | sed "s/[1-9]/1/"' mounts="$CG"
m_is "cgroup without one: the whole" "hyb" 'ls -d /sys/fs/cgroup/hyb | sed s,.*/,,' ns="$(no_ns cgroup)" mounts="$CG"
MAPS=',"uidMappings":[{"containerID":0,"hostID":0,"size":1000}],"gidMappings":[{"containerID":0,"hostID":0,"size":1000}]'
m_is "cgroup in a user namespace without one: its own part, read-only" "1 ro" \
	'echo $(grep -c . /sys/fs/cgroup/cgroup.procs | sed "s/[1-9]/1/") $(touch /sys/fs/cgroup/x 2>/dev/null || echo ro)' ns="$(no_ns cgroup),{\"type\":\"user\"}" lx="$MAPS" mounts="$CG"
# Links of the image lead nowhere else.
mkdir -p $M/rootfs/run/out-there
ln -s / $M/rootfs/l1
ln -s /l1/../../../../run/out-there $M/rootfs/l2
m_is "a target behind links stays inside" "one" 'cat /run/out-there/m/file' mounts="$(bind_on /l2/m)"
ln -s /l3/none/x $M/rootfs/l4
m_refused "a link that leads nowhere is no target" "mount: '/l4': No such file" mounts="$(bind_on /l4)"
is "nothing was made outside" "$(ls -d /run/out-there 2>&1 | grep -c No.such)" 1
many= i=0
while [ $i -lt 513 ]; do many="$many${many:+,}{\"destination\":\"/x$i\",\"type\":\"tmpfs\"}"; i=$((i + 1)); done
m_refused "too many mounts" "mounts: more than 512" mounts="$many"
m_refused "the error names the mount" "mounts[2]: bind '/no/such'" mounts="$(tmp_on /x),{\"destination\":\"/y\",\"type\":\"bind\",\"source\":\"/no/such\"}"
m_refused "a mapping that overlaps is named" "mounts[1]: uidMappings[1]: overlaps uidMappings[0]" \
	mounts='{"destination":"/x","type":"bind","source":"/run/msrc","options":["bind","idmap"],"uidMappings":[{"containerID":0,"hostID":5,"size":9},{"containerID":8,"hostID":50,"size":9}],"gidMappings":[{"containerID":0,"hostID":5,"size":9}]}'

# ---------------------------------------------------------------- the root
m_is "root.readonly" "ro, but its mounts" 'touch /new 2>/dev/null && echo rw || echo "ro, but its mounts"; touch /x/new /dev/new' root='"path":"rootfs","readonly":true' mounts="$(tmp_on /x)"
m_is "root.path absolute" "here" 'echo here' root="\"path\":\"$M/rootfs\""
m_refused "root.path that is not there" "root: '$M/none': No such file" root='"path":"none"'
for w in private:- rprivate:- slave:master rslave:master shared:shared rshared:shared unbindable:unbindable runbindable:unbindable; do
	mount --make-shared $M/rootfs
	m_is "rootfsPropagation ${w%:*}" "${w#*:}" \
		'set -- $(grep " / / " /proc/self/mountinfo | tail -n 1); shift 6; case $1 in -) echo - ;; *) echo ${1%%:*} ;; esac' lx=",\"rootfsPropagation\":\"${w%:*}\""
	mount --make-private $M/rootfs
done
mount --make-shared $M/rootfs
oci 'mount -t tmpfs own /plain; echo ready; sleep 1000' lx=',"rootfsPropagation":"rslave"'
{ $RT create -b $M m1 </dev/null && $RT start m1; } >/run/out 2>&1
i=0; while [ $i -lt 6000 ] && ! grep -q ready /run/out; do usleep 20000; i=$((i + 1)); done
is "rslave: a mount inside does not come out" "$(grep -c $M/rootfs/plain /proc/mounts)" 0
mkdir -p $M/rootfs/tmp/late; mount -t tmpfs late $M/rootfs/tmp/late
is "rslave: a mount outside is seen inside" "$($RT exec m1 sh -c 'grep -c /tmp/late /proc/self/mounts' 2>&1)" 1
$RT delete -f m1
umount $M/rootfs/tmp/late; mount --make-private $M/rootfs
m_refused "an unknown rootfsPropagation" "linux.rootfsPropagation: unknown 'up'" lx=',"rootfsPropagation":"up"'
m_refused "mountLabel is refused" "linux.mountLabel: no SELinux" lx=',"mountLabel":"x"'

# devices
dev() { echo ",\"devices\":[$1]"; }
m_is "a character device: mode, owner, number" "1:5 640 7:8 character special file" 'echo $(stat -c "%t:%T %a %u:%g %F" /dev/my)' lx="$(dev '{"type":"c","path":"/dev/my","major":1,"minor":5,"fileMode":416,"uid":7,"gid":8}')"
m_is "a device in a folder" "1:3" 'stat -c %t:%T /dev/a/b/null' lx="$(dev '{"type":"u","path":"/dev/a/b/null","major":1,"minor":3}')"
m_is "a block device" "block special file fe:0" 'stat -c "%F %t:%T" /dev/disk' lx="$(dev '{"type":"b","path":"/dev/disk","major":254,"minor":0}')"
m_is "which does not open" "no" 'cat /dev/disk >/dev/null 2>&1 && echo yes || echo no' lx="$(dev '{"type":"b","path":"/dev/disk","major":254,"minor":0}')"
m_is "a FIFO" "fifo 600" 'stat -c "%F %a" /dev/pipe' lx="$(dev '{"type":"p","path":"/dev/pipe","fileMode":384}')"
m_is "a mode with the type in it" "666" 'stat -c %a /dev/my' lx="$(dev '{"type":"c","path":"/dev/my","major":1,"minor":5,"fileMode":8630}')"
m_is "a default device with another owner" "7:8 ok" 'echo x >/dev/null && echo $(stat -c %u:%g /dev/null) ok' lx="$(dev '{"type":"c","path":"/dev/null","major":1,"minor":3,"uid":7,"gid":8}')"
m_is "a device elsewhere" "1:3" 'stat -c %t:%T /etc/x' lx="$(dev '{"type":"c","path":"/etc/x","major":1,"minor":3}')"
m_refused "a device's unknown type" "linux.devices[0].type: must be c, u, b or p, not 'x'" lx="$(dev '{"type":"x","path":"/dev/x"}')"
USER=',"uidMappings":[{"containerID":0,"hostID":100000,"size":1000},{"containerID":2000,"hostID":300000,"size":10}],"gidMappings":[{"containerID":0,"hostID":100000,"size":1000},{"containerID":2000,"hostID":300000,"size":10}]'
userns="$(no_ns none),{\"type\":\"user\"}"
m_is "devices in a user namespace open, and are its own" "7:2005 0:0 ok" 'echo x >/dev/a/my && echo $(stat -c %u:%g /dev/a/my) $(stat -c %u:%g /dev/a) ok' ns="$userns" lx="$USER$(dev '{"type":"c","path":"/dev/a/my","major":1,"minor":3,"uid":7,"gid":2005}')"
m_refused "an owner that has no mapping" "owner of '/dev/my' has no mapping" ns="$userns" lx="$USER$(dev '{"type":"c","path":"/dev/my","major":1,"minor":3,"uid":1500}')"

# masked and read-only paths
mkdir -p $M/rootfs/secret/in $M/rootfs/conf
echo s >$M/rootfs/secret/file
echo c >$M/rootfs/conf/file
ln -s /secret $M/rootfs/to-secret
m_is "masked: folder, file, through a link, missing" "0 0" 'echo $(ls /secret | wc -l) $(cat /conf/file | wc -c); touch /secret/x 2>/dev/null && echo writable' \
	lx=',"maskedPaths":["/secret","/conf/file","/none/there"]'
m_is "masked through a link: what it leads to" "0" 'ls /secret | wc -l' lx=',"maskedPaths":["/to-secret"]'
m_is "read-only: folder, file, missing" "s c" 'cat /secret/file /conf/file | tr "\n" " " | sed "s/ $//"; echo; touch /secret/x 2>/dev/null && echo folder; (echo x >/conf/file) 2>/dev/null && echo file' \
	lx=',"readonlyPaths":["/secret","/conf/file","/none/there"]'
m_is "masked in /proc, also in a user namespace" "0 1" 'echo $(cat /proc/timer_list 2>/dev/null | wc -c) $(grep -c " /proc/sys proc ro" /proc/self/mounts)' ns="$userns" lx="$USER"',"maskedPaths":["/proc/timer_list"],"readonlyPaths":["/proc/sys"]'

# ids
m_is "ranges of ids" "0 100000 1000 2000 300000 10 2003:2003" 'echo $(cat /proc/self/uid_map) $(id -u):$(id -g)' ns="$userns" lx="$USER" user='"uid":2003,"gid":2003'
NOROOT=',"uidMappings":[{"containerID":1000,"hostID":200000,"size":10}],"gidMappings":[{"containerID":1000,"hostID":200000,"size":10}]'
mkdir -p $M/rootfs/dev/pts
m_is "without root among them" "1000 200000 10 1003:1004 1000:1000" 'echo $(cat /proc/self/uid_map) $(id -u):$(id -g) $(stat -c %u:%g /dev)' ns="$userns" lx="$NOROOT" user='"uid":1003,"gid":1004' \
	mounts='{"destination":"/dev/shm","type":"tmpfs","source":"t","options":["mode=1777"]}'
m_refused "root is refused then" "process.user: 0:0 has no mapping" ns="$userns" lx="$NOROOT"
maps= i=0
while [ $i -lt 200 ]; do maps="$maps${maps:+,}{\"containerID\":$i,\"hostID\":$((200000 - i)),\"size\":1}"; i=$((i + 1)); done
m_is "two hundred ranges" "200" 'grep -c . /proc/self/uid_map' ns="$userns" lx=",\"uidMappings\":[$maps],\"gidMappings\":[$maps]"
m_refused "ranges that overlap inside" "linux.uidMappings[1]: overlaps linux.uidMappings[0]" ns="$userns" \
	lx=',"uidMappings":[{"containerID":0,"hostID":1000,"size":10},{"containerID":9,"hostID":2000,"size":1}],"gidMappings":[{"containerID":0,"hostID":1000,"size":10}]'
m_refused "ranges that overlap outside" "linux.gidMappings[1]: overlaps linux.gidMappings[0]" ns="$userns" \
	lx=',"uidMappings":[{"containerID":0,"hostID":1000,"size":10}],"gidMappings":[{"containerID":0,"hostID":1000,"size":10},{"containerID":20,"hostID":1009,"size":1}]'
m_refused "ranges beyond the last id" "linux.uidMappings[0].size" ns="$userns" \
	lx=',"uidMappings":[{"containerID":4294967290,"hostID":1000,"size":10}],"gidMappings":[{"containerID":0,"hostID":1000,"size":10}]'
m_refused "mappings without a user namespace" "linux.uidMappings" lx="$MAPS"
m_refused "a user namespace without mappings" "linux.uidMappings: is needed for a new user namespace" ns="$userns"
is "nothing is left of all these" "$(ls /run/rt | wc -l) $(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l) $(grep -c "$M/rootfs/" /proc/mounts)" "0 0 0"
umount /run/msrc
