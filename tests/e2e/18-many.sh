#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A hundred containers in one VM of 512 MiB.
. "$(dirname "$0")/lib.sh"

{
	printf 'hyb: 1\nname: s\nvms:\n  v:\n    resources: { memory: 512m }\n    containers:\n'
	for i in $(seq 100); do
		echo "      c$i: { image: busybox, command: [sh, -c, 'echo I am $i; exec sleep 100000'], stop_grace_period: 0s }"
	done
} >"$WORK/s.yaml"
load_images
check "a hundred containers are deployed" hyb deploy --timeout 600s "$WORK/s.yaml"
all_run() { [ "$(hyb ps -o json s | jq '[.[] | select(.state == "running")] | length')" = 100 ]; }
check "all of them run" all_run
said() { hyb logs s | sed 's/.*I am //' | sort -n | tr '\n' ' '; }
all_said() { [ "$(said)" = "$(seq 100 | tr '\n' ' ')" ]; }
await "each has said so" 60 all_said
is "each can be asked" "$(for i in 1 50 64 65 100; do hyb exec "s/v/c$i" -- cat /proc/1/comm; done | uniq -c | tr -s ' ')" " 5 sleep"
like "stats has all of them" "$(hyb stats -o json s | jq '[.[] | select(.memory > 0)] | length')" '^100$'
boot=$(hyb exec s/v/c100 -- cat /proc/sys/kernel/random/boot_id)
kill_9 "$(hybd_pid)"
check "another hybd" hyb ps
await "has all of them" 60 all_run
is "as they were" "$(hyb exec s/v/c100 -- cat /proc/sys/kernel/random/boot_id) $(hyb ps -o json s | jq '[.[].restarts] | add')" "$boot 0"
sed -i '$d' "$WORK/s.yaml"
check "one less" hyb deploy --timeout 600s "$WORK/s.yaml"
is "is one less" "$(hyb ps -a -o json s | jq length)" 99
for i in $(seq 101 129); do
	echo "      c$i: { image: busybox, command: sleep 100000 }"
done >>"$WORK/s.yaml"
check "128 are as many as may be" hyb validate "$WORK/s.yaml"
echo "      more: { image: busybox, command: sleep 100000 }" >>"$WORK/s.yaml"
fails "one more is refused" 3 "at most 128 containers" hyb validate "$WORK/s.yaml"
check "down" hyb down s
