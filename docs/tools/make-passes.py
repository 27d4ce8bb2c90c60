#!/usr/bin/env python3
# ===- make-passes.py - docs/Passes.md, from the definitions of passes -----=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""usage: make-passes.py ROOT [--check]: writes docs/Passes.md, by mlir-tblgen from
the PATH; with --check says whether it is what would be written."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

HEAD = """<!-- Made by docs/tools/make-passes.py from the definitions of the passes; do not edit. -->

# Passes

`nest-opt` has them as flags and in `--pass-pipeline`; the plugin's are known in `--pass-pipeline` alone. Those named `nest-` take graph
operations, those named `kernel-` kernels. `nestc compile` runs `nest-specialize`, `nest-configure`, `nest-drop-axes` and then the
pipeline `nest-to-kernels`, whose order is that of passes/Pipelines.cpp.
"""


def generate(root, tblgen, include):
    text = HEAD
    for folder, name in (("passes", "Passes on graphs and kernels"), ("lowering", "Lowerings")):
        made = subprocess.run([tblgen, "--gen-pass-doc", f"-I{include}", f"-I{root}", root / folder / "Passes.td"],
                              capture_output=True, text=True, check=True).stdout
        made = re.sub(r"^<!--.*-->\n", "", made)
        text += f"\n## {name}\n" + "\n" + made.strip() + "\n"
    # A pass without a description ends in a blank line too many.
    return re.sub(r"\n{3,}", "\n\n", text)


def main():
    root = Path(sys.argv[1]).resolve()
    tblgen = shutil.which("mlir-tblgen") or shutil.which("mlir-tblgen-22")
    if not tblgen:
        sys.exit("there is no mlir-tblgen on the PATH")
    include = Path(tblgen).resolve().parent.parent / "include"
    text, path = generate(root, tblgen, include), root / "docs" / "Passes.md"
    if "--check" not in sys.argv:
        path.write_text(text)
    elif path.read_text() != text:
        sys.exit(f"{path} is not what the definitions say; run docs/tools/make-passes.py")


if __name__ == "__main__":
    main()
