// compile: atomics.ptx nvcc -arch=sm_80
// compile: atomics-sm90.ptx nvcc -arch=sm_90 -DSM90
//
// Atomic operations on global and on shared memory.
#include "common.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <class T>
__device__ void update(T *cells, T x) {
  atomicAdd(cells, x);
  atomicMin(cells + 1, x);
  atomicMax(cells + 2, x);
  atomicAnd(cells + 3, x | 0x0f);
  atomicOr(cells + 4, x & 0xf0f0);
  atomicXor(cells + 5, x);
}

template <class T>
__device__ void integers(const T *a, T *global, T *back) {
  __shared__ T cells[8];
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x < 8)
    cells[threadIdx.x] = global[threadIdx.x];
  __syncthreads();
  update(cells, a[i]);
  update(global + 8, a[i]);
  __syncthreads();
  if (threadIdx.x < 6)
    back[blockIdx.x * 6 + threadIdx.x] = cells[threadIdx.x];
}

#ifdef SM90
KERNEL wide_reds(const float *a, float *cells) {
  u32 i = threadIdx.x;
  asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(cells), "f"(a[i]),
               "f"(a[i] + 1)
               : "memory");
  asm volatile(
      "red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(cells +
                                                                        4),
      "f"(a[i]), "f"(1.f), "f"(-a[i]), "f"(2 * a[i])
      : "memory");
}

KERNEL halves(const __half *a, __half *h, __half2 *h2, __nv_bfloat16 *b,
              __nv_bfloat162 *b2) {
  u32 i = threadIdx.x;
  atomicAdd(h, a[i]);
  atomicAdd(h2, __half2{a[i], __hneg(a[i])});
  atomicAdd(b, __float2bfloat16(__half2float(a[i])));
  atomicAdd(b2, __nv_bfloat162{__float2bfloat16(__half2float(a[i])),
                               __float2bfloat16(1.f)});
}
#else
KERNEL integers_s32(const s32 *a, s32 *global, s32 *back) {
  integers(a, global, back);
}
KERNEL integers_u32(const u32 *a, u32 *global, u32 *back) {
  integers(a, global, back);
}
KERNEL integers_s64(const s64 *a, s64 *global, s64 *back) {
  __shared__ s64 cells[8];
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (threadIdx.x < 8)
    cells[threadIdx.x] = global[threadIdx.x];
  __syncthreads();
  atomicAdd((u64 *)cells, a[i]);
  atomicMin(cells + 1, a[i]);
  atomicMax(cells + 2, a[i]);
  atomicAdd((u64 *)global + 8, a[i]);
  atomicMin(global + 9, a[i]);
  atomicMax(global + 10, a[i]);
  __syncthreads();
  if (threadIdx.x < 6)
    back[blockIdx.x * 6 + threadIdx.x] = cells[threadIdx.x];
}
KERNEL integers_u64(const u64 *a, u64 *global, u64 *back) {
  integers(a, global, back);
}

KERNEL counters(u32 *cells, u32 *old, u32 n) {
  __shared__ u32 count, down;
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!threadIdx.x)
    count = 0, down = 5;
  __syncthreads();
  old[i] = atomicAdd(cells, 1);
  old[n + i] = atomicInc(cells + 1, 9);
  old[2 * n + i] = atomicDec(cells + 2, 6);
  old[3 * n + i] = atomicSub(cells + 3, 2);
  old[4 * n + i] = atomicInc(&count, 1000);
  old[5 * n + i] = atomicDec(&down, 7);
}

KERNEL exchanges(u32 *cells, u64 *wide, u32 *old, u64 *wide_old) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  old[i] = atomicExch(cells, i + 1);
  wide_old[i] = atomicExch(wide, i + 1ull << 32);
  atomicCAS(cells + 1, 0, i + 1); // one wins
  atomicCAS(wide + 1, 0ull, i + 1ull << 33);
  // A maximum by compare and swap.
  u32 seen = cells[2], assumed;
  do {
    assumed = seen;
    seen = atomicCAS(cells + 2, assumed, max(assumed, i * 37 % 101));
  } while (seen != assumed);
  unsigned short *shorts = (unsigned short *)(cells + 3), was = 0, had;
  do {
    had = was;
    was = atomicCAS(shorts + 1, had, (unsigned short)(had + 3));
  } while (was != had);
}

