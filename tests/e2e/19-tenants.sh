#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two tenants of real users of the host: neither sees or touches what the
# other has, and none has more than its quota.
. "$(dirname "$0")/lib.sh"

# Users and groups of this test alone; they go when it ends.
A=hybta$$ B=hybtb$$ M=hybtm$$ N=hybtn$$ G=hybtg$$ H=
getent group hyb >/dev/null || { groupadd -r hyb && H=hyb; }
groupadd "$G"
for u in "$A" "$B" "$M" "$N"; do useradd -M -N -g nogroup -s /bin/sh "$u"; done
leave() {
	for u in "$A" "$B" "$M" "$N"; do userdel "$u" 2>/dev/null; done
	groupdel "$G"
	[ -z "$H" ] || groupdel hyb
}
REGISTRY=
trap '[ -z "$REGISTRY" ] || kill "$REGISTRY"; finish; leave' EXIT
# The programs where those users can reach them, and what they read.
mkdir "$WORK/bin"
cp "$(command -v hyb)" "$WORK/bin/"
chmod 755 "$WORK" "$WORK/bin" "$WORK/bin/hyb"
# as USER GROUPS COMMAND...
as() {
	local u=$1 g=$2
	shift 2
	setpriv --reuid="$u" --regid=nogroup --groups="$g" \
		env PATH="$WORK/bin:$PATH" HOME=/nonexistent "$@"
}
a() { as "$A" hyb hyb "$@"; }
b() { as "$B" "hyb,$G" hyb "$@"; }
# in both; in none
m() { as "$M" hyb hyb "$@"; }
n() { as "$N" hyb hyb "$@"; }

load_images
# Root file systems that say whose they are.
mkdir "$WORK/oci" "$WORK/fs"
tar -C "$WORK/oci" -xf build/images/busybox.tar
blob() { printf %s "$WORK/oci/blobs/sha256/${1#sha256:}"; }
layer=$(jq -r '.layers[0].digest' "$(blob "$(jq -r '.manifests[0].digest' "$WORK/oci/index.json")")")
tar -C "$WORK/fs" -xf "$(blob "$layer")"
for t in acme globex; do
	echo $t >"$WORK/fs/id"
	tar -C "$WORK/fs" -cf "$WORK/$t.tar" .
