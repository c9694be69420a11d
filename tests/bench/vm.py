#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of real VMs: vm.py NAME. See run.sh for the form of the output."""
import hashlib
import io
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

TOP = os.getcwd()
GUEST = TOP + "/build/guest"
ROUNDS = int(os.environ.get("ROUNDS", "5"))


def hyb(*args, check=True, **kw):
    return subprocess.run(["hyb", *args], check=check, capture_output=True, **kw)


def figure(name, value, unit, ratio, theirs):
    print(f"bench: {name} {value:.4g} {unit} ratio={ratio:.3f} # theirs: {theirs}", flush=True)


def manifest(path, name, command, memory="64m", extra="", image="busybox", container=""):
    with open(path, "w") as f:
        f.write(f"hyb: 1\nname: {name}\nvms:\n  vm:\n    restart: no\n"
                f"    resources: {{ memory: {memory} }}\n    containers:\n      c:\n"
                f"        image: {image}\n        command: {json.dumps(command)}\n"
                f"        stop_grace_period: 0s\n{container}{extra}")


def stop_hybd():
    v = json.loads(hyb("version", "-o", "json", check=False).stdout or b"{}")
    pid = (v.get("hybd") or v).get("pid")
    if not pid:
        return
    end = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    select.select([end], [], [], 60)
    os.close(end)


def restart_hybd():
    """With the environment as it is now."""
    stop_hybd()
    hyb("ps")


