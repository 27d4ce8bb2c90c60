# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""mbarriers.  `script` runs random lists of operations, also on a barrier of Python."""

import random

import numpy as np
from harness import Case, In, Out, i32, integers

OPERATIONS = [
    "init", "inval", "arrive", "arrive_count", "no_complete", "arrive_expect", "drop", "drop_no_complete",
    "drop_expect", "expect", "complete", "pending", "test", "test_parity", "try", "try_parity",
]  # fmt: skip


class Barrier:
    """What the manual says of an mbarrier: a phase completes when no arrival is pending
    and its transactions are done."""

    def __init__(self, count):
        self.expected = self.pending = count
        self.transactions = self.phase = 0

    def settle(self):
        if self.pending == 0 and self.transactions == 0:
            self.phase += 1
            self.pending = self.expected

    def arrive(self, count=1, dropped=False, bytes=0):
        """Returns the state before: its phase and pending count."""
        before = self.phase, self.pending
        self.transactions += bytes
        self.pending -= count
        self.expected -= count * dropped
        self.settle()
        return before

    def complete(self, bytes):
        self.transactions -= bytes
        self.settle()

    def passed(self, phase):
        return int(self.phase > phase)


def script(seed, length):
    """A legal list of operations, and what each gives.  Legal: between two phases somebody has to
    see that the first is complete, and pending counts are of .noComplete arrivals alone."""
    draw = random.Random(seed)
    operations, results = [], []
    barrier, state, seen, has_count = None, None, 0, False
    while len(operations) < length:
        kind = draw.choice(OPERATIONS) if barrier else "init"
        result = operand = 0
        if kind == "init":
            if barrier:
                continue
            operand = draw.choice((1, 2, 3, 7, 100, 2**20 - 1))
            barrier, state, seen = Barrier(operand), None, 0
        elif kind == "inval":
            if draw.random() < 0.9:
                continue
            barrier = None
        elif kind in ("pending", "test", "try"):
            # A state is good for its phase and the next one.
            if not state or kind != "pending" and barrier.phase - state[0] > 1 or kind == "pending" and not has_count:
                continue
            result = state[1] if kind == "pending" else barrier.passed(state[0])
            seen = barrier.phase if kind != "pending" and result else seen
        elif kind in ("test_parity", "try_parity"):
            operand = draw.randrange(2)
            result = int(barrier.phase & 1 != operand)
            seen = barrier.phase if result else seen
        elif kind == "expect":
            operand = 16 * draw.randrange(1, 100)
            barrier.transactions += operand
        elif kind == "complete":
            # More than is expected is well before the arrival that expects it.
            left = barrier.transactions
            if barrier.pending == 0 or draw.random() < 0.5:
                operand = draw.choice((left, left // 2))
            elif draw.random() < 0.3:
                operand = 16 * draw.randrange(1, 10)
            if operand <= 0:
                continue
            barrier.complete(operand)
        else:
            if seen < barrier.phase:
                continue
            drop, bytes, count = "drop" in kind, 0, 1
            most = barrier.pending if "no_complete" not in kind else barrier.pending - 1
            if drop:
                most = min(most, barrier.expected - 1)
            if most < 1:
                continue
            if "expect" in kind:
                bytes = operand = draw.choice((0, 16, 1024, max(-barrier.transactions, 0)))
            elif kind != "arrive":
                count = operand = draw.choice((1, most, draw.randint(1, most)))
            if barrier.pending == count and barrier.transactions + bytes < 0:
                continue
            state, has_count = barrier.arrive(count, drop, bytes), "no_complete" in kind
        operations.append((OPERATIONS.index(kind), operand))
        results.append(result)
    return np.array(operations, np.uint32), np.array(results, np.uint32)


def crowd(a, n):
    t, sum = np.arange(n), np.zeros(n, np.uint32)
    for k, row in enumerate(a.reshape(-1, n)):
        tile = row + sum
        sum = sum * np.uint32(3) + tile[n - 1 - t] + tile[(t + k) % n]
    return sum


def leaving(a):
    t, x = np.arange(128), a.copy()
    for phase in range(3):
        there = 128 - 32 * phase
        stay = t < there - 32
        x[stay] = (x * np.uint32(3) + x[(t * 5 + phase) % there])[stay]
    return x


def ring(a, warps, factor, places):
    t = np.arange(32 * warps)
    sum = (t // 32 + 1).astype(np.uint32)
    for row in a.reshape(-1, 32):
        sum = sum * np.uint32(factor) + row[places(t % 32, t // 32 + 1)]
    return sum


def cases():
    def case(kernel, a, expected, block, *rest, grid=1, name=""):
        arguments = [In(a)] * (a is not None) + [Out(np.zeros_like(expected), expected), *rest]
        return Case(kernel, arguments, block=(block,), grid=(grid,), name=name)

    for seed in range(12):
        operations, results = script(seed, 400)
        yield case("script", operations, results, 1, i32(len(results)), name=f"seed {seed}")
    t = np.arange(64)
    a = integers(1, np.uint64, 2)
    yield case("invalidated", a, np.full(64, a.sum()), 64)
    for n, phases in ((32, 7), (96, 12), (256, 6)):
        a = integers(n, np.uint32, n * phases)
        yield case("crowd", a, crowd(a, n), n, i32(phases), name=f"of {n}")
    a = integers(2, np.uint32, 256)
    products = [(a[:64] * np.uint32(k + 1))[(t * 7 + k) % 64] for k in range(3)]
    yield case("counts", a[:64], np.concatenate(products), 64)
    seen = np.arange(2, 98)
    yield case("pending_counts", None, np.array([seen.sum(), (seen**2).sum()], np.uint32), 96)
    yield case("leaving", a[:128], leaving(a[:128]), 128)
    for n in (1, 4, 23):
        a = integers(n, np.uint32, 32 * n)
        yield case("ring", a, ring(a, 3, 5, lambda lane, warp: (lane + warp) % 32), 128, i32(n), name=f"of {n}")
        yield case("ring_of_leaders", a, ring(a, 2, 7, lambda lane, warp: lane ^ warp), 96, i32(n), name=f"of {n}")
    a = integers(3, np.uint32, 256)
    first, second = a[:128], a[128:]
    yield case("copied", a, first[127 - t] + first[63 - t] + 3 * second[127 - t] + 5 * second[t ^ 32], 64)
    yield case("own_cluster", a[:64], np.concatenate([a[63 - t], a[t ^ 1]]), 64)
    yield case("fences", a[:64], a[t ^ 33], 64)
    lanes = np.arange(64) % 32 >= 12
    yield case("elected", None, np.concatenate([np.ones(64), lanes]).astype(np.uint32), 64)
    blocks = np.arange(4, dtype=np.uint32)[:, None]
    yield case("many_blocks", a, a.reshape(4, 64)[:, ::-1] + blocks, 64, grid=4)
