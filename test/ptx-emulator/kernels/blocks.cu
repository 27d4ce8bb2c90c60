// compile: blocks.ptx nvcc -arch=sm_80
// compile: blocks-clang.ptx clang --cuda-gpu-arch=sm_80 -O2
//
// Reductions and scans of blocks and of whole grids.
#include "common.h"

#define LANE (threadIdx.x & 31)
#define WARP (threadIdx.x / 32)
#define ALL 0xffffffffu

__device__ float warp_sum(float x) {
  for (u32 d = 16; d; d /= 2)
    x += __shfl_xor_sync(ALL, x, d);
  return x;
}

__device__ float block_sum(float x, float *partial) {
  x = warp_sum(x);
  if (!LANE)
    partial[WARP] = x;
  __syncthreads();
  x = LANE < blockDim.x / 32 ? partial[LANE] : 0;
  return warp_sum(x);
}

KERNEL reduce(const float *a, float *out, u32 n) {
  __shared__ float partial[32];
  float x = 0;
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    x += a[i];
  x = block_sum(x, partial);
  if (!threadIdx.x)
    out[blockIdx.x] = x;
}

// A tree in shared memory, the last steps within a warp.
KERNEL reduce_tree(const u32 *a, u32 *out, u32 n) {
  extern __shared__ u32 cells[];
  u32 t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  cells[t] = i < n ? a[i] : 0;
  __syncthreads();
  for (u32 half = blockDim.x / 2; half >= 32; half /= 2) {
    if (t < half)
      cells[t] += cells[t + half];
    __syncthreads();
  }
  if (t < 32) {
    for (u32 half = 16; half; half /= 2) {
      u32 x = cells[t] + cells[t + half];
      __syncwarp();
      cells[t] = x;
      __syncwarp();
    }
    if (!t)
      out[blockIdx.x] = cells[0];
  }
}

__device__ u32 scan_block(u32 x, u32 *partial) {
  for (u32 d = 1; d < 32; d *= 2) {
    u32 y = __shfl_up_sync(ALL, x, d);
    x += LANE >= d ? y : 0;
  }
  if (LANE == 31)
    partial[WARP] = x;
  __syncthreads();
  if (!WARP) {
    u32 y = LANE < blockDim.x / 32 ? partial[LANE] : 0;
    for (u32 d = 1; d < 32; d *= 2) {
      u32 z = __shfl_up_sync(ALL, y, d);
      y += LANE >= d ? z : 0;
    }
    partial[LANE] = y;
  }
  __syncthreads();
  return x + (WARP ? partial[WARP - 1] : 0);
}

KERNEL scan(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 partial[32];
  ELEMENT;
  PUT(scan_block(a[i], partial));
}

// In place in shared memory: up-sweep and down-sweep.
KERNEL scan_sweeps(const u32 *a, u32 *out, u32 n) {
  extern __shared__ u32 cells[];
  u32 t = threadIdx.x, size = 2 * blockDim.x, step = 1;
  cells[2 * t] = a[2 * t];
  cells[2 * t + 1] = a[2 * t + 1];
  for (u32 d = size / 2; d; d /= 2) {
    __syncthreads();
    if (t < d)
      cells[step * (2 * t + 2) - 1] += cells[step * (2 * t + 1) - 1];
    step *= 2;
  }
  if (!t)
    cells[size - 1] = 0;
  for (u32 d = 1; d < size; d *= 2) {
    step /= 2;
    __syncthreads();
    if (t < d) {
      u32 left = step * (2 * t + 1) - 1, right = step * (2 * t + 2) - 1;
      u32 x = cells[left];
      cells[left] = cells[right];
      cells[right] += x;
    }
  }
  __syncthreads();
  out[2 * t] = cells[2 * t];
  out[2 * t + 1] = cells[2 * t + 1];
}

