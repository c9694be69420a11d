#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry of one OCI layout, on loopback, for the tests of pull.

usage: image_registry.py LAYOUT PORT-FILE
Repositories: "good" answers as the layout is; "broken" cuts every layer short;
"locked" wants a password; "stalled" never answers a layer; "counted" takes its
time, and writes a line to PORT-FILE.count for each layer it is asked for;
"elsewhere" has nothing, and writes to PORT-FILE.elsewhere that it was asked."""
import http.server
import json
import os
import sys
import time

LAYOUT = sys.argv[1]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, data, kind="application/json", **headers):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, code, name):
        text = {"errors": [{"code": name, "message": name.lower()}]}
        self.answer(code, json.dumps(text).encode())

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            return self.answer(200, b"{}")
        repository, kind, ref = parts[1], parts[-2], parts[-1]
        if repository == "locked":
            return self.answer(401, b"{}",
                               WWW_Authenticate='Basic realm="test"')
        if repository == "elsewhere":
            with open(sys.argv[2] + ".elsewhere", "w") as f:
                f.write("asked")
            return self.refuse(404, "BLOB_UNKNOWN")
        if kind == "manifests" and ref == "latest":
            with open(os.path.join(LAYOUT, "index.json")) as f:
                ref = json.load(f)["manifests"][0]["digest"]
        path = os.path.join(LAYOUT, "blobs", "sha256", ref[7:] or "none")
        if not os.path.isfile(path):
            return self.refuse(404, "MANIFEST_UNKNOWN")
        with open(path, "rb") as f:
            data = f.read()
        is_layer = not data.startswith(b"{")
        if is_layer and repository == "broken":
            data = data[:-512] + bytes(range(256)) * 2
        if is_layer and repository == "counted":
            with open(sys.argv[2] + ".count", "a") as f:
                f.write("layer\n")
            time.sleep(1)
        if is_layer and repository == "stalled":
            time.sleep(60)
        return self.answer(
            200, data,
            MANIFEST if kind == "manifests" else "application/octet-stream",
            Docker_Content_Digest=ref)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[2] + ".new", "w") as port:
    port.write(str(server.server_address[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
