#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hyb-agent as PID 1 of a real VM: boot, claim, containers' lives, logs, exec,
# forwards, events, shutdown; and what is wrong with calls. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/guest/agent-lib.sh
. tests/guest/agent-lib.sh
need "$agent" "$device" "$kernel" /bin/busybox

agent_prepare
address=vsock:$dir/run/vsock
VM_APPEND=HYB_AGENT_VERBOSE=1 vm_start

# ---------------------------------------------------------------- machine
hello=$(a call Hello)
is "Hello says the protocol" 1 "$(field protocol <<<"$hello")"
is "a blank VM has no instance" '' "$(field instance <<<"$hello")"
echo "# boot to Hello: $((($(date +%s%N) - vm_started) / 1000000)) ms"
like "before Claim nothing is created" 'WrongState*blank*' "$(create early)"
like "a machine-id must be hexadecimal" 'InvalidConfig*machine_id*' \
	"$(a call Claim '{"instance":"i1","hostname":"h","machine_id":"xyz","time":0,"entropy":""}')"
# The clock may be as late as the calls took.
clock=$(date +%s%N)
is "Claim" '{}' "$(claim i1)"
late=$(($(date +%s%N) - clock))
is "Claim again by the same does nothing" '{}' "$(claim i1)"
like "Claim by another is refused" 'AlreadyClaimed*' "$(claim i2)"
is "Hello then says the instance" i1 "$(a call Hello | field instance)"
clock=$(date +%s%N)
offset=$(a call SetTime "{\"time\":$clock}" | field offset)
late=$((late + $(date +%s%N) - clock))
ok "Claim has set the clock ($((offset / 1000)) us off)" \
	test "${offset#-}" -lt $((200000000 + late))

# ------------------------------------------------------------- containers
is "Create" '{}' "$(create c1 '["sh","-c","echo out; echo err >&2; hostname; exit 3"]')"
is "Create again, the same" '{}' "$(create c1 '["sh","-c","echo out; echo err >&2; hostname; exit 3"]')"
like "Create again, another" 'AlreadyExists*c1*' "$(create c1 '["true"]')"
like "it is created" '*"status":"created"*' "$(a call List)"
like "Delete without force is refused" 'WrongState*created*' "$(delete c1 false)"
like "Start says the pid" '{"pid":*,"started_at":*}' "$(start c1)"
end=$(wait_for c1)
is "its exit code" 3 "$(field exit_code <<<"$end")"
is "its reason" Error "$(field reason <<<"$end")"
is "Wait for one that has ended answers at once" "$end" "$(wait_for c1)"
like "Start of one that has ended" 'WrongState*stopped*' "$(start c1)"
like "Signal to one that has ended" 'WrongState*' \
	"$(a call Signal '{"id":"c1","signal":15,"all":false}')"
is "its output, standard output" $'out\nc1' "$(a logs c1 0 keep 2>/dev/null)"
is "its output, standard error" err "$(a logs c1 0 keep 2>&1 >/dev/null)"
is "from an offset in the middle of a record" $'t\nc1' "$(a logs c1 2 keep 2>/dev/null)"
a logs c1 >/dev/null 2>&1
is "what was acknowledged is gone" '' "$(a logs c1 0)"
like "an offset beyond the end" 'InvalidConfig*offset*' "$(a logs c1 999)"
is "Delete" '{}' "$(delete c1 false)"
is "Delete of what is not there" '{}' "$(delete c1 false)"
like "Wait for what is not there" 'NotFound*c1*' "$(wait_for c1)"

create nf '["no-such-program"]' >/dev/null
like "a program that is not there" 'StartError*"exit_code":127*' "$(start nf)"
end=$(wait_for nf)
is "has reason StartError" StartError "$(field reason <<<"$end")"
is "and exit code 127" 127 "$(field exit_code <<<"$end")"
create na '["/etc/passwd"]' >/dev/null
like "a file that is no program" 'StartError*"exit_code":126*' "$(start na)"

run k1 '["sleep","1000"]' >/dev/null
(sleep 0.3; a call Signal '{"id":"k1","signal":9,"all":false}' >/dev/null) &
end=$(wait_for k1)
is "killed: 128 + signal" 137 "$(field exit_code <<<"$end")"
is "killed: the signal" 9 "$(field signal <<<"$end")"
run oom '["sh","-c","x=a; while :; do x=$x$x; done"]' \
	'"resources":{"memory":{"limit":16777216}}' >/dev/null
end=$(wait_for oom)
is "over its memory: OOMKilled" OOMKilled "$(field reason <<<"$end")"
is "the agent lives on" i1 "$(a call Hello | field instance)"

run p1 '["sh","-c","i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"]' >/dev/null
is "Pause" '{}' "$(a call Pause '{"id":"p1"}')"
like "it is paused" '*"status":"paused"*' "$(a call List)"
is "Resume" '{}' "$(a call Resume '{"id":"p1"}')"
like "Stats speaks of it" '*"id":"p1",*"memory_current":*' "$(a call Stats)"

events=$(timeout 120 "$dir/client" "$address" events 9)
like "Events begins with every container" '*"id":"p1"*' "$events"
like "Events beats" '*"container":null*' "$events"
is "Delete by force of one that runs" '{}' "$(delete p1)"
"$dir/client" "$address" events 40 >"$dir/events" 2>&1 &
events_pid=$!
sleep 0.3
run e1 '["true"]' >/dev/null
wait_for e1 >/dev/null
for _ in $(seq 600); do
	grep -q '"id":"e1".*stopped' "$dir/events" && break
	sleep 0.1
