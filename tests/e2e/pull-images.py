#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images whose layers have bytes that do not compress, as an OCI layout "l" here.

Lines of the input are "NAME LAYER...", a layer being "KIB:SEED": the same
bytes where both are the same. Also makes a file NAME with a line for each
layer: the digits of its digest."""
import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile


def layer(kib, seed):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo("f%d" % seed); i.size = kib << 10
        t.addfile(i, io.BytesIO(random.Random(seed).randbytes(i.size)))
    return b.getvalue()


def put(b, kind):
    h = hashlib.sha256(b).hexdigest()
    open("l/blobs/sha256/" + h, "wb").write(b)
    return dict(mediaType="application/vnd.oci.image." + kind, digest="sha256:" + h, size=len(b))


os.makedirs("l/blobs/sha256", exist_ok=True)
index = []
for line in sys.stdin:
    name, *sizes = line.split()
    tars = [layer(*map(int, s.split(":"))) for s in sizes]
    layers = [put(gzip.compress(t, 1, mtime=0), "layer.v1.tar+gzip") for t in tars]
    open(name, "w").write("".join(x["digest"][7:] + "\n" for x in layers))
    c = put(json.dumps(dict(architecture="amd64", os="linux", config=dict(Env=["NAME=" + name]), rootfs=dict(type="layers", diff_ids=["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]))).encode(), "config.v1+json")
    m = put(json.dumps(dict(schemaVersion=2, mediaType="application/vnd.oci.image.manifest.v1+json", config=c, layers=layers)).encode(), "manifest.v1+json")
    index.append(dict(m, annotations={"org.opencontainers.image.ref.name": name}))
json.dump(dict(schemaVersion=2, manifests=index), open("l/index.json", "w"))
open("l/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
