#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A registry on loopback with TLS and a password: what a pull does and refuses.
# In a mount namespace of its own, for an /etc/containers of its own.
if [ "$(id -u)" != 0 ]; then
	echo "ok 1 - registry # skip host: not root"
	echo 1..1
	exit 0
fi
if [ "${REGISTRY_NS:-}" != 1 ]; then
	REGISTRY_NS=1 exec unshare -m --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
pids=()
stop_all() {
	local p
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	finish
}
trap stop_all EXIT
cp -r /etc/containers "$WORK/containers"
mount --bind "$WORK/containers" /etc/containers || exit 2
chmod 755 "$WORK" "$WORK/containers"
cd "$WORK" || exit 2
read -r -a port <<<"$(free_ports 5)"
R=localhost:${port[0]} OLD=localhost:${port[1]} CUT=localhost:${port[2]} EMPTY=localhost:${port[3]} SLOW=localhost:${port[4]}
# No credentials but those that a check gives.
export HOME=$WORK
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR XDG_CONFIG_HOME DOCKER_CONFIG

# A CA, a certificate, and one that is past its time.
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=test-ca -days 30 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost 2>/dev/null
echo subjectAltName=DNS:localhost >san
openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san -days 30 -out s.crt 2>/dev/null
mkdir -p newcerts && : >index.txt && echo 01 >serial
printf '[ca]\ndefault_ca=d\n[d]\ndir=.\ndatabase=index.txt\nserial=serial\nnew_certs_dir=newcerts\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
openssl ca -batch -config ca.cnf -cert ca.crt -keyfile ca.key -in s.csr -extfile san -startdate 20200101000000Z -enddate 20200201000000Z -out old.crt 2>/dev/null
for r in "$R" "$OLD" "$CUT" "$EMPTY" "$SLOW"; do
	mkdir -p "/etc/containers/certs.d/$r"
	cp ca.crt "/etc/containers/certs.d/$r/ca.crt"
done
htpasswd -Bbn user secret >htpasswd
serve() { # PORT CERTIFICATE FOLDER
	cat >"r$1.yml" <<Y
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $WORK/$3 } }
http: { addr: "127.0.0.1:$1", tls: { certificate: $WORK/$2, key: $WORK/s.key } }
auth: { htpasswd: { realm: test, path: $WORK/htpasswd } }
Y
	docker-registry serve "r$1.yml" >"r$1.log" 2>&1 &
	pids+=($!)
}
serve "${port[0]}" s.crt data
serve "${port[1]}" old.crt data
serve "${port[3]}" s.crt empty
# Passes bytes on, and cuts the first two connections; or, for a port whose
# connections are held, keeps what is long back until the file "go" is there.
cat >cut.py <<'P'
import os, socket, sys, threading, time
n = 0
held = len(sys.argv) > 3
def pump(a, b, left):
    try:
        while left > 0:
            d = a.recv(min(65536, left))
            if not d: break
            b.sendall(d); left -= len(d)
            while held and left <= 0 and not os.path.exists("go"): time.sleep(0.05)
            if held and left <= 0: left = 1 << 40
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
l = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    c, _ = l.accept(); n += 1
    u = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    limit = 300000 if n < 3 or held else 1 << 40
    if not held: open("cuts", "w").write(str(n))
    threading.Thread(target=pump, args=(c, u, 1 << 40), daemon=True).start()
    threading.Thread(target=pump, args=(u, c, limit), daemon=True).start()
P
python3 cut.py "${port[0]}" "${port[2]}" &
pids+=($!)
python3 cut.py "${port[0]}" "${port[4]}" held &
pids+=($!)
await "the registry is up" 20 curl -sf --cacert ca.crt -u user:secret "https://$R/v2/"

