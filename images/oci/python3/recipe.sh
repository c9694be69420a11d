# SPDX-License-Identifier: Apache-2.0
#
# python3: Debian's Python with its standard library.

base_tree "$work/base"
busybox_tree "$work/base"
deb_unpack "$work/base" libc6 libgcc-s1 libcrypt1 libexpat1 zlib1g libssl3 \
	libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libncursesw6 \
	libtinfo6 libreadline8 libdb5.3 libnsl2 libtirpc3 libgssapi-krb5-2 \
	libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1
rm -rf "$work/base/etc/ld.so.conf.d"
layer_add "$work/base" "busybox and libraries from Debian"

deb_unpack "$work/app" python3.11-minimal libpython3.11-minimal \
	libpython3.11-stdlib
ln -s python3.11 "$work/app/usr/bin/python3"
layer_add "$work/app" "Python from Debian"

image_config '{
	"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
	"Cmd": ["python3"],
	"WorkingDir": "/",
	"Labels": {"org.opencontainers.image.title": "python3"}
}'