done
python3 tests/unit/image_registry.py "$WORK/oci" "$WORK/port" &
REGISTRY=$!
await "a registry" 60 test -s "$WORK/port"
R=localhost:$(cat "$WORK/port")
cat >"$WORK/tenants.yaml" <<Y
hyb: 1
kind: tenant
name: acme
quota: { vms: 1, vcpus: 2, memory: 512m, storage: 160m, volumes: 2, published_ports: 1 }
access: { users: [$A, $M] }
---
hyb: 1
kind: tenant
name: globex
allow: { images: ["local/*", "$R/good", "*:${R#*:}/any"] }
access: { users: [$M], groups: [$G] }
Y
cat >"$WORK/s.yaml" <<'Y'
hyb: 1
name: s
vms:
  v:
    containers:
      c:
        image: busybox
        command: &run [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
        storage_opt: { size: 16m }
      own: { image: "local/id:1", command: *run, storage_opt: { size: 16m } }
Y
cat >"$WORK/own.yaml" <<'Y'
hyb: 1
name: own
vms:
  v:
    containers:
      own:
        image: local/id:1
        pull_policy: never
        command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
        read_only: true
      twin: { image: "local/twin:1", pull_policy: never, command: sleep 1000, init: true, read_only: true }
Y
sed 's/^name: s/tenant: globex\nname: s/' "$WORK/s.yaml" >"$WORK/foreign.yaml"
sed 's/^name: s/name: second/' "$WORK/s.yaml" >"$WORK/second.yaml"
sed '/storage_opt/d; s/    containers:/    resources: { vcpus: 3 }\n    containers:/' "$WORK/s.yaml" >"$WORK/large.yaml"

fails "only root declares" 5 "only root" n tenant apply "$WORK/tenants.yaml"
check "tenants are declared" hyb tenant apply "$WORK/tenants.yaml"
is "and listed" "$(hyb tenant ls -o json | jq -c '[.[].name]')" '["acme","globex"]'
fails "a tenant does not look at tenants" 5 "only root" a tenant ls
fails "nor at itself so" 5 "only root" a tenant show acme
fails "a stack is no tenant" 2 "hyb deploy" hyb tenant apply "$WORK/s.yaml"
fails "a tenant is no stack" 2 "hyb tenant apply" hyb deploy "$WORK/tenants.yaml"
fails "root is told that there is none" 4 "no tenant 'nobody'" hyb --tenant nobody ps

# Who acts for whom.
check "a user acts for their tenant" a volume create mine --size 32m
is "it is the tenant's" "$(hyb --tenant acme volume ls -o json | jq -c '[.[] | .tenant + "/" + .name]')" '["acme/mine"]'
is "root acts for default" "$(hyb volume ls -o json)" '[]'
is "so does who is in no tenant" "$(n volume ls -o json)" '[]'
is "a group's member" "$(b volume ls -o json)" '[]'
fails "in several: one must be named" 2 "--tenant: acme, globex" m volume ls
is "named" "$(m --tenant acme volume ls -o json | jq length)" 1
is "by the environment" "$(as "$M" hyb env HYB_TENANT=globex hyb volume ls -o json)" '[]'
one=$(b --tenant acme ps 2>&1)
is "not one's own: denied" $? 5
two=$(b --tenant nobody ps 2>&1)
is "in the words of one that is not there" "${one/acme/X}" "${two/nobody/X}"
fails "who is not in the group hyb is kept out" 5 "group 'hyb'" as "$A" "$G" hyb ps

sed "s|local/id:1|$R/locked|" "$WORK/own.yaml" >"$WORK/locked.yaml"
sed -i '/twin:/d' "$WORK/locked.yaml"
# Images of their own: one name, two contents.
check "a takes an image in" sh -c "setpriv --reuid=$A --regid=nogroup --groups=hyb $WORK/bin/hyb image import - local/id:1 <$WORK/acme.tar"
check "b has another of that name" b image import "$WORK/globex.tar" local/id:1
images() { "$@" image ls -o json | jq -r '[.[] | .tenant + "/" + .name] | join(" ")'; }
is "a sees its own and the operator's" "$(images a)" "acme/local/id:1 default/busybox:latest"
is "b of these what allow.images has" "$(images b)" "globex/local/id:1"
is "root the operator's alone" "$(images hyb)" "default/busybox:latest"
DIGEST=$(a image inspect local/id:1 | jq -r .digest)
NONE=sha256:$(printf '%064d' 0)
foreign() {
	local x y
	x=$(b "$@" "$DIGEST" 2>&1) && echo "$* passes"
	y=$(b "$@" "$NONE" 2>&1)
	[ "${x//$DIGEST/X}" = "${y//$NONE/X}" ] || printf '%s\n%s\n' "$x" "$y"
}
is "b has no use of a's digest" "$(foreign image inspect; foreign image rm)" ""
sed "s|local/id:1|local/id@$DIGEST|" "$WORK/own.yaml" >"$WORK/digest.yaml"
sed -i '/twin:/d' "$WORK/digest.yaml"
fails "nor behind a name that it may have" 4 "not in the store" b deploy "$WORK/digest.yaml"
BUSYBOX=$(hyb image inspect busybox | jq -r .digest)
sed "s|local/id:1|local/id@$BUSYBOX|" "$WORK/own.yaml" >"$WORK/digest.yaml"
sed -i '/twin:/d' "$WORK/digest.yaml"
fails "nor the operator's so, past allow.images" 4 "not in the store" b deploy "$WORK/digest.yaml"
fails "b brings no other name" 5 "may not have an image called 'busybox:latest'" b image import "$WORK/globex.tar" busybox
fails "nor by an archive" 5 "may not have an image called" b image load - <build/images/busybox.tar
fails "nor none" 5 "without a name" b image import "$WORK/globex.tar"
fails "without patterns no pull" 5 "may not pull images" a image pull "$R/good"
fails "with them what they name" 5 "may not pull '$R/locked:latest'" b image pull "$R/locked"
fails "of a registry in full" 5 "may not pull '127.0.0.1:${R#*:}/any" b image pull "127.0.0.1:${R#*:}/any"
fails "nor by deploy" 5 "may not use image '$R/locked'" b deploy "$WORK/locked.yaml"
check "that they may" b image pull --tls-verify=false "$R/good"
is "it is the tenant's" "$(images b) $(images a)" "globex/local/id:1 globex/$R/good:latest acme/local/id:1 default/busybox:latest"
check "and goes" b image rm "$R/good"
fails "the operator's stay" 5 "is the operator's" a image rm busybox

# What one has the other does not see, nor touch.
check "a deploys" a deploy "$WORK/s.yaml"
is "a sees it" "$(a ps -o json | jq -r '.[0] | .tenant + " " + .state')" "acme running"
check "a has a secret" sh -c "printf x | setpriv --reuid=$A --regid=nogroup --groups=hyb $WORK/bin/hyb secret set key"
check "root uses a's: --tenant" hyb --tenant acme exec s/v/c -- true
: >"$WORK/bad"
# Each verb says of a's object what it says of one that is not there.
alike() {
	local name=$1 x y sx sy
	shift
	x=$(b "$@" 2>&1)
	sx=$?
	y=$(b "${@//$name/nothere}" 2>&1)
	sy=$?
	[ $sx != 0 ] && [ $sx = $sy ] && [ "${x//$name/nothere}" = "$y" ] ||
		printf '%s: %s %s / %s %s\n' "$*" $sx "$x" $sy "$y" >>"$WORK/bad"
}
for v in logs stats top stop start restart pause resume kill down inspect console; do
	alike s/v "$v" s/v
done
alike s/v/c exec s/v/c -- id
alike s/v/c exec -d s/v/c -- id
alike s/v/c exec --ls s/v/c
alike s/v/c exec --attach 1 s/v/c
alike s/v/c exec --kill 1 s/v/c
alike s/v/c cp s/v/c:/etc/passwd "$WORK/never"
alike s/v port-forward s/v 0:80
alike s/v events s/v
alike mine volume inspect mine
alike mine volume rm mine
alike mine volume export mine
alike mine volume snapshot mine@x
alike mine volume restore mine@x
alike key secret rm key
is "foreign objects are as if they were not" "$(cat "$WORK/bad")" ""
is "and no list has them" "$(for v in ps 'vm ls' 'volume ls' 'secret ls' 'disk ls' events stats top 'exec --ls'; do b $v -o json; done | jq -sc 'map(length) | add')" 0
like "completion has none" "[$(b __complete -- logs '')]" '^\[\]$'
is "a's has lost nothing" "$(a ps -o json | jq -r '.[0] | .state + " \(.restarts)"')" "running 0"
fails "a deploys for b: denied" 5 "may not act for tenant 'globex'" a deploy "$WORK/foreign.yaml"
fails "b may not use this image" 5 "may not use image 'busybox'" b deploy "$WORK/s.yaml"
# The file of an image that both have.
file_of() {
	local dir=$HYB_ROOT/images/tenants/$1
	[ "$1" != default ] || dir=$HYB_ROOT/images
	stat -c %i "$dir/erofs/$(hyb --tenant "$1" image inspect local/twin:1 | jq -r .serial)"*
}
echo twin >"$WORK/fs/id"
tar -C "$WORK/fs" -cf "$WORK/twin.tar" .
for t in default acme globex; do check "$t takes it in" hyb --tenant $t image import "$WORK/twin.tar" local/twin:1; done
is "each has a file of its own" "$(for t in default acme globex; do file_of $t; done | sort -u | wc -l)" 3
sed -i 's/^kind: tenant/&\nshare_images: true/' "$WORK/tenants.yaml"
check "they want to share" hyb tenant apply "$WORK/tenants.yaml"
is "what is stored stays as it is" "$(file_of acme)" "$(check x a image import "$WORK/twin.tar" local/twin:1 >/dev/null; file_of acme)"
for t in acme globex; do
	hyb --tenant $t image rm local/twin:1 >/dev/null
	check "$t takes it in again" hyb --tenant $t image import "$WORK/twin.tar" local/twin:1
done
is "both have one file" "$(file_of acme)" "$(file_of globex)"
[ "$(file_of default)" != "$(file_of acme)" ]
is "the operator, who has not said so, another" $? 0
FILE=$(file_of globex)
check "one goes" a image rm local/twin:1
check "b deploys its own" b deploy "$WORK/own.yaml"
is "and what was another's as well" "$(b exec own/v/twin -- cat /id) $(find "$HYB_ROOT/vms" -inum "$FILE" | wc -l)" "twin 1"
THREADS=$(ls "/proc/$(hybd_pid)/task" | wc -l)
is "each runs its own of that name" "$(a exec s/v/own -- cat /id) $(b exec own/v/own -- cat /id)" "acme globex"
fails "what runs stays" 1 "is in use" a image rm local/id:1
# By raw messages.
cp common/idl/io.hyb.Host.varlink tests/e2e/tenant_attack.py "$WORK/bin/"
is "an enemy gets nowhere" "$(as "$B" "hyb,$G" /usr/bin/python3 "$WORK/bin/tenant_attack.py" "$HYB_ROOT/hybd.sock" \
	"$WORK/bin/io.hyb.Host.varlink" s s/v s/v/c mine key "$DIGEST" 2>&1)" ""
calm() { [ "$(ls "/proc/$(hybd_pid)/task" | wc -l)" -le "$1" ]; }
await "no call is left of it" 60 calm "$THREADS"
check "what it made of a hole goes" b disk rm d
is "all runs as before" "$(for t in acme globex; do hyb --tenant $t ps -a -o json | jq -r '.[].state'; done | sort -u)" running
check "b goes" b down own

# Quota.
fails "one VM and no more" 5 "QuotaExceeded: tenant 'acme': vms: 1 used, 1 more asked, the limit is 1" a deploy "$WORK/second.yaml"
fails "nor a larger one" 5 "vcpus: 1 used, 2 more asked, the limit is 2" a deploy "$WORK/large.yaml"
fails "nor more storage" 5 "storage: .* the limit is 160m" a volume create big --size 160m
used() { hyb tenant show acme | jq .used.storage; }
truncate -s 16m "$WORK/d.raw"
truncate -s 128m "$WORK/large.raw"
before=$(used)
check "a disk of a's" a disk import --format raw "$WORK/d.raw" d
is "counts as a VM sees it" $(($(used) - before)) $((16 << 20))
fails "no other of that name" 1 "already" a disk import --format raw "$WORK/d.raw" d
fails "nor one that is too large" 5 "QuotaExceeded: .*storage: .* the limit is 160m" a disk import --format raw "$WORK/large.raw" e
check "it goes" a disk rm d
is "and is not counted any more" "$(used)" "$before"
mkdir "$WORK/noise"
head -c 60000000 /dev/urandom >"$WORK/noise/f"
tar -C "$WORK/noise" -cf "$WORK/noise.tar" .
fails "nor an image that is too large" 5 "QuotaExceeded: tenant 'acme': storage: .* the limit is 160m" a image import "$WORK/noise.tar" local/noise:1
is "of which nothing stays" "$(used) $(ls "$HYB_ROOT/images/tenants/acme/tmp")" "$before "
check "a second volume" a volume create other --size 16m
fails "no third" 5 "volumes: 2 used, 1 more" a volume create third --size 16m
fails "none grows over it" 5 "storage: " a volume create other --size 1g
sed -i 's/vms: 1/vms: 0/' "$WORK/tenants.yaml"
check "a quota is lowered below what there is" hyb tenant apply "$WORK/tenants.yaml"
check "nothing is stopped: the same again" a deploy "$WORK/s.yaml"
is "root sees use and limit" "$(hyb tenant show acme | jq -c '[.used.vms, .quota.vms, .used.volumes]')" "[1,0,2]"
fails "one that has something stays" 1 "still has" hyb tenant rm acme
# kill -9 while an image is converted.
rm "$WORK/noise/f"
head -c 20000000 /dev/urandom >"$WORK/noise/f"
tar -C "$WORK/noise" -cf "$WORK/noise.tar" .
taken() { find "$HYB_ROOT"/images/tenants/acme/{erofs,meta} -type f -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }'; }
rest=$(($(used) - $(taken)))
pid=$(hybd_pid)
a image import "$WORK/noise.tar" local/noise:1 >"$WORK/out" 2>&1 &
import=$!
while kill -0 $import 2>/dev/null && ! pgrep -P "$pid" -x hyb-image >/dev/null; do :; done
kill_9 "$pid"
wait $import
check "another hybd" hyb ps
is "a's store is whole" "$(ls -A "$HYB_ROOT/images/tenants/acme/tmp")$(images a | sed 's| acme/local/noise:1||')" "acme/local/id:1 default/busybox:latest default/local/twin:1"
is "and what it takes is what counts" $(($(used) - $(taken))) $rest
a image rm local/noise:1 >/dev/null 2>&1
is "the next hybd knows all of it" "$(a ps -o json | jq -r '.[0].tenant') $(hyb tenant show acme | jq -c .used.vms)" "acme 1"
check "down" a down s
for v in mine other; do check "volume $v goes" a volume rm $v; done
check "the secret too" a secret rm key
is "their images are where they were" "$(images a) $(images b)" "acme/local/id:1 default/busybox:latest default/local/twin:1 globex/local/id:1 globex/local/twin:1 default/local/twin:1"
fails "with images they stay" 1 "still has images \(1\)" hyb tenant rm acme
for t in acme globex; do check "$t's go" hyb --tenant $t image prune -a; done
check "then the tenants can go" hyb tenant rm acme globex
is "nothing of them is left" "$(ls -A "$HYB_ROOT/images/tenants")" ""
is "who was in one is in default" "$(a volume ls -o json)" '[]'
