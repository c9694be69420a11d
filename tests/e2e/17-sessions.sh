#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec's sessions: begun in the background, left, attached again, taken over;
# what of their output is kept, how long, and how many there may be.
. "$(dirname "$0")/lib.sh"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  v:
    containers:
      c: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 0s }
      d: { image: busybox, command: sleep 100000, init: true, stop_grace_period: 0s }
Y
load_images
check "deploy" hyb deploy "$WORK/s.yaml"
terminal() { python3 "$TOP/tests/e2e/terminal.py" "$@"; }
# of ID FIELD: of a session
of() { hyb exec --ls -o json s | jq -r ".[] | select(.session | startswith(\"$1\")) | .$2"; }
session_has() { [ "$(of "$1" "$2")" = "$3" ]; }
# ls_is NAME FILTER WANTED: what jq makes of the sessions of a container
ls_is() { [ "$(hyb exec --ls -o json "$1" | jq -r "$2")" = "$3" ]; }
in_c() { hyb exec s/v/c -- sh -c "$1"; }

# Begun in the background, with everything that it has read.
id=$(hyb exec -d -i s/v/c -- sh -c 'echo one; read x; echo "got $x"; echo err >&2; exit 7')
like "-d prints the session's id" "$id" '^[0-9a-f]{32}$'
await "its output is kept" 60 session_has "$id" waiting 4
is "it is listed" "$(of "$id" '| "\(.container) \(.session_state) \(.attached) \(.detached) \(.stdin) \(.tty) \(.exit_code)"')" "c running false true true false null"
like "and for people" "$(hyb exec --ls s/v/c)" "^${id:0:12} +s/v/c +[0-9]+ +running .* 4 B +sh -c echo one"
is "there is none in the other container" "$(hyb exec --ls -o json s/v/d)" "[]"
kill_9 "$(hybd_pid)"
check "another hybd" hyb ps
out=$(echo hello | hyb exec --attach "${id:0:8}" s/v/c 2>"$WORK/err")
is "attached: input, output and status, with another hybd" "$? $out $(cat "$WORK/err")" "7 one
got hello err"
is "its end is told of again, its output not" "$(hyb exec --attach "$id" s/v/c </dev/null 2>&1; echo $?)" 7
is "but with --replay" "$(hyb exec --replay --attach "$id" s/v/c </dev/null 2>/dev/null; echo $?)" "one
got hello
7"
is "it has ended" "$(of "$id" '| "\(.session_state) \(.exit_code) \(.pid)"')" "exited 7 null"

# What nobody takes is bounded, and it does not wait.
id=$(hyb exec -d s/v/c -- sh -c 'head -c 300000 /dev/zero | tr "\0" x; echo; touch /wrote; while [ ! -e /go ]; do usleep 100000; done; exit 3')
await "what writes into nothing goes on" 60 in_c '[ -e /wrote ]'
is "64 KiB are kept" "$(of "$id" waiting)" 65536
in_c 'touch /go'
hyb exec --attach "$id" s/v/c >"$WORK/out" 2>"$WORK/err"
is "its status" $? 3
is "the last bytes" "$(wc -c <"$WORK/out") $(tail -c 3 "$WORK/out" | tr '\n' .)" "65536 xx."
like "what is lost is said" "$(cat "$WORK/err")" "^hyb: 234465 bytes of standard output are lost"

# What cannot be.
fails "-d of what is not there" 127 "hyb: exec 's/v/c': .*No such file" hyb exec -d s/v/c -- nonexistent
fails "-d of what cannot be executed" 126 "denied" hyb exec -d s/v/c -- /etc/passwd
fails "an unknown session" 4 "hint: .hyb exec --ls s/v/c" hyb exec --attach 1234567890 s/v/c
fails "no session's id" 2 "is not hexadecimal" hyb exec --attach xyz s/v/c
is "nothing is left of those" "$(hyb exec --ls -o json s | jq length)" 2
mkfifo "$WORK/fifo"
exec 7<>"$WORK/fifo"
hyb exec -i s/v/d -- cat <&7 7>&- >"$WORK/cat" 2>&1 &
cat=$!
await "one with a client is listed" 60 ls_is s/v/d '.[0] | "\(.attached) \(.detached) \(.command)"' "true false cat"
fails "it is its client's" 125 "belongs to the client that began it" hyb exec --attach "$(hyb exec --ls -o json s/v/d | jq -r '.[0].session')" s/v/d
kill -9 $cat
wait $cat 2>/dev/null
await "and ends with it" 60 ls_is s/v/d length 0

