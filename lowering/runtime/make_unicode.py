#!/usr/bin/env python3
#===- make_unicode.py - writes UnicodeTables.inc -----------------------------===#
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
"""Prints the tables of Unicode.cpp from Python's unicodedata.

usage: python3.13 make_unicode.py > UnicodeTables.inc
"""
import sys
import unicodedata as ud

LIMIT = 0x110000


def ranges(of):
    """[(first, last, value)] of runs of equal truthy values."""
    out = []
    for cp in range(LIMIT):
        value = of(chr(cp))
        if not value:
            continue
        if out and out[-1][1] == cp - 1 and out[-1][2] == value:
            out[-1][1] = cp
        else:
            out.append([cp, cp, value])
    return out


def emit(kind, name, rows):
    print(f"static const {kind} {name}[] = {{")
    line = ""
    for row in rows:
        item = "{" + ", ".join(row) + "},"
        if len(line) + len(item) + 1 > 78:
            print("   " + line)
            line = ""
        line += " " + item
    print("   " + line)
    print("};\n")


def main():
    print("// Written by make_unicode.py from Unicode "
          f"{ud.unidata_version}; do not edit.\n")
    for name, major in (("letters", "L"), ("numbers", "N")):
        rows = ranges(lambda c: ud.category(c)[0] == major)
        emit("Range", name, [(hex(a), hex(b)) for a, b, _ in rows])
    rows = ranges(ud.combining)
    emit("ClassRange", "combiningClasses",
         [(hex(a), hex(b), str(v)) for a, b, v in rows])
    # Canonical decompositions by one step; `true` where NFC composes again.
    rows = []
    for cp in range(LIMIT):
        text = ud.decomposition(chr(cp))
        if not text or text[0] == "<":
            continue
        parts = [int(p, 16) for p in text.split()]
        composes = len(parts) == 2 and ud.normalize("NFC", chr(cp)) == chr(cp)
        parts += [0] * (2 - len(parts))
        rows.append((hex(cp), hex(parts[0]), hex(parts[1]),
                     "true" if composes else "false"))
    emit("Decomposition", "decompositions", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