// The last block adds up what the others left.
KERNEL last_block(const u32 *a, u32 *partial, u32 *count, u32 *out, u32 n) {
  __shared__ u32 sum;
  __shared__ bool last;
  u32 t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  if (!t)
    sum = 0;
  __syncthreads();
  atomicAdd(&sum, i < n ? a[i] : 0);
  __syncthreads();
  if (!t) {
    ((volatile u32 *)partial)[blockIdx.x] = sum;
    __threadfence();
    last = atomicAdd(count, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last)
    return;
  if (!t)
    sum = 0;
  __syncthreads();
  __threadfence();
  for (u32 k = t; k < gridDim.x; k += blockDim.x)
    atomicAdd(&sum, ((volatile u32 *)partial)[k]);
  __syncthreads();
  if (!t) {
    *out = sum;
    *count = 0;
  }
}

// Decoupled look-back: blocks take tickets, so that they wait for earlier ones
// only.
KERNEL look_back(const u32 *a, u32 *out, u32 *ticket, u64 *state, u32 n) {
  __shared__ u32 partial[32], tile, before;
  if (!threadIdx.x)
    tile = atomicAdd(ticket, 1);
  __syncthreads();
  u32 i = tile * blockDim.x + threadIdx.x;
  u32 x = scan_block(i < n ? a[i] : 0, partial);
  if (threadIdx.x == blockDim.x - 1) {
    u32 sum = 0;
    if (tile) {
      atomicExch(state + tile, 1ull << 32 | x); // our sum is known
      for (u32 k = tile - 1;; --k) {
        u64 seen;
        do
          asm volatile("ld.acquire.gpu.global.u64 %0, [%1];"
                       : "=l"(seen)
                       : "l"(state + k)
                       : "memory");
        while (!(seen >> 32));
        sum += (u32)seen;
        if (seen >> 32 == 2)
          break;
      }
    }
    asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(state + tile),
                 "l"(2ull << 32 | (u32)(sum + x))
                 : "memory");
    before = sum;
  }
  __syncthreads();
  if (i < n)
    out[i] = x + before;
}

// A lock, taken by one thread of each warp.
KERNEL spin_lock(u32 *lock, u32 *cells, u32 rounds) {
  for (u32 k = 0; k < rounds; ++k) {
    if (!LANE) {
      while (atomicCAS(lock, 0, 1))
        ;
      __threadfence();
      volatile u32 *p = cells;
      u32 x = p[0];
      p[1] = p[1] + x % 7;
      p[0] = x + 1;
      __threadfence();
      atomicExch(lock, 0);
    }
    __syncwarp();
  }
}

// All lanes want the lock; who holds it leaves it in the same round.
KERNEL spin_lanes(u32 *lock, u32 *cells) {
  bool done = false;
  while (!done) {
    if (!atomicCAS(lock, 0, 1)) {
      __threadfence();
      volatile u32 *p = cells;
      p[0] = p[0] + threadIdx.x;
      p[1] = p[1] + 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

KERNEL histogram(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 bins[64];
  for (u32 k = threadIdx.x; k < 64; k += blockDim.x)
    bins[k] = 0;
  __syncthreads();
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n;
       i += gridDim.x * blockDim.x)
    atomicAdd(bins + a[i] % 64, 1);
  __syncthreads();
  for (u32 k = threadIdx.x; k < 64; k += blockDim.x)
    if (bins[k])
      atomicAdd(out + k, bins[k]);
}

// Places of kept elements: a ballot for each warp, one atomic for each warp.
KERNEL compact(const u32 *a, u32 *out, u32 *count, u32 n) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  bool keep = i < n && a[i] % 3 == 0;
  u32 mask = __ballot_sync(ALL, keep), base = 0;
  if (!LANE)
    base = atomicAdd(count, __popc(mask));
  base = __shfl_sync(ALL, base, 0);
  if (keep)
    out[base + __popc(mask & (1u << LANE) - 1)] = a[i];
}