# A terminal: left by its keys, attached, killed, taken over.
out=$(terminal 120 '[#$] ' 'type:echo $((6*7)); stty size\n' '42' 'type:X=keep' 'keep' 'type:\x10\x11' 'detached' end: -- hyb exec -it s/v/c -- sh)
is "ctrl-p ctrl-q leaves" $? 0
id=$(printf '%s' "$out" | sed -n 's/.*hyb exec --attach \([0-9a-f]*\) s\/v\/c.*/\1/p')
is "the session lives on" "$(of "$id" '| "\(.session_state) \(.attached) \(.detached) \(.tty)"')" "running false true true"
out=$(terminal 120 '' 'type:;tty; echo $X$X\n' 'keepkeep' 'size:30x90' '' 'type:while [ "$(stty size)" != "30 90" ]; do sleep 0.1; done; echo si""zed\n' 'sized' 'kill:9' '' end: -- hyb exec --attach "$id" s/v/c)
like "attached: what was typed is there, the size follows" "$? $out" "^137 "
await "a client that is killed leaves it alone" 60 session_has "$id" attached false
hyb exec --attach "$id" --no-stdin s/v/c >"$WORK/first" 2>&1 &
first=$!
await "it is attached" 60 session_has "$id" attached true
fails "a second client is refused" 125 "hint: --steal takes it over" hyb exec --attach "$id" --no-stdin s/v/c
out=$(terminal 120 '' 'type:echo $((7*11))\n' '77' 'type:exit 5\n' '' end: -- hyb exec --steal --attach "$id" s/v/c)
is "--steal takes it over, and it ends" "$?" 5
wait $first
is "the first is told" "$? $(grep -o "hyb: exec .*" "$WORK/first")" "125 hyb: exec 's/v/c': another client has taken the session over"
out=$(terminal 120 '[#$] ' 'type:exec sleep 98765\n' 'sleep' 'type:\x01d' 'detached' end: -- hyb exec -it --detach-keys ctrl-a,d s/v/c -- sh)
is "other keys leave" $? 0
sleeps() { hyb top s/v/c | grep "sleep 98765"; }
await "with what runs in it" 60 sleeps
terminal 120 '[#$] ' 'kill:9' '' end: -- hyb exec -it s/v/c -- sh -c 'PS1="\$ " sh; echo end >/hung' >/dev/null
await "one that was not left ends when its client is killed" 60 ls_is s/v/c '[.[] | select(.command | test("hung"))] | length' 0

# Signals, as of any exec.
id=$(hyb exec -d s/v/c -- sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done')
hyb exec --attach "$id" s/v/c >"$WORK/out" 2>&1 &
first=$!
await "it says something" 60 grep -q ready "$WORK/out"
kill -TERM $first
wait $first
is "a signal is passed on" "$? $(tail -1 "$WORK/out")" "9 term"

id=$(hyb exec -d s/v/c -- sh -c 'sleep 98764 & sleep 98764 & wait')
runs() { [ "$(hyb top s/v/c | grep -c "sleep 98764\$")" = "$1" ]; }
await "it has begun others" 60 runs 2
is "a signal to all of a session" "$(hyb exec --kill "$id" -s TERM s/v/c)" "$id: sent signal 15"
await "which ends it" 60 session_has "$id" exit_code 143
await "and what it has begun" 60 runs 0
fails "of none" 4 "there is no session" hyb exec --kill 1234567890 s/v/c
fails "no signal" 2 "is no signal" hyb exec --kill "$id" -s NONE s/v/c
fails "a signal without --kill" 2 "belongs to --kill" hyb exec -s TERM s/v/c -- true

# How many.
for _ in $(seq 16); do hyb exec -d s/v/d -- sleep 4321 >>"$WORK/ids" || break; done
is "sixteen of a container" "$(wc -l <"$WORK/ids")" 16
fails "no more" 125 "LimitReached: detached sessions" hyb exec -d s/v/d -- sleep 4321
check "an exec that stays has its place" hyb exec s/v/d -- true
victim=$(sed -n 3p "$WORK/ids")
is "one is ended from here" "$(hyb exec --kill "${victim:0:12}" s/v/d)" "$victim: sent signal 9"
await "it has" 60 session_has "$victim" session_state exited
fails "one that has ended takes no signal" 125 "session '${victim:0:12}' has ended" hyb exec --kill "$victim" s/v/d
like "it gives way to another" "$(hyb exec -d s/v/d -- sleep 4321)" '^[0-9a-f]{32}$'
is "and is not known any more" "$(of "$victim" session)" ""
check "a new incarnation has none" hyb restart s/v/d
is "it has none" "$(hyb exec --ls -o json s/v/d)" "[]"
fails "nor can they be asked for" 4 "there is no session" hyb exec --attach "$(sed -n 4p "$WORK/ids")" s/v/d
