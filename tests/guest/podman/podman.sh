# SPDX-License-Identifier: Apache-2.0
# podman's daily verbs with hyb-runtime below. Sourced by tests.sh.
mkdir -p /etc/containers
cat >/etc/containers/storage.conf <<'X'
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
X
pm() { timeout 120 podman --cgroup-manager cgroupfs --events-backend file --runtime /usr/local/bin/hyb-runtime "$@"; }
tar -c -C /img . | pm import - busybox >/run/out 2>/run/err
is "import of an image" "$?" 0
# pr OPTION... -- COMMAND...
pr() {
	local o=()
	while [ "$1" != -- ]; do o+=("$1"); shift; done
	shift
	pm run --rm --network none "${o[@]}" busybox "$@" 2>&1
}
is "run" "$(pr -- echo hello)" hello
like "by hyb-runtime" "$(pm info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}' 2>/dev/null)" "hyb-runtime version"
pr -- sh -c 'exit 42' >/dev/null
is "exit code" $? 42
pr -- /no/such >/run/out
is "a program that is not there" $? 127
pr -- /etc >/run/out
is "one that is no program" $? 126
pr -- sh -c 'sh -c "kill -9 \$\$"; exit $?' >/dev/null
is "one that is killed" $? 137
is "a root file system in place of an image" "$(pm run --rm --network none --rootfs /img cat /etc/group | wc -l)" 2
is "--user by name" "$(pr --user u -- id -u)" 1000
is "--user by number" "$(pr --user 7:8 -- sh -c 'echo $(id -u):$(id -g)')" 7:8
is "--group-add" "$(pr --group-add 9 -- id -G)" "0 9"
is "--env, --workdir, --hostname" "$(pr --env A=b --workdir /tmp --hostname h -- sh -c 'echo $A $PWD $(hostname)')" "b /tmp h"
is "--read-only" "$(pr --read-only -- sh -c 'touch /x 2>/dev/null || echo ro; touch /tmp/x && echo rw')" "ro
rw"
is "--tmpfs" "$(pr --tmpfs /scratch:size=1m,mode=700 -- sh -c 'stat -c %a /scratch; df -k /scratch | tail -n 1 | tr -s " " | cut -d" " -f2')" "700
1024"
mkdir -p /vol
echo in >/vol/f
is "--volume" "$(pr --volume /vol:/v:ro -- sh -c 'cat /v/f; touch /v/x 2>/dev/null || echo ro')" "in
ro"
is "a named volume" "$(pr --volume named:/v -- sh -c 'echo y >/v/f; cat /v/f')" y
is "--memory" "$(pr --memory 64m -- cat /sys/fs/cgroup/memory.max | tail -n 1)" 67108864
is "--cpus" "$(pr --cpus 0.5 -- cat /sys/fs/cgroup/cpu.max)" "50000 100000"
is "--pids-limit" "$(pr --pids-limit 33 -- cat /sys/fs/cgroup/pids.max)" 33
is "--ulimit" "$(pr --ulimit nofile=77:99 -- sh -c 'ulimit -Sn; ulimit -Hn')" "77
99"
is "--cap-drop" "$(pr --cap-drop all -- grep CapEff /proc/self/status)" "CapEff:	0000000000000000"
is "--cap-add" "$(pr --cap-drop all --cap-add kill -- grep CapEff /proc/self/status)" "CapEff:	0000000000000020"
is "--privileged" "$(pr --privileged -- sh -c 'mount -t tmpfs t /tmp && echo mounted')" mounted
is "--security-opt no-new-privileges" "$(pr --security-opt no-new-privileges -- grep NoNewPrivs /proc/self/status)" "NoNewPrivs:	1"
is "--security-opt seccomp=unconfined" "$(pr --security-opt seccomp=unconfined -- grep Seccomp: /proc/self/status)" "Seccomp:	0"
is "podman's seccomp profile" "$(pr -- grep Seccomp: /proc/self/status)" "Seccomp:	2"
is "--sysctl" "$(pr --sysctl net.ipv4.ip_forward=1 -- cat /proc/sys/net/ipv4/ip_forward)" 1
is "--device" "$(pr --device /dev/zero:/dev/mine -- sh -c 'head -c 3 /dev/mine | wc -c')" 3
is "--init" "$(pr --init -- sh -c 'echo ran' | tail -n 1 | grep -c -e ran -e catatonit)" 1
is "--userns" "$(pr --uidmap 0:100000:65536 --gidmap 0:100000:65536 -- cat /proc/self/uid_map | tr -s ' ')" " 0 100000 65536"
is "--userns and --volume with ids" "$(pr --uidmap 0:100000:65536 --gidmap 0:100000:65536 --tmpfs /t -- sh -c 'touch /t/x /dev/shm/x; stat -c %u /t/x')" 0
is "--pid host" "$(pr --pid host -- sh -c 'cat /proc/1/comm')" "$(cat /proc/1/comm)"
is "--network host" "$(pm run --rm --network host busybox ls /sys/class/net 2>&1)" lo
is "--ipc, --uts host" "$(pr --ipc host --uts host -- hostname)" guest
is "--cgroupns host" "$(pr --cgroupns host -- cat /proc/self/cgroup | grep -c libpod)" 1
is "--oom-score-adj" "$(pr --oom-score-adj 500 -- cat /proc/self/oom_score_adj)" 500
is "masked paths" "$(pr -- sh -c 'cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c')" 0
is "standard input" "$(echo to it | pm run --rm -i --network none busybox cat)" "to it"
is "run -t" "$(script -qec "podman --cgroup-manager cgroupfs --runtime /usr/local/bin/hyb-runtime run --rm -it --network none busybox tty" /dev/null | grep -o '/dev/[a-z0-9/]*')" /dev/pts/0

