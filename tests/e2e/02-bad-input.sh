#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What users should not do, and what they are told.
. "$(dirname "$0")/lib.sh"
read -r PORT <<<"$(free_ports 1)"

# one NAME COMMAND [MORE]: a stack with one container
one() {
	cat >"$WORK/$1.yaml" <<-Y
	hyb: 1
	name: $1
	vms:
	  vm:
	    restart: ${4:-always}
	    containers:
	      c:
	        image: busybox
	        command: $2
	        stop_grace_period: 1s
	${3:-}
	Y
}

load_images

bad() { printf 'hyb: 1\nname: s\nvms:\n  v:\n    containers:\n      c:\n        image: busybox\n%b' "$1" >"$WORK/bad.yaml"; }
bad '        imagee: x\n'
fails "unknown key: 3, with place and suggestion" 3 'bad.yaml:8:9: .*image' hyb deploy "$WORK/bad.yaml"
bad '        init: 7\n'
fails "wrong type" 3 'bad.yaml:8:15: ' hyb deploy "$WORK/bad.yaml"
bad '        init: true\n        init: true\n'
fails "duplicate key" 3 'bad.yaml:9:9: ' hyb deploy "$WORK/bad.yaml"
bad '\tinit: true\n'
fails "a tab" 3 'bad.yaml:8:' hyb deploy "$WORK/bad.yaml"
bad '        resources: { limits: { memory: 12q } }\n'
fails "a bad size" 3 'bad.yaml:8:.*12q' hyb deploy "$WORK/bad.yaml"
bad '      Bad_Name: { image: busybox }\n'
fails "a bad name" 3 'bad.yaml:8:7: .*Bad_Name' hyb deploy "$WORK/bad.yaml"
bad '        cap_add: [NET_ADMIN]\n'
fails "a key that is not built yet" 3 'bad.yaml:8:9: .*not supported yet' hyb deploy "$WORK/bad.yaml"
{ printf 'a: '; head -c 100000 /dev/zero | tr '\0' '['; } >"$WORK/bad.yaml"
fails "a bomb" 3 'bad.yaml:1:' timeout 60 hyb deploy "$WORK/bad.yaml"
fails "validate says the same" 3 'bad.yaml:1:' hyb validate "$WORK/bad.yaml"
fails "a file that is not there" 1 'nothere.yaml' hyb deploy "$WORK/nothere.yaml"

bad '        pull_policy: never\n'
sed -i 's/busybox/nosuchimage/' "$WORK/bad.yaml"
fails "unknown image: 4 with a hint" 4 'nosuchimage' hyb deploy "$WORK/bad.yaml"
like "the hint" "$(hyb deploy "$WORK/bad.yaml" 2>&1)" '^hint: '
fails "unknown verb: 2" 2 'hyb: ' hyb frobnicate
fails "unknown option: 2" 2 'hyb: ' hyb ps --frobnicate
fails "a verb that is not built yet: 2" 2 'not supported yet' hyb scale
fails "exec in nothing: 4" 4 'not found' hyb exec nothing/at/all -- true

head -c 200000 build/images/busybox.tar >"$WORK/cut.tar"
fails "an image that is cut" 1 'hyb: ' hyb image load "$WORK/cut.tar"
: >"$WORK/empty.tar"
fails "an empty file" 1 'hyb: ' hyb image load "$WORK/empty.tar"
head -c 100000 /dev/urandom >"$WORK/noise"
fails "not an image" 1 'hyb: ' hyb image load "$WORK/noise"
is "the store is as it was" "$(hyb image ls -o json | jq length)" 1
is "nothing half-made is left" "$(ls "$HYB_ROOT/images/tmp" | wc -l)" 0

one missing '["/no/such/thing"]'
fails "a command that the image does not have" 1 'StartError|no/such/thing' hyb deploy "$WORK/missing.yaml"
is "failed, StartError, 127" "$(field missing/vm/c state) $(field missing/vm/c reason) $(field missing/vm/c exit_code)" "failed StartError 127"
fails "deployed again it is tried again, and fails again" 1 'StartError|no/such/thing' hyb deploy "$WORK/missing.yaml"
check "down" hyb down missing

one oom '["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done; tail /dev/zero"]' '        resources: { limits: { memory: 16m } }'
check "deploy a memory hog" hyb deploy "$WORK/oom.yaml"
check "let it go" hyb exec oom/vm/c -- touch /tmp/go
await "it is killed" 30 has oom/vm/c state failed
is "and the reason shown" "$(field oom/vm/c reason) $(field oom/vm/c exit_code)" "OOMKilled 137"
is "its VM lives" "$(vm_field oom/vm state)" running
check "down" hyb down oom

one early '["sh", "-c", "exit 3"]' '        restart: on-failure:2'
check "deploy what fails" hyb deploy "$WORK/early.yaml"
end_of() { hyb ps -a -o json early/vm/c | jq -r '.[0] | "\(.restarts) \(.state) \(.exit_code) \(.reason)"'; }
ended() { [ "$(end_of)" = "2 failed 3 Error" ]; }
await "restarted twice, then failed, with its code" 30 ended
check "down" hyb down early

python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("held", flush=True)
time.sleep(600)' "$PORT" >"$WORK/squat" &
SQUAT=$!
await "another holds a port" 60 grep -q held "$WORK/squat"
one port 'sleep 100' "        ports: [\"127.0.0.1:$PORT:80\"]"
fails "a port that is in use" 1 "$PORT.*in use" hyb deploy "$WORK/port.yaml"
kill $SQUAT
wait $SQUAT 2>/dev/null
check "deployed when it is free" hyb deploy "$WORK/port.yaml"
check "down" hyb down port

fails "two hybd on one root" 7 'held by another' hybd --root "$HYB_ROOT"
one kill '["sleep", "1000"]'
check "deploy" hyb deploy "$WORK/kill.yaml"
fails "an image in use stays" 1 'use' hyb image rm busybox
check "down" hyb down kill
check "and goes when it is not" hyb image rm busybox
