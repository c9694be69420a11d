# SPDX-License-Identifier: Apache-2.0
#
# busybox: one static binary and its applets. The smallest useful image.

base_tree "$work/root"
busybox_tree "$work/root"
layer_add "$work/root" "busybox-static from Debian"

image_config '{
	"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
	"Cmd": ["sh"],
	"WorkingDir": "/",
	"Labels": {"org.opencontainers.image.title": "busybox"}
}'
