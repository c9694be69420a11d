# SPDX-License-Identifier: Apache-2.0
# A container in another container's namespaces, its pid and user namespace
# among them, and what becomes of one when the other ends, in every order.
# Sourced by tests.sh, after spec.sh, in the VM.
JMAPS=',"uidMappings":[{"containerID":0,"hostID":100000,"size":1000}],"gidMappings":[{"containerID":0,"hostID":100000,"size":1000}]'
FRESH='{"type":"mount"},{"type":"pid"},{"type":"user"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"},{"type":"time"}'
# sleeps NAME NAMESPACES [LINUX [PROCESS]]: creates it; whether that worked
sleeps() {
	mkdir -p /run/j/$1
	cat >/run/j/$1/config.json <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/sleep","1000"],"cwd":"/","env":["PATH=/bin"]${4:-}},
"root":{"path":"$FULL/rootfs"},"mounts":[$PROC],"linux":{"namespaces":[$2]${3:-}}}
E
	$RT create -b /run/j/$1 $1 </dev/null >/run/out 2>/run/err
}
pid_of() { $RT state $1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
status_of() { $RT state $1 | sed -n 's/.*"status": "\([a-z]*\)".*/\1/p'; }
# of PID TYPE...: paths of its namespaces, in this order
of() {
	p=$1 list='{"type":"mount"}'
	shift
	for t in "$@"; do
		case $t in network) f=net ;; *) f=$t ;; esac
		list="$list,{\"type\":\"$t\",\"path\":\"/proc/$p/ns/$f\"}"
	done
	echo "$list"
}
ids() { for t in pid user net ipc uts cgroup time; do readlink /proc/$1/ns/$t; done; }
host() { sleeps host "$FRESH" "$JMAPS" && $RT start host && host=$(pid_of host); }
# Of the lowest pids of the VM, which a pid namespace has, too.
strangers() {
	for p in 1 2 3 4 5 6 7 8; do
		echo $p $(cat /proc/$p/oom_score_adj) $(grep "open files" /proc/$p/limits)
	done 2>/dev/null
}
# ended NAME: waits until it has
ended() {
	wait_stopped $1
	status_of $1
}
# What is left: states, cgroups, processes of other pid namespaces (those that
# nobody has reaped count); waits until nothing is.
leftovers() {
	i=0
	while :; do
		left="$(ls /run/rt | wc -l) $(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l) $(grep -l '^NSpid:.*[0-9]	[0-9]' /proc/[0-9]*/status 2>/dev/null | wc -l)"
		[ "$left" != "0 0 0" ] && [ $i -lt 3000 ] || break
		usleep 20000
		i=$((i + 1))
	done
	echo "$left"
}

before=$(strangers)
host
for order in "pid user network ipc uts cgroup time" "user time uts pid cgroup ipc network" "time ipc network uts cgroup user pid"; do
	sleeps guest "$(of $host $order)" '' ',"oomScoreAdj":555,"rlimits":[{"type":"RLIMIT_NOFILE","soft":77,"hard":77}]' &&
		$RT start guest 2>>/run/err
	pid=$(pid_of guest)
	is "joined: $order" "$(cat /run/err)$(ids ${pid:-x})" "$(ids $host)"
	is "the process of the state is its own, with its limits" \
		"$(tr '\0' ' ' </proc/${pid:-x}/cmdline)$(cat /proc/${pid:-x}/oom_score_adj) $(awk '/open files/{print $4}' /proc/${pid:-x}/limits)" "/bin/sleep 1000 555 77"
	[ -z "${first=yes}" ] || is "nobody else was ever in its pid namespace: it is the second there" "$(awk '/^NSpid/{print $3}' /proc/${pid:-x}/status)" 2
	first=
	is "exec is beside both" \
		"$($RT exec guest sh -c 'echo $(ps -o comm | grep sleep) $(id -u)' 2>&1) $($RT exec host sh -c 'echo $(ps -o comm | grep sleep)' 2>&1)" "sleep sleep 0 sleep sleep"
	$RT delete -f guest 2>&1
	is "taken away, the other lives" "$(status_of host) $($RT exec host echo fine 2>&1)" "running fine"
