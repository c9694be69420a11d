#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes an image of one layer as the code on standard input says, for
test_image_documents.c.

usage: image_edit.py DIR < CODE
The code may change `config`, `manifest` and `index` (each gets the digests of
what it refers to afterwards, unless it is bytes), or fill in `files` (name ->
bytes of the layout) and `archive` (entries of DIR/image.tar, in place of the
layout DIR/image)."""
import hashlib
import io
import json
import os
import sys
import tarfile

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker.distribution."
top = sys.argv[1]
root = os.path.join(top, "image")
files, archive, later = {}, [], []


def text(doc):
    return doc if isinstance(doc, bytes) else json.dumps(doc).encode()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put(data, media=OCI + "layer.v1.tar", **more):
    """A blob; its descriptor."""
    data = text(data)
    files["blobs/sha256/" + digest(data)[7:]] = data
    return dict(mediaType=media, digest=digest(data), size=len(data), **more)


def layer(name="x", data=b"1"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        i = tarfile.TarInfo(name)
        i.size = len(data)
        t.addfile(i, io.BytesIO(data))
    return out.getvalue()


def add(name, data=b"", **fields):
    """An entry of the archive."""
    i = tarfile.TarInfo(name)
    data = text(data)
    i.size = len(data)
    for key, value in fields.items():
        setattr(i, key, value)
    archive.append((i, data))


def docker(**over):
    """The archive of `docker save`, with an entry of its manifest changed."""
    add("c.json", config)
    add("l.tar", LAYER)
    item = {"Config": "c.json", "RepoTags": ["d:1"], "Layers": ["l.tar"]}
    item.update(over)
    add("manifest.json", [item])


def other(arch, **more):
    """A manifest for another machine, and its place in an index."""
    c = dict(config, architecture=arch)
    m = dict(manifest, config=put(c, OCI + "config.v1+json"))
    return put(m, OCI + "manifest.v1+json",
               platform=dict(architecture=arch, os="linux"), **more)


LAYER = layer()
config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]},
          "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]}}
manifest = {"schemaVersion": 2, "config": None, "layers": [put(LAYER)]}
entry = {"annotations": {"org.opencontainers.image.ref.name": "x:1"}}
index = {"schemaVersion": 2, "manifests": [entry]}
exec(sys.stdin.read())  # ours: from the table of the test

if isinstance(manifest, dict) and manifest.get("config", 0) is None:
    manifest["config"] = put(config, OCI + "config.v1+json")
of = put(manifest, OCI + "manifest.v1+json")
for key, value in of.items():
    entry.setdefault(key, value)
files.setdefault("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
files.setdefault("index.json", text(index))
for name, data in files.items():
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
if archive:
    with tarfile.open(os.path.join(top, "image.tar"), "w") as t:
        for info, data in archive:
            t.addfile(info, io.BytesIO(data))
for do in later:  # what is done to the files then
    do()
