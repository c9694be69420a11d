# SPDX-License-Identifier: Apache-2.0
# Filters of system calls: every action, operator and flag, the supervisor of
# SCMP_ACT_NOTIFY, and the default profile's answer to every number. Sourced by
# tests.sh behind spec.sh, whose root file system it uses.
cp /bin/seccomp $FULL/rootfs/bin/seccomp
LISTENER=/run/listener

# filtered TITLE WANT SECCOMP-JSON ARG...: what `seccomp ARG...` prints
filtered() {
	t=$1 w=$2 lx=$3
	shift 3
	full "exec /bin/seccomp $*" lx=",\"seccomp\":$lx" proc="${proc_more:-}"
	is "$t" "$out${err:+ [$err]}" "$w"
}
rule() { # rule ACTION NAME [MORE]: a profile that is open but for one call
	echo "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"$2\"],\"action\":\"$1\"${3:-}}]${4:-}}"
}
# 121 getpgid, 124 getsid, 140 getpriority, 163 acct: of no use to the C library
filtered "SCMP_ACT_ERRNO is EPERM" EPERM "$(rule SCMP_ACT_ERRNO getpgid)" call 121
filtered "SCMP_ACT_ERRNO with errnoRet" EXDEV "$(rule SCMP_ACT_ERRNO getpgid ',"errnoRet":18')" call 121
filtered "SCMP_ACT_KILL_PROCESS" signal-31 "$(rule SCMP_ACT_KILL_PROCESS getpgid)" call 121
filtered "and takes the threads along" signal-31 "$(rule SCMP_ACT_KILL_PROCESS getpgid)" thread 121
filtered "SCMP_ACT_KILL_THREAD" thread-gone "$(rule SCMP_ACT_KILL_THREAD getpgid)" thread 121
filtered "SCMP_ACT_KILL is that of a thread" thread-gone "$(rule SCMP_ACT_KILL getpgid)" thread 121
filtered "SCMP_ACT_TRAP raises SIGSYS" "trapped 31 121 x86_64 0" "$(rule SCMP_ACT_TRAP getpgid)" trap 121
filtered "SCMP_ACT_TRACE without a tracer" ENOSYS "$(rule SCMP_ACT_TRACE getpgid)" call 121
filtered "SCMP_ACT_TRACE under one, with errnoRet" "event 77, got 4711" "$(rule SCMP_ACT_TRACE getpgid ',"errnoRet":77')" trace 121
filtered "and its number where there is none is EPERM's" "event 1, got 4711" "$(rule SCMP_ACT_TRACE getpgid)" trace 121
filtered "SCMP_ACT_LOG goes on" ok "$(rule SCMP_ACT_LOG getpgid)" call 121
filtered "SCMP_ACT_ALLOW" ok "$(rule SCMP_ACT_ALLOW getpgid)" call 121
filtered "a rule for a call newer than libseccomp" EXDEV "$(rule SCMP_ACT_ERRNO cachestat ',"errnoRet":18')" call 451
filtered "and for one that the kernel has not" signal-31 "$(rule SCMP_ACT_KILL_PROCESS listns)" call 470
filtered "other new ones are the kernel's to answer" ENOSYS "$(rule SCMP_ACT_ERRNO cachestat)" call 471

# An argument of 64 bits against 0x100000005.
five=4294967301
op() { # op OPERATOR VALUE... -> the answers
	answers=
	o=$1
	shift
	for v in "$@"; do
		full "exec /bin/seccomp call 121 $v" lx=",\"seccomp\":$(rule SCMP_ACT_ERRNO getpgid ",\"errnoRet\":18,\"args\":[{\"index\":0,\"value\":$five,\"op\":\"$o\"$more}]")"
		[ "$out" = EXDEV ] && answers="$answers 1" || answers="$answers 0"
	done
}
more=
for c in "EQ 0 1 0" "NE 1 0 1" "LT 1 0 0" "LE 1 1 0" "GE 0 1 1" "GT 0 0 1"; do
	op SCMP_CMP_${c%% *} 4294967300 $five 4294967302
	is "SCMP_CMP_${c%% *}" "$answers" " ${c#* }"
