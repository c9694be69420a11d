# SPDX-License-Identifier: Apache-2.0
# linux.resources in cgroup v2's files, and linux.devices. Sourced by tests.sh
# behind spec.sh, whose functions and root file system it uses.
CG=/sys/fs/cgroup/hyb/f1

# held LX: a container that waits, in $st and $err
held() {
	cat >$FULL/config.json <<E
{"ociVersion":"1.2.0","process":{"args":["/bin/sleep","1000"],"cwd":"/","env":["PATH=/bin"]},
"root":{"path":"rootfs"},"mounts":[$PROC],"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]$1}}
E
	$RT create -b $FULL f1 </dev/null >/dev/null 2>/run/err
	st=$?
	err=$(cat /run/err)
}
# limit TITLE RESOURCES FILE WANT
limit() {
	held ",\"resources\":{$2}"
	if [ $st = 0 ]; then is "$1" "$(cat $CG/$3)" "$4"; else not_ok "$1" "$err"; fi
	$RT delete -f f1
}
wrong() { # wrong TITLE WORDS RESOURCES
	held ",\"resources\":{$3}"
	if [ $st != 0 ]; then like "$1" "$err" "$2"; else not_ok "$1" "it was not refused"; fi
	is "$1: nothing is left" "$(ls -d $CG 2>/dev/null)" ""
	$RT delete -f f1
}
limit "memory.limit" '"memory":{"limit":67108864}' memory.max 67108864
limit "memory.limit -1" '"memory":{"limit":-1}' memory.max max
limit "memory.reservation" '"memory":{"reservation":33554432}' memory.low 33554432
limit "cpu.shares, least" '"cpu":{"shares":2}' cpu.weight 1
limit "cpu.shares, as they are by default" '"cpu":{"shares":1024}' cpu.weight 39
limit "cpu.shares, most" '"cpu":{"shares":262144}' cpu.weight 10000
limit "cpu.shares 0: as it is" '"cpu":{"shares":0}' cpu.weight 100
limit "cpu.quota and period" '"cpu":{"quota":30000,"period":60000}' cpu.max "30000 60000"
limit "cpu.quota alone" '"cpu":{"quota":30000}' cpu.max "30000 100000"
limit "cpu.quota -1" '"cpu":{"quota":-1,"period":50000}' cpu.max "max 50000"
limit "cpu.period alone" '"cpu":{"period":50000}' cpu.max "max 50000"
limit "cpu.burst" '"cpu":{"quota":30000,"burst":10000}' cpu.max.burst 10000
limit "cpu.idle" '"cpu":{"idle":1}' cpu.idle 1
limit "cpu.cpus" '"cpu":{"cpus":"0"}' cpuset.cpus 0
limit "cpu.mems" '"cpu":{"mems":"0"}' cpuset.mems 0
limit "pids.limit" '"pids":{"limit":7}' pids.max 7
limit "pids.limit 0: none" '"pids":{"limit":0}' pids.max max
limit "blockIO throttles" '"blockIO":{"throttleReadBpsDevice":[{"major":254,"minor":0,"rate":1048576}],"throttleWriteIOPSDevice":[{"major":254,"minor":0,"rate":99}]}' \
	io.max "254:0 rbps=1048576 wbps=max riops=max wiops=99"
limit "unified" '"unified":{"memory.high":"16777216"}' memory.high 16777216
limit "unified comes last" '"memory":{"limit":67108864},"unified":{"memory.max":"33554432"}' memory.max 33554432
wrong "unified with a file that is not there" "memory.moon" '"unified":{"memory.moon":"1"}'
wrong "unified with a path" "'../memory.max' is not a controller's file" '"unified":{"../memory.max":"1"}'
wrong "unified of the cgroup itself" "'cgroup.procs' is not" '"unified":{"cgroup.procs":"1"}'
wrong "cpus that are not there" "cpuset.cpus = 999" '"cpu":{"cpus":"999"}'
wrong "a period out of range" "linux.resources.cpu.period: must be from 1000 to 1000000" '"cpu":{"period":5}'
wrong "real-time budgets" "cpu.realtime" '"cpu":{"realtimeRuntime":1}'
wrong "no OOM killer" "disableOOMKiller" '"memory":{"disableOOMKiller":true}'
wrong "swap below the limit" "memory.swap" '"memory":{"limit":67108864,"swap":1}'
wrong "swap without a limit" "memory.swap" '"memory":{"swap":67108864}'
wrong "swap one byte below the limit" "memory.swap: is memory and swap together" '"memory":{"limit":67108864,"swap":67108863}'
wrong "huge pages without their controller" "has no controller 'hugetlb'" '"hugepageLimits":[{"pageSize":"2MB","limit":0}]'
wrong "rdma without its controller" "linux.resources.rdma.mlx4_0: this machine" '"rdma":{"mlx4_0":{"hcaHandles":1}}'
wrong "network is of cgroup v1" "linux.resources.network.classID: cgroup v2 has none" '"network":{"classID":1}'
held ',"resources":{"memory":{"limit":67108864}}'
$RT start f1
out=$(echo '{"memory":{"limit":4096,"checkBeforeUpdate":true}}' | $RT update -r - f1 2>&1)
is "checkBeforeUpdate: a limit below what is used is refused" "$? $(cat $CG/memory.max) $($RT state f1 | grep -c running)" "1 67108864 1"
like "by name" "$out" "resources.memory.limit: 4096 is below the"
echo '{"memory":{"limit":33554432,"checkBeforeUpdate":true}}' | $RT update -r - f1
is "and one above is taken" "$? $(cat $CG/memory.max)" "0 33554432"
out=$(echo '{"memory":' | $RT update -r - f1 2>&1)
like "JSON that is cut names its line" "$out" "resources '-': line 2, column"
echo '{"args":["grep","Cpus_allowed_list","/proc/self/status"],"env":["PATH=/bin"],"cwd":"/","execCPUAffinity":{"initial":"0","final":"0"}}' >/run/p.json
is "execCPUAffinity" "$($RT exec -p /run/p.json f1 2>&1)" "Cpus_allowed_list:	0"
sed -i 's/"final":"0"/"final":"900"/' /run/p.json
out=$($RT exec -p /run/p.json f1 2>&1)
is "execCPUAffinity of a CPU that is not there" $? 255
like "is named" "$out" "process.execCPUAffinity.final: '900'"
$RT delete -f f1

# device rules: the last that fits counts, the short list stays
mknod $FULL/rootfs/blk b 254 0
mknod $FULL/rootfs/mem c 1 1
try='for d in /blk /mem /dev/null; do (exec 3<$d) 2>/dev/null && echo -n yes || echo -n no; echo -n \" \"; done'
gives "devices: the short list without rules" "no no yes " "$try"
gives "devices: an allowed block device" "yes no yes " "$try" \
	lx=',"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":254,"minor":0,"access":"r"}]}'
gives "devices: for reading, not for writing" "no" "(exec 3>/blk) 2>/dev/null && echo yes || echo no" \
	lx=',"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":254,"minor":0,"access":"r"}]}'
gives "devices: any minor" "yes no yes " "$try" \
	lx=',"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":254,"access":"rw"}]}'
gives "devices: the later rule takes away" "no no yes " "$try" \
	lx=',"resources":{"devices":[{"allow":true,"type":"b","major":254,"access":"rwm"},{"allow":false,"type":"b","major":254,"minor":0,"access":"r"}]}'
rm $FULL/rootfs/blk $FULL/rootfs/mem
wrong "devices: a type" "linux.resources.devices[0].type" '"devices":[{"allow":true,"type":"x"}]'
wrong "devices: an access" "linux.resources.devices[0].access" '"devices":[{"allow":true,"type":"c","access":"q"}]'
gives "linux.devices" "character special file 660 5:6 1:9" 'stat -c \"%F %a %u:%g %t:%T\" /dev/mine' \
	lx=',"devices":[{"path":"/dev/mine","type":"c","major":1,"minor":9,"fileMode":432,"uid":5,"gid":6}]'
gives "linux.devices: a FIFO" "fifo" 'stat -c %F /dev/pipe' lx=',"devices":[{"path":"/dev/pipe","type":"p"}]'
gives "sysctl of its own network" "7" "cat /proc/sys/net/ipv4/ip_default_ttl" \
	ns='{"type":"pid"},{"type":"mount"},{"type":"network"}' lx=',"sysctl":{"net.ipv4.ip_default_ttl":"7"}'
refused "a sysctl of the machine" "linux.sysctl: 'kernel.panic'" lx=',"sysctl":{"kernel.panic":"1"}'
refused "a sysctl of a network that is not its own" "linux.sysctl: 'net.ipv4.ip_default_ttl'" lx=',"sysctl":{"net.ipv4.ip_default_ttl":"7"}'
gives "a readonly path and a masked file" "ro 0" '(echo 1 > /etc/ro/x) 2>/dev/null && echo -n rw || echo -n ro; echo \" $(wc -c </etc/masked)\"' \
	mounts="$PROC,{\"destination\":\"/etc/ro\",\"type\":\"tmpfs\",\"source\":\"t\"},{\"destination\":\"/etc/masked\",\"type\":\"bind\",\"source\":\"/init\",\"options\":[\"bind\"]}" \
	lx=',"readonlyPaths":["/etc/ro","/etc/none"],"maskedPaths":["/etc/masked","/etc/none"]'
for p in private shared slave; do
	gives "rootfsPropagation $p" "$(case $p in private) echo 0 ;; shared) echo 1 ;; slave) echo 0 ;; esac)" \
		"grep ' / / ' /proc/self/mountinfo | grep -c shared:" lx=",\"rootfsPropagation\":\"$p\""
done
refused "an unknown rootfsPropagation" "linux.rootfsPropagation: unknown 'x'" lx=',"rootfsPropagation":"x"'
