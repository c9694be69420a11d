# SPDX-License-Identifier: Apache-2.0
# In the guest: all of them, counted as one.
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; shift; printf '# %s\n' "$@"; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted '$3', got '$2'"; fi; }
like() { case $2 in *"$3"*) ok "$1" ;; *) not_ok "$1" "wanted '$3' in '$2'" ;; esac; }
until_is() { # until_is TEXT WANT COMMAND...: within a minute
	local text=$1 want=$2 got i
	shift 2
	for i in $(seq 600); do
		got=$("$@" 2>&1)
		[ "$got" != "$want" ] || break
		sleep 0.1
	done
	is "$text" "$got" "$want"
}
install -m 755 /hyb/hyb-runtime /usr/local/bin/hyb-runtime

# What containers run from: busybox only.
mkdir -p /img/bin /img/etc /img/tmp /img/root
cp /bin/busybox /img/bin/busybox
for a in $(busybox --list); do [ $a = busybox ] || ln -s busybox /img/bin/$a; done
printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/:/bin/sh\n' >/img/etc/passwd
printf 'root:x:0:\nu:x:1000:\n' >/img/etc/group
chmod 1777 /img/tmp
. /hyb/podman.sh
. /hyb/rootless.sh
echo "1..$n"
