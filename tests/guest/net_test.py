# SPDX-License-Identifier: Apache-2.0
"""The guests of net-test.sh: net_test.py NET-CTL HYB-DHCPD ROOT. Speaks to
net-ctl over a socket, gets the taps from it, and sends and reads frames."""
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from net_guest import (BOUND, BRIDGE, HOST, Guest, arp, checksum, dhcp, ether,
                       ip, mac, tcp, udp)

CTL, DHCPD, ROOT = sys.argv[1:4]
UID = 1878000005
WORLD = "192.0.2.1"  # the host's own address
TUNSETPERSIST = 0x400454cb
SIOCSIFHWADDR = 0x8924
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

    def end(self):
        """Whether it ended well (a sanitizer may have something to say)."""
        self.sock.close()
        return self.proc.wait(BOUND) == 0

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.sock.close()


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


def until(condition):
    end = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def host_make():
    """What plays the host is a network namespace too: it has an interface, an
    address where somebody listens, and it forwards."""
    if len(run("ip", "-o", "link").splitlines()) != 1:
        sys.exit("not in a namespace of its own: run net-test.sh")
    for c in (["ip", "link", "set", "lo", "up"],
              ["ip", "link", "add", "eth0", "type", "bridge"],
              ["ip", "addr", "add", f"{WORLD}/32", "dev", "lo"],
              ["ip", "route", "add", "default", "dev", "lo"],
              ["nft", "add", "table", "inet", "theirs"],
              ["sysctl", "-qw", "net.ipv4.ip_forward=1"]):
        subprocess.run(c, check=True)
    return socket.create_server(("", 22))


def host_state():
    return {"addresses": run("ip", "-4", "-o", "addr"),
            "links": [(x["ifname"], "UP" in x["flags"])
                      for x in json.loads(run("ip", "-j", "link"))],
            "routes": run("ip", "-4", "route", "show", "table", "all"),
            "rules": run("nft", "list", "ruleset"),
            "forwarding": run("sysctl", "net.ipv4.ip_forward")}


# ------------------------------------------------------------------- tests

def machine(ctl, tenant, number, name=""):
    said, fd = ctl.good(f"add {tenant} {number} {name}".strip())
    return Guest(said, fd)


def test_made_once(ctl):
    ctl.good("ensure a")
    pid, inode = dhcpd_of("a"), net_of("a")
    ctl.good("ensure a")
    equal((dhcpd_of("a"), net_of("a")), (pid, inode),
          "what is there is left alone")
    links = [x["ifname"] for x in json.loads(inside("a", "ip", "-j", "link"))]
    equal(sorted(links), ["br0", "lo"], "the namespace has a bridge")
    equal(inside("a", "ip", "route", "show", "default"), "",
          "no route leads out of it")
    equal(inside("a", "cat", "/proc/sys/net/ipv4/ip_forward"), "0\n",
          "nothing is forwarded")
    equal(inside("a", "ip", "-6", "addr"), "", "there is no IPv6")
    said, _ = ctl("ensure ../x")
    ok(said.startswith("error 22 ") and "../x" in said,
       "a name that is none is refused", said)
    said, _ = ctl("add a 65001")
    ok(said.startswith("error 34 ") and "65001" in said,
       "a number that is none is refused", said)


