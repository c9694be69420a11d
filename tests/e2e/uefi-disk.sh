#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# uefi-disk.sh DEBIAN OUT: a small disk that only UEFI firmware can boot (GPT,
# an EFI partition with one program, no boot code), and that no BIOS can: the
# kernel of the example's Debian, busybox, a shell on the serial console.
set -eu
debian=$1 out=$2
offset=$((2048 * 512))            # of its boot partition
root=$(((2048 + 96 * 2048) * 512)) # and of its root (docs/examples)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

from_root() { debugfs -R "$1" "$debian?offset=$root" 2>/dev/null; }
mcopy -n -i "$debian@@$offset" ::vmlinuz "$work/vmlinuz"
version=$(from_root "ls -p /lib/modules" | awk -F/ '$6 ~ /^[0-9]/ { print $6 }')
mkdir -p "$work/fs/bin" "$work/fs/proc" "$work/fs/sys" "$work/fs/dev" "$work/fs/m"
for m in virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev \
	virtio/virtio_pci_modern_dev virtio/virtio_pci block/virtio_blk \
	net/failover net/net_failover net/virtio_net efivarfs; do
	case $m in
	net/failover) path=net/core/failover ;;
	efivarfs) path=fs/efivarfs/efivarfs ;;
	*) path=drivers/$m ;;
	esac
	from_root "dump /lib/modules/$version/kernel/$path.ko $work/fs/m/${m##*/}.ko"
	[ -s "$work/fs/m/${m##*/}.ko" ] && echo "${m##*/}" >>"$work/fs/m/order"
done
cp /bin/busybox "$work/fs/bin/"
cat >"$work/fs/lease" <<'EOF'
#!/bin/busybox sh
# What udhcpc is told.
case $1 in bound | renew)
	ip addr flush dev "$interface" scope global
	ip addr add "$ip/$mask" dev "$interface"
	echo "lease $ip/$mask router:${router:-none} dns:${dns:-none}" ;;
esac
EOF
cat >"$work/fs/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r m; do insmod "/m/$m.ko"; done </m/order
[ -d /sys/firmware/efi ] && mount -t efivarfs efivars /sys/firmware/efi/efivars
echo "firmware: $([ -d /sys/firmware/efi ] && echo uefi || echo bios)"
exec setsid cttyhack sh -i </dev/ttyS0 >/dev/ttyS0 2>&1
EOF
chmod 755 "$work/fs/init" "$work/fs/lease"
(cd "$work/fs" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd"

# The kernel, its initramfs and command line as one EFI program.
printf 'console=ttyS0 quiet panic=-1 ipv6.disable=0' >"$work/cmdline"
objcopy --add-section .cmdline="$work/cmdline" \
	--change-section-vma .cmdline=0x30000 \
	--add-section .linux="$work/vmlinuz" \
	--change-section-vma .linux=0x2000000 \
	--add-section .initrd="$work/initrd" \
	--change-section-vma .initrd=0x3000000 \
	/usr/lib/systemd/boot/efi/linuxx64.efi.stub "$work/boot.efi"
truncate -s 46M "$work/esp"
mkfs.vfat -n ESP "$work/esp" >/dev/null
mmd -i "$work/esp" ::EFI ::EFI/BOOT
mcopy -i "$work/esp" "$work/boot.efi" ::EFI/BOOT/BOOTX64.EFI
truncate -s 48M "$work/disk"
sfdisk --quiet "$work/disk" <<'EOF'
label: gpt
start=2048, size=46M, type=uefi
EOF
dd if="$work/esp" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
mv "$work/disk" "$out"
