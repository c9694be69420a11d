# SPDX-License-Identifier: Apache-2.0
# What the tests of other runtimes ask and nothing before this has shown: mount
# options of crun's, a mount in the place of the root, groups that are kept, their
# words. Sourced by tests.sh behind mounts.sh and spec.sh, whose bundles it uses.
proc=$PROC # those that follow spec.sh have another use for it
mkdir -p /run/links/dir
echo one >/run/links/dir/file
ln -sf /nowhere/at/all /run/links/broken
ln -sf /run/links/dir/file /run/links/good
dir_on() { echo "{\"destination\":\"$1\",\"type\":\"bind\",\"source\":\"/run/links/dir\",\"options\":[\"bind\",$2]}"; }
link_on() { echo "{\"destination\":\"$1\",\"type\":\"bind\",\"source\":\"/run/links/$2\",\"options\":[\"bind\"$3]}"; }
rm -rf $M/rootfs/a $M/rootfs/target
m_is "copy-symlink: the link is made again, with its folders" "/nowhere/at/all" 'readlink /a/sym/link' mounts="$(link_on /a/sym/link broken ',"copy-symlink"')"
m_is "copy-symlink: one that says the same will do" "/nowhere/at/all" 'readlink /a/sym/link' mounts="$(link_on /a/sym/link broken ',"copy-symlink"')"
m_refused "copy-symlink: one that says something else does not" "mount: '/a/sym/link': File exists" mounts="$(link_on /a/sym/link good ',"copy-symlink"')"
m_is "copy-symlink: what is no link is bound" one 'cat /x/file' mounts="$(dir_on /x '"copy-symlink"')"
ln -sfn /run/links $M/rootfs/out
m_refused "copy-symlink: not by a link of the image that leads out" "mount: '/out/new': No such file" mounts="$(link_on /out/new broken ',"copy-symlink"')"
is "and nothing is made there" "$(ls /run/links/new 2>/dev/null)" ""
ln -sfn point-to-nowhere $M/rootfs/target
m_is "src-nofollow and dest-nofollow: the link itself, on a link" /run/links/dir/file 'readlink /target' mounts="$(link_on /target good ',"src-nofollow","dest-nofollow"')"
m_is "dest-nofollow: a file on a link" one 'cat /target' mounts="$(link_on /target good ',"dest-nofollow"')"
m_is "both in a user namespace" "/run/links/dir/file" 'readlink /target' ns="$(no_ns none),{\"type\":\"user\"}" lx="$MAPS" mounts="$(link_on /target good ',"src-nofollow","dest-nofollow"')"
m_is "dest-nofollow: a file where nothing is" one 'cat /new/place' mounts="$(link_on /new/place good ',"dest-nofollow"')"
m_is "dest-nofollow: a folder, too" one 'cat /new/dir/file' mounts="$(dir_on /new/dir '"dest-nofollow"')"
m_refused "dest-nofollow: not on the kernel's own links" "mount: '/proc/self': Too many levels" mounts="$(link_on /proc/self good ',"src-nofollow","dest-nofollow"')"
m_refused "dest-nofollow: a folder is not mounted on a link" "mount: '/target'" mounts="$(dir_on /target '"dest-nofollow"')"
m_refused "src-nofollow is for a bind" "mounts[1]: option 'src-nofollow' of '/x' is for a bind" mounts="$(tmp_on /x '"src-nofollow"')"
is "the links are as they were" "$(readlink /run/links/good) $(readlink $M/rootfs/target) $(cat /run/links/dir/file)" "/run/links/dir/file point-to-nowhere one"
rm -rf $M/rootfs/out $M/rootfs/target $M/rootfs/new $M/rootfs/a