class Root:
    """A root of its own with the busybox image loaded and a hybd up."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="hyb-bench.", dir="/tmp")
        os.chmod(self.dir, 0o711)
        os.environ["HYB_ROOT"] = self.dir
        hyb("image", "load", TOP + "/build/images/busybox.tar")
        return self

    def file(self, name):
        return os.path.join(self.dir, name)

    def __exit__(self, *exc):
        os.environ.pop("HYB_INITRAMFS", None)
        rows = json.loads(hyb("ps", "-a", "-o", "json", check=False).stdout or b"[]")
        for stack in {r["stack"] for r in rows}:
            hyb("down", stack, check=False)
        stop_hybd()
        shutil.rmtree(self.dir, ignore_errors=True)


def hello(path, deadline):
    """Connects to the agent and says hello: seconds it took from now."""
    call = b'{"method":"io.hyb.Agent.Hello"}\0'
    while time.monotonic() < deadline:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            s.sendall(b"CONNECT 1024\n")
            s.settimeout(20)
            got = s.recv(64)
            if got.startswith(b"OK"):
                s.sendall(call)
                if b"protocol" in s.recv(4096):
                    return
        except OSError:
            pass
        finally:
            s.close()
        time.sleep(0.003)
    raise TimeoutError("no hello")


def qemu_by_hand(memory_mib, accel="tcg,tb-size=32", look=None):
    """QEMU with the same kernel, initramfs, memory and devices: seconds until
    hello, or with `look` what that says of its pid a second later."""
    d = tempfile.mkdtemp(prefix="hyb-hand.", dir="/tmp")
    vhost, listen = d + "/vhost.sock", d + "/vsock.sock"
    with open(TOP + "/kernel-config/cmdline") as f:
        cmdline = f.read().strip()
    args = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35,usb=off,memory-backend=mem,smm=off,vmport=off", "-accel", accel, "-cpu", "max",
            "-bios", "/usr/share/qemu/qboot.rom", "-m", str(memory_mib), "-smp", "1,maxcpus=2",
            "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on",
            "-chardev", f"socket,id=vs,path={vhost},server=on,wait=on",
            "-device", "vhost-user-vsock-pci,chardev=vs",
            "-device", "pvpanic", "-serial", "file:" + d + "/console",
            "-kernel", GUEST + "/vmlinux", "-initrd", GUEST + "/initramfs.cpio", "-append", cmdline]
    for i in range(5):
        args += ["-device", f"pcie-root-port,id=p{i},chassis={i + 1},slot={i}"]
    begin = time.monotonic()
    device = subprocess.Popen(["hyb-vsockd", "--vhost", vhost, "--listen", listen, "--cid", "77"],
                              stderr=subprocess.DEVNULL)
    qemu = subprocess.Popen(args, stderr=subprocess.DEVNULL)
    try:
        hello(listen, begin + 60)
        took = time.monotonic() - begin
        if look:
            time.sleep(1)
            return look(qemu.pid)
        return took
    finally:
        qemu.kill()
        qemu.wait()
        device.kill()
        device.wait()
        shutil.rmtree(d, ignore_errors=True)


def cold_deploy():
    ours, theirs = [], []
    with Root() as root:
        manifest(root.file("s.yaml"), "s", ["sleep", "1000"])
        for i in range(ROUNDS + 1):
            begin = time.monotonic()
            hyb("deploy", root.file("s.yaml"))
            took = time.monotonic() - begin
            hyb("down", "s")
            hand = qemu_by_hand(64)
            if i:  # the first warms libvirt's cache of capabilities
                ours.append(took)
                theirs.append(hand)
    a, b = statistics.median(ours), statistics.median(theirs)
    figure("cold_deploy", a * 1000, "ms", a / b,
           f"QEMU by hand until the agent's hello, {b * 1000:.0f} ms; median of {ROUNDS}")


def vsock_path():
    info = json.loads(hyb("inspect", "s/vm").stdout)
    return info["directory"] + "/vsock.sock"


def exec_():
    ours, theirs = [], []
    with Root() as root:
        manifest(root.file("s.yaml"), "s", ["sleep", "1000"])
        hyb("deploy", root.file("s.yaml"))
        path = vsock_path()
        for i in range(4 * ROUNDS + 1):
            begin = time.monotonic()
            hyb("exec", "s/vm/c", "--", "/bin/true")
            took = time.monotonic() - begin
            begin = time.monotonic()
            hello(path, begin + 5)
            plain = time.monotonic() - begin
            if i:
                ours.append(took)
                theirs.append(plain)
    a, b = statistics.median(ours), statistics.median(theirs)
    figure("exec", a * 1000, "ms", a / b,
           f"connect and one call to the agent, {b * 1000:.2f} ms; median of {4 * ROUNDS}")


def logs():
    lines = 1000000
    ours, theirs = [], []
    want = "".join(f"{i}\n" for i in range(1, lines + 1)).encode()
    # The lines are made beforehand: making them takes an emulated CPU seconds.
    program = (f"seq 1 {lines} > /tmp/lines; while [ ! -e /tmp/go ]; do usleep 20000; done; "
               "exec cat /tmp/lines")
    with Root() as root:
        manifest(root.file("s.yaml"), "s", ["sh", "-c", program], memory="96m")
        for i in range(ROUNDS):
            hyb("deploy", root.file("s.yaml"))
            while hyb("exec", "s/vm/c", "--", "sh", "-c",
                      f"[ $(wc -c < /tmp/lines) = {len(want)} ]", check=False).returncode:
                time.sleep(0.2)
            begin = time.monotonic()
            hyb("exec", "s/vm/c", "--", "sh", "-c", "cat /tmp/lines | cat > /dev/null")
            theirs.append(len(want) / (time.monotonic() - begin) / 1e6)
            begin = time.monotonic()
            hyb("exec", "s/vm/c", "--", "touch", "/tmp/go")
            got = hyb("logs", "-f", "s/vm/c").stdout
            ours.append(len(want) / (time.monotonic() - begin) / 1e6)
            if got != want:
                print(f"bench: logs FAILED: {len(got)} bytes of {len(want)}")
                sys.exit(1)
            hyb("down", "s")
    a, b = statistics.median(ours), statistics.median(theirs)
    figure("logs", a, "MB/s", a / b,
           f"exec of the same program into a pipe in the guest, {b:.1f} MB/s; {lines} lines, every byte compared; "
           f"median of {ROUNDS}")


def cp():
    """A file of 48 MB in and out again, beside the same bytes through exec and cat."""
    data = os.urandom(48_000_000)
    into, out, theirs = [], [], []

    def timed(list_, *args, **kw):
        begin = time.monotonic()
        hyb(*args, **kw)
        list_.append(len(data) / (time.monotonic() - begin) / 1e6)

    with Root() as root:
        manifest(root.file("s.yaml"), "s", ["sleep", "100000"], memory="192m")
        hyb("deploy", root.file("s.yaml"))
        with open(root.file("data"), "wb") as f:
            f.write(data)
        for i in range(ROUNDS):
            timed(into, "cp", root.file("data"), "s/vm/c:/tmp/data")
            timed(out, "cp", "s/vm/c:/tmp/data", root.file("back"))
            begin = time.monotonic()
            got = hyb("exec", "s/vm/c", "--", "cat", "/tmp/data").stdout
            theirs.append(len(data) / (time.monotonic() - begin) / 1e6)
            with open(root.file("back"), "rb") as f:
                if f.read() != data or got != data:
                    print("bench: cp FAILED: other bytes")
                    sys.exit(1)
    a, b, c = (statistics.median(x) for x in (out, into, theirs))
    figure("cp", a, "MB/s", a / c,
           f"the same file through exec and cat, {c:.1f} MB/s; in {b:.1f} MB/s; every byte compared; median of {ROUNDS}")


def stats(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(b"CONNECT 1024\n")
    s.recv(64)
    s.sendall(b'{"method":"io.hyb.Agent.Stats"}\0')
    s.settimeout(5)
    got = b""
    while b"\0" not in got:
        got += s.recv(65536)
    s.close()
    return json.loads(got.split(b"\0")[0])["parameters"]


def guest_fixed_memory():
    mib = 256
    values = []
    with Root() as root:
        for i in range(ROUNDS):
            manifest(root.file("s.yaml"), "s", ["sleep", "1000"], memory=f"{mib}m")
            hyb("deploy", root.file("s.yaml"))
            path = vsock_path()
            hyb("stop", "s/vm/c")
            time.sleep(1)
            values.append(mib - stats(path)["memory_available"] / (1 << 20))
            hyb("down", "s")
    a = statistics.median(values)
    figure("guest_fixed_memory", a, "MiB", a / 29,
           f"an untuned kernel without an agent, 29 MiB; of {mib} MiB; median of {ROUNDS}")


def smallest_vm():
    low, high = 40, 64
    with Root() as root:
        def runs(mib):
            manifest(root.file("s.yaml"), "s", ["sh", "-c", "echo up; exec sleep 1000"], memory=f"{mib}m")
            ok = hyb("deploy", "--timeout", "40s", root.file("s.yaml"), check=False).returncode == 0
            ok = ok and hyb("exec", "s/vm/c", "--", "true", check=False).returncode == 0
            hyb("down", "s", check=False)
            return ok
        while high - low > 2:
            mid = (low + high) // 4 * 2
            if runs(mid):
                high = mid
            else:
                low = mid
    figure("smallest_vm", high, "MiB", high / 56, "the bound, 56 MiB; steps of 2 MiB")


def rollup(pid, key):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
    return 0


def touched(pid):
    """MiB of the guest's memory that is there: the memfd's resident pages."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if "-" in line.split()[0] and ":" not in line.split()[0]:
                inside = "memfd:" in line
            elif inside and line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def host_memory():
    ours, device, theirs = [], [], []
    with Root() as root:
        manifest(root.file("s.yaml"), "s", ["sleep", "1000"], memory="128m")
        for i in range(2):
            theirs.append(qemu_by_hand(128, "tcg", lambda pid: rollup(pid, "Pss") - touched(pid)))
        for i in range(ROUNDS):
            hyb("deploy", root.file("s.yaml"))
            time.sleep(1)
            qemu = json.loads(hyb("vm", "ls", "-o", "json").stdout)[0]["qemu_pid"]
            vsockd = int(subprocess.run(
                ["pgrep", "-f", f"hyb-vsockd.*{root.dir}"], capture_output=True).stdout.split()[0])
            guest_q, guest_d = touched(qemu), touched(vsockd)
            ours.append(rollup(qemu, "Pss") - guest_q + rollup(vsockd, "Pss") - guest_d)
            with open(f"/proc/{vsockd}/status") as f:
                status = {l.split(":")[0]: l.split() for l in f}
            device.append((int(status["RssAnon"][1]) + int(status["RssFile"][1])) / 1024)
            hyb("down", "s")
    a, b = statistics.median(ours), statistics.median(device)
    c = statistics.median(theirs)
    figure("host_memory", a, "MiB", a / c,
           f"QEMU by hand with a blank guest, {c:.0f} MiB; hyb-vsockd alone {b:.1f} MiB resident; median of {ROUNDS}")

