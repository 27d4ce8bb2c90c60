#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compare.py ACTUAL.npy REFERENCE.npy TOLERANCE [--argmax]

Prints the largest difference of a row relative to the largest absolute value of
the reference's row; exit 1 when it is above TOLERANCE (or not a number).
--argmax: also, the same largest entry wherever the reference's first and second
are further apart, relatively, than TOLERANCE.
"""

import argparse
import sys

import numpy as np


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("actual")
    parser.add_argument("reference")
    parser.add_argument("tolerance", type=float)
    parser.add_argument("--argmax", action="store_true")
    options = parser.parse_args()
    actual, reference = np.load(options.actual), np.load(options.reference)
    if actual.dtype != np.float32:
        sys.exit(f"{options.actual}: {actual.dtype}, not float32")
    if reference.ndim == 3 and reference.shape[0] == 1 and actual.ndim == 2:
        reference = reference[0]  # one sequence may come without a batch axis
    if actual.shape != reference.shape:
        sys.exit(f"{options.actual}: shape {actual.shape}, not {reference.shape}")
    actual, reference = actual.astype(np.float64), reference.astype(np.float64)

    scale = np.abs(reference).max(-1)
    error = np.abs(actual - reference).max(-1) / scale
    worst = np.unravel_index(np.argmax(error), error.shape)  # a NaN is the largest
    place = ", ".join(str(i) for i in worst)
    print(f"largest relative difference {error[worst]:.3g} in row ({place})")
    if not error[worst] <= options.tolerance:
        sys.exit(f"{options.actual}: above {options.tolerance:g}")
    if options.argmax:
        second, first = np.moveaxis(np.sort(reference, -1)[..., -2:], -1, 0)
        clear = (first - second) / scale > options.tolerance
        wrong = (actual.argmax(-1) != reference.argmax(-1)) & clear
        if wrong.any():
            place = ", ".join(str(i) for i in np.argwhere(wrong)[0])
            sys.exit(f"{options.actual}: another argmax in row ({place})")


if __name__ == "__main__":
    main()
