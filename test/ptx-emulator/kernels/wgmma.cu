// compile: wgmma.ptx nvcc -arch=sm_90a
//
// Products of warpgroups: what may be in flight together, and where operands
// come from. Which products there are: warpgroups.py.
#include "warpgroup.h"
#include <cuda_bf16.h>

#define PARAMETER(map) const __grid_constant__ TensorMap map
#define STORE(to, width)                                                       \
  for (u32 k = 0; k < 32; ++k)                                                 \
  (to)[row_of(threadIdx.x % 128, k) * (width) +                                \
       column_of(threadIdx.x % 128, k)] = d[k]

// Rows of 64 elements that TMA has swizzled in 128 bytes, 8 rows in 1024 bytes:
// a slice of 16 elements of K is 32 bytes further.
__device__ u64 rows(const void *tile, u32 slice = 0) {
  return describe(AT(tile) + 32 * slice, 16, 1024, B128);
}

// One product after the other, each in a group of its own, waited for at once.
// C = A B^T + C, all 64 x 64.
KERNEL one_by_one(PARAMETER(a), PARAMETER(b), float *c) {
  __shared__ __align__(1024) u16 left[64 * 64], right[64 * 64];
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
    expect(bar, 16384);
    tensor_load(AT(left), a, 0, 0, bar);
    tensor_load(AT(right), b, 0, 0, bar);
  }
  __syncthreads();
  float d[32];
#pragma unroll
  for (u32 k = 0; k < 32; ++k)
    d[k] = c[row_of(threadIdx.x, k) * 64 + column_of(threadIdx.x, k)];
  wait(bar, 0);
#pragma unroll
  for (u32 k = 0; k < 4; ++k) {
    pin(d);
    FENCE;
    multiply(d, rows(left, k), rows(right, k));
    COMMIT;
    WAIT(0);
    pin(d);
  }
  STORE(c, 64);
}

// All in one group, and nothing before them: the first does not add.
KERNEL one_group(PARAMETER(a), PARAMETER(b), float *c) {
  __shared__ __align__(1024) u16 left[64 * 64], right[64 * 64];
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
    expect(bar, 16384);
    tensor_load(AT(left), a, 0, 0, bar);
    tensor_load(AT(right), b, 0, 0, bar);
  }
  __syncthreads();
  wait(bar, 0);
  float d[32];
  pin(d);
  FENCE;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply(d, rows(left, k), rows(right, k), k);
  COMMIT;
  WAIT(0);
  pin(d);
  STORE(c, 64);
}

// Two groups with accumulators of their own: the first is read while the second
// is in flight.
KERNEL two_groups(PARAMETER(a), PARAMETER(b), float *c) {
  __shared__ __align__(1024) u16 left[64 * 64], right[128 * 64];
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
    expect(bar, 24576);
    tensor_load(AT(left), a, 0, 0, bar);
    tensor_load(AT(right), b, 0, 0, bar);
    tensor_load(AT(right + 64 * 64), b, 0, 64, bar);
  }
  __syncthreads();
  wait(bar, 0);
  float d[32], e[32];
  clear(d);
  clear(e);
  FENCE;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply(d, rows(left, k), rows(right, k));
  COMMIT;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply(e, rows(left, k), rows(right + 64 * 64, k));
  COMMIT;
  WAIT(1);
  pin(d);
  STORE(c, 128);
  WAIT(0);
  pin(e);
#pragma unroll
  for (u32 k = 0; k < 32; ++k)
    d[k] = e[k];
  STORE(c + 64, 128);
}

