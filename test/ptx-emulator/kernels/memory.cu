// compile: memory.ptx nvcc -arch=sm_80
// compile: memory-clang.ptx clang --cuda-gpu-arch=sm_80 -O2 -DSMALL
//
// State spaces, generic addresses, vectors, initialised variables, cache hints.
#include "common.h"

__constant__ u32 primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
__constant__ float halves[4] = {0.5f, 1.5f, -2.5f, 1e-40f};
__constant__ u8 letters[5] = {'n', 'e', 's', 't', 'c'};
__device__ u32 table[6] = {1, 10, 100, 1000, 10000, 100000};
__device__ u64 wide = 0x123456789abcdef0;
__device__ u16 zeroed[32];
__device__ const u32 *pointer = &primes[3];
__device__ u32 *other = &table[2];

struct Options {
  u8 flag;
  u16 small;
  u32 factor;
  u64 offset;
  float scale[2];
};

#ifndef SMALL
KERNEL constants(u32 *out, u32 n) {
  ELEMENT;
  PUT(primes[i % 8]);
  PUT(__float_as_uint(halves[i % 4]));
  PUT(letters[i % 5]);
  PUT(table[i % 6]);
  PUT((u32)(wide >> i % 32));
  PUT(zeroed[i % 32]);
  PUT(*pointer);
  PUT(pointer[i % 4]);
  PUT(*other);
  PUT(primes[2] + table[3]);
}

// Writes to a variable.
KERNEL variables(u32 *out, u32 n) {
  ELEMENT;
  if (i < 32)
    zeroed[i] = i * 3;
  __syncthreads();
  PUT(zeroed[(i + 5) % 32]);
}

KERNEL by_value(Options o, const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  PUT(a[i] * o.factor + (u32)o.offset + o.small * o.flag);
  PUT(__float_as_uint(o.scale[i % 2]));
}

__device__ __noinline__ u32 look(const Options *o, u32 k) {
  return o->factor + (k & 1 ? o->small : o->flag);
}

KERNEL grid_constant(const __grid_constant__ Options o, u32 *out, u32 n) {
  ELEMENT;
  PUT(look(&o, i));
  PUT(__float_as_uint(o.scale[i % 2]));
}

KERNEL scalars(u8 a, s8 b, u16 c, s16 d, float e, double f, bool g, u64 *out) {
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
  out[4] = __float_as_uint(e);
  out[5] = __double_as_longlong(f);
  out[6] = g;
}
#endif

extern __shared__ u32 dynamic[];

// Static and dynamic shared memory, reversed through both.
KERNEL shared_memory(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 still[64];
  __shared__ u8 bytes[64];
  __shared__ u16 shorts[64];
  ELEMENT;
  u32 t = threadIdx.x;
  still[t] = a[i];
  dynamic[63 - t] = a[i] * 2;
  bytes[t] = a[i];
  shorts[t] = a[i] >> 8;
  __syncthreads();
  PUT(still[t ^ 33]);
  PUT(dynamic[t]);
  PUT(bytes[63 - t] | (u32)(s8)bytes[t] << 8);
  PUT(shorts[(t + 1) % 64]);
  PUT(*(u32 *)&bytes[t & ~3]);
  PUT(*(u64 *)&shorts[t & ~3] >> 24);
}

// A pointer that leads to another space in each lane.
KERNEL generic(const u32 *a, u32 *out, u32 n) {
  __shared__ u32 block[32];
  ELEMENT;
  u32 local[2] = {a[i] + 1, a[i] + 2};
  block[threadIdx.x] = a[i] + 3;
  __syncthreads();
  const u32 *p;
  switch (i % 4) {
  case 0:
    p = &block[31 - threadIdx.x];
    break;
  case 1:
    p = &local[a[i] & 1];
    break;
  case 2:
    p = &table[a[i] % 6];
    break;
  default:
    p = &a[n - 1 - i];
  }
  PUT(*(volatile const u32 *)p);
  PUT(__isShared(p) + 2 * __isLocal(p) + 4 * __isGlobal(p) +
      8 * __isConstant(p));
  PUT((u32)__cvta_generic_to_shared(&block[5]) -
      (u32)__cvta_generic_to_shared(&block[1]));
}

