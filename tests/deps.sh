#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that hyb needs to be built, run and tested.
set -eu
packages="
	gcc make clang clang-format libclang-rt-14-dev pkg-config
	libvirt-dev libvirt-daemon-driver-qemu libvirt-daemon-system
	libvirt-clients qemu-system-x86 qemu-utils seabios
	libyaml-dev libseccomp-dev libcmocka-dev libjansson-dev libsqlite3-dev
	libssl-dev libzstd-dev libisal-dev
	libnl-3-dev libnftables-dev dnsmasq-base nftables
	linux-source-6.12 bc bison flex libelf-dev xz-utils zstd cpio rsync
	busybox-static umoci skopeo erofs-utils jq curl strace python3
	procps iproute2 patch e2fsprogs scdoc crun runc mmdebstrap
	mmdebstrap dosfstools mtools syslinux fdisk
	btrfs-progs buildah docker-registry apache2-utils openssl gnupg
	ovmf systemd-boot-efi binutils
"
missing=
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] ||
		missing="$missing $p"
done
if [ -z "$missing" ]; then
	echo "all packages are installed"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "make deps: run as root to install:$missing" >&2
	exit 1
fi
echo "installing:$missing"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "done"
