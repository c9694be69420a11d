#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a tar of N empty files, 999 in a folder, to standard output, without
the blocks that end a tar: another may follow. tarfile would take a minute."""
import sys


def header(name, kind, mode):
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:107] = mode
    h[108:115] = h[116:123] = b"0000000"
    h[124:135] = b"0" * 11
    h[136:147] = b"%011o" % 1700000000
    h[148:156] = b" " * 8
    h[156:157] = kind
    h[257:265] = b"ustar\x0000"
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


for i in range(int(sys.argv[1])):
    if i % 999 == 0:
        sys.stdout.buffer.write(header(b"d%04d/" % (i // 999), b"5", b"0000755"))
    name = b"d%04d/file%06d" % (i // 999, i)
    sys.stdout.buffer.write(header(name, b"0", b"0000644"))
