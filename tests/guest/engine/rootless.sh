# SPDX-License-Identifier: Apache-2.0
# hyb-runtime as an ordinary user (uid 1000), without a cgroup and with one that
# was delegated, and as root of a user namespace. Sourced by tests.sh, in the
# VM.
U=/run/u
B=$U/b
mkdir -p /etc $U $B/rootfs/bin $B/rootfs/etc
cp /bin/busybox $B/rootfs/bin/
/bin/busybox --list | grep -vx busybox | while read -r a; do ln -sf busybox $B/rootfs/bin/$a; done
echo 'u:x:1000:1000::/:/bin/sh' >>/etc/passwd
echo 'u:x:1000:' >>/etc/group
chown -R 1000:1000 $U
chmod 666 /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
# u SCRIPT: as the user, where its bundle is
u() { su -s /bin/sh u -c "export XDG_RUNTIME_DIR=$U PATH=/bin; cd $B; $1"; }
# conf SED SCRIPT: what spec --rootless writes, changed, to run the script
conf() {
	rm -f $B/config.json
	u "hyb-runtime spec --rootless"
	sed -i "s/\"terminal\": true/\"terminal\": false/; s/\"readonly\": true/\"readonly\": false/; s#\"sh\"#\"sh\",\"-c\",\"$2\"#" $B/config.json
	[ -z "$1" ] || sed -i "$1" $B/config.json
}
# alone TITLE WANT SCRIPT [SED]
alone() {
	conf "${4:-}" "$3"
	got=$(u "timeout 60 hyb-runtime run x 2>&1")
	is "rootless: $1" "$got" "$2"
}
gone() { # gone ID: its process has ended
	i=0
	while [ $i -lt 3000 ] && ! u "hyb-runtime state $1" | grep -q '"status": "stopped"'; do
		usleep 20000
		i=$((i + 1))
	done
}
mounts_before=$(wc -l </proc/mounts)
out=$(su -s /bin/sh u -c 'unset XDG_RUNTIME_DIR; PATH=/bin hyb-runtime list' 2>&1)
like "rootless: no place for the state" "$? $out" "XDG_RUNTIME_DIR is not set: --root"
alone "what spec --rootless writes runs, as root inside" "0:0 hyb 1" 'echo $(id -u):$(id -g) $(hostname) $$'
alone "its id is mapped, groups are not to be set" "0 1000 1 deny" 'echo $(cat /proc/self/uid_map /proc/self/setgroups)'
alone "its state is its user's" "" 'exit 0'
is "rootless: in XDG_RUNTIME_DIR" "$(stat -c %u:%a $U/hyb-runtime)" 1000:700
alone "nodes are the machine's" "full null random tty urandom zero 0 4" \
	'cd /dev; echo $(find . -type c -maxdepth 1 | cut -c3- | sort) $(head -c 4 zero >null; echo $?) $(head -c 4 zero | wc -c)'
alone "/sys is bound" "ro 1" 'echo $(touch /sys/x 2>/dev/null || echo ro) $(ls -d /sys/kernel | wc -l)'
alone "a sysfs that is refused is bound" "ro 1" 'echo $(touch /sys/x 2>/dev/null || echo ro) $(ls -d /sys/kernel | wc -l)' \
	's#"type": "none"#"type":"sysfs"#; /"rbind",/d'
alone "a sysfs of its own network" "lo 1" 'echo $(ls /sys/class/net) $(ip -o link show lo | grep -c LOWER_UP)' \
	's#"namespaces": \[#&{"type":"network"},#; s#"type": "none"#"type":"sysfs"#; /"rbind",/d'
alone "a devpts whose group is not mapped" "ok 0" 'exec 9<>/dev/ptmx; echo ok $(stat -c %g /dev/pts)' 's#"mode=0620"#&,"gid=5"#'
alone "a cgroup file system without a cgroup of its own" "ro" 'mkdir /cg/x 2>/dev/null || echo ro' \
	's#"mounts": \[#&{"destination":"/cg","type":"cgroup","source":"cgroup","options":["ro"]},#'
