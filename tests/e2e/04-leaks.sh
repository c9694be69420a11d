#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ten deployments and downs leave nothing: process, file, tap, mount, descriptor.
# alone: what the machine has of mounts and links is a part of what it compares
. "$(dirname "$0")/lib.sh"
read -r PORT <<<"$(free_ports 1)"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  v:
    containers:
      c: { image: busybox, command: sleep 1000, stop_grace_period: 1s, init: true, ports: ["127.0.0.1:@PORT:80"] }
Y
sed -i "s/@PORT/$PORT/" "$WORK/s.yaml"
load_images
state() {
	local pid
	pid=$(hybd_pid)
	echo "descriptors $(ls "/proc/$pid/fd" | wc -l)"
	echo "threads $(ls "/proc/$pid/task" | wc -l)"
	echo "mounts $(wc -l <"/proc/$pid/mountinfo") $(wc -l </proc/self/mountinfo)"
	echo "processes $(ours | wc -l)"
	echo "links $(ip -o link 2>/dev/null | wc -l)"
	echo "files $(find "$HYB_ROOT" -not -path '*/hybd.log*' -not -name '*-wal' -not -name '*-shm' -not -path '*/libvirt/*' | sort | md5sum)"
}
check "warm up" hyb deploy "$WORK/s.yaml"
check "warm up" hyb down s
# What is going on has ended when nothing has changed for a second.
quiet() {
	local last now same=0
	last=$(state)
	while [ $same -lt 5 ]; do
		sleep 0.2
		now=$(state)
		if [ "$now" = "$last" ]; then same=$((same + 1)); else same=0; fi
		last=$now
	done
	printf '%s\n' "$last"
}
before=$(quiet)
bad=0
for i in 1 2 3 4 5 6 7 8 9 10; do
	hyb deploy "$WORK/s.yaml" >/dev/null 2>&1 || bad=$((bad + 1))
	hyb exec s/v/c -- true || bad=$((bad + 1))
	hyb down s >/dev/null 2>&1 || bad=$((bad + 1))
done
is "ten deployments, execs and downs" $bad 0
settled() { [ "$(state)" = "$before" ]; }
await "all is as it was before" 10 settled || { echo "# before: $before"; echo "# after: $(state)"; }
# libvirt's first look at what QEMU can do leaves processes, too.
reaped() { [ "$(ps --ppid "$(hybd_pid)" -o stat= | grep -c Z)" = 0 ]; }
await "and hybd has no dead children" 60 reaped
