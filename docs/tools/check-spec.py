#!/usr/bin/env python3
# ===- check-spec.py - Spec, verifier and negative tests agree -------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""Proves that constraints are the same in documents, verifiers and tests.

Those of the nest dialect are C1, C2, ... of docs/Spec.md, those of the kernel
dialect K1, K2, ... of docs/Kernels.md ("- Cn: ..."). Each starts the text of one
or more messages in dialect/*.cpp ("[Cn] ..." or refuse(n)), and has as many
negative tests or more in test/dialect/invalid*.mlir: chunks that start with
"// Cn: ..." and expect an error with "[Cn]", and no other number. Operations,
attributes and types of dialect/*.td have a section of their own. Prints what is
wrong, a line each; exits with 1 then.

usage: check-spec.py [ROOT]
"""
import re
import sys
from collections import Counter
from pathlib import Path

# Letter, document, and what starts the names of files and definitions.
DIALECTS = [("C", "docs/Spec.md", "Nest"), ("K", "docs/Kernels.md", "Kernel")]


def names(pattern, text):
    return ["".join(found) for found in re.findall(pattern, text, re.MULTILINE)]


def check(root):
    errors = []

    def expect(condition, message):
        if not condition:
            errors.append(message)

    tests = Counter()
    for path in sorted((root / "test/dialect").glob("invalid*.mlir")):
        for chunk in path.read_text().split("// -----\n"):
            name = names(r"^// ([CK]\d+): ", chunk)
            expected = re.findall(r"expected-error[^{]*\{\{(.*)", chunk)
            place = f"{path.name}: {' '.join(chunk.split())[:60]!r}"
            expect(
                len(name) == 1 and len(expected) == 1,
                f"{place}: not one '// Cn: ' and one expected-error",
            )
            if not name or not expected:
                continue
            found = names(r"\[([CK]\d+)\]", expected[0])
            expect(found == name, f"{place}: {name[0]} expects {found}")
            tests.update(name)

    constraints, defined = [], set()
    for letter, document, prefix in DIALECTS:
        text = (root / document).read_text()
        spec = names(rf"^- ({letter}\d+): ", text)
        expect(spec, f"{document}: no constraint found")
        # Those of kernels stand where they belong, not in their order.
        order = spec if letter == "C" else sorted(spec, key=lambda n: int(n[1:]))
        expect(
            order == [f"{letter}{n + 1}" for n in range(len(spec))],
            f"{document}: constraints are not numbered 1, 2, ...",
        )
        messages = Counter()
        for path in sorted((root / "dialect").glob(f"{prefix}*.cpp")):
            code = path.read_text()
            messages.update(names(rf'"\[({letter}\d+)\]', code))
            messages.update(letter + n for n in names(r"refuse\((\d+)\)", code))
        for n, count in sorted(messages.items()):
            expect(n in spec, f"dialect: message [{n}] is not in {document}")
            if n in spec:
                expect(
                    tests[n] >= count,
                    f"{document}: {n} has {count} messages and {tests[n]} tests "
                    "in test/dialect/; each message has one",
                )
        for n in spec:
            expect(n in messages, f"{document}: {n} has no message in dialect/")
        constraints += spec

        dialect = prefix.lower()
        headings = set(names(rf"^### `([#!]?{dialect}\.\w+)", text))
        sources = "".join(
            path.read_text()
            for path in sorted((root / "dialect").glob(f"{prefix}*.td"))
        )
        ours = set()
        for sign, pattern in [
            ("", rf'^def {prefix}_\w+\s*:\s*(?:{prefix}_\w*Op|Op)<(?:{prefix}_Dialect, )?"(\w+)"'),
            ("#", rf'{prefix}_Attr<"\w+", "(\w+)"'),
            ("!", rf'{prefix}_Type<"\w+", "(\w+)"'),
        ]:
            ours.update(f"{sign}{dialect}.{n}" for n in names(pattern, sources))
        expect(ours, f"dialect/{prefix}*.td: no operation found")
        for name in sorted(ours ^ headings):
            where = document if name in ours else f"dialect/{prefix}*.td"
            errors.append(f"{name} is missing in {where}")
        defined |= ours

    for n in sorted(set(tests) - set(constraints)):
        errors.append(f"test/dialect: {n} is in no document")

    for error in errors:
        print(error)
    if not errors:
        print(
            f"{len(constraints)} constraints, {len(defined)} operations, "
            "attributes and types"
        )
    return 1 if errors else 0


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[2]
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