# Images: ours, and an index of two machines.
skopeo copy -q --dest-creds user:secret --dest-cert-dir "/etc/containers/certs.d/$R" "oci-archive:$TOP/build/images/busybox.tar" "docker://$R/lib/web:1" || exit 2
digest=$(skopeo inspect --creds user:secret --cert-dir "/etc/containers/certs.d/$R" "docker://$R/lib/web:1" | jq -r .Digest)
mkdir l && tar -xf "$TOP/build/images/busybox.tar" -C l
python3 - <<'P'
import hashlib, json
def put(d):
    b = json.dumps(d).encode(); h = hashlib.sha256(b).hexdigest()
    open("l/blobs/sha256/" + h, "wb").write(b)
    return dict(digest="sha256:" + h, size=len(b))
i = json.load(open("l/index.json")); e = i["manifests"][0]
m = json.load(open("l/blobs/sha256/" + e["digest"][7:]))
c = json.load(open("l/blobs/sha256/" + m["config"]["digest"][7:]))
o = []
for arch in ("s390x", "amd64"):
    m["config"].update(put(dict(c, architecture=arch)))
    o.append(dict(put(m), mediaType="application/vnd.oci.image.manifest.v1+json", platform=dict(os="linux", architecture=arch)))
open("ours", "w").write(o[1]["digest"])
x = dict(put(dict(schemaVersion=2, mediaType="application/vnd.oci.image.index.v1+json", manifests=o)), mediaType="application/vnd.oci.image.index.v1+json", annotations={"org.opencontainers.image.ref.name": "two"})
json.dump(dict(schemaVersion=2, manifests=[x]), open("l/index.json", "w"))
P
skopeo copy -q --all --dest-creds user:secret --dest-cert-dir "/etc/containers/certs.d/$R" oci:l:two "docker://$R/lib/two:1" || exit 2

auth() { for r in "$R" "$OLD" "$CUT" "$EMPTY" "$SLOW"; do echo "$r"; done | jq -Rn --arg a "$2" '{auths: ([inputs | {(.): {auth: $a}}] | add)}' >"$1"; }
auth good.json "$(printf user:secret | base64)"
auth bad.json "$(printf user:guess | base64)"
count() { hyb image ls -o json | jq length; }

fails "no password" 5 "pull '$R/lib/web:1': .*(unauthorized|authentication required)" hyb image pull "$R/lib/web:1"
fails "a wrong password" 5 "hint: .skopeo login $R" hyb image pull --authfile bad.json "$R/lib/web:1"
fails "an expired certificate" 1 "certificate has expired" hyb image pull --authfile good.json "$OLD/lib/web:1"
mv "/etc/containers/certs.d/$R/ca.crt" ca.away
fails "an unknown CA" 1 "x509: certificate signed by unknown authority" hyb image pull --authfile good.json "$R/lib/web:1"
mv ca.away "/etc/containers/certs.d/$R/ca.crt"
fails "a digest that is not there" 4 "manifest unknown" hyb image pull --authfile good.json "$R/lib/web@sha256:$(printf x | sha256sum | cut -c1-64)"
is "nothing came of all that" "$(count)" 0
check "pull" hyb image pull --authfile good.json "$R/lib/web:1"
is "the digest is the registry's" "$(hyb image inspect "$R/lib/web:1" | jq -r .digest)" "$digest"
check "pull by digest" hyb image pull --authfile good.json "$R/lib/web@$digest"
check "an index: this host's image" hyb image pull --authfile good.json "$R/lib/two:1"
is "by its digest" "$(hyb image inspect "$R/lib/two:1" | jq -r '.digest + " " + .architecture')" "$(cat ours) amd64"
check "the same when it is asked for" hyb image pull --authfile good.json --platform linux/amd64/v2 "$R/lib/two:1"
is "by its digest, too" "$(hyb image inspect "$R/lib/two:1" | jq -r '.digest + " " + .architecture')" "$(cat ours) amd64"
fails "another machine's" 1 "programs for 'linux/s390x' do not run here" hyb image pull --authfile good.json --platform linux/s390x "$R/lib/two:1"
fails "what is no platform" 2 "must be OS/ARCHITECTURE" hyb image pull --authfile good.json --platform amd64 "$R/lib/two:1"
hyb image prune -a >/dev/null
check "cut twice, and there in the end" hyb image pull --authfile good.json "$CUT/lib/web:1"
is "the same image" "$(hyb image inspect "$CUT/lib/web:1" | jq -r .digest)" "$digest"
like "it was cut" "$(cat cuts)" '^([3-9]|[1-9][0-9]+)$'

