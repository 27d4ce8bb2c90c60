// compile: hopper.ptx nvcc -arch=sm_90a
//
// A matrix product as it is written for sm_90a: one warpgroup brings tiles by
// TMA, two multiply them, a ring of stages between.
#include "warpgroup.h"
#include <cuda_bf16.h>

#define PARAMETER(map) const __grid_constant__ TensorMap map
#define REGISTERS(change, n)                                                   \
  ASM("setmaxnreg." change ".sync.aligned.u32 %0;" ::"n"(n))

constexpr u32 Stages = 4, Depth = 64, TileBytes = 128 * Depth * 2;

// C = A B^T of bf16, rows of K; tiles of 128 x 128 x 64, any M, N and K.
// Shared memory: 4 x (16 + 16) KiB of stages, 32 KiB of results.
KERNEL __launch_bounds__(384, 1)
    matmul(PARAMETER(a), PARAMETER(b), PARAMETER(c), u32 k) {
  extern __shared__ __align__(1024) u8 memory[];
  __shared__ u64 full[Stages], empty[Stages];
  u32 t = threadIdx.x, group = t / 128, steps = (k + Depth - 1) / Depth;
  int row = blockIdx.y * 128, column = blockIdx.x * 128;
  if (t == 0) {
    for (u32 s = 0; s < Stages; ++s) {
      init(AT(&full[s]), 1);
      init(AT(&empty[s]), 2);
    }
    fence_init();
  }
  __syncthreads();

  if (group == 0) {
    REGISTERS("dec", 40);
    u32 elected;
    if (t < 32) {
      ASM("{\n\t.reg .pred %%p;\n\telect.sync _|%%p, 0xffffffff;\n\t"
          "selp.u32 %0, 1, 0, %%p;\n\t}" : "=r"(elected) :);
      if (elected)
        for (u32 step = 0; step < steps; ++step) {
          u32 s = step % Stages, bar = AT(&full[s]);
          u32 to = AT(memory) + s * 2 * TileBytes;
          wait(AT(&empty[s]), step / Stages & 1 ^ 1);
          expect(bar, 2 * TileBytes);
          tensor_load(to, a, step * Depth, row, bar);
          tensor_load(to + TileBytes, b, step * Depth, column, bar);
        }
    }
    return;
  }

  REGISTERS("inc", 232);
  u32 consumer = group - 1, me = t % 128;
  float d[64];
  clear(d);
  for (u32 step = 0; step < steps; ++step) {
    u32 s = step % Stages;
    u32 left = AT(memory) + s * 2 * TileBytes + consumer * (TileBytes / 2);
    u32 right = AT(memory) + s * 2 * TileBytes + TileBytes;
    wait(AT(&full[s]), step / Stages & 1);
    pin(d);
    FENCE;
#pragma unroll
    for (u32 j = 0; j < Depth / 16; ++j)
      multiply(d, describe(left + 32 * j, 16, 1024, B128),
               describe(right + 32 * j, 16, 1024, B128));
    COMMIT;
    // The stage before has been read by this warpgroup.
    WAIT(1);
    if (step && me == 0)
      arrive(AT(&empty[(step - 1) % Stages]));
  }
  WAIT(0);
  pin(d);

  // Results: two boxes of 64 x 64 for each warpgroup, swizzled as TMA stores
  // them. A thread has the address of a row of 16 bytes of four 8 x 8 matrices:
  // two of rows, two of columns.
  u32 results = AT(memory) + Stages * 2 * TileBytes + consumer * 16384;
  u32 lane = t % 32, y = me / 32 * 16 + lane % 16;
#pragma unroll
  for (u32 j = 0; j < 8; ++j) {
    u32 words[4];
#pragma unroll
    for (u32 e = 0; e < 4; ++e) {
      __nv_bfloat162 pair =
          __floats2bfloat162_rn(d[8 * j + 2 * e], d[8 * j + 2 * e + 1]);
      words[e] = *(u32 *)&pair;
    }
    u32 chunk = j % 4 * 2 + lane / 16;
    u32 to = results + j / 4 * 8192 + y * 128 + ((chunk ^ y % 8) << 4);
    ASM("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::
            "r"(to),
        "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]));
  }
  fence_async();
  ASM("bar.sync %0, 128;" ::"r"(group));
  if (me == 0) {
    tensor_store(c, column, row + 64 * consumer, results);
    tensor_store(c, column + 64, row + 64 * consumer, results + 8192);
    BULK_COMMIT;
    BULK_WAIT(0);
  }
}

// The same roles in a block that takes one tile after the other: barriers go on
// over tiles, results leave while the next tile is multiplied, in sums of K
// that other blocks add to (split K).
KERNEL __launch_bounds__(256, 1)
    persistent(PARAMETER(a), PARAMETER(b), PARAMETER(c), u32 tiles_x, u32 tiles,
               u32 steps) {
  extern __shared__ __align__(1024) u8 memory[];
  __shared__ u64 full[2], empty[2];
  u32 t = threadIdx.x, me = t % 128, slice = blockIdx.y * steps;
  u32 results = AT(memory) + 2 * TileBytes;
  if (t == 0) {
    for (u32 s = 0; s < 2; ++s) {
      init(AT(&full[s]), 1);
      init(AT(&empty[s]), 128);
    }
    fence_init();
  }
  __syncthreads();
  u32 count = 0;
  if (t >= 128) {
    REGISTERS("dec", 24);
    if (me == 64)
      for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x)
        for (u32 step = 0; step < steps; ++step, ++count) {
          u32 s = count % 2, bar = AT(&full[s]);
          u32 to = AT(memory) + s * TileBytes;
          int at = (slice + step) * Depth;
          wait(AT(&empty[s]), count / 2 & 1 ^ 1);
          expect(bar, TileBytes);
          tensor_load(to, a, at, tile / tiles_x * 64, bar);
          tensor_load(to + TileBytes / 2, b, at, tile % tiles_x * 64, bar);
        }
    return;
  }
  REGISTERS("inc", 240);
  for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float d[32];
    clear(d);
    for (u32 step = 0; step < steps; ++step, ++count) {
      u32 s = count % 2, left = AT(memory) + s * TileBytes;
      wait(AT(&full[s]), count / 2 & 1);
      pin(d);
      FENCE;
#pragma unroll
      for (u32 j = 0; j < Depth / 16; ++j)
        multiply(d, describe(left + 32 * j, 16, 1024, B128),
                 describe(left + TileBytes / 2 + 32 * j, 16, 1024, B128));
      COMMIT;
      WAIT(0);
      arrive(AT(&empty[s]));
    }
    pin(d);
    // The store before has read its source.
    if (me == 0)
      BULK_WAIT_READ(0);
    ASM("bar.sync 1, 128;" ::);
#pragma unroll
    for (u32 j = 0; j < 32; j += 2)
      ASM("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(
              results + column_of(me, j) / 32 * 8192 +
              (row_of(me, j) * 128 + column_of(me, j) % 32 * 4 ^
               row_of(me, j) % 8 << 4)),
          "f"(d[j]), "f"(d[j + 1]));
    fence_async();
    ASM("bar.sync 1, 128;" ::);
    if (me == 0) {
      for (int half = 0; half < 2; ++half)
        ASM("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group "
            "[%0, {%1, %2}], [%3];" ::"l"(&c),
            "r"((int)(tile % tiles_x * 64) + 32 * half),
            "r"((int)(tile / tiles_x * 64)), "r"(results + 8192 * half));
      BULK_COMMIT;
    }
  }
  if (me == 0)
    BULK_WAIT(0);
}

