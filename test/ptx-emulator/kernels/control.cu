// compile: control.ptx nvcc -arch=sm_80
// compile: control-O0.ptx nvcc -arch=sm_80 -Xcicc -O0
// compile: control-clang.ptx clang --cuda-gpu-arch=sm_80 -O2
//
// Control flow: divergence of every shape, and warps that talk while diverged.
#include "common.h"

#define LANE (threadIdx.x & 31)

KERNEL collatz(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 steps = 0;
  for (u32 x = a[i]; x != 1 && steps < 1000; ++steps)
    x = x & 1 ? 3 * x + 1 : x / 2;
  PUT(steps);
}

KERNEL dense_switch(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], r;
  switch (x % 12) {
  case 0:
    r = x * 3;
    break;
  case 1:
    r = x ^ 0x55;
    break;
  case 2:
    r = __popc(x);
  case 3: // 2 falls through
    r = x / 7;
    break;
  case 4:
  case 5:
    r = x << 3;
    break;
  case 6:
    return;
  case 7:
    r = x - 1000;
    for (u32 k = 0; k < x % 5; ++k)
      r = r * 5 + k;
    break;
  case 8:
    r = ~x;
    break;
  case 9:
    r = x >> 5;
    break;
  case 10:
    r = __brev(x);
    break;
  default:
    r = 42;
  }
  PUT(r);
}

KERNEL early_return(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  if (x % 3 == 0)
    return;
  u32 r = 0;
  for (u32 k = 0; k < 20; ++k) {
    r += x >> k;
    if ((r & 15) == 3)
      return;
    if ((r & 31) == 5)
      break;
  }
  PUT(r + 1);
}

KERNEL nested(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], r = 0;
  for (u32 p = 0; p < x % 5; ++p) {
    if (x & 1 << p) {
      for (u32 q = p; q < x % 7; ++q) {
        if ((q ^ x) & 2) {
          r += p * q;
          continue;
        }
        if (r > 50)
          break;
        r = r * 2 + 1;
      }
    } else if (x & 2 << p) {
      r += 100;
    } else {
      u32 q = x;
      do {
        r ^= q;
        q >>= 3;
      } while (q);
    }
  }
  PUT(r);
}

KERNEL gcd(const u32 *a, const u32 *b, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i];
  while (true) {
    if (!y)
      break;
    u32 t = x % y;
    x = y;
    y = t;
    if (x == 1)
      goto done;
  }
  x += 1000000;
done:
  PUT(x);
}

// A loop entered at two places.
KERNEL irreducible(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], r = 0;
  if (x & 1)
    goto middle;
top:
  r += x;
  x >>= 1;
middle:
  r = r * 3 + 1;
  x >>= 1;
  if (x)
    goto top;
  PUT(r);
}

KERNEL insertion_sort(const u32 *a, u32 *out, u32 n) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  u32 local[8];
  for (u32 k = 0; k < 8; ++k)
    local[k] = a[8 * i + k];
  for (u32 k = 1; k < 8; ++k) {
    u32 x = local[k], at = k;
    for (; at && local[at - 1] > x; --at)
      local[at] = local[at - 1];
    local[at] = x;
  }
  for (u32 k = 0; k < 8; ++k)
    out[8 * i + k] = local[(k * 3) % 8];
}

// The halves of a warp run loops of different lengths and exchange within.
KERNEL half_warps(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  if (LANE < 16) {
    for (u32 d = 8; d; d /= 2)
      x += __shfl_xor_sync(0xffff, x, d);
  } else {
    for (u32 k = 0; k < 9; ++k)
      x = x * 7 + __shfl_sync(0xffff0000, x, 16 + k);
  }
  PUT(x);
}

// One instruction, two masks.
KERNEL two_masks(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 mask = LANE < 16 ? 0xffff : 0xffff0000, x = a[i];
  for (u32 d = 8; d; d /= 2)
    x += __shfl_xor_sync(mask, x, d);
  PUT(x);
  PUT(__reduce_add_sync(mask, a[i]));
  PUT(__ballot_sync(mask, a[i] & 1));
}

// As two_masks, where the halves arrive one after the other.
KERNEL two_arrivals(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 mask = LANE % 2 ? 0xaaaaaaaa : 0x55555555, x = a[i], rounds = 0;
  for (; rounds < 3 + LANE % 2 * 4; ++rounds)
    x = x * 3 + __shfl_sync(mask, x, (LANE + 2) % 32);
  PUT(x);
}

KERNEL subset(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], r = 7;
  if (LANE % 3 == 0) {
    u32 mask = 0x49249249;
    r = __shfl_sync(mask, x, (LANE + 3) % 33);
    r += __popc(__ballot_sync(mask, x & 4));
    __syncwarp(mask);
  } else if (LANE % 3 == 1) {
    r = __activemask() == 0x92492492;
  }
  PUT(r);
}

KERNEL vote_loop(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], rounds = 0;
  while (__any_sync(0xffffffff, x > 100)) {
    x -= x / 4;
    ++rounds;
  }
  PUT(x);
  PUT(rounds);
}

// The last warp is not full, and lanes leave before the others exchange.
KERNEL leave(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  if (LANE % 4 == 3)
    return;
  u32 mask = __activemask();
  PUT(x + __shfl_sync(mask, x, 0, 4));
  PUT(mask);
}

__device__ void exchange(u32 &x, u32 d, bool up) {
  u32 y = __shfl_xor_sync(0xffffffff, x, d);
  x = (LANE & d ? 1 : 0) == up ? min(x, y) : max(x, y);
}

KERNEL bitonic(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  for (u32 size = 2; size <= 32; size *= 2)
    for (u32 d = size / 2; d; d /= 2)
      exchange(x, d, size < 32 && LANE & size);
  PUT(x);
}

KERNEL three_dimensions(u32 *out) {
  u32 block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  u32 thread =
      (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  u32 lane, warp, count, smaller;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  asm("mov.u32 %0, %%warpid;" : "=r"(warp));
  asm("mov.u32 %0, %%nwarpid;" : "=r"(count));
  asm("mov.u32 %0, %%lanemask_lt;" : "=r"(smaller));
  out += 4 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
  out[0] = blockIdx.x | blockIdx.y << 4 | blockIdx.z << 8 | threadIdx.x << 12 |
           threadIdx.y << 16 | threadIdx.z << 20;
  out[1] = lane | (count > warp) << 16;
  out[2] = smaller;
  out[3] = warpSize;
}
