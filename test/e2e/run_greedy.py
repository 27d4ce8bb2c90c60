#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_greedy.py WORKDIR [CASE] [--target sm_80]: the greedy goldens of cases.json, token
by token.  With a GPU as target its code runs in the emulator."""

import argparse
import json
import pathlib
import sys

from run_case import group_of, nestc

parser = argparse.ArgumentParser()
parser.add_argument("work", type=pathlib.Path)
parser.add_argument("case", nargs="?")
parser.add_argument("--target")
arguments = parser.parse_args()
work = arguments.work
target = ["--target", arguments.target] if arguments.target else []
emulate = ["--emulate"] if target else []
work.mkdir(parents=True, exist_ok=True)
goldens, case = group_of(arguments.case or "")
entries = json.loads((goldens / "cases.json").read_text())["greedy"]
if case:
    entries = [entry for entry in entries if entry["case"] == case]
if not entries:
    sys.exit(f"cases.json lists nothing for {arguments.case}")
for entry in entries:
    spec = ["--submodel", entry["spec"]] if entry["spec"] else []
    nestc("compile", goldens / entry["case"], *spec, "-q", *target, "-o", work / "package")
    prompt = ",".join(map(str, entry["prompt"]))
    # One more than the reference has, where an end token stopped it.
    count = len(entry["ids"]) + (1 if entry.get("stopped") else 0)
    said = nestc("run", work / "package", "--tokens", prompt, "--generate", count, *emulate).split()
    if [int(word) for word in said] != entry["ids"]:
        sys.exit(f"{entry['case']} {entry['spec']}: {said}, not {entry['ids']}")
