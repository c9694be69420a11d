# SPDX-License-Identifier: Apache-2.0
# The tests themselves, in the VM, by busybox's shell. TAP.
RT="hyb-runtime --root /run/rt"
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; echo "# $2" | head -5; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted '$3', got '$2'"; fi; }
like() { case $2 in *"$3"*) ok "$1" ;; *) not_ok "$1" "wanted '$3' in '$2'" ;; esac; }
unlike() { case $2 in *"$3"*) not_ok "$1" "'$3' is in '$2'" ;; *) ok "$1" ;; esac; }

# bundle NAME ARGS-JSON [KEY=VALUE...]: a container as the agent makes it.
# Keys: disk ids user init proc (more members of process), lx (of linux),
# mounts, notes.
bundle() {
	b=/run/b/$1 args=$2
	shift 2
	disk=/dev/vda ids=65536 user= init=false proc= lx= mounts= notes=
	ns='{"type":"pid"},{"type":"mount"},{"type":"network"}'
	for kv in "$@"; do eval "${kv%%=*}=\${kv#*=}"; done
	mkdir -p $b
	[ -z "$ids" ] || notes="$notes,\"io.hyb.ids\":\"$ids\""
	[ -z "$disk" ] || notes="$notes,\"io.hyb.erofs\":\"$disk\""
	[ -z "$user" ] || notes="$notes,\"io.hyb.user\":\"$user\""
	cat >$b/config.json <<E
{"ociVersion":"1.2.0","process":{"args":$args,"cwd":"/","env":["PATH=/bin"]$proc},
"root":{"path":"rootfs"},"hostname":"box","mounts":[$mounts],
"annotations":{"io.hyb.init":"$init"$notes},
"linux":{"namespaces":[$ns],"resources":{"memory":{"limit":33554432},"pids":{"limit":64}}$lx}}
E
}
# run NAME: create, start, wait; output in $out, status of create/start in $st
wait_stopped() {
	i=0
	while [ $i -lt 6000 ] && $RT state $1 2>/dev/null | grep -q -E "\"status\": \"(running|created|paused)"; do
		usleep 20000
		i=$((i + 1))
	done
}
run() {
	{
		$RT create -b /run/b/$1 $1 </dev/null 2>/run/err
		echo $? >/run/st
		if [ "$(cat /run/st)" = 0 ]; then
			$RT start $1 2>>/run/err >/dev/null
			echo $? >/run/st
		fi
	} | timeout 120 cat >/run/out
	wait_stopped $1
	st=$(cat /run/st)
	out=$(cat /run/out)
	err=$(cat /run/err)
	$RT delete -f $1
}
check() { # check NAME WANT ARGS-JSON [KEY=VALUE...]
	title=$1 want=$2
	shift 2
	bundle c1 "$@"
	run c1
	is "$title" "$out${err:+ [$err]}" "$want"
}
probe() { # probe TITLE WANT NAME [ARG]
	t=$1 w=$2 a=
	shift 2
	for x in "$@"; do a="$a,\"$x\""; done
	check "$t" "$w" "[\"/bin/probe\"$a]"
}
sh_box() { # sh_box TITLE WANT SCRIPT [KEY=VALUE...]
	t=$1 w=$2 s=$3
	shift 3
	check "$t" "$w" "[\"/bin/sh\",\"-c\",\"$s\"]" "$@"
}

# ------------------------------------------------------------- the basics
sh_box "a container runs from an EROFS disk" "hello" "echo hello"
sh_box "root file system is writable, its image shows through" "box root:x:0:0:root:/root:/bin/sh" \
	"echo box > /etc/new; echo \$(cat /etc/new) \$(head -1 /etc/passwd)"
sh_box "files of the image have the ids of the image" "0:0 1000:1000" \
	"echo \$(stat -c %u:%g /etc/passwd) \$(stat -c %u:%g /home/u)"
sh_box "hostname" "box" hostname
sh_box "pid namespace" "1" "echo \$\$"
sh_box "root is nobody outside" "0 65536 65536" "awk '{print \$1,\$2,\$3}' /proc/self/uid_map"
sh_box "no_new_privs, seccomp, no core" "1 2 0" \
	"echo \$(awk '/NoNewPrivs|Seccomp:/{print \$2}' /proc/self/status) \$(ulimit -c)"
