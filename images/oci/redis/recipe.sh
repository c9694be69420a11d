# SPDX-License-Identifier: Apache-2.0
#
# redis: Debian's server with its tools, as a user of its own; data in /data.

base_tree "$work/base"
busybox_tree "$work/base"
deb_unpack "$work/base" libc6 libgcc-s1 libstdc++6 libatomic1 libssl3 \
	libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 \
	libzstd1 libjemalloc2 liblua5.1-0 liblzf1 libhiredis0.14 lua-bitop \
	lua-cjson
rm -rf "$work/base/etc/ld.so.conf.d"
echo 'redis:x:999:999:redis:/data:/bin/false' >>"$work/base/etc/passwd"
echo 'redis:x:999:' >>"$work/base/etc/group"
layer_add "$work/base" "busybox and libraries from Debian"

deb_unpack "$work/redis.deb" redis-server redis-tools
app=$work/app
mkdir -p "$app/usr/bin" "$app/usr/share/doc" "$app/data"
# A volume that is mounted there takes its mode over.
chmod 1777 "$app/data"
cp -a "$work"/redis.deb/usr/bin/redis-* "$app/usr/bin/"
cp -R "$work/redis.deb/usr/share/doc/redis-tools" "$app/usr/share/doc/"
layer_add "$app" "redis from Debian"

image_config '{
	"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
	"Cmd": ["redis-server", "--dir", "/data", "--appendonly", "yes", "--save", ""],
	"WorkingDir": "/data",
	"ExposedPorts": {"6379/tcp": {}},
	"Volumes": {"/data": {}},
	"Labels": {"org.opencontainers.image.title": "redis"}
}'
