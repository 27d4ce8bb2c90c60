#!/usr/bin/env python3
# ===- check-spec.py - Spec, verifier and negative tests agree -------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""Proves that the constraints C1, C2, ... are the same in three places.

Every number is defined once in docs/Spec.md ("- Cn: ..."), starts the text of
exactly one message in dialect/Nest*.cpp ("[Cn] ..."), and has a negative test
in test/dialect/invalid*.mlir: a chunk that starts "// Cn: ..." and expects an
error with "[Cn]", and no other number. Operations of dialect/NestOps.td and
attributes of dialect/NestAttrs.td have a section of their own. Prints what is
wrong, a line each; exits with 1 then.

usage: check-spec.py [ROOT]
"""
import re
import sys
from collections import Counter
from pathlib import Path


def numbers(pattern, text):
    return [int(n) for n in re.findall(pattern, text, re.MULTILINE)]


def check(root):
    errors = []

    def expect(condition, message):
        if not condition:
            errors.append(message)

    spec_text = (root / "docs/Spec.md").read_text()
    spec = numbers(r"^- C(\d+): ", spec_text)
    expect(spec, "docs/Spec.md: no constraint found")
    expect(
        spec == list(range(1, len(spec) + 1)),
        "docs/Spec.md: constraints are not numbered 1, 2, ... in their order",
    )

    messages = Counter()
    for path in sorted((root / "dialect").glob("Nest*.cpp")):
        messages.update(numbers(r'"\[C(\d+)\]', path.read_text()))
    for n, count in sorted(messages.items()):
        expect(n in spec, f"dialect: message [C{n}] is not in docs/Spec.md")
        expect(count == 1, f"dialect: [C{n}] starts {count} messages, not one")

    tests = set()
    for path in sorted((root / "test/dialect").glob("invalid*.mlir")):
        for chunk in path.read_text().split("// -----\n"):
            name = numbers(r"^// C(\d+): ", chunk)
            expected = re.findall(r"expected-error[^{]*\{\{(.*)", chunk)
            place = f"{path.name}: {' '.join(chunk.split())[:60]!r}"
            expect(
                len(name) == 1 and len(expected) == 1,
                f"{place}: not one '// Cn: ' and one expected-error",
            )
            if not name or not expected:
                continue
            found = numbers(r"\[C(\d+)\]", expected[0])
            expect(found == name, f"{place}: C{name[0]} expects {found}")
            expect(name[0] in spec, f"{place}: C{name[0]} is not in docs/Spec.md")
            tests.update(name)

    for n in spec:
        expect(n in messages, f"docs/Spec.md: C{n} has no message in dialect/")
        expect(n in tests, f"docs/Spec.md: C{n} has no test in test/dialect/")

    headings = set(re.findall(r"^### `(#?nest\.\w+)", spec_text, re.MULTILINE))
    ops = re.findall(r':\s*(?:Nest_\w*Op|Op)<(?:Nest_Dialect, )?"(\w+)"',
                     (root / "dialect/NestOps.td").read_text())
    attrs = re.findall(r'Nest_Attr<"\w+", "(\w+)"',
                       (root / "dialect/NestAttrs.td").read_text())
    expect(ops and attrs, "dialect/*.td: no operation or attribute found")
    defined = {"nest." + op for op in ops} | {"#nest." + attr for attr in attrs}
    for name in sorted(defined ^ headings):
        where = "docs/Spec.md" if name in defined else "dialect/*.td"
        errors.append(f"{name} is missing in {where}")

    for error in errors:
        print(error)
    if not errors:
        print(f"{len(spec)} constraints, {len(defined)} operations and attributes")
    return 1 if errors else 0


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[2]
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