// Any K, two stages: the products of one stage are in flight while the next one
// is loaded, all with the same accumulators.
KERNEL pipelined(PARAMETER(a), PARAMETER(b), float *c, u32 steps) {
  __shared__ __align__(1024) u16 left[2][64 * 64], right[2][64 * 64];
  __shared__ u64 full[2];
  auto fetch = [&](u32 step) {
    u32 s = step % 2, bar = AT(&full[s]);
    expect(bar, 16384);
    tensor_load(AT(left[s]), a, 64 * step, 0, bar);
    tensor_load(AT(right[s]), b, 64 * step, 0, bar);
  };
  if (threadIdx.x == 0) {
    init(AT(&full[0]), 1);
    init(AT(&full[1]), 1);
    fence_init();
    fetch(0);
  }
  __syncthreads();
  float d[32];
  clear(d);
  for (u32 step = 0; step < steps; ++step) {
    wait(AT(&full[step % 2]), step / 2 & 1);
    pin(d);
    FENCE;
#pragma unroll
    for (u32 k = 0; k < 4; ++k)
      multiply(d, rows(left[step % 2], k), rows(right[step % 2], k));
    COMMIT;
    // The stage before is free when its products are done in every warp.
    WAIT(1);
    __syncthreads();
    if (threadIdx.x == 0 && step + 1 < steps)
      fetch(step + 1);
  }
  WAIT(0);
  pin(d);
  STORE(c, 64);
}

// Matrices stored by threads, in groups of 8 rows by 16 bytes and no swizzle;
// two warpgroups with rows of A of their own and B in common.
KERNEL plain_stores(const u16 *a, const u16 *b, float *c) {
  __shared__ __align__(128) u16 left[2][64 * 16], right[64 * 16];
  u32 t = threadIdx.x, group = t / 128;
  for (u32 i = t; i < 128 * 16; i += blockDim.x) {
    u32 row = i / 16 % 64, k = i % 16;
    left[i / 1024][k / 8 * 512 + row / 8 * 64 + row % 8 * 8 + k % 8] = a[i];
  }
  for (u32 i = t; i < 64 * 16; i += blockDim.x) {
    u32 row = i / 16, k = i % 16;
    right[row / 8 * 128 + k / 8 * 64 + row % 8 * 8 + k % 8] = b[i];
  }
  fence_async();
  __syncthreads();
  float d[32];
  clear(d);
  FENCE;
  multiply(d, describe(AT(left[group]), 1024, 128, None),
           describe(AT(right), 128, 256, None));
  COMMIT;
  WAIT(0);
  pin(d);
  STORE(c + group * 64 * 64, 64);
}

// Rows of K: A is K x M, B is K x N in memory.
KERNEL transposed(PARAMETER(a), PARAMETER(b), float *c) {
  __shared__ __align__(1024) u16 left[64 * 64], right[64 * 64];
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
    expect(bar, 16384);
    tensor_load(AT(left), a, 0, 0, bar);
    tensor_load(AT(right), b, 0, 0, bar);
  }
  __syncthreads();
  wait(bar, 0);
  float d[32];
  clear(d);
  FENCE;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply<1, 1>(d, describe(AT(left) + 2048 * k, 8192, 1024, B128),
                   describe(AT(right) + 2048 * k, 8192, 1024, B128));
  COMMIT;
  WAIT(0);
  pin(d);
  STORE(c, 64);
}

// S = Q K^T goes from accumulators to operands in registers: C = S V, with V in
// rows of K. The registers of A are free after the wait only.
KERNEL chained(PARAMETER(q), PARAMETER(k), PARAMETER(v), float *c) {
  __shared__ __align__(1024) u16 left[64 * 64], right[64 * 64], last[64 * 64];
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
    expect(bar, 3 * 8192);
    tensor_load(AT(left), q, 0, 0, bar);
    tensor_load(AT(right), k, 0, 0, bar);
    tensor_load(AT(last), v, 0, 0, bar);
  }
  __syncthreads();
  wait(bar, 0);
  float s[32], d[32];
  clear(s);
  FENCE;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply(s, rows(left, k), rows(right, k));
  COMMIT;
  WAIT(0);
  pin(s);
  u32 p[4][4];
#pragma unroll
  for (u32 k = 0; k < 16; ++k) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(s[2 * k], s[2 * k + 1]);
    p[k / 4][k % 4] = *(u32 *)&pair;
    ASM("" : "+r"(p[k / 4][k % 4]) :);
  }
  clear(d);
  FENCE;
#pragma unroll
  for (u32 k = 0; k < 4; ++k)
    multiply<1>(d, p[k], describe(AT(last) + 2048 * k, 8192, 1024, B128));
  COMMIT;
  WAIT(0);
  pin(d);
  STORE(c, 64);
}
