#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs hyb-image as hybd does (host-agent/image/convert/job.h) and measures it.

usage: image_convert.py HYB_IMAGE LAYOUT OUT
Prints: seconds, peak resident KiB, bytes written, layer bytes uncompressed."""
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time


def layers_of(layout):
    def blob(digest):
        return os.path.join(layout, "blobs", *digest.split(":"))

    with open(os.path.join(layout, "index.json")) as f:
        digest = json.load(f)["manifests"][0]["digest"]
    with open(blob(digest)) as f:
        manifest = json.load(f)
    with open(blob(manifest["config"]["digest"])) as f:
        diff_ids = json.load(f)["rootfs"]["diff_ids"]
    return [(blob(l["digest"]), l["size"], l["digest"][7:], d[7:])
            for l, d in zip(manifest["layers"], diff_ids)]


def watch(pid, peak):
    """The kernel's own high-water mark, as last seen before the end."""
    while True:
        try:
            with open(f"/proc/{pid}/status") as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        peak[0] = max(peak[0], int(line.split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.004)


def main():
    program, layout, out = sys.argv[1:4]
    layers = layers_of(layout)
    uuid = hashlib.sha256(b"bench").hexdigest()[:32]
    fd = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ids = ["--uid", "64999", "--gid", "64999"] if os.geteuid() == 0 else []
    start = time.monotonic()
    child = subprocess.Popen([program, "convert", *ids], stdin=theirs,
                             stdout=subprocess.PIPE)
    peak = [0]
    watcher = threading.Thread(target=watch, args=(child.pid, peak),
                               daemon=True)
    watcher.start()
    theirs.close()
    socket.send_fds(ours, [f"out {uuid} 0".encode()], [fd])
    for path, size, digest, diff_id in layers:
        layer = os.open(path, os.O_RDONLY)
        socket.send_fds(ours, [f"layer 0 {size} {digest} {diff_id}".encode()],
                        [layer])
        os.close(layer)
    ours.send(b"go")
    last = child.stdout.read().splitlines()[-1]
    status = child.wait()
    seconds = time.monotonic() - start
    answer = json.loads(last)
    if status != 0 or "result" not in answer:
        sys.exit(f"hyb-image: status {status}: {answer}")
    print(f"{seconds:.3f} {peak[0]} {answer['result']['bytes']}")


main()
