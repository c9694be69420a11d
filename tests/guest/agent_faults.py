# SPDX-License-Identifier: Apache-2.0
"""Every call of the kernel that the agent makes for a method fails in turn:
agent_faults.py SOCKET PID. TAP.

strace injects ENOMEM into the agent, not into its children: the engine's own
set-up has engine-faults.sh. After each fault what the method had made is
undone, the agent has no more descriptors, children, mounts, cgroups and files
than before, and the same method then works.
"""
import collections
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SOCKET, PID = sys.argv[1], int(sys.argv[2])
# Two of these on one host share its cgroups.
ID = "broken-%d" % os.getpid()
# Cannot fail for want of memory, or must not fail: the way back out of a
# namespace, and what ends a process.
NEVER = """close exit exit_group rt_sigreturn rt_sigaction rt_sigprocmask sigaltstack epoll_wait
    epoll_pwait setns wait4 waitid pidfd_send_signal getpid gettid geteuid munmap umask futex
    restart_syscall lseek dup2 prctl clock_gettime clock_nanosleep getrandom shutdown setsockopt
    sched_getaffinity sched_setaffinity kill tgkill madvise rt_sigtimedwait""".split()
WAIT = 60
sessions = 0
tests = bad = faults = 0


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(WAIT)
    s.connect(SOCKET)
    return s


def answer(s):
    got = b""
    while not got.endswith(b"\0"):
        c = s.recv(1)
        if not c:
            return {"error": "closed"}
        got += c
    return json.loads(got[:-1])


def send(s, method, upgrade=False, **parameters):
    frame = {"method": "io.hyb.Agent." + method, "parameters": parameters}
    if upgrade:
        frame["upgrade"] = True
    s.sendall(json.dumps(frame).encode() + b"\0")
    return answer(s)


def call(method, **parameters):
    with connect() as s:
        return send(s, method, **parameters)


def must(method, **parameters):
    got = call(method, **parameters)
    if got.get("error"):
        raise RuntimeError("%s: %s" % (method, got))


def create():
    return call("Create", id=ID, image="img", disk_timeout=1000, scratch_size=16 << 20, user="", init=False,
                log_size=65536, files=[{"name": "0", "mode": 0o400, "uid": 0, "gid": 0, "data": "00"}],
                config={"ociVersion": "1.2.0", "hostname": "f", "root": {"path": "rootfs"}, "linux": {},
                        "mounts": [{"destination": "/etc/group", "type": "bind", "options": ["bind", "ro"],
                                    "source": "/run/hyb/files/%s/0" % ID}],
                        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                                    "args": ["sleep", "1000"]}})


def start():
    return call("Start", id=ID)


def exec_(tty, detach=False, args=("true",), then=None):
    global sessions
    sessions += 1
    with connect() as s:
        got = send(s, "Exec", True, session="%032x" % sessions, id=ID, args=list(args), env=[], cwd="", user="",
                   tty=tty, rows=24, cols=80, stdin=True, detach=detach)
        if got.get("error"):
            return got
        if not detach:
            for stream in ("stdout", "stdin") if tty else ("stdin", "stdout", "stderr"):
                with connect() as t:
                    send(t, "Attach", True, session="%032x" % sessions, stream=stream)
        return answer(s) if not detach else got


def attach():
    """Its control and its output, with what is kept of it."""
    name = "%032x" % sessions
    with connect() as s, connect() as t:
        got = send(s, "Attach", True, session=name, stream="control")
        if got.get("error"):
            return got
        return send(t, "Attach", True, session=name, stream="stdout", replay=True)


def copy(path):
    with connect() as s:
        got = send(s, "Copy", True, id=ID)
        if got.get("error"):
            return got
        s.sendall(struct.pack("<II", 1, 16 + len(path)) + struct.pack("<IIII", 1, 0, len(path), 0) + path)
        return {} if s.recv(1) else {"error": "closed"}


def update():
    """To 01, where Create has written 00."""
    return call("UpdateFiles", id=ID, files=[{"name": "0", "mode": 0o400, "uid": 0, "gid": 0, "data": "01"}])


def updated():
    """"" or what is wrong: the container has the old or the new file, once, and the next update goes there."""
    pid = [c["pid"] for c in call("List")["parameters"]["containers"] if c["id"] == ID][0]
    for may in (b"\0", b"\1"), (b"\1",):
        with open("/proc/%d/mounts" % pid) as f:
            n = sum(" /etc/group " in line for line in f)
        with open("/proc/%d/root/etc/group" % pid, "rb") as f:
            got = f.read()
        if n != 1 or got not in may:
            return "the container has %r, %d times" % (got, n)
        must("UpdateFiles", id=ID, files=[{"name": "0", "mode": 0o400, "uid": 0, "gid": 0, "data": "01"}])
    return ""


def delete():
    return call("Delete", id=ID, force=True)


def gone():
    must("Delete", id=ID, force=True)


def made():
    got = create()
    if got.get("error"):
        raise RuntimeError("Create: %s" % got)


def running():
    made()
    must("Start", id=ID)


