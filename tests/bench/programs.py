#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What real programs do in a container: Redis, pgbench, nginx. Plain figures,
without a ratio: there is nothing else in the VM to measure them against."""
import re
import subprocess
import sys

from vm import TOP, Root, hyb

PORT = 18082  # as docs/examples/programs.yaml has it
SETS, TRANSACTIONS, REQUESTS = 1000000, 1000, 2000


def inside(container, *command):
    return hyb("exec", f"programs/data/{container}", "--", *command).stdout.decode()


def figure(name, out, pattern, unit, text):
    """The number that pattern finds in a program's words."""
    found = re.search(pattern, out)
    if not found:
        print(f"bench: {name} FAILED: {out[-500:]}")
        sys.exit(1)
    print(f"bench: {name} {float(found[1]):.0f} {unit} # {text}", flush=True)


def redis():
    out = inside("redis", "redis-benchmark", "-t", "set", "-n", str(SETS), "-r", str(SETS), "-P", "32", "--csv")
    figure("programs_redis", out, r'"SET","([0-9.]+)"', "SETs/s",
           f"redis-benchmark, {SETS} SETs, 32 in a pipeline, 50 clients, appended to a file in a volume")


def pgbench():
    client = ("pgbench", "-h", "127.0.0.1", "-U", "postgres")
    inside("postgres", *client, "-i", "-s", "1", "-q", "postgres")
    out = inside("postgres", *client, "-c", "2", "-t", str(TRANSACTIONS // 2), "postgres")
    if f"processed: {TRANSACTIONS}/{TRANSACTIONS}" not in out:
        out = "not all transactions: " + out.replace("tps", "")
    figure("programs_pgbench", out, r"tps = ([0-9.]+)", "TPS",
           f"pgbench, scale 1, {TRANSACTIONS} transactions of 2 clients, each one's fsync to a volume")


def nginx():
    out = subprocess.run([TOP + "/tests/e2e/load.py", f"http://127.0.0.1:{PORT}/",
                          TOP + "/images/oci/nginx/index.html", str(REQUESTS), "8"],
                         check=True, capture_output=True, text=True).stdout
    figure("programs_nginx", out, rf"^{REQUESTS} of {REQUESTS} right, ([0-9.]+) a second", "requests/s",
           f"{REQUESTS} requests of 8 clients through the published port, a connection each, every body compared")


with Root():
    for image in "nginx", "redis", "postgresql", "python3":
        path = f"build/images/{image}.tar"
        subprocess.run(["make", "-s", path], check=True, stdout=subprocess.DEVNULL)
        hyb("image", "load", path)
    hyb("deploy", "--timeout", "300s", "docs/examples/programs.yaml")
    redis()
    pgbench()
    nginx()