# How much there is to come is told while it does not come.
hyb image prune -a >/dev/null
hyb image pull --authfile good.json "$SLOW/lib/web:1" >/dev/null 2>slow &
slow=$!
await "the size of a pull is told" 60 grep -E 'fetch  [1-9].* of .* \([0-9]+%\)$' slow
: >go
wait $slow
is "and it is there in the end" "$? $(hyb image inspect "$SLOW/lib/web:1" | jq -r .digest)" "0 $digest"

# Whose credentials: of the environment's file, and of a login.
hyb image prune -a >/dev/null
check "REGISTRY_AUTH_FILE" env REGISTRY_AUTH_FILE=good.json hyb image pull "$R/lib/web:1"
fails "REGISTRY_AUTH_FILE that is not there" 1 "pull '$R/lib/web:1': credentials: open 'gone.json'" env REGISTRY_AUTH_FILE=gone.json hyb image pull "$R/lib/web:1"
mkdir -m 700 xdg
XDG_RUNTIME_DIR=$WORK/xdg skopeo login --cert-dir "/etc/containers/certs.d/$R" -u user -p secret "$R" >/dev/null
check "skopeo login" env XDG_RUNTIME_DIR="$WORK/xdg" hyb image pull "$R/lib/web:1"

# Short names: an alias, registries to search, and what a name found here means.
hyb image prune -a >/dev/null
export REGISTRY_AUTH_FILE=$WORK/good.json
conf() { cat >/etc/containers/registries.conf.d/910-test.conf; }
names() { hyb image ls -o json | jq -r '[.[].name] | sort | join(" ")'; }
conf <<<"aliases = { \"al\" = \"$R/lib/web\" }"
check "an alias" hyb image pull al:1
is "the image has its full name" "$(names)" "$R/lib/web:1"
is "and is found by the alias" "$(hyb image inspect al:1 | jq -r .digest)" "$digest"
is "as rm finds it" "$(hyb image rm al:1 >/dev/null 2>&1; names)" ""
conf <<<"unqualified-search-registries = ['$EMPTY', '$R']"
check "registries to search" hyb image pull lib/two:1
is "that which has it" "$(names)" "$R/lib/two:1"
is "found by its short name" "$(hyb image inspect lib/two:1 | jq -r .digest)" "$(cat ours)"
hyb image load "$TOP/build/images/busybox.tar" --name lib/two:1 >/dev/null 2>&1
is "a local name goes before it" "$(hyb image inspect lib/two:1 | jq -r '.digest == "'"$(cat ours)"'"')" false
fails "none has it" 4 "'lib/none' of registries.conf: .*'$EMPTY/lib/none:latest'.*'$R/lib/none:latest'" hyb image pull lib/none
conf <<<"unqualified-search-registries = ['$OLD', '$R']"
fails "one that does not answer is not passed over" 1 "'$OLD/lib/web:1'.*certificate has expired" hyb image pull lib/web:1
conf <<<"short-name-mode = 'enforcing'
unqualified-search-registries = ['$EMPTY', '$R']"
fails "several where one is wanted" 2 "'$EMPTY/lib/web:1' and '$R/lib/web:1', and registries.conf wants one" hyb image pull lib/web:1
conf <<<"aliases = {"
fails "a file that is broken" 2 "910-test.conf: line 1: a key is missing" hyb image pull lib/web:1

