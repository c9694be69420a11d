#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz-replay.sh PROGRAM CORPUS: one TAP line for a corpus that does no harm;
# for the agent's, another for that it has every method.
if out=$("$1" "$2" 2>&1); then
	echo "ok 1 - $(basename "$1"): $(echo "$out" | tail -1)"
else
	echo "$out"
	echo "not ok 1 - $(basename "$1")"
	exit 1
fi
[ "$(basename "$2")" = agent_rpc ] || exit 0
idl=$(dirname "$0")/../common/idl/io.hyb.Agent.varlink
missing=
for method in $(sed -n 's/^method \([A-Za-z]*\).*/\1/p' "$idl"); do
	grep -rqaF "\"io.hyb.Agent.$method\"" "$2" || missing="$missing $method"
done
if [ -z "$missing" ]; then
	echo "ok 2 - the corpus has every method of the agent"
else
	echo "not ok 2 - the corpus has every method of the agent"
	echo "# not:$missing"
	exit 1
fi
