# SPDX-License-Identifier: Apache-2.0
# Figures in the VM: hyb-runtime, crun and runc turn by turn with the same
# bundle. Lines "start|exec OURS CRUN RUNC", milliseconds a run, and "memory
# OURS CRUN RUNC", KiB at the peak of a start; one line a round.
rounds=7 each=8
hyb() { hyb-runtime --root /run/rt "$@"; }
crun_() { crun --root /run/crun "$@"; }
runc_() { runc --root /run/runc "$@"; }
engines="hyb crun_ runc_"
die() { echo "failed: $1: $(head -3 /run/err)"; echo "--- end"; reboot -f; }
now() { cut -d' ' -f1 /proc/uptime | tr -d .; }

# Not of the initramfs: a root of its own, as a bundle has.
cp -a /bundle /run/b
mount -t tmpfs root /run/b/rootfs
mkdir /run/b/rootfs/bin /run/b/rootfs/proc /run/b/rootfs/dev /run/b/rootfs/sys
cp /bin/busybox /run/b/rootfs/bin/true
cp /bin/busybox /run/b/rootfs/bin/sleep
cp -a /run/b /run/s
mount -o bind /run/b/rootfs /run/s/rootfs
sed -i 's#"/bin/true"#"/bin/sleep","1000"#' /run/s/config.json

start_one() { # start_one ENGINE
	$1 create --bundle /run/b c </dev/null >/dev/null 2>/run/err || die "$1 create"
	$1 start c >/dev/null 2>/run/err || die "$1 start"
	$1 delete -f c >/dev/null 2>/run/err || die "$1 delete"
}
exec_one() {
	$1 exec s /bin/true </dev/null >/dev/null 2>/run/err || die "$1 exec"
}
timed() { # timed WHAT ENGINE: milliseconds a run, in $ms
	t0=$(now) i=0
	while [ $i -lt $each ]; do
		"$1" "$2"
		i=$((i + 1))
	done
	ms=$((($(now) - t0) * 100 / each))
	ms=$((ms / 10)).$((ms % 10))
}
rows() { # rows NAME WHAT
	for e in $engines; do "$2" $e; done
	r=0
	while [ $r -lt $rounds ]; do
		line=$1
		for e in $engines; do
			timed "$2" $e
			line="$line $ms"
		done
		echo "$line"
		r=$((r + 1))
	done
}
rows start start_one
# All that a create, start and delete take at once, in a cgroup of its own.
r=0
while [ $r -lt $rounds ]; do
	line=memory
	for e in $engines; do
		mkdir /sys/fs/cgroup/m
		(
			exec 3</proc/self/stat
			read -r pid rest <&3
			echo $pid >/sys/fs/cgroup/m/cgroup.procs
			start_one $e
		)
		line="$line $(($(cat /sys/fs/cgroup/m/memory.peak) / 1024))"
		rmdir /sys/fs/cgroup/m
	done
	echo "$line"
	r=$((r + 1))
done
# A hundred at once: milliseconds until all run, KiB that one costs.
available() { sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo; }
many() { # many ENGINE: in $ms and $kib
	before=$(available) t0=$(now) i=0
	while [ $i -lt 100 ]; do
		$1 create --bundle /run/s m$i </dev/null >/dev/null 2>/run/err || die "$1 create of the ${i}th"
		$1 start m$i >/dev/null 2>/run/err || die "$1 start of the ${i}th"
		i=$((i + 1))
	done
	ms=$((($(now) - t0) * 10)) kib=$(((before - $(available)) / 100))
	running=$(ps | grep -c '[s]leep 1000$')
	[ $running = 100 ] || die "$1: $running of 100 run"
	i=0
	while [ $i -lt 100 ]; do
		$1 delete -f m$i >/dev/null 2>/run/err || die "$1 delete"
		i=$((i + 1))
	done
}
many hyb
line="$ms" cost="$kib"
many crun_
echo "many $line $ms"
echo "cost $cost $kib"
for e in $engines; do
	$e create --bundle /run/s s </dev/null >/dev/null 2>/run/err || die "$e create"
	$e start s >/dev/null 2>/run/err || die "$e start"
done
rows exec exec_one
for e in $engines; do $e delete -f s; done