# A mirror, and a registry that is closed.
conf <<<"[[registry]]
location = '$EMPTY'
[[registry.mirror]]
location = '$R'
[[registry]]
location = '$CUT'
blocked = true"
check "a mirror" hyb image pull "$EMPTY/lib/web:1"
is "under the name that was asked for" "$(hyb image inspect "$EMPTY/lib/web:1" | jq -r .digest)" "$digest"
fails "a blocked registry" 5 "pull '$CUT/lib/web:1': .*is blocked in /etc/containers" hyb image pull "$CUT/lib/web:1"
rm /etc/containers/registries.conf.d/910-test.conf
unset REGISTRY_AUTH_FILE

# registries.conf: a short name that leads here; policy.json.
printf '[[registry]]\nprefix = "docker.io/library"\nlocation = "%s/lib"\n' "$R" >/etc/containers/registries.conf.d/900-test.conf
check "a short name by registries.conf" hyb image pull --authfile good.json web:1
is "under its own name" "$(hyb image inspect web:1 | jq -r .digest)" "$digest"
# An image with a signature.
export GNUPGHOME=$WORK/gpg
mkdir -m 700 gpg
gpg -q --batch --passphrase '' --quick-gen-key test@example 2>/dev/null
gpg -q --export test@example >key.gpg
mkdir -p /etc/containers/registries.d
printf 'default-docker:\n  sigstore: file://%s/sigs\n  sigstore-staging: file://%s/sigs\n' "$WORK" "$WORK" >/etc/containers/registries.d/default.yaml
skopeo copy -q --sign-by test@example --dest-creds user:secret --dest-cert-dir "/etc/containers/certs.d/$R" "oci-archive:$TOP/build/images/busybox.tar" "docker://$R/lib/signed:1" >/dev/null || exit 2
gpgconf --kill all
chmod -R a+rX sigs
hyb image prune -a >/dev/null
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >any.json
echo '{"default":[{"type":"reject"}]}' >/etc/containers/policy.json
fails "a policy that rejects" 1 "rejected by policy" hyb image pull --authfile good.json "$R/lib/two:1"
is "and no layer was kept" "$(find "$HYB_ROOT/images/layers" -type f | wc -l)" 0
# By a key that is trusted, or not at all.
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s/lib":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"%s/key.gpg"}]}}}' "$R" "$WORK" >/etc/containers/policy.json
check "a signed image" hyb image pull --authfile good.json "$R/lib/signed:1"
fails "an image without a signature" 1 "[Ss]ignature was required" hyb image pull --authfile good.json "$R/lib/two:1"
# The name counts, though the cache has all layers and the signature is of this
# very manifest.
skopeo copy -q --policy "$WORK/any.json" --dest-creds user:secret --dest-cert-dir "/etc/containers/certs.d/$R" --remove-signatures --src-creds user:secret --src-cert-dir "/etc/containers/certs.d/$R" "docker://$R/lib/signed:1" "docker://$R/lib/signed:2" || exit 2
fails "a signature for another tag" 1 "identity .*lib/signed:1.* is not accepted" hyb image pull --authfile good.json "$R/lib/signed:2"

# A signature as sigstore has it: beside the image, in the registry.
openssl ecparam -name prime256v1 -genkey -noout -out cosign.key 2>/dev/null
openssl ec -in cosign.key -pubout -out cosign.pub 2>/dev/null
cat >sigstore.py <<'P'
import base64, hashlib, json, ssl, subprocess, sys, urllib.request
registry, name, tag, digest = sys.argv[1:]
base = "https://%s/v2/%s/" % (registry, name)
tls = ssl.create_default_context(cafile="ca.crt")
auth = "Basic " + base64.b64encode(b"user:secret").decode()
def ask(method, url, data, kind):
    q = urllib.request.Request(url, data, {"Authorization": auth, "Content-Type": kind}, method=method)
    return urllib.request.urlopen(q, context=tls)
def put(b, kind):
    d = "sha256:" + hashlib.sha256(b).hexdigest()
    at = ask("POST", base + "blobs/uploads/", b"", "application/octet-stream").headers["Location"]
    ask("PUT", at + ("&" if "?" in at else "?") + "digest=" + d, b, "application/octet-stream")
    return dict(mediaType=kind, digest=d, size=len(b))