done
five=15 more=',"valueTwo":5'
op SCMP_CMP_MASKED_EQ 5 4294967301 7
is "SCMP_CMP_MASKED_EQ" "$answers" " 1 1 0"
two() { rule SCMP_ACT_ERRNO getpgid ",\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"},{\"index\":1,\"value\":2,\"op\":\"SCMP_CMP_EQ\"}]"; }
filtered "conditions on two arguments are both" EPERM "$(two)" call 121 1 2
filtered "one of them is not enough" ok "$(two)" call 121 1 3
for f in TSYNC LOG SPEC_ALLOW; do
	filtered "SECCOMP_FILTER_FLAG_$f" EPERM "$(rule SCMP_ACT_ERRNO getpgid '' ",\"flags\":[\"SECCOMP_FILTER_FLAG_$f\"]")" call 121
done
X86='{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ERRNO"}]}'
filtered "architectures: x86_64 among others" EPERM "$X86" call 39
filtered "x32, where it is named, is filtered and not killed" EPERM "$X86" call 1073741863
filtered "where it is not it is" signal-31 "$(rule SCMP_ACT_ERRNO getpgid)" call 1073741863
# Without no_new_privs the privileges go after the filter, with it before.
proc_more=',"noNewPrivileges":true'
filtered "with no_new_privs" EPERM "$(rule SCMP_ACT_ERRNO getpgid)" call 121
proc_more=
STRICT='{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["execve"],"action":"SCMP_ACT_ALLOW"}]}'
full "" proc=',"noNewPrivileges":true' lx=",\"seccomp\":$STRICT"
is "with a filter that allows no more than execve a program is executed" "$st" 0

no() { # no TITLE WORDS SECCOMP-JSON
	refused "$1" "$2" lx=",\"seccomp\":$3"
}
no "an unknown action" "linux.seccomp.syscalls[0].action: unknown action 'SCMP_ACT_WISH'" "$(rule SCMP_ACT_WISH getpgid)"
no "an unknown operator" "linux.seccomp.syscalls[0].args[0].op: unknown operator '=='" "$(rule SCMP_ACT_ERRNO getpgid ',"args":[{"index":0,"value":1,"op":"=="}]')"
no "errnoRet of an action without" "'SCMP_ACT_KILL' takes no errno" "$(rule SCMP_ACT_KILL getpgid ',"errnoRet":1')"
no "an unknown flag" "linux.seccomp.flags[0]: unknown 'F'" "$(rule SCMP_ACT_ERRNO getpgid '' ',"flags":["F"]')"
no "an unknown architecture" "linux.seccomp.architectures: unknown 'SCMP_ARCH_Z80'" "$(rule SCMP_ACT_ERRNO getpgid '' ',"architectures":["SCMP_ARCH_Z80"]')"

# ---------------------------------------------------------- the supervisor
NOTIFY='"SCMP_ACT_NOTIFY"'
notify() { # notify [MORE]: openat, mkdir and mkdirat are asked about
	echo "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"$LISTENER\"$1,\"syscalls\":[{\"names\":[\"openat\",\"mkdir\",\"mkdirat\"],\"action\":$NOTIFY}]}"
}
no "NOTIFY without a listenerPath" "linux.seccomp.listenerPath: is missing" "$(rule SCMP_ACT_NOTIFY getpgid)"
no "listenerMetadata without one" "linux.seccomp.listenerMetadata" "$(rule SCMP_ACT_ERRNO getpgid '' ',"listenerMetadata":"m"')"
no "a relative listenerPath" "linux.seccomp.listenerPath: must be absolute" "$(rule SCMP_ACT_NOTIFY getpgid '' ',"listenerPath":"run/x"')"
no "no socket there" "linux.seccomp.listenerPath: '$LISTENER': No such file" "$(notify)"
echo >$LISTENER
no "what is not a socket" "linux.seccomp.listenerPath: '$LISTENER': Socket operation on non-socket" "$(notify)"
no "WAIT_KILLABLE_RECV without NOTIFY" "WAIT_KILLABLE_RECV without an SCMP_ACT_NOTIFY" "$(rule SCMP_ACT_ERRNO getpgid '' ',"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]')"
refused "a real-time scheduler beside NOTIFY" "not with a real-time process.scheduler" \
	lx=",\"seccomp\":$(rule SCMP_ACT_NOTIFY getpgid '' ",\"listenerPath\":\"$LISTENER\"")" proc=',"scheduler":{"policy":"SCHED_FIFO","priority":3}'
