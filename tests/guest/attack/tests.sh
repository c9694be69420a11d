# SPDX-License-Identifier: Apache-2.0
# The attacks themselves, in the VM, by busybox's shell. TAP.
RT="hyb-runtime --root /run/rt"
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; echo "# $2" | head -5; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted '$3', got '$2'"; fi; }
like() { case $2 in *"$3"*) ok "$1" ;; *) not_ok "$1" "wanted '$3' in '$2'" ;; esac; }

# bundle NAME ARGS-JSON [KEY=VALUE...]: a container as the agent makes it, from
# the image, or with dir= from a folder; plain=1: as the configuration says.
bundle() {
	b=/run/b/$1 args=$2
	shift 2
	ids=65536 dir= plain= cwd=/ mounts= lx= top= proc= limit=33554432
	for kv in "$@"; do eval "${kv%%=*}=\${kv#*=}"; done
	notes="\"io.hyb.ids\":\"$ids\""
	[ -n "$dir" ] || notes="$notes,\"io.hyb.erofs\":\"/dev/vda\""
	[ -z "$plain" ] || notes='"a":"b"'
	mkdir -p $b
	cat >$b/config.json <<J
{"ociVersion":"1.2.0","process":{"args":$args,"cwd":"$cwd","env":["PATH=/bin"]$proc},"root":{"path":"${dir:-rootfs}"},
"mounts":[$mounts],"annotations":{$notes}$top,
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"}],
"resources":{"memory":{"limit":$limit},"pids":{"limit":64}}$lx}}
J
}
wait_stopped() {
	i=0
	while [ $i -lt 6000 ] && $RT state $1 2>/dev/null | grep -q -E '"status": "(running|created|paused)'; do
		usleep 20000
		i=$((i + 1))
	done
}
# run NAME: $out and $err; deleted after it
run() {
	{ $RT create -b /run/b/$1 $1 </dev/null && $RT start $1; } 2>/run/err | timeout 120 cat >/run/out
	wait_stopped $1
	out=$(cat /run/out) err=$(cat /run/err)
	$RT delete -f $1
}
up() { # up NAME: runs and stays
	$RT create -b /run/b/$1 $1 </dev/null >/run/$1.out 2>/run/$1.err && $RT start $1 2>>/run/$1.err
}
until_in() { # until_in FILE TEXT
	i=0
	while [ $i -lt 6000 ] && ! grep -q "$2" $1 2>/dev/null; do usleep 20000; i=$((i + 1)); done
}
box() { # box TITLE WANT ARGS-JSON [KEY=VALUE...]
	t=$1 w=$2
	shift 2
	bundle c1 "$@"
	run c1
	is "$t" "$out${err:+ [$err]}" "$w"
}

