#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How long Hugging Face's models take in eager PyTorch: what nestc's times are
divided by.  Random float32 weights; a prefill with cache and the last position's
logits, then greedy decode steps.  Prints the medians as JSON.

llama: d 1024, 8 layers, 16 heads, 4 KV heads, FFN 4096, vocabulary 32000, tied.
gemma3n: d 1024, 10 layers of which 4 share keys, 8 heads of 128, 2 KV heads, FFN
4096, 3 layers sparse, window 256, vocabulary 16384, 128 columns of per-layer input.

With --write DIR the checkpoint is saved there (620 or 800 MB), so that nestc can
compile the same model; --write alone runs nothing else unless --runs is given.
Needs torch, transformers and safetensors; no test runs it.
"""

import argparse
import json
import pathlib
import statistics
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama", choices=["llama", "gemma3n"])
    parser.add_argument("--write", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--runs", type=int, help="default 5, or 0 with --write")
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"],
                        help="transformers' attention; sdpa is its default")
    options = parser.parse_args()
    runs = options.runs
    if runs is None:
        runs = 0 if options.write else 5

    import torch
    import transformers

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.model == "llama":
        config = transformers.LlamaConfig(
            vocab_size=32000, hidden_size=1024, intermediate_size=4096,
            num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4,
            max_position_embeddings=1024, rms_norm_eps=1e-5, head_dim=64,
            tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        )
        build = transformers.LlamaForCausalLM
    else:
        config = transformers.Gemma3nTextConfig(
            vocab_size=16384, vocab_size_per_layer_input=16384, hidden_size=1024,
            hidden_size_per_layer_input=128, intermediate_size=4096,
            num_hidden_layers=10, num_kv_shared_layers=4, num_attention_heads=8,
            num_key_value_heads=2, head_dim=128, sliding_window=256,
            max_position_embeddings=1024, laurel_rank=64,
            activation_sparsity_pattern=[0.95] * 3 + [0.0] * 7,
        )
        build = transformers.Gemma3nForCausalLM
    config._attn_implementation = options.attention
    model = build(config).float().eval()

    if options.write:
        model.save_pretrained(options.write)
    if runs == 0:
        return

    prompt = torch.randint(0, config.vocab_size, (1, options.prefill))
    prefills, decodes = [], []
    with torch.inference_mode():
        for run in range(runs + 1):  # the first one warms up
            start = time.perf_counter()
            out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            prefills.append(time.perf_counter() - start)
            steps = []
            for _ in range(options.decode):
                token = out.logits[:, -1].argmax(-1, keepdim=True)
                start = time.perf_counter()
                out = model(input_ids=token, past_key_values=out.past_key_values,
                            use_cache=True, logits_to_keep=1)
                steps.append(time.perf_counter() - start)
            decodes.append(statistics.median(steps) if steps else 0.0)
    print(json.dumps({
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": options.threads,
        "attention": options.attention,
        "parameters": sum(p.numel() for p in model.parameters()),
        "prefill_tokens": options.prefill,
        "prefill_seconds": round(statistics.median(prefills[1:]), 4),
        "decode_tokens": options.decode,
        "decode_seconds_per_token": round(statistics.median(decodes[1:]), 5),
        "runs": runs,
    }, indent=1))


if __name__ == "__main__":
    main()
