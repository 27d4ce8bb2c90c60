# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finds programs of the CUDA toolkit, where lowering/nvptx/Ptxas.h looks too.

Counts of instructions depend on the release of ptxas: tests take RELEASE and no
other.  nvdisasm reads what older ones wrote.
"""

import glob
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = "13.0"
RELEASES = {"ptxas": RELEASE, "nvdisasm": RELEASE.split(".")[0]}


def places(program):
    if program == "ptxas":
        yield os.environ.get("NEST_PTXAS")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(name):
            yield os.path.join(os.environ[name], "bin", program)
    yield shutil.which(program)
    for root in (os.environ.get("VIRTUAL_ENV"), str(ROOT / ".venv")):
        if root:
            yield from sorted(glob.glob(f"{glob.escape(root)}/lib/python3*/site-packages/nvidia/*/bin/{program}"))


def release(path):
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    except OSError:
        said = ""
    found = re.search(r"release ([\d.]+)", said)
    return found[1] if found else "unknown"


def find(program):
    """(path, "") of the first one of its release, or (None, why there is none)."""
    wanted, others = RELEASES[program], []
    for path in places(program):
        if path and os.access(path, os.X_OK):
            got = release(path)
            if got == wanted or got.startswith(wanted + "."):
                return path, ""
            others.append(f"{path} is of release {got}")
    return None, f"there is no {program} {wanted} ({'; '.join(others) or 'none at all'}); scripts/setup.sh gets one by pip"
