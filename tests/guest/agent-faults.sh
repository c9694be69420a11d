#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every call of the kernel that the agent makes for Create, Start, Exec, Attach,
# Copy and Delete fails in turn: nothing is left, and the next call works. The
# agent with the real engine, on this host in place of a VM. TAP.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/guest/agent-lib.sh
. tests/guest/agent-lib.sh
need "$agent" /bin/busybox build/default/libcommon.a
command -v strace >/dev/null || skip_all "host: no strace"
# No interface of the host is in reach.
[ "${1:-}" = inside ] || exec unshare --net --mount --ipc "$0" inside

ip link set lo up
agent_prepare
mkdir "$dir/images"
mv "$dir/root" "$dir/images/img"
"$agent" --listen-unix "$dir/sock" --images "$dir/images" 2>"$dir/agent.log" &
agent_pid=$!
for _ in $(seq 600); do
	[ -S "$dir/sock" ] && break
	sleep 0.1
done
address=unix:$dir/sock
claim i1 >/dev/null
python3 tests/guest/agent_faults.py "$dir/sock" $agent_pid
failed=$?
a call Shutdown '{"grace":300}' >/dev/null
wait $agent_pid || failed=1
[ $failed = 0 ] || sed 's/^/# /' "$dir/agent.log" | tail -5
exit $failed