done
is "no other process of the VM was touched" "$(strangers)" "$before"

# The other one's end, the first process of the pid namespace, is everybody's.
all="pid user network ipc uts cgroup time"
sleeps guest "$(of $host $all)" && $RT start guest
$RT exec guest sh -c 'echo in; exec sleep 1000' >/run/exec.out 2>&1 &
exec=$!
i=0
while [ $i -lt 3000 ] && ! grep -q in /run/exec.out; do
	usleep 20000
	i=$((i + 1))
done
$RT kill host KILL
wait $exec
is "the other is killed: an exec ends with it" "$? $(cat /run/exec.out)" "137 in"
is "so do both" "$(ended host) $(ended guest)" "stopped stopped"
like "exec in what ended so" "$($RT exec guest true 2>&1)" "the container is stopped"
is "the one that joined is deleted first" "$($RT delete guest 2>&1)$($RT delete host 2>&1)$(leftovers)" "0 0 0"
host
sleeps guest "$(of $host $all)" && $RT start guest
is "the other is deleted by force first" "$($RT delete -f host 2>&1)$(ended guest)" stopped
is "then the one that joined" "$($RT delete guest 2>&1)$(leftovers)" "0 0 0"
host
sleeps guest "$(of $host $all)"
$RT kill host KILL
is "it ends while one that joined is not started" "$(ended host) $(ended guest)" "stopped stopped"
like "which is then not started" "$($RT start guest 2>&1)" "not created"
is "but deleted" "$($RT delete host 2>&1)$($RT delete guest 2>&1)$(leftovers)" "0 0 0"

# Namespaces that are held by a descriptor only: no process can come into this
# pid namespace any more.
host
exec 9</proc/$host/ns/pid 8</proc/$host/ns/user 7</proc/$host/ns/net
$RT delete -f host
held="{\"type\":\"mount\"},{\"type\":\"network\",\"path\":\"/proc/$$/fd/7\"}"
held_user=",{\"type\":\"user\",\"path\":\"/proc/$$/fd/8\"}"
held_pid=",{\"type\":\"pid\",\"path\":\"/proc/$$/fd/9\"}"
sleeps guest "$held$held_pid"
is "a pid namespace that has ended is refused" "$? $(cat /run/err)" "1 hyb-runtime: clone: the pid namespace that is joined has ended"
sleeps guest "$held$held_user$held_pid"
is "with a user namespace, too" "$? $(cat /run/err)" "1 hyb-runtime: clone: the pid namespace that is joined has ended"
is "nothing is left of them" "$(leftovers)" "0 0 0"
sleeps guest "$held$held_user,{\"type\":\"pid\"}" && $RT start guest
is "its user and network namespace can still be joined" \
	"$(cat /run/err)$($RT exec guest sh -c 'echo $(id -u) $(readlink /proc/self/ns/user) $(readlink /proc/self/ns/net)' 2>&1)" \
	"0 $(readlink /proc/$$/fd/8) $(readlink /proc/$$/fd/7)"
exec 9<&- 8<&- 7<&-
$RT delete -f guest

# By a path that is the engine's own: as if it were not listed.
sleeps guest '{"type":"mount"},{"type":"pid"},{"type":"user","path":"/proc/self/ns/user"},{"type":"ipc","path":"/proc/1/ns/ipc"},{"type":"network","path":"/proc/self/ns/net"}' &&
	$RT start guest
is "exec where a namespace by path is the engine's own" "$(cat /run/err)$($RT exec guest sh -c 'echo $(id -u) $(ps -o comm | grep -c sleep)' 2>&1)" "0 1"
$RT delete -f guest
is "nothing is left" "$(leftovers)" "0 0 0"
