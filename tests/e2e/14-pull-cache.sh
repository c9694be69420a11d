#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Layers are fetched once: counted on the way between skopeo and a registry,
# with connections that are cut, wrong bytes, hybd killed, and damaged files.
if [ "$(id -u)" != 0 ]; then
	echo "ok 1 - layers # skip host: not root"
	echo 1..1
	exit 0
fi
. "$(dirname "$0")/lib.sh"
pids=()
stop_all() {
	local p
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	finish
}
trap stop_all EXIT
cd "$WORK" || exit 2
chmod 755 "$WORK"
read -r -a port <<<"$(free_ports 2)"
R=localhost:${port[1]}
export HOME=$WORK
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR XDG_CONFIG_HOME DOCKER_CONFIG
LAYERS=$HYB_ROOT/images/layers

cat >r.yml <<Y
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $WORK/data } }
http: { addr: "127.0.0.1:${port[0]}" }
Y
docker-registry serve r.yml >r.log 2>&1 &
pids+=($!)
python3 "$TOP/tests/e2e/pull-proxy.py" "${port[0]}" "${port[1]}" log rules &
pids+=($!)
await "the registry is up" 60 curl -sf "http://$R/v2/"

python3 "$TOP/tests/e2e/pull-images.py" <<'L'
one 3000:1 2000:2 500:3
two 3000:1 2000:2 500:4
docker 3000:1 2000:2 500:5
cut 1500:11 3000:12 700:13
kill 1500:21 3000:22 700:23
evil 1000:31 1000:32
left 3000:41 300:42
right 3000:41 300:43
big 6000:51 6000:52
L
while read -r n; do
	f=(); [ "$n" != docker ] || f=(--format v2s2)
	skopeo copy -q "${f[@]}" --dest-tls-verify=false "oci:l:$n" "docker://localhost:${port[0]}/app:$n" || exit 2
done <<<"one
two
docker
cut
kill
evil
left
right
big"

pull() { hyb image pull --tls-verify=false "$R/app:$1"; }
nth() { sed -n "$2p" "$1"; } # layer N of an image
# How often layers were asked for since the log was emptied, by their numbers
asked() {
	local i=0 d
	while read -r d; do
		i=$((i + 1))
		grep -c "blobs/sha256:$d begun" log | sed "s/^/$i:/"
	done <"$1" | tr '\n' ' '
}
bytes() { awk '$2 != "begun" { n += $2 } END { print n + 0 }' log; }
# Every file of the cache has the digest that it is called by, and is root's.
sound() { (cd "$LAYERS" && for f in *; do [ ! -e "$f" ] || echo "$f  $f"; done | sha256sum -c --quiet && [ -z "$(find . -type f ! '(' -user root -perm 444 ')')" ]); }
left_over() { find "$HYB_ROOT/images/tmp" -mindepth 1 | wc -l; }
digest_of() { hyb image inspect "$R/app:$1" | jq -r .digest; }
wanted() { curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' "http://localhost:${port[0]}/v2/app/manifests/$1" | sha256sum | sed 's/^/sha256:/;s/ .*//'; }

: >log
check "an image" pull one
is "all of its layers are fetched, once" "$(asked one)" "1:1 2:1 3:1 "
like "the bytes are its own" "$(bytes)" '^56[0-9]{5}$'
check "they are in the cache, whole, root's" sound
: >log
check "another on the same base" pull two
is "its own layer is fetched" "$(asked two)" "1:0 2:0 3:1 "
like "and not much else" "$(bytes)" '^51[0-9]{4}$'
is "its digest is the registry's" "$(digest_of two)" "$(wanted two)"
: >log
check "one with a manifest of Docker's" pull docker
is "its own layer is fetched, too" "$(asked docker)" "1:0 2:0 3:1 "
is "its digest too is the registry's" "$(digest_of docker)" "$(wanted docker)"

# A connection that is cut; hybd killed.
: >log
echo "$(nth cut 2) cut 1500000" >rules
check "cut in the middle of a layer" pull cut
is "that layer is fetched again, and no other" "$(asked cut)" "1:1 2:2 3:1 "
hyb image prune -a >/dev/null
: >log
echo "$(nth cut 3) busy" >rules
check "a registry that is busy for a while" pull cut
is "it is asked again for what it did not give" "$(asked cut)" "1:1 2:1 3:2 "
is "cut more often than there are tries, with a new layer each time" "$(
	hyb image prune -a >/dev/null
	for i in 1 2 3; do for n in 1 2; do echo "$(nth one $i) cut $((n * 100000))"; done; done >rules
	: >log
	pull one >out 2>&1 || cat out
	asked one)" "1:3 2:3 3:3 "
