# SPDX-License-Identifier: Apache-2.0
"""A machine behind a tap, frame by frame: what net_test.py plays."""
import os
import select
import socket
import struct
import time

BOUND = 60  # seconds that anything may take
BRIDGE = "02:68:79:00:00:00"
HOST = "10.210.0.1"
VNET = 10  # bytes of the header in front of a frame


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

    def read(self, what, want, again=lambda: None):
        """The first frame for which want() is true; what came is seen. again()
        asks once more, ten times a second."""
        end = time.monotonic() + BOUND
        while time.monotonic() < end:
            if not select.select([self.fd], [], [], 0.1)[0]:
                again()
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
        """ICMP echo; asked again, as there may be a limit of late."""
        echo = struct.pack("!BBHHH", 8, 0, 0, ident, 1) + b"hyb"
        echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        def say():
            self.send_ip(HOST, 1, echo)
        say()
        return self.read("echo", lambda f: f[23] == 1 and f[34] == 0 and
                         f[38:40] == struct.pack("!H", ident), say)

    def lease(self, name=b""):
        """(address, options) of a whole exchange; name: the client's. A client
        asks again: the server may not have heard yet that there is such a
        machine."""
        ident = bytes([61, len(name)]) + name if name else b""

        def ask(kind, answer, more=b""):
            def say():
                self.send_ip("255.255.255.255", 17,
                             udp(68, 67, dhcp(1, self.mac, kind,
                                              ident + more)),
                             src="0.0.0.0", dmac="ff:ff:ff:ff:ff:ff")
            say()
            return self.read(f"DHCP answer {answer}", lambda f:
                             f[12:14] == b"\x08\0" and f[23] == 17 and
                             f[36:38] == b"\0\x44" and
                             options_of(f[42:]).get(53) == bytes([answer]),
                             say)[42:]
        offer = ask(1, 2)
        ack = ask(3, 5, bytes([50, 4]) + offer[16:20] + bytes([54, 4]) +
                  socket.inet_aton(HOST))
        return socket.inet_ntoa(ack[16:20]), options_of(ack)


    def renew(self):
        """As a client that has an address asks: from it, and is answered at
        it."""
        self.send_ip(HOST, 17, udp(68, 67, dhcp(1, self.mac, 3,
                                                ciaddr=self.ip)))
        ack = self.read("DHCP answer", lambda f: f[12:14] == b"\x08\0" and
                        f[:6] == mac(self.mac) and f[23] == 17 and
                        options_of(f[42:]).get(53) == b"\5")
        return socket.inet_ntoa(ack[30:34])