# What nobody may reach: a folder of the VM with a secret in it.
mkdir -p /run/outside
echo SECRET >/run/outside/secret
outside() { echo $(find /run/outside | sort) $(cat /run/outside/secret); }
untouched="/run/outside /run/outside/secret SECRET"
# A writable root on a tmpfs, of ids 65536 and on.
R=/run/shared/rootfs
mkdir -p $R
mount -t tmpfs -o mode=755 shared $R
new_root() {
	rm -rf $R/*
	mkdir -p $R/bin $R/etc $R/tmp $R/proc $R/sys $R/dev
	cp /bin/busybox /bin/attack $R/bin/
	for a in sh cat ls echo pwd sleep true grep env readlink sed; do ln -s busybox $R/bin/$a; done
	chown -R 65536:65536 $R
}
bind_file=',{"destination":"/etc/hosts","type":"bind","source":"/run/hosts","options":["bind"]}'
tmp() { echo "{\"destination\":\"$1\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"size=64k\"${2:+,$2}]}"; }
echo hosts >/run/hosts

# ------------------------------------------------------------ links, static
for out_by in /run/outside ../../../../../run/outside /proc/1/root/run/outside; do
	for p in dev proc sys; do
		new_root
		rmdir $R/$p
		ln -s $out_by $R/$p
		bundle c1 '["/bin/true"]' dir=$R
		run c1
		case "$err" in *"Too many levels"* | *"Not a directory"*) got=refused ;; *) got="$err" ;; esac
		is "/$p is a link to $out_by: refused" "$got $(outside)" "refused $untouched"
	done
	# All at once where such a link stays inside; each by itself where it
	# is refused, or the first would be the only one that was tried.
	new_root
	for p in mnt wd masked ro etc/hosts copy; do ln -s $out_by/$p $R/$p; done
	mkdir -p $R/run/outside/mnt $R/run/outside/wd $R/run/outside/masked $R/run/outside/ro $R/run/outside/copy $R/run/outside/etc
	: >$R/run/outside/etc/hosts
	chown -R 65536:65536 $R/run
	case $out_by in /proc*) each="mnt wd masked ro copy" ;; *) each=all ;; esac
	for p in $each; do
		case $p in
		mnt) set -- mounts="$(tmp /mnt)" ;;
		wd) set -- cwd=/wd ;;
		masked) set -- lx=',"maskedPaths":["/masked"]' ;;
		ro) set -- lx=',"readonlyPaths":["/ro"]' ;;
		copy) set -- mounts="$(tmp /copy '"tmpcopyup"')$bind_file" ;;
		all) set -- mounts="$(tmp /mnt),$(tmp /copy '"tmpcopyup"')$bind_file" cwd=/wd lx=',"maskedPaths":["/masked"],"readonlyPaths":["/ro"]' ;;
		esac
		bundle c1 '["/bin/sh","-c","cat /mnt/secret /wd/secret /masked/secret /ro/secret /copy/secret ./secret 2>/dev/null; echo ran"]' dir=$R "$@"
		run c1
		case $out in ran) out= ;; *) [ $p != all ] || out="did not run: $out$err" ;; esac
		is "$p: links to $out_by: nothing of it is seen or made" "$out$(outside)" "$untouched"
	done
done
new_root
ln -s /run/outside $R/dev/pts; ln -s /run/outside $R/dev/shm; ln -s /run/outside/null $R/dev/null
ln -s /run/outside/console $R/dev/console; ln -s /run/outside/ptmx $R/dev/ptmx
box "links in the image's /dev are under a fresh one" "null 1:3 pts" \
	'["/bin/sh","-c","echo x >/dev/null && echo null $(busybox stat -c %t:%T /dev/null) $(ls -d /dev/pts | busybox sed s,.*/,,)"]' dir=$R
is "and lead nowhere" "$(outside)" "$untouched"

# ------------------------------------------------------------- links, raced
# A second container has the same root as a volume, and swaps folders for links
# in it while others are made on it. The race is met: each of the two is what a
# creation found, more than once.
# racer LINK-TARGET PATH...
racer() {
	new_root
	mkdir -p $R/run/outside $R/vol
	echo INSIDE >$R/run/outside/secret
	to=$1 names=
	shift
	for p in "$@"; do
		case $p in dev/console) : >$R/$p ;; *) mkdir -p $R/$p ;; esac
		ln -s $to $R/$p.link
		names="$names,\"/r/$p\""
	done
	cat >$R/bin/see <<'S'
