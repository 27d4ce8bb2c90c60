# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""expect.py CODE TEXT WORD...: runs a command; its exit code is CODE and the
first line on stderr is an error that contains TEXT."""

import subprocess
import sys

code, text, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
done = subprocess.run(words, capture_output=True, text=True)
lines = done.stderr.splitlines() or [""]
if done.returncode != code:
    sys.exit(f"exit {done.returncode}, not {code}: {done.stderr}")
if code and (text not in lines[0] or not lines[0].startswith("error: ")):
    sys.exit(f"{lines[0]!r} has no {text!r}")
