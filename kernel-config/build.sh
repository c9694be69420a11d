#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh OUTDIR: builds the guest kernel and leaves there
#   vmlinux      stripped ELF with a PVH entry, for QEMU's -kernel
#   config       what it was built with
#   System.map   addresses to names, for traces (the kernel has no names)
# The result is cached by the hash of all that goes into it, in
# ${XDG_CACHE_HOME:-~/.cache}/hyb/kernel/HASH; the newest three are kept.
# A build that is interrupted leaves nothing that looks like a result.
# HYB_KERNEL_DEBUG=1 adds debug.config and leaves vmlinux.debug, for gdb.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

package=linux-source-6.12
tarball=/usr/src/$package.tar.xz
cached_kernels=3
max_size=$((18 * 1024 * 1024))	# the budget of a stripped vmlinux
usual_objects=1270		# for the progress line only

say() {
	echo "kernel: $*"
}

die() {
	echo "kernel: $*" >&2
	exit 1
}

[ $# -eq 1 ] || die "usage: build.sh OUTDIR"
outdir=$1
[ -f "$tarball" ] || die "$tarball is missing: install $package"
fragments=("$here/functional.config" "$here/hardening.config")
debug=${HYB_KERNEL_DEBUG:-0}
if [ "$debug" = 1 ]; then
	fragments+=("$here/debug.config")
fi

inputs_hash() {
	{
		cat "${fragments[@]}" "$here/build.sh" "$here/check.sh" \
			"$here/lib.sh" "$here"/patches/*.patch
		dpkg-query -W -f '${Package} ${Version}\n' "$package"
		gcc --version | head -n 1
		ld --version | head -n 1
	} | sha256sum | cut -c1-32
}

# Only what this configuration can reach is unpacked, and every Kconfig and
# Makefile: writing the rest would take as long as a tenth of the build.
unpack() {
	local dir exclude=()
	for dir in gpu media staging infiniband scsi usb iio sound \
		net/ethernet net/wireless net/dsa net/can hwmon \
		pinctrl mfd regulator crypto clk soc mtd nvme target \
		accel isdn w1 leds power; do
		exclude+=(--exclude="$package/drivers/$dir/*.[chS]")
	done
	for dir in alpha arc arm arm64 csky hexagon loongarch m68k \
		microblaze mips nios2 openrisc parisc powerpc riscv s390 \
		sh sparc um xtensa; do
		exclude+=(--exclude="$package/arch/$dir/*.[chS]"
			--exclude="$package/arch/$dir/*.dts*")
	done
	for dir in samples sound rust tools/testing tools/perf; do
		exclude+=(--exclude="$package/$dir/*.[chS]")
	done
	exclude+=(--exclude="$package/Documentation/*.rst"
		--exclude="$package/Documentation/*.txt"
		--exclude="$package/Documentation/*.yaml")
	mkdir "$1"
	tar -x -f "$tarball" -C "$1" --strip-components=1 "${exclude[@]}"
}

# kbuild TARGET...: the caller's make flags, compiler and sanitizers must
# not reach the kernel's make, so it starts from an empty environment. It dies
# with us, and does not hold our lock. Replaces the calling (sub)shell.
kbuild() {
	exec setpriv --pdeathsig TERM env -i PATH="$PATH" HOME="$HOME" LC_ALL=C \
		KBUILD_BUILD_USER=hyb KBUILD_BUILD_HOST=hyb \
		KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_TIMESTAMP="$(date -u -r "$work/src/Makefile")" \
		make -C "$work/src" O="$work/obj" ARCH=x86_64 \
		KCONFIG_ALLCONFIG="$work/wanted.config" "$@" 9>&-
}

# Runs kbuild with a progress line every ten seconds.
compile() {
	local start=$SECONDS done_objects
	kbuild -j"$(nproc)" vmlinux > "$work/log" 2>&1 &
	make_pid=$!
	while sleep 1 && kill -0 "$make_pid" 2>/dev/null; do
		if (((SECONDS - start) % 10 == 0)); then
			done_objects=$(grep -c '^  CC' "$work/log" || :)
			say "$done_objects of about $usual_objects objects," \
				"$((SECONDS - start)) s"
		fi
	done
	if ! wait "$make_pid"; then
		grep -m 5 -A 10 -E 'error:|Error |\*\*\*' "$work/log" >&2 ||
			tail -n 30 "$work/log" >&2
		die "the build failed"
	fi
	make_pid=
}

build() {	# DIR: an empty folder for the files
	say "unpacking $package" \
		"$(dpkg-query -W -f '${Version}' "$package")"
	unpack "$work/src"
	for patch in "$here"/patches/*.patch; do
		# No fuzz: a patch that no longer fits must be looked at.
		patch -d "$work/src" -p1 -F0 --quiet < "$patch" ||
			die "${patch##*/} does not apply"
	done
	wanted_options "${fragments[@]}" > "$work/wanted.config"
	(kbuild -s allnoconfig) > "$work/log" 2>&1 || {
		cat "$work/log" >&2
		die "allnoconfig failed"
	}
	"$here/check.sh" "$work/obj/.config" "${fragments[@]}"
	compile
	strip -o "$1/vmlinux" "$work/obj/vmlinux"
	cp "$work/obj/.config" "$1/config"
	cp "$work/obj/System.map" "$1/System.map"
	if [ "$debug" = 1 ]; then
		cp "$work/obj/vmlinux" "$1/vmlinux.debug"
		return
	fi
	(($(stat -c %s "$1/vmlinux") <= max_size)) ||
		die "vmlinux is larger than $max_size bytes"
	say "$(text_room "$1/System.map")"
}

# The linker gives the entry code 2 MiB pages of its own, so text in front
# of it takes memory in steps of 2 MiB. Says how far the next step is.
text_room() {
	local end entry
	end=$(sed -n 's/^ffffffff\(.*\) T __softirqentry_text_end$/\1/p' "$1")
	entry=$(sed -n 's/^ffffffff\(.*\) T __entry_text_start$/\1/p' "$1")
	echo "text ends $(((0x$entry - 0x$end) / 1024)) KiB before" \
		"$(((0x$entry - 0x81000000) / 1048576)) MiB"
}

# Called at every exit: whatever was begun and not finished goes away.
cleanup() {
	if [ -n "${make_pid:-}" ]; then
		kill "$make_pid" 2>/dev/null || :
		wait "$make_pid" 2>/dev/null || :
	fi
	rm -rf "${work:-}"
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/hyb/kernel
mkdir -p "$cache"
hash=$(inputs_hash)

# One build at a time: two would only take twice as long.
exec 9> "$cache/lock"
flock -n 9 || {
	say "waiting for another build"
	flock 9
}

if [ ! -d "$cache/$hash" ]; then
	# What a killed build left. Safe because we hold the lock.
	rm -rf "$cache"/tmp.*
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	trap cleanup EXIT
	trap 'exit 1' HUP INT TERM
	mkdir "$work/result"
	build "$work/result"
	mv -T "$work/result" "$cache/$hash"
	say "built in $SECONDS s"
fi
touch "$cache/$hash"
# shellcheck disable=SC2010
ls -t "$cache" | grep -xE '[0-9a-f]{32}' | tail -n +$((cached_kernels + 1)) |
	while read -r old; do
		rm -rf "${cache:?}/$old"
	done

mkdir -p "$outdir"
for path in "$cache/$hash"/*; do
	file=${path##*/}
	# Replaced whole: a VM that starts now sees the old or the new one.
	cmp -s "$path" "$outdir/$file" || {
		cp "$path" "$outdir/.$file.new"
		mv "$outdir/.$file.new" "$outdir/$file"
	}
done
touch "$outdir/vmlinux"	# it is up to date: make need not ask again
say "$outdir/vmlinux: $(stat -c %s "$outdir/vmlinux") bytes"