payload = json.dumps(dict(critical=dict(identity={"docker-reference": registry + "/" + name + ":" + tag}, image={"docker-manifest-digest": digest}, type="cosign container image signature"), optional={})).encode()
sig = subprocess.run(["openssl", "dgst", "-sha256", "-sign", "cosign.key"], input=payload, stdout=subprocess.PIPE, check=True).stdout
layer = dict(put(payload, "application/vnd.dev.cosign.simplesigning.v1+json"), annotations={"dev.cosignproject.cosign/signature": base64.b64encode(sig).decode()})
config = put(json.dumps(dict(architecture="", os="", config={}, rootfs=dict(type="layers", diff_ids=[layer["digest"]]))).encode(), "application/vnd.oci.image.config.v1+json")
m = json.dumps(dict(schemaVersion=2, mediaType="application/vnd.oci.image.manifest.v1+json", config=config, layers=[layer])).encode()
ask("PUT", base + "manifests/" + digest.replace(":", "-") + ".sig", m, "application/vnd.oci.image.manifest.v1+json")
P
printf 'docker:\n  %s:\n    use-sigstore-attachments: true\n' "$R" >/etc/containers/registries.d/sigstore.yaml
printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s/lib":[{"type":"sigstoreSigned","keyPath":"%s/cosign.pub"}]}}}' "$R" "$WORK" >/etc/containers/policy.json
fails "sigstoreSigned, and no signature" 1 "[Ss]ignature was required" hyb image pull --authfile good.json "$R/lib/web:1"
python3 sigstore.py "$R" lib/web 1 "$digest" || exit 2
# Debian 12 builds skopeo without it, so that even a right one is refused.
fails "one that this skopeo cannot check" 1 "rejected: .*sigstore disabled" hyb image pull --authfile good.json "$R/lib/web:1"
like "what that means is said" "$(hyb image pull --authfile good.json "$R/lib/web:1" 2>&1)" "^hint: .*sigstoreSigned.*built without"
rm /etc/containers/registries.d/sigstore.yaml
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json

# Deployments that pull: what is missing, once, with the caller's credentials.
hyb image prune -a >/dev/null
export REGISTRY_AUTH_FILE=$WORK/good.json
manifest() { # [POLICY [IMAGE]]
	printf 'hyb: 1\nname: p\nvms:\n  v:\n    containers:\n'
	for c in a b; do cat <<Y; done
      $c:
        image: ${2:-$SLOW/lib/web:1}
        pull_policy: ${1:-missing}
        stop_grace_period: 0s
        command: [sleep, "100000"]
Y
}
requests() { grep -c "$1" "r${port[0]}.log"; }
manifest >p.yaml
before=$(requests GET)
fails "a plan of what is not here" 8 "^pull +$SLOW/lib/web:1 +live +not in the store.*" hyb plan p.yaml
check "a dry run" hyb deploy --dry-run p.yaml
is "neither asks a registry" "$(requests GET) $(count)" "$before 0"
manifest never >never.yaml
fails "never" 4 "never.yaml:7:16: container 'p/v/a' \(and 1 other\): image '$SLOW/lib/web:1' is not in the store, and its pull_policy is never" hyb deploy never.yaml
fails "never, in a plan" 4 "hint: .hyb image pull $SLOW/lib/web:1" hyb plan never.yaml
fails "a deployment with a wrong password" 5 "hint: .skopeo login $SLOW" env REGISTRY_AUTH_FILE=bad.json hyb deploy p.yaml
fails "credentials that cannot be read" 1 "p.yaml:7:16: .*pull '$SLOW/lib/web:1': credentials: open 'gone.json'" env REGISTRY_AUTH_FILE=gone.json hyb deploy p.yaml
manifest missing "$R/lib/web:none" >none.yaml
fails "a deployment of what is not there" 4 "none.yaml:7:16: .*pull '$R/lib/web:none': .*manifest unknown" hyb deploy none.yaml
sed "0,/image:/s|image: .*|image: localhost:1/x|" none.yaml >two.yaml
fails "all that is wrong is told" 1 "two.yaml:12:16: container 'p/v/b': .*manifest unknown" hyb deploy two.yaml
fails "a registry that is not there" 1 "two.yaml:7:16: container 'p/v/a': .*connection refused" hyb deploy two.yaml
fails "a short name that is several" 1 "registries.conf wants one" bash -c "printf '%s\n' 'short-name-mode = \"enforcing\"' 'unqualified-search-registries = [\"$EMPTY\", \"$R\"]' >/etc/containers/registries.conf.d/911-test.conf; sed 's|image: .*|image: lib/short|' p.yaml | hyb deploy -"
rm /etc/containers/registries.conf.d/911-test.conf
is "a word that is no policy" "$(manifest often | hyb validate - 2>&1 | head -n 1)" "<stdin>:8:22: 'pull_policy' must be always, missing or never; it is 'often'"
is "nothing is deployed" "$(hyb ps -a -o json) $(count)" "[] 0"

