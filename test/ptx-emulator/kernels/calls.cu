// compile: calls.ptx nvcc -arch=sm_80
// compile: calls-G.ptx nvcc -arch=sm_80 -G
// compile: calls-clang.ptx clang --cuda-gpu-arch=sm_80 -O1
//
// Functions that stay calls: values, structures, pointers to locals, divergent
// calls.
#include "common.h"

struct Pair {
  u32 first;
  float second;
};
struct Mixed {
  u8 a;
  u16 b;
  u64 c;
  u32 d[3];
};

__device__ __noinline__ u32 scaled(u32 x, u32 factor) { return x * factor + 1; }

__device__ __noinline__ Pair make_pair(u32 x, float y) {
  return {scaled(x, 3), y * 2};
}

__device__ __noinline__ u64 sum(Mixed m, u8 extra) {
  return m.a + m.b * 2ull + m.c + m.d[0] + m.d[1] * 3ull + m.d[2] + extra;
}

__device__ __noinline__ Mixed shift(Mixed m) {
  return {(u8)(m.a + 1), (u16)(m.b + m.a), m.c >> 3, {m.d[2], m.d[0], m.d[1]}};
}

__device__ __noinline__ void fill(u32 *to, u32 count, u32 seed) {
  for (u32 k = 0; k < count; ++k)
    to[k] = seed = scaled(seed, 1664525);
}

__device__ __noinline__ u16 narrow(s8 x, u16 y, bool flip) {
  return flip ? x - y : x + y;
}

__device__ __noinline__ double wide(double x, float y, s64 z) {
  return x * y + z;
}

__device__ __noinline__ float4 swizzle(float4 v, int2 by) {
  return {v.w * by.x, v.z, v.y * by.y, v.x};
}

__device__ __noinline__ u32 fibonacci(u32 n) {
  u32 a = 0, b = 1;
  while (n--) {
    u32 c = a + b;
    a = b;
    b = c;
  }
  return a;
}

__device__ __noinline__ bool is_odd(u32 x) { return x & 1; }

KERNEL values(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(scaled(x, 5));
  Pair p = make_pair(x, (float)(x & 0xffff));
  PUT(p.first);
  PUT(__float_as_uint(p.second));
  PUT(narrow(x, x >> 8, x & 1));
  PUT((u64)wide(x & 0xfff, 0.5f, x >> 20));
  float4 v =
      swizzle({1.0f, 2.0f, (float)(x & 255), 4.0f}, {(int)(x & 15), (int)i});
  PUT((u32)(v.x + v.y * 2 + v.z * 4 + v.w * 8));
}

KERNEL structures(const u32 *a, u64 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  Mixed m = {(u8)x, (u16)(x >> 4), (u64)x << 20, {x, x + 1, x ^ 0xff}};
  PUT(sum(m, x >> 24));
  m = shift(shift(m));
  PUT(sum(m, 0));
  PUT(m.d[1]);
}

KERNEL pointers(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 local[6], x = a[i];
  __shared__ u32 shared[32][5];
  fill(local, 6, x);
  fill(shared[threadIdx.x % 32], 5, x + 1);
  PUT(local[x % 6]);
  PUT(shared[threadIdx.x % 32][x % 5]);
  fill(out + 2 * n + 4 * i, 4, x + 2);
}

// The lanes call different functions, and the same one different times.
KERNEL divergent(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], r;
  if (is_odd(x))
    r = fibonacci(x % 30);
  else if (x % 4 == 0)
    r = scaled(x, 7);
  else
    r = 0;
  for (u32 k = 0; k < x % 5; ++k)
    r = scaled(r, k);
  PUT(r);
}
