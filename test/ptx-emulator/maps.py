#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""maps.py WORKDIR: tensor maps that cuTensorMapEncodeTiled refuses are refused, before
the kernel runs and in one line; maps at its limits are taken."""

import copy
import pathlib
import sys

import harness
import numpy as np

sys.path.insert(0, str(harness.HERE / "references"))
import bulk

# What is changed in a map of 64 x 20 bf16 with boxes of 32 x 8.
REFUSED = {
    "no type": {"type": None},
    "an unknown type": {"type": "f8"},
    "no dimensions": {"dims": [], "strides": [], "box": []},
    "six dimensions": {"dims": [16] * 6, "strides": [32, 512, 8192, 8192, 8192], "box": [8] + [1] * 5},
    "a dimension of nothing": {"dims": [64, 0]},
    "a dimension beyond 2^32": {"dims": [64, 2**32 + 1]},
    "a stride less": {"strides": []},
    "a stride more": {"strides": [128, 4096]},
    "a stride that is no multiple of 16": {"strides": [136]},
    "a stride of 2^40": {"strides": [2**40]},
    "an extent less": {"box": [32]},
    "a box of nothing": {"box": [32, 0]},
    "a box of 257": {"box": [32, 257]},
    "rows of a box that are no multiple of 16 bytes": {"box": [12, 8]},
    "rows of a box beyond the swizzle": {"swizzle": "32B"},
    "rows of a box beyond a swizzle of 128 bytes": {"swizzle": "128B", "box": [72, 8]},
    "an unknown swizzle": {"swizzle": "96B"},
    "steps of nothing": {"elementStrides": [1, 0]},
    "steps of 9": {"elementStrides": [1, 9]},
    "a step less": {"elementStrides": [1]},
    "interleaved rows of two dimensions": {"interleave": "16B"},
    "an unknown interleave": {"interleave": "64B"},
    "an unknown filling": {"oob": "one"},
    "integers filled with NaN": {"type": "u16", "oob": "nan"},
    "memory of an argument that is none": {"buffer": None, "of": 9},
    "memory of an argument that is a number": {"buffer": None, "of": 2},
    "no memory": {"buffer": None},
    "two memories": {"of": 1},
}
TAKEN = {
    "as it is": {},
    "a stride below 2^40": {"strides": [2**40 - 16], "dims": [64, 1]},
    "a dimension of 2^32": {"dims": [64, 2**32]},
    "a swizzle of its rows": {"swizzle": "64B"},
    "a swizzle of 128 bytes of rows": {"swizzle": "128B", "box": [64, 4]},
    "steps of dimension 0, which are ignored": {"elementStrides": [3, 1]},
    "steps of one, no interleave, zero": {"elementStrides": [1, 1], "interleave": "none", "oob": "zero", "swizzle": "none"},
    "a promotion": {"l2": "128B"},
    "floats filled with NaN": {"oob": "nan"},
}


def main():
    work, failed = pathlib.Path(sys.argv[1]), 0
    data = np.zeros((20, 64), np.uint16)
    case = bulk.load(data, "bf16", (32, 8), (0, 0))
    base = harness.launch(case, work)
    for name, change in [*REFUSED.items(), *TAKEN.items()]:
        description = copy.deepcopy(base)
        entry = description["args"][0]["tensormap"]
        entry |= change
        description["args"][0]["tensormap"] = {key: value for key, value in entry.items() if value is not None}
        status, _, error = harness.emulate(harness.HERE / "kernels" / "bulk.ptx", description, work)
        one = status == 1 and error.startswith("error: ") and error.count("\n") == 1 and "thread (" not in error
        if name in TAKEN and (status or error) or name in REFUSED and not one:
            failed += 1
            print(f"{name}: exit {status}: {error.strip()!r}")
    print(f"maps: {len(REFUSED) + len(TAKEN)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
