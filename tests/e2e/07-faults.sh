#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hybd is killed in the middle of what it does; many ask for different things
# at once; guests and clients hang.
. "$(dirname "$0")/lib.sh"
read -r PORT PORT2 <<<"$(free_ports 2)"

cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  one:
    containers:
      idle:
        image: busybox
        command: sleep 1000
        init: true
        ports: ["127.0.0.1:@PORT:80"]
        stop_grace_period: 1s
Y
sed -i "s/@PORT/$PORT/" "$WORK/s.yaml"
# By this one is seen that others are left alone.
sed "s/^name: s/name: b/; s/$PORT/$PORT2/" "$WORK/s.yaml" >"$WORK/b.yaml"
sed 's/^name: s/name: p/' "$WORK/s.yaml" >"$WORK/p.yaml"
sed 's/^name: s/name: o/; /ports:/d' "$WORK/s.yaml" >"$WORK/o.yaml"

# Kills its process at the Nth of these calls after $FAULT_FILE says N. All of
# them change something that outlives the process, or tell somebody.
cat >"$WORK/fault.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int left;
static pid_t self;

__attribute__((constructor)) static void begin(void) { self = getpid(); }

static void count(void)
{
	char text[16] = "";
	int fd;

	if (getpid() != self)
		return;
	if (atomic_load(&left) == 0) {
		fd = open(getenv("FAULT_FILE"), O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		if (pread(fd, text, sizeof(text) - 1, 0) > 0)
			atomic_store(&left, atoi(text));
		close(fd);
		return;
	}
	if (atomic_fetch_sub(&left, 1) == 2)
		raise(SIGKILL);
}
#define HOOK(type, name, params, ...)                                  \
	type name params                                               \
	{                                                              \
		static type (*next) params;                            \
		if (!next)                                             \
			next = (type(*) params)dlsym(RTLD_NEXT, #name); \
		count();                                               \
		return next(__VA_ARGS__);                              \
	}
HOOK(ssize_t, write, (int f, const void *b, size_t n), f, b, n)
HOOK(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), f, b, n, o)
HOOK(int, fsync, (int f), f)
HOOK(int, fdatasync, (int f), f)
HOOK(int, unlink, (const char *p), p)
HOOK(int, unlinkat, (int d, const char *p, int f), d, p, f)
HOOK(int, rename, (const char *a, const char *b), a, b)
HOOK(int, mkdir, (const char *p, mode_t m), p, m)
HOOK(int, linkat, (int a, const char *p, int b, const char *q, int f), a, p, b, q, f)
HOOK(int, kill, (pid_t p, int s), p, s)
HOOK(int, connect, (int f, const struct sockaddr *a, socklen_t n), f, a, n)
HOOK(ssize_t, sendmsg, (int f, const struct msghdr *m, int x), f, m, x)
HOOK(ssize_t, send, (int f, const void *b, size_t n, int x), f, b, n, x)
HOOK(pid_t, fork, (void), )
C
check "build the fault" cc -shared -fPIC -o "$WORK/fault.so" "$WORK/fault.c" -ldl
export FAULT_FILE=$WORK/armed

start_hybd() {
	rm -f "$HYB_ROOT/hybd.sock"
	LD_PRELOAD=$WORK/fault.so hybd --root "$HYB_ROOT" --accel "$HYB_ACCEL" >>"$HYB_ROOT/hybd.log" 2>&1 &
	HYBD=$!
	disown
	# Not asked by hyb, which would start another one.
	for _ in $(seq 600); do
		[ -S "$HYB_ROOT/hybd.sock" ] && return 0
		sleep 0.1
	done
	return 1
}
kill_hybd() {
	kill_9 "$(hybd_pid)"
}
qemus() { ours | grep -c '[q]emu-system'; }
portds() { ours | grep -c '[h]yb-portd'; }
# What a VM leaves in the root, of all stacks.
folders() { find "$HYB_ROOT/virt" -mindepth 1 -maxdepth 1 -name 'hyb-*' | wc -l; }
vm_dirs() { find "$HYB_ROOT/vms" -mindepth 1 -maxdepth 1 | wc -l; }
boot() { hyb exec "$1" -- cat /proc/sys/kernel/random/boot_id 2>&1; }
plan() { hyb plan "$WORK/$1.yaml" >/dev/null 2>&1; echo $?; }
now() { echo "$(qemus) qemu, $(portds) portd, $(vm_dirs)+$(folders) folders, $(hyb ps -a -o json | jq -r '[.[] | select(.stack == "s") | .state] | join(" ")')"; }

# round VERB N WANTED: hybd is killed at its Nth call in VERB. Then the same
# once more, and soon all is as it should be.
round() {
	local verb=$1 n=$2 want=$3 arg=s out status got begin how
	[ "$verb" != deploy ] || arg=$WORK/s.yaml
	echo $((n + 1)) >"$FAULT_FILE"
	timeout 120 hyb "$verb" "$arg" >/dev/null 2>&1
	rm -f "$FAULT_FILE"
	how="not reached"
	kill -0 $HYBD 2>/dev/null || how="killed"
	[ "$how" = "not reached" ] && [ "$n" -lt 40 ] && how="NOT killed"
	kill -0 $HYBD 2>/dev/null && kill_hybd
	begin=$SECONDS
	start_hybd || how="no hybd"
	out=$(timeout 120 hyb "$verb" "$arg" 2>&1)
	status=$?
	# It may be that all was done but the answer.
	[ "$verb" = down ] && [ $status = 4 ] && status=0
	while got=$(now); [ "$got" != "$want" ] && [ $((SECONDS - begin)) -lt 60 ]; do sleep 0.2; done
	case $verb in deploy | start) got="$got, plan $(plan s)" want="$want, plan 0" ;; esac
	[ $status = 0 ] || printf '%s\n' "$out" | tail -3 | sed 's/^/# /'
	is "$verb, killed at call $n ($how): all as it should be" "$status $got" "0 $want"
}