cat /mnt/secret /wd/secret /masked/secret /ro/secret /vol/secret ./secret 2>/dev/null
sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - tmpfs t .*/on \1/p' /proc/self/mountinfo
echo in $(pwd -P)
echo ran
S
	chown -R 65536:65536 $R
	bundle racer "[\"/bin/attack\",\"race\"$names]" mounts="{\"destination\":\"/r\",\"type\":\"bind\",\"source\":\"$R\",\"options\":[\"bind\"]}"
	up racer
	until_in /proc/$($RT state racer | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')/root/swaps .
}
swaps() { $RT exec racer cat /swaps; }
# What the creation found of "mnt" and "wd" (or why it was refused).
met() {
	case "$err" in
	*"Too many levels"* | *"Not a directory"*) echo link ;;
	*"temporarily unavailable"*) echo gave-up ;;
	*[a-z]*) echo "$err" | tr -c 'a-zA-Z/\n' '-' ;;
	*) echo dir ;;
	esac
	case "$out" in *"on /run/outside"*) echo mnt-link ;; *"on /mnt"*) echo mnt-dir ;; esac
	case "$out" in *"in /run/outside"*) echo wd-link ;; *"in /wd"*) echo wd-dir ;; esac
}
# raced TITLE WORD...: c1 is made until each of the words was met twice
raced() {
	t=$1 bad='' j=0
	shift
	: >/run/met
	s0=$(swaps)
	while [ $j -lt 300 ]; do
		run c1
		j=$((j + 1))
		case "$out" in *SECRET*) bad="$bad secret:$out" ;; esac
		[ "$(outside)" = "$untouched" ] || bad="$bad $(outside)"
		met >>/run/met
		missing=
		for w in "$@"; do [ $(grep -cx -e $w /run/met) -ge 2 ] || missing="$missing $w"; done
		[ -z "$bad" ] && { [ -n "$missing" ] || [ $j -lt 4 ]; } || break
	done
	s1=$(swaps)
	is "raced: $t: nothing outside is seen or made" "$bad" ""
	is "raced: $t: both were met, and swapped meanwhile" "$missing $([ ${s1:-0} -gt ${s0:-0} ] && echo more)$(cat /run/racer.err)" " more"
	echo "# $j made: $(sort /run/met | uniq -c | tr '\n' ' '); $((s1 - s0)) swaps"
	$RT delete -f racer
}
see='["/bin/sh","/bin/see"]'
racer /run/outside mnt wd masked ro
bundle c1 "$see" dir=$R cwd=/wd mounts="$(tmp /mnt),$(tmp /mnt/a/b | sed 's/"source":"t"/"source":"u"/')" lx=',"maskedPaths":["/masked"],"readonlyPaths":["/ro"]'
raced "targets of mounts, working directory, masked and read-only paths" mnt-link mnt-dir wd-link wd-dir
racer ../../../../../run/outside mnt
bundle c1 "$see" dir=$R mounts="$(tmp /mnt '"tmpcopyup"')$(echo "$bind_file" | sed 's#/etc/hosts#/mnt/hosts#')"
raced "a target by a link that climbs, with copying up" mnt-dir
for p in sys proc dev; do
	racer /run/outside $p
	bundle c1 "$see" dir=$R
	raced "/$p" dir link
done
# The folder that a volume is of: with the links of the whole VM, not the root's.
racer /run/outside src
bundle c1 "$see" dir=$R mounts="{\"destination\":\"/vol\",\"type\":\"bind\",\"source\":\"$R/src\",\"options\":[\"bind\"]}"
raced "the source of a bind" dir link
# A /dev that another container can write to, with a terminal and a bind there.
racer /run/outside/secret dev/console
mkdir -p $R/dev/pts
chown 65536:65536 $R/dev/pts
bundle c1 '["/bin/sh","-c","echo x >/dev/console; tty; cat /dev/console.link; echo ran"]' dir=$R proc=',"terminal":true' \
	mounts="{\"destination\":\"/dev\",\"type\":\"bind\",\"source\":\"$R/dev\",\"options\":[\"bind\"]},{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"newinstance\",\"ptmxmode=0666\"]},{\"destination\":\"/dev/console\",\"type\":\"bind\",\"source\":\"/run/hosts\",\"options\":[\"bind\"]}"
j=0 bad='' ran=0
s0=$(swaps)
while [ $j -lt 6 ]; do
	out=$(timeout 60 $RT run -b /run/b/c1 c1 2>&1 </dev/null)
	case "$out" in *SECRET*) bad="$bad $out" ;; *ran*) ran=$((ran + 1)) ;; esac
	[ "$(outside)" = "$untouched" ] || bad="$bad $(outside)"
	j=$((j + 1))
