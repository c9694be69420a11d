#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# images-test.sh: the example images and the initramfs are built twice and
# must be the same bytes; the archives must be what the OCI image layout asks
# for. Prints TAP. Needs Debian's packages in the cache or a network.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
number=0
failed=0

work=$(mktemp -d "${TMPDIR:-/tmp}/hyb-images-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

check() {	# NAME COMMAND...
	local name=$1
	shift
	number=$((number + 1))
	if "$@"; then
		echo "ok $number - $name"
	else
		failed=$((failed + 1))
		echo "not ok $number - $name"
	fi
}

digests_match() {	# LAYOUT: every blob is what its name says
	(cd "$1/blobs/sha256" && for blob in *; do
		echo "$blob  $blob"
	done | sha256sum -c --quiet)
}

# LAYOUT DIGEST: the blob's content
blob() {
	cat "$1/blobs/sha256/${2#sha256:}"
}

# LAYOUT: the layers, unpacked, are what the configuration lists.
diff_ids_match() {
	local manifest config layer got=() want=()
	manifest=$(blob "$1" "$(jq -r '.manifests[0].digest' "$1/index.json")")
	config=$(blob "$1" "$(jq -r .config.digest <<< "$manifest")")
	for layer in $(jq -r '.layers[].digest' <<< "$manifest"); do
		got+=("sha256:$(blob "$1" "$layer" | gzip -dc | sha256sum |
			cut -d' ' -f1)")
	done
	mapfile -t want < <(jq -r '.rootfs.diff_ids[]' <<< "$config")
	[ "${got[*]}" = "${want[*]}" ]
}

no_foreign_owner() {	# LAYOUT: every entry belongs to root
	local layer
	for layer in "$1"/blobs/sha256/*; do
		if gzip -t "$layer" 2>/dev/null; then
			! tar -tvzf "$layer" --numeric-owner |
				grep -qv ' 0/0 ' || return 1
		fi
	done
}

image() {	# NAME LAYERS
	local name=$1 layers=$2 layout=$work/$1
	"$root/images/oci/build.sh" "$name" "$work/1.tar" > "$work/log" 2>&1 &&
		"$root/images/oci/build.sh" "$name" "$work/2.tar" \
			>> "$work/log" 2>&1
	check "$name: is built" test -s "$work/2.tar"
	sed 's/^/# /' "$work/log"
	check "$name: twice the same bytes" cmp "$work/1.tar" "$work/2.tar"
	mkdir "$layout"
	tar -xf "$work/1.tar" -C "$layout"
	check "$name: is an image layout" grep -q '"1.0.0"' "$layout/oci-layout"
	check "$name: carries its name" test "$name:latest" = "$(jq -r \
		'.manifests[0].annotations["org.opencontainers.image.ref.name"]' \
		"$layout/index.json")"
	check "$name: digests are right" digests_match "$layout"
	check "$name: layers are those of the configuration" \
		diff_ids_match "$layout"
	check "$name: everything belongs to root" no_foreign_owner "$layout"
	check "$name: has $layers layers" test "$layers" -eq "$(blob "$layout" \
		"$(jq -r '.manifests[0].digest' "$layout/index.json")" |
		jq '.layers | length')"
	rm -f "$work/1.tar" "$work/2.tar"
}

initramfs() {
	local one=$work/1.cpio two=$work/2.cpio
	"$root/images/guest/build.sh" /bin/busybox "$one"
	touch -d 2001-01-01 "$work"
	"$root/images/guest/build.sh" /bin/busybox "$two"
	check "initramfs: twice the same bytes" cmp "$one" "$two"
	check "initramfs: holds what it should" test \
		"$(cpio -t --quiet < "$one" | tr '\n' ' ')" = \
		"dev dev/console dev/null proc run sys tmp init "
	check "initramfs: the program is whole" cmp /bin/busybox \
		<(cpio -i --quiet --to-stdout init < "$one")
	truncate -s 3M "$work/large"
	check "initramfs: a program that is too large is refused" \
		test "$("$root/images/guest/build.sh" "$work/large" \
			"$work/large.cpio" 2>/dev/null; echo $?)" -eq 1
	check "initramfs: and leaves no file" test ! -e "$work/large.cpio"
}

unknown() {
	check "an unknown image is refused" test "$("$root/images/oci/build.sh" \
		none "$work/none.tar" 2>/dev/null; echo $?)" -eq 1
}

image busybox 1
image nginx 2
initramfs
unknown
echo "1..$number"
exit $((failed > 0))