# The registry that keeps what is long back: a time that is over, a caller who
# leaves, a hybd that is killed.
rm -f go
fails "a pull that lasts too long" 6 "hint: give it a longer --timeout" hyb deploy --timeout 2s p.yaml
hyb deploy p.yaml >left 2>&1 &
left=$!
await "a deployment pulls" 60 grep -q "$SLOW/lib/web:1 *fetch" left
kill -TERM $left
wait $left
is "its caller leaves" "$? $(grep -c 'interrupted while images were pulled; nothing was deployed' left)" "130 1"
swept() { [ -z "$(find "$HYB_ROOT/images/tmp" -mindepth 1)" ]; }
await "that ends the pull" 60 swept
hyb deploy p.yaml >killed 2>&1 &
left=$!
await "another one pulls" 60 grep -q "$SLOW/lib/web:1 *fetch" killed
kill_9 "$(hybd_pid)"
wait $left
is "its hybd is killed" $? 7
is "nothing is half-made" "$(hyb ps -a -o json) $(count) $(swept && echo swept)" "[] 0 swept"
hyb image load "$TOP/build/images/nginx.tar" --name localhost:1/gone:1 >/dev/null 2>&1
sed "0,/image:/s|image: .*|image: localhost:1/gone:1|" p.yaml >mixed.yaml
hyb deploy mixed.yaml >mixed 2>&1 &
left=$!
await "one image is there, another is pulled" 60 grep -q "$SLOW/lib/web:1 *fetch" mixed
check "the first is removed meanwhile" hyb image rm localhost:1/gone:1
: >go
wait $left
is "that is seen before it is deployed" "$? $(grep -c "container .p/v/a.: image .localhost:1/gone:1. was removed meanwhile" mixed) $(hyb ps -a -o json)" "4 1 []"
hyb image prune -a >/dev/null
blob() { requests "GET .*/blobs/$layer"; }
layer=$(skopeo inspect --creds user:secret --cert-dir "/etc/containers/certs.d/$R" --raw "docker://$R/lib/web:1" | jq -r '.layers[0].digest')
before=$(blob)
hyb deploy p.yaml >again 2>&1
is "deploying again pulls and runs it" "$? $(grep -c "lib/web:1 *pulled  ${digest:0:19}$" again)" "0 1"
is "two containers' image is fetched once" "$(($(blob) - before))" 1
desired() { hyb inspect p/v/"$1" | jq -r '[.desired.digest, .digest] | join(" ")'; }
is "its digest is pinned" "$(desired a)" "$digest $digest"
before=$(requests GET)
like "the same again" "$(hyb deploy p.yaml 2>&1)" "^p: nothing to do"
is "asks no registry" "$(requests GET)" "$before"