done
kill $events_pid 2>/dev/null
wait $events_pid 2>/dev/null
ok "Events tells an end as it happens" grep -q '"id":"e1".*stopped' "$dir/events"

# ------------------------------------------------------------------- exec
run x1 '["sleep","1000"]' >/dev/null
run p2 '["sleep","1000"]' >/dev/null
is "exec: output" $'a\nb' "$(a exec x1 sh -c 'echo a; echo b')"
a exec x1 sh -c 'exit 42'
is "exec: exit status" 42 $?
a exec x1 sh -c 'kill -TERM $$'
is "exec: a signal" 143 $?
is "exec: not found" "127" "$(a exec x1 nonexistent 2>/dev/null; echo $?)"
is "exec: not executable" "126" "$(a exec x1 /etc/passwd 2>/dev/null; echo $?)"
is "exec: standard error" err "$(a exec x1 sh -c 'echo err >&2' 2>&1 >/dev/null)"
is "exec: standard input and its end" 5 "$(printf hello | a exec -i x1 wc -c)"
is "exec: much through both ways" "$(seq 200000 | md5sum)" \
	"$(seq 200000 | a exec -i x1 cat | md5sum)"
is "exec: output is whole, 20 times" "20" \
	"$(for _ in $(seq 20); do a exec x1 sh -c 'seq 2000' | tail -1; done | grep -c '^2000$')"
like "exec: a terminal" '*/dev/pts/*' "$(a exec -t x1 tty)"
like "exec: its size" '*24 80*' "$(a exec -t x1 stty size)"
is "exec: one left behind does not hold it up" "done" \
	"$(timeout 120 "$dir/client" "$address" exec x1 sh -c 'sleep 100 & echo done')"
like "exec: no such container" 'NotFound*' "$(a exec nope true)"

# -------------------------------------------------------- kernel settings
setting() {
	is "$1" "$2" "$(a exec x1 cat "/proc/sys/$1" | tr '\t' ' ')"
}
setting kernel/kptr_restrict 2
setting kernel/dmesg_restrict 1
setting kernel/unprivileged_bpf_disabled 2
setting kernel/yama/ptrace_scope 2
setting kernel/randomize_va_space 2
setting kernel/perf_event_paranoid 3
setting fs/protected_symlinks 1
setting fs/protected_hardlinks 1
setting fs/protected_fifos 2
setting fs/protected_regular 2
setting fs/suid_dumpable 0
setting net/ipv4/ip_unprivileged_port_start 0
setting kernel/hostname x1
like "lo is up in the containers' network" '*UP*' "$(a exec x1 ip link show lo 2>&1 || a exec x1 ifconfig lo)"
is "containers share it" "$(a exec x1 readlink /proc/self/ns/net)" \
	"$(a exec p2 readlink /proc/self/ns/net)"
is "and nothing else" 2 "$({ a exec x1 readlink /proc/self/ns/pid; a exec p2 readlink /proc/self/ns/pid; } | sort -u | wc -l)"

# ---------------------------------------------------------------- forward
run w1 '["sh","-c","echo page >/tmp/index.html; httpd -f -p 8080 -h /tmp"]' >/dev/null
get() { printf 'GET / HTTP/1.0\r\n\r\n' | a forward 8080; }
for _ in $(seq 600); do
	[[ $(get 2>/dev/null) == *page* ]] && break
	sleep 0.1
done
like "forward: a page" '*200 OK*page*' "$(get)"
like "forward: nobody listens" 'Failed*refused*' "$(a forward 8081 </dev/null)"
like "forward: no port" 'InvalidConfig*port*' "$(a forward 0 </dev/null)"

# -------------------------------------------------------------- bad calls
like "an unknown method" 'MethodNotFound*' "$(a call Nope)"
like "an unknown parameter" 'InvalidConfig*' "$(a call Start '{"id":"x","more":1}')"
like "a missing parameter" 'InvalidConfig*id*missing*' "$(a call Start '{}')"
like "an id with a slash" 'InvalidConfig*' "$(create a/b)"
like "a configuration without a process" 'InvalidConfig*' \
	"$(a call Create '{"id":"bad","image":"img","disk_timeout":0,"scratch_size":0,"user":"","init":false,"log_size":65536,"config":{"ociVersion":"1.2.0","linux":{}}}')"
like "a cgroup of its own choice" 'InvalidConfig*linux.cgroupsPath*' \
	"$(a call Create '{"id":"bad","image":"img","disk_timeout":0,"scratch_size":0,"user":"","init":false,"log_size":65536,"config":{"ociVersion":"1.2.0","process":{"args":["a"],"cwd":"/"},"linux":{"cgroupsPath":"/x"}}}')"
like "a disk that does not come" 'Failed*none*' \
	"$(a call Create '{"id":"bad","image":"none","disk_timeout":300,"scratch_size":0,"user":"","init":false,"log_size":65536,"config":{"ociVersion":"1.2.0","linux":{}}}')"
like "an upgrade call without upgrade" 'InvalidParameter*' \
	"$(a call Logs '{"id":"x1","offset":0}')"

# --------------------------------------------------------------- shutdown
echo "# ping: $(a ping 300) us"
is "Shutdown" '{}' "$(a call Shutdown '{"grace":2000}')"
ok "the VM is off" vm_gone
sed 's/^/# /' "$dir/run/console" | tr -d '\r' | grep hyb-agent
done_testing
