# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Many command lines in one process, and how to break the files they read."""

import re
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path


def nestc(*words, cwd=None, **more):
    return subprocess.run(["nestc", *map(str, words)], capture_output=True, cwd=cwd, timeout=120, **more)


def as_text(line):
    """The text of an error that was printed with --error-format=json."""
    error = json.loads(line.splitlines()[0] if line.startswith(b"{") else b"{}")
    text = "error: " + "".join(error.get(key, "?") and error.get(key, "?") + end for key, end in (("place", ": "), ("message", "; "), ("legal", "")))
    return "".join("\\n" if c == "\n" else c if c >= " " else f"\\x{ord(c):02x}" for c in text.removesuffix("; "))


class Cases:
    """Runs commands in a directory of its own and collects what is wrong."""

    def __init__(self, directory):
        self.root = Path(directory)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.failures, self.count = [], 0

    def expect(self, code, text, *words, name="", **more):
        """`text` stands in the first line on stderr, which is an error with a
        place when `code` is not 0; on stdout or stderr else. Neither an output
        nor a temporary is left by a failure. As JSON it says the same."""
        self.count += 1
        before = self.listing()
        done = nestc(*words, cwd=self.root, **more)
        err = done.stderr.decode(errors="replace")
        out = done.stdout.decode(errors="replace")
        lines = err.splitlines() or [""]
        problems = []
        if done.returncode != code:
            problems.append(f"exit {done.returncode}, not {code}")
        if code:
            errors = [line for line in lines if line.startswith("error: ")]
            if not lines[0].startswith("error: ") or len(errors) != 1:
                problems.append("is not one line of error first")
            if lines[0].count(": ") < 2:
                problems.append("names no place")
            if text not in lines[0]:
                problems.append(f"has no {text!r}")
            if done.stdout:
                problems.append("has output besides the error")
            twin = nestc("--error-format=json", *words, cwd=self.root, **more)
            # What memory is free changes from run to run.
            steady = [re.sub(r"[0-9.]+ .iB are available", "", line) for line in (as_text(twin.stderr), lines[0])]
            if twin.returncode != code or steady[0] != steady[1]:
                problems.append(f"is another error as JSON: {twin.stderr}")
            if self.listing() != before:
                problems.append(f"leaves {sorted(self.listing() - before)}")
        elif text not in out + err:
            problems.append(f"has no {text!r}")
        if any(word in err for word in ("Sanitizer", "runtime error:", "Assertion", "PLEASE submit")):
            problems.append("is a crash")
        if problems:
            self.failures.append(f"{name or ' '.join(map(str, words))}: {'; '.join(problems)}\n    {err[:1500]}")
        return done

    def listing(self):
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def finish(self, least):
        """Ends the process; `least` guards against cases that went missing."""
        if self.count < least:
            self.failures.append(f"only {self.count} cases ran, not {least}")
        for failure in self.failures:
            print(failure)
        print(f"{self.count} cases, {len(self.failures)} failures")
        sys.exit(1 if self.failures else 0)

    def copy(self, source, name="ckpt"):
        """A fresh writable copy of a directory."""
        target = self.root / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        return target


def edit_json(path, change):
    """Reads, changes by `change(object)`, writes."""
    value = json.loads(Path(path).read_text())
    changed = change(value)
    Path(path).write_text(json.dumps(value if changed is None else changed))


def read_tensors(path):
    """The header of a safetensors file and the bytes behind it."""
    data = Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_tensors(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def edit_tensors(path, change):
    header, data = read_tensors(path)
    changed = change(header)
    write_tensors(path, header if changed is None else changed, data)


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(data)