sh_box "open files" "65536 1048576" "echo \$(ulimit -Sn) \$(ulimit -Hn)"
sh_box "capabilities" "00000000800405fb" "awk '/CapEff/{print \$2}' /proc/self/status"
sh_box "memory limit" "33554432" "cat /sys/fs/cgroup/memory.max"
sh_box "no swap, killed as one" "1" "cat /sys/fs/cgroup/memory.oom.group"
sh_box "own cgroup namespace" "0::/" "cat /proc/self/cgroup"
sh_box "cgroup is read-only" "1" "(echo max > /sys/fs/cgroup/memory.max) 2>/dev/null; echo \$?"
sh_box "loopback is up" "1" "ip -o link show lo | grep -c LOWER_UP"
sh_box "HOME from passwd" "/root /home/u" "echo \$HOME /home/u"
sh_box "devices" "full null ptmx random tty urandom zero" \
	"cd /dev; ls -d full null zero random urandom tty ptmx | tr '\\\\n' ' ' | sed 's/ \$//'"
sh_box "std links" "ok" "echo ok > /dev/stdout"
sh_box "a pseudo terminal can be had" "0" "exec 9<>/dev/ptmx; echo \$?"
sh_box "proc/sys is read-only" "1" "(echo x > /proc/sys/kernel/hostname) 2>/dev/null; echo \$?"
sh_box "masked paths are empty" "0 0" "echo \$(cat /proc/timer_list /proc/keys /proc/kallsyms 2>/dev/null | wc -c) \$(ls /sys/firmware | wc -l)"
bundle c1 '["/bin/pwd"]'; sed -i 's#"cwd":"/"#"cwd":"/a/b/c"#' /run/b/c1/config.json; run c1
is "cwd that is missing is made" "$out" "/a/b/c"

# ------------------------------------------------------------------ users
sh_box "user by name" "1000:1000 2000 /home/u" "echo \$(id -u):\$(id -g) \$(id -G | cut -d' ' -f2) \$HOME" user=u
sh_box "user by number, listed" "1000:1000 /home/u" "echo \$(id -u):\$(id -g) \$HOME" user=1000
sh_box "user by number, not listed" "4242:0 /" "echo \$(id -u):\$(id -g) \$HOME" user=4242
sh_box "user and group" "1000:2000" "echo \$(id -u):\$(id -g)" user=u:extra
sh_box "a number is never a name" "777:0" "echo \$(id -u):\$(id -g)" user=777
sh_box "users other than root have no capability" "0000000000000000 0000000000000000" \
	"echo \$(awk '/CapEff|CapBnd/{print \$2}' /proc/self/status)" user=u
for u in nobody-here 4294967296 2147483648 -1 0x0 "u:none" " 0"; do
	bundle c1 '["/bin/true"]' "user=$u"
	run c1
	is "user '$u' is refused" "$st" 1
done

# ----------------------------------------------------------------- attacks
probe "AF_VSOCK is refused" EPERM socket 40
probe "AF_ALG is refused" EPERM socket 38
probe "AF_UNIX works" ok socket 1
probe "AF_INET works" ok socket 2
# SIGSEGV where the kernel has no such entry at all.
probe "a call by int 0x80 kills" signal int80
probe "a call by x32 kills" signal-31 x32
probe "ptrace is refused" EPERM ptrace
probe "mount is refused" EPERM mount
probe "unshare is refused" EPERM unshare 268435456
probe "clone with a user namespace is refused" EPERM clone 268435456
probe "clone3 is not there" ENOSYS syscall 435
probe "a number of the future is not there" ENOSYS syscall 470
probe "bpf is refused" EPERM syscall 321
probe "keyctl is refused" EPERM syscall 250
probe "io_uring_setup is refused" EPERM syscall 425
probe "userfaultfd is refused" EPERM syscall 323
probe "mknod of the image's disk is refused" EPERM mknod 254 0
probe "mknod of memory is refused" EPERM mknod 1 1
probe "its own binary cannot be the engine's" ETXTBSY open-write /proc/self/exe
check "the engine's binary cannot be run through /proc/self/exe" \
	" [hyb-runtime: start 'c1': exec: '/proc/self/exe': Too many levels of symbolic links]" '["/proc/self/exe"]'