def kept():
    running()
    got = exec_(True, True, ("sh", "-c", "echo out; exec sleep 1000"))
    if got.get("error"):
        raise RuntimeError("Exec: %s" % got)


def size(path):
    try:
        return len(os.listdir(path))
    except FileNotFoundError:
        return 0


def holds():
    with open("/proc/%d/task/%d/children" % (PID, PID)) as f:
        children = len(f.read().split())
    with open("/proc/%d/mounts" % PID) as f:
        mounts = sum("/run/hyb/files" not in line for line in f)
    cgroups = sum(os.path.exists(d + "/hyb/" + ID) for d in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
    return {"descriptors": size("/proc/%d/fd" % PID), "children": children, "mounts": mounts,
            "cgroups": cgroups, "files": size("/proc/%d/root/run/hyb/files" % PID)}


def no_more(before):
    end = time.monotonic() + WAIT
    while True:
        now = holds()
        if all(now[k] <= before[k] for k in now):
            return ""
        if time.monotonic() > end:
            return "; ".join("%s: %d, now %d" % (k, before[k], now[k]) for k in now if now[k] > before[k])
        time.sleep(0.02)


class Strace:
    def __init__(self, *options):
        self.log = tempfile.NamedTemporaryFile(prefix="hyb-strace.")
        self.p = subprocess.Popen(["strace", "-p", str(PID), "-o", self.log.name, *options],
                                  stderr=subprocess.PIPE)
        line = self.p.stderr.readline()
        if b"attached" not in line:
            raise RuntimeError("strace: %r" % line)

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait(WAIT)
        self.p.stderr.close()
        # strace may take a signal along that had just come when it left.
        os.kill(PID, signal.SIGCHLD)
        with open(self.log.name, errors="replace") as f:
            return f.read()


def calls_of(method, before):
    """How often it makes which call."""
    before()
    s = Strace()
    try:
        got = method()
    finally:
        log = s.end()
    if got.get("error"):
        raise RuntimeError("without a fault: %s" % got)
    n = collections.Counter(re.match(r"\w+", line).group() for line in log.splitlines() if re.match(r"\w+\(", line))
    return {c: n[c] for c in n if c not in NEVER}


def one(method, before, name, nth, base):
    """"" or what is wrong after this fault."""
    global faults
    before()
    s = Strace("-e", "trace=" + name, "-e", "inject=%s:error=ENOMEM:when=%d" % (name, nth))
    try:
        method()
    except TimeoutError:
        return "no answer, and the connection stays"
    except OSError:
        pass  # a connection that cannot be served is closed
    finally:
        log = s.end()
    if "INJECTED" not in log:
        return ""
    faults += 1
    why = updated() if method == update else ""
    # What the deletion has not done, the next one does.
    gone()
    return why or no_more(base)


def faults_of(title, method, before, but=()):
    global tests, bad
    wrong = []
    gone()
    base = holds()
    calls = calls_of(method, before)
    gone()
    why = no_more(base)
    if why:
        raise RuntimeError("without a fault: " + why)
    was = faults
    for name in sorted(calls):
        if name in but:
            continue
        nth = 1
        while nth <= calls[name] and len(wrong) < 5:
            try:
                why = one(method, before, name, nth, base)
            except (OSError, RuntimeError) as e:
                why = str(e)
            if why:
                wrong.append("%s, the %d. time: %s" % (name, nth, why))
                try:
                    gone()
                except (OSError, RuntimeError):
                    pass
            nth += 1 if nth < 4 else 7
    before()
    got = method()
    if got.get("error"):
        wrong.append("does not work afterwards: %s" % got)
    gone()
    tests += 1
    bad += bool(wrong)
    print("%sok %d - %s: %d faults of %d calls" % ("not " if wrong else "", tests, title, faults - was, len(calls)))
    for w in wrong:
        print("# " + w)
    sys.stdout.flush()


wanted = sys.argv[3:]
# What the first container of all makes stays.
kept()
# Not where children end: what the handler of their signal writes. Not where
# streams are attached as well: what was not lingers for 10 s. Not Copy's answer:
# the connection is the process's by then, which waits for a request; nor where it
# is taken out of the agent's epoll, which needs no memory: it would stay in it.
ends = ("write",)
streams = ("write", "epoll_ctl", "accept4", "recvmsg", "recvfrom", "sendto", "sendmsg")
for title, method, before, but in (
        ("Create", create, gone, ()),
        ("Start", start, made, ()),
        ("Exec", lambda: exec_(False), running, streams),
        ("Exec with a terminal", lambda: exec_(True), running, streams),
        ("Exec, detached", lambda: exec_(True, True), running, ends),
        ("Attach", attach, kept, ends),
        ("Copy", lambda: copy(b"/bin"), running, ends + ("sendto", "epoll_ctl")),
        ("UpdateFiles", update, running, ()),
        ("Delete", delete, kept, ends)):
    if not wanted or title in wanted:
        faults_of(title, method, before, but)
print("1..%d" % tests)
sys.exit(bad > 0)
