# SPDX-License-Identifier: Apache-2.0
"""A host that leaves in the middle: agent_cut.py SOCKET.

Makes every call of io.hyb.Agent several times, each time leaving at another
moment: with the call half sent, sent and not answered, answered, in the middle
of what it carries. Prints the methods that it has called.
"""
import json
import socket
import struct
import sys
import time

ID = "cut-1"
SESSION = 0


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(sys.argv[1])
    return s


def frame(method, upgrade=False, more=False, **parameters):
    call = {"method": "io.hyb.Agent." + method, "parameters": parameters}
    if upgrade:
        call["upgrade"] = True
    if more:
        call["more"] = True
    return json.dumps(call).encode() + b"\0"


def answer(s):
    got = b""
    while not got.endswith(b"\0"):
        c = s.recv(1)
        if not c:
            return None
        got += c
    return json.loads(got[:-1])


def call(method, **parameters):
    with connect() as s:
        s.sendall(frame(method, **parameters))
        return answer(s)


def leave_everywhere(method, make, then=None):
    """make(): the parameters; then(s): what goes on after the answer."""
    for moment in ("half", "sent", "shut", "answered", "then"):
        if moment == "then" and not then:
            continue
        text = frame(method, **make())
        with connect() as s:
            if moment == "half":
                s.sendall(text[:len(text) // 2])
                continue
            s.sendall(text)
            if moment == "shut":
                s.shutdown(socket.SHUT_WR)
            if moment in ("answered", "then"):
                if answer(s) is not None and moment == "then":
                    try:
                        then(s)
                    except OSError:
                        pass  # refused: the other end has gone first
    print(method)


def config():
    return {"ociVersion": "1.2.0", "hostname": "cut", "root": {"path": "rootfs"}, "linux": {},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                        "args": ["sleep", "1000"]}}


def create(image="img", wait=10000):
    return dict(id=ID, config=config(), image=image, disk_timeout=wait, scratch_size=16 << 20,
                user="", init=False, log_size=65536,
                files=[{"name": "0", "mode": 0o400, "uid": 0, "gid": 0, "data": "00"}])


def exec_(tty, detach, args):
    global SESSION
    SESSION += 1
    return dict(upgrade=True, session="%032x" % SESSION, id=ID, args=args, env=[], cwd="", user="",
                tty=tty, rows=24, cols=80, stdin=True, detach=detach)


def attach(stream):
    return dict(upgrade=True, session="%032x" % SESSION, stream=stream)


def write_half(s):
    """A file into the container, cut in its data."""
    path = b"/tmp/half"
    s.sendall(struct.pack("<II", 1, 16 + len(path)) + struct.pack("<IIII", 1, 1, len(path), 0) + path)
    entry = struct.pack("<IIIIqIQIII", 1, 0o644, 0, 0, 0, 0, 1 << 20, 0, 0, 0)
    s.sendall(struct.pack("<II", 2, len(entry)) + entry)
    s.sendall(struct.pack("<IIQ", 3, 8 + 60000, 0) + b"x" * 30000)


def read_half(s):
    path = b"/bin"
    s.sendall(struct.pack("<II", 1, 16 + len(path)) + struct.pack("<IIII", 1, 0, len(path), 0) + path)
    s.recv(1000)


def gone():
    call("Delete", id=ID, force=True)


def containers():
    return [c["id"] for c in call("List")["parameters"]["containers"]]


def await_that(what, fn):
    end = time.monotonic() + 60
    while not fn():
        if time.monotonic() > end:
            sys.exit("not in a minute: " + what)
        time.sleep(0.05)


check = {"how": "exec", "args": ["sleep", "5"], "interval": 200, "timeout": 3000, "retries": 1, "start_period": 0}

# One that waits for its disk is not made when nobody waits for it.
for _ in range(5):
    leave_everywhere("Create", lambda: create("nodisk", 300))
    with connect() as s:
        s.sendall(frame("Create", **create("nodisk", 60000)))
        time.sleep(0.05)
await_that("a Create that nobody waits for has left something", lambda: ID not in containers())
# One that is not waited for is made, or not at all.
for _ in range(5):
    leave_everywhere("Create", create)
    gone()
for moment in range(2):
    gone()
    call("Create", **create())
    leave_everywhere("Start", lambda: dict(id=ID))
call("Start", id=ID)
for method, parameters in (
        ("Hello", {}), ("Claim", dict(instance="other", hostname="h", machine_id="0" * 32, time=0, entropy="")),
        ("SetTime", dict(time=0)), ("List", {}), ("Stats", {}), ("Top", dict(id=ID)), ("Sessions", dict(id=ID)),
        ("SignalSession", dict(session="0" * 32, signal=15)),
        ("Signal", dict(id=ID, signal=23, all=True)), ("Checks", dict(id=ID)),
        ("Wait", dict(id=ID)), ("Pause", dict(id=ID)), ("Resume", dict(id=ID)),
        ("SetChecks", dict(id=ID, health=check, readiness=check, ports=[])),
        ("UpdateFiles", dict(id=ID, files=[{"name": "0", "mode": 0o400, "uid": 0, "gid": 0, "data": "0102"}])),
        ("MountVolume", dict(serial="none", read_only=False, image="", path="")),
        ("FreezeVolume", dict(serial="none")), ("ThawVolume", dict(serial="none")),
        ("UnmountVolume", dict(serial="none")),
        ("KeepFolders", dict(container="c", scratch="none", image="", folders=[dict(path="/a", size=1 << 20, copy=True)])),
        ("KeepFolders", dict(container="c", scratch="none", image="", folders=[]))):
    if method == "Wait":
        # It is not answered while the container runs.
        for cut in (20, None, None):
            with connect() as s:
                s.sendall(frame(method, **parameters)[:cut])
        print(method)
    elif method == "SetTime":
        with connect() as s:
            s.sendall(frame(method, **parameters)[:30])
        print(method)
    else:
        leave_everywhere(method, lambda: parameters)
leave_everywhere("Events", lambda: dict(more=True), lambda s: s.recv(1))
leave_everywhere("Logs", lambda: dict(upgrade=True, id=ID, offset=0), lambda s: s.sendall(b"\0\0\0"))
leave_everywhere("Forward", lambda: dict(upgrade=True, port=1, unready=True))
for _ in range(10):
    leave_everywhere("Copy", lambda: dict(upgrade=True, id=ID), write_half)
    leave_everywhere("Copy", lambda: dict(upgrade=True, id=ID), read_half)
leave_everywhere("CopyVolume", lambda: dict(upgrade=True, serial="none"), write_half)
much = ["head", "-c", "5000000", "/dev/zero"]
for tty, stream, args in ((False, "stdin", ["cat"]), (False, "stdout", much), (False, "stderr", ["nonexistent"]),
                          (False, "control", much), (False, "control", ["nonexistent"]), (True, "stdin", ["cat"]),
                          (True, "stdout", ["sh", "-c", "sleep 1000 & head -c 5000000 /dev/zero"]),
                          (True, "control", ["cat"])):
    leave_everywhere("Exec", lambda: exec_(tty, stream == "control", args),
                     lambda s: s.sendall(b'{"resize":{"rows":1'))
    with connect() as s:
        s.sendall(frame("Exec", **exec_(tty, stream == "control", args)))
        answer(s)
        if stream == "stdout":
            s.sendall(b'{"detach":true}\0{"si')
        for _ in range(2):
            leave_everywhere("Attach", lambda: attach(stream), lambda t: t.sendall(b"xyz"))
for moment in range(3):
    leave_everywhere("Delete", lambda: dict(id=ID, force=True))
gone()
await_that("the container is there", lambda: ID not in containers())
with connect() as s:
    s.sendall(frame("Shutdown", grace=1000)[:20])
print("Shutdown")
