#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Do includes point down only? Each folder may include itself and what is listed.
cd "$(dirname "$0")/.." || exit 2
below() {
	case $1 in
	common/base) echo ;;
	common/varlink) echo common/base ;;
	common/oci) echo common/base ;;
	common/tree) echo common/base ;;
	host-agent/model) echo common ;;
	host-agent/manifest) echo common host-agent/model ;;
	host-agent/plan) echo common host-agent/model ;;
	host-agent/state | host-agent/tenant) echo common host-agent/model ;;
	host-agent/image | host-agent/image/convert | host-agent/disk | host-agent/virt | host-agent/net | host-agent/guest) echo common ;;
	host-agent/vsockd | host-agent/portd | host-agent/fsd | host-agent/dhcpd) echo common ;;
	host-agent/volume | host-agent/secret) echo common host-agent/state ;;
	host-agent/reconcile) echo common host-agent/model host-agent/plan host-agent/state host-agent/volume host-agent/secret host-agent/tenant host-agent/image host-agent/disk host-agent/virt host-agent/net host-agent/guest ;;
	host-agent/api) echo common host-agent/manifest host-agent/model host-agent/plan host-agent/state host-agent/volume host-agent/secret host-agent/tenant host-agent/image host-agent/disk host-agent/virt host-agent/net host-agent/guest host-agent/reconcile ;;
	host-agent/hybd) echo common host-agent/api ;;
	host-agent/cli) echo common host-agent/manifest host-agent/model host-agent/image/convert ;;
	guest-agent/sys) echo common ;;
	guest-agent/container) echo common guest-agent/sys ;;
	guest-agent/rpc | guest-agent/init | guest-agent/runtime) echo common guest-agent/sys guest-agent/container guest-agent/rpc guest-agent/init ;;
	*) echo unknown ;;
	esac
}
bad=0
while IFS=: read -r file _ line; do
	inc=$(printf %s "$line" | sed -n 's/.*#include "\([^"]*\)".*/\1/p')
	dir=$(dirname "$file") idir=$(dirname "$inc")
	[ "$dir" = "$idir" ] && continue
	ok=
	for b in $(below "$dir"); do
		case $idir/ in "$b"/*) ok=1 ;; esac
	done
	[ -n "$ok" ] || { echo "$file includes $inc"; bad=1; }
done < <(grep -rn '#include "' --include='*.[ch]' common host-agent guest-agent)
if [ $bad = 0 ]; then echo "ok 1 - includes point down only"; else echo "not ok 1 - includes point down only"; fi
exit $bad
