#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of everything, one after another.
. "$(dirname "$0")/lib.sh"
read -r PORT <<<"$(free_ports 1)"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  one:
    containers:
      count:
        image: busybox
        command: ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done"]
        stop_grace_period: 1s
      web:
        image: busybox
        command: ["sh", "-c", "mkdir /tmp/w; echo here > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"]
        ports: ["127.0.0.1:@PORT:80"]
        stop_grace_period: 1s
  two:
    restart: no
    containers:
      idle: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true }
Y
sed -i "s/@PORT/$PORT/" "$WORK/s.yaml"
load_images
check "deploy" hyb deploy "$WORK/s.yaml"
boot() { hyb exec s/one/count -- cat /proc/sys/kernel/random/boot_id; }
page() { [ "$(curl -s --max-time 60 http://127.0.0.1:$PORT/)" = here ]; }
await "the page" 10 page

# hybd
BOOT=$(boot) STARTED=$(field s/one/count started_at) QEMU=$(vm_field s/one qemu_pid)
mkfifo "$WORK/in"
hyb exec -i s/one/count -- sh -c 'echo begun; read -r x; echo "still $x"; exit 9' <"$WORK/in" >"$WORK/exec.out" 2>&1 &
EXEC=$!
exec 8>"$WORK/in"
await "an exec that waits" 60 grep -q begun "$WORK/exec.out"
HYBD=$(hybd_pid)
kill_9 "$HYBD"
await "the port goes on without hybd" 60 page
echo here >&8
exec 8>&-
wait $EXEC
is "a running exec goes on without hybd" "$? $(tr '\n' ' ' <"$WORK/exec.out")" "9 begun still here "
check "a new hybd is started" hyb ps
is "the same guest" "$(boot)" "$BOOT"
is "the same QEMU" "$(vm_field s/one qemu_pid)" "$QEMU"
is "the same container" "$(field s/one/count started_at) $(field s/one/count restarts)" "$STARTED 0"
if [ "$(hybd_pid)" != "$HYBD" ]; then ok "another hybd"; else not_ok "another hybd"; fi
long_log() { hyb logs s/one/count >"$WORK/log" && [ "$(wc -l <"$WORK/log")" -gt 100 ]; }
await "its log goes on" 60 long_log
N=$(wc -l <"$WORK/log")
seq 0 $((N - 1)) | cmp -s - "$WORK/log" && ok "the log has every line once ($N)" || not_ok "the log has every line once ($N)" "$(diff <(seq 0 $((N - 1))) "$WORK/log" | head -5)"
is "nothing to do for a deployment" "$(hyb plan "$WORK/s.yaml" >/dev/null 2>&1; echo $?)" 0

# the device
VSOCKD=$(ours | awk '/hyb-vsockd/ && /--cid/ {print $1}' | head -1)
kill -9 "$VSOCKD"
await "exec works again after its device was killed" 15 hyb exec s/one/count -- true
await "in the other VM too" 15 hyb exec s/two/idle -- true
is "no guest was lost" "$(boot)" "$BOOT"

# QEMU
kill -9 "$(vm_field s/one qemu_pid)"
await "restarted by its policy" 30 vm_restarts s/one 1
again() { [ "$(field s/one/count state)" = running ] && [ "$(boot)" != "$BOOT" ]; }
await "its containers run again, in another VM" 60 again
await "and the page is back" 20 page
kill -9 "$(vm_field s/two qemu_pid)"
await "restart: no is not restarted" 20 vm_has s/two state failed
is "and the reason shown" "$(vm_field s/two reason) $(field s/two/idle reason)" "VMKilled VMKilled"
check "deploy brings it back" hyb deploy "$WORK/s.yaml"
is "it runs" "$(field s/two/idle state)" running

# portd
PORTD=$(ours | awk '/hyb-portd/ {print $1}' | head -1)
kill -9 "$PORTD"
await "the port is published again" 15 page

# hybd while it deploys
check "down" hyb down s
for ms in 0.1 0.4 0.8 1.2; do
	HYBD=$(hybd_pid)
	hyb deploy "$WORK/s.yaml" >/dev/null 2>&1 &
	D=$!
	sleep $ms
	kill_9 "$HYBD"
	wait $D 2>/dev/null
	check "deploy after a hybd was killed $ms s into one" hyb deploy "$WORK/s.yaml"
	is "all run" "$(hyb ps -o json | jq -r '[.[] | select(.state == "running")] | length')" 3
	is "two QEMUs, no more" "$(ours | grep -c '[q]emu-system')" 2
	check "down" hyb down s
done
is "nothing is left" "$(ours | grep -vc '[h]ybd')" 0
