# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which rows of a call enter a routed region, with which weight, and what they get.

Scalar mathematics of Mixture-of-Depths in float64.  Ranking alone is done on
scores that are rounded to f32, so that ties are the same ones everywhere.
(The module is not called select: the standard library has one of that name.)
"""

import dataclasses
import math
from fractions import Fraction

import numpy as np


def sigmoid(x):
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- What nest.json says of one layer -------------------------------------------


@dataclasses.dataclass
class Route:
    scope: str = "block"
    select: str = "topk"
    capacity: object = "1/8"
    rounding: str = "floor"
    min: int = 1
    rank_on: str = "logit"
    weight: str = "logit"
    gate: str = "delta"
    position: str = "original"
    kv: str = "selected"
    decode: str = None
    dense: bool = False  # the submodel's routes.SEL=dense

    def __post_init__(self):
        if self.decode is None:
            if self.select == "topk":
                raise ValueError("select topk needs a decode rule")
            self.decode = {"threshold": "threshold:0", "predictor": "predictor:0.5"}[self.select]
        self.decodeRule, _, limit = self.decode.partition(":")
        self.limit = float(limit) if limit else 0.5
        if self.select != "topk" and self.select != self.decodeRule:
            raise ValueError(f"select {self.select} beside decode {self.decode}")
        if self.kv == "all" and self.position == "compact":
            raise ValueError("compact positions need kv selected")
        if self.weight == "softmax_selected" and self.rank_on == "weight":
            raise ValueError("softmax_selected cannot be ranked on")
        if self.gate.startswith("ffn_gated") and self.scope != "block":
            raise ValueError(f"{self.gate} needs scope block")


# --- Capacity --------------------------------------------------------------------


def capacity(value, rows, rounding="floor", least=1):
    """Rows of a call of `rows` rows that pass: round, lower bound, clamp."""
    if isinstance(value, int):
        k = value
    else:
        share = Fraction(value)
        exact = share * rows
        k = {
            "floor": lambda: math.floor(exact),
            "ceil": lambda: math.ceil(exact),
            "nearest_even": lambda: round(exact),
            "double_floor": lambda: int(share.numerator / share.denominator * rows),
        }[rounding]()
    return min(max(k, least), rows)


# --- Selection -------------------------------------------------------------------


def topk(scores, k):
    """The k largest in ascending order; of equal ones the lowest rows.  -0 is +0,
    a NaN is below everything."""
    scores = np.asarray(scores).astype(np.float32)
    nan = np.isnan(scores)
    falling = np.where(nan, 0, -scores)  # lexsort compares -0 and +0 as equal
    order = np.lexsort((np.arange(len(scores)), falling, nan))
    return np.sort(order[:k])


def above(scores, limit):
    """Rows whose score is greater than the limit."""
    return np.flatnonzero(np.asarray(scores).astype(np.float32) > np.float32(limit))


def margins(scores, rows, limit=None):
    """How far each score is from where it would change sides, relative to the
    cut-off (1 for a smaller one).  Equality counts as infinitely far: the rules for
    ties and for the limit decide it.  `limit`: the cut-off, else the neighbours' scores."""
    scores = np.asarray(scores, dtype=np.float64)
    inside = np.zeros(len(scores), dtype=bool)
    inside[rows] = True
    if limit is not None:
        gap, scale = np.abs(scores - limit), max(1.0, abs(limit))
    elif inside.all() or not inside.any():
        return np.full(len(scores), np.inf)
    else:
        lowest, highest = scores[inside].min(), scores[~inside].max()
        gap = np.where(inside, scores - highest, lowest - scores)
        scale = max(1.0, abs(lowest))
    return np.where(gap == 0, np.inf, gap / scale)


def weigh(route, logits):
    """r of every row, where it needs no other row."""
    if route.weight == "sigmoid":
        return sigmoid(logits)
    if route.weight == "logit":
        return np.asarray(logits, dtype=np.float64)
    return np.ones(len(logits))


def pick(route, rule, logits, predicted=None):
    """(rows that pass, their r, margin of every row).

    `rule`: "select" looks at all rows of the call together; "decode" looks at
    each row by itself, as if the call had no other.
    `predicted`: what the predictor gives for every row."""
    count = len(logits)
    score = weigh(route, logits) if route.rank_on == "weight" else np.asarray(logits)
    together = rule == "select"
    kind = route.select if together else route.decodeRule
    everything, nothing = np.arange(count), np.arange(0)
    far = np.full(count, np.inf)
    if route.dense or kind == "always":
        rows, margin = everything, far
    elif kind == "never":
        rows, margin = nothing, far
    elif kind == "threshold":
        rows, margin = above(score, route.limit), margins(score, [], route.limit)
    elif kind == "predictor":
        rows, margin = above(predicted, route.limit), margins(predicted, [], route.limit)
    elif together:
        rows = topk(score, capacity(route.capacity, count, route.rounding, route.min))
        margin = margins(score, rows)
    else:
        one = capacity(route.capacity, 1, route.rounding, route.min)
        rows, margin = (everything if one else nothing), far
    if route.weight == "softmax_selected" and together and len(rows):
        return rows, softmax(np.asarray(logits)[rows]), margin
    return rows, weigh(route, np.asarray(logits)[rows]), margin


# --- Gates -----------------------------------------------------------------------


def gate(name, x, attn, ffn, r):
    """What a selected row gets.  B(x) = x + attn + ffn is the body with its inner
    residuals, D = B(x) - x.  A scope without one of the two has 0 there."""
    r = np.asarray(r)[:, None]
    body, delta = x + attn + ffn, attn + ffn
    return {
        "delta": lambda: x + r * delta,  # G1
        "double_residual": lambda: x + r * body,  # G2
        "additive": lambda: x + body,  # G2'
        "replace": lambda: r * body,  # G3
        "ffn_gated_double": lambda: 2 * x + attn + r * ffn,  # G4
        "ffn_gated": lambda: x + attn + r * ffn,  # G5
        "hard": lambda: x + delta,  # G7
    }[name]()


# --- Experts ---------------------------------------------------------------------


def experts(logits, k):
    """(slots, probabilities, margin) of one row: softmax over all slots, the k
    largest keep their probability, of equal ones the lowest slot wins."""
    slots = topk(logits, k)
    return slots, softmax(np.asarray(logits, dtype=np.float64))[slots], margins(logits, slots).min()
