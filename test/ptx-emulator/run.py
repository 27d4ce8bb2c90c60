#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run.py THEME WORKDIR [KERNEL]: the kernels of a theme, in the emulator.

references/THEME.py lists the cases: inputs, launch, and what must come out.  Each runs
under four schedules of the warps, whose results must be equal bit for bit."""

import importlib
import pathlib
import subprocess
import sys

import harness

sys.path.insert(0, str(harness.HERE / "references"))


def main():
    theme, work = sys.argv[1], pathlib.Path(sys.argv[2])
    failed = count = 0
    taken = set()
    for number, case in enumerate(importlib.import_module(theme).cases()):
        if sys.argv[3:] and case.kernel not in sys.argv[3:]:
            continue
        for name in case.ptx or (f"{theme}.ptx",):
            count += 1
            path = harness.HERE / "kernels" / name
            if path not in taken:
                # All kernels of the text, and the ones below in particular.
                taken.add(path)
                done = subprocess.run(["ptx-emulator", path, "--check"], capture_output=True, text=True)
                failed += done.returncode != 0
                print(done.stderr, end="")
            complaints = harness.check(case, path, work / f"{number}")
            # Once more, looking for races in global memory.
            complaints += harness.check(case, path, work / f"{number}", ("round-robin",), "--check-global-races")
            for complaint in complaints:
                print(complaint)
                failed += 1
    print(f"{theme}: {count} cases")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