done
is "raced: /dev/console, with a terminal: nothing outside is seen or made" "$bad" ""
is "raced: /dev/console: containers ran, and it was swapped meanwhile" "$([ $ran -gt 0 ] && echo ran) $([ $(swaps) -gt $s0 ] && echo more) $(cat /run/hosts)" "ran more hosts"
echo "# $ran of $j ran; the last one: $out"
$RT delete -f racer
is "no cgroup, mount or state of these is left" "$(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l) $(ls /run/rt | wc -l) $(grep -c "$R/" /proc/mounts)" "0 0 0"

# ------------------------------------------------- descriptors, working dir
exec 7</run/outside 8</run/hosts 9<>/dev/null
box "what the caller had open is closed: create" "end" '["/bin/attack","fds"]'
bundle c1 '["/bin/sleep","1000"]'
up c1
is "what the caller had open is closed: exec" "$($RT exec c1 /bin/attack fds 2>&1)" end
bad=
for d in /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/6 /proc/self/fd/7 /proc/self/fd/8 /proc/self/fd/9 /proc/self/fd/10 /proc/self/fd/11 /proc/self/cwd /proc/1/root/.. /proc/self/fd/7/..; do
	out=$($RT exec --cwd $d c1 /bin/sh -c 'cat secret ../outside/secret; pwd -P' 2>/dev/null)
	case "$out" in "" | /*) ;; *) bad="$bad exec:$d:$out" ;; esac
	case "$out" in *SECRET* | *outside*) bad="$bad exec:$d:$out" ;; esac
	case $d in */3 | */7 | */9 | */cwd | */..) ;; *) continue ;; esac
	bundle c2 '["/bin/sh","-c","cat secret ../outside/secret 2>/dev/null; pwd -P"]' cwd=$d ids=131072
	run c2
	case "$out" in *SECRET* | *outside*) bad="$bad create:$d:$out" ;; esac
done
is "no descriptor is a way out as the working directory" "$bad" ""
exec 7<&- 8<&- 9<&-
is "users that are none are refused by exec" "$(for u in -1 4294967295 4294967296 2147483648 18446744073709551616 0:-1 0:4294967296 65536 0:65536 0x0 1e3 ' 1' '1 ' ::; do $RT exec -u "$u" c1 /bin/true 2>/dev/null && echo "$u"; done)" ""
is "while one that is, is not" "$($RT exec -u 65535:65535 c1 /bin/busybox id -u)" 65535
is "only its own processes are in /proc" "$($RT exec c1 /bin/sh -c 'cat /proc/[0-9]*/comm' | sort | tr '\n' ' ')" "cat sleep "

# -------------------------------------------------- sockets, files, devices
is "sockets: unix, inet, inet6, netlink and no other" "$($RT exec c1 /bin/attack families)" "1 2 10 16 end"
for d in /proc/sys /proc /sys /sys/fs/cgroup; do
	is "no file of $d opens for writing (but a process's own)" "$($RT exec c1 /bin/attack walk $d)" 0
