# SPDX-License-Identifier: Apache-2.0
# Figures in the VM: hyb-runtime and crun turn by turn with the same bundle.
# Lines "start|exec OURS THEIRS", milliseconds a run, one line a round.
rounds=7 each=8
hyb() { hyb-runtime --root /run/rt "$@"; }
theirs() { crun --root /run/crun "$@"; }
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
	"$2" hyb
	"$2" theirs
	r=0
	while [ $r -lt $rounds ]; do
		timed "$2" hyb
		ours=$ms
		timed "$2" theirs
		echo "$1 $ours $ms"
		r=$((r + 1))
	done
}
rows start start_one
for e in hyb theirs; do
	$e create --bundle /run/s s </dev/null >/dev/null 2>/run/err || die "$e create"
	$e start s >/dev/null 2>/run/err || die "$e start"
done
rows exec exec_one
hyb delete -f s
theirs delete -f s
