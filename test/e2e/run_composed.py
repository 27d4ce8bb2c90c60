#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_composed.py WORKDIR [OPTION of compile]...: row sets inside row sets, in CPU code or for `--target sm_80` in the emulator.

A partition whose first tower holds a routed body: of a tower's rows of a sequence
the better half (rounded up) goes through silu, all of them are added to what comes
out, and the other tower's go through tanh.  Compared with loops in float64, 1e-6
relative to the largest value (one silu and one sum in f32)."""

import json
import pathlib
import struct
import sys

import numpy as np
from run_case import nestc, relative

WIDTH = 24
MODULE = """
!t = tensor<?x?x{width}xf32>
!s = tensor<?x?x1xf32>
!towers = !nest.rows<2, cover>
!one = !nest.rows<1>
!half = !nest.rows<1, #nest.capacity<1/2, ceil>>
module attributes {{nest.source = "{source}", nest.model = {{family = "test", model_type = "test", dtype = "f32",
    num_layers = 0 : i64, vocab_size = 4 : i64, max_length = 64 : i64, eos_token_ids = array<i64>}}}} {{
  func.func @route(%x: !t {{nest.name = "x"}}, %s: !s {{nest.name = "s"}}, %m: tensor<?x?xi32> {{nest.name = "m"}})
      -> (!t {{nest.name = "y"}}) attributes {{nest.entry = "route"}} {{
    %f = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !towers
    %first = nest.pick %f from 0 count 1 : (!towers) -> !one
    %y = nest.on %f gather(%x, %s) into(%x) : (!towers, !t, !s, !t) -> !t {{
    ^bb0(%xs: !t, %ss: !s):
      %k = nest.select %ss within %first top <1/2, ceil> : (!s, !one) -> !half
      %z = nest.on %k gather(%xs) into(%xs) : (!half, !t, !t) -> !t {{
      ^bb0(%xk: !t):
        %a = nest.act silu %xk : !t
        nest.yield %a : !t
      }}
      %w = arith.addf %z, %xs : !t
      nest.yield %w : !t
    }}, {{
    ^bb0(%xs: !t, %ss: !s):
      %a = nest.act tanh %xs : !t
      nest.yield %a : !t
    }}
    return %y : !t
  }}
}}
"""


def reference(x, s, m):
    y = np.tanh(x)
    for b in range(len(x)):
        tower = np.flatnonzero(m[b] == 0)
        # Stable: of equal scores the lowest row first.
        best = tower[np.argsort(-s[b, tower, 0], kind="stable")][: (len(tower) + 1) // 2]
        z = x[b].copy()
        z[best] = x[b, best] / (1 + np.exp(-x[b, best]))
        y[b, tower] = z[tower] + x[b, tower]
    return y


def main():
    work = pathlib.Path(sys.argv[1])
    source = work / "source"
    source.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"unused": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (source / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    (work / "module.mlir").write_text(MODULE.format(width=WIDTH, source=source.resolve()))
    options = sys.argv[2:]
    nestc("compile", work / "module.mlir", "-q", *options, "-o", work / "package")
    emulate = ["--emulate"] if "--target" in options else []
    random = np.random.default_rng(7)
    for batch, rows, towers in [(1, 1, "any"), (3, 17, "any"), (2, 33, "first"), (2, 33, "second"), (1, 40, "any")]:
        x = random.standard_normal((batch, rows, WIDTH)).astype(np.float32)
        s = random.integers(0, 6, (batch, rows, 1)).astype(np.float32)  # many ties
        m = {"any": random.integers(0, 2, (batch, rows)), "first": np.zeros((batch, rows)), "second": np.ones((batch, rows))}[towers]
        words = []
        for name, value in {"x": x, "s": s, "m": m.astype(np.int32)}.items():
            np.save(work / f"{name}.npy", value)
            words += ["--in", f"{name}={work / name}.npy"]
        nestc("run", work / "package", "--entry", "route", *emulate, *words, "--out", f"y={work / 'y.npy'}")
        error = relative(np.load(work / "y.npy").reshape(1, -1), reference(x.astype(np.float64), s, m).reshape(1, -1))
        print(batch, rows, towers, f"{error:.1e}")
        if not error <= 1e-6:
            sys.exit("above 1e-6")


if __name__ == "__main__":
    main()
