# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""chat.py MODELS DIR: --chat is the text around what a user says, for models that know turns."""

import shutil
import sys
from pathlib import Path

from cases import Cases, edit_json

models, cases = Path(sys.argv[1]).resolve(), Cases(sys.argv[2])
root, expect = cases.root, cases.expect
source = root / "gemma"
shutil.copytree(models / "matgemma", source)
shutil.copy(models / "matlm" / "tokenizer.json", source)
expect(0, "", "compile", source, "-q", "-o", "base")
expect(1, "--chat: the tokenizer has no token <start_of_turn>, so that the model knows no turns", "run", "base", "--chat", "--prompt", "Hi", "--generate", "4")


def add_turns(tokenizer):
    """The last two merges give way to the marks of turns."""
    model = tokenizer["model"]
    for mark in ("<start_of_turn>", "<end_of_turn>"):
        merge = model["merges"].pop()
        token = "".join(merge.split(" ") if isinstance(merge, str) else merge)
        tokenizer["added_tokens"].append({"id": model["vocab"].pop(token), "content": mark, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True})


edit_json(source / "tokenizer.json", add_turns)
expect(0, "", "compile", source, "-q", "-o", "chat")
said = ["run", "chat", "--generate", "12"]
wanted = expect(0, "", *said, "--prompt", "<start_of_turn>user\nWhat is a hacker?<end_of_turn>\n<start_of_turn>model\n").stdout
plain = expect(0, "", *said, "--prompt", "What is a hacker?").stdout
for text in ("What is a hacker?", "  What is a hacker?\n"):
    found = expect(0, "", *said, "--chat", "--prompt", text).stdout
    if found != wanted or found == plain:
        cases.failures.append(f"{text!r}: {found} is not {wanted}")
expect(2, "--chat goes with --prompt", "run", "chat", "--chat", "--tokens", "1,2")
expect(0, "", "compile", models / "matlm", "--submodel", "layers.all.ffn=1/8", "-q", "-o", "llama")
expect(1, "how conversations look is not known of models of the family llama; families: gemma3n", "run", "llama", "--chat", "--prompt", "Hi")
cases.finish(10)
