# SPDX-License-Identifier: Apache-2.0
# podman and the engine as an ordinary user, with ranges of its own in
# /etc/subuid and /etc/subgid: first in a cgroup that was delegated to it, then
# without one. Sourced by tests.sh.
H=/home/u
R=/run/user/1000
G=/sys/fs/cgroup/u
echo "u:x:1000:1000::$H:/bin/bash" >>/etc/passwd
echo 'u:x:1000:' >>/etc/group
echo u:100000:65536 | tee /etc/subuid >/etc/subgid
mkdir -p $H/.config/containers $H/vol $R $G/init
printf '[storage]\ndriver = "vfs"\n' >$H/.config/containers/storage.conf
cat >$H/.config/containers/containers.conf <<'X'
[engine]
runtime = "hyb-runtime"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["hyb-runtime"]
runtime_supports_nocgroup = ["hyb-runtime"]
[engine.runtimes]
hyb-runtime = ["/usr/local/bin/hyb-runtime"]
X
echo mine >$H/vol/f
chmod 700 $R
for c in cpu memory pids; do echo +$c >$G/cgroup.subtree_control; done
chown -R 1000:1000 $H $R
chown 1000:1000 $G $G/init $G{,/init}/cgroup.{procs,threads,subtree_control}
# us COMMAND...: as the user, in the cgroup $in
in=u/init
us() {
	(
		echo $BASHPID >/sys/fs/cgroup/$in/cgroup.procs
		cd $H && exec timeout 120 setpriv --reuid 1000 --regid 1000 --clear-groups \
			env -i HOME=$H USER=u XDG_RUNTIME_DIR=$R PATH="$PATH" "$@"
	)
}
um() { us podman "$@"; }
ur() { um run --rm --network none "$@" 2>&1; }

tar -c -C /img . | um import - busybox >/run/out 2>/run/err
is "rootless: import of an image" "$?" 0
ur busybox sh -c 'echo $(id -u):$(id -g) $(cat /proc/self/uid_map); exit 42' >/run/out
is "rootless: run: exit code, whom it is inside, its ids" "$? $(cat /run/out)" "42 0:0 0 1000 1 1 100000 65536"
is "rootless: --user of the range" "$(ur --user u -v $H/vol:/v busybox sh -c 'cat /v/f; touch /tmp/x && stat -c %u:%g /tmp/x')" "mine
1000:1000"
um run -d --name c --network none busybox \
	sh -c 'trap "exit 3" TERM; echo begun; while :; do sleep 0.1; done' >/dev/null 2>/run/err
is "rootless: run -d" "$? $(cat /run/err)" "0 "
um inspect -f '{{.OCIRuntime}} {{.State.Status}} {{.State.Pid}}' c >/run/out
read -r what how pid </run/out
is "rootless: inspect names the runtime" "$what $how" "hyb-runtime running"
is "rootless: its cgroup is below the delegated one" "$(cut -d: -f3 /proc/$pid/cgroup | cut -d/ -f1-3)" /u/hyb
until_is "rootless: logs" begun um logs c
um exec c sh -c 'cat /proc/1/comm; exit 7' >/run/out
is "rootless: exec" "$? $(cat /run/out)" "7 sh"
is "rootless: in its pid namespace" "$(ur --pid container:c busybox cat /proc/1/comm)" sh
um stop c >/dev/null 2>&1
is "rootless: stop, and its exit code" "$(um inspect -f '{{.State.Status}} {{.State.ExitCode}}' c)" "exited 3"
um rm c >/dev/null
is "rootless: rm" "$? $(ls $H/.local/share/containers/storage/vfs-containers/*/ -d 2>/dev/null)" "0 "
is "rootless: --cgroups disabled: it stays where podman is" \
	"$(ur --cgroups disabled --cgroupns host busybox cat /proc/self/cgroup)" 0::/u/init
in=init
ur busybox /no/such >/run/out
like "rootless: without a cgroup to have, a program that is not there" "$? $(cat /run/out)" "127 Error: hyb-runtime: exec: '/no/such': No such file or directory"
in=u/init

# The engine by itself: the ids by newuidmap and newgidmap.
B=$H/b
us mkdir -p $B/rootfs/bin
cp /bin/busybox $B/rootfs/bin/
for a in sh cat id touch chown sleep; do ln -s busybox $B/rootfs/bin/$a; done
us sh -c "cd $B && hyb-runtime spec --rootless"
jq '.process.terminal = false | .root.readonly = false | .process.capabilities[] += ["CAP_CHOWN"] |
	.linux.uidMappings = [{containerID: 0, hostID: 1000, size: 1}, {containerID: 1, hostID: 100000, size: 65536}] |
	.linux.gidMappings = .linux.uidMappings' $B/config.json >/run/base.json
conf() { # conf JQ SCRIPT
	jq --arg s "PATH=/bin; $2" '.process.args = ["/bin/busybox", "sh", "-c", $s] | '"$1" /run/base.json >$B/config.json
}
ids() {
	conf "$@"
	us hyb-runtime run -b $B x 2>&1
}
state() { us hyb-runtime state x | jq -r .status; }
is "newuidmap: the ranges, and groups may be set" "$(ids . 'echo $(cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups)')" \
	"0 1000 1 1 100000 65536 0 1000 1 1 100000 65536 allow"
is "newuidmap: another user, additional groups" \
	"$(ids '.process.user = {uid: 5, gid: 6, additionalGids: [7, 65536]}' 'echo $(id -u) $(id -G)')" "5 6 7 65536"
is "newuidmap: whose a file is outside" \
	"$(ids . 'touch /f && chown 5:6 /f; echo $?') $(stat -c %u:%g $B/rootfs/f)" "0 100004:100005"
like "newuidmap: the range of another is refused" "$(ids '.linux.uidMappings[1].hostID = 200000' true)" \
	"linux.uidMappings: newuidmap: uid range [200000-265536) -> [200000-265536) not allowed"
like "newgidmap: the range of another is refused" "$(ids '.linux.gidMappings[1].hostID = 99999' true)" \
	"linux.gidMappings: newgidmap: gid range [99999-165535) -> [99999-165535) not allowed"
conf '.linux.resources = {pids: {limit: 9}}' true
like "rootless: no limit without the cgroup that it is not to have" \
	"$(us hyb-runtime --cgroup-manager disabled run -b $B x 2>&1)" "linux.resources.pids: the container is to have no cgroup"
like "root's containers need a cgroup" "$(hyb-runtime --cgroup-manager disabled list 2>&1)" \
	"--cgroup-manager disabled: for an ordinary user; root's containers need a cgroup for their device rules"
conf . 'trap "exit 3" TERM; while :; do sleep 0.1; done'
us hyb-runtime run -d -b $B x </dev/null >/run/out 2>&1
is "newuidmap: run -d" "$? $(cat /run/out)" "0 "
is "newuidmap: exec as another" "$(us hyb-runtime exec -u 7:8 x /bin/sh -c "/bin/id -u; /bin/id -g" 2>&1)" "7
8"
us hyb-runtime kill x TERM
until_is "newuidmap: its end" stopped state
us hyb-runtime delete x
is "newuidmap: nothing is left" "$? $(us hyb-runtime list -q 2>&1)$(ls -d $G/hyb/*/ 2>/dev/null)" "0 "
