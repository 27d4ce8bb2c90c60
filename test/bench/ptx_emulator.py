#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How fast ptx-emulator is: thread instructions a second on tiled products.

usage: ptx_emulator.py [--size N] [--threads N] [--runs N]

A product of N x N matrices in f32 (a tile of 128 x 128 by 256 threads, registers) and
in bf16 (64 x 64 by 128 threads, tensor cores, asynchronous copies), the kernels of
test/ptx-emulator/kernels/matmul.ptx. The smallest time of some runs; that of one run
of a single block of nothing, which is the start of the program, is taken off.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "ptx-emulator"))
import harness
import numpy as np
from harness import Case, In, Out, i32


def product(kernel, size, tile, threads, shared, dtype):
    a = np.ones((size, size), np.float32) if dtype is np.float32 else np.full((size, size), 0x3F80, np.uint16)
    out = Out(np.zeros((size, size), np.float32), None)
    grid = (-(-size // tile),) * 2
    return Case(kernel, [In(a), In(a), out, *[i32(size)] * 3], grid=grid, block=(threads,), shared=shared)


def smallest(case, work, runs, flags):
    description = harness.launch(case, work)
    best = None
    for _ in range(runs):
        start = time.perf_counter()
        status, out, error = harness.emulate(harness.HERE / "kernels/matmul.ptx", description, work, *flags)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(error)
        best = min(best or seconds, seconds)
    return best, out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    size, flags = arguments.size, ["--threads", str(arguments.threads)]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for kernel, tile, threads, shared, dtype in (
            ("matmul_f32", 128, 256, 0, np.float32),
            ("matmul_bf16", 64, 128, 24576, np.uint16),
        ):
            case = product(kernel, size, tile, threads, shared, dtype)
            nothing = Case(kernel, case.arguments[:3] + [i32(0)] * 3, block=(threads,), shared=shared)
            profile = json.loads(smallest(case, work, 1, [*flags, "--profile"])[1])
            start, _ = smallest(nothing, work, arguments.runs, flags)
            seconds = smallest(case, work, arguments.runs, flags)[0] - start
            instructions = profile["instructions"]["total"]
            print(
                f"{kernel} {size}: {seconds:.3f} s, {instructions / 1e6:.1f} M thread instructions, "
                f"{instructions / seconds / 1e6:.0f} M/s, {2 * size**3 / seconds / 1e9:.2f} GFLOP/s"
            )


if __name__ == "__main__":
    main()
