#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_tokenizers.py [--many N DIR]: tokenizers with byte fallback, small ones of the
kinds that checkpoints have, and what the Python package `tokenizers` makes of texts.

Writes tokenizer/NAME.json (a tokenizer.json, trained on this repository's documents)
and tokenizer/NAME.cases.json.  With --many, N random texts for each tokenizer of the
folder go to DIR instead: NEST_TOKENIZER_CASES=DIR build/bin/RuntimeTests
--gtest_filter='Tokenizer.*' compares them.  Seeded."""

import argparse
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: F401

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE / "../../../docs"
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
FALLBACK = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]

PIECES = [
    "hello", "World", "the", "nested", "don't", "snake_case", "x86", "3.14159", "1000000", "½", "é", "e\u0301",
    "naïve", "Straße", "日本語", "한국어", "العربية", "हिन्दी", "русский", "🙂", "👩‍👩‍👧", "🇩🇪", "\u200b", "\u00a0", "\u3000",
    "\x00", "\x7f", "“quoted”", "—", "▁", "▁▁", "▁the", "<0x41>", "<0xE3>", "<bos>", "<turn>", "<bos", " ", "  ", "   ",
    "\t", "\n", "\n\n", "\r\n", " \n ", ".", ",", "::", "()",
]


def gemma():
    """Gemma: every space is a mark, no text before it; lines of spaces are tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(FALLBACK)
    return tokenizer


def llama2():
    """Llama 2, as it was converted first: a mark before every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)])
    return tokenizer


def mistral():
    """Mistral, and Llama 2 as it is converted now: a mark before the first text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)])
    return tokenizer


def metaspace():
    """Words apart, each with its mark; composed characters; an added token that is
    sought behind the normalizer, and one with the spaces around it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Sequence(FALLBACK)
    return tokenizer


KINDS = {"gemma": gemma, "llama2": llama2, "mistral": mistral, "metaspace": metaspace}


def train(name):
    tokenizer = KINDS[name]()
    # Merges cross words only where the kind says so; trained on words, or the
    # vocabulary would be whole lines.
    own = tokenizer.pre_tokenizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=True)])
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL + BYTES, show_progress=False,
                                  initial_alphabet=["▁", "é", "日", "\n"], limit_alphabet=120)
    texts = [path.read_text() for path in sorted(DOCS.glob("*.md"))]
    tokenizer.train_from_iterator((line + "\n" for text in texts for line in text.splitlines()), trainer)
    if own is not None:
        tokenizer.pre_tokenizer = own
    made = json.loads(tokenizer.to_str())
    if own is None:
        made["pre_tokenizer"] = None
    # Bytes are tokens of the vocabulary, but no text stands for one.
    made["added_tokens"] = [t for t in made["added_tokens"] if t["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(made))


def finish(name, tokenizer):
    tokenizer.add_special_tokens([AddedToken("<turn>", special=True, normalized=False)])
    if name == "metaspace":
        tokenizer.add_tokens([AddedToken("Straße", normalized=True), AddedToken("::", lstrip=True, rstrip=True, normalized=False)])
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", bos)])
    return tokenizer


def randomText(chooser):
    if chooser.random() < 0.6:
        joint = chooser.choice(["", " ", "", "  ", "\n"])
        return joint.join(chooser.choices(PIECES, k=chooser.randint(1, 12)))
    ranges = [(0x20, 0x80), (0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    text = "".join(chr(chooser.randrange(*chooser.choice(ranges))) for _ in range(chooser.randint(1, 24)))
    return text.replace("\u1715", "")  # its order is of Unicode 14, the package's of an older one


def caseOf(tokenizer, text, chooser):
    ids = tokenizer.encode(text).ids
    # Any tokens in any order: bytes that are no character, special ones between.
    odd = [chooser.randrange(tokenizer.get_vocab_size()) for _ in range(chooser.randint(0, 8))]
    odd += [4 + byte for byte in chooser.choice(["é", "日", "🙂", "a"]).encode()[: chooser.randint(1, 4)]]
    return {"text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=False), "odd": odd,
            "odd_decoded": tokenizer.decode(odd, skip_special_tokens=True)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", nargs=2, metavar=("N", "DIR"))
    options = parser.parse_args()
    for seed, name in enumerate(KINDS):
        path = HERE / "tokenizer" / f"{name}.json"
        if not options.many:
            finish(name, train(name)).save(str(path))
        tokenizer = Tokenizer.from_file(str(path))
        chooser = random.Random(seed + (100 if options.many else 0))
        texts = ["", " ", "\n", "a", " a", "a ", "  a  b  ", "<bos>", "a<bos>b", " <bos> a", "a" * 200, *PIECES]
        count = int(options.many[0]) if options.many else 250
        texts += [randomText(chooser) for _ in range(count - len(texts))]
        cases = [caseOf(tokenizer, text, chooser) for text in texts]
        lines = ",\n".join(json.dumps(case) for case in cases)
        target = pathlib.Path(options.many[1]) if options.many else path.parent
        (target / f"{name}.cases.json").write_text(f"[\n{lines}\n]\n")
        print(f"{name}: {len(cases)} cases, {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
