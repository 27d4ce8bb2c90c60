#!/usr/bin/env python3
# ===- check-examples.py - examples of the documents, executed -------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""Runs the examples of a document and compares what they print.

An example is a block of ```console. A line after "$ " is a command, which bash
runs in a directory of the document's own; there `test` is the folder of this
repository, to read. The lines behind it are what it prints, on stdout and stderr
together: "..." stands for any text in a line, a line of its own for any lines. A
command that fails ends in a line "[exit N]". A block of ```mlir before an example
that says so is a file: its first line is "// FILE: name".

usage: check-examples.py ROOT WORKDIR DOCUMENT
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pattern(lines):
    """The expected lines as one regular expression."""
    text = ""
    for line in lines:
        if line.strip() == "...":
            text += r"(?:.*\n)*"
        else:
            text += r".*?".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n"
    return re.compile(text)


def examples(block):
    """Commands and the lines behind each."""
    commands = []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands and not commands[-1][1] and commands[-1][0].endswith("\\"):
            commands[-1] = (commands[-1][0] + "\n" + line, [])
        elif commands:
            commands[-1][1].append(line)
        else:
            sys.exit(f"a block of console starts with {line!r}, which is no command")
    return commands


def main():
    root, work, document = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "test").symlink_to(root / "test")
    text = document.read_text()
    count = failures = 0
    for language, block in FENCE.findall(text):
        if block.startswith("// FILE: "):
            name, _, content = block[len("// FILE: "):].partition("\n")
            (work / name).write_text(content)
        if language != "console":
            continue
        for command, lines in examples(block):
            done = subprocess.run(["bash", "-c", command], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            printed = done.stdout + ("" if not done.stdout or done.stdout.endswith("\n") else "\n")
            if done.returncode:
                printed += f"[exit {done.returncode}]\n"
            count += 1
            if not pattern(lines).fullmatch(re.sub(r"[ ]+\n", "\n", printed)):
                failures += 1
                print(f"{document.name}: $ {command}\nprints\n{printed}and not\n" + "\n".join(lines) + "\n")
    print(f"{document.name}: {count} examples, {failures} failures")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