mkdir -p $U/src && echo mine >$U/src/f
alone "a bind of its own" "mine ro" 'echo $(cat /mnt/f) $(touch /mnt/f 2>/dev/null || echo ro)' 's#"mounts": \[#&{"destination":"/mnt","type":"bind","source":"/run/u/src","options":["bind","ro"]},#'
alone "a FIFO, a device of the machine's" "prw-r--r-- 1:b" 'echo $(ls -l /dev/f | cut -c1-10) $(stat -c %t:%T /dev/kmsg)' \
	's#"linux": {#&"devices":[{"path":"/dev/f","type":"p","fileMode":420},{"path":"/dev/kmsg","type":"c","major":1,"minor":11}],#'
conf 's#"linux": {#&"devices":[{"path":"/dev/none","type":"b","major":254,"minor":9}],#' 'exit 0'
out=$(u "hyb-runtime run x 2>&1")
like "rootless: a device that the machine has not" "$? $out" "1 hyb-runtime: device: '/dev/none': "
alone "a score that it may have" "500" 'cat /proc/self/oom_score_adj' 's#"process": {#&"oomScoreAdj":500,#'
conf 's#"process": {#&"oomScoreAdj":-500,#' 'cat /proc/self/oom_score_adj'
out=$(u "hyb-runtime run x 2>&1")
like "rootless: a score that only root may have is left out" "$out" "process.oomScoreAdj: -500: Permission denied: left out"
like "rootless: and all else done" "$out" "
0"
# a terminal in the foreground
conf 's#"terminal": false#"terminal": true#' 'tty; exit 7'
out=$(u "hyb-runtime run x </dev/null")
is "rootless: a terminal" "$? $out" "7 /dev/pts/0"

# refused, with a reason, and nothing is left
no() { # no TITLE WORDS SED
	conf "$3" 'exit 0'
	out=$(u "hyb-runtime run x 2>&1")
	is "rootless: $1 is refused" "$? $(u "hyb-runtime list -q")" "1 "
	like "rootless: $1, by name" "$out" "$2"
}
no "no user namespace" "an ordinary user needs a user namespace" 's#"type": "user"#"type": "time"#; s#Mappings#None#'
no "another's id" "linux.gidMappings: more than the user's own id needs newgidmap" 's#"hostID": 1000#"hostID": 0#'
no "a limit without a cgroup" "linux.resources.memory: there is no cgroup that this user may write: one must be delegated" \
	's#"linux": {#&"resources":{"memory":{"limit":33554432}},#'
no "a limit of another kind" "linux.resources.pids: there is no cgroup" 's#"linux": {#&"resources":{"pids":{"limit":5}},#'
no "a limit in a cgroup of root's" "linux.resources.cpu: there is no cgroup" 's#"linux": {#&"cgroupsPath":"/not/mine","resources":{"cpu":{"shares":5}},#'
no "additional groups" "process.user.additionalGids" 's#"uid": 0,#&"additionalGids":[0],#'
no "an image's disk" "io.hyb.ids" 's#"process": {#"annotations":{"io.hyb.ids":"65536"},&#'
no "a resource limit beyond its own" "process.rlimits" 's#"hard": 1024#"hard": 99999999#'
alone "device rules are not for it to load" "" 'exit 0' 's#"linux": {#&"resources":{"devices":[{"allow":false,"access":"rwm"}]},#'