# The tag moves.
skopeo copy -q --dest-creds user:secret --src-creds user:secret --src-cert-dir "/etc/containers/certs.d/$R" --dest-cert-dir "/etc/containers/certs.d/$R" "docker://$R/lib/two:1" "docker://$R/lib/web:1" || exit 2
moved=$(cat ours)
like "what is here stays" "$(hyb deploy p.yaml 2>&1)" "^p: nothing to do"
manifest always >always.yaml
like "a plan does not ask whether there is another" "$(hyb plan always.yaml 2>&1)" "the registry was not asked"
check "always" hyb deploy always.yaml
is "has the new one" "$(desired a; desired b)" "$moved $moved
$moved $moved"
before=$(requests "GET .*/blobs/") asked=$(requests "/manifests/")
like "always again" "$(hyb deploy always.yaml 2>&1)" "^p: nothing to do"
is "fetches nothing" "$(requests "GET .*/blobs/") $(($(requests "/manifests/") > asked))" "$before 1"
check "what is pinned stays through a restart" hyb restart p/v/a
is "as it was" "$(desired a)" "$moved $moved"
hyb image prune -a >/dev/null
is "and is in use" "$(hyb image ls -o json | jq -r '.[].digest' | sort -u)" "$moved"
hyb image load "$TOP/build/images/busybox.tar" --name localhost:1/x:1 >/dev/null 2>&1
manifest always localhost:1/x:1 >gone.yaml
fails "always of a registry that is gone" 1 "connection refused" hyb deploy gone.yaml
hyb image rm localhost:1/x:1 >/dev/null
hyb image pull "$R/lib/web@$moved" >/dev/null
manifest always "$R/lib/web@$moved" >pinned.yaml
before=$(requests GET)
check "always of a digest" hyb deploy pinned.yaml
is "asks no registry, either" "$(requests GET)" "$before"
hyb down p >/dev/null 2>&1
unset REGISTRY_AUTH_FILE

# Of four pulls at once each is right; a layer with other bytes is refused.
for i in 1 2 3 4; do hyb image pull --authfile good.json "$R/lib/two:1" >"p$i" 2>&1 & p[i]=$!; done
bad=0
for i in 1 2 3 4; do wait "${p[i]}" || bad=$((bad + 1)); done
is "four pulls at once" $bad 0
hyb image prune -a >/dev/null
layer=$(skopeo inspect --creds user:secret --cert-dir "/etc/containers/certs.d/$R" --raw "docker://$R/lib/web:1" | jq -r '.layers[0].digest')
f=data/docker/registry/v2/blobs/sha256/${layer:7:2}/${layer:7}/data
printf X | dd of="$f" bs=1 seek=100 conv=notrunc 2>/dev/null
fails "a layer of another digest" 1 "igest" hyb image pull --authfile good.json "$R/lib/web:1"
is "it is not in the store" "$(count)" 0
is "nothing is left of pulls" "$(find "$HYB_ROOT/images/tmp" -mindepth 1 | wc -l)" 0
# A Dockerfile, by buildah: with a storage of its own, without an overlay.
export CONTAINERS_STORAGE_CONF=$WORK/storage.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$WORK" "$WORK" >storage.conf
mkdir ctx && cp /bin/busybox ctx/
printf 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/made"]\nENV A=b\nCMD ["/bin/busybox", "sh"]\n' >ctx/Dockerfile
check "build" hyb image build ctx -t built:1
is "what the Dockerfile says" "$(hyb image inspect built:1 | jq -c '[.config.cmd, .config.env[-1]]')" '[["/bin/busybox","sh"],"A=b"]'
sed 's/touch/false/' ctx/Dockerfile >ctx/Bad
fails "a command that fails" 1 "hyb: image build 'ctx': buildah build: exit status 1" hyb image build ctx -f ctx/Bad -t built:2
fails "no folder" 1 "image build 'none': open 'none': No such file" hyb image build none -t x
fails "no name" 2 "-t NAME is missing" hyb image build ctx
is "nothing is left of builds" "$(find /var/tmp -maxdepth 1 -name 'hyb-build.*' -newer "$WORK/ctx/Dockerfile" | wc -l)" 0
cd "$TOP" || exit 2
umount -l /etc/containers