KERNEL floats(const float *a, float *sum, double *wide, float *back) {
  __shared__ float shared;
  __shared__ double shared_wide;
  if (!threadIdx.x)
    shared = 0, shared_wide = 0;
  __syncthreads();
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(sum, a[i]);
  atomicAdd(wide, (double)a[i]);
  atomicAdd(&shared, a[i]);
  atomicAdd(&shared_wide, (double)a[i]);
  back[gridDim.x + i] = atomicExch(sum + 1 + i, a[i]);
  __syncthreads();
  if (!threadIdx.x)
    back[blockIdx.x] = shared + (float)shared_wide;
}

// Global memory flushes subnormals, shared memory does not.
KERNEL subnormals(float *cells, const float *a) {
  __shared__ float shared;
  shared = cells[1];
  atomicAdd(cells, a[0]);
  cells[2] = atomicAdd(&shared, a[0]);
  cells[1] = shared;
}

KERNEL halves(const __half *a, __half *h, __half2 *h2, __nv_bfloat16 *b,
              __nv_bfloat162 *b2) {
  __shared__ __half2 shared;
  u32 i = threadIdx.x;
  if (!i)
    shared = __half2{0, 0};
  __syncthreads();
  atomicAdd(h, a[i]);
  atomicAdd(&shared, __half2{a[i], __hneg(a[i])});
  atomicAdd(b, __float2bfloat16(__half2float(a[i])));
  atomicAdd(b2, __nv_bfloat162{__float2bfloat16(__half2float(a[i])),
                               __float2bfloat16(1.f)});
  __syncthreads();
  if (!i)
    *h2 = shared;
}

#define ATOM(text, to, T, ...)                                                 \
  ({                                                                           \
    T result;                                                                  \
    asm volatile(text : to(result) : __VA_ARGS__ : "memory");                  \
    result;                                                                    \
  })
// Scopes and orders; generic addresses; red.
KERNEL scopes(u32 *cells, u64 *wide, u32 *old) {
  __shared__ u32 shared[4];
  u32 t = threadIdx.x;
  if (t < 4)
    shared[t] = t;
  __syncthreads();
  old[t] = ATOM("atom.add.u32 %0, [%1], %2;", "=r", u32, "l"(cells), "r"(1));
  ATOM("atom.relaxed.gpu.global.max.u32 %0, [%1], %2;", "=r", u32,
       "l"(cells + 1), "r"(t));
  ATOM("atom.acq_rel.sys.global.add.u32 %0, [%1+8], %2;", "=r", u32, "l"(cells),
       "r"(2));
  ATOM("atom.acquire.cta.global.min.s32 %0, [%1], %2;", "=r", u32,
       "l"(cells + 3), "r"(-(int)t));
  ATOM("atom.release.gpu.global.or.b32 %0, [%1], %2;", "=r", u32,
       "l"(cells + 4), "r"(1 << t % 32));
  ATOM("atom.global.add.u64 %0, [%1], %2;", "=l", u64, "l"(wide),
       "l"((u64)t << 30));
  asm volatile("red.global.add.u32 [%0], %1;" ::"l"(cells + 5), "r"(3)
               : "memory");
  asm volatile("red.relaxed.gpu.global.xor.b32 [%0], %1;" ::"l"(cells + 6),
               "r"(t)
               : "memory");
  asm volatile("red.release.sys.add.u64 [%0], %1;" ::"l"(wide + 1), "l"((u64)t)
               : "memory");
  asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(
                   (u32)__cvta_generic_to_shared(shared)),
               "r"(5)
               : "memory");
  asm volatile("red.shared.cta.min.u32 [%0], %1;" ::"r"(
                   (u32)__cvta_generic_to_shared(shared + 3)),
               "r"(2)
               : "memory");
  atomicAdd(t & 1 ? &shared[1] : &cells[7], 1); // a generic address
  atomicAdd_block(shared + 2, t);
  atomicAdd_system(cells + 8, 1);
  __syncthreads();
  if (t < 4)
    cells[9 + t] = shared[t];
}
#endif
