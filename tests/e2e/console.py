# SPDX-License-Identifier: Apache-2.0
"""Talks to a VM's console: console.py NAME SECONDS [EXPECT TYPE]... EXPECT

Waits for each EXPECT (a regular expression in what came since the last), then
types TYPE and a newline. Ends with 0 when the last EXPECT has come, and prints
what it saw where it has not.
"""
import os
import re
import select
import subprocess
import sys
import time

name, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
script = sys.argv[3:]
p = subprocess.Popen(["hyb", "console", name], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
seen = ""
while script:
    m = re.search(script[0], seen)
    if m:
        seen = seen[m.end():]
        if len(script) > 1:
            os.write(p.stdin.fileno(), (script[1] + "\n").encode())
        script = script[2:]
        continue
    left = end - time.monotonic()
    ready = left > 0 and select.select([p.stdout], [], [], left)[0]
    data = os.read(p.stdout.fileno(), 65536) if ready else b""
    if not data:
        break
    seen += data.decode(errors="replace")
p.kill()
if script:
    print("wanted %r, got %r" % (script[0], seen[-2000:]))
sys.exit(bool(script))
