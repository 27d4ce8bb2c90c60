# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
from exact import BF16
from half import cases_of


def cases():
    yield from cases_of("bf16", BF16, ("bfloat.ptx", "bfloat-sm90.ptx"))
