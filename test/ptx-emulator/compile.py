#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compile.py [--check] [--list] [NAME...]: makes kernels/*.ptx from their sources.

A source says how in lines `// compile: FILE.ptx nvcc|clang FLAGS`.
What is specific to a machine or a build is taken out.  Each result is given to ptxas
for the target that it names.  --check compares with what is checked in and writes
nothing; --list prints the opcodes, with modifiers, of the checked-in PTX.  Needs
CUDA 13.0 and clang 22, and no GPU; no test needs this script."""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KERNELS = HERE / "kernels"
COMPILERS = {
    "nvcc": ["nvcc", "-ptx", "-std=c++17", "-diag-suppress", "550,177"],
    "clang": ["clang-22", "-x", "cuda", "-std=c++17", "--cuda-device-only", "-S", "-w"],
}


def recipes():
    """Yields (source, name of the PTX, compiler, flags)."""
    for source in sorted(KERNELS.glob("*.cu")):
        for match in re.finditer(r"^// compile: (\S+) (\S+) ?(.*)$", source.read_text(), re.M):
            yield source, match[1], match[2], match[3].split()


def strip(text):
    """PTX without what depends on the machine or on the compiler's build."""
    text = re.sub(r"^//.*\n", "", text, flags=re.M)
    # Debug information is bytes of paths and types; .loc and .file stay.
    text = re.sub(r"^\s*\.section\s+\.\w+\s*\n?\s*\{.*?^\s*\}\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^(\.target \w+), debug", r"\1", text, flags=re.M)
    text = re.sub(r'(\.file\s+\d+ )"[^"]*?([^"/]+)"', r'\1"\2"', text)
    text = re.sub(r'(\.file\s+\d+ "[^"]*").*', r"\1", text)
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    text = re.sub(r"\n{2,}", "\n", text).strip() + "\n"
    return text


def compiled(source, compiler, flags):
    with tempfile.TemporaryDirectory() as work:
        to = pathlib.Path(work) / "out.ptx"
        subprocess.run([*COMPILERS[compiler], *flags, source, "-o", to], check=True)
        return strip(to.read_text())


def assemble(text):
    """What ptxas says against a text; empty when it takes it."""
    target = re.search(r"^\s*\.target\s+(\w+)", text, re.M)
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "in.ptx"
        path.write_text(text)
        flags = ["-arch", target[1] if target else "sm_80", "-o", path.with_suffix(".cubin")]
        done = subprocess.run(["ptxas", *flags, path], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def opcodes(text):
    text = re.sub(r"//.*|/\*.*?\*/", "", text)
    between = r"[;{}]|^\s*[\w$.%]+:(?!:)|^\s*\.(?:loc|file|pragma|version|target).*$"
    for statement in re.split(between, text, flags=re.M):
        match = re.match(r"\s*(?:@!?[\w%$]+\s+)?([a-z]\w*(?:(?:\.|::)\w+)*)(?=\s|$)", statement)
        if match and "." + match[1] not in statement:
            yield match[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("name", nargs="*")
    arguments = parser.parse_args()
    if arguments.list:
        count = collections.Counter()
        for path in sorted(KERNELS.glob("*.ptx")):
            count.update(opcodes(path.read_text()))
        for name in sorted(count):
            print(name)
        return 0
    failed, names = False, set()
    for source, name, compiler, flags in recipes():
        names.add(name)
        if arguments.name and source.stem not in arguments.name:
            continue
        text = compiled(source, compiler, flags)
        path = KERNELS / name
        if arguments.check and (not path.exists() or path.read_text() != text):
            print(f"{name}: differs from what {compiler} makes of {source.name}")
            failed = True
        if not arguments.check:
            path.write_text(text)
        complaint = assemble(text)
        if complaint:
            print(f"{name}: {complaint}")
            failed = True
        print(f"{name}: {len(text) // 1024} KiB", file=sys.stderr)
    for path in KERNELS.glob("*.ptx"):
        if path.name not in names:
            print(f"{path.name}: no source makes it")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
