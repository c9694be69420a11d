#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check.sh CONFIG FRAGMENT...: fails when a kernel configuration is not what
# the fragments ask for: Kconfig drops in silence what it does not know or
# whose conditions are not met, and switches on what another option selects.
# Also fails on a fragment line without a reason.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

[ $# -ge 2 ] || {
	echo "usage: check.sh CONFIG FRAGMENT..." >&2
	exit 2
}
config=$1
shift
failed=0

complain() {
	echo "kernel: $*" >&2
	failed=1
}

while IFS= read -r line; do
	complain "no reason given: $line"
done < <(grep -hE '^[^#]' "$@" |
	grep -vE '^CONFIG_[A-Za-z0-9_]+=[^#]*[^#[:space:]][[:space:]]+# .+')

while IFS='=' read -r name value; do
	got=$(sed -n "s/^$name=//p" "$config")
	if [ "$value" = n ]; then
		[ -z "$got" ] || complain "$name is $got, should be off"
	elif [ -z "$got" ]; then
		complain "$name is off or unknown, should be $value"
	elif [ "$got" != "$value" ]; then
		complain "$name is $got, should be $value"
	fi
done < <(wanted_options "$@")

if ((failed)); then
	exit 1
fi
echo "kernel: all $(wanted_options "$@" | wc -l) options are as asked for"
