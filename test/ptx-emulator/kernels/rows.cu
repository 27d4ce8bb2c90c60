// compile: rows.ptx nvcc -arch=sm_80
// compile: rows-fast.ptx nvcc -arch=sm_90 -use_fast_math
//
// Whole rows by one block each: softmax, normalisation, the largest k.
#include "common.h"
#include <cuda_bf16.h>

#define LANE (threadIdx.x & 31)
#define WARP (threadIdx.x / 32)
#define ALL 0xffffffffu

template <class F>
__device__ float over_block(float x, float none, F f) {
  __shared__ float partial[32];
  for (u32 d = 16; d; d /= 2)
    x = f(x, __shfl_xor_sync(ALL, x, d));
  __syncthreads();
  if (!LANE)
    partial[WARP] = x;
  __syncthreads();
  x = LANE < blockDim.x / 32 ? partial[LANE] : none;
  for (u32 d = 16; d; d /= 2)
    x = f(x, __shfl_xor_sync(ALL, x, d));
  return x;
}
__device__ float largest(float x) {
  return over_block(x, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
}
__device__ float total(float x) {
  return over_block(x, 0, [](float a, float b) { return a + b; });
}

KERNEL softmax(const float *a, float *out, u32 n) {
  a += blockIdx.x * n, out += blockIdx.x * n;
  float top = -INFINITY;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x)
    top = fmaxf(top, a[i]);
  top = largest(top);
  float sum = 0;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
    float e = __expf(a[i] - top);
    out[i] = e;
    sum += e;
  }
  float scale = 1 / total(sum);
  for (u32 i = threadIdx.x; i < n; i += blockDim.x)
    out[i] *= scale;
}

// One warp for each row, in registers, bf16 in and out.
KERNEL softmax_bf16(const __nv_bfloat162 *a, __nv_bfloat162 *out, u32 rows) {
  u32 row = blockIdx.x * (blockDim.x / 32) + WARP;
  if (row >= rows)
    return;
  float2 x[2];
  float top = -INFINITY, sum = 0;
#pragma unroll
  for (u32 k = 0; k < 2; ++k) {
    x[k] = __bfloat1622float2(a[row * 64 + k * 32 + LANE]);
    top = fmaxf(top, fmaxf(x[k].x, x[k].y));
  }
  for (u32 d = 16; d; d /= 2)
    top = fmaxf(top, __shfl_xor_sync(ALL, top, d));
#pragma unroll
  for (u32 k = 0; k < 2; ++k) {
    x[k].x = exp2f((x[k].x - top) * 1.44269504f);
    x[k].y = exp2f((x[k].y - top) * 1.44269504f);
    sum += x[k].x + x[k].y;
  }
  for (u32 d = 16; d; d /= 2)
    sum += __shfl_xor_sync(ALL, sum, d);
#pragma unroll
  for (u32 k = 0; k < 2; ++k)
    out[row * 64 + k * 32 + LANE] =
        __floats2bfloat162_rn(x[k].x / sum, x[k].y / sum);
}

KERNEL layernorm(const float *a, const float *gain, const float *bias,
                 float *out, u32 n, float epsilon) {
  a += blockIdx.x * n, out += blockIdx.x * n;
  float sum = 0;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x)
    sum += a[i];
  float mean = total(sum) / n, square = 0;
  for (u32 i = threadIdx.x; i < n; i += blockDim.x)
    square += (a[i] - mean) * (a[i] - mean);
  float scale = rsqrtf(total(square) / n + epsilon);
  for (u32 i = threadIdx.x; i < n; i += blockDim.x)
    out[i] = (a[i] - mean) * scale * gain[i] + bias[i];
}

