# SPDX-License-Identifier: Apache-2.0
#
# postgresql: Debian's server and client, without its JIT. The first start
# makes the cluster in $PGDATA; local connections are trusted, as everything
# that can make one is in this VM.

base_tree "$work/base"
busybox_tree "$work/base"
deb_unpack "$work/base" libc6 libgcc-s1 libstdc++6 libcrypt1 zlib1g libssl3 \
	libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 \
	libzstd1 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 \
	libcom-err2 libkeyutils1 libicu72 libldap-2.5-0 libsasl2-2 libpam0g \
	libaudit1 libcap-ng0 libselinux1 libpcre2-8-0 libuuid1 libxml2 \
	libxslt1.1 libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 \
	libnettle8 libhogweed6 libgmp10 libffi8 libtinfo6 libreadline8 \
	libpq5 tzdata
rm -rf "$work/base/etc/ld.so.conf.d"
echo 'postgres:x:70:70:postgres:/var/lib/postgresql:/bin/sh' \
	>>"$work/base/etc/passwd"
echo 'postgres:x:70:' >>"$work/base/etc/group"
layer_add "$work/base" "busybox and libraries from Debian"

app=$work/app
deb_unpack "$app" postgresql-15 postgresql-client-15
rm -rf "$app"/usr/lib/postgresql/15/lib/bitcode \
	"$app"/usr/lib/postgresql/15/lib/llvmjit*
mkdir -p "$app/var/lib/postgresql/data" "$app/usr/local/bin" "$app/run/postgresql"
ln -s /run "$app/var/run"
chmod 1777 "$app/run/postgresql" "$app/var/lib/postgresql/data"
for p in postgres initdb psql pgbench pg_isready pg_ctl pg_dump; do
	ln -s "/usr/lib/postgresql/15/bin/$p" "$app/usr/local/bin/$p"
done
cat >"$app/usr/local/bin/start" <<'EOF'
#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	rm -rf "$PGDATA.new"
	initdb -D "$PGDATA.new" -A trust --no-locale -E UTF8 --no-sync
	sync
	mv "$PGDATA.new" "$PGDATA"
fi
exec postgres -D "$PGDATA" "$@"
EOF
chmod 755 "$app/usr/local/bin/start"
layer_add "$app" "PostgreSQL from Debian"

image_config '{
	"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"PGDATA=/var/lib/postgresql/data/main", "LANG=C.UTF-8"],
	"Cmd": ["start"],
	"User": "postgres",
	"WorkingDir": "/var/lib/postgresql",
	"ExposedPorts": {"5432/tcp": {}},
	"Volumes": {"/var/lib/postgresql/data": {}},
	"StopSignal": "SIGINT",
	"Labels": {"org.opencontainers.image.title": "postgresql"}
}'
