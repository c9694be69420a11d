# SPDX-License-Identifier: Apache-2.0
# What service managers and supervisors ask a runtime for, and hosts whose
# cgroup v2 is elsewhere or not there. Sourced by tests.sh behind rootless.sh,
# whose root file system it uses; last, for it changes the VM's cgroups.
FULL=$B
cp /bin/probe $B/rootfs/bin/
# at SOCKET: until it is there
at() {
	i=0
	while [ $i -lt 3000 ] && [ ! -S $1 ]; do usleep 20000; i=$((i + 1)); done
}
pid_of() { $RT state $1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
cli '/bin/probe notify STATUS=soon >/dev/null; /bin/probe notify READY=1 >/dev/null; while :; do sleep 0.05; done'
/bin/probe notify-listen /run/svc.sock 2 >/run/told &
at /run/svc.sock
NOTIFY_SOCKET=/run/svc.sock $RT create -b $FULL s1 >/run/out 2>&1 </dev/null
is "NOTIFY_SOCKET: create" "$? $(cat /run/out)" "0 "
NOTIFY_SOCKET=/run/svc.sock $RT start s1
is "NOTIFY_SOCKET: start ends when it is ready" $? 0
wait $!
is "NOTIFY_SOCKET: the manager is told that, and who it is" "$(cat /run/told)" "READY=1
MAINPID=$(pid_of s1)"
is "NOTIFY_SOCKET: the container's own lies in a folder of its own" "$($RT exec s1 ls /run/svc.sock)" notify
$RT delete -f s1
cli 'echo $NOTIFY_SOCKET; exit 0'
is "NOTIFY_SOCKET: start ends with one that never is" "$(NOTIFY_SOCKET=/run/svc.sock timeout 60 $RT run -b $FULL s1 2>&1)" /run/svc.sock/notify
cli 'while :; do sleep 0.05; done'
/bin/probe pidfd-listen /run/p1.sock >/run/told &
at /run/p1.sock
$RT run -d --pidfd-socket /run/p1.sock -b $FULL s1 >/run/out 2>&1 </dev/null
wait $!
is "run --pidfd-socket" "$(cat /run/told)" "$(pid_of s1)"
/bin/probe pidfd-listen /run/p2.sock >/run/told &
at /run/p2.sock
$RT exec -d --pid-file /run/pid --pidfd-socket /run/p2.sock s1 sleep 776 >/run/out 2>&1 </dev/null
wait $!
is "exec --pidfd-socket" "$(cat /run/told)" "$(cat /run/pid)"
$RT delete -f s1
/bin/probe pidfd-listen /run/p3.sock >/run/told &
at /run/p3.sock
$RT create --pidfd-socket /run/p3.sock -b $FULL s1 >/run/out 2>&1 </dev/null
wait $!
is "create --pidfd-socket" "$(cat /run/told)" "$(pid_of s1)"
$RT delete -f s1
$RT create --pidfd-socket /run/no.sock -b $FULL s1 >/run/out 2>&1 </dev/null
is "a --pidfd-socket where nobody listens" "$? $($RT list -q)" "1 "

# a host with cgroup v1 only, and one with both
LIMITED='s#"linux":{#&"resources":{"memory":{"limit":33554432}},#'
umount -l /sys/fs/cgroup
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
cli 'echo ran'
sed -i "$LIMITED" $FULL/config.json
out=$($RT run -b $FULL s1 2>&1)
like "without cgroup v2 it runs" "$out" ran
like "and what is left out is told" "$out" "cgroup v2 is not mounted; no limit is applied and devices are not filtered"
cli 'while :; do sleep 0.05; done'
$RT run -d -b $FULL s1 </dev/null >/dev/null 2>&1
out=$($RT ps s1 2>&1)
is "ps there" "$? $out" "1 hyb-runtime: ps 's1': the container has no cgroup"
is "exec, kill and delete there" "$($RT exec s1 echo in; $RT kill s1 KILL; wait_stopped s1; $RT delete s1; echo $?)" "in
0"
mount -t cgroup2 none /sys/fs/cgroup/unified
cli 'while :; do sleep 0.05; done'
sed -i "$LIMITED" $FULL/config.json
$RT run -d -b $FULL s1 </dev/null >/run/out 2>&1
is "cgroup v2 beside version 1" "$? $(cat /sys/fs/cgroup/unified/hyb/s1/memory.max)" "0 33554432"
$RT delete -f s1
is "which is taken away" "$(ls -d /sys/fs/cgroup/unified/hyb/s1 2>/dev/null)" ""
umount /sys/fs/cgroup/unified /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
