#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job: one file, two VMs, four containers; every verb that looks.
. "$(dirname "$0")/lib.sh"
read -r PORT PORT2 <<<"$(free_ports 2)"

cat >"$WORK/two.yaml" <<'Y'
hyb: 1
name: two
vms:
  left:
    resources: { vcpus: 1, memory: 128m }
    containers:
      a:
        image: busybox
        command: ["sh", "-c", "echo hello from a; echo oops >&2; exec sleep 1000"]
        environment: { COLOUR: green, EMPTY: "" }
        hostname: host-a
        resources: { limits: { memory: 24m, pids: 50, cpus: 0.5 } }
        stop_grace_period: 1s
        init: true
      b:
        image: busybox
        command: sleep 1000
        user: "1000:1001"
        working_dir: /tmp
        stop_grace_period: 1s
        init: true
        depends_on: [a]
  right:
    containers:
      c:
        image: busybox
        command: sleep 1000
        stop_grace_period: 1s
        init: true
      d:
        image: nginx
        ports: ["127.0.0.1:@PORT:80"]
Y

sed -i "s/@PORT/$PORT/" "$WORK/two.yaml"
check "version starts a hybd" hyb version
load_images nginx
like "image ls" "$(hyb image ls -o json | jq -r '.[].name' | sort | tr '\n' ' ')" 'busybox.*nginx'
fails "plan says what will be" 8 'two/left/a' hyb plan "$WORK/two.yaml"
check "validate" hyb validate "$WORK/two.yaml"
check "deploy" hyb deploy "$WORK/two.yaml"
check "plan: nothing to do" hyb plan "$WORK/two.yaml"
like "deploy again changes nothing" "$(hyb deploy "$WORK/two.yaml" 2>&1)" 'nothing|unchanged|up to date'

is "all four run" "$(hyb ps -o json | jq -r '[.[] | select(.state == "running")] | length')" 4
is "two VMs run" "$(hyb vm ls -o json | jq -r '[.[] | select(.state == "running")] | length')" 2
like "ps has the promised fields" "$(hyb ps -o json | jq -c '.[0] | keys')" '"container","created_at","digest","exit_code","health","image","pid","ports","reason","restarts","stack","started_at","state","tenant","vm"'
like "vm ls has the promised fields" "$(hyb vm ls -o json | jq -c '.[0] | keys')" '"accelerator".*"agent_version".*"cid".*"host_memory".*"isolation".*"kernel".*"memory".*"pool".*"qemu_pid"'

# What is shared and what is not.
boot() { hyb exec "$1" -- cat /proc/sys/kernel/random/boot_id; }
A=$(boot two/left/a) B=$(boot two/left/b) C=$(boot two/right/c) H=$(cat /proc/sys/kernel/random/boot_id)
is "a and b share a kernel" "$A" "$B"
if [ -n "$A" ] && [ "$A" != "$C" ] && [ "$A" != "$H" ] && [ "$C" != "$H" ]; then ok "left, right and the host do not"; else not_ok "left, right and the host do not" "$A $C $H"; fi
ns() { hyb exec "$1" -- readlink "/proc/self/ns/$2"; }
for n in pid mnt ipc uts user cgroup; do
	if [ "$(ns two/left/a $n)" != "$(ns two/left/b $n)" ]; then ok "a and b have $n namespaces of their own"; else not_ok "a and b have $n namespaces of their own"; fi
done
is "a and b share the network namespace" "$(ns two/left/a net)" "$(ns two/left/b net)"
is "hostname as declared" "$(hyb exec two/left/a -- hostname)" host-a
is "hostname by default the VM's" "$(hyb exec two/left/b -- hostname)" left
is "memory limit" "$(hyb exec two/left/a -- cat /sys/fs/cgroup/memory.max)" 25165824
is "pids limit" "$(hyb exec two/left/a -- cat /sys/fs/cgroup/pids.max)" 50
is "cpu limit" "$(hyb exec two/left/a -- cat /sys/fs/cgroup/cpu.max)" "50000 100000"
is "environment" "$(hyb exec two/left/a -- sh -c 'echo $COLOUR-$EMPTY-')" green--
is "user and group" "$(hyb exec two/left/b -- sh -c 'id -u; id -g; pwd' | tr '\n' ' ')" "1000 1001 /tmp "
is "root in the container is nobody in the guest" "$(hyb exec two/left/a -- awk '{print ($2 >= 65536)}' /proc/self/uid_map)" 1
like "no new privileges, seccomp on" "$(hyb exec two/left/a -- cat /proc/self/status | tr '\t\n' '  ')" 'NoNewPrivs: 1 Seccomp: 2'

