#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz-replay.sh PROGRAM CORPUS: one TAP line for a corpus that does no harm.
if out=$("$1" "$2" 2>&1); then
	echo "ok 1 - $(basename "$1"): $(echo "$out" | tail -1)"
else
	echo "$out"
	echo "not ok 1 - $(basename "$1")"
	exit 1
fi
