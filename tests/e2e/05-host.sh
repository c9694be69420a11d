#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that lack something: a full disk, no libvirt, no QEMU, few descriptors.
# In a mount namespace of its own, so that nothing of the machine changes.
if [ -z "${HYB_IN_NS:-}" ]; then exec env HYB_IN_NS=1 unshare -m --propagation private "$0" "$@"; fi
. "$(dirname "$0")/lib.sh"

stack() {
	printf 'hyb: 1\nname: %s\nvms:\n  v:\n    containers:\n      c: { image: busybox, command: "sh -c \\"while :; do echo x; sleep 0.2; done\\"", stop_grace_period: 0s }\n' "$1" >"$WORK/$1.yaml"
}
stack first
stack second

# A disk that is full.
mount -t tmpfs -o size=64m,mode=711 none "$HYB_ROOT"
load_images
check "deploy" hyb deploy "$WORK/first.yaml"
boot=$(hyb exec first/v/c -- cat /proc/sys/kernel/random/boot_id)
dd if=/dev/zero of="$HYB_ROOT/filler" bs=1M >/dev/null 2>&1
dd if=/dev/zero of="$HYB_ROOT/filler2" bs=512 >/dev/null 2>&1
fails "image load on a full disk" 1 'No space left|full' hyb image load build/images/nginx.tar
fails "deploy on a full disk" 1 'No space left|full' hyb deploy --timeout 20s "$WORK/second.yaml"
is "what runs goes on" "$(hyb exec first/v/c -- cat /proc/sys/kernel/random/boot_id)" "$boot"
is "in ps too" "$(field first/v/c state)" running
rm "$HYB_ROOT/filler" "$HYB_ROOT/filler2"
check "with room again: image load" hyb image load build/images/nginx.tar
check "with room again: deploy" hyb deploy "$WORK/second.yaml"
is "it runs" "$(field second/v/c state)" running
is "the first was never restarted" "$(field first/v/c restarts) $(hyb exec first/v/c -- cat /proc/sys/kernel/random/boot_id)" "0 $boot"
check "down" hyb down first
check "down" hyb down second
HYBD=$(hybd_pid)
kill "$HYBD"
await "hybd ends" 60 gone "$HYBD"
umount -l "$HYB_ROOT"

# Packages that are not there.
driver=$(dirname "$(find /usr/lib -name 'libvirt_driver_qemu.so' | head -1)")
fails "no libvirt driver: it says which package" 7 'libvirt' unshare -m --propagation private sh -c \
	"mount -t tmpfs none '$driver'; exec hybd --root '$HYB_ROOT'"
like "and how to get it" "$(unshare -m --propagation private sh -c "mount -t tmpfs none '$driver'; exec hybd --root '$HYB_ROOT'" 2>&1)" 'hint: .*apt'
fails "hyb says it too, at once" 7 'libvirt' unshare -m --propagation private sh -c \
	"mount -t tmpfs none '$driver'; exec timeout 40 hyb ps"

# A root that others cannot enter, or that is no absolute path, or too long.
mkdir -m 700 "$WORK/closed"
fails "a root that VMs cannot enter" 1 'closed to the users' hybd --root "$WORK/closed"
fails "a relative root" 1 'not an absolute path' hybd --root relative
long=$WORK/$(printf 'x%.0s' $(seq 60))
mkdir -m 711 -p "$long"
fails "a root that is too long for sockets" 1 'too long|longer|at most' hybd --root "$long"

# Few descriptors.
(ulimit -n 512 && exec hybd --root "$HYB_ROOT") >"$WORK/few" 2>&1 &
HYBD=$!
await "a low limit of descriptors is told" 60 grep -q 'limit of open files' "$WORK/few"
kill $HYBD
wait $HYBD
