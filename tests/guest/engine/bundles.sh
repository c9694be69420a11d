# SPDX-License-Identifier: Apache-2.0
# Bundles that are none: each is refused with 1 (255 by exec) and one line that
# says which file and what of it, and nothing is left. Sourced by tests.sh behind
# spec.sh, whose root file system it uses.
BAD=/run/bad
GOOD='{"ociVersion":"1.2.0","process":{"args":["true"],"cwd":"/","env":["PATH=/bin"]},"root":{"path":"/run/full/rootfs"},"linux":{"namespaces":[{"type":"mount"}]}}'

# bad TITLE WORDS [PLACE]: create and run of what lies at PLACE
bad() {
	for verb in create run; do
		out=$(timeout 120 $RT $verb -b ${3:-$BAD} bad 2>&1 </dev/null)
		is "$verb, $1" "$? $(echo "$out" | wc -l) $(echo "$out" | cut -d: -f1)" "1 1 hyb-runtime"
		like "$verb, $1: says so" "$out" "$2"
	done
	is "$1: nothing is left" "$($RT list -q)$(ls -d /run/rt/bad /sys/fs/cgroup/hyb/bad 2>/dev/null)" ""
	rm -rf $BAD
	mkdir -p $BAD
}
config() { echo "$1" >$BAD/config.json; }
# but SCRIPT: the good one, changed by sed
but() { echo "$GOOD" | sed "$1" >$BAD/config.json; }
rm -rf $BAD
mkdir -p $BAD
config "$GOOD"
$RT run -b $BAD bad
is "the good one runs" $? 0
bad "no such folder" "bundle '/no/such': No such file" /no/such
bad "no config.json" "config.json': No such file"
: >$BAD/config.json && bad "an empty config.json" "/run/bad/config.json: line 1, column 0"
mkdir $BAD/config.json && bad "a folder" "config.json': Is a directory"
mkfifo $BAD/config.json && bad "a FIFO" "/run/bad/config.json: line 1"
ln -s config.json $BAD/config.json && bad "a link to itself" "config.json': Too many levels"
ln -s /dev/zero $BAD/config.json && bad "without an end" "larger than 1048576 bytes"
config "${GOOD%?}" && bad "one that is cut" "/run/bad/config.json: line 2, column 0"
config "$GOOD}" && bad "more than one" "/run/bad/config.json: line 1, column"
config '"text"' && bad "a text" "line 1, column 6"
config "[$GOOD]" && bad "a list" "config: must be an object"
but 's/"cwd":"."/"cwd":1/' && bad "a wrong type" "/run/bad/config.json: process.cwd: must be a string"
but 's/1\.2\.0/1.x/' && bad "a version that is none" "ociVersion: must be 1.MINOR.PATCH"
but 's/"linux"/"Linux"/' && bad "no linux" "linux: is missing"
but 's/"root"/"ROOT"/' && bad "no root" "root: is missing"
but 's#/run/full/rootfs#/no/such#' && bad "no root file system" "'/no/such'"
but 's#/run/full/rootfs#/init#' && bad "a root that is a file" "root.path: '/init' is not a folder"
but 's/"type":"mount"/"type":"pid"/' && bad "no mount namespace" "linux.namespaces: a mount namespace is needed"
but 's/"true"/"true","\\u0000"/' && bad "a NUL in a text" "line 1, column"
but 's/"cwd"/"cwd":"\/","cwd"/' && bad "a member twice" "duplicate object key"
but 's/\["true"\]/["no-such"]/'
out=$($RT run -b $BAD bad 2>&1)
like "a program that is not there" "$?: $out" "no-such"
is "nothing is left of it" "$($RT list -q)" ""
# One of the state's files that was cut or changed under it.
but 's/\["true"\]/["sleep","4321"]/'
$RT run -d -b $BAD bad </dev/null >/dev/null 2>&1
cp /run/rt/bad/state.json /run/state.good
head -c 60 /run/state.good >/run/rt/bad/state.json
out=$($RT state bad 2>&1)
like "a state file that is cut" "$? $out" "1 hyb-runtime: state.json is damaged: line 1"
sed 's/"pid":[0-9]*/"pid":-1/' /run/state.good >/run/rt/bad/state.json
out=$($RT kill bad KILL 2>&1)
like "a pid that is none" "$? $out" "1 hyb-runtime: "
like "is named" "$out" "state.json is damaged: pid"
sed 's#"cgroup":"bad"#"cgroup":"../.."#' /run/state.good >/run/rt/bad/state.json
out=$($RT delete bad 2>&1)
like "a cgroup that is another's" "$out" "state.json is damaged: cgroup"
cp /run/state.good /run/rt/bad/state.json
like "the good one is as it was" "$($RT state bad)" '"status": "running"'
echo '{' >/run/rt/bad/state.json
$RT delete -f bad
is "delete --force of a damaged one ends what runs, by its cgroup" \
	"$? $(ps | grep -c "[s]leep 4321") $(ls -d /run/rt/bad /sys/fs/cgroup/hyb/bad 2>/dev/null)" "0 0 "
