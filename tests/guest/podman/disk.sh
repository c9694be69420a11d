#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# disk.sh PACKAGES WORK OUT: a Debian of these packages as an EROFS disk.
set -eu
mmdebstrap --quiet --variant=essential --include="$1" \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--aptopt='APT::Install-Recommends "false"' bookworm "$2/guest.tar"
mkdir "$2/guest"
tar -x -f "$2/guest.tar" -C "$2/guest"
mkfs.erofs -T0 "$2/disk" "$2/guest"
rm -rf "$2/guest" "$2/guest.tar"
cp "$2/disk" "$3.new"
rm "$2/disk"
mv "$3.new" "$3"