# a life
conf 's#"process": {#&"oomScoreAdj":300,#; s#"process": {#"hooks":{"poststart":[{"path":"/bin/sh","args":["sh","-c","id -u >/run/u/hook"]}]},&#' 'trap \\"exit 3\\" TERM; while :; do sleep 0.05; done'
u "hyb-runtime create x </dev/null >/dev/null 2>&1"
is "rootless: create" $? 0
like "rootless: state" "$(u "hyb-runtime state x")" '"status": "created"'
like "rootless: whose it is" "$(u "hyb-runtime state x")" '"owner": "u"'
is "rootless: exec in a created one" "$(u "hyb-runtime exec x id -u 2>&1")" 0
u "hyb-runtime start x"
is "rootless: start, and a hook as the user" "$? $(cat $U/hook)" "0 1000"
is "rootless: exec is in all its namespaces" "$(u "hyb-runtime exec x sh -c 'for n in pid mnt uts ipc user cgroup; do [ \$(readlink /proc/self/ns/\$n) = \$(readlink /proc/1/ns/\$n) ] || echo \$n; done; cat /proc/self/oom_score_adj' 2>&1")" 300
is "rootless: exec -t" "$(u "hyb-runtime exec -t x tty </dev/null" | tr -d '\r')" /dev/pts/0
u "hyb-runtime exec x sh -c 'exit 9'"
is "rootless: exec's exit code" $? 9
u "hyb-runtime exec -d --pid-file /run/u/pid x sleep 777 </dev/null >/dev/null 2>&1"
is "rootless: exec -d" "$? $(cat /proc/$(cat $U/pid)/comm)" "0 sleep"
is "rootless: list" "$(u "hyb-runtime list" | awk '{print $1,$3,$NF}' | tail -n 1)" "x running u"
for v in ps pause resume "events --stats" "update --memory 10m"; do
	out=$(u "hyb-runtime $v x 2>&1")
	like "rootless: $v without a cgroup says so" "$? $out" "1 hyb-runtime: ${v%% *} 'x': the container has no cgroup"