is "of these nothing is left" "$($RT list -q) $(ls -d /sys/fs/cgroup/hyb/f1 2>/dev/null)" " "

# supervise N: in the background, ready when this returns
supervise() {
	rm -f $LISTENER /run/state.*
	/bin/seccomp supervise $LISTENER /run/state $1 &
	supervisor=$!
	i=0
	while [ $i -lt 6000 ] && ! grep -q $LISTENER /proc/net/unix; do usleep 10000; i=$((i + 1)); done
}
mem() { sed -n "s/.*\"$2\":\(\"[^\"]*\"\).*/\1/p" $1; }
answers="open: of the supervisor
other: ENOENT
mkdir: ok
there: ENOENT"
supervise 1
full "exec /bin/seccomp notified" lx=",\"seccomp\":$(notify ',"listenerMetadata":"m & m","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]')" \
	top=',"annotations":{"a.b":"c"}'
is "NOTIFY: a supervisor answers the calls" "$out$err" "$answers"
is "the process state: fds, metadata" "$(sed -n 's/.*"fds":\(\[[^]]*\]\).*/\1/p' /run/state.0) $(mem /run/state.0 metadata)" '["seccompFd"] "m & m"'
is "and the container's" "$(mem /run/state.0 id) $(mem /run/state.0 status) $(mem /run/state.0 bundle) $(mem /run/state.0 a.b)" \
	"\"f1\" \"created\" \"$FULL\" \"c\""
wait $supervisor
is "the listener goes with the container" $? 0

