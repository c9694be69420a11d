#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The agent's server with the real engine, built with the address and undefined
# behaviour sanitizers, on this host in place of a VM: sessions and logs under
# hosts that leave, stall and come back. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/guest/agent-lib.sh
. tests/guest/agent-lib.sh
need /bin/busybox build/default/libcommon.a
# No interface of the host is in reach.
[ "${1:-}" = inside ] || exec unshare --net --mount --ipc "$0" inside

ip link set lo up
asan=build/gcc-address-undefined/bin/hyb-agent
make -s SAN=address,undefined "$asan" >/tmp/hyb-agent-asan.$$ 2>&1 || {
	sed 's/^/# /' /tmp/hyb-agent-asan.$$
	rm -f /tmp/hyb-agent-asan.$$
	echo "not ok 1 - builds with sanitizers"
	echo 1..1
	exit 1
}
rm -f /tmp/hyb-agent-asan.$$
agent_prepare
mkdir "$dir/images"
mv "$dir/root" "$dir/images/img"
seq 300000 >"$dir/images/img/lines"
"$asan" --listen-unix "$dir/sock" --images "$dir/images" 2>"$dir/agent.log" &
asan_pid=$!
for _ in $(seq 600); do
	[ -S "$dir/sock" ] && break
	sleep 0.1
done
address=unix:$dir/sock
claim i1 >/dev/null

run x1 >/dev/null
is "exec" hi "$(a exec x1 echo hi)"
a exec x1 sh -c 'exit 42'
is "exec: exit status" 42 $?
is "exec: both ways" "$(seq 100000 | md5sum)" \
	"$(seq 100000 | a exec -i x1 cat | md5sum)"
is "exec: not found" 127 "$(a exec x1 nope 2>/dev/null; echo $?)"
like "exec: a terminal" '/dev/pts/*' "$(a exec -t x1 tty)"
is "exec: one left behind" "done" "$(a exec x1 sh -c 'sleep 100 & echo done')"
a detach x1 sh -c 'sleep 71; :'
a detach -t x1 sleep 72
a detach x1 sh -c 'while :; do echo x; done'
a stall x1 1
for _ in $(seq 100); do
	a detach x1 true
done >"$dir/out" 2>&1
is "100 hosts that leave" '' "$(cat "$dir/out")"
is "200 connections" 200 "$(a hold 200)"

run l1 '["cat","/lines"]' '' 65536 >/dev/null
at=0
for n in 100000 1 70000 300000; do
	a logcut l1 "$at" "$n" >>"$dir/l1"
	at=$(stat -c %s "$dir/l1")
done
a logs l1 "$at" >>"$dir/l1"
is "logs with readers that die" "$(md5sum <"$dir/images/img/lines")" \
	"$(md5sum <"$dir/l1")"
is "Delete with sessions that run" '{}' "$(delete x1)"
for i in 1 2 3 4; do
	run "z$i" >/dev/null
	a detach "z$i" yes
	a stall "z$i" 0
done
# Checks: what they say, and what they leave
setchecks() { a call SetChecks "{\"id\":\"$1\",\"health\":${2:-null},\"readiness\":${3:-null},\"ports\":${4:-[]}}"; }
by() { printf '{"how":"exec","args":%s,"interval":200,"timeout":500,"retries":2,"start_period":%s}' "$1" "${2:-0}"; }
# await_check ID KIND STATUS: in a minute; prints the last result
await_check() {
	local got i
	for i in $(seq 600); do
		got=$(a call Checks "{\"id\":\"$1\"}" | jq -c ".$2")
		[ "$(jq -r .status <<<"$got")" = "$3" ] && break
		sleep 0.1
	done
	jq -r "[.status, .exit_code, .message, (.output | .[0:20])] | join(\" \")" <<<"$got"
}
create c1 >/dev/null
like "a check" '{"container":{*"health":"starting",*' "$(setchecks c1 "$(by '["true"]')")"
start c1 >/dev/null
is "passes" 'healthy 0  ' "$(await_check c1 health healthy)"
setchecks c1 "$(by '["sh","-c","echo bye; exit 3"]')" >/dev/null
is "fails" 'unhealthy 3 exit code 3 bye' "$(await_check c1 health unhealthy | head -1)"
setchecks c1 "$(by '["nope"]')" >/dev/null
like "is not there" 'unhealthy 127 exec:*No such file*' "$(await_check c1 health unhealthy)"
setchecks c1 "$(by '["sh","-c","sleep 71 & sleep 72; :"]')" >/dev/null
like "hangs" 'unhealthy -1 timed out after 500 ms*' "$(await_check c1 health unhealthy)"
setchecks c1 "$(by '["sh","-c","(sleep 74 & sleep 75 & sh -c \"sleep 76; :\") & echo left"]')" >/dev/null
is "leaves others behind" 'healthy 0  left' "$(await_check c1 health healthy)"
setchecks c1 "$(by '["sh","-c","trap : TERM INT HUP; yes"]')" >/dev/null
like "writes without end" 'unhealthy -1 timed out*y' "$(await_check c1 health unhealthy | tr -d '\n')"
setchecks c1 "$(by '["false"]' 60000)" >/dev/null
sleep 1.5
is "in the start period nothing counts" "starting 0" \
	"$(a call Checks '{"id":"c1"}' | jq -r '.health | "\(.status) \(.failures)"')"