done
out=$(u "hyb-runtime kill --all x TERM 2>&1")
like "rootless: kill --all without a cgroup says so" "$? $out" "1 hyb-runtime: kill 'x': signal all processes: the container has no cgroup"
out=$(u "hyb-runtime delete x 2>&1")
is "rootless: delete of a running one is refused" $? 1
# another in its namespaces
pid=$(u "hyb-runtime state x" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
cp $B/config.json $U/first.json
conf "s#\"type\": \"user\"#&,\"path\":\"/proc/$pid/ns/user\"#; s#\"type\": \"ipc\"#&,\"path\":\"/proc/$pid/ns/ipc\"#; s#Mappings#None#" 'readlink /proc/self/ns/user; readlink /proc/self/ns/ipc'
is "rootless: in namespaces of another container" "$(u "hyb-runtime run y 2>&1")" \
	"$(for t in user ipc; do readlink /proc/$pid/ns/$t; done)"
u "hyb-runtime kill x TERM"
gone x
is "rootless: kill, delete" "$(u "hyb-runtime delete x 2>&1; echo \$?; hyb-runtime list -q")" 0
cp $U/first.json $B/config.json
u "hyb-runtime run -d x </dev/null >/dev/null 2>&1"
is "rootless: kill --all KILL ends its pid namespace" "$(u "hyb-runtime kill --all x KILL 2>&1; echo \$?")" 0
gone x
u "hyb-runtime run -d y </dev/null >/dev/null 2>&1"
is "rootless: delete -f" "$(u "hyb-runtime delete -f x; hyb-runtime delete -f y; hyb-runtime list -q; ls hyb-runtime 2>/dev/null")" ""

# with a cgroup that is the user's
G=/sys/fs/cgroup/d
mkdir -p $G/shell
for c in memory pids cpu; do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
for f in $G $G/shell; do chown 1000 $f $f/cgroup.procs $f/cgroup.subtree_control; done
# d SCRIPT: as the user in that cgroup
d() { (sh -c 'echo $PPID' >$G/shell/cgroup.procs; u "$1"); }
LIMITS='s#"linux": {#&"resources":{"memory":{"limit":33554432},"pids":{"limit":50},"cpu":{"quota":50000,"period":100000}},#'
conf "$LIMITS; s#\"mounts\": \\[#&{\"destination\":\"/cg\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]},#" 'cd /cg; echo $(cat memory.max pids.max cpu.max); cat /proc/self/cgroup; while :; do sleep 0.05; done'
d "hyb-runtime run -d x </dev/null >/run/u/o 2>&1"
i=0
while [ $i -lt 3000 ] && [ "$(wc -l <$U/o)" != 2 ]; do usleep 20000; i=$((i + 1)); done
is "delegated: limits" "$(cat $U/o)" "33554432 50 50000 100000
0::/"
is "delegated: below what is the user's" "$(cat $G/hyb/x/memory.max)" 33554432
is "delegated: exec is in it" "$(d "hyb-runtime exec x cat /proc/self/cgroup" 2>&1)" "0::/"
like "delegated: ps" "$(u "hyb-runtime ps x")" "$(u "hyb-runtime state x" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')"
is "delegated: update" "$(u "hyb-runtime update --memory 24m x 2>&1"; cat $G/hyb/x/memory.max)" 25165824
is "delegated: pause" "$(u "hyb-runtime pause x 2>&1; hyb-runtime state x" | grep -o paused)" paused
is "delegated: resume" "$(u "hyb-runtime resume x 2>&1; hyb-runtime state x" | grep -o running)" running
like "delegated: events" "$(u "hyb-runtime events --stats x")" '"limit":25165824'
out=$(u "hyb-runtime exec x true 2>&1")
like "delegated: exec from a cgroup that is not the user's" "$? $out" "255 hyb-runtime: exec in 'x': clone: Permission denied"
is "delegated: kill --all" "$(u "hyb-runtime kill --all x KILL 2>&1; echo \$?")" 0
gone x
is "delegated: delete takes the cgroup along" "$(u "hyb-runtime delete x 2>&1"; ls -d $G/hyb/x 2>/dev/null)" ""
# what holds processes itself gives its children nothing to limit
rmdir $G/hyb
for c in $(cat $G/cgroup.subtree_control); do echo -$c >$G/cgroup.subtree_control; done
out=$( (sh -c 'echo $PPID' >$G/cgroup.procs; u "hyb-runtime run x 2>&1"))
like "delegated: no controller where processes are" "$? $out" "the cgroup that this user may write has no controller 'memory'"
conf '' 'echo none'
is "delegated: and none is needed without limits" "$( (sh -c 'echo $PPID' >$G/cgroup.procs; u "hyb-runtime run x 2>&1"))" none
rmdir $G/hyb $G/shell $G

# root of a user namespace, as below podman
conf 's#"type": "user"#"type": "time"#; s#Mappings#None#' 'echo $(id -u) $(cat /proc/self/uid_map) $(head -c 2 /dev/zero | wc -c)'
is "in a user namespace: without one of its own" "$(u "unshare -U -r -m hyb-runtime run x 2>&1")" "0 0 1000 1 2"
conf 's#"hostID": 1000#"hostID": 0#; s#"oomScoreAdj": *[0-9]*,##' 'echo $(id -u) $(cat /proc/self/uid_map) $(head -c 2 /dev/zero | wc -c)'
is "in a user namespace: with one below it" "$(u "unshare -U -r -m hyb-runtime run x 2>&1")" "0 0 0 1 2"
is "rootless: --rootless" "$(u "hyb-runtime --rootless true list -q; echo \$?; hyb-runtime --rootless maybe list 2>&1" | head -n 2 | tr '\n' ' ')" \
	"0 hyb-runtime: --rootless: true, false or auto "
is "--rootless true as root" "$($RT --rootless true list 2>/dev/null; echo $?)" 2
is "rootless: no mount and no state is left" "$(wc -l </proc/mounts) $(ls $U/hyb-runtime)" "$mounts_before "
i=0
while [ $i -lt 3000 ] && [ "$(ps -o user,comm | grep -c '^u ')" != 0 ]; do usleep 20000; i=$((i + 1)); done
is "rootless: no process is left" "$(ps -o user,comm | grep '^u ')" ""