# A long life, to be joined.
supervise 4
full_json() { # full_json SECCOMP-JSON ARGS
	cat >$FULL/config.json <<J
{"ociVersion":"1.2.0","process":{"args":$2,"cwd":"/","env":["PATH=/bin"]$3},"root":{"path":"rootfs"},"mounts":[$PROC],
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}],"seccomp":$1}}
J
}
full_json "$(notify)" '["sleep","1000"]'
$RT create -b $FULL n1 >/dev/null 2>/run/err </dev/null
is "create sends nothing yet" "$? $(cat /run/err) $(ls /run/state.0 2>/dev/null)" "0  "
$RT start n1
is "start does" "$? $(mem /run/state.0 status)" '0 "created"'
pid=$($RT state n1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
is "with the process's pid" "$(sed -n 's/.*"fds":\[[^]]*\],"pid":\([0-9]*\).*/\1/p' /run/state.0)" "$pid"
is "exec has a listener of its own" "$($RT exec n1 seccomp notified 2>&1)" "$answers"
is "whose state is that of a running container" "$(mem /run/state.1 status) $(mem /run/state.1 id)" '"running" "n1"'
unlike "and whose pid is its own" "$(sed -n 's/.*"fds":\[[^]]*\],"pid":\([0-9]*\).*/\1/p' /run/state.1)" "$pid"
is "exec as a user" "$($RT exec -u 5:6 n1 seccomp notified 2>&1)" "$answers"
is "exec of nothing ends as ever" "$($RT exec n1 /no/such 2>&1 | grep -c 'No such file'; ls /run/state.3)" "1
/run/state.3"
kill -9 $supervisor
wait $supervisor 2>/dev/null
out=$($RT exec n1 true 2>&1)
is "exec without a supervisor fails" $? 255
like "and says why" "$out" "linux.seccomp.listenerPath: connect to '$LISTENER': Connection refused"
is "leaving no process behind" "$(wc -l </sys/fs/cgroup/hyb/n1/cgroup.procs)" 1
$RT delete -f n1
# Its end between create and start.
supervise 1
$RT create -b $FULL n1 >/dev/null 2>&1 </dev/null
kill -9 $supervisor
wait $supervisor 2>/dev/null
out=$($RT start n1 2>&1)
is "start without a supervisor fails" $? 1
like "and says why, too" "$out" "start 'n1': linux.seccomp.listenerPath: connect to"
wait_stopped n1
$RT delete n1
is "and the container can be deleted" "$? $($RT list -q)$(ls -d /sys/fs/cgroup/hyb/n1 2>/dev/null)" "0 "

# All that the process calls, its execve and what drops its privileges too.
ALL="{\"defaultAction\":$NOTIFY,\"listenerPath\":\"$LISTENER\"}"
supervise 2
full "exec /bin/seccomp call 121" lx=",\"seccomp\":$ALL"
is "defaultAction NOTIFY" "$out$err" ok
full "exec /bin/seccomp call 121" lx=",\"seccomp\":$ALL" proc=',"noNewPrivileges":true'
is "and with no_new_privs" "$out$err" ok
wait $supervisor
DEADLY="{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"listenerPath\":\"$LISTENER\",\"syscalls\":[{\"names\":[\"execve\"],\"action\":$NOTIFY}]}"
supervise 1
full_json "$DEADLY" '["/bin/true"]' ',"noNewPrivileges":true'
out=$($RT run -b $FULL n2 2>&1 </dev/null)
is "a filter that kills for all but execve kills the program, not its start" "$? $out" "159 "
wait $supervisor
rm -f $LISTENER

# ------------------------------------- a VM's container with its own profile
OPEN=',"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"]}'
own() { # own TITLE WANT [KEY=VALUE...] ARG...
	check "$1" "$2" "[\"/bin/probe\",\"$3\",\"$4\"]" lx="$OPEN" $5
}
own "a profile that allows all has no AF_VSOCK" EPERM socket 40
own "nor AF_ALG" EPERM socket 38
own "but what the default refuses" ok unshare 268435456
own "x32 kills although it names it" signal-31 x32 ""
own "with a reaper, too" EPERM socket 40 init=true
bundle c1 '["/bin/sleep","100"]' lx="$OPEN"
$RT run -d -b /run/b/c1 c1 </dev/null >/dev/null 2>&1
is "and in an exec" "$($RT exec c1 probe socket 40)" EPERM
$RT delete -f c1
bundle c1 '["/bin/true"]' lx=",\"seccomp\":$(rule SCMP_ACT_NOTIFY getpgid '' ",\"listenerPath\":\"$LISTENER\"")"
run c1
like "it has no supervisor" "$err" "SCMP_ACT_NOTIFY: not in a VM's container"

# -------------------------------------------------------- the default profile
bundle c1 '["/bin/seccomp","table"]'
timeout 100 $RT run -b /run/b/c1 c1 </dev/null >/run/table 2>/run/err
err=$(cat /run/err)
awk -F'\t' 'NR == FNR { if ($1 ~ /^([0-9]|x32|i386|gap|other)/) want[$1] = $3; next }
	{ w = ($1 in want) ? want[$1] : want[$1 < 451 ? "gap" : "other"]
	  g = $1 ~ /^[0-9]/ ? $2 : ($2 == 0 ? "killed" : "survived " $2)
	  # uretprobe: kernels since 6.15 (and 6.12.x) ask no filter about it, and
	  # this one has no probes.
	  if ($1 == 335 && g == "ENOSYS") w = g
	  n++; if (w != g && w != "by argument:" g) print $1 ": " g ", not " w }
	END { print n " asked" }' /seccomp-default.tsv /run/table >/run/diff
is "the default profile is as the table says" "$(cat /run/diff)${err:+ [$err]}" "1026 asked"
