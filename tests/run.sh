#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs tests and counts: run.sh all|unit|guest|e2e [NAME...]. Every test prints
# TAP (cmocka does with CMOCKA_MESSAGE_OUTPUT=TAP). The last line is
# "N passed, N failed, N skipped". A skip says why; where CI is set a skip whose
# reason does not begin with "host:" (the host lacks it) counts as a failure.
#
# JOBS of them run at once (two where the machine has two processors or more):
# each has folders, ports and VMs of its own. A script that has the line
# "# alone: WHY" has the machine for itself. They are told of as they end; the
# number is the seconds that one took.
set -u
cd "$(dirname "$0")/.." || exit 2
mode=${1:-all}
shift
only="$*"
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
failures=()
jobs=${JOBS:-$(($(nproc) > 1 ? 2 : 1))}
declare -A names=() begun=() # of what runs, by pid

say() { printf '%s\n' "$*"; }

# count NAME STATUS SECONDS: adds up a TAP log.
count() {
	local name=$1 log status=$2 p f s h
	log=$(log_of "$name")
	f=$(grep -c '^not ok' "$log")
	s=$(grep -ci '^ok.*# *skip' "$log")
	h=$(grep -ci '^ok.*# *skip *host:' "$log")
	p=$(($(grep -c '^ok' "$log") - s))
	if [ -n "${CI:-}" ] && [ "$s" -gt "$h" ]; then
		f=$((f + s - h))
		s=$h
	fi
	# Ended badly, or without a word: one failure more.
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
	if [ $((p + f + s)) -eq 0 ]; then f=1; fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '  %-34s %4d passed %3d failed %3d skipped %4d s\n' "$name" "$p" "$f" "$s" "$3"
	grep -i '^ok.*# *skip' "$log" | sed 's/^/      /'
	if [ "$f" -gt 0 ]; then
		failures+=("$name ($log)")
		grep '^not ok' "$log" | head -20 | sed 's/^/      /'
		[ "$(grep -c '^not ok' "$log")" -gt 0 ] || tail -15 "$log" | sed 's/^/      | /'
	fi
}

wanted() {
	[ -z "$only" ] && return 0
	local w
	for w in $only; do case $1 in *"$w"*) return 0 ;; esac; done
	return 1
}

log_of() { printf '%s/%s.log' "$logs" "$(printf %s "$1" | tr '/ ' '__')"; }

# reap: waits for one of those that run, and counts it
reap() {
	local pid status
	wait -n -p pid "${!names[@]}"
	status=$?
	count "${names[$pid]}" $status $((SECONDS - begun[$pid]))
	unset "names[$pid]" "begun[$pid]"
}

# room N: waits until no more than N run
room() { while [ ${#names[@]} -gt "$1" ]; do reap; done; }

# run NAME SECONDS COMMAND...: begins it as soon as there is room
run() {
	local name=$1 limit=$2
	shift 2
	wanted "$name" || return 0
	room $((jobs - 1))
	timed "$limit" "$@" >"$(log_of "$name")" 2>&1 </dev/null &
	names[$!]=$name begun[$!]=$SECONDS
}

# timed SECONDS COMMAND...: what is begun with & ignores SIGINT and SIGQUIT
timed() {
	local limit=$1 pid='' status
	shift
	trap '[ -z "$pid" ] || kill "$pid"; wait; exit' TERM
	timeout -k 10 "$limit" env --default-signal=INT,QUIT "$@" &
	pid=$!
	wait "$pid"
	status=$?
	[ $status -ne 124 ] || echo "not ok - timed out after $limit s"
	exit $status
}

# What runs is ended when this is.
stopped() {
	trap - INT TERM EXIT
	[ ${#names[@]} -eq 0 ] || kill "${!names[@]}" 2>/dev/null
	wait
	exit 130
}
trap stopped INT TERM

# unit_build LABEL MAKE-ARGUMENTS...
unit_build() {
	local label=$1
	shift
	make -s "-j$(nproc)" unit-programs "$@" >"$logs/build-$label.log" 2>&1 && return
	tail -20 "$logs/build-$label.log"
	failed=$((failed + 1))
	failures+=("build of the unit tests, $label")
	return 1
}

# unit_variant LABEL MAKE-ARGUMENTS...
unit_variant() {
	local label=$1 dir t
	unit_build "$@" || return 0
	shift
	dir=$(make -s print-build "$@")
	for t in tests/unit/test_*.c; do
		[ -e "$t" ] || continue
		t=$(basename "$t" .c)
		CMOCKA_MESSAGE_OUTPUT=TAP run "$label/$t" 300 "$dir/tests/$t"
	done
	for t in tests/fuzz/fuzz_*.c; do
		[ -e "$t" ] || continue
		t=$(basename "$t" .c)
		run "$label/$t" 300 tests/fuzz-replay.sh "$dir/tests/$t" "tests/fuzz/corpus/${t#fuzz_}"
	done
}

unit() {
	say "unit tests"
	unit_variant gcc
	unit_variant gcc-asan SAN=address,undefined
	if command -v clang >/dev/null; then
		unit_variant clang-asan CC=clang SAN=address,undefined
	else
		say "  clang is not installed: its variant is left out"
		failed=$((failed + 1))
		failures+=("clang variant")
	fi
}

# scripts DIRECTORY SECONDS: those that must be alone come last
scripts() {
	local dir=$1 limit=$2 t alone=()
	say "$dir"
	for t in "$dir"/*.sh; do
		case $t in */lib.sh | *-lib.sh) continue ;; esac
		if grep -q '^# alone: ' "$t"; then
			alone+=("$t")
		else
			run "${t#tests/}" "$limit" "$t"
		fi
	done
	for t in "${alone[@]}"; do
		room 0
		run "${t#tests/}" "$limit" "$t"
		room 0
	done
}

checks() {
	say "layout"
	run layers 60 tests/layers.sh
	run format 120 tests/format.sh
	run docs 120 tests/docs.py
}

case $mode in
unit) unit ;;
guest) scripts tests/guest 600 ;;
e2e) scripts tests/e2e 900 ;;
all) checks; unit; scripts tests/guest 600; scripts tests/e2e 900 ;;
*) say "run.sh all|unit|guest|e2e [NAME...]" >&2 && exit 2 ;;
esac
room 0

if [ ${#failures[@]} -gt 0 ]; then
	say "failed:"
	printf '  %s\n' "${failures[@]}"
fi
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
