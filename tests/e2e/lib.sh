# SPDX-License-Identifier: Apache-2.0
# For end-to-end tests: a root of their own, TAP, and nothing left at the end.
# shellcheck shell=bash
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
TOP=$PWD
# "sanitized": hybd's words are searched for reports at the end
VARIANT=${HYB_VARIANT:-default}
export PATH=$TOP/build/$VARIANT/bin:$PATH
export NO_COLOR=1
export HYB_ACCEL=${HYB_ACCEL:-tcg}
HYB_ROOT=$(mktemp -d /tmp/hyb-e2e.XXXX)
export HYB_ROOT
chmod 711 "$HYB_ROOT"
WORK=$(mktemp -d /tmp/hyb-work.XXXX)
tests=0

ok() { tests=$((tests + 1)); echo "ok $tests - $1"; }
not_ok() {
	tests=$((tests + 1))
	[ -z "${2:-}" ] || printf '%s\n' "$2" | sed 's/^/# /'
	echo "not ok $tests - $1"
}
# is NAME GOT WANTED
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got: $2
wanted: $3"; fi; }
# like NAME GOT PATTERN (extended regular expression)
like() { if printf '%s\n' "$2" | grep -Eq -- "$3"; then ok "$1"; else not_ok "$1" "got: $2
wanted: /$3/"; fi; }
# check NAME COMMAND...: it succeeds
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$* : exit $?
$out"; fi
}
# fails NAME STATUS PATTERN COMMAND...: it ends with that status and says that
fails() {
	local name=$1 want=$2 pattern=$3 out status
	shift 3
	out=$("$@" 2>&1)
	status=$?
	if [ $status = "$want" ] && printf '%s\n' "$out" | grep -Eq -- "$pattern"; then
		ok "$name"
	else
		not_ok "$name" "$* : exit $status, wanted $want and /$pattern/
$out"
	fi
}
# await NAME SECONDS COMMAND...: it succeeds in that time, which is never less
# than a minute: it is there for what does not come at all
await() {
	local name=$1 end=$((SECONDS + ($2 > 60 ? $2 : 60))) out
	shift 2
	while ! out=$("$@" 2>&1); do
		if [ $SECONDS -ge $end ]; then
			not_ok "$name" "$* : not in time
$out"
			return 1
		fi
		sleep 0.1
	done
	ok "$name"
}

# kill_9 PID: and it is gone with all its threads. kill(1) is back before that,
# and who connects at once may still find the one that dies.
kill_9() {
	kill -9 "$1"
	python3 -c 'import os, select, sys
try:
    fd = os.pidfd_open(int(sys.argv[1]))
except ProcessLookupError:
    sys.exit(0)
p = select.poll()
p.register(fd, select.POLLIN)
sys.exit(not p.poll(60000))' "$1"
}

# killed_at CALL N COMMAND...: runs it while hybd dies before the Nth such call of
# any of its threads. 0: it did.
killed_at() {
	local call=$1 n=$2 pid strace
	shift 2
	pid=$(hybd_pid)
	: >"$WORK/strace"
	strace -f -o /dev/null -e trace="$call" -e inject="$call":signal=KILL:when="$n" -p "$pid" 2>"$WORK/strace" &
	strace=$!
	until grep -q attached "$WORK/strace" || gone $strace; do sleep 0.01; done
	"$@" >"$WORK/out" 2>&1
	status=$?
	# Where it was a child that died, hybd says so and goes on.
	[ $status != 0 ] && [ "$(hybd_pid)" != "$pid" ]
	died=$?
	kill $strace 2>/dev/null
	wait $strace 2>/dev/null
	[ $died = 0 ] || [ $status != 0 ]
}

# gone PID: there is no such process, or only what nobody has waited for
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# free_ports N: so many TCP ports that nothing holds, out of the range from
# which the kernel gives ports to those who connect
free_ports() {
	python3 - "$1" <<'P'
import random, socket, sys
low = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10000, max(low, 20000))))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
P
}

# field NAME FIELD: of `hyb ps` of a container
field() { hyb ps -a -o json "$1" | jq -r ".[0].$2"; }
vm_field() { hyb vm ls -o json | jq -r ".[] | select(.stack + \"/\" + .vm == \"$1\") | .$2"; }
has() { [ "$(field "$1" "$2")" = "$3" ]; }
vm_has() { [ "$(vm_field "$1" "$2")" = "$3" ]; }
vm_restarts() {
	local n
	n=$(hyb inspect "$1" | jq -r .restarts)
	echo "$n restarts"
	[ "$n" = "$2" ]
}
# Of the hybd that answers; where there is none one is started.
hybd_pid() { hyb version -o json 2>/dev/null | jq -r '.hybd.pid // .pid'; }

# The processes that work for this root: by their command lines and the VM's
# uids. Zombies are not counted: who adopts orphans may be slow.
ours() {
	ps -eo pid=,stat=,args= | awk -v root="$HYB_ROOT" '$2 !~ /^Z/ && index($0, root) && !/awk/ { print }'
}
load_images() {
	check "load busybox" hyb image load build/images/busybox.tar
	[ "${1:-}" != nginx ] || check "load nginx" hyb image load build/images/nginx.tar
}

no_report() { ! grep -aE -A30 'Sanitizer|runtime error:' "$HYB_ROOT/hybd.log"; }

finish() {
	local pid list
	hyb ps -a -o json 2>/dev/null | jq -r '.[].stack' 2>/dev/null | sort -u | while read -r s; do
		hyb down "$s" >/dev/null 2>&1
	done
	pid=$(hybd_pid)
	if [ -n "$pid" ] && [ "$pid" != null ]; then
		kill "$pid" 2>/dev/null
		for _ in $(seq 300); do gone "$pid" && break; sleep 0.1; done
	fi
	if [ "$VARIANT" != default ]; then
		check "hybd ends without a report" no_report
	fi
	list=$(ours)
	if [ -n "$list" ]; then
		printf '%s\n' "$list" | awk '{print $1}' | xargs -r kill -9 2>/dev/null
	fi
	if [ "${KEEP_ROOT:-}" != 1 ]; then
		[ "${SHOW_LOG:-}" != 1 ] || tail -80 "$HYB_ROOT/hybd.log"
		rm -rf "$HYB_ROOT" "$WORK"
	fi
	echo "1..$tests"
}
trap finish EXIT