sh_box "no descriptor leaks" "0 1 2 3" "ls /proc/self/fd | tr '\\\\n' ' ' | sed 's/ \$//'"
sh_box "nothing of the old root" "0" "grep -c newroot /proc/self/mountinfo"
sh_box "the disk's node cannot be opened" "no" "cat /node-vda 2>/dev/null | head -c1 | wc -c | grep -q 1 && echo yes || echo no"

bundle c1 '["/bin/true"]' disk=/dev/vdb
run c1
is "an image whose /proc is a link is refused" "$st" 1
like "it says so" "$err" "mount: '/proc: must be mounted on ordinary directory'"
sh_box "an image whose /etc/passwd is a link out is read inside" "0" "id -u" disk=/dev/vdc user=root
bundle c1 '["/bin/true"]' disk=/dev/vdc user=evil
run c1
is "a passwd of the VM is not reached by a link" "$st" 1
sh_box "a FIFO as /etc/group does not hang" "0" "id -u" disk=/dev/vdc user=0

# ----------------------------------------------------------- exit and errors
bundle c1 '["/bin/nothing"]'
run c1
is "a missing program fails the start" "$st" 1
like "and says which" "$err" "'/bin/nothing': No such file"
bundle c1 '["/etc/passwd"]'
run c1
like "a file that is no program" "$err" "Permission denied"
bundle c1 '["nothing-in-path"]'
run c1
like "a name that is not in PATH" "$err" "nothing-in-path"

bundle c1 '["/bin/true"]'
sed -i 's/33554432/4096/' /run/b/c1/config.json
run c1
is "a memory limit that is too small for the set-up" "$st" 1
like "is named" "$err" "linux.resources.memory.limit"

# OOM, pids
bundle c1 '["/bin/probe","eat"]'
$RT create -b /run/b/c1 c1 >/run/out 2>/run/err </dev/null && $RT start c1
wait_stopped c1
is "a memory bomb is killed" "$(cat /run/out)" ""
is "and counted" "$(grep -c '^oom_kill [1-9]' /sys/fs/cgroup/hyb/c1/memory.events)" 1
$RT delete c1
probe "a fork bomb ends at pids.max" 63 forks

