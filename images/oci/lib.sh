# SPDX-License-Identifier: Apache-2.0
#
# What the recipes are made of. A recipe is a shell script that is sourced
# with $work (scratch) and $here (this folder) set, and calls, in this order:
#
#   deb_unpack DIR PACKAGE...   the packages' files into DIR, without what a
#                               container never reads
#   layer_add DIR COMMENT       DIR becomes the next layer
#   image_config JSON           the "config" object of the image

die() {
	echo "images/oci: $*" >&2
	exit 1
}

recipes() {
	for r in "$here"/*/recipe.sh; do
		basename "$(dirname "$r")"
	done | tr '\n' ' ' | sed 's/ $//'
}

# --- Packages -----------------------------------------------------------

deb_cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyb/debs

deb_matches() {	# FILE SHA256: FILE is there and is what apt expects
	[ -f "$1" ] && echo "$2  $1" | sha256sum -c --status
}

# Prints the path of PACKAGE's .deb, fetched when it is not in the cache.
# Without package lists the newest cached one has to do.
deb_fetch() {
	mkdir -p "$deb_cache"
	uri=$(cd "$deb_cache" &&
		apt-get download --print-uris "$1" 2>/dev/null | tail -n 1) ||
		uri=
	if [ -z "$uri" ]; then
		deb=$(ls -t "$deb_cache/$1"_*.deb 2>/dev/null | head -n 1)
		[ -n "$deb" ] || die "package '$1' is unknown to apt and not" \
			"in $deb_cache (run apt-get update)"
		echo "$deb"
		return
	fi
	file=$(echo "$uri" | cut -d' ' -f2)
	sha=${uri##*SHA256:}
	if ! deb_matches "$deb_cache/$file" "$sha"; then
		echo "images/oci: fetching $1" >&2
		part=$(mktemp -d "$deb_cache/part.XXXXXX")
		(cd "$part" && apt-get -qq -o APT::Sandbox::User=root \
			download "$1" >&2) || {
			rm -rf "$part"
			die "cannot fetch package '$1'"
		}
		deb_matches "$part/$file" "$sha" ||
			die "package '$1': checksum mismatch"
		mv "$part/$file" "$deb_cache/$file"
		rmdir "$part"
	fi
	echo "$deb_cache/$file"
}

# Raises $epoch to the time at which DEB was built.
deb_epoch() {
	t=$(dpkg-deb --ctrl-tarfile "$1" |
		TZ=UTC tar -tv --full-time ./control | awk '{ print $4 " " $5 }')
	t=$(date -u -d "$t" +%s)
	if [ "$t" -gt "$epoch" ]; then
		epoch=$t
	fi
}

deb_unpack() {
	dir=$1
	shift
	mkdir -p "$dir"
	for pkg in "$@"; do
		deb=$(deb_fetch "$pkg")
		deb_epoch "$deb"
		# Copyright files stay: the licences ask for it.
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" \
			--no-same-owner --keep-directory-symlink \
			--exclude='./usr/share/man' \
			--exclude='./usr/share/locale' \
			--exclude='./usr/share/lintian' \
			--exclude='./usr/share/bug' \
			--exclude='./usr/share/doc/*/[!c]*' \
			--exclude='./usr/share/doc/*/changelog*' \
			--exclude='./usr/lib/*/gconv' \
			--exclude='./usr/lib/*/ossl-modules' \
			--exclude='./usr/lib/*/engines-3'
	done
}

# --- Image --------------------------------------------------------------

image_init() {
	layout=$work/layout
	epoch=0
	mkdir -p "$layout/blobs/sha256"
	: > "$work/layers"	# lines: DIR, tab, comment
	config='{}'
}

layer_add() {
	printf '%s\t%s\n' "$1" "$2" >> "$work/layers"
}

image_config() {
	config=$1
}

# tar_write DIR OUT: the same tree gives the same archive.
tar_write() {
	tar -c -f "$2" -C "$1" --format=gnu --sort=name --mtime="@$epoch" \
		--owner=0 --group=0 --numeric-owner .
}

# blob_add FILE: moves FILE among the blobs, prints its digest and size.
blob_add() {
	sum=$(sha256sum "$1" | cut -d' ' -f1)
	size=$(stat -c %s "$1")
	mv "$1" "$layout/blobs/sha256/$sum"
	echo "sha256:$sum $size"
}