// Attention of 64 queries, 64 elements each, over any number of keys: the
// scores of the next keys are in flight with the product of the last weights,
// whose operands stay in registers. Rows of K are elements of K^T; V is in rows
// of K.
KERNEL __launch_bounds__(160, 1)
    attention(PARAMETER(q), PARAMETER(k), PARAMETER(v), float *out, u32 queries,
              u32 keys, float scale) {
  __shared__ __align__(1024) u8 query[8192], stages[2][2][8192];
  __shared__ u64 ready, full[2], empty[2];
  u32 t = threadIdx.x, tiles = (keys + 63) / 64;
  if (t == 0) {
    init(AT(&ready), 1);
    for (u32 s = 0; s < 2; ++s) {
      init(AT(&full[s]), 1);
      init(AT(&empty[s]), 4);
    }
    fence_init();
  }
  __syncthreads();
  if (t >= 128) {
    if (t == 128) {
      expect(AT(&ready), 8192);
      tensor_load(AT(query), q, 0, blockIdx.x * 64, AT(&ready));
      for (u32 tile = 0; tile < tiles; ++tile) {
        u32 s = tile % 2, bar = AT(&full[s]);
        wait(AT(&empty[s]), tile / 2 & 1 ^ 1);
        expect(bar, 16384);
        tensor_load(AT(stages[s][0]), k, 0, tile * 64, bar);
        tensor_load(AT(stages[s][1]), v, 0, tile * 64, bar);
      }
    }
    return;
  }

  float s[32], d[32], largest[2], sum[2], shrink[2];
  u32 p[4][4];
  auto scores = [&](u32 tile) {
    wait(AT(&full[tile % 2]), tile / 2 & 1);
    pin(s);
    FENCE;
#pragma unroll
    for (u32 j = 0; j < 4; ++j)
      multiply(s, describe(AT(query) + 32 * j, 16, 1024, B128),
               describe(AT(stages[tile % 2][0]) + 32 * j, 16, 1024, B128), j);
    COMMIT;
  };
  // Scores to weights: of each of two rows the largest so far is subtracted.
  auto weigh = [&](u32 tile) {
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
      float most = largest[half];
#pragma unroll
      for (u32 j = 0; j < 32; ++j)
        if (j / 2 % 2 == half) {
          s[j] = tile * 64 + column_of(t, j) < keys ? s[j] * scale : -1e30f;
          most = fmaxf(most, s[j]);
        }
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      shrink[half] = exp2f(largest[half] - most);
      largest[half] = most;
      sum[half] *= shrink[half];
#pragma unroll
      for (u32 j = 0; j < 32; ++j)
        if (j / 2 % 2 == half)
          sum[half] += s[j] = exp2f(s[j] - most);
    }
  };
  auto pack = [&] {
#pragma unroll
    for (u32 j = 0; j < 16; ++j) {
      __nv_bfloat162 pair = __floats2bfloat162_rn(s[2 * j], s[2 * j + 1]);
      p[j / 4][j % 4] = *(u32 *)&pair;
      ASM("" : "+r"(p[j / 4][j % 4]) :);
    }
  };
  largest[0] = largest[1] = -1e30f;
  sum[0] = sum[1] = 0;
  clear(d);
  wait(AT(&ready), 0);
  scores(0);
  WAIT(0);
  pin(s);
  weigh(0);
  pack();
  for (u32 tile = 0; tile < tiles; ++tile) {
    bool more = tile + 1 < tiles;
    if (more)
      scores(tile + 1);
    pin(d);
    FENCE;
#pragma unroll
    for (u32 j = 0; j < 4; ++j)
      multiply<1>(
          d, p[j],
          describe(AT(stages[tile % 2][1]) + 2048 * j, 8192, 1024, B128));
    COMMIT;
    if (more) {
      WAIT(1);
      pin(s);
      weigh(tile + 1);
    }
    WAIT(0);
    pin(d);
    __syncwarp();
    if (t % 32 == 0)
      arrive(AT(&empty[tile % 2]));
    if (more) {
#pragma unroll
      for (u32 j = 0; j < 32; ++j)
        d[j] *= shrink[j / 2 % 2];
      pack();
    }
  }
#pragma unroll
  for (u32 half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(~0u, sum[half], 1);
    sum[half] += __shfl_xor_sync(~0u, sum[half], 2);
  }
#pragma unroll
  for (u32 j = 0; j < 32; ++j) {
    u32 row = blockIdx.x * 64 + row_of(t, j);
    if (row < queries)
      out[row * 64 + column_of(t, j)] = d[j] / sum[j / 2 % 2];
  }
}
