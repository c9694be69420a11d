#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes a small Debian as a disk image that a VM can boot:
#
#	docs/examples/debian-disk.sh debian.raw
#	hyb disk import --format raw debian.raw debian12
#	hyb deploy docs/examples/legacy.yaml
#	hyb console legacy			(user root, no password)
#	curl http://127.0.0.1:8080/		(its web server)
#
# Needs root, and the packages mmdebstrap, e2fsprogs, dosfstools, mtools, syslinux and fdisk. The
# packages of the new system come from where this one's come from. HYB_SUITE,
# HYB_PACKAGES (more packages, with commas) and HYB_DISK_SIZE change what is
# made. Partition 1 has the kernel and the boot loader (FAT), partition 2 is
# the root (ext4).
set -eu
out=${1:?usage: debian-disk.sh FILE}
suite=${HYB_SUITE:-bookworm}
size=${HYB_DISK_SIZE:-2G}
boot_mib=96

for tool in mmdebstrap mke2fs mkfs.vfat mcopy syslinux sfdisk; do
	command -v "$tool" >/dev/null || {
		echo "debian-disk.sh: $tool is missing: apt-get install" \
			"mmdebstrap e2fsprogs dosfstools mtools syslinux fdisk" >&2
		exit 1
	}
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The sources of this system, in whatever form they are written.
sources=
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
	/etc/apt/sources.list.d/*.list; do
	[ -s "$f" ] && sources="$sources $f"
done
# shellcheck disable=SC2086
mmdebstrap --quiet --variant=minbase \
	--include="linux-image-cloud-amd64,systemd-sysv,udev,dbus,login,busybox-static${HYB_PACKAGES:+,$HYB_PACKAGES}" \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--aptopt='Apt::Install-Recommends "false"' \
	"$suite" "$work/root" $sources

echo debian12 >"$work/root/etc/hostname"
printf 'LABEL=root / ext4 rw,discard 0 1\n' >"$work/root/etc/fstab"
passwd -R "$work/root" -d root >/dev/null
# A console without a password: it is an example, and whoever reaches the
# console owns the machine anyway.
ln -sf /lib/systemd/system/serial-getty@.service \
	"$work/root/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service" 2>/dev/null || {
	mkdir -p "$work/root/etc/systemd/system/getty.target.wants"
	ln -s /lib/systemd/system/serial-getty@.service \
		"$work/root/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
}
# Its network card: an address by DHCP. And something that listens there.
cat >"$work/root/etc/systemd/network/card.network" <<'EOF'
[Match]
Type=ether
[Network]
DHCP=ipv4
EOF
mkdir -p "$work/root/srv/www"
echo "Debian on a disk of its own" >"$work/root/srv/www/index.html"
cat >"$work/root/etc/systemd/system/www.service" <<'EOF'
[Unit]
Description=Web server
[Service]
ExecStart=/bin/busybox httpd -f -p 80 -h /srv/www
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
Restart=on-failure
[Install]
WantedBy=multi-user.target
EOF
chroot "$work/root" systemctl --quiet enable systemd-networkd.service \
	www.service
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
kernel=$(ls "$work"/root/boot/vmlinuz-* | head -1)
initrd=$(ls "$work"/root/boot/initrd.img-* | head -1)

truncate -s "$size" "$work/disk"
sfdisk --quiet "$work/disk" <<EOF
label: dos
start=2048, size=${boot_mib}M, type=c, bootable
type=83
EOF
# Boot partition.
truncate -s "${boot_mib}M" "$work/boot"
mkfs.vfat -n BOOT "$work/boot" >/dev/null
cat >"$work/syslinux.cfg" <<'EOF'
SERIAL 0 115200
DEFAULT debian
PROMPT 0
LABEL debian
	KERNEL vmlinuz
	INITRD initrd.img
	APPEND root=LABEL=root rw console=ttyS0 quiet
EOF
mcopy -i "$work/boot" "$work/syslinux.cfg" ::syslinux.cfg
mcopy -i "$work/boot" "$kernel" ::vmlinuz
mcopy -i "$work/boot" "$initrd" ::initrd.img
syslinux --install "$work/boot"
rm -f "$work"/root/boot/vmlinuz-* "$work"/root/boot/initrd.img-*
# Root partition: what the first left.
start=$((2048 + boot_mib * 2048))
sectors=$(($(stat -c %s "$work/disk") / 512 - start))
mke2fs -q -t ext4 -L root -E offset=$((start * 512)) -d "$work/root" \
	"$work/disk" "$((sectors / 2))k"
dd if="$work/boot" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$work/disk" bs=440 count=1 \
	conv=notrunc status=none
mv "$work/disk" "$out"
echo "debian-disk.sh: $out: $(du -h "$out" | cut -f1) of $size"
