# SPDX-License-Identifier: Apache-2.0
# hyb-runtime's command line as callers of runc and crun use it. Sourced by
# tests.sh behind spec.sh, whose root file system it uses.

# cli CONFIG-SCRIPT [JSON of process]: writes the bundle
cli() {
	cat >$FULL/config.json <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/sh","-c","$1"],"cwd":"/","env":["PATH=/bin"]${2:-}},
"root":{"path":"rootfs"},"mounts":[$PROC,{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666"]}],
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}
E
}
mkdir -p /run/spec
$RT spec -b /run/spec
is "spec writes a configuration" "$? $(grep -c '"terminal": true' /run/spec/config.json)" "0 1"
out=$($RT spec --bundle /run/spec 2>&1)
is "and overwrites none" "$? $out" "1 hyb-runtime: File config.json exists. Remove it first"
rm /run/spec/config.json
$RT spec -b /run/spec --rootless
is "spec --rootless has a user namespace and no network of its own" \
	"$(grep -c '"type": "user"' /run/spec/config.json) $(grep -c '"type": "network"' /run/spec/config.json)" "1 0"
# The configuration that it writes runs.
rm /run/spec/config.json
$RT spec -b /run/spec
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/' /run/spec/config.json
sed -i 's#"path": "rootfs"#"path": "/run/full/rootfs"#' /run/spec/config.json
out=$($RT run -b /run/spec s1 2>&1)
is "what spec writes runs" "$? $out" "0 "
out=$($RT --cgroup-manager cgroupfs --root /run/rt run --bundle /run/spec s1 2>&1)
is "--cgroup-manager cgroupfs" "$? $out" "0 "
out=$($RT --cgroup-manager systemd run -b /run/spec s1 2>&1)
is "--cgroup-manager systemd is refused" $? 2
like "by name" "$out" "cgroupfs or disabled"

# exit codes, output, descriptors
cli 'exit 42'
$RT run -b $FULL r1
is "run ends as the program does" $? 42
cli 'cat <&3; cat <&4'
echo three >/run/three
echo four >/run/four
out=$($RT run --preserve-fds 2 -b $FULL r1 3</run/three 4</run/four)
is "run --preserve-fds" "$out" "$(printf 'three\nfour')"
out=$(LISTEN_FDS=2 $RT run -b $FULL r1 3</run/three 4</run/four)
is "LISTEN_FDS preserves, too" "$out" "$(printf 'three\nfour')"
cli 'cat <&3; ls /proc/self/fd'
out=$($RT run --preserve-fds 4 -b $FULL r1 3</run/three 2>&1)
is "descriptors that are not open are not in the container either" "$? $(echo $out)" "0 three 0 1 2 3 4"
cli 'echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES'
is "LISTEN_PID" "$(LISTEN_FDS=1 LISTEN_FDNAMES=web $RT run -b $FULL r1 3</run/three)" "1 1 web"
is "and nothing is left" "$($RT list -q)" ""
cli 'ls /proc/self/fd | wc -l'
out=$($RT run -b $FULL r1 3</run/three 4</run/four)
is "without it nothing else is open" "$out" 4
cli 'echo to stdout; echo to stderr >&2'
$RT run -b $FULL r1 >/run/o 2>/run/e
is "standard streams" "$(cat /run/o) $(cat /run/e)" "to stdout to stderr"

# a terminal in the foreground
cli 'tty; stty size; exit 7' ',"terminal":true,"consoleSize":{"height":33,"width":77}'
out=$($RT run -b $FULL r1 </dev/null)
is "run holds the terminal itself, whose lines end plainly" "$? $(echo "$out" | tr '\n' ' ')" "7 /dev/pts/0 33 77 "
cli 'read line; echo got $line' ',"terminal":true'
out=$(echo hello | $RT run -b $FULL r1)
like "and joins standard input to it" "$out" "got hello"
out=$($RT run -d -b $FULL r1 2>&1)
is "detached it needs a socket" $? 1
like "and says so" "$out" "needs --console-socket"
is "and nothing is left of that" "$($RT list -q)" ""

# exec
cli "trap 'exit 5' TERM; while :; do sleep 0.05; done"
$RT run -d -b $FULL --pid-file /run/pid r1 >/dev/null 2>&1 </dev/null
is "run -d with a pid file" "$(cat /run/pid)" "$($RT state r1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')"
is "exec -t holds the terminal itself" "$($RT exec -t r1 tty </dev/null | tr -d '\r')" /dev/pts/0
out=$(echo 'exit 9' | $RT exec -t r1 sh)
is "and ends as the program does" $? 9
is "exec -g" "$($RT exec -g 7 --additional-gids 8 r1 id -G)" "0 7 8"
is "exec --cap" "$($RT exec --cap CAP_KILL r1 grep CapEff /proc/self/status)" "CapEff:	0000000000000020"
out=$($RT exec --cap CAP_MOON r1 true 2>&1)
is "exec --cap of nothing is left out" $? 0
like "and told" "$out" "'CAP_MOON' is unknown"
is "exec --no-new-privs" "$($RT exec --no-new-privs r1 grep NoNewPrivs /proc/self/status)" "NoNewPrivs:	1"
is "exec --preserve-fds" "$($RT exec --preserve-fds 1 r1 cat /proc/self/fd/3 3</run/three)" three
is "exec --cwd --env --user" "$($RT exec --cwd /tmp -e A=b -u 5:6 r1 sh -c 'echo $PWD $A $(id -u):$(id -g)')" "/tmp b 5:6"
$RT exec r1 sh -c 'exit 11'
is "exec's exit code" $? 11
$RT exec r1 /no/such 2>/dev/null
is "exec of nothing: 255, not an end of the program" $? 255
$RT exec r1 /etc 2>/dev/null
is "exec of what cannot be" $? 255
$RT exec none true 2>/dev/null
is "exec in none" $? 255
$RT exec --pid-file /no/such/folder r1 sleep 987 2>/dev/null
st=$?
i=0; while [ $i -lt 6000 ] && ps | grep -q "[s]leep 987"; do usleep 20000; i=$((i + 1)); done
is "exec whose pid file cannot be written" "$st $(ps | grep -c "[s]leep 987")" "255 0"
$RT exec r1 sh -c 'kill -9 $$'
is "exec that is killed: 128 + 9" $? 137
cat >/run/p.json <<'E'
{"args":["sh","-c","echo from the file $X"],"env":["PATH=/bin","X=y"],"cwd":"/","terminal":false}
E
is "exec -p FILE" "$($RT exec -p /run/p.json r1)" "from the file y"
out=$($RT exec --apparmor x r1 true 2>&1)
like "exec --apparmor is refused by name" "$out" "--apparmor is not supported"

# looking
like "ps" "$($RT ps r1)" "$(cat /run/pid)"
like "ps -f json" "$($RT ps -f json r1 | tr , ])" "[$(cat /run/pid)]"
is "list has a header" "$($RT list | head -n 1 | tr -s ' ')" "ID PID STATUS BUNDLE CREATED OWNER"
like "list" "$($RT list)" "r1 "
like "list -f json" "$($RT list -f json)" '"owner":"root"'
is "which is one line" "$($RT list -f json | wc -l)" 1
out=$(/bin/hyb-runtime --root /run/none list 2>&1)
is "list of a root that is not there" $? 1
like "names it" "$out" "open '/run/none'"
like "state knows when it was made" "$($RT state r1)" '"created": "20'
is "list -q" "$($RT list -q)" r1
like "state has the root file system" "$($RT state r1)" '"rootfs": "/run/full/rootfs"'
out=$($RT events --stats r1)
like "events --stats" "$out" '"type":"stats"'
like "with the memory used" "$out" ',"usage":{"usage":'
for w in '"cpu":{"usage":{"total":[1-9]' '"kernel":[0-9]' '"throttling":{' '"raw":{"anon":[0-9]' '"pids":{"current":[1-9][0-9]*,"limit":[0-9]' \
	'"blkio":{"ioServiceBytesRecursive":\[' '"psi":{"some":{"avg10":[0-9.]*,"avg60":[0-9.]*,"avg300":[0-9.]*,"total":[0-9]*},"full":{'; do
	is "and $w" "$(echo "$out" | grep -c "$w")" 1
done
: >/run/ev # is there for the loop, whoever is first
timeout 120 $RT events --interval 100ms r1 >/run/ev &
i=0; while [ $i -lt 6000 ] && [ $(wc -l </run/ev) -le 3 ]; do usleep 20000; i=$((i + 1)); done
kill $!
wait $!
is "events go on" "$([ $(wc -l </run/ev) -gt 3 ] && echo many)" many
$RT pause r1
out=$($RT exec r1 true 2>&1)
is "exec in a paused one is refused" $? 255
like "in runc's words" "$out" "cannot exec in a paused container"
timeout 1 $RT exec --ignore-paused r1 true
is "unless asked for: then it waits" $? 143
$RT resume r1
out=$($RT kill r1 SIGNONE 2>&1)
is "kill with no such signal" $? 2
$RT kill r1 SIGTERM
wait_stopped r1
like "kill by name" "$($RT state r1)" '"status": "stopped"'
out=$($RT kill r1 KILL 2>&1)
is "kill of a stopped one" "$? $out" "1 hyb-runtime: kill 'r1': container not running"
$RT delete r1
$RT delete r1 2>/dev/null
is "delete of none" $? 1
$RT delete -f r1
is "delete --force of none" $? 0
# what is relative is so to where the caller is, but for the configuration
cli "trap 'exit 3' 63; while :; do sleep 0.05; done"
mv $FULL/config.json $FULL/other.json
mkdir -p /run/here
(cd /run/here && $RT create -b $FULL --config other.json --pid-file pid r2 >/dev/null 2>&1 </dev/null)
is "create --config, and --pid-file in the caller's folder" "$(cat /run/here/pid)" "$($RT state r2 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')"
$RT kill r2 0
is "kill 0 asks" $? 0
$RT delete r2
is "delete takes a created one" "$? $($RT list -q)" "0 "
$RT run r2 -d --bundle $FULL -f other.json >/dev/null 2>&1 </dev/null
is "options behind the id" "$? $($RT list -q)" "0 r2"
$RT kill r2 SIGRTMAX-1
wait_stopped r2
is "kill by a real-time signal's name" "$? $($RT state r2 | grep -c stopped)" "0 1"
$RT kill r2 RTMIN+x 2>/dev/null
is "and not by half a name" $? 2
$RT delete r2
cli 'sleep 765 & exec sleep 766'
sed -i 's/{"type":"pid"},//' $FULL/config.json
$RT run -d -b $FULL r3 >/dev/null 2>&1 </dev/null
i=0; while [ $i -lt 6000 ] && [ "$(ps | grep -c '[s]leep 76[56]')" != 2 ]; do usleep 20000; i=$((i + 1)); done
$RT kill r3 KILL
i=0; while [ $i -lt 6000 ] && [ "$(ps | grep -c '[s]leep 76[56]')" != 0 ]; do usleep 20000; i=$((i + 1)); done
is "KILL without a pid namespace ends all" "$(ps | grep -c '[s]leep 76[56]')" 0
$RT delete -f r3
out=$($RT delete --help)
like "help of a verb" "$? $out" "hyb-runtime delete"
$RT --log file:/run/flog state none 2>/dev/null
is "--log file:" "$(grep -c "does not exist" /run/flog)" 1
# in one that was only created; cgroups of its own
cli 'exec sleep 777'
sed -i 's/{"type":"mount"}/&,{"type":"cgroup"}/; s#"mounts":\[#&{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup2","source":"cgroup"},#' $FULL/config.json
$RT create -b $FULL r5 >/dev/null 2>&1 </dev/null
is "exec in a created one" "$($RT exec r5 sh -c 'echo $$ $PWD')" "2 /"
is "which is still only created" "$($RT state r5 | grep -c '"status": "created"')" 1
$RT start r5
$RT exec r5 mkdir /sys/fs/cgroup/below
is "exec --cgroup" "$($RT exec --cgroup below r5 cat /proc/self/cgroup)" "0::/below"
out=$($RT exec --cgroup ../.. r5 true 2>&1)
is "exec --cgroup of another's" $? 255
like "is refused" "$out" "bad sub cgroup path '../..'"
out=$($RT exec --cgroup none r5 true 2>&1)
is "exec --cgroup of none" $? 255
$RT exec r5 sh -c 'echo 1 >/sys/fs/cgroup/below/cgroup.procs; echo $$ >/sys/fs/cgroup/below/cgroup.procs; echo +pids >/sys/fs/cgroup/cgroup.subtree_control'
is "exec goes where the first process went" "$($RT exec r5 cat /proc/self/cgroup)" "0::/below"
$RT create -b $FULL r6 >/dev/null 2>&1 </dev/null
out=$($RT kill --regex '^r[0-9]$' 0 2>&1)
is "kill --regex" "$? $out" "0 "
out=$($RT kill --regex '(' 0 2>&1)
is "kill --regex of no expression" $? 1
like "names it" "$out" "'(' is not a regular expression"
out=$($RT delete --regex '^r[56]$' 2>&1)
is "delete --regex goes on behind one that runs" "$? $($RT list -q)" "1 r5"
like "which it tells" "$out" "delete 'r5'"
$RT delete -f --regex '^r'
is "delete -f --regex" "$? $($RT list -q)" "0 "
# a cgroup that somebody else has
mkdir /sys/fs/cgroup/other
echo 1 >/sys/fs/cgroup/other/cgroup.freeze
sed -i 's#"linux":{#&"cgroupsPath":"/other",#' $FULL/config.json
out=$($RT create -b $FULL r5 2>&1 </dev/null)
is "a frozen cgroup" $? 1
like "is no place for a container" "$out" "unexpectedly frozen"
echo 0 >/sys/fs/cgroup/other/cgroup.freeze
sleep 778 &
echo $! >/sys/fs/cgroup/other/cgroup.procs
$RT create -b $FULL r5 >/run/out 2>&1 </dev/null
like "a cgroup that is not empty is told" "$(cat /run/out)" "cgroup is not empty"
kill $!
$RT delete -f r5
cli 'read x </dev/full; exit 0'
sed -i 's#"mounts":\[#&{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["ro"]},{"destination":"/dev/shm","type":"tmpfs","source":"shm"},#; s#"path":"rootfs"#&,"readonly":true#; s#"cwd":"/"#"cwd":"/made/here"#; s#"linux":{#&"devices":[{"path":"/nodes/kmsg/","type":"c","major":1,"minor":11,"uid":7,"gid":8,"fileMode":416}],#' $FULL/config.json
sed -i 's#"args":\[[^]]*\]#"args":["/bin/sh","-c","touch /dev/x 2>/dev/null || echo ro; touch /x 2>/dev/null || echo root; pwd; stat -c %t:%T:%u:%g:%a /nodes/kmsg"]#' $FULL/config.json
out=$($RT run -b $FULL r5 2>&1)
is "read-only /dev and root, a folder made for it, a node elsewhere" "$? $(echo $out)" "0 ro root /made/here 1:b:7:8:640"
chmod 1751 $FULL/rootfs/tmp
cli 'stat -c %a /tmp'
sed -i 's#"mounts":\[#&{"destination":"/tmp","type":"tmpfs","source":"tmpfs"},#' $FULL/config.json
is "a tmpfs has the mode of what it covers" "$($RT run -b $FULL r5 2>&1)" 1751
chmod 1777 $FULL/rootfs/tmp
out=$($RT --debug run -b $FULL r5 2>&1)
like "--debug" "$out" 'level=debug msg="run begins"'
out=$($RT checkpoint r1 2>&1)
is "checkpoint is refused" $? 1
out=$($RT frobnicate 2>&1)
is "no such verb" $? 2
for id in '' / a/b ../x . .. 'a b' 'ä'; do
	$RT run -b $FULL "$id" >/dev/null 2>&1 && not_ok "an id that is not valid" "'$id' was taken"
done
ok "ids that are not valid are refused"
umount $FULL/rootfs
