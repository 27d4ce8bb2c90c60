// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the kernels share. A kernel of many operations over n elements writes
// one row of n results for each PUT, in the order of the reference of the same
// name.
#pragma once
#include <cstdint>

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = unsigned long long;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = long long;

#define KERNEL extern "C" __global__ void
#define ELEMENT                                                                \
  u32 i = blockIdx.x * blockDim.x + threadIdx.x, slot = 0;                     \
  if (i >= n)                                                                  \
  return
#define PUT(...) out[slot++ * n + i] = (__VA_ARGS__)

/// One instruction: OP1("popc.b32", u32, "=r", "r"(a)).
#define OP1(text, T, to, a)                                                    \
  ({                                                                           \
    T result;                                                                  \
    asm volatile(text " %0, %1;" : to(result) : a);                            \
    result;                                                                    \
  })
#define OP2(text, T, to, a, b)                                                 \
  ({                                                                           \
    T result;                                                                  \
    asm volatile(text " %0, %1, %2;" : to(result) : a, b);                     \
    result;                                                                    \
  })
#define OP3(text, T, to, a, b, c)                                              \
  ({                                                                           \
    T result;                                                                  \
    asm volatile(text " %0, %1, %2, %3;" : to(result) : a, b, c);              \
    result;                                                                    \
  })