#define VECTORS(T, ...)                                                        \
  KERNEL vectors_##T(const T *a, T *out) {                                     \
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;                             \
    T v = a[i];                                                                \
    v.x += v.y;                                                                \
    __VA_ARGS__;                                                               \
    out[i ^ 1] = v;                                                            \
  }
VECTORS(uint2, )
VECTORS(uint4, v.z -= v.w)
VECTORS(float4, v.z -= v.w)
#ifndef SMALL
VECTORS(ushort2, )
VECTORS(ushort4, v.z -= v.w)
VECTORS(uchar2, )
VECTORS(uchar4, v.z -= v.w)
VECTORS(float2, )
VECTORS(double2, )
VECTORS(ulonglong2, )

// Through shared memory in vectors.
KERNEL staged(const float4 *a, float *out) {
  __shared__ float4 tile[32];
  u32 t = threadIdx.x;
  tile[t ^ 7] = a[t];
  __syncthreads();
  const float2 *pairs = (const float2 *)tile;
  float2 p = pairs[2 * t + 1], q = pairs[2 * t];
  p.x += q.y;
  ((float2 *)out)[2 * t] = p;
  ((float2 *)out)[2 * t + 1] = q;
}

KERNEL hints(const u32 *__restrict__ a, const float4 *__restrict__ b, u32 *out,
             float4 *vectors, u32 n) {
  ELEMENT;
  PUT(__ldg(a + i));
  PUT(__ldcg(a + i) + 1);
  PUT(__ldca(a + i) + 2);
  PUT(__ldcs(a + i) + 3);
  PUT(__ldlu(a + i) + 4);
  PUT(__ldcv(a + i) + 5);
  PUT(a[i] + 6);
  __stcg(out + slot++ * n + i, a[i] + 7);
  __stcs(out + slot++ * n + i, a[i] + 8);
  __stwb(out + slot++ * n + i, a[i] + 9);
  __stwt(out + slot++ * n + i, a[i] + 10);
  *(volatile u32 *)(out + slot++ * n + i) = *(volatile const u32 *)(a + i) + 11;
  u32 r, s;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(r) : "l"(a + i));
  asm volatile("ld.acquire.sys.u32 %0, [%1];" : "=r"(s) : "l"(a + i));
  PUT(r + s);
  asm volatile("ld.global.L1::no_allocate.L2::128B.u32 %0, [%1];"
               : "=r"(r)
               : "l"(a + i));
  asm volatile("ld.global.nc.L1::evict_last.u32 %0, [%1+0];"
               : "=r"(s)
               : "l"(a + i));
  PUT(r ^ s << 1);
  u64 policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
               : "=l"(policy));
  asm volatile("ld.global.L2::cache_hint.u32 %0, [%1], %2;"
               : "=r"(r)
               : "l"(a + i), "l"(policy));
  asm volatile("prefetch.global.L2 [%0];" ::"l"(a + i));
  asm volatile(
      "st.release.gpu.global.u32 [%0], %1;" ::"l"(out + slot++ * n + i),
      "r"(r + 12));
  float4 v = __ldg(b + i);
  v.x += v.w;
  vectors[i] = v;
}

// Memory as narrow as can be, and loads wider than what is stored.
KERNEL narrow(const u8 *a, u8 *out, u32 n) {
  __shared__ u8 bytes[128];
  u32 t = threadIdx.x;
  bytes[t] = a[t] + 1;
  __syncthreads();
  if (t < 32) {
    u32 word = ((u32 *)bytes)[t];
    ((u32 *)out)[t] = __byte_perm(word, 0, 0x0123);
  }
  __syncthreads();
  if (t < 64)
    ((u16 *)bytes)[t] = t * 256 + t + 1;
  __syncthreads();
  out[128 + t] = bytes[t];
}
#endif