def test_cage(ctl):
    p = f"/proc/{dhcpd_of('a')}"
    with open(f"{p}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f
                      if ":\t" in line)
    equal(status["Uid"].split(), [str(UID)] * 4, "dnsmasq has its own id")
    equal(status["Groups"].split(), [], "and no group")
    equal((status["CapPrm"], status["CapBnd"], status["CapAmb"]),
          ("0000000000001000", "0000000000001000", "0000000000000000"),
          "one capability")
    ok(os.readlink(f"{p}/ns/user") != os.readlink("/proc/self/ns/user"),
       "of a user namespace of its own")
    equal((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"),
          "no new privileges, a filter of system calls")
    with open(f"{p}/limits") as f:
        limits = {x[:26].strip(): x[26:].split()[0] for x in f}
    equal((limits["Max processes"], limits["Max address space"]),
          ("0", str(64 << 20)), "no process, little memory")
    equal(sorted(os.listdir(f"{p}/root")),
          sorted(x for x in ("dev", "dnsmasq", "etc", "hosts", "lib", "lib64",
                             "usr") if x in ("dnsmasq", "hosts") or
                 os.path.exists("/" + x)), "it sees little of the host")
    equal(os.listdir(f"{p}/root/usr"),
          [x for x in os.listdir(f"{p}/root/usr") if x.startswith("lib")],
          "no program but itself")
    with open(f"{p}/mountinfo") as f:
        writable = [x.split()[4] for x in f if x.split()[5].startswith("rw")]
    equal(sorted(writable), ["/dev/null", "/dev/urandom"],
          "nothing that it could write to")
    equal(inside("a", "ss", "-Hlntu").split()[4:5], ["0.0.0.0%br0:67"],
          "it listens for DHCP alone")
    def tried():
        rules = inside("a", "nft", "list", "chain", "inet", "hyb", "output")
        return int(rules.split(f"meta skuid {UID} counter packets ")[1].split(
            )[0])
    for kind in ("STREAM", "DGRAM"):
        before = tried()
        inside("a", "setpriv", f"--reuid={UID}", "--clear-groups",
               sys.executable, "-c", "import socket\n"
               f"s = socket.socket(socket.AF_INET, socket.SOCK_{kind})\n"
               "s.setblocking(False)\ns.connect_ex(('10.210.0.8', 53))\n"
               "s.send(b'x')")
        ok(tried() > before, f"its id has no {kind} to anybody")


def test_dhcp(ctl, one):
    address, options = one.lease()
    equal(address, one.ip, "DHCP: the address that follows from the number")
    equal(one.ip, "10.210.0.8", "which is 7, behind the bridge's")
    equal(options.get(12), b"web", "DHCP: the machine's name")
    ok(3 not in options and 6 not in options,
       "DHCP: no router and no name server", options)
    equal([one.lease(name)[0] for name in (b"\0boot", b"\xff" + bytes(18),
                                           b"", b"\1" + mac(one.mac))],
          [one.ip] * 4, "DHCP: whatever the client calls itself")
    equal(one.renew(), one.ip, "DHCP: a lease is renewed")
    equal(one.ask()[6:12], mac(BRIDGE), "the bridge answers ARP")
    ok(one.ping(), "and echo")


def bad_frames(one, two):
    """(rule that must have dropped it, name, frame)"""
    every, me, other = "ff:ff:ff:ff:ff:ff", one.mac, two.mac
    none = "00:00:00:00:00:00"
    who = arp(1, me, one.ip, none, HOST)
    data = ip(one.ip, HOST, 17, udp(1000, 1000, b"x"))

    def arped(*a):
        return ether(every, me, 0x806, arp(*a))

    def sent(src, dst, proto=17, body=udp(1000, 1000, b"x"), to=BRIDGE):
        return ether(to, me, 0x800, ip(src, dst, proto, body))
    offer = udp(67, 68, dhcp(2, other, 2))
    return [
        ("MAC", "another's MAC", ether(BRIDGE, other, 0x800, data)),
        ("MAC", "the bridge's MAC", ether(every, BRIDGE, 0x806, who)),
        ("address", "another's address", sent(two.ip, HOST)),
        ("address", "the bridge's address", sent(HOST, one.ip)),
        ("address", "no address, but not DHCP", sent("0.0.0.0", HOST)),
        ("address", "what is for another address", sent(one.ip, two.ip)),
        ("address", "what is for the host's own address",
         sent(one.ip, WORLD, 6, tcp(one.ip, WORLD, 1000, 22, 1, 0, 2))),
        ("address", "what is for the host's loopback",
         sent(one.ip, "127.0.0.1")),
        ("address", "a broadcast that is not DHCP",
         sent(one.ip, "10.210.255.255", to=every)),
        ("ARP", "ARP with another's address", arped(2, me, two.ip, me, two.ip)),
        ("ARP", "ARP with the bridge's address", arped(1, me, HOST, none,
                                                       two.ip)),
        ("ARP", "ARP with another's MAC", arped(2, other, one.ip, me, one.ip)),
        ("ARP", "reverse ARP in ARP's clothes", arped(3, me, one.ip, none,
                                                      HOST)),
        ("DHCP", "an answer of a DHCP server",
         sent(one.ip, "255.255.255.255", body=offer, to=every)),
        ("DHCP", "the same to the bridge", sent(one.ip, HOST, body=offer)),
        ("protocol", "IPv6", ether("33:33:00:00:00:01", me, 0x86dd,
                                   b"\x60" + bytes(39))),
        ("protocol", "reverse ARP", ether(every, me, 0x8035, who)),
        ("protocol", "an unknown protocol", ether(every, me, 0x88cc, bytes(9))),
        ("protocol", "a frame with a length", ether(every, me, 60, bytes(60))),
        ("protocol", "MPLS", ether(BRIDGE, me, 0x8847, bytes(4) + data)),
        ("fragment", "a fragment", ether(BRIDGE, me, 0x800, data[:6] +
                                         b"\x20\0" + data[8:])),
        ("fragment", "a last fragment", ether(BRIDGE, me, 0x800, data[:6] +
                                              b"\0\1" + data[8:])),
        ("VLAN", "a VLAN's tag", ether(every, me, 0x8100, b"\0\1\x08\x06" +
                                       who)),
        ("VLAN", "a priority's tag", ether(BRIDGE, me, 0x8100, b"\0\0\x08\0" +
                                           data)),
        ("VLAN", "a provider's tag", ether(BRIDGE, me, 0x88a8, b"\0\1\x08\0" +
                                           data)),
        ("VLAN", "two tags", ether(BRIDGE, me, 0x8100, b"\0\1\x81\0\0\2\x08\0" +
                                   data)),
        ("destination", "what is for another's MAC", ether(other, me, 0x800,
                                                           data)),
        ("destination", "a multicast", ether("01:00:5e:00:00:fb", me, 0x800,
                                             data)),
    ]


def drain(sock):
    got = []
    while True:
        try:
            got.append(sock.recv(65536))
        except BlockingIOError:
            return got


def test_spoofing(ctl, one, two):
    """Each is counted by its own rule, and neither the bridge nor the other
    machine sees it. What the bridge saw before the answer to a question that
    was put last is all that it got."""
    _, sniffed = ctl.good("sniff a")
    sniff = socket.socket(fileno=sniffed)
    sniff.setblocking(False)
    chain = f"from-{one.tap}"
    two.ask()
    two.seen.clear()
    drain(sniff)
    for rule, name, frame in bad_frames(one, two):
        before = counters("a", chain)
        one.send(frame)
        one.ask()
        after = counters("a", chain)
        changed = {k: after[k] - before[k] for k in after
                   if after[k] != before[k]}
        got = drain(sniff)
        asked = [g for g in got if g[12:14] == b"\x08\x06"]
        ok(changed == {rule: 1} and len(asked) == 2 and len(got) == 2,
           f"dropped: {name}", (changed, [g.hex() for g in got]))
    two.ask()
    equal(len(two.seen), 1, "the other machine saw none of it")
    sniff.close()


def test_apart(one, two):
    """Two machines of one tenant, which do all that they may."""
    two.ask()
    one.seen.clear()
    two.seen.clear()
    one.send(ether("ff:ff:ff:ff:ff:ff", one.mac, 0x806,
                   arp(1, one.mac, one.ip, "00:00:00:00:00:00", two.ip)))
    one.send_ip(two.ip, 6, tcp(one.ip, two.ip, 1000, 22, 1, 0, 2),
                dmac=two.mac)
    one.send_ip(two.ip, 6, tcp(one.ip, two.ip, 1000, 22, 1, 0, 2))
    one.lease()
    one.ping()
    two.ask()
    equal([f for f in two.seen if f[:6] != mac(two.mac)], [],
          "a machine sees nothing of another, its DHCP answers neither")
    equal(len(two.seen), 1, "but the answer to its own question")


def test_host(ctl, one):
    """What the bridge's own address does not answer."""
    before = len(one.seen)
    for port in (22, 53, 67, 111):
        one.send_ip(HOST, 6, tcp(one.ip, HOST, 1000, port, 1, 0, 2))
        one.send_ip(HOST, 6, tcp(one.ip, HOST, 1000, port, 1, 1, 16))
        one.send_ip(HOST, 17, udp(1000, port, b"hyb"))
    stamp = struct.pack("!BBHHH", 13, 0, 0, 1, 1) + bytes(12)
    one.send_ip(HOST, 1, stamp[:2] + struct.pack("!H", checksum(stamp)) +
                stamp[4:])
    one.send_ip(HOST, 47, bytes(8))
    one.ask()
    equal(len(one.seen) - before, 1, "nothing else of the host answers")
    equal(inside("a", "cat", "/proc/sys/net/netfilter/nf_conntrack_count"),
          "0\n", "and no machine fills the table of connections")


def test_connect(ctl, one):
    """The host's connection to a port of the machine, and data both ways."""
    _, fd = ctl.good("connect a 7 8080")
    s = socket.socket(fileno=fd)
    syn = one.read("SYN", lambda f: f[23] == 6 and f[47] == 2)
    sport, dport, seq = struct.unpack("!HHI", syn[34:42])
    equal((dport, socket.inet_ntoa(syn[26:30])), (8080, HOST),
          "the host connects, from the bridge's address")

    def say(flags, at, body=b""):
        one.send_ip(HOST, 6, tcp(one.ip, HOST, 8080, sport, at, seq + 1, flags,
                                 body))
    say(0x12, 100)
    ok(select.select([], [s], [], BOUND)[1] and
       s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0,
       "it is connected")
    s.setblocking(True)
    s.settimeout(BOUND)
    s.send(b"ping")
    data = one.read("data", lambda f: f[23] == 6 and f[47] & 8)
    equal(data[54:58], b"ping", "the machine gets what is sent")
    say(0x18, 101, b"pong")
    equal(s.recv(9), b"pong", "and the host what it answers")
    s.close()


def test_flood(ctl, one):
    """A machine that says much: the server lives, what it says is bounded."""
    pid = dhcpd_of("a")
    with open(f"{ROOT}/net/a/hosts/7") as f:
        equal(f.read(), f"{one.mac},{one.ip},web\n", "what DHCP knows of it")
    for i in range(3000):
        one.send_ip("255.255.255.255", 17,
                    udp(68, 67, dhcp(1, f"02:00:00:00:{i >> 8:02x}:"
                                     f"{i & 255:02x}", 1 + i % 8,
                                     bytes([12, 20]) + b"\x1b[31m" * 4,
                                     flags=i & 0xffff)),
                    src="0.0.0.0", dmac="ff:ff:ff:ff:ff:ff")
    for n in (0, 1, 28, 236, 239, 240, 241, 300):
        one.send_ip("255.255.255.255", 17,
                    udp(68, 67, dhcp(1, one.mac, 1)[:n]), src="0.0.0.0",
                    dmac="ff:ff:ff:ff:ff:ff")
    for i in range(3000):
        one.send_ip(HOST, 1, b"\x08\0\xf7\xff" + bytes(4))
        one.send(ether("ff:ff:ff:ff:ff:ff", one.mac, 0x806,
                       arp(1, one.mac, one.ip, "00:00:00:00:00:00", HOST)))
    dropped = counters("a", f"from-{one.tap}")
    ok(dropped["DHCP rate"] > 1000 and dropped["ICMP rate"] > 0 and
       dropped["ARP rate"] > 0, "most of a flood is dropped", dropped)
    equal(one.lease()[0], one.ip, "DHCP answers after thousands of others")
    equal(dhcpd_of("a"), pid, "from the same process")
    size = os.stat(f"/proc/{pid}/fd/2").st_size
    equal(size, 4096, "whose log has not grown")


def test_gone(ctl, one):
    """A DHCP server that was killed; a machine's name that changed."""
    pid = dhcpd_of("a")
    os.kill(pid, signal.SIGKILL)
    equal(one.lease()[1].get(12), b"web",
          "a DHCP server that was killed is started again")
    ok(dhcpd_of("a") != pid, "by itself")
    said, _ = ctl("add a 7 web")
    ok(said.startswith("error 16 ") and "'a'" in said and "tap7" in said,
       "a tap that a QEMU has is refused to another", said)
    os.close(one.fd)
    ok(until(lambda: "tap7" not in inside("a", "ip", "-o", "link")),
       "a tap ends with the process that has it")
    left_behind(ctl)
    return renamed(ctl)


def left_behind(ctl):
    """A QEMU that was taken over leaves a tap with settings of its own."""
    one = machine(ctl, "a", 7, "web")
    fcntl.ioctl(one.fd, TUNSETPERSIST, 1)
    fcntl.ioctl(one.fd, SIOCSIFHWADDR, struct.pack("16sH6s14x", b"tap7", 1,
                                                   b"\2hyb\0\0"))
    os.close(one.fd)
    ok("02:68:79:62" in inside("a", "ip", "-o", "link", "show", "tap7"),
       "a tap can be left behind")
    one = machine(ctl, "a", 7, "web")
    now = inside("a", "ip", "-d", "-o", "link", "show", "tap7")
    ok("02:68:79:62" not in now and "persist off" in now and one.ping(),
       "it is not used again", now)
    os.close(one.fd)


def renamed(ctl):
    """Words that dnsmasq has a meaning of its own for are names as well."""
    def told(name):
        one = machine(ctl, "a", 7, name)
        ok(until(lambda: one.lease()[1].get(12) is None),
           f"a machine may be called '{name}'")
        equal(struct.unpack("!I", one.lease()[1][51])[0], 12 * 3600,
              "and has its address as long as others")
        os.close(one.fd)

    for name in ("ignore", "90d"):
        told(name)
    one = machine(ctl, "a", 7, "shop")
    ok(until(lambda: one.lease()[1].get(12) == b"shop"), "a new name is told")
    return one


def test_restart(ctl, one, two):
    """The maker is killed; the next one finds all, and sweeps."""
    ctl.good("ensure b")
    machine(ctl, "b", 7)
    pid, inode = dhcpd_of("a"), net_of("a")
    ctl.kill()
    ctl = Ctl()
    ok(one.ping(8), "without its maker the network lives")
    ctl.good("sweep a:7")
    equal((dhcpd_of("a"), net_of("a")), (pid, inode),
          "the next maker finds it")
    ok(one.ping(9), "nothing happened to a machine that is wanted")
    equal(os.listdir(f"{ROOT}/net"), ["a"], "an unwanted tenant is removed")
    equal(os.listdir(f"{ROOT}/net/a/hosts"), ["7"], "an unwanted machine too")
    ok("tap9" not in inside("a", "ip", "-o", "link") and
       "tap9" not in inside("a", "nft", "list", "ruleset") and
       two.mac not in inside("a", "ip", "neigh"),
       "with its tap, its filter and its neighbour")
    try:
        two.send(bytes(60))
        ok(False, "whoever has its tap still can do nothing with it")
    except OSError:
        ok(True, "whoever has its tap still can do nothing with it")
    return ctl


def test_lost_pin(ctl, one):
    """The mount is gone, as with hybd's mount namespace: who is in the
    namespace leads back to it."""
    inode = net_of("a")
    subprocess.run(["umount", f"{ROOT}/net/a/ns"], check=True)
    ctl.good("ensure a")
    equal(net_of("a"), inode, "a namespace that lost its pin is found again")
    ok(one.ping(10), "its machine never noticed")


def test_other_version(ctl, one):
    """What another version of hybd loaded is replaced while machines run."""
    rules = json.loads(inside("a", "nft", "-j", "list", "table", "inet", "hyb"))
    seals = [x["chain"]["name"] for x in rules["nftables"] if "chain" in x and
             x["chain"]["name"].startswith("v")]
    equal(len(seals), 1, "the filter says which it is")
    inside("a", "nft", "delete", "chain", "inet", "hyb", seals[0])
    inside("a", "nft", "insert", "rule", "bridge", "hyb", f"from-{one.tap}",
           "accept")
    inside("a", "nft", "delete", "element", "bridge", "hyb", "sinks",
           "{", one.tap, "}")
    ctl.good("ensure a")
    now = inside("a", "nft", "list", "ruleset")
    ok(seals[0] in now and "\t\taccept\n" not in now,
       "another version's is replaced")
    ok(one.ping(11), "for the machines that run too")


def whole(ctl, tenant):
    """Is there a network in which a machine gets its address?"""
    guest = machine(ctl, tenant, 7, "web")
    got = guest.lease()[0] == guest.ip and guest.ping() is not None
    os.close(guest.fd)
    return got


def test_killed(ctl):
    """The maker is killed before each of its steps: then it is made again, or
    removed; each is whole."""
    def steps(command, before, after, text, stride=1):
        n, wrong = 1 - stride, []
        while True:
            n += stride
            before()
            said, _ = ctl.good(f"kill {n} {command}")
            if not after():
                wrong.append(n)
            if said == ["done"]:
                break
        ok(not wrong and n > 10, f"{text}: {n // stride} places", wrong)

    def gone():
        inode = net_of("k") if os.path.exists(f"{ROOT}/net/k/ns") else None
        ctl.good("remove k")
        # Who was not told to go on ends by itself.
        return not os.path.exists(f"{ROOT}/net/k") and \
            (inode is None or until(lambda: not processes_in(inode)))
    steps("add k 7 web", lambda: None, lambda: whole(ctl, "k") and gone(),
          "killed while it makes, then made")
    steps("add k 7 web", lambda: None, gone,
          "killed while it makes, then removed", stride=2)
    # Made by a process that ends: no other watches what this one removes.
    steps("remove k", lambda: ctl.good("kill 0 ensure k"), gone,
          "killed while it removes, then removed")
    steps("forget k 7", lambda: whole(ctl, "k"),
          lambda: ctl("sweep a:7 k:0")[0] == "ok " and
          os.listdir(f"{ROOT}/net/k/hosts") == [] and
          "tap7" not in inside("k", "nft", "list", "ruleset"),
          "killed while it forgets a machine, then swept")
    ctl.good("remove k")


def test_removed(ctl, one):
    inode = net_of("a")
    ctl.good("remove a")
    ctl.good("remove a")
    equal(os.listdir(f"{ROOT}/net"), [], "no file is left")
    equal(processes_in(inode), [], "no process")
    with open("/proc/self/mountinfo") as f:
        equal([x for x in f if ROOT in x], [], "no mount")
    os.close(one.fd)


def clean():
    """Where a test went wrong: what it left."""
    tenants = os.listdir(f"{ROOT}/net") if os.path.exists(ROOT) else []
    ctl = Ctl() if tenants else None
    for tenant in tenants:
        ctl(f"remove {tenant}")


def main():
    listens = host_make()
    before = host_state()
    ctl = Ctl()
    test_made_once(ctl)
    test_cage(ctl)
    one = machine(ctl, "a", 7, "web")
    two = machine(ctl, "a", 9)
    test_dhcp(ctl, one)
    test_spoofing(ctl, one, two)
    test_apart(one, two)
    test_host(ctl, one)
    test_connect(ctl, one)
    test_flood(ctl, one)
    one = test_gone(ctl, one)
    ctl = test_restart(ctl, one, two)
    test_lost_pin(ctl, one)
    test_other_version(ctl, one)
    test_killed(ctl)
    test_removed(ctl, one)
    ok(ctl.end(), "the maker ends well")
    after = host_state()
    ok(after == before, "of the host nothing was touched",
       [(k, before[k], after[k]) for k in after if after[k] != before[k]])
    listens.close()
    print(f"1..{tests}")
    return 1 if failed else 0


try:
    sys.exit(main())
finally:
    clean()