# ------------------------------------------------------- exec, kill, pause
bundle c1 '["/bin/sleep","100"]'
$RT create -b /run/b/c1 c1 </dev/null >/dev/null 2>/run/err
is "state after create" "$($RT state c1 | grep -o '"status": "created"')" '"status": "created"'
like "create of an id that exists is refused" "$($RT create -b /run/b/c1 c1 2>&1 </dev/null)" "'c1' exists already"
is "and leaves the first alone" "$($RT state c1 | grep -o '"status": "created"')" '"status": "created"'
cp /run/b/c1/config.json /run/b/c1/config.old; sed -i 's#/bin/sleep#/bin/false#' /run/b/c1/config.json
is "exec before start is fine" "$($RT exec c1 true 2>&1; echo $?)" 0
$RT start c1
is "state after start" "$($RT state c1 | grep -o running)" running
is "a config.json that changed after create changes nothing" "$(cat /proc/$($RT state c1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')/comm)" sleep
is "exec" "$($RT exec c1 sh -c 'echo $$ $(hostname)' | grep -c box)" 1
is "exec's exit code" "$($RT exec c1 sh -c 'exit 7'; echo $?)" 7
is "exec of nothing" "$($RT exec c1 nothing 2>/dev/null; echo $?)" 255
is "exec of no program" "$($RT exec c1 /etc/passwd 2>/dev/null; echo $?)" 255
is "exec as a user" "$($RT exec -u u c1 id -u)" 1000
is "exec as a user has that user's home" "$($RT exec -u u c1 sh -c 'echo $HOME')" /home/u
is "exec as a user with a home of its own" "$($RT exec -u u -e HOME=/x c1 sh -c 'echo $HOME')" /x
is "exec is as confined" "$($RT exec c1 sh -c 'awk "/NoNewPrivs|Seccomp:|CapEff/{print \$2}" /proc/self/status | tr "\n" " "')" "00000000800405fb 1 2 "
is "exec is in all its namespaces" "$($RT exec c1 sh -c 'for n in pid mnt uts ipc user net cgroup; do [ "$(readlink /proc/self/ns/$n)" = "$(readlink /proc/1/ns/$n)" ] || echo $n; done')" ""
is "exec is in its cgroup" "$($RT exec c1 cat /proc/self/cgroup)" "0::/"
is "exec in a folder" "$($RT exec --cwd /tmp c1 pwd)" /tmp
is "exec with environment" "$($RT exec -e A=b c1 sh -c 'echo $A')" b
echo '{"args":["sh","-c","echo $PWD $A $(id -u):$(id -g) $(ulimit -n) $(grep -c CapEff:.0000000000000000 /proc/self/status)"],"cwd":"/tmp","env":["PATH=/bin","A=x"],"user":{"uid":1000,"gid":2000},"rlimits":[{"type":"RLIMIT_NOFILE","soft":77,"hard":77}]}' >/run/p.json
is "exec of a process file" "$($RT exec --process /run/p.json c1 2>&1)" "/tmp x 1000:2000 77 1"
like "a process file that is wrong is named" "$(echo '{"args":[],"cwd":"/"}' >/run/q.json; $RT exec --process /run/q.json c1 2>&1)" "process"
is "exec detached writes its pid" "$($RT exec -d --pid-file /run/pid c1 sleep 50 >/dev/null 2>&1 </dev/null && cat /proc/$(cat /run/pid)/comm)" sleep
is "ps" "$($RT ps c1 | wc -l) $($RT ps -f json c1 | grep -c "$(cat /run/pid)")" "3 1"
like "list" "$($RT list)" "running"
is "list as JSON" "$($RT list -f json | grep -c '"id":"c1"')" 1
is "list quiet" "$($RT list -q)" c1
$RT update --memory 24m --pids-limit 40 --cpu-quota 20000 --cpu-period 50000 c1
is "update" "$($RT exec c1 sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max pids.max cpu.max)')" "25165824 40 20000 50000"
$RT update --cpu-period 100000 c1
is "update of a period leaves the quota" "$($RT exec c1 cat /sys/fs/cgroup/cpu.max)" "20000 100000"
echo '{"memory":{"limit":33554432},"cpu":{"shares":1024,"quota":-1},"pids":{"limit":64}}' | $RT update -r - c1
is "update from JSON" "$($RT exec c1 sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max pids.max cpu.max cpu.weight)')" "33554432 64 max 100000 39"
like "update from JSON that is wrong" "$(echo '{"memory":{"limit":"1"}}' | $RT update -r - c1 2>&1)" "resources.memory.limit"
is "update of nothing is refused" "$($RT update c1 2>/dev/null; echo $?)" 2
$RT pause c1
is "paused" "$($RT state c1 | grep -o paused)" paused
$RT resume c1
is "resumed" "$($RT state c1 | grep -o running)" running
is "delete of a running one is refused" "$($RT delete c1 2>/dev/null; echo $?)" 1
$RT kill c1 KILL
wait_stopped c1
is "killed" "$($RT state c1 | grep -o stopped)" stopped
$RT delete c1
is "gone" "$($RT state c1 2>&1 | grep -c 'does not exist')" 1

# ------------------------------------------------------------ command line
bundle c1 '["/bin/sh","-c","echo out; exit 5"]'
is "run" "$($RT run -b /run/b/c1 c1 </dev/null; echo $?)" "out
5"
is "run forgets it" "$($RT list -q)" ""
bundle c1 '["/bin/sleep","100"]'
$RT run -d --pid-file /run/pid -b /run/b/c1 c1 </dev/null >/dev/null 2>&1
is "run detached" "$($RT state c1 | grep -o running) $(cat /proc/$(cat /run/pid)/comm)" "running sleep"
is "kill all" "$($RT kill --all c1 KILL; echo $?)" 0
wait_stopped c1
is "kill of an ended one is refused" "$($RT kill c1 2>/dev/null; echo $?)" 1
is "kill all of an ended one is not" "$($RT kill --all c1 2>&1; echo $?)" 0
$RT delete c1
bundle c1 '["/bin/nothing"]'
is "run of nothing leaves nothing" "$($RT run -b /run/b/c1 c1 >/dev/null 2>&1; echo $?) $($RT list -q)" "1 "
is "delete by force of nothing" "$($RT delete --force none; echo $?)" 0
is "version" "$($RT --version | grep -c '^spec: 1')" 1
is "features" "$($RT features | grep -c -e SCMP_ACT_ERRNO -e '"cgroup",' -e CAP_BPF)" 3
is "--systemd-cgroup is refused" "$($RT --systemd-cgroup list 2>&1 | grep -c 'manages cgroups itself')" 1
is "--log-format is checked" "$($RT --log-format xml list >/dev/null 2>&1; echo $?)" 2
$RT --log /run/log --log-format json --debug state none 2>/dev/null
is "--log as JSON" "$(grep -c '"level":"error","msg":.*does not exist' /run/log)" 1
rm /run/log
$RT --log /run/log state none 2>/dev/null
is "--log as text" "$(grep -c "^time=.* level=error msg=\"container 'none' does not exist" /run/log)" 1

