// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the kernels share that multiply with wgmma: descriptors of matrices in
// shared memory, m64nNk16 of bf16 with sums in f32.
#pragma once
#include "hopper.h"

enum Swizzle : u32 { None = 0, B128 = 1, B64 = 2, B32 = 3 };

/// A matrix at an address of shared memory. Bytes from a group of 8 rows (or
/// columns) to the next are `stride`; what `leading` is depends on the layout.
__device__ inline u64 describe(u32 at, u32 leading, u32 stride, Swizzle mode) {
  return (u64)((at & 0x3ffff) >> 4) | (u64)(leading >> 4) << 16 |
         (u64)(stride >> 4) << 32 | (u64)mode << 62;
}

#define FENCE ASM("wgmma.fence.sync.aligned;" ::)
#define COMMIT ASM("wgmma.commit_group.sync.aligned;" ::)
#define WAIT(n) ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(n))

/// The compiler moves no use of the accumulators over this place.
template <int N>
__device__ inline void pin(float (&d)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k)
    ASM("" : "+f"(d[k]) :);
}
template <int N>
__device__ inline void clear(float (&d)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k)
    d[k] = 0;
  pin(d);
}

#define F8(at)                                                                 \
  "+f"(d[at]), "+f"(d[at + 1]), "+f"(d[at + 2]), "+f"(d[at + 3]),              \
      "+f"(d[at + 4]), "+f"(d[at + 5]), "+f"(d[at + 6]), "+f"(d[at + 7])
#define F32 F8(0), F8(8), F8(16), F8(24)
#define F64 F32, F8(32), F8(40), F8(48), F8(56)
#define D8(t)                                                                  \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, "     \
  "%" #t "7, %" #t "8, %" #t "9"
#define D32                                                                    \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " D8(1) ", " D8(2) ", %30, %31}"
#define D64                                                                    \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " D8(1) ", " D8(2) ", " D8(        \
      3) ", " D8(4) ", " D8(5) ", %60, %61, %62, %63}"

/// d += a b, or d = a b without `add`. Transposed: rows of M, or of N.
template <int TransposedA = 0, int TransposedB = 0>
__device__ inline void multiply(float (&d)[32], u64 a, u64 b, u32 add = 1) {
  ASM("{\n\t.reg .pred %%p;\n\tsetp.ne.u32 %%p, %34, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " D32
      ", %32, %33, %%p, 1, 1, %35, %36;\n\t}" : F32 : "l"(a),
      "l"(b), "r"(add), "n"(TransposedA), "n"(TransposedB));
}
/// The same with rows of A in registers.
template <int TransposedB = 0>
__device__ inline void multiply(float (&d)[32], const u32 (&a)[4], u64 b,
                                u32 add = 1) {
  ASM("{\n\t.reg .pred %%p;\n\tsetp.ne.u32 %%p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " D32
      ", {%32, %33, %34, %35}, %36, %%p, 1, 1, %38;\n\t}" : F32 : "r"(a[0]),
      "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TransposedB));
}
/// m64n128k16.
__device__ inline void multiply(float (&d)[64], u64 a, u64 b, u32 add = 1) {
  ASM("{\n\t.reg .pred %%p;\n\tsetp.ne.u32 %%p, %66, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " D64
      ", %64, %65, %%p, 1, 1, 0, 0;\n\t}" : F64 : "l"(a),
      "l"(b), "r"(add));
}

/// Row and column of accumulator `k` of a thread of the warpgroup.
__device__ inline u32 row_of(u32 thread, u32 k) {
  return thread / 32 * 16 + thread % 32 / 4 + k / 2 % 2 * 8;
}
__device__ inline u32 column_of(u32 thread, u32 k) {
  return k / 4 * 8 + thread % 4 * 2 + k % 2;
}
