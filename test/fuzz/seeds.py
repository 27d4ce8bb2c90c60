#!/usr/bin/env python3
# ===- seeds.py - cut tests into seeds for the fuzzer ----------------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""usage: seeds.py DIR FILE...: every piece between `// -----`, without comments.

Pieces with named linalg ops are left out: MLIR 22's own parser crashes on
broken ones, `mlir-opt` too (`linalg.broadcast ... dimensions = ` at the end of
a file)."""
import sys
from pathlib import Path

target = Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
for path in map(Path, sys.argv[2:]):
    for number, piece in enumerate(path.read_text().split("// -----\n")):
        lines = [line for line in piece.splitlines() if not line.lstrip().startswith("//")]
        if not any(" linalg." in line for line in lines):
            (target / f"{path.stem}-{number}.mlir").write_text("\n".join(lines) + "\n")
