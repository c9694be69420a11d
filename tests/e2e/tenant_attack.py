#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A user of one tenant against hybd and another tenant, by raw messages.

usage: tenant_attack.py SOCKET IDL OTHER=NAME...

Every method of the interface with every field of every wrong type; with names
of the other tenant's, whose answers must be those of names that nobody has;
frames that are none; descriptors that are not what they should be. Prints what
is wrong, a line each; nothing: all holds.
"""
import json
import os
import re
import socket
import sys
import tempfile
import threading

PATH, IDL, FOREIGN = sys.argv[1], sys.argv[2], sys.argv[3:]
WAIT = 60
wrong = []


def complain(*what):
    wrong.append(" ".join(str(w) for w in what)[:300])


class Connection:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(WAIT)
        self.s.connect(PATH)

    def send(self, message, fds=()):
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\0"
        if fds:
            socket.send_fds(self.s, [data], fds)
        else:
            self.s.sendall(data)

    def answer(self):
        """One reply; None: the connection is over."""
        data = b""
        while not data.endswith(b"\0"):
            try:
                more, fds, _, _ = socket.recv_fds(self.s, 65536, 8)
            except ConnectionError:
                return None
            for fd in fds:
                os.close(fd)
            if not more:
                return None
            data += more
        return json.loads(data.split(b"\0")[0])

    def call(self, method, parameters=None, fds=(), **flags):
        self.send({"method": method, "parameters": parameters, **flags}, fds)
        while True:
            r = self.answer()
            if r is None or not r.get("continues"):
                return r
            flags["n"] = flags.get("n", 0) + 1
            if flags["n"] > 1000:
                return r

    def close(self):
        self.s.close()


def once(method, parameters, fds=(), **flags):
    c = Connection()
    try:
        return c.call(method, parameters, fds, **flags)
    except TimeoutError:
        complain("no answer in", WAIT, "s:", method, json.dumps(parameters)[:160], flags)
        return None
    finally:
        c.close()


def alive(what):
    r = once("io.hyb.Host.Version", {})
    if not r or "pid" not in r.get("parameters", {}):
        complain("hybd does not answer after", what)
    return r["parameters"].get("pid") if r else None


# ------------------------------------------------------------------- the methods

def methods():
    """{name: {field: type}} of the IDL."""
    text = re.sub(r"#.*", "", open(IDL, encoding="utf-8").read())
    found = {}
    for m in re.finditer(r"method (\w+)\(([^)]*)\)", text):
        fields = {}
        for f in m[2].split(","):
            if f.strip():
                name, _, kind = f.strip().partition(":")
                fields[name.strip()] = kind.strip()
        found["io.hyb.Host." + m[1]] = fields
    return found


def plain(kind):
    kind = kind.lstrip("?")
    return {"string": "filler", "int": 1, "bool": False, "object": {}}.get(
        kind, [] if kind.startswith("[]") else {})


ODD = [None, True, 0, -1, 1.5, 2**63 - 1, -2**63, 1e300, "", "a" * 70000, "a\0b", "../..",
       "/etc/passwd", "-rf", "%s%n%s", "\u202e\x1b[2J", "x@y@z", "@", "a/b/c/d", "sha256:" + "0" * 64,
       [], [[]], [None], ["x"] * 5000, {}, {"a": {"b": []}}, {"": ""}]
# These make something of a name, or end when the caller says so.
MAKES = ("VolumeCreate", "VolumeImport", "SecretSet", "ImageLoad", "ImageImport", "DiskImport",
         "ImagePull", "Use", "TenantApply", "Deploy", "Plan", "ImagePrune")
FOLLOWS = ("Events", "Logs")


def ways():
    return ({}, {"more": True}, {"upgrade": True}, {"more": True, "upgrade": True})


def with_odd_types(table):
    for method, fields in table.items():
        short = method.rpartition(".")[2]
        if short == "ImagePrune":
            continue
        for field in list(fields) + ["nosuchfield"]:
            c = Connection()
            for odd in ODD:
                p = {f: plain(k) for f, k in fields.items()}
                p[field] = odd
                if short in FOLLOWS:
                    p["follow"] = False if field != "follow" else odd
                    if odd is True:
                        continue
                try:
                    r = c.call(method, p, more=short in ("VolumeExport", "VolumeImport"))
                except TimeoutError:
                    complain("no answer:", method, field, json.dumps(odd)[:60])
                    r = None
                if r is None:
                    c.close()
                    c = Connection()
                elif "error" in r and short != "Inspect" and \
                        not r["parameters"].get("message", "x").strip():
                    complain("an error without a word:", method, field, json.dumps(odd)[:60])
            c.close()
        for flags in ways():
            if short not in FOLLOWS:
                once(method, {f: plain(k) for f, k in fields.items()}, **flags)


WORD = re.compile(r"[a-z0-9]+")


def nobodys(name):
    """A name of the same form."""
    if name.startswith("sha256:"):
        return "sha256:" + "0" * 64
    letters = iter("zyx")
    return WORD.sub(lambda m: next(letters) * len(m[0]), name)


def same_words(table):
    """What another tenant has is answered as what is not there."""
    for method, fields in table.items():
        short = method.rpartition(".")[2]
        if short in MAKES:
            continue
        for field, kind in fields.items():
            if kind.lstrip("?") != "string":
                continue
            for name in FOREIGN:
                none = nobodys(name)
                answers = []
                for n in (name, none):
                    p = {f: plain(k) for f, k in fields.items()}
                    p[field] = n
                    if "follow" in p:
                        p["follow"] = False
                    answers.append(json.dumps(once(method, p, more=short == "VolumeExport",
                                                   upgrade=short == "Logs")))
                # Whole and in parts a name stands in messages.
                words = dict(zip(WORD.findall(none), WORD.findall(name)))
                answers[1] = WORD.sub(lambda m: words.get(m[0], m[0]), answers[1])
                if answers[0] != answers[1]:
                    complain(method, field, name, "is known:", answers[0][:120], "and", answers[1][:120])


def broken_frames():
    version = b'{"method":"io.hyb.Host.Version"}\0'
    for frame in (b"\0", b"\0" * 70000, b"{}\0", b"[]\0", b"nonsense\0", b'{"method":1}\0',
                  b'{"method":"' + b"a" * 300 + b'"}\0', b'{"method":"io.hyb.Host.Ps","parameters":[]}\0',
                  b'{"method":"io.hyb.Host.Ps","more":1}\0', b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\0",
                  b'{"method":"\\ud800"}\0', b'{"method":"a\\u0000b"}\0', b"a" * 3000000,
                  b'{"method":"io.hyb.Host.Version"' + b" " * 1040000 + b"}\0", version[:-1],
                  version * 2000, b'{"method":"io.hyb.Host.Version","oneway":true}\0',
                  b'{"method":"org.varlink.service.GetInterfaceDescription"}\0',
                  b'{"method":"io.hyb.Host.Logs","upgrade":true,"parameters":{"name":"x"}}\0' + os.urandom(4000)):
        c = Connection()
        try:
            c.send(frame)
            c.s.settimeout(0.05)
            c.s.recv(100)
        except OSError:
            pass
        c.close()


# --------------------------------------------------------------- descriptors

STREAMS = ("a socket that listens", "a FIFO", "a pipe nobody writes to", "the other end of a pipe", "a socket", "hybd's socket")
# Holes are a disk, too.
TAKEN = ("an unsealed memfd",)


def leave(method, parameters, fd):
    """A call on a stream that never ends, whose caller goes."""
    c = Connection()
    c.send({"method": method, "parameters": parameters}, [fd])
    c.s.settimeout(0.2)
    try:
        c.s.recv(1)
    except OSError:
        pass
    c.close()


def odd_descriptors(folder):
    fifo = os.path.join(folder, "fifo")
    os.mkfifo(fifo)
    r, w = os.pipe()
    a, _ = socket.socketpair()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.join(folder, "s"))
    listening.listen()
    memory = os.memfd_create("m")
    os.truncate(memory, 1 << 30)
    yield "/dev/zero", os.open("/dev/zero", os.O_RDONLY)
    yield "a FIFO", os.open(fifo, os.O_RDWR)
    yield "a pipe nobody writes to", r
    yield "the other end of a pipe", w
    yield "a socket", a.fileno()
    yield "a socket that listens", listening.fileno()
    yield "an unsealed memfd", memory
    yield "an O_PATH", os.open("/etc/passwd", os.O_PATH)
    yield "a file to write to", os.open(os.path.join(folder, "w"), os.O_WRONLY | os.O_CREAT)
    yield "a folder", os.open(folder, os.O_RDONLY)
    yield "/proc/self/mem", os.open("/proc/self/mem", os.O_RDONLY)
    yield "a pidfd", os.pidfd_open(os.getpid())
    yield "hybd's socket", Connection().s.detach()


def growing():
    """A memfd that another thread makes long and short, and writes to."""
    fd, stop = os.memfd_create("g"), threading.Event()

    def play():
        while not stop.is_set():
            for size in (0, 512, 10240, 1 << 20, 3):
                os.ftruncate(fd, size)
                os.pwrite(fd, os.urandom(512), 0)
    t = threading.Thread(target=play)
    t.start()
    return fd, lambda: (stop.set(), t.join())


def with_descriptors():
    calls = (("ImageLoad", {}), ("ImageImport", {}), ("ImagePull", {"reference": "127.0.0.1:1/x", "tls_verify": False}),
             ("DiskImport", {"name": "d", "format": "raw"}), ("DiskImport", {"name": "d", "format": "qcow2"}))
    with tempfile.TemporaryDirectory() as folder:
        for what, fd in odd_descriptors(folder):
            for method, p in calls:
                if what in STREAMS and method in ("ImageLoad", "ImageImport"):
                    leave("io.hyb.Host." + method, p, fd)
                    continue
                r = once("io.hyb.Host." + method, p, [fd])
                if r is not None and "error" not in r and what not in TAKEN:
                    complain(method, "took", what, json.dumps(r)[:200])
            os.close(fd)
        for name in ("index.json", "manifest.json", "oci-layout"):
            os.mkfifo(os.path.join(folder, name))
        fd = os.open(folder, os.O_RDONLY)
        r = once("io.hyb.Host.ImageLoad", {}, [fd])
        if r is not None and "error" not in r:
            complain("ImageLoad took a folder of FIFOs")
        os.close(fd)
        fd, end = growing()
        for method, p in calls[:2] * 5:
            once("io.hyb.Host." + method, p, [fd])
        end()
        # Where none belongs, and more than there may be.
        c = Connection()
        for _ in range(50):
            c.send({"method": "io.hyb.Host.Version"}, [0] * 100)
            c.answer()
        c.close()


def many_secrets():
    """No quota counts them: there is an end all the same."""
    c = Connection()
    made = 0
    while made < 1100 and "error" not in c.call("io.hyb.Host.SecretSet", {"name": "s%d" % made, "data": "00"}):
        made += 1
    if not 0 < made <= 1000:
        complain(made, "secrets were taken")
    elif "error" in c.call("io.hyb.Host.SecretSet", {"name": "s0", "data": "01"}):
        complain("one that is there is not set again")
    for i in range(made):
        c.call("io.hyb.Host.SecretRemove", {"name": "s%d" % i})
    c.close()


table = methods()
if len(table) < 40:
    complain("only", len(table), "methods were read")
begin = alive("nothing")
for step in (broken_frames, lambda: with_odd_types(table), lambda: same_words(table), with_descriptors,
             many_secrets):
    step()
    if alive(step) != begin:
        complain("another hybd answers after", step)
print("\n".join(wrong))
