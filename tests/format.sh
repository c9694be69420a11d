#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Is every source laid out by clang-format, and does it begin with its licence?
cd "$(dirname "$0")/.." || exit 2
mapfile -t files < <(find common host-agent guest-agent images tests -name '*.[ch]')
bad=$(clang-format --dry-run -Werror "${files[@]}" 2>&1 | sed -n 's,^\([a-z][^: ]*\.[ch]\):.*,\1,p' | sort -u)
if [ -z "$bad" ]; then
	echo "ok 1 - clang-format (${#files[@]} files)"
else
	echo "$bad"
	echo "not ok 1 - clang-format: make format"
fi
bad=$(for f in "${files[@]}"; do head -1 "$f" | grep -q SPDX-License-Identifier || echo "$f"; done)
if [ -z "$bad" ]; then echo "ok 2 - SPDX"; else echo "$bad"; echo "not ok 2 - SPDX"; fi