done
settings() { cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hostname /proc/sys/vm/panic_on_oom /sys/kernel/uevent_helper 2>/dev/null; }
before=$(settings)
$RT exec c1 /bin/sh -c 'for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /sys/kernel/uevent_helper; do echo 1 >$f; done' 2>/dev/null
is "core_pattern and its like are as they were" "$(settings)" "$before"
is "sysrq is not pulled" "$($RT exec c1 /bin/sh -c 'echo b >/proc/sysrq-trigger' 2>/dev/null; $RT state c1 | grep -o running)" running
is "a process does not save itself from the OOM killer" "$($RT exec c1 /bin/attack lower-oom)" EACCES
is "a cgroup is not made, left or freed" "$($RT exec c1 /bin/sh -c 'cd /sys/fs/cgroup; mkdir x 2>/dev/null && echo made; echo 1 >../cgroup.procs && echo left; echo max >pids.max && echo freed; echo x >release_agent && echo agent; mount -t cgroup2 c /tmp && echo mounted; mount -o remount,rw /sys/fs/cgroup && echo remounted' 2>/dev/null)" ""
devices=$(cat /sys/class/block/*/dev /sys/block/*/*/dev 2>/dev/null | sort -u | sed 's/^/b /; s/:/ /')
chars=$(cat /sys/dev/char/*/dev 2>/dev/null; ls /sys/dev/char)
is "the VM has block devices to try" "$([ $(echo "$devices" | grep -c .) -ge 1 ] && echo yes)" yes
is "mknod of every block device is refused" "$(echo "$devices" | $RT exec c1 /bin/attack mknods)" 0
is "mknod of every character device is refused" "$(echo "$chars" | sed 's/^/c /; s/:/ /' | $RT exec c1 /bin/attack mknods)" 0
$RT delete -f c1
new_root
mkdir $R/nodes
echo "$devices" | while read -r t a b; do mknod -m 666 $R/nodes/b$a-$b b $a $b; done
for c in $(ls /sys/dev/char) 1:1 1:2 1:4 10:200 10:229 10:235; do [ -e $R/nodes/c${c%:*}-${c#*:} ] || mknod -m 666 $R/nodes/c${c%:*}-${c#*:} c ${c%:*} ${c#*:}; done
box "of every device's node in an image only the short list opens" "c1-3 c1-5 c1-7 c1-8 c1-9 c5-0 c5-2 many" \
	'["/bin/sh","-c","echo $(attack nodes /nodes | busybox tr \" \" \"\\n\" | busybox sort)"]' dir=$R

# ----------------------------------------------------- mounts and hooks out
mount --make-rshared /
before=$(wc -l </proc/mounts)
CAPS='"CAP_SYS_ADMIN","CAP_DAC_OVERRIDE","CAP_SYS_CHROOT"'
root_proc=",\"capabilities\":{\"bounding\":[$CAPS],\"effective\":[$CAPS],\"permitted\":[$CAPS]}"
new_root
mkdir -p $R/v; chown -R 0:0 $R
mkdir -p /run/vol
bundle c1 '["/bin/sh","-c","busybox mount -t tmpfs x /v && busybox mount -t tmpfs x /tmp && echo mounted; sleep 1000"]' dir=$R plain=1 proc="$root_proc" \
	mounts='{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/v","type":"bind","source":"/run/vol","options":["rbind"]}'
up c1
until_in /run/c1.out mounted
is "mounts of a container with CAP_SYS_ADMIN" "$(cat /run/c1.out /run/c1.err)" mounted
is "stay in it" "$(wc -l </proc/mounts)" "$before"
$RT delete -f c1
mount --make-rprivate /
printf '#!/bin/sh\nexec /bin/env >/run/hook.env\n' >/run/hook
chmod 755 /run/hook
bundle c1 '["/bin/true"]' dir=$R plain=1 top=',"hooks":{"createRuntime":[{"path":"/run/hook","env":["A=b"]}]}'
export HIDDEN=secret
run c1
is "hooks have the configuration's environment and not the engine's" "$(grep -v -e ^PWD= -e ^PATH= -e ^SHLVL= -e ^_= /run/hook.env)" "A=b"

# ------------------------------------------- those who wait for what joins
sum=$(md5sum /bin/hyb-runtime)
new_root
chown -R 0:0 $R
CAPS='"CAP_SYS_ADMIN","CAP_SYS_PTRACE","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER"'
all_proc=",\"capabilities\":{\"bounding\":[$CAPS],\"effective\":[$CAPS],\"permitted\":[$CAPS]}"
# lurks TITLE HOW COMMAND...: c1 lurks while the command is done over and over
lurks() {
	t=$1
	shift 2
	up c1
	until_in /run/c1.out ready
	j=0
	while [ $j -lt 400 ] && ! grep -q often /run/c1.out; do
		"$@" || break
		j=$((j + 1))
	done
	$RT kill c1 TERM
	wait_stopped c1
	is "$t" "$(grep often /run/c1.out) $(tail -n 1 /run/c1.out)$(cat /run/c1.err)" "often seen 0"
	echo "# $j times"
	$RT delete -f c1
}
execs() { $RT exec c1 /bin/true 2>/run/err; }
# joins TYPE...: another container in namespaces of c1
joins() {
	pid=$($RT state c1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
	ns='{"type":"mount"}'
	for ty in "$@"; do ns="$ns,{\"type\":\"$ty\",\"path\":\"/proc/$pid/ns/$ty\"}"; done
	mkdir -p /run/b/j1
	cat >/run/b/j1/config.json <<J
{"ociVersion":"1.2.0","process":{"args":["/bin/true"],"cwd":"/","env":["PATH=/bin"]},"root":{"path":"$R"},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],"linux":{"namespaces":[$ns]}}
J
	$RT run -b /run/b/j1 j1 </dev/null 2>/run/err
}
proc_mount='{"destination":"/proc","type":"proc","source":"proc"}'
lurk() { bundle c1 "[\"/bin/attack\",\"lurk\",\"$1\"]" dir=$R plain=1 mounts="$proc_mount" proc="$2" lx="$3"; }
lurk exe "$all_proc"
lurks "root without a user namespace waits for an exec and writes to its program" exe execs
lurk look
lurks "it waits for an exec: traces it, opens what is in its /proc/PID" look execs
lurk look
lurks "it waits for a container that joins its pid namespace: the same" look joins pid
# Root with every right in a user namespace of its own.
chown -R 65536:65536 $R
lurk look "$all_proc" ',"uidMappings":[{"containerID":0,"hostID":65536,"size":65536}],"gidMappings":[{"containerID":0,"hostID":65536,"size":65536}]'
sed -i 's/{"type":"pid"}/{"type":"pid"},{"type":"user"}/' /run/b/c1/config.json
lurks "root of a user namespace waits for a container that joins both: the same" look joins user pid
is "the engine's binary is as it was" "$(md5sum /bin/hyb-runtime)" "$sum"

# ------------------------------------------------------------------- bombs
bundle b1 '["/bin/sleep","1000"]' ids=131072
up b1
calm=$($RT exec b1 /bin/attack naps)
bundle c1 '["/bin/attack","bomb"]'
up c1
i=0; while [ $i -lt 6000 ] && [ "$(cat /sys/fs/cgroup/hyb/c1/pids.current)" -lt 64 ]; do usleep 20000; i=$((i + 1)); done
is "a fork bomb ends at its limit" "$(cat /sys/fs/cgroup/hyb/c1/pids.current)" 64
echo "# the neighbour's longest nap of 1 ms: $calm ms, beside a fork bomb $($RT exec b1 /bin/attack naps) ms"
is "its neighbour answers" "$(timeout 120 $RT exec b1 /bin/echo fine)" fine
is "and it can be taken away" "$(timeout 120 $RT delete -f c1 2>&1)$(ls -d /sys/fs/cgroup/hyb/c1 2>/dev/null)" ""
bundle c1 '["/bin/attack","eat"]' limit=-1
up c1
wait_stopped c1
is "a container without a limit eats the VM's memory: it is killed" "$(grep -c '^oom_kill [1-9]' /sys/fs/cgroup/hyb/c1/memory.events)" 1
is "its neighbour lives and answers" "$($RT state b1 | grep -o running) $(timeout 120 $RT exec b1 /bin/echo fine)" "running fine"
$RT delete -f c1
$RT delete -f b1
is "nothing is left" "$(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l) $(ls /run/rt | wc -l) $(grep -c -e erofs -e overlay /proc/mounts)" "0 0 0"
echo "1..$n"