load_images
kill_hybd
start_hybd
check "deploy another stack" hyb deploy "$WORK/b.yaml"
BOOT=$(boot b/one/idle)
UP="2 qemu, 2 portd, 2+2 folders, running"
for n in 1 12 30 60 110; do
	round deploy $n "$UP"
	[ $n = 110 ] || hyb down s >/dev/null 2>&1
done
for n in 4 16; do
	round stop $n "1 qemu, 1 portd, 1+1 folders, stopped"
	round start $((n * 2)) "$UP"
done
for n in 2 9 20; do
	round down $n "1 qemu, 1 portd, 1+1 folders, "
	[ $n = 20 ] || hyb deploy "$WORK/s.yaml" >/dev/null 2>&1
done
is "the other stack went on all the while" "$(boot b/one/idle) $(field b/one/idle restarts)" "$BOOT 0"
is "and nothing is to be done for it" "$(plan b)" 0

# What no row speaks of
kill_hybd
mkdir "$WORK/old"
cp "$HYB_ROOT"/state.db* "$WORK/old/"
check "deploy what the state will not know" hyb deploy "$WORK/o.yaml"
kill_hybd
rm -f "$HYB_ROOT"/state.db*
cp "$WORK"/old/state.db* "$HYB_ROOT/"
mkdir -p "$HYB_ROOT/vms/4711" "$HYB_ROOT/logs/default/lost/one"
check "a hybd with an older state" hyb ps
is "took down what was nobody's, and that only" "$(now) $(boot b/one/idle)" "1 qemu, 1 portd, 1+1 folders,  $BOOT"
is "logs too" "$(ls "$HYB_ROOT/logs/default")" b

# A portd whose VM is gone
QEMU=$(vm_field b/one qemu_pid)
PORTD=$(hyb inspect b/one | jq .portd_pid)
kill_hybd
kill -9 "$QEMU"
await "a VM that ended while there was no hybd is made again" 20 vm_restarts b/one 1
await "and its containers" 20 has b/one/idle state running
is "with a portd of its own, no other" "$(portds) $(ours | awk '{print $1}' | grep -cx "$PORTD")" "1 0"

# Ports
sed -i "s/$PORT/$PORT2/" "$WORK/p.yaml"
fails "a port of another stack: who has it" 1 "published by 'b/one'" hyb deploy "$WORK/p.yaml"
check "down" hyb down p

# begun PID: what that hyb has asked for is going on, or has ended
begun() {
	while kill -0 "$1" 2>/dev/null && [ "$(field s/one/idle state 2>/dev/null)" = running ]; do
		sleep 0.02
	done
}

# All at once
for i in $(seq 20); do
	if [ $((i % 2)) = 1 ]; then
		timeout 400 hyb deploy "$WORK/s.yaml" >"$WORK/all.$i" 2>&1 &
	else
		timeout 400 hyb down s >"$WORK/all.$i" 2>&1 &
	fi
	ALL+=($!)
done
HUNG=0
for pid in "${ALL[@]}"; do
	wait "$pid"
	[ $? != 124 ] || HUNG=$((HUNG + 1))
done
is "20 deploys and downs of one stack at once: each is answered" "$HUNG" 0
check "deploy" hyb deploy "$WORK/s.yaml"
is "and it is there, once" "$(now), plan $(plan s)" "$UP, plan 0"
hyb down s >"$WORK/down" 2>&1 &
DOWN=$!
begun $DOWN
check "deploy while it is taken down" hyb deploy "$WORK/s.yaml"
if wait $DOWN; then DOWN="ended before"; else DOWN=$(cat "$WORK/down"); fi
like "who takes it down hears of that" "$DOWN" "ended before|deployed again meanwhile"
is "it is there" "$(now), plan $(plan s)" "$UP, plan 0"
hyb stop s/one/idle >/dev/null 2>&1 &
begun $!
check "start while it is stopped" hyb start s/one/idle
wait $!
await "it runs" 10 has s/one/idle state running

