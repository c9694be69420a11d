#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# hyb-agent where it hurts, in a VM of the smallest memory that is promised:
# disks that come late, logs that nobody takes and readers that die, hosts that
# leave or stall, many connections, memory that runs out, a stubborn
# container at shutdown. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
VM_MEMORY=56
# shellcheck source=tests/guest/agent-lib.sh
. tests/guest/agent-lib.sh
need "$agent" "$device" "$kernel" /bin/busybox

agent_prepare
seq 300000 >"$dir/root/lines"
address=vsock:$dir/run/vsock
NODISK=1 vm_start
claim i1 >/dev/null

# -------------------------------------------------------------------- disks
create d1 >"$dir/d1" &
create_pid=$!
create d2 >"$dir/d2" &
second_pid=$!
sleep 0.3
is "a Create that waits for its disk holds nobody up" i1 \
	"$(a call Hello | field instance)"
is "and is not there yet" '{"containers":[]}' "$(a call List)"
plugged=$(date +%s%N)
vm_plug
wait $create_pid
echo "# from device_add to created: $((($(date +%s%N) - plugged) / 1000000)) ms"
wait $second_pid
is "the disk comes: created" '{}' "$(cat "$dir/d1")"
is "the other that waited, too" '{}' "$(cat "$dir/d2")"
like "it starts" '{"pid":*' "$(start d1)"
stats=$(a call Stats)
total=$(field memory_total <<<"$stats")
available=$(field memory_available <<<"$stats")
echo "# a VM of $VM_MEMORY MiB: $((total / 1048576)) MiB total, $((available / 1048576)) available with a container"

# --------------------------------------------------------------------- logs
md5=$(md5sum <"$dir/root/lines")
create l1 '["cat","/lines"]' '' 65536 >/dev/null
start l1 >/dev/null
sleep 0.5
like "output that nobody takes holds the container up" '*"id":"l1"*"status":"running"*' \
	"$(a call List)"
is "and comes whole when somebody does" "$md5" "$(a logs l1 | md5sum)"
is "and the container ends well" 0 "$(wait_for l1 | field exit_code)"
run l2 '["cat","/lines"]' '' 65536 >/dev/null
at=0
for n in 100000 1 70000 300000; do
	a logcut l2 "$at" "$n" >>"$dir/l2"
	at=$(stat -c %s "$dir/l2")
done
a logs l2 "$at" >>"$dir/l2"
is "readers that die lose nothing" "$md5" "$(md5sum <"$dir/l2")"
create l3 '["sh","-c","for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done"]' >/dev/null
start l3 >/dev/null
wait_for l3 >/dev/null
is "standard output in order" "$(printf 'o%s\n' 1 2 3 4 5 6 7 8 9)" "$(a logs l3 0 keep 2>/dev/null)"
is "standard error in order" "$(printf 'e%s\n' 1 2 3 4 5 6 7 8 9)" "$(a logs l3 0 keep 2>&1 >/dev/null)"
run l4 '["sh","-c","(sleep 100; echo late) & echo first"]' >/dev/null
is "a process left behind does not hold the end up" 0 "$(wait_for l4 | field exit_code)"
is "nor the log's end" first "$(timeout 120 "$dir/client" "$address" logs l4)"

# ----------------------------------------------------------------- sessions
# alive PATTERN: is there such a process in d1?
alive() {
	a exec d1 sh -c "ps | grep -v grep | grep -c '$1'"
}
# count_of PATTERN N: waits a minute for that many, and prints how many
count_of() {
	local got
	for _ in $(seq 600); do
		got=$(alive "$1")
		[ "$got" = "$2" ] && break
		sleep 0.1
	done
	echo "$got"
}
a detach d1 sh -c 'sleep 71; :'
is "the host leaves: without a terminal it goes on" 1 "$(count_of 'sleep 71$' 1)"
a detach -t d1 sleep 72
is "the host leaves: with a terminal it is hung up" 0 "$(count_of 'sleep 72$' 0)"
a detach d1 sh -c 'while :; do echo x; done; echo gone >/tmp/gone'
a stall d1 30 &
stall_pid=$!
sleep 0.5
is "one that does not read holds nobody up" fine "$(a exec d1 echo fine)"
kill $stall_pid
wait $stall_pid 2>/dev/null
is "200 connections at once" 200 "$(a hold 200)"
is "and they are all given back" 200 "$(a hold 200)"
for _ in $(seq 70); do
	a detach d1 true
done >"$dir/detached" 2>&1
is "sessions that their host has left are given up" "room" \
	"$(cat "$dir/detached"; a exec d1 echo room)"

# ------------------------------------------------------- a device that dies
create v1 '["sh","-c","seq 1 100; sleep 2; seq 101 200; sleep 2; seq 201 300"]' >/dev/null
start v1 >/dev/null
timeout 120 "$dir/client" "$address" logs v1 >"$dir/v1" 2>/dev/null &
logs_pid=$!
timeout 120 "$dir/client" "$address" call Wait '{"id":"v1"}' >/dev/null 2>&1 &
sleep 1
device_replace
is "a new vsock device: the agent answers" i1 "$(a call Hello | field instance)"
wait $logs_pid
at=$(stat -c %s "$dir/v1")
timeout 120 "$dir/client" "$address" logs v1 "$at" >>"$dir/v1" 2>/dev/null
is "and no byte of the log is lost" "$(seq 300 | md5sum)" "$(md5sum <"$dir/v1")"
is "sessions go on" fine "$(a exec d1 echo fine)"

# ------------------------------------------------------------------- memory
run m1 '["sh","-c","x=a; while :; do x=$x$x; done"]' >/dev/null
end=$(wait_for m1)
is "a container that takes all memory dies" 137 "$(field exit_code <<<"$end")"
is "the agent does not" i1 "$(a call Hello | field instance)"
is "nor do its neighbours" fine "$(a exec d1 echo fine)"
for i in $(seq 20); do
	run r "[\"sh\",\"-c\",\"seq $((i * 100)); exit $i\"]" >/dev/null
	code=$(wait_for r | field exit_code)
	lines=$(a logs r | wc -l)
	delete r >/dev/null
	[ "$code $lines" = "$i $((i * 100))" ] || break
done
is "20 containers, one after the other, each whole" "20 2000" "$code $lines"

# ----------------------------------------------------------------- shutdown
run s1 '["sh","-c","trap \"echo no\" TERM; echo up; while :; do sleep 0.1; done"]' >/dev/null
"$dir/client" "$address" logs s1 >"$dir/s1" 2>/dev/null &
logs_pid=$!
for _ in $(seq 600); do
	grep -q up "$dir/s1" && break
	sleep 0.1
done
began=$(date +%s%N)
is "Shutdown with a container that will not go" '{}' "$(a call Shutdown '{"grace":1000}')"
ok "takes its grace and not much more" \
	test $((($(date +%s%N) - began) / 1000000)) -lt 30000
ok "the VM is off" vm_gone
wait $logs_pid
is "its last words have come" $'up\nno' "$(cat "$dir/s1")"
grep -iE 'panic|BUG|oops|segfault' "$dir/run/console" | sed 's/^/# /'
done_testing
