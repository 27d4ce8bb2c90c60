#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_greedy.py WORKDIR: the greedy goldens of cases.json, token by token."""

import json
import pathlib
import sys

from run_case import GOLDENS, nestc

work = pathlib.Path(sys.argv[1])
work.mkdir(parents=True, exist_ok=True)
for entry in json.loads((GOLDENS / "cases.json").read_text())["greedy"]:
    spec = ["--submodel", entry["spec"]] if entry["spec"] else []
    nestc("compile", GOLDENS / entry["case"], *spec, "-q", "-o", work / "package")
    prompt = ",".join(map(str, entry["prompt"]))
    # One more than the reference has, where an end token stopped it.
    count = len(entry["ids"]) + (1 if entry.get("stopped") else 0)
    said = nestc("run", work / "package", "--tokens", prompt, "--generate", count).split()
    if [int(word) for word in said] != entry["ids"]:
        sys.exit(f"{entry['case']} {entry['spec']}: {said}, not {entry['ids']}")
