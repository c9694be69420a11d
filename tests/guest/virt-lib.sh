# SPDX-License-Identifier: Apache-2.0
#
# For the virt-*.sh tests: builds virt-ctl and the guest's init, drives
# virt-ctl as a coprocess, prints TAP. Needs root and a built tree.
set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit 1
build=build/default
kernel=$top/build/guest/vmlinux
vsockd=$top/$build/bin/hyb-vsockd
n=0
failed=0

skip_all() {
	echo "ok 1 - virt # SKIP $1"
	echo "1..1"
	exit 0
}

ok() { # ok RESULT TEXT: RESULT 0 is good
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=$((failed + 1))
		[ -z "${answer:-}" ] || sed 's/^/#   /' <<<"$answer"
	fi
}

is() { # is GOT WANT TEXT
	[ "$1" = "$2" ]
	ok $? "$3"
	[ "$1" = "$2" ] || echo "#   got '$1', not '$2'"
}

finish() {
	echo "1..$n"
	[ "$failed" = 0 ]
}

[ "$(id -u)" = 0 ] || skip_all "host: needs root"
[ -r "$kernel" ] || skip_all "no guest kernel (make guest)"
[ -x "$vsockd" ] || skip_all "no hyb-vsockd (make programs)"
command -v cpio >/dev/null || skip_all "host: no cpio"

# A short path: sockets lie below it.
root=$(mktemp -d /tmp/hv.XXXX)
chmod 0755 "$root"
mkdir "$root/vm"
ctl_pid=
daemon_pids=

cleanup() {
	local p
	exec {to}>&- 2>/dev/null
	[ -z "$ctl_pid" ] || kill -KILL "$ctl_pid" 2>/dev/null
	# Whatever names this test's own folder is this test's own process.
	for p in $daemon_pids $(pgrep -f "$root/"); do
		[ "$p" = $$ ] || kill -KILL "$p" 2>/dev/null
	done
	rm -rf "$root"
}
trap cleanup EXIT

make -s "$build/libhost.a" "$build/libcommon.a" 2>/dev/null
mkdir -p "$root/tools/init"
cc=${CC:-gcc}
"$cc" -std=gnu17 -D_GNU_SOURCE -I. -O1 -o "$root/tools/virt-ctl" \
	tests/guest/virt-ctl.c -Wl,--start-group "$build/libhost.a" \
	"$build/libcommon.a" -Wl,--end-group -lvirt -lvirt-qemu -lyaml \
	-lsqlite3 -lcrypto -ljansson \
	-lpthread ||
	{ echo "Bail out! virt-ctl cannot be built"; exit 1; }
"$cc" -std=gnu17 -D_GNU_SOURCE -O1 -static -s -o "$root/tools/init/init" \
	tests/guest/virt-init.c ||
	{ echo "Bail out! the guest's init cannot be built"; exit 1; }
mkdir "$root/tools/init/dev"
mknod "$root/tools/init/dev/console" c 5 1
initramfs=$root/tools/init.cpio
(cd "$root/tools/init" && find . | cpio -o -H newc 2>/dev/null) >"$initramfs"
cmdline=$(cat kernel-config/cmdline 2>/dev/null || echo "console=ttyS0 panic=-1")

# ctl_start [ACCEL [URI]]: answer has what it said first.
ctl_start() {
	rm -f "$root/in" "$root/out"
	mkfifo "$root/in" "$root/out"
	"$root/tools/virt-ctl" "$root" "$kernel" "$initramfs" "$vsockd" \
		"${1:-tcg}" "$cmdline" "${2:-}" <"$root/in" >"$root/out" \
		2>"$root/stderr" &
	ctl_pid=$!
	exec {to}>"$root/in" {from}<"$root/out"
	ctl_read
}

# Lines until "ok" or "error"; events are kept in $events.
events=
ctl_read() {
	local line
	answer=
	while IFS= read -r -t "${limit:-120}" line <&"$from"; do
		case $line in
		event\ *) events+=$line$'\n' ;;
		ok\ *) answer+=$line; return 0 ;;
		error\ *) answer+=$line; return 1 ;;
		*) answer+=$line$'\n' ;;
		esac
	done
	answer+="(no answer)"
	return 1
}

ctl() {
	echo "$*" >&"$to"
	ctl_read
}

ctl_kill() {
	kill -KILL "$ctl_pid"
	wait "$ctl_pid" 2>/dev/null
	ctl_pid=
	exec {to}>&- {from}<&-
}

ctl_stop() {
	exec {to}>&-
	wait "$ctl_pid"
	ctl_pid=
	exec {from}<&-
}

# event_wait PATTERN: an event that matches, within a minute.
event_wait() {
	local i
	for i in $(seq 300); do
		grep -q -- "$1" <<<"$events" && return 0
		ctl sleep 200
	done
	answer=$events
	return 1
}

# guest VM COMMAND: what virt-init answers, over vsock.
guest() {
	python3 - "$root/vm/$1/vsock.sock" "$2" <<'PY'
import socket, sys, time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(sys.argv[1])
        s.sendall(b"CONNECT 1024\n")
        f = s.makefile("rb")
        if f.readline().startswith(b"OK"):
            s.sendall(sys.argv[2].encode() + b"\n")
            print(f.read().decode().strip())
            sys.exit(0)
    except OSError:
        pass
    time.sleep(0.05)
sys.exit(1)
PY
}

field() { # field NAME < info line: the word behind it
	sed -n "s/.* $1 \([^ ]*\).*/\1/p"
}

qemu_pid() {
	ctl info "$1"
	field qemu <<<"$answer" | head -n 1
}

vsockd_pid() {
	ctl info "$1"
	field vsockd <<<"$answer" | head -n 1
}

wait_gone() { # wait_gone PID: no such process, or a zombie, within a minute
	local i
	for i in $(seq 1200); do
		grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null || return 0
		sleep 0.05
	done
	return 1
}
