#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs tests and counts: run.sh all|unit|guest|e2e [NAME...]. Every test prints
# TAP (cmocka does with CMOCKA_MESSAGE_OUTPUT=TAP). The last line is
# "N passed, N failed, N skipped". A skip says why; where CI is set a skip whose
# reason does not begin with "host:" (the host lacks it) counts as a failure.
set -u
cd "$(dirname "$0")/.." || exit 2
mode=${1:-all}
shift
only="$*"
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
failures=()

say() { printf '%s\n' "$*"; }

# count NAME LOG STATUS: adds up a TAP log.
count() {
	local name=$1 log=$2 status=$3 p f s h
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
	printf '  %-34s %4d passed %3d failed %3d skipped\n' "$name" "$p" "$f" "$s"
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

# run NAME SECONDS COMMAND...
run() {
	local name=$1 limit=$2 log status
	shift 2
	wanted "$name" || return 0
	log=$logs/$(printf %s "$name" | tr '/ ' '__').log
	timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
	status=$?
	[ $status -ne 124 ] || echo "not ok - timed out after $limit s" >>"$log"
	count "$name" "$log" $status
}

# unit_variant LABEL MAKE-ARGUMENTS...
unit_variant() {
	local label=$1 dir t corpus
	shift
	dir=$(make -s print-build "$@")
	say "unit tests: $label"
	if ! make -s -j2 unit-programs "$@" >"$logs/build-$label.log" 2>&1; then
		tail -20 "$logs/build-$label.log"
		failed=$((failed + 1))
		failures+=("build of the unit tests, $label")
		return
	fi
	for t in tests/unit/test_*.c; do
		[ -e "$t" ] || continue
		t=$(basename "$t" .c)
		CMOCKA_MESSAGE_OUTPUT=TAP run "$label/$t" 300 "$dir/tests/$t"
	done
	for t in tests/fuzz/fuzz_*.c; do
		[ -e "$t" ] || continue
		t=$(basename "$t" .c)
		corpus=tests/fuzz/corpus/${t#fuzz_}
		run "$label/$t" 300 tests/fuzz-replay.sh "$dir/tests/$t" "$corpus"
	done
}

unit() {
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

scripts() {
	local dir=$1 limit=$2 t
	say "$dir"
	for t in "$dir"/*.sh; do
		[ -x "$t" ] || continue
		case $t in */lib.sh) continue ;; esac
		run "${t#tests/}" "$limit" "$t"
	done
}

checks() {
	say "layout"
	run layers 60 tests/layers.sh
	run format 120 tests/format.sh
}

case $mode in
unit) unit ;;
guest) scripts tests/guest 600 ;;
e2e) scripts tests/e2e 900 ;;
all) checks && unit && scripts tests/guest 600 && scripts tests/e2e 900 ;;
*) say "run.sh all|unit|guest|e2e [NAME...]" >&2 && exit 2 ;;
esac

if [ ${#failures[@]} -gt 0 ]; then
	say "failed:"
	printf '  %s\n' "${failures[@]}"
fi
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