# Guests that hang
QEMU=$(vm_field s/one qemu_pid)
kill -STOP "$QEMU"
BEGIN=$SECONDS
fails "exec in a guest that hangs ends with a word" 7 "hyb: exec 's/one/idle'" timeout 120 hyb exec s/one/idle -- true
[ $((SECONDS - BEGIN)) -lt 60 ] && ok "soon" || not_ok "soon" "$((SECONDS - BEGIN)) s"
check "others are served" timeout 60 hyb exec b/one/idle -- true
await "it is made again" 30 vm_restarts s/one 1
await "and its container" 30 has s/one/idle state running
VSOCKD=$(ours | awk -v d="$(hyb inspect s/one | jq -r .directory)/" '/hyb-vsockd/ && index($0, d) {print $1}' | head -1)
kill -STOP "$VSOCKD"
await "a device that hangs is not waited for" 40 bash -c '! kill -0 '"$VSOCKD"
await "exec again" 40 hyb exec s/one/idle -- true

# Clients that hang
python3 - "$HYB_ROOT/hybd.sock" >"$WORK/clients" <<'P' &
import socket, sys, time
held, refused = [], 0
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.settimeout(5)
        s.connect(sys.argv[1])
        s.send(b'{"method":"io.hyb.Host.Ve')
        held.append(s)
    except OSError:
        refused += 1
print(len(held), refused, flush=True)
time.sleep(600)
P
CLIENTS=$!
await "300 connections of one user at once" 10 test -s "$WORK/clients"
kill $CLIENTS
wait $CLIENTS 2>/dev/null
await "when they are gone others are served" 5 hyb ps
python3 - "$HYB_ROOT/hybd.sock" >"$WORK/clients" 2>&1 <<'P' &
import socket, sys, time
held = []
for i in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.send(b'{"method":"io.hyb.Host.Ve')
    held.append(s)
big = socket.socket(socket.AF_UNIX)
big.connect(sys.argv[1])
big.settimeout(60)
try:
    for i in range(256):
        big.send(b'a' * (1 << 20))
    print("taken")
except OSError as e:
    print("refused")
sys.stdout.flush()
time.sleep(600)
P
CLIENTS=$!
await "a message without an end is refused" 20 grep -q refused "$WORK/clients"
check "beside 100 clients that say half a word others are served" timeout 60 hyb ps
kill $CLIENTS

# Three bytes each, and 200 in memory
before=$(awk '/^VmHWM/ {print $2}' "/proc/$(hybd_pid)/status")
is "messages of a third of a million values are refused" "$(python3 - "$HYB_ROOT/hybd.sock" <<'P'
import socket, sys
message = b'{"method":"io.hyb.Host.Ps","parameters":{"name":[' + b"{}," * 340000 + b"{}]}}\0"
held, answers = [], 0
for i in range(24):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(sys.argv[1])
    s.sendall(message[:-1])
    held.append(s)
for s in held:
    try:
        s.sendall(b"\0")
        answers += s.recv(1) != b""
    except ConnectionError:
        pass
print(answers)
P
)" 0
after=$(awk '/^VmHWM/ {print $2}' "/proc/$(hybd_pid)/status")
[ $((after - before)) -le 131072 ] && ok "and take no more than they are" || not_ok "and take no more than they are" "$before -> $after KiB"

# Memory and descriptors
size() { echo "$(awk '/^VmRSS/ {print $2}' "/proc/$1/status") $(ls "/proc/$1/fd" | wc -l)"; }
cycle() { hyb deploy "$WORK/s.yaml" && hyb down s; }
for _ in 1 2 3; do cycle; done >/dev/null 2>&1
PID=$(hybd_pid)
read -r RSS0 FD0 <<<"$(size "$PID")"
for _ in 1 2 3 4 5 6; do cycle; done >/dev/null 2>&1
fds_again() { [ "$(ls "/proc/$PID/fd" | wc -l)" -le "$FD0" ]; }
await "no descriptor is left" 5 fds_again
read -r RSS1 _ <<<"$(size "$PID")"
[ $((RSS1 - RSS0)) -le 2048 ] && ok "no memory is left ($RSS0, $RSS1 KiB)" || not_ok "no memory is left" "$RSS0 -> $RSS1 KiB"
check "down" hyb down b
is "nothing is left" "$(ours | grep -vc '[h]ybd') $(vm_dirs)+$(folders)" "0 0+0"