# A mount in the place of the root.
m_proc=$proc
mkdir -p /run/other/bin /run/other/proc
mount -t tmpfs other /run/other
mkdir -p /run/other/bin /run/other/proc
cp /bin/busybox /run/other/bin/sh
echo 'echo other /bin/* $$' >/run/other/s
proc="{\"destination\":\"/\",\"type\":\"bind\",\"source\":\"/run/other\",\"options\":[\"bind\"]},$m_proc"
m_is "a bind in the place of the root" "other /bin/sh 1" true
proc="{\"destination\":\"/\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"tmpcopyup\",\"size=8m\"]},$m_proc"
m_is "a tmpfs in the place of the root, as a copy" "tmpfs 1" 'touch /new; echo $(stat -f -c %T /) $$'
is "and the folder is as it was" "$(ls $M/rootfs/new 2>/dev/null)" ""
m_is "read-only" "ro" 'touch /new 2>/dev/null || echo ro' root='"path":"rootfs","readonly":true'
m_is "the old root is gone: the root, /dev and /proc are all" "3 ." 'echo $(wc -l </proc/self/mountinfo) $(ls -d /../s >/dev/null && echo .)'
proc=$m_proc
umount /run/other

# Their words.
unified() { refused "unified: $1" "$2" lx=",\"resources\":{\"unified\":{\"$3\":\"1\"}}"; }
unified "a controller that is not there" 'the requested cgroup controller `foo` is not available' foo.bar
unified "what names none" 'the specified key has not the form CONTROLLER.VALUE `NOT-A-KEY`' NOT-A-KEY
for w in copy-symlink src-nofollow dest-nofollow rro rslave; do
	like "features has $w" "$($RT features)" "\"$w\""
done
out=$($RT --log /no/such/log list 2>&1)
like "a log that cannot be written" "$? $out" "1 hyb-runtime: --log: '/no/such/log': No such file"
out=$($RT --log syslog:x list 2>&1)
like "a log that is no file" "$? $out" "1 hyb-runtime: --log: 'syslog:x': only a file"
full 'sleep 1000' top=",\"hooks\":{\"poststart\":[{\"path\":\"/bin/true\"},{\"path\":\"/bin/false\"}],\"poststop\":[{\"path\":\"/bin/touch\",\"args\":[\"touch\",\"/run/poststop\"]}]}"
is "a poststart that fails is an error, and ends the container" "$st" 1
like "which names it" "$err" "error running poststart hook #1: hooks.poststart[1]: '/bin/false'"
is "poststop runs when it is deleted" "$(ls /run/poststop)" /run/poststop

mkdir -p /run/linked/bin
cp /bin/busybox /run/linked/bin/sh
ln -sfn /symlink /run/linked/proc
full true && sed -i 's#"path":"rootfs"#"path":"/run/linked"#' $FULL/config.json
out=$($RT run -b $FULL f1 2>&1)
like "/proc of the image that is a link" "$? $out" "'/proc: must be mounted on ordinary directory'"
full true && sed -i 's#/bin/sh#/bin/true#' $FULL/config.json
$RT run --keep -b $FULL f1 </dev/null >/dev/null 2>&1
is "ps of one that has ended" "$($RT ps f1 >/run/out 2>&1; echo $?) $($RT ps -f json f1 2>&1)" "0 []"
$RT delete f1

# crun's annotations.
full 'id -G'
sed -i 's#"ociVersion"#"annotations":{"run.oci.keep_original_groups":"1"},&#' $FULL/config.json
is "run.oci.keep_original_groups" "$(/bin/probe groups 7,8 $RT run -b $FULL f1 2>&1)" "0 7 8"
sed -i 's#keep_original_groups":"1"#keep_original_groups":"0"#' $FULL/config.json
is "without it they go" "$(/bin/probe groups 7,8 $RT run -b $FULL f1 2>&1)" 0
sed -i 's#keep_original_groups":"0"#keep_original_groups":"maybe"#' $FULL/config.json
like "which is 1 or 0" "$($RT run -b $FULL f1 2>&1)" "annotations: run.oci.keep_original_groups: must be"
sed -i 's#"run.oci.keep_original_groups":"maybe"#"run.oci.pidfd_receiver":"/run/p4.sock"#; s#"id -G"#"sleep 1000"#' $FULL/config.json
timeout 60 /bin/probe pidfd-listen /run/p4.sock >/run/told &
i=0; while [ $i -lt 3000 ] && [ ! -S /run/p4.sock ]; do usleep 20000; i=$((i + 1)); done
$RT run -d -b $FULL f1 >/run/out 2>&1 </dev/null
wait $!
is "run.oci.pidfd_receiver" "$(cat /run/told /run/out)" "$($RT state f1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')"
$RT delete -f f1
