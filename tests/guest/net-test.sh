#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# host-agent/net with real packets: net_test.py plays the guests behind the
# taps; mount and network namespaces of its own play the host.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=build/default

skip_all() {
	echo "ok 1 - net # SKIP $1"
	echo "1..1"
	exit 0
}
[ "$(id -u)" = 0 ] || skip_all "host: needs root"
[ -e /dev/net/tun ] || skip_all "host: no /dev/net/tun"
[ -x /usr/sbin/dnsmasq ] || skip_all "no dnsmasq (make deps)"
command -v nft >/dev/null || skip_all "no nft (make deps)"

root=$(mktemp -d /tmp/hn.XXXX)
trap 'rm -rf "$root"' EXIT
make -s "$build/libhost.a" "$build/libcommon.a" >/dev/null 2>&1
gcc -std=gnu17 -D_GNU_SOURCE -I. -O1 -g -o "$root/net-ctl" tests/guest/net-ctl.c \
	-Wl,--start-group "$build/libhost.a" "$build/libcommon.a" \
	-Wl,--end-group -lnftables -lnl-3 -ljansson -lpthread ||
	{ echo "Bail out! net-ctl cannot be built"; exit 1; }
unshare -mn --propagation private python3 -B tests/guest/net_test.py \
	"$root/net-ctl" "$PWD/$build/bin/hyb-dhcpd" "$root/root"
