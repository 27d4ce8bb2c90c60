// compile: barriers.ptx nvcc -arch=sm_80
// compile: barriers-O0.ptx nvcc -arch=sm_80 -Xcicc -O0
//
// Barriers of blocks, of parts of blocks, and of parts of warps.
#include "common.h"

#define LANE (threadIdx.x & 31)

// Neighbours in a ring, over many phases.
KERNEL ring(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[2][128];
  u32 t = threadIdx.x, x = a[blockIdx.x * blockDim.x + t];
  for (u32 phase = 0; phase < 6; ++phase) {
    cells[phase & 1][t] = x;
    __syncthreads();
    x = x * 3 + cells[phase & 1][(t + 1 + phase) % blockDim.x];
  }
  out[blockIdx.x * blockDim.x + t] = x;
}

// One buffer: two barriers in each phase.
KERNEL ring_single(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[128];
  u32 t = threadIdx.x, x = a[t];
  for (u32 phase = 0; phase < 4; ++phase) {
    cells[t] = x;
    __syncthreads();
    x += cells[blockDim.x - 1 - t];
    __syncthreads();
  }
  out[t] = x;
}

KERNEL transpose(const float *a, float *out, u32 rows, u32 columns) {
  __shared__ float tile[32][33];
  u32 x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (u32 k = 0; k < 32; k += 8)
    if (x < columns && y + k < rows)
      tile[threadIdx.y + k][threadIdx.x] = a[(y + k) * columns + x];
  __syncthreads();
  x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32 + threadIdx.y;
  for (u32 k = 0; k < 32; k += 8)
    if (x < rows && y + k < columns)
      out[(y + k) * rows + x] = tile[threadIdx.x][threadIdx.y + k];
}

KERNEL counted(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(__syncthreads_count(x & 1));
  PUT(__syncthreads_and(x < 4000000000u));
  PUT(__syncthreads_or(x == 3));
  PUT(__syncthreads_count(x > 7));
}

// Each half of the block has its barrier.
KERNEL named_halves(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[128];
  u32 t = threadIdx.x, half = t / 64, x = a[t];
  for (u32 phase = 0; phase < 2 + half * 3; ++phase) {
    cells[t] = x;
    asm volatile("bar.sync %0, 64;" ::"r"(half + 1) : "memory");
    x = x * 5 + cells[half * 64 + (t + 33) % 64];
    asm volatile("bar.sync %0, 64;" ::"r"(half + 1) : "memory");
  }
  __syncthreads();
  cells[t] = x;
  __syncthreads();
  out[t] = cells[(t + 64) % 128] + x;
}

// Warp 0 and 1 make, warp 2 and 3 take; two buffers of a ring.
KERNEL producers(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 ring[2][64];
  u32 t = threadIdx.x;
  if (t < 64) {
    for (u32 k = 0; k < n; ++k) {
      if (k >= 2)
        asm volatile("bar.sync %0, 128;" ::"r"(3 + k % 2) : "memory"); // empty
      ring[k % 2][t] = a[k * 64 + t] + k;
      asm volatile("bar.arrive %0, 128;" ::"r"(1 + k % 2) : "memory"); // full
    }
  } else {
    u32 sum = 0;
    for (u32 k = 0; k < n; ++k) {
      asm volatile("bar.sync %0, 128;" ::"r"(1 + k % 2) : "memory");
      sum = sum * 3 + ring[k % 2][127 - t];
      if (k + 2 < n)
        asm volatile("bar.arrive %0, 128;" ::"r"(3 + k % 2) : "memory");
    }
    out[t - 64] = sum;
  }
}

// barrier.sync is of threads: lanes of one warp may come to it at different
// places.
KERNEL unaligned(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[64];
  u32 t = threadIdx.x;
  if (t & 1) {
    cells[t] = a[t];
    asm volatile("barrier.sync 0;" ::: "memory");
    out[t] = cells[t - 1];
  } else {
    for (u32 k = 0; k < t % 6; ++k)
      cells[t] = a[t] + k;
    cells[t] = a[t] * 2;
    asm volatile("barrier.sync 0;" ::: "memory");
    out[t] = cells[t + 1] + 1;
  }
  asm volatile("barrier.sync 5, 64;" ::: "memory");
  if (t < 16)
    cells[t] = 0;
}

