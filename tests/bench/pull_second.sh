#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pull of a second image on a base that is there: bytes that the registry sends,
# and time until the image is in the store, against `skopeo copy` into a folder,
# which fetches all, and converts nothing. Medians of three, in turns.
set -eu
TOP=$PWD
HYB_ROOT=$(mktemp -d /tmp/hyb-bench.XXXX)
export HYB_ROOT
chmod 711 "$HYB_ROOT"
work=$(mktemp -d /tmp/hyb-bench.XXXX)
pids=()
stop() {
	kill "${pids[@]}" "$(hyb version -o json | jq -r '.hybd.pid // .pid')" 2>/dev/null || :
	rm -rf "$work" "$HYB_ROOT"
}
trap stop EXIT
cd "$work"
export HOME=$work
read -r back front <<<"$(python3 -c '
import socket
s = [socket.create_server(("127.0.0.1", 0)) for i in range(2)]
print(*(x.getsockname()[1] for x in s))')"
cat >r.yml <<Y
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/data } }
http: { addr: "127.0.0.1:$back" }
Y
docker-registry serve r.yml >r.log 2>&1 &
pids+=($!)
python3 "$TOP/tests/e2e/pull-proxy.py" "$back" "$front" log rules &
pids+=($!)
until curl -sf "http://localhost:$front/v2/" >/dev/null; do sleep 0.1; done
printf 'one 80000:1 20000:2 5000:3\ntwo 80000:1 20000:2 5000:4\n' | python3 "$TOP/tests/e2e/pull-images.py"
for n in one two; do
	skopeo copy -q --dest-tls-verify=false "oci:l:$n" "docker://localhost:$back/app:$n"
done
measure() { # FILE COMMAND...: adds "SECONDS BYTES"
	local file=$1 start
	shift
	: >log
	start=$(date +%s.%N)
	"$@" >/dev/null 2>&1
	echo "$start $(date +%s.%N)" | awk -v b="$(awk '$2 != "begun" { n += $2 } END { print n }' log)" '{ printf "%.3f %d\n", $2 - $1, b }' >>"$file"
}
hyb image ls >/dev/null 2>&1
for _ in 1 2 3; do
	hyb image prune -a >/dev/null
	hyb image pull --tls-verify=false "localhost:$front/app:one" >/dev/null 2>&1
	rm -rf d
	measure ours hyb image pull --tls-verify=false "localhost:$front/app:two"
	measure theirs skopeo copy -q --src-tls-verify=false "docker://localhost:$front/app:two" dir:d
done
median() { cut -d' ' -f"$2" "$1" | sort -n | sed -n 2p; }
awk -v a="$(median ours 2)" -v b="$(median theirs 2)" 'BEGIN { printf "bench: pull_second_bytes %d B ratio=%.4f # skopeo copy: %d\n", a, a / b, b }'
awk -v a="$(median ours 1)" -v b="$(median theirs 1)" 'BEGIN { printf "bench: pull_second_time %.3f s ratio=%.3f # skopeo copy: %.3f\n", a, a / b, b }'
