# SPDX-License-Identifier: Apache-2.0
#
# nginx: Debian's web server with the libraries it is linked to, as two
# layers: what it runs on, and nginx itself. Runs as root of its container
# (workers become www-data) or as any other user who may bind the port.

base_tree "$work/base"
busybox_tree "$work/base"
deb_unpack "$work/base" libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g
rm -rf "$work/base/etc/ld.so.conf.d"
layer_add "$work/base" "busybox and libraries from Debian"

deb_unpack "$work/nginx.deb" nginx nginx-common
app=$work/app
mkdir -p "$app/usr/sbin" "$app/etc/nginx" "$app/usr/share/doc" \
	"$app/var/www/html"
cp "$work/nginx.deb/usr/sbin/nginx" "$app/usr/sbin/nginx"
cp "$work/nginx.deb/etc/nginx/mime.types" "$app/etc/nginx/mime.types"
cp -R "$work/nginx.deb/usr/share/doc/nginx-common" "$app/usr/share/doc/"
cp "$here/nginx/nginx.conf" "$app/etc/nginx/nginx.conf"
cp "$here/nginx/index.html" "$app/var/www/html/index.html"
layer_add "$app" "nginx from Debian"

image_config '{
	"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
	"Entrypoint": ["nginx"],
	"Cmd": ["-e", "stderr", "-g", "daemon off;"],
	"WorkingDir": "/",
	"ExposedPorts": {"80/tcp": {}},
	"StopSignal": "SIGQUIT",
	"Labels": {"org.opencontainers.image.title": "nginx"}
}'