def image_root(root, megabytes):
    """The root of an image: busybox, reader and a file of random bytes."""
    top = root.file("image-root")
    os.makedirs(top + "/bin")
    shutil.copy(shutil.which("busybox"), top + "/bin/busybox")
    shutil.copy(root.file("reader"), top + "/bin/reader")
    for link in ("sh", "cat", "cp", "sleep", "sync", "true"):
        os.symlink("busybox", f"{top}/bin/{link}")
    with open(top + "/bench.bin", "wb") as f:
        for _ in range(megabytes):
            f.write(os.urandom(1 << 20))
    subprocess.run(["tar", "-C", top, "-cf", root.file("image.tar"), "."], check=True)
    shutil.rmtree(top)
    with open(root.file("image.tar"), "rb") as f:
        return f.read()


def import_image(root, name, megabytes):
    image_root(root, megabytes)
    hyb("image", "import", root.file("image.tar"), name)
    os.unlink(root.file("image.tar"))


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in files.items():
            i = tarfile.TarInfo(name)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return out.getvalue()


def load_image(root, name, *layers):
    """An image of these layers, as `docker save` has it: seconds that loading takes."""
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}}
    files = {f"l{i}.tar": l for i, l in enumerate(layers)}
    parts = [{"Config": "c.json", "RepoTags": [name + ":latest"], "Layers": list(files)}]
    files.update({"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(parts).encode()})
    with open(root.file("image.tar"), "wb") as f:
        f.write(tar_of(**files))
    begin = time.monotonic()
    hyb("image", "load", root.file("image.tar"))
    took = time.monotonic() - begin
    os.unlink(root.file("image.tar"))
    return took


def build_reader(root):
    """reader.c, and an initramfs in which it is started before the agent."""
    subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-static",
                    "-o", root.file("reader"), TOP + "/tests/bench/reader.c"], check=True)
    over = root.file("over")
    os.mkdir(over)
    shutil.copy(GUEST + "/hyb-agent", over + "/agent")
    shutil.copy(root.file("reader"), over + "/init")
    out = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=over, input=b"agent\ninit\n",
                         capture_output=True, check=True).stdout
    with open(GUEST + "/initramfs.cpio", "rb") as f:
        out = f.read() + out
    with open(root.file("initramfs"), "wb") as f:
        f.write(out)
    os.environ["HYB_INITRAMFS"] = root.file("initramfs")


