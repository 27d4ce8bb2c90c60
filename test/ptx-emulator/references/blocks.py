# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from harness import Case, In, Out, i32, integers

PTX = ("blocks.ptx", "blocks-clang.ptx")
LOW = 0xFFFFFFFF


def warp_sums(x):
    """Sums of rows of 32, as the exchanges of a warp add them."""
    for d in (16, 8, 4, 2, 1):
        x = x + x[:, np.arange(32) ^ d]
    return x[:, 0]


def reduce(a, blocks, threads):
    stride = blocks * threads
    x = np.zeros(stride, np.float32)
    for start in range(0, len(a), stride):
        part = a[start : start + stride]
        x[: len(part)] = x[: len(part)] + part
    partial = warp_sums(x.reshape(-1, 32)).reshape(blocks, -1)
    rows = np.zeros((blocks, 32), np.float32)
    rows[:, : partial.shape[1]] = partial
    return warp_sums(rows)


def cumulative(a):
    return np.cumsum(a.astype(np.uint64)) & np.uint64(LOW)


def sorted_as(expected):
    def compare(got):
        kept = np.sort(got[: len(expected)])
        if (kept != np.sort(expected)).any() or got[len(expected) :].any():
            return f"{got[: len(expected)]}, should be an order of {expected}"
        return None

    return compare


def lock_after(rounds):
    cells = [5, 0]
    for _ in range(rounds):
        cells = [cells[0] + 1, cells[1] + cells[0] % 7]
    return cells


def cases():
    def case(kernel, arguments, grid, block, shared=0):
        return Case(kernel, arguments, grid=(grid,), block=(block,), shared=shared, ptx=PTX)

    def u32(values):
        return np.array(values, np.uint64).astype(np.uint32)

    x = np.random.default_rng(1).normal(0, 1, 1000).astype(np.float32)
    yield case("reduce", [In(x), Out(np.zeros(3, np.float32), reduce(x, 3, 128)), i32(1000)], 3, 128)
    a = integers(2, np.uint32, 1000)
    n = 700
    sums = u32([sum(a[k : min(k + 256, n)].tolist()) & LOW for k in range(0, n, 256)])
    yield case("reduce_tree", [In(a[:n]), Out(np.zeros(3, np.uint32), sums), i32(n)], 3, 256, 1024)
    blocks = np.concatenate([cumulative(a[k : k + 128]) for k in (0, 128)])
    yield case("scan", [In(a[:256]), Out(np.zeros(256, np.uint32), u32(blocks)), i32(256)], 2, 128)
    exclusive = np.concatenate([[0], cumulative(a[:127])])
    yield case("scan_sweeps", [In(a[:128]), Out(np.zeros(128, np.uint32), u32(exclusive)), i32(128)], 1, 64, 512)
    total = u32([sum(a[:n].tolist()) & LOW])
    partial = u32([sum(a[k : min(k + 64, n)].tolist()) & LOW for k in range(0, n, 64)])
    count = Out(np.zeros(1, np.uint32), np.zeros(1, np.uint32))
    arguments = [In(a[:n]), Out(np.zeros_like(partial), partial), count, Out(np.zeros(1, np.uint32), total), i32(n)]
    yield case("last_block", arguments, len(partial), 64)
    tiles = -(-n // 64)
    prefix = u32([*cumulative(a[:n]), *[0] * (tiles * 64 - n)])
    ends = [int(x) | 2 << 32 for x in cumulative(np.concatenate([a[:n], np.zeros(tiles * 64 - n, np.uint32)]))[63::64]]
    arguments = [
        In(a[:n]),
        Out(np.zeros_like(prefix), prefix),
        Out(np.zeros(1, np.uint32), u32([tiles])),
        Out(np.zeros(tiles, np.uint64), np.array(ends, np.uint64)),
        i32(n),
    ]
    yield case("look_back", arguments, tiles, 64)
    zero = Out(np.zeros(1, np.uint32), np.zeros(1, np.uint32))
    arguments = [zero, Out(u32([5, 0]), u32(lock_after(3 * 4 * 5))), i32(5)]
    yield case("spin_lock", arguments, 3, 128)
    arguments = [zero, Out(u32([5, 0]), u32([5 + sum(range(32)), 32]))]
    yield case("spin_lanes", arguments, 1, 32)
    bins = np.bincount(a % 64, minlength=64) + 2
    yield case("histogram", [In(a), Out(np.full(64, 2, np.uint32), u32(bins)), i32(1000)], 3, 96)
    kept = a[a % 3 == 0]
    out = Out(np.zeros(1000, np.uint32), sorted_as(kept), free=True)
    yield case("compact", [In(a), out, Out(np.zeros(1, np.uint32), u32([len(kept)])), i32(1000)], 8, 128)