setchecks c1 null '{"how":"tcp","port":8123,"interval":100,"timeout":500,"retries":1,"start_period":0}' '[8123]' >/dev/null
like "tcp: closed" 'unready -1 port 8123: Connection refused*' "$(await_check c1 readiness unready)"
is "which is in the events" 'c1 unready port 8123: Connection refused' \
	"$(a call List '{}' | jq -r '.containers[] | select(.id == "c1") | "\(.id) \(.readiness) \(.readiness_note)"')"
# What was killed is a zombie for a moment.
for _ in $(seq 600); do
	left=$(a exec c1 ps -o stat,args | grep -cE '^Z|sleep 7[12456]|yes')
	[ "$left" = 0 ] && break
	sleep 0.1
done
is "nothing of the checks is left, no zombie either" 0 "$left"
setchecks c1 "$(by '["sleep","73"]')" >/dev/null
sleep 0.2
is "Pause in a check" '{}' "$(a call Pause '{"id":"c1"}')"
checked() { a call Checks '{"id":"c1"}' | jq -r '.health | "\(.status) \(.at)"'; }
before=$(checked)
sleep 1
is "while paused none is made" "$before" "$(checked)"
is "Resume" '{}' "$(a call Resume '{"id":"c1"}')"
like "goes on" 'unhealthy -1 timed out*' "$(await_check c1 health unhealthy)"
is "Delete in a check" '{}' "$(delete c1)"

# Hosts that leave in the middle of a call, of every one, at every moment.
# Its descriptors, children and mounts.
holds() {
	echo "$(find /proc/$asan_pid/fd -mindepth 1 | wc -l)" \
		"$(pgrep -c -P $asan_pid) $(grep -vc /run/hyb/files /proc/$asan_pid/mounts)"
}
# In a minute it holds no more than that: what was before may still have ended.
holds_no_more() {
	local i now was
	read -ra was <<<"$1"
	for i in $(seq 600); do
		read -ra now <<<"$(holds)"
		[ "${now[0]}" -le "${was[0]}" ] && [ "${now[1]}" -le "${was[1]}" ] &&
			[ "${now[2]}" -le "${was[2]}" ] && return 0
		sleep 0.1
	done
	echo "# descriptors, children, mounts: ${was[*]}, now ${now[*]}"
	return 1
}
for i in 1 2 3 4; do
	delete "z$i" >/dev/null
done
run c2 >/dev/null
# What was deleted is gone when two looks, a second apart, are the same.
before=
for _ in $(seq 60); do
	now=$(holds)
	[ "$now" = "$before" ] && break
	before=$now
	sleep 1
done
is "every call is left by its host" "$(sed -n 's/^method \([A-Za-z]*\).*/\1/p' common/idl/io.hyb.Agent.varlink | sort)" \
	"$(timeout 300 python3 tests/guest/agent_cut.py "$dir/sock" 2>&1 | sort -u)"
ok "which leaves nothing behind" holds_no_more "$before"
is "nor a cgroup" '' "$(find /sys/fs/cgroup -type d -name '*cut-1*' 2>/dev/null)"
is "another one of that name can be made" '{}' "$(create cut-1)"
is "and is served" fine "$(start cut-1 >/dev/null; a exec cut-1 sh -c 'ls -A /tmp; echo fine')"
run z1 >/dev/null
a detach z1 yes
run z2 >/dev/null
a detach z2 yes

is "Pause" '{}' "$(a call Pause '{"id":"z1"}')"
is "Delete of what has sessions" '{}' "$(delete z2)"
is "Shutdown" '{}' "$(a call Shutdown '{"grace":300}')"
wait $asan_pid
is "the agent ends without a finding" 0 $?
is "nothing of it runs any more" '' "$(pgrep -P $asan_pid)"
grep -E 'ERROR|runtime error|SUMMARY|#[0-9]' "$dir/agent.log" | head -20 | sed 's/^/# /'
done_testing