# descriptor MEDIA_TYPE DIGEST SIZE
descriptor() {
	jq -cn --arg m "$1" --arg d "$2" --argjson s "$3" \
		'{mediaType: $m, digest: $d, size: $s}'
}

image_write() {
	ref=$1
	dest=$2
	created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
	tab=$(printf '\t')
	: > "$work/diff_ids"
	: > "$work/descriptors"
	: > "$work/history"
	while IFS=$tab read -r dir comment; do
		tar_write "$dir" "$work/layer.tar"
		sum=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
		echo "\"sha256:$sum\"" >> "$work/diff_ids"
		gzip -n -6 "$work/layer.tar"
		added=$(blob_add "$work/layer.tar.gz")
		descriptor application/vnd.oci.image.layer.v1.tar+gzip \
			$added >> "$work/descriptors"
		jq -cn --arg t "$created" --arg c "$comment" \
			'{created: $t, created_by: $c}' >> "$work/history"
	done < "$work/layers"

	jq -cn --arg t "$created" --argjson config "$config" \
		--slurpfile ids "$work/diff_ids" \
		--slurpfile history "$work/history" \
		'{created: $t, architecture: "amd64", os: "linux",
		  config: $config,
		  rootfs: {type: "layers", diff_ids: $ids},
		  history: $history}' > "$work/config.json"
	added=$(blob_add "$work/config.json")
	config_desc=$(descriptor application/vnd.oci.image.config.v1+json $added)

	jq -cn --argjson config "$config_desc" \
		--slurpfile layers "$work/descriptors" \
		'{schemaVersion: 2,
		  mediaType: "application/vnd.oci.image.manifest.v1+json",
		  config: $config, layers: $layers}' > "$work/manifest.json"
	added=$(blob_add "$work/manifest.json")
	descriptor application/vnd.oci.image.manifest.v1+json $added |
		jq -c --arg ref "$ref" \
		'{schemaVersion: 2,
		  mediaType: "application/vnd.oci.image.index.v1+json",
		  manifests: [. + {
			platform: {architecture: "amd64", os: "linux"},
			annotations: {"org.opencontainers.image.ref.name": $ref}
		  }]}' > "$layout/index.json"
	printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"

	mkdir -p "$(dirname "$dest")"
	tar_write "$layout" "$dest.tmp"
	mv "$dest.tmp" "$dest"
	echo "images/oci: $ref: $(stat -c %s "$dest") bytes," \
		"$(wc -l < "$work/layers") layers"
}

# --- Pieces that more than one recipe uses -------------------------------

# base_tree DIR: users, groups and the directories every root has.
base_tree() {
	mkdir -p "$1/dev" "$1/proc" "$1/sys" "$1/run" "$1/etc" "$1/tmp" \
		"$1/root" "$1/home" "$1/var/tmp" "$1/var/log" "$1/bin" \
		"$1/sbin" "$1/usr/bin" "$1/usr/sbin"
	chmod 1777 "$1/tmp" "$1/var/tmp"
	chmod 0700 "$1/root"
	cat > "$1/etc/passwd" <<-'END'
	root:x:0:0:root:/root:/bin/sh
	daemon:x:1:1:daemon:/usr/sbin:/bin/false
	www-data:x:33:33:www-data:/var/www:/bin/false
	nobody:x:65534:65534:nobody:/nonexistent:/bin/false
	END
	cat > "$1/etc/group" <<-'END'
	root:x:0:
	daemon:x:1:
	tty:x:5:
	www-data:x:33:
	nogroup:x:65534:
	END
	echo 'hosts: files dns' > "$1/etc/nsswitch.conf"
}

# busybox_tree DIR: Debian's static busybox and a link for each applet.
busybox_tree() {
	deb_unpack "$1" busybox-static
	rm -rf "$1/usr/share/initramfs-tools"
	for path in $("$1/bin/busybox" --list-full); do
		if [ "$path" != bin/busybox ]; then
			mkdir -p "$1/$(dirname "$path")"
			ln -sf /bin/busybox "$1/$path"
		fi
	done
}