: >log
echo "$(nth kill 2) hold 1500000" >rules
pull kill >out 2>&1 &
p=$!
await "a layer is whole, another is half there" 60 test -e "$LAYERS/$(nth kill 1)"
await "the next one has begun" 60 grep "$(nth kill 2) begun" log
kill_9 "$(hybd_pid)"
wait $p
rm rules
check "hybd is killed; what is there is whole" sound
check "the same pull" pull kill
is "the layer that was whole is not fetched again" "$(asked kill)" "1:1 2:2 3:1 "

# What is damaged is fetched again; what is wrong does not come in.
hyb image prune -a >/dev/null
check "the image again" pull one
hyb image rm "$R/app:one" >/dev/null
chmod u+w "$LAYERS/$(nth one 1)" "$LAYERS/$(nth one 2)"
printf X | dd of="$LAYERS/$(nth one 1)" bs=1 seek=5000 conv=notrunc 2>/dev/null
truncate -s 1000 "$LAYERS/$(nth one 2)"
chmod u-w "$LAYERS/$(nth one 1)" "$LAYERS/$(nth one 2)"
: >log
check "with a damaged and a cut file in the cache" pull one
is "these are fetched again" "$(asked one)" "1:1 2:1 3:0 "
check "and are right now" sound
echo "$(nth evil 2) wrong" >rules
fails "a registry that sends other bytes" 1 "igest did not match" pull evil
is "what was right is kept, what was wrong is not" "$(cd "$LAYERS" && for i in 1 2; do test -e "$(nth "$WORK/evil" $i)"; echo $?; done | tr '\n' ' ')" "0 1 "
check "the cache is sound" sound
rm rules

# Two at once: the base is fetched once.
: >log
echo "$(nth left 1) hold 1500000" >rules
pull left >out1 2>&1 &
p=$!
await "one pull is in the base" 60 grep "$(nth left 1) begun" log
pull right >out2 2>&1 &
q=$!
# Its manifest was read by both that ask for it, and it has not been waited for
# long enough to be given up.
await "another waits for it" 60 grep 'manifests/right [0-9]' log
rm rules
wait $p; a=$?
wait $q
is "two images on one base at once" "$a $?" "0 0"
is "the base is fetched once" "$(asked left)$(asked right)" "1:1 2:1 1:1 2:1 "

# What it takes is shown, and goes.
n=$(find "$LAYERS" -type f | wc -l)
like "ls shows what is kept" "$(hyb image ls | tail -1)" "^$n layers kept for pulls: [0-9.]+ MiB$"
like "so does doctor" "$(hyb doctor 2>&1)" "image store +.*; $n layers kept for pulls"
hyb image rm "$R/app:left" >/dev/null
like "what no image has would go" "$(hyb image prune --dry-run)" "would remove 2 layers kept for pulls"
like "and goes" "$(hyb image prune)" "removed 2 layers kept for pulls"
is "what an image has stays" "$(find "$LAYERS" -type f | wc -l)" $((n - 2))
check "prune -a" hyb image prune -a
is "all are gone" "$(find "$LAYERS" -type f | wc -l)" 0

# A limit: what was not used for longest goes.
kill_9 "$(hybd_pid)"
export HYB_LAYER_CACHE=9MiB
check "with a limit" pull one
check "another image" pull kill
is "the last one's layers are there, of the first one's the lowest" \
	"$(for i in kill one; do for k in 1 2 3; do test -e "$LAYERS/$(nth $i $k)"; echo -n $?; done; done)" "000011"
check "an image that is larger than the limit" pull big
is "the limit holds" "$(du -b "$LAYERS"/* | awk '{n += $1} END {print (n <= 9 * 1048576)}')" 1
kill_9 "$(hybd_pid)"
export HYB_LAYER_CACHE=0
check "no cache" pull one
is "nothing is kept" "$(find "$LAYERS" -type f | wc -l)" 0
fails "a size that is none" 2 "layer-cache: 'many' is not a value" hybd --layer-cache many
is "nothing is left of pulls" "$(left_over)" 0
cd "$TOP" || exit 2