def read_(disk):
    """Reads of a container beside the guest's own of the same disk, in turns in one VM."""
    megabytes, rounds = 64, 8 * ROUNDS + 1
    with Root() as root:
        build_reader(root)
        restart_hybd()
        import_image(root, "reader", megabytes)
        manifest(root.file("s.yaml"), "s", ["sleep", "100000"], memory="256m", image="reader",
                 container='        volumes: ["v:/v"]\n', extra="volumes:\n  v: { size: 256m }\n")
        hyb("deploy", root.file("s.yaml"))
        path = "/bench.bin"
        if disk == "volume":
            path = "/v/bench.bin"
            hyb("exec", "s/vm/c", "--", "sh", "-c", "cp /bench.bin /v/ && sync")
        for how, text in ("seq", f"sequential, {megabytes} MiB"), ("rand", "random 4 KiB, 4000 of them"):
            got = hyb("exec", "s/vm/c", "--", "reader", path, disk, how, str(rounds)).stdout.split()
            pairs = [(float(a) / 1e6, float(b) / 1e6) for a, b in zip(got[::2], got[1::2])]
            a, b = (statistics.median(x) for x in zip(*pairs))
            figure(f"read_{disk}_{how}", a, "MB/s", statistics.median(x / y for x, y in pairs),
                   f"the guest outside containers, same file of the same disk, {b:.1f} MB/s; {text}, "
                   f"guest's page cache dropped before each; median of {rounds} pairs")


