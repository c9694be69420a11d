#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh NAME OUT.tar: makes an example OCI image, as an oci-archive, from
# Debian packages. No registry, no root, no daemon. The same packages give
# the same bytes: the times inside are those of the newest package.
#
# Packages are kept in ${XDG_CACHE_HOME:-~/.cache}/hyb/debs; once they are
# there no network is used.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

[ $# -eq 2 ] || die "usage: build.sh NAME OUT.tar (NAME: $(recipes))"
name=$1
out=$2
[ -f "$here/$name/recipe.sh" ] || die "no recipe '$name' (there are: $(recipes))"

work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-oci.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
umask 022

image_init
. "$here/$name/recipe.sh"
image_write "$name:latest" "$out"