KERNEL rmsnorm_bf16(const uint4 *a, const uint4 *gain, uint4 *out, u32 n,
                    float epsilon) {
  union Vector {
    uint4 whole;
    __nv_bfloat162 pairs[4];
  };
  a += blockIdx.x * n / 8, out += blockIdx.x * n / 8;
  float square = 0;
  for (u32 i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Vector v{a[i]};
    for (u32 k = 0; k < 4; ++k) {
      float2 x = __bfloat1622float2(v.pairs[k]);
      square += x.x * x.x + x.y * x.y;
    }
  }
  float scale = rsqrtf(total(square) / n + epsilon);
  for (u32 i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Vector v{a[i]}, g{__ldg(gain + i)};
    for (u32 k = 0; k < 4; ++k) {
      float2 x = __bfloat1622float2(v.pairs[k]),
             y = __bfloat1622float2(g.pairs[k]);
      v.pairs[k] = __floats2bfloat162_rn(x.x * scale * y.x, x.y * scale * y.y);
    }
    out[i] = v.whole;
  }
}

// The k largest of a row, by radix, 8 bits at a time: the places in order of
// index. Ties at the boundary go to the lowest places.
KERNEL top_k(const float *a, u32 *out, u32 n, u32 k) {
  __shared__ u32 bins[256], prefix, wanted, counts[32], taken;
  a += blockIdx.x * n, out += blockIdx.x * k;
  u32 t = threadIdx.x;
  auto key = [&](u32 i) {
    u32 x = __float_as_uint(a[i] + 0.0f);
    return x >> 31 ? ~x : x | 0x80000000;
  };
  if (!t)
    prefix = 0, wanted = k, taken = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (u32 i = t; i < 256; i += blockDim.x)
      bins[i] = 0;
    __syncthreads();
    u32 mask = shift == 24 ? 0 : ~0u << shift + 8;
    for (u32 i = t; i < n; i += blockDim.x)
      if ((key(i) & mask) == prefix)
        atomicAdd(bins + (key(i) >> shift & 255), 1);
    __syncthreads();
    if (t < 32) {
      // Lane l has bins 255 - 8 l .. 248 - 8 l, from the top.
      u32 sum = 0;
      for (u32 j = 0; j < 8; ++j)
        sum += bins[255 - 8 * t - j];
      u32 upto = sum;
      for (u32 d = 1; d < 32; d *= 2) {
        u32 y = __shfl_up_sync(ALL, upto, d);
        upto += t >= d ? y : 0;
      }
      u32 before = upto - sum, goal = wanted, old = prefix;
      __syncwarp();
      if (before < goal && goal <= upto) {
        u32 bin = 255 - 8 * t;
        while (before + bins[bin] < goal)
          before += bins[bin--];
        prefix = old | bin << shift;
        wanted = goal - before;
      }
    }
    __syncthreads();
  }
  // Above the boundary all are taken, on it the first `wanted`.
  u32 edge = prefix, ties = wanted, used = 0;
  for (u32 start = 0; start < n; start += blockDim.x) {
    u32 i = start + t, x = i < n ? key(i) : 0;
    bool equal = i < n && x == edge;
    u32 mask = __ballot_sync(ALL, equal);
    if (!LANE)
      counts[WARP] = __popc(mask);
    __syncthreads();
    u32 rank = used + __popc(mask & (1u << LANE) - 1), all = used;
    for (u32 w = 0; w < blockDim.x / 32; ++w) {
      rank += w < WARP ? counts[w] : 0;
      all += counts[w];
    }
    used = all;
    bool keep = i < n && (x > edge || (equal && rank < ties));
    __syncthreads();
    mask = __ballot_sync(ALL, keep);
    if (!LANE)
      counts[WARP] = __popc(mask);
    __syncthreads();
    u32 at = taken + __popc(mask & (1u << LANE) - 1), end = taken;
    for (u32 w = 0; w < blockDim.x / 32; ++w) {
      at += w < WARP ? counts[w] : 0;
      end += counts[w];
    }
    if (keep)
      out[at] = i;
    __syncthreads();
    if (!t)
      taken = end;
  }
}
