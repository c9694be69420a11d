# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a terminal: terminal.py SECONDS [EXPECT ACTION]... -- CMD...

Waits for each EXPECT (a regular expression in what came since the last), then
does ACTION: type:TEXT (with escapes such as \\x10), kill:SIGNAL, size:ROWSxCOLS,
or end: waits until CMD has ended. Prints what came; ends with CMD's status (128
and the signal), or 99 where something has not come in time.
"""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

split = sys.argv.index("--")
end = time.monotonic() + float(sys.argv[1])
script = sys.argv[2:split]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
seen = shown = ""


def more():
    """More of what comes; False: it has ended, or is late."""
    global seen, shown
    left = end - time.monotonic()
    if left <= 0 or not select.select([fd], [], [], left)[0]:
        return False
    try:
        data = os.read(fd, 65536).decode(errors="replace")
    except OSError:
        return False
    seen += data
    shown += data
    return data != ""


late = None
while script and late is None:
    m = re.search(script[0], seen)
    if not m:
        if not more():
            late = script[0]
        continue
    seen = seen[m.end():]
    what, _, text = script[1].partition(":")
    if what == "type":
        os.write(fd, text.encode().decode("unicode_escape").encode("latin1"))
    elif what == "kill":
        os.kill(pid, int(text))
    elif what == "size":
        rows, cols = map(int, text.split("x"))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))
    elif what == "end":
        while more():
            pass
    script = script[2:]
sys.stdout.write(shown)
status = None
while status is None:
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        status = None
        if late is not None or time.monotonic() > end:
            os.kill(pid, 9)
            late = late or "its end"
        time.sleep(0.05)
if late is not None:
    print("\nwanted %r" % late)
    sys.exit(99)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
