#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job, shown: one file, two VMs made through libvirt, two containers
# in each. `make demo` calls this; KEEP=1 leaves it running.
set -eu
cd "$(dirname "$0")/../.."
begin=$SECONDS
step() { printf '\n\033[1m== %s\033[0m  (%d s)\n' "$*" $((SECONDS - begin)); }

if [ "$(id -u)" != 0 ]; then
	echo "demo: run as root: hybd makes VMs with uids of their own" >&2
	exit 1
fi
step "packages"
make --no-print-directory deps
step "build: programs, guest kernel, initramfs, example images"
make --no-print-directory -j"$(nproc)" programs
make --no-print-directory all

export PATH=$PWD/build/default/bin:$PATH
export HYB_ROOT=${HYB_ROOT:-/tmp/hyb-demo}
mkdir -p "$HYB_ROOT"
chmod 711 "$HYB_ROOT"

ended=
down() {
	[ -z "$ended" ] || return 0
	ended=1
	step "down"
	hyb down demo || true
	pid=$(hyb version -o json 2>/dev/null | jq -r '.hybd.pid // .pid // empty')
	if [ -n "$pid" ]; then
		kill "$pid" || true
		for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	fi
	rm -rf "$HYB_ROOT"
}
if [ "${KEEP:-}" != 1 ]; then trap down EXIT; fi

step "images into the store"
hyb image load build/images/busybox.tar
hyb image load build/images/nginx.tar
hyb image ls

step "hyb deploy docs/examples/demo.yaml"
hyb deploy --timings docs/examples/demo.yaml

step "hyb ps, hyb vm ls"
hyb ps
hyb vm ls

step "what is shared and what is not, read inside each container"
fact() { hyb exec "demo/$1" -- sh -c "$2" 2>/dev/null | tr -d '\n'; }
# line TREE NAME BOOT-ID KERNEL HOSTNAME PID-NAMESPACE MEMORY NETWORK
line() { printf '%s%-*s %-10s %-17s %-9s %-17s %-8s %s\n' "$1" $((24 - ${#1})) "$2" "${@:3}"; }
row() {
	line "$2" "$3" \
		"$(fact "$1" 'cut -c1-8 /proc/sys/kernel/random/boot_id')" \
		"$(fact "$1" 'uname -r')" \
		"$(fact "$1" 'hostname')" \
		"$(fact "$1" 'readlink /proc/self/ns/pid')" \
		"$(fact "$1" 'echo $(($(cat /sys/fs/cgroup/memory.max) >> 20))M')" \
		"$(fact "$1" 'readlink /proc/self/ns/net')"
}
line "" "" "boot id" kernel hostname "pid namespace" memory "network"
line "" host "$(cut -c1-8 /proc/sys/kernel/random/boot_id)" "$(uname -r | cut -c1-16)" - "$(readlink /proc/self/ns/pid)" - "$(readlink /proc/self/ns/net)"
echo "├─ VM left"
row left/a "│  ├─ " "container a"
row left/b "│  └─ " "container b"
echo "└─ VM right"
row right/c "   ├─ " "container c (nginx)"
row right/d "   └─ " "container d"
echo "(a namespace's number counts within its kernel)"

A=$(fact left/a 'cat /proc/sys/kernel/random/boot_id') B=$(fact left/b 'cat /proc/sys/kernel/random/boot_id')
C=$(fact right/c 'cat /proc/sys/kernel/random/boot_id') D=$(fact right/d 'cat /proc/sys/kernel/random/boot_id')
H=$(cat /proc/sys/kernel/random/boot_id)
[ -n "$A" ] && [ "$A" = "$B" ] && [ -n "$C" ] && [ "$C" = "$D" ] && [ "$A" != "$C" ] && [ "$A" != "$H" ] && [ "$C" != "$H" ] || {
	echo "demo: the kernels are not as they should be" >&2
	exit 1
}
echo "a and b share one kernel, c and d another, the host has a third."

step "a page from nginx in VM right, through a published port"
for _ in $(seq 50); do
	curl -sf --max-time 5 http://127.0.0.1:18080/ && break
	sleep 0.2
done
curl -sf --max-time 5 -o /dev/null http://127.0.0.1:18080/

step "logs"
hyb logs demo/left/a

step "exec, with its exit status"
status=0
hyb exec demo/left/b -- sh -c 'echo "in $(hostname), pid $$"; exit 42' || status=$?
echo "exit status: $status"
[ "$status" = 42 ]

if [ "${KEEP:-}" = 1 ]; then
	printf '\nLeft running. Go on with:\n  export PATH=%s HYB_ROOT=%s\n  hyb ps\n  hyb down demo\n' "$PWD/build/default/bin:\$PATH" "$HYB_ROOT"
else
	down
fi
printf '\ndemo: done in %d s\n' $((SECONDS - begin))
