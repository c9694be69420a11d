#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install` puts down works from there, and `make uninstall` takes
# it away.
. "$(dirname "$0")/lib.sh"
D=$WORK/inst
check "make install" make -s install DESTDIR="$D" PREFIX=/usr
export PATH=$D/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin
is "hyb is the installed one" "$(command -v hyb)" "$D/usr/bin/hyb"
printf 'hyb: 1\nname: s\nvms:\n  v:\n    containers:\n      c: { image: busybox, command: sleep 100, init: true }\n' >"$WORK/s.yaml"
load_images
check "deploy" hyb deploy "$WORK/s.yaml"
is "exec" "$(hyb exec s -- echo yes)" yes
like "hybd is the installed one" "$(readlink "/proc/$(hybd_pid)/exe")" "^$D/usr/libexec/hyb/hybd$"
check "down" hyb down s
check "bash can read the completion" bash -n "$D/usr/share/bash-completion/completions/hyb"
like "the man page" "$(cat "$D/usr/share/man/man1/hyb.1")" 'hyb deploy|hyb \\- '
check "make uninstall" make -s uninstall DESTDIR="$D" PREFIX=/usr
is "nothing is left" "$(find "$D" -type f | wc -l)" 0
