# SPDX-License-Identifier: Apache-2.0
"""The guests of net-test.sh: net_test.py NET-CTL HYB-DHCPD ROOT. Speaks to
net-ctl over a socket, gets the taps from it, and sends and reads frames."""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

CTL, DHCPD, ROOT = sys.argv[1:4]
UID = 1878000005
BOUND = 60  # seconds that anything may take
BRIDGE = "02:68:79:00:00:00"
HOST = "10.210.0.1"
VNET = 10  # bytes of the header in front of a frame
tests = failed = 0


def ok(good, text, more=None):
    global tests, failed
    tests += 1
    print(f"{'' if good else 'not '}ok {tests} - {text}", flush=True)
    if not good:
        failed += 1
        if more is not None:
            print(f"#   {more!r}", flush=True)


def equal(got, want, text):
    ok(got == want, text, got)


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout


class Ctl:
    def __init__(self):
        self.sock, other = socket.socketpair(socket.AF_UNIX,
                                             socket.SOCK_SEQPACKET)
        self.proc = subprocess.Popen([CTL, ROOT, DHCPD, str(UID)], stdin=other)
        other.close()

    def __call__(self, text):
        """The answer's words and its descriptor (or None)."""
        self.sock.send(text.encode())
        if not select.select([self.sock], [], [], 2 * BOUND)[0]:
            raise TimeoutError(text)
        data, fds, _, _ = socket.recv_fds(self.sock, 2048, 1)
        return data.decode(), fds[0] if fds else None

    def good(self, text):
        said, fd = self(text)
        if not said.startswith("ok"):
            raise RuntimeError(f"{text}: {said}")
        return said.split()[1:], fd

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.sock.close()


# ------------------------------------------------------------------ frames

def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def ether(dst, src, kind, body):
    return (mac(dst) + mac(src) + struct.pack("!H", kind) + body).ljust(60,
                                                                       b"\0")


def arp(op, smac, sip, tmac, tip):
    return (struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + mac(smac) +
            socket.inet_aton(sip) + mac(tmac) + socket.inet_aton(tip))


def ip(src, dst, proto, body):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64,
                       proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(sport, dport, body):
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def tcp(src, dst, sport, dport, seq, ack, flags, body=b""):
    seg = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 8192,
                      0, 0) + body
    pseudo = (socket.inet_aton(src) + socket.inet_aton(dst) +
              struct.pack("!BBH", 0, 6, len(seg)))
    return seg[:16] + struct.pack("!H", checksum(pseudo + seg)) + seg[18:]


def dhcp(op, hw, kind, more=b"", ciaddr="0.0.0.0", flags=0):
    return (struct.pack("!BBBBIHH", op, 1, 6, 0, 0x12345678, 0, flags) +
            socket.inet_aton(ciaddr) + bytes(12) + mac(hw) + bytes(10 + 192) +
            b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + more + b"\xff")


def options_of(packet):
    out, at = {}, 240
    while at < len(packet) and packet[at] != 255:
        if packet[at] == 0:
            at += 1
            continue
        n = packet[at + 1]
        out[packet[at]] = packet[at + 2:at + 2 + n]
        at += 2 + n
    return out


class Guest:
    """A machine behind a tap."""

    def __init__(self, said, fd):
        self.tap, self.mac, self.ip = said
        self.fd = fd
        self.seen = []

    def send(self, frame):
        os.write(self.fd, bytes(VNET) + frame)

    def read(self, what, want):
        """The first frame for which want() is true; what came is seen."""
        end = time.monotonic() + BOUND
        while time.monotonic() < end:
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            frame = os.read(self.fd, 65536)[VNET:]
            self.seen.append(frame)
            if want(frame):
                return frame
        raise TimeoutError(f"{self.tap}: no {what}")

    def send_ip(self, dst, proto, body, src=None, dmac=BRIDGE):
        self.send(ether(dmac, self.mac, 0x800,
                        ip(src or self.ip, dst, proto, body)))

    def ask(self):
        """ARP: everything that was sent before is done with when it answers."""
        self.send(ether("ff:ff:ff:ff:ff:ff", self.mac, 0x806,
                        arp(1, self.mac, self.ip, "00:00:00:00:00:00", HOST)))
        return self.read("ARP answer", lambda f: f[12:14] == b"\x08\x06" and
                         f[20:22] == b"\0\2")

    def ping(self, ident=7):
        echo = struct.pack("!BBHHH", 8, 0, 0, ident, 1) + b"hyb"
        echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        self.send_ip(HOST, 1, echo)
        return self.read("echo", lambda f: f[23] == 1 and f[34] == 0 and
                         f[38:40] == struct.pack("!H", ident))

    def lease(self):
        """(address, options) of a whole exchange."""
        def answer(kind):
            frame = self.read(f"DHCP answer {kind}", lambda f:
                              f[12:14] == b"\x08\0" and f[23] == 17 and
                              f[36:38] == b"\0\x44" and
                              options_of(f[42:]).get(53) == bytes([kind]))
            return frame[42:]

        def say(kind, more=b""):
            self.send_ip("255.255.255.255", 17,
                         udp(68, 67, dhcp(1, self.mac, kind, more)),
                         src="0.0.0.0", dmac="ff:ff:ff:ff:ff:ff")
        say(1)
        offer = answer(2)
        say(3, bytes([50, 4]) + offer[16:20] + bytes([54, 4]) +
            socket.inet_aton(HOST))
        ack = answer(5)
        return socket.inet_ntoa(ack[16:20]), options_of(ack)


# --------------------------------------------------------------- namespaces

def inside(tenant, *argv):
    return run("nsenter", f"--net={ROOT}/net/{tenant}/ns", *argv)


def counters(tenant, chain):
    out = {}
    rules = json.loads(inside(tenant, "nft", "-j", "list", "chain", "bridge",
                              "hyb", chain))["nftables"]
    for r in rules:
        for x in r.get("rule", {}).get("expr", []):
            if "counter" in x and "comment" in r["rule"]:
                out[r["rule"]["comment"]] = x["counter"]["packets"]
    return out


def net_of(tenant):
    return os.stat(f"{ROOT}/net/{tenant}/ns").st_ino


def processes_in(inode):
    found = []
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and os.stat(f"/proc/{p}/ns/net").st_ino == inode:
                found.append(int(p))
        except OSError:
            pass
    return found


def dhcpd_of(tenant):
    with open(f"{ROOT}/net/{tenant}/dhcpd") as f:
        return int(f.read().split()[0])


def host_state():
    with open("/proc/self/mountinfo") as f:
        mounts = [line.split()[4] for line in f]
    return (run("ip", "-o", "-d", "addr"), run("ip", "route", "show", "table",
                                               "all"),
            run("nft", "list", "ruleset"), mounts)