def volume_fsync():
    """4 KiB appended and synced in a container: beside the guest's own, and the host's in the same folder."""
    rounds = 100 * ROUNDS
    text = f"4 KiB appended and fsynced, {rounds} times in turns"
    with Root() as root:
        build_reader(root)
        restart_hybd()
        import_image(root, "reader", 1)
        manifest(root.file("s.yaml"), "s", ["sleep", "100000"], memory="128m", image="reader",
                 container='        volumes: ["v:/v"]\n', extra="volumes:\n  v: { size: 64m }\n")
        hyb("deploy", root.file("s.yaml"))
        hyb("exec", "s/vm/c", "--", "sh", "-c", "cp /bench.bin /v/ && sync")
        volume, guest, scratch, host = [], [], [], []
        # The host's in turns with the container's, ten at a time: the machine has its moods.
        for _ in range(rounds // 10):
            got = [float(x) for x in hyb("exec", "s/vm/c", "--", "reader", "/v/append", "volume", "append", "10")
                   .stdout.split()]
            volume += got[::2]
            guest += got[1::2]
            for out, args in ((scratch, ["hyb", "exec", "s/vm/c", "--", "reader", "/append"]),
                              (host, [root.file("reader"), root.file("volumes/append")])):
                out += [float(x) for x in subprocess.run([*args, "alone", "append", "10"], check=True,
                                                         capture_output=True).stdout.split()]
        for name, mine in ("volume", volume), ("scratch", scratch):
            for what, of in ("", statistics.median), ("_p99", lambda x: statistics.quantiles(x, n=100)[98]):
                figure(f"{name}_fsync{what}", of(mine), "us", of(mine) / of(guest),
                       f"the guest outside containers on the volume, {of(guest):.0f} us; on the host, in the same "
                       f"file system, {of(host):.0f} us, ratio {of(mine) / of(host):.2f}; {text}")


def read_bind():
    """Files read once each in a new VM: through virtiofs, and from a volume."""
    files, megabytes = 7, 48
    with Root() as root:
        shared = root.dir + ".bind"
        os.mkdir(shared)
        os.environ["HYB_ALLOW_BIND"] = shared
        try:
            restart_hybd()
            for i in range(files):
                with open(f"{shared}/{i}", "wb") as f:
                    f.write(os.urandom(megabytes << 20))
            manifest(root.file("s.yaml"), "s", ["sleep", "100000"], memory="256m",
                     container=f'        volumes: ["v:/v", "{shared}:/b:ro"]\n',
                     extra="volumes:\n  v: { size: 512m }\n")
            hyb("deploy", root.file("s.yaml"))
            hyb("exec", "s/vm/c", "--", "sh", "-c", "cp /b/* /v/ && sync")
            hyb("restart", "s/vm")

            def took(path):
                begin = time.monotonic()
                hyb("exec", "s/vm/c", "--", "sh", "-c", f"cat {path} >/dev/null")
                return time.monotonic() - begin

            # What an exec takes that reads nothing.
            empty = statistics.median(took("/dev/null") for _ in range(files))

            def speed(path):
                return megabytes * 1.048576 / max(took(path) - empty, 0.001)

            pairs = [(speed(f"/b/{i}"), speed(f"/v/{i}")) for i in range(files)]
        finally:
            shutil.rmtree(shared)
    a, b = (statistics.median(x) for x in zip(*pairs))
    figure("read_bind", a, "MB/s", statistics.median(x / y for x, y in pairs),
           f"the same from a volume, {b:.1f} MB/s; {megabytes} MiB a file, sequential, in the host's "
           f"page cache and not in the guest's; median of {files} pairs")


def cached(path):
    """Bytes of a file that are in the host's page cache."""
    out = subprocess.run(["fincore", "-b", "-n", "-o", "RES", path], capture_output=True, check=True).stdout
    return int(out)


def store_files(root):
    """What the image store has: path of each file."""
    store = root.file("images/erofs")
    return [os.path.join(store, f) for f in os.listdir(store)]


def noise_layer(megabytes, most):
    """A layer of files of random bytes, each of up to `most` bytes."""
    files, left = {}, megabytes << 20
    while left > 0:
        n = min(left, random.randrange(1000, most))
        files[f"usr/{len(files) % 97}/{len(files)}"] = os.urandom(n)
        left -= n
    return tar_of(**files)


def container(name, image):
    return f"      {name}: {{ image: {image}, command: sleep 100000, read_only: true, stop_grace_period: 0s }}\n"


def image_second():
    """Two images on one base, as the store has them and as a container reads them."""
    megabytes, own, rounds = 64, 30, 8 * ROUNDS + 1
    with Root() as root:
        build_reader(root)
        base = [image_root(root, megabytes), noise_layer(300 - megabytes, 200_000)]
        hyb("image", "rm", "busybox")
        loads = [load_image(root, name, *base, tar_of(own=os.urandom(own << 20))) for name in ("first", "second")]
        rows = {r["name"].split("/")[-1]: r for r in json.loads(hyb("image", "ls", "-o", "json").stdout)}
        first, second = (rows[name + ":latest"] for name in ("first", "second"))
        if second["shared_size"] == 0:
            print("bench: image_second FAILED: nothing is shared")
            sys.exit(1)
        figure("image_second", second["disk_size"] / 1e6, "MB", second["disk_size"] / second["size"],
               f"a flat file, {second['size'] / 1e6:.1f} MB; a layer of {own} MiB on a base of 300 MiB that "
               f"another image has too")
        figure("image_second_load", loads[1], "s", loads[1] / loads[0],
               f"the first, whose file is flat, {loads[0]:.2f} s")
        with open(root.file("s.yaml"), "w") as f:
            f.write("hyb: 1\nname: s\nvms:\n  vm:\n    restart: no\n    resources: { memory: 128m }\n    containers:\n"
                    + container("first", "first") + container("second", "second"))
        hyb("deploy", root.file("s.yaml"))

        for key, path, how, text in (
                ("seq", "/bench.bin", "seq", f"sequential, {megabytes} MiB of the base"),
                ("rand", "/bench.bin", "rand", "random 4 KiB of the base, 4000 of them"),
                ("own", "/own", "seq", f"sequential, {own} MiB of its own")):
            pairs = []
            for i in range(rounds):
                got = {}
                for name in ("first", "second") if i % 2 else ("second", "first"):
                    out = hyb("exec", f"s/vm/{name}", "--", "reader", path, "alone", how, "1").stdout
                    got[name] = float(out) / 1e6
                pairs.append((got["second"], got["first"]))
            a, b = (statistics.median(x) for x in zip(*pairs))
            figure(f"image_second_{key}", a, "MB/s", statistics.median(x / y for x, y in pairs),
                   f"the same from the first, which is flat, {b:.1f} MB/s; {text}, guest's page cache dropped before "
                   f"each; median of {rounds} pairs in turns")


def image_cache():
    """Ten VMs that read all of two images on one base: what the host's page cache holds of both."""
    vms, megabytes, own = 10, 64, 8
    with Root() as root:
        build_reader(root)
        hyb("image", "rm", "busybox")
        restart_hybd()
        base = image_root(root, megabytes)
        for name in ("first", "second"):
            load_image(root, name, base, tar_of(own=os.urandom(own << 20)))
        files = store_files(root)
        # Loading has left what it wrote there.
        for path in files:
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        text = "hyb: 1\nname: s\nvms:\n"
        for i in range(vms):
            text += (f"  v{i}:\n    restart: no\n    resources: {{ memory: 64m }}\n    containers:\n"
                     + container("c", ("first", "second")[i % 2]))
        with open(root.file("s.yaml"), "w") as f:
            f.write(text)
        hyb("deploy", "--timeout", "200s", root.file("s.yaml"))
        after = []
        for i in range(vms):
            hyb("exec", f"s/v{i}/c", "--", "sh", "-c", "cat /bench.bin /own > /dev/null")
            after.append(sum(cached(f) for f in files))
        inodes = {os.stat(os.path.join(d, f)).st_ino for d, _, fs in os.walk(root.file("vms")) for f in fs}
        used = [f for f in files if os.stat(f).st_ino in inodes]
        figure("image_cache", after[-1] / 1e6, "MB", after[-1] / after[0],
               f"one VM that has read all of one image, {after[0] / 1e6:.1f} MB; {vms} VMs, half of each of two images "
               f"with {own} MiB each on a base of {megabytes} MiB; {len(used)} files behind their disks, of "
               f"{' and '.join(f'{os.path.getsize(f) / 1e6:.1f}' for f in sorted(used))} MB")


def engine_many_agent():
    """100 containers of one stack in one VM of 512 MiB, by one deployment."""
    n, mib = 100, 512

    def declare(path, count):
        with open(path, "w") as f:
            f.write(f"hyb: 1\nname: s\nvms:\n  vm:\n    resources: {{ memory: {mib}m }}\n    containers:\n")
            for i in range(count):
                f.write(f"      c{i}: {{ image: busybox, command: sleep 100000, stop_grace_period: 0s }}\n")

    with Root() as root:
        file = root.file("s.yaml")
        declare(file, 1)
        hyb("deploy", file)
        path = vsock_path()
        empty = stats(path)
        one = []
        for i in range(ROUNDS):
            hyb("stop", "s/vm/c0")
            begin = time.monotonic()
            hyb("start", "s/vm/c0")
            one.append(time.monotonic() - begin)
        declare(file, n)
        begin = time.monotonic()
        hyb("deploy", "--timeout", "600s", file)
        took = time.monotonic() - begin
        full = stats(path)
        rows = json.loads(hyb("ps", "-o", "json", "s").stdout)
        running = sum(r["state"] == "running" for r in rows)
        works = hyb("exec", f"s/vm/c{n - 1}", "--", "echo", "here", check=False).stdout
        if running != n or len(full["containers"]) != n or works != b"here\n":
            print(f"bench: engine_many_agent FAILED: {running} of {n} run, {works}")
            sys.exit(1)
    used = (full["memory_total"] - full["memory_available"]) / (1 << 20)
    cost = (empty["memory_available"] - full["memory_available"]) / 1024 / (n - 1)
    a = statistics.median(one)
    figure("engine_many_agent", took, "s", took / (n - 1) / a,
           f"a start of one, {a * 1000:.0f} ms, {n - 1} times; {n} run in a VM of {mib} MiB")
    figure("engine_many_agent_memory", used, "MiB", used / mib,
           f"the VM's {mib} MiB, with {n} containers; {cost:.0f} KiB each")


FIGURES = {"cold_deploy": cold_deploy, "exec": exec_, "logs": logs, "cp": cp,
           "guest_fixed_memory": guest_fixed_memory, "smallest_vm": smallest_vm,
           "host_memory": host_memory, "read_image": lambda: read_("image"),
           "read_volume": lambda: read_("volume"), "volume_fsync": volume_fsync, "read_bind": read_bind,
           "image_second": image_second, "image_cache": image_cache,
           "engine_many_agent": engine_many_agent}

if __name__ == "__main__":
    FIGURES[sys.argv[1]]()
