// compile: matmul.ptx nvcc -arch=sm_80
// compile: matmul-clang.ptx clang --cuda-gpu-arch=sm_80 -O2
//
// Tiled products of matrices: f32 in registers, bf16 on tensor cores.
#include "common.h"

// C = A B, row by row; tiles of 128 x 128 x 8, 256 threads, 8 x 8 each. M and N
// are multiples of 128, K of 8.
KERNEL matmul_f32(const float *__restrict__ a, const float *__restrict__ b,
                  float *__restrict__ c, u32 m, u32 n, u32 k) {
  __shared__ __align__(16) float left[8][128];
  __shared__ __align__(16) float right[8][128];
  u32 t = threadIdx.x, row = blockIdx.y * 128, column = blockIdx.x * 128;
  u32 y = t / 16 * 8, x = t % 16 * 8;
  float sum[8][8] = {};
  for (u32 at = 0; at < k; at += 8) {
    float4 v = *(const float4 *)(a + (row + t / 2) * k + at + t % 2 * 4);
    float4 w = *(const float4 *)(b + (at + t / 32) * n + column + t % 32 * 4);
    left[t % 2 * 4 + 0][t / 2] = v.x;
    left[t % 2 * 4 + 1][t / 2] = v.y;
    left[t % 2 * 4 + 2][t / 2] = v.z;
    left[t % 2 * 4 + 3][t / 2] = v.w;
    *(float4 *)&right[t / 32][t % 32 * 4] = w;
    __syncthreads();
#pragma unroll
    for (u32 j = 0; j < 8; ++j) {
      float p[8], q[8];
      *(float4 *)p = *(float4 *)&left[j][y];
      *(float4 *)(p + 4) = *(float4 *)&left[j][y + 4];
      *(float4 *)q = *(float4 *)&right[j][x];
      *(float4 *)(q + 4) = *(float4 *)&right[j][x + 4];
#pragma unroll
      for (u32 r = 0; r < 8; ++r)
#pragma unroll
        for (u32 s = 0; s < 8; ++s)
          sum[r][s] = __builtin_fmaf(p[r], q[s], sum[r][s]);
    }
    __syncthreads();
  }
#pragma unroll
  for (u32 r = 0; r < 8; ++r) {
    float4 *to = (float4 *)(c + (row + y + r) * n + column + x);
    to[0] = float4{sum[r][0], sum[r][1], sum[r][2], sum[r][3]};
    to[1] = float4{sum[r][4], sum[r][5], sum[r][6], sum[r][7]};
  }
}

#define AT(p) ((u32)__cvta_generic_to_shared(p))

// C = A B^T with bf16 operands of K columns and any M, N; K a multiple of 8.
// Tiles of 64 x 64 x 32, four warps of 32 x 32, three stages. A row of a tile
// is 64 bytes: four chunks of 16, whose place is swizzled by the row.
__device__ u32 place(u32 row, u32 chunk) {
  return row * 64 + ((chunk ^ row / 2 % 4) * 16);
}

__device__ void load_tile(u32 to, const u16 *from, u32 first, u32 rows, u32 at,
                          u32 k) {
#pragma unroll
  for (u32 step = 0; step < 2; ++step) {
    u32 piece = threadIdx.x + step * 128, row = piece / 4, chunk = piece % 4;
    bool inside = first + row < rows && at + chunk * 8 < k;
    const u16 *source =
        from + (inside ? (u64)(first + row) * k + at + chunk * 8 : 0);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     to + place(row, chunk)),
                 "l"(source), "r"(inside ? 16 : 0)
                 : "memory");
  }
}

KERNEL matmul_bf16(const u16 *a, const u16 *b, float *c, u32 m, u32 n, u32 k) {
  extern __shared__ __align__(128) char tiles[]; // 3 x (4096 + 4096) bytes
  u32 base = AT(tiles), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  u32 row = blockIdx.y * 64, column = blockIdx.x * 64;
  u32 y = warp / 2 * 32, x = warp % 2 * 32, steps = (k + 31) / 32;
  float sum[2][4][4] = {};
#pragma unroll
  for (u32 s = 0; s < 2; ++s) {
    if (s < steps) {
      load_tile(base + s * 8192, a, row, m, s * 32, k);
      load_tile(base + s * 8192 + 4096, b, column, n, s * 32, k);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  for (u32 step = 0; step < steps; ++step) {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    u32 next = step + 2;
    if (next < steps) {
      load_tile(base + next % 3 * 8192, a, row, m, next * 32, k);
      load_tile(base + next % 3 * 8192 + 4096, b, column, n, next * 32, k);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    u32 left = base + step % 3 * 8192, right = left + 4096;
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
      u32 p[2][4], q[2][4];
#pragma unroll
      for (u32 r = 0; r < 2; ++r) {
        asm volatile(
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
            : "=r"(p[r][0]), "=r"(p[r][1]), "=r"(p[r][2]), "=r"(p[r][3])
            : "r"(left + place(y + r * 16 + lane % 16, half * 2 + lane / 16)));
        asm volatile(
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
            : "=r"(q[r][0]), "=r"(q[r][1]), "=r"(q[r][2]), "=r"(q[r][3])
            : "r"(right + place(x + r * 16 + lane / 16 * 8 + lane % 8,
                                half * 2 + lane / 8 % 2)));
      }
#pragma unroll
      for (u32 r = 0; r < 2; ++r)
#pragma unroll
        for (u32 s = 0; s < 4; ++s)
          asm volatile(
              "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
              "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
              : "+f"(sum[r][s][0]), "+f"(sum[r][s][1]), "+f"(sum[r][s][2]),
                "+f"(sum[r][s][3])
              : "r"(p[r][0]), "r"(p[r][1]), "r"(p[r][2]), "r"(p[r][3]),
                "r"(q[s / 2][s % 2 * 2]), "r"(q[s / 2][s % 2 * 2 + 1]));
    }
  }
#pragma unroll
  for (u32 r = 0; r < 2; ++r)
#pragma unroll
    for (u32 s = 0; s < 4; ++s)
#pragma unroll
      for (u32 e = 0; e < 4; ++e) {
        u32 i = row + y + r * 16 + lane / 4 + e / 2 * 8;
        u32 j = column + x + s * 8 + lane % 4 * 2 + e % 2;
        if (i < m && j < n)
          c[i * n + j] = sum[r][s][e];
      }
}