# one that stays
pm run -d --name c --network none --health-cmd 'test -e /healthy' --health-interval disable busybox \
	sh -c 'trap "exit 3" TERM; echo begun; while :; do sleep 0.1; done' >/dev/null 2>/run/err
is "run -d" "$? $(cat /run/err)" "0 "
until_is "logs" begun pm logs c
like "ps" "$(pm ps --format '{{.Names}} {{.Status}}')" "c Up"
is "exec" "$(pm exec c sh -c 'cat /proc/1/comm; echo in')" "sh
in"
is "exec with user, environment and folder" "$(pm exec -u u -e A=b -w /tmp c sh -c 'echo $(id -u) $A $PWD')" "1000 b /tmp"
pm exec c sh -c 'exit 7'
is "exec's exit code" $? 7
pm exec c /no/such 2>/dev/null
is "exec of what is not there" $? 127
is "exec -i" "$(echo x | pm exec -i c cat)" x
is "exec -t" "$(script -qec "podman --cgroup-manager cgroupfs --runtime /usr/local/bin/hyb-runtime exec -it c tty" /dev/null | grep -o '/dev/[a-z0-9/]*')" /dev/pts/0
pm exec -d c touch /tmp/detached
until_is "exec -d" /tmp/detached pm exec c ls /tmp/detached
like "top" "$(pm top c)" "COMMAND"
like "top by ps" "$(pm top c pid comm 2>&1)" "sh"
like "stats" "$(pm stats --no-stream --format '{{.Name}} {{.PIDs}}' c)" "c "
pm healthcheck run c >/dev/null 2>&1
is "healthcheck that fails" $? 1
pm exec c touch /healthy
pm healthcheck run c >/dev/null 2>&1
is "healthcheck" $? 0
pm pause c >/dev/null
is "pause" "$? $(pm inspect -f '{{.State.Status}}' c)" "0 paused"
pm exec c true 2>/dev/null
is "exec in a paused one is refused" "$([ $? != 0 ] && echo no)" no
pm unpause c >/dev/null
is "unpause" "$? $(pm inspect -f '{{.State.Status}}' c)" "0 running"
pm stop c >/dev/null 2>&1
is "stop, and its exit code" "$(pm inspect -f '{{.State.Status}} {{.State.ExitCode}}' c)" "exited 3"
pm start c >/dev/null 2>&1
is "start again" "$(pm inspect -f '{{.State.Status}}' c)" running
pm restart -t 5 c >/dev/null 2>&1
is "restart" "$? $(pm inspect -f '{{.State.Status}}' c)" "0 running"
pm kill c >/dev/null
until_is "kill, and its exit code" "exited 137" pm inspect -f '{{.State.Status}} {{.State.ExitCode}}' c
pm start c >/dev/null 2>&1
pm rm -f -t 0 c >/dev/null 2>&1
is "rm -f of a running one" "$? $(pm ps -aq)" "0 "
pm create --name d --network none busybox echo created >/dev/null
is "create, start -a" "$(pm start -a d)" created
is "wait" "$(pm wait d)" 0
pm cp d:/etc/passwd /run/passwd && is "cp" "$(wc -l </run/passwd)" 2
pm rm d >/dev/null
# a pod shares namespaces by path
pm run -d --name p1 --network none --ipc shareable busybox sleep 100 >/dev/null 2>&1
is "namespaces of another container" "$(pm run --rm --network container:p1 --pid container:p1 --ipc container:p1 busybox cat /proc/1/comm 2>&1)" sleep
pm rm -f -t 0 p1 >/dev/null 2>&1
is "nothing is left" "$(hyb-runtime list -q 2>&1; ls -d /sys/fs/cgroup/libpod_parent/*/ 2>/dev/null | grep -vc conmon)" 0
