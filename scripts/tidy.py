#!/usr/bin/env python3
# ===- tidy.py - clang-tidy over what changed -------------------------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""usage: tidy.py [BUILD]

Runs clang-tidy-22 on the C++ sources of a build (default: build), which must be
up to date: its precompiled header is used and its dependencies are believed. A
source that is clean leaves a stamp in BUILD/tidy, and is run again only when its
command, a file that it includes, a .clang-tidy or the tool's version changes.
"""

import functools
import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = (ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build")).resolve()
TIDY = "clang-tidy-22"


@functools.cache
def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def includes():
    """From an object to the files it was made of. System headers are left out:
    they come and go with the tool's version."""
    files, current = {}, None
    deps = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], check=True, capture_output=True, text=True).stdout
    for line in deps.splitlines():
        if line.startswith("    "):
            if not line.startswith("    /usr/"):
                current.append((BUILD / line.strip()).resolve())
        elif line:
            current = files.setdefault(line.split(":")[0], [])
    return files


@functools.cache
def configs(folder):
    """The configurations that hold in a folder."""
    return [path for path in (place / ".clang-tidy" for place in (folder, *folder.parents)) if path.exists()]


version = subprocess.run([TIDY, "--version"], check=True, capture_output=True, text=True).stdout
made_of = includes()


def check(entry):
    """Runs one source unless its stamp says that nothing changed. Gives its
    name and what was found, or None where it was not run."""
    source = Path(entry["file"])
    name = str(source.relative_to(ROOT))
    words = shlex.split(entry["command"])
    inputs = {source, *made_of.get(words[words.index("-o") + 1], [])}
    inputs.update(*(configs(path.parent) for path in list(inputs)))
    state = [version, entry["command"], [(str(path), digest(path)) for path in sorted(inputs)]]
    key = hashlib.sha256(repr(state).encode()).hexdigest()
    stamp = BUILD / "tidy" / (name + ".stamp")
    if stamp.exists() and stamp.read_text() == key:
        return name, None
    done = subprocess.run(
        [TIDY, "-p", BUILD, "--quiet", "--warnings-as-errors=*", source], capture_output=True, text=True
    )
    if done.returncode:
        return name, done.stdout + done.stderr + f"exit {done.returncode}\n"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    return name, ""


commands = json.loads((BUILD / "compile_commands.json").read_text())
entries = [e for e in commands if e["file"].endswith(".cpp") and not Path(e["file"]).is_relative_to(BUILD)]
with ThreadPoolExecutor(os.cpu_count()) as pool:
    results = list(pool.map(check, entries))
bad = [name for name, output in results if output]
for _, output in results:
    if output:
        print(output)
print(f"{len(results)} sources, {sum(output is not None for _, output in results)} run, {len(bad)} with findings")
if bad:
    sys.exit("error: " + " ".join(bad) + ": clang-tidy found something, see above; no warning is legal")
