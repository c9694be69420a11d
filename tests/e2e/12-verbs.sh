#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pause, resume, kill, restart: what they do, that it is on disk first, and
# what they say when it cannot be done.
. "$(dirname "$0")/lib.sh"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  one:
    containers:
      count:
        image: busybox
        command: ["sh", "-c", "trap 'echo usr1' USR1; trap 'echo term; exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done"]
        stop_grace_period: 100s
        restart: always
      idle: { image: busybox, command: [sh, -c, "echo ran; exec sleep 100000"], init: true, stop_grace_period: 1s, restart: no }
      done: { image: busybox, command: "true", restart: no }
  two:
    containers:
      idle: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 1s }
Y
load_images
check "deploy" hyb deploy "$WORK/s.yaml"
lines() { hyb logs "$1" | wc -l; }
# grows, still NAME: its log grows; it does not, once it has what was on its way
grows() {
	local a end=$((SECONDS + 60))
	a=$(lines "$1")
	until [ "$(lines "$1")" -gt "$a" ]; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
still() {
	local a b end=$((SECONDS + 60))
	b=$(lines "$1")
	while a=$b; sleep 1; b=$(lines "$1"); [ "$b" != "$a" ]; do
		[ $SECONDS -lt $end ] || return 1
	done
}

# pause and resume
like "pause" "$(hyb pause s/one/count)" "^s/one/count: paused in "
is "ps says so" "$(field s/one/count state)" paused
like "it is listed without -a" "$(hyb ps)" "s/one/count +paused"
check "its processes stand still" still s/one/count
is "the other container goes on" "$(field s/one/idle state)" running
like "paused twice is nothing" "$(hyb pause s/one/count)" "nothing to do"
fails "exec in a paused one" 125 "is paused, not running" hyb exec s/one/count -- true
fails "its hint" 125 "hint: .hyb resume s/one/count" hyb exec s/one/count -- true
fails "a signal for a paused one" 1 "is paused" hyb kill -s TERM s/one/count
fails "a deployment would let it go on" 8 "s/one/count .*was paused" hyb plan "$WORK/s.yaml"
kill_9 "$(hybd_pid)"
check "another hybd" hyb ps
await "which knows that it is paused" 10 has s/one/count state paused
check "and it still stands still" still s/one/count
like "resume" "$(hyb resume s/one/count)" "^s/one/count: resumed in "
is "it runs" "$(field s/one/count state)" running
check "it goes on" grows s/one/count
check "a whole stack" hyb pause s
is "all that ran is paused" "$(hyb ps -o json s | jq -r '[.[].state] | unique | join(",")')" paused
is "what had ended has not changed" "$(field s/one/done state)" exited
check "resumed" hyb resume s
is "all of it runs" "$(hyb ps -o json s | jq -r '[.[].state] | unique | join(",")')" running
check "pause once more" hyb pause s/one/count
BEGIN=$SECONDS
check "what is paused can be stopped" hyb stop s/one/count
[ $((SECONDS - BEGIN)) -lt 80 ] && ok "by its signal, not after its grace" || not_ok "by its signal, not after its grace" "$((SECONDS - BEGIN)) s"
like "it saw the signal" "$(hyb logs -n 1 s/one/count)" "^term$"
fails "pause what is stopped" 1 "pause 's/one/count': container 's/one/count' is stopped" hyb pause s/one/count
check "start" hyb start s/one/count
is "a new incarnation is not paused" "$(field s/one/count state)" running
check "pause, deploy" hyb pause s/one/count
check "deploy" hyb deploy "$WORK/s.yaml"
is "a deployment runs what was paused" "$(field s/one/count state)" running
fails "pause nothing" 4 "not found" hyb pause s/one/nothere
fails "pause what has ended" 1 "is exited" hyb pause s/one/done
fails "pause without a name" 2 "NAME" hyb pause

# kill
like "kill -s" "$(hyb kill -s USR1 s/one/count)" "^s/one/count: sent signal 10$"
await "the signal came" 5 bash -c 'hyb logs s/one/count | grep -q usr1'
is "and it runs" "$(field s/one/count state)" running
RESTARTS=$(field s/one/count restarts)
check "kill" hyb kill s/one/count
await "its policy starts it again" 20 bash -c "[ \"\$(hyb ps -o json s/one/count | jq -r '.[0].restarts')\" -gt $RESTARTS ]"
check "pause and kill -9" hyb pause s/one/idle
check "kill what is paused" hyb kill -s 9 s/one/idle
await "it ended" 10 has s/one/idle state failed
is "by signal 9" "$(field s/one/idle exit_code)" 137
fails "kill what has ended" 1 "is failed, not running" hyb kill s/one/idle
fails "no such signal" 2 "'NOSUCH' is no signal" hyb kill -s NOSUCH s/one/count
fails "signal 0" 2 "is no signal" hyb kill -s 0 s/one/count
fails "kill nothing" 4 "not found" hyb kill s/one/nothere

# restart
PID=$(field s/one/count started_at) RESTARTS=$(field s/one/count restarts)
sleep 1.1
like "restart" "$(hyb restart s/one/count)" "^s/one/count: restarted in "
is "it runs" "$(field s/one/count state)" running
[ "$(field s/one/count started_at)" != "$PID" ] && ok "another incarnation" || not_ok "another incarnation"
is "is not counted among its policy's" "$(field s/one/count restarts)" "$RESTARTS"
is "its program got its stop signal" "$(hyb logs s/one/count | grep -c '^term$')" 2
check "restart what had failed" hyb restart s/one/idle
is "it runs" "$(field s/one/idle state)" running
check "stop" hyb stop s/one/idle
check "restart what was stopped" hyb restart s/one/idle
is "it runs" "$(field s/one/idle state)" running
CID=$(vm_field s/two cid)
like "restart a VM" "$(hyb restart s/two)" "^s/two: restarted in "
is "it runs" "$(field s/two/idle state)" running
[ "$(vm_field s/two cid)" != "$CID" ] && ok "another VM" || not_ok "another VM"
is "which is no restart by policy" "$(hyb inspect s/two | jq -r .restarts)" 0

# stats and top
hyb exec s/two/idle -- sh -c 'head -c 20000000 /dev/zero >/tmp/some; while :; do :; done' >/dev/null 2>&1 &
BUSY=$!
filled() { [ "$(hyb exec s/two/idle -- stat -c %s /tmp/some)" = 20000000 ]; }
await "it is busy" 60 filled
out=$(hyb stats -o json)
is "stats: what runs" "$(printf %s "$out" | jq -r '[.[] | .vm + "/" + .container] | sort | join(" ")')" "one/count one/idle two/idle"
is "its members" "$(printf %s "$out" | jq -r '.[0] | keys_unsorted | join(" ")')" "tenant stack vm container state cpu_percent cpu_usec memory memory_reclaimable memory_max memory_peak pids io_read io_written oom_kills memory_pressure cpu_pressure io_pressure"
is "who is busy" "$(printf %s "$out" | jq -r 'max_by(.cpu_percent) | .vm + " " + (.cpu_percent > 20 | tostring) + " " + (.cpu_percent < 130 | tostring)')" "two true true"
is "who has memory" "$(printf %s "$out" | jq -r '.[] | select(.vm == "two") | .memory > 20000000')" true
like "a table" "$(hyb stats s/two)" "^s/two/idle +[0-9.]+% +[0-9.]+ MiB"
is "--watch goes on" "$(timeout 60 hyb stats --watch --interval 300ms -o json s/two | jq -nc '[limit(3; inputs)] | length')" 3
is "of nothing that runs" "$(hyb stats -o json s/one/done 2>/dev/null; echo $?)" 1
fails "stats of nothing" 4 "not found" hyb stats nothere
out=$(hyb top -o json s/two/idle)
is "top: ids of the container" "$(printf %s "$out" | jq -r 'map(select(.pid == 1)) | .[0] | .uid')" 0
is "who is busy" "$(printf %s "$out" | jq -r 'max_by(.cpu_usec) | .process_state + " " + .command[0:5]')" "R sh -c"
like "a table" "$(hyb top)" "s/one/idle +1 +0 "
hyb exec s/one/idle -- sh -c 'sleep 1000; :' "$(printf '\033]0;owned\007')" &
await "a name" 60 bash -c 'hyb top s/one/idle | grep -q "owned"'
is "a name that is an escape sequence" "$(hyb top s/one/idle | grep -c "$(printf '\033')")" 0
fails "top of what has ended" 1 "does not run" hyb top s/one/done
kill $BUSY
hyb restart s/two/idle s/one/idle >/dev/null
wait

# events
out=$(hyb events -o json)
is "events: a member each" "$(printf %s "$out" | jq -r '.[0] | keys_unsorted | join(" ")')" "time tenant object event message"
is "what happened to one" "$(hyb events -o json s/one/idle | jq -r '[.[] | .object] | unique | join(" ")')" "s/one/idle"
like "with the reason" "$(hyb events s/one/idle)" "s/one/idle +stopped"
sleep 1.1
timeout 300 hyb events -f -o json --since "$(date -u +%FT%TZ)" s/one/idle >"$WORK/events" 2>&1 &
EVENTS=$!
check "something happens" hyb pause s/one/idle
check "and goes on" hyb resume s/one/idle
await "-f tells of it" 10 grep -q '"event":"paused"' "$WORK/events"
kill $EVENTS
is "and of nothing older" "$(head -1 "$WORK/events" | jq -r .event)" paused
fails "since when" 2 "neither a duration nor a time" hyb events --since yesterday
fails "events of nothing" 4 "not found" hyb events nothere

# Once, wherever hybd is killed. Its own words tell: a number that was on disk
# before the guest had heard of it is not given again.
ran() { hyb logs s/one/idle | grep -c '^ran$'; }
incarnation() { hyb inspect s/one/idle | jq -r .incarnation; }
for delay in 0.05 0.3 0.8 1.2; do
	N=$(incarnation)
	RAN=$(ran)
	hyb restart s/one/idle >/dev/null 2>&1 &
	R=$!
	sleep $delay
	STORED=$(python3 -c 'import sqlite3, sys
r = sqlite3.connect(sys.argv[1]).execute("select restart_of, incarnation from containers where name = \"idle\" order by vm_id").fetchone()
print("yes" if r[0] == int(sys.argv[2]) or r[1] > int(sys.argv[2]) else "no")' "$HYB_ROOT/state.db" "$N" 2>&1)
	kill_9 "$(hybd_pid)"
	wait $R
	hyb ps >/dev/null 2>&1
	again() { has s/one/idle state running && { [ "$STORED" != yes ] || [ "$(incarnation)" -gt "$N" ]; }; }
	await "killed after $delay s: it runs" 60 again
	ran_again() { [ "$STORED" != yes ] || [ "$(ran)" -gt "$RAN" ]; }
	await "it says so" 60 ran_again
	sleep 1
	if [ "$STORED" = yes ]; then
		is "and was restarted once" "$(ran)" $((RAN + 1))
	else
		like "and at most once ($STORED)" "$(ran)" "^($RAN|$((RAN + 1)))$"
	fi
done

# A guest that hangs
QEMU=$(vm_field s/two qemu_pid)
kill -STOP "$QEMU"
fails "kill in a guest that hangs" 6 "hyb: kill 's/two/idle'.*: timed out|Connection timed out" timeout 60 hyb kill --timeout 1s s/two/idle
check "the others are served" timeout 60 hyb exec s/one/count -- true
await "it is made again" 40 vm_restarts s/two 1
await "and its container" 30 has s/two/idle state running
check "down" hyb down s

# Who ends before whom: none of these hears of a SIGTERM.
cat >"$WORK/e.yaml" <<'Y'
hyb: 1
name: e
vms:
  one:
    containers:
      db: { image: busybox, command: sleep 1000, stop_grace_period: 3s }
      app: { image: busybox, command: sleep 1000, stop_grace_period: 1s, depends_on: [db] }
      x: { image: busybox, command: sleep 1000, stop_grace_period: 2s }
Y
check "three that have to be killed" hyb deploy "$WORK/e.yaml"
hyb down e 2>&1 >/dev/null | awk '$3 ~ "^e/one/" { print $3, $4 }' >"$WORK/out"
is "they end side by side, who depends on another before it" \
	"$({ head -2 "$WORK/out" | sort && tail -n +3 "$WORK/out"; } | tr '\n' ' ')" \
	"e/one/app stopping e/one/x stopping e/one/app stopped e/one/db stopping e/one/x stopped e/one/db stopped "