# exec
hyb exec two/left/a -- sh -c 'exit 42'
is "exec's status is the command's" $? 42
hyb exec two/left/a -- sh -c 'kill -9 $$'
is "exec: 128 and the signal" $? 137
hyb exec two/left/a -- /no/such/program 2>/dev/null
is "exec: 127 where there is no such program" $? 127
hyb exec two/left/a -- /etc/passwd 2>/dev/null
is "exec: 126 where it cannot be executed" $? 126
is "exec -i carries standard input" "$(head -c 300000 /dev/zero | tr '\0' x | hyb exec -i two/left/a -- wc -c | tr -d ' ')" 300000
is "exec: big output is whole" "$(hyb exec two/left/a -- head -c 5000000 /dev/zero | wc -c)" 5000000
is "exec: stderr is apart" "$(hyb exec two/left/a -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
is "exec -e -w -u" "$(hyb exec -e X=1 -w /etc -u 5 two/left/a -- sh -c 'echo $X $PWD $(id -u)')" "1 /etc 5"
like "exec -t gives a terminal" "$(script -qec 'hyb exec -t two/left/a -- tty' /dev/null | tr -d '\r')" '/dev/(pts/0|console)'

# logs
is "logs: stdout" "$(hyb logs two/left/a 2>/dev/null)" "hello from a"
is "logs: stderr" "$(hyb logs two/left/a 2>&1 >/dev/null)" "oops"
is "logs --tail 0" "$(hyb logs --tail 0 two/left/a 2>&1)" ""

# ports
like "a page through a published port" "$(curl -s --max-time 60 http://127.0.0.1:$PORT/)" '<html|<!DOCTYPE|hyb'
for _ in 1 2 3 4 5 6 7 8; do curl -s --max-time 60 -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$PORT/ & done >"$WORK/codes"
wait
is "eight at once" "$(sort "$WORK/codes" | uniq -c | tr -s ' ')" " 8 200"
hyb port-forward two/right/d $PORT2:80 >"$WORK/pf" 2>&1 &
PF=$!
await "port-forward" 10 curl -sf --max-time 60 -o /dev/null http://127.0.0.1:$PORT2/
kill -INT $PF
wait $PF 2>/dev/null

# stop and start
check "stop a container" hyb stop two/left/b
is "it is stopped" "$(field two/left/b state) $(field two/left/b reason)" "stopped Stopped"
check "start it" hyb start two/left/b
is "it runs" "$(field two/left/b state)" running
check "stop a VM" hyb stop two/left
is "its containers are stopped" "$(field two/left/a state)" stopped
check "start the VM" hyb start two/left
is "they run" "$(field two/left/a state) $(field two/left/b state)" "running running"
is "and that was no restart" "$(field two/left/a restarts) $(field two/left/b restarts)" "0 0"
like "inspect" "$(hyb inspect two/left/a | jq -r '.container // .[0].container')" '^a$'

# a change
sed -i 's/green/blue/' "$WORK/two.yaml"
like "plan: only a is made anew" "$(hyb plan "$WORK/two.yaml")" 'two/left/a.*environment'
PIDB=$(field two/left/b started_at)
check "deploy the change" hyb deploy "$WORK/two.yaml"
is "it has arrived" "$(hyb exec two/left/a -- sh -c 'echo $COLOUR')" blue
is "b was left alone" "$(field two/left/b started_at)" "$PIDB"

check "down" hyb down two
is "nothing is left in ps" "$(hyb ps -a -o json | jq length)" 0
is "no VM is left" "$(hyb vm ls -o json | jq length)" 0
is "no process is left but hybd" "$(ours | grep -vc '[h]ybd')" 0
is "no folder of a VM is left" "$(ls "$HYB_ROOT/vms")" ""
if curl -s --max-time 60 -o /dev/null http://127.0.0.1:$PORT/; then not_ok "the port is free again"; else ok "the port is free again"; fi
