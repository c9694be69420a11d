#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A page under load: load.py URL FILE REQUESTS WORKERS. Each request is a
connection of its own; every answer's body has to be what FILE has."""
import concurrent.futures
import sys
import time
import urllib.request


def right(url, want):
    with urllib.request.urlopen(url, timeout=120) as answer:
        return answer.read() == want


url, path, requests, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open(path, "rb") as file:
    want = file.read()
begin = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    good = sum(pool.map(lambda _: right(url, want), range(requests)))
print(f"{good} of {requests} right, {requests / (time.monotonic() - begin):.1f} a second")