# ------------------------------------------------------------------- init
sh_box "with a reaper the program is not PID 1" "2" "echo \$\$" init=true
bundle c1 '["/bin/sh","-c","exit 9"]' init=true
run c1
bundle c1 '["/bin/sleep","100"]' init=true
$RT create -b /run/b/c1 c1 </dev/null >/dev/null; $RT start c1
pid=$($RT state c1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
$RT kill c1 TERM
wait_stopped c1
is "the reaper hands TERM on" "$($RT state c1 | grep -o stopped)" stopped
$RT delete -f c1

# ------------------------------------------------- two at once, and nothing left
for i in 1 2 3 4 5 6 7 8; do
	bundle m$i '["/bin/sleep","100"]' ids=$((65536 * i)) init=true
	$RT create -b /run/b/m$i m$i </dev/null >/dev/null 2>>/run/err && $RT start m$i
done
is "eight at once" "$(for i in 1 2 3 4 5 6 7 8; do $RT state m$i | grep -o running; done | wc -l)" 8
for i in 1 2 3 4 5 6 7 8; do $RT delete -f m$i; done
is "no cgroup is left" "$(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l)" 0
is "no mount is left" "$(grep -c -e erofs -e overlay /proc/mounts)" 0
is "no state is left" "$(ls /run/rt | wc -l)" 0
is "no staging folder is left" "$(ls -d /run/hyb-rootfs* 2>/dev/null | wc -l)" 0
i=0; while [ $i -lt 6000 ] && [ "$(ps | grep -c '[s]leep')" != 0 ]; do usleep 20000; i=$((i + 1)); done
is "no process is left" "$(ps | grep -c '[s]leep')" 0

# ------------------------------------------- without a user namespace, as root
# What an OCI bundle may ask for: the engine's binary must hold out even then.
mkdir -p /run/plain/rootfs
mount -t tmpfs plain /run/plain/rootfs
mkdir -p /run/plain/rootfs/bin /run/plain/rootfs/proc /run/plain/rootfs/dev
cp /bin/busybox /run/plain/rootfs/bin/sh
cp /bin/busybox /run/plain/rootfs/bin/cat
printf '#!/proc/self/exe\n' >/run/plain/rootfs/bin/script
chmod 755 /run/plain/rootfs/bin/script
plain() { # plain ARGS-JSON
	cat >/run/plain/config.json <<E
{"ociVersion":"1.0.2","process":{"args":$1,"cwd":"/","env":["PATH=/bin"]},"root":{"path":"rootfs"},
"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}
E
	{ $RT create -b /run/plain p1 </dev/null && $RT start p1; } 2>/run/err | timeout 120 cat >/run/out
	wait_stopped p1
	out=$(cat /run/out) err=$(cat /run/err)
	$RT delete -f p1
}
sum=$(md5sum /bin/hyb-runtime)
plain '["/bin/script"]'
like "a script whose interpreter is /proc/self/exe gets the engine's usage" "$err" "there is no verb"
plain '["/bin/sh","-c","cat /proc/self/status"]'
like "no capabilities unless asked for" "$out" "CapEff:	0000000000000000"
is "the engine's binary is as it was" "$(md5sum /bin/hyb-runtime)" "$sum"

# hooks: what each reads goes to a file of its name
cat >/run/hook <<'E'
#!/bin/sh
/bin/cat >/run/hook.$1
[ -z "$A" ] || echo "$A" >>/run/hook.$1
[ "$2" != fail ] || exit 3
[ "$2" != hang ] || exec /bin/sleep 60
E
chmod 755 /run/hook
hook() { echo "\"$1\":[{\"path\":\"/run/hook\",\"args\":[\"hook\",\"$1\",\"$2\"],\"env\":[\"A=env\"],\"timeout\":${3:-20}}]"; }
hooked() { # hooked HOOKS-JSON
	rm -f /run/hook.*
	plain '["/bin/sh","-c","echo ran"]'
	sed -i "s#\"ociVersion\"#\"hooks\":{$1},\"annotations\":{\"k\":\"v\"},&#" /run/plain/config.json
	$RT create -b /run/plain p1 </dev/null >/run/out 2>/run/err
	st=$?
	[ $st != 0 ] || { $RT start p1 2>>/run/err; st=$?; }
	wait_stopped p1
	$RT delete -f p1 2>>/run/err
	err=$(cat /run/err) out=$(cat /run/out)
}
hooked "$(hook prestart),$(hook createRuntime),$(hook poststart),$(hook poststop)"
is "hooks run" "$st$err $(cd /run; echo hook.*)" "0 hook.createRuntime hook.poststart hook.poststop hook.prestart"
like "prestart knows the state" "$(cat /run/hook.prestart)" '"status":"creating","bundle":"/run/plain"'
like "createRuntime has a pid" "$(cat /run/hook.createRuntime)" '"pid":'
like "poststart knows the state" "$(cat /run/hook.poststart)" '"status":"running"'
like "poststop knows the state" "$(cat /run/hook.poststop)" '"status":"stopped"'
like "hooks know the annotations" "$(cat /run/hook.poststop)" '"annotations":{"k":"v"}'
is "hooks have their environment" "$(tail -n1 /run/hook.prestart | sed 's/.*}//')" env
hooked "$(hook createRuntime fail),$(hook poststop)"
is "a failing createRuntime fails the creation" "$st $out" "1 "
like "and is named" "$err" "hooks.createRuntime[0]: '/run/hook' ended with status 3"
is "and poststop ran" "$(ls /run/hook.poststop)" /run/hook.poststop
hooked "$(hook prestart hang 1)"
is "a hook that hangs is ended" "$st" 1
like "and its timeout named" "$err" "hooks.prestart[0]"
hooked "$(hook poststart),$(hook poststop fail)"
is "a failing poststop is a warning" "$st $out" "0 ran"
like "which is told" "$err" "hooks.poststop[0]"
hooked "\"prestart\":[{\"path\":\"hook\"}]"
like "a relative path of a hook is refused" "$err" "path: must be absolute"
hooked "$(hook prestart x 0)"
like "a timeout of 0 is refused" "$err" "hooks.prestart[0].timeout"
is "no state is left by hooks" "$(ls /run/rt | wc -l) $(ls -d /sys/fs/cgroup/hyb/*/ 2>/dev/null | wc -l)" "0 0"

# The other files of tests.
. /mounts.sh

# speed: create + start + delete of true
bundle c1 '["/bin/true"]'
t0=$(cut -d' ' -f1 /proc/uptime | tr -d .)
i=0
while [ $i -lt 20 ]; do
	$RT create -b /run/b/c1 c1 </dev/null >/dev/null 2>&1
	$RT start c1
	$RT delete -f c1
	i=$((i + 1))
done
t1=$(cut -d' ' -f1 /proc/uptime | tr -d .)
echo "# create+start+delete of true: $(((t1 - t0) * 10 / 20)) ms"
bundle c1 '["/bin/sleep","100"]'
$RT create -b /run/b/c1 c1 </dev/null >/dev/null 2>&1; $RT start c1
t0=$(cut -d' ' -f1 /proc/uptime | tr -d .)
i=0
while [ $i -lt 20 ]; do $RT exec c1 true; i=$((i + 1)); done
t1=$(cut -d' ' -f1 /proc/uptime | tr -d .)
echo "# exec of true: $(((t1 - t0) * 10 / 20)) ms"
$RT delete -f c1
. /spec.sh
. /suites.sh
. /joined.sh
. /seccomp.sh
. /resources.sh
. /bundles.sh
. /runtime.sh
. /rootless.sh
. /services.sh
echo "1..$n"