KERNEL unaligned_counts(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[64];
  u32 t = threadIdx.x;
  cells[t] = a[t];
  if (t % 4 == 3) {
    asm volatile("barrier.arrive 1, 64;" ::: "memory");
    out[t] = 7;
  } else {
    asm volatile("barrier.sync 1, 64;" ::: "memory");
    out[t] = cells[t | 3];
  }
}

KERNEL reductions(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], count, all, any;
  asm volatile(
      "{\n\t.reg .pred %%p, %%q;\n\tsetp.ne.u32 %%p, %3, 0;\n\t"
      "barrier.red.popc.u32 %0, 0, %%p;\n\t"
      "bar.red.and.pred %%q, 2, 64, %%p;\n\tselp.u32 %1, 1, 0, %%q;\n\t"
      "bar.red.or.pred %%q, 0, !%%p;\n\tselp.u32 %2, 1, 0, %%q;\n\t}"
      : "=r"(count), "=r"(all), "=r"(any)
      : "r"(x % 3));
  PUT(count);
  PUT(all);
  PUT(any);
}

// Threads that have left are not waited for.
KERNEL leavers(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[96];
  u32 t = threadIdx.x;
  cells[t] = 5;
  if (t / 32 == 1 || t % 32 > 20)
    return;
  cells[t] = a[t];
  __syncthreads();
  u32 other = t < 32 ? t + 64 : t - 64;
  out[t] = cells[other];
  if (t >= 64)
    return;
  __syncthreads();
  out[t] += cells[20 - t];
}

// Within a warp, by its barrier only; the halves each on their own.
KERNEL warp_exchange(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 cells[64];
  u32 t = threadIdx.x, x = a[t];
  for (u32 phase = 0; phase < 3; ++phase) {
    cells[t] = x;
    __syncwarp();
    x += cells[t ^ 1 << phase];
    __syncwarp();
  }
  if (LANE < 16) {
    cells[t] = x * 2;
    __syncwarp(0xffff);
    x = cells[t ^ 15];
  } else {
    for (u32 k = 0; k < 3; ++k) {
      cells[t] = x + k;
      __syncwarp(0xffff0000);
      x += cells[t & ~15 | (t + 1 & 15)];
      __syncwarp(0xffff0000);
    }
  }
  __syncwarp();
  cells[t] = x;
  __syncwarp();
  out[t] = cells[t ^ 16];
}

// Fences with a flag: one warp waits for the other.
KERNEL flags(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 data[32], flag;
  u32 t = threadIdx.x;
  if (!t)
    flag = 0;
  __syncthreads();
  if (t < 32) {
    data[t] = a[t] * 2;
    __syncwarp();
    if (!t)
      asm volatile("st.release.cta.shared.u32 [%0], 1;" ::"r"(
                       (u32)__cvta_generic_to_shared(&flag))
                   : "memory");
  } else {
    u32 seen = 0;
    while (!seen)
      asm volatile("ld.acquire.cta.shared.u32 %0, [%1];"
                   : "=r"(seen)
                   : "r"((u32)__cvta_generic_to_shared(&flag))
                   : "memory");
    out[t - 32] = data[63 - t];
  }
}

// The same by fences and volatile accesses.
KERNEL volatile_flags(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 data[32], flag;
  u32 t = threadIdx.x;
  if (!t)
    *(volatile u32 *)&flag = 0;
  __syncthreads();
  if (t >= 32) {
    data[t - 32] = a[t - 32] + 1;
    __threadfence_block();
    __syncwarp();
    if (t == 32) {
      __threadfence_block();
      *(volatile u32 *)&flag = 1;
    }
  } else {
    while (!*(volatile u32 *)&flag)
      ;
    __threadfence_block();
    out[t] = data[31 - t];
  }
}
