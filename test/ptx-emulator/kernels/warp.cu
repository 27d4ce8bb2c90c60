// compile: warp.ptx nvcc -arch=sm_80
// compile: warp-sm90.ptx nvcc -arch=sm_90 -DSM90
//
// Exchange within a warp.
#include "common.h"

#define LANE (threadIdx.x & 31)
#define ALL 0xffffffffu

#ifdef SM90
KERNEL elect(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 leader, chosen, mask = 0xffffffff;
  asm volatile("{\n\t.reg .pred %%p;\n\telect.sync %0|%%p, %2;\n\t"
               "selp.u32 %1, 1, 0, %%p;\n\t}"
               : "=r"(leader), "=r"(chosen)
               : "r"(mask));
  PUT((leader < 32) + __popc(__ballot_sync(ALL, chosen)));
  PUT(chosen == (LANE == leader));
  PUT(__shfl_sync(ALL, a[i], leader) == __shfl_sync(ALL, a[i], 0) || leader);
  if (LANE >= 20) {
    asm volatile("{\n\t.reg .pred %%p;\n\telect.sync _|%%p, 0xfff00000;\n\t"
                 "selp.u32 %0, 1, 0, %%p;\n\t}"
                 : "=r"(chosen));
    chosen = __popc(__ballot_sync(0xfff00000, chosen));
  }
  PUT(LANE < 20 || chosen == 1);
}
#else
KERNEL shuffles(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(__shfl_sync(ALL, x, 5));
  PUT(__shfl_sync(ALL, x, LANE * 7));
  PUT(__shfl_sync(ALL, x, LANE + 1, 8));
  PUT(__shfl_sync(ALL, x, 100));
  PUT(__shfl_up_sync(ALL, x, 1));
  PUT(__shfl_up_sync(ALL, x, 3, 8));
  PUT(__shfl_up_sync(ALL, x, 40));
  PUT(__shfl_up_sync(ALL, x, LANE / 2));
  PUT(__shfl_down_sync(ALL, x, 2));
  PUT(__shfl_down_sync(ALL, x, 5, 16));
  PUT(__shfl_down_sync(ALL, x, 31));
  PUT(__shfl_down_sync(ALL, x, LANE / 3, 4));
  PUT(__shfl_xor_sync(ALL, x, 1));
  PUT(__shfl_xor_sync(ALL, x, 31));
  PUT(__shfl_xor_sync(ALL, x, 9, 8));
  PUT(__shfl_xor_sync(ALL, x, LANE ^ 13));
  PUT(__shfl_sync(ALL, (u64)x << 32 | i, LANE ^ 3) >> 16);
  PUT(__float_as_uint(__shfl_down_sync(ALL, (float)i, 4)));
}

// The predicate says whether the source was in range.
#define SHUFFLE(mode, b, c)                                                    \
  ({                                                                           \
    u32 value, within;                                                         \
    asm volatile("{\n\t.reg .pred %%p;\n\tshfl.sync." mode                     \
                 ".b32 %0|%%p, %2, %3, %4, 0xffffffff;\n\t"                    \
                 "selp.u32 %1, 1, 0, %%p;\n\t}"                                \
                 : "=r"(value), "=r"(within)                                   \
                 : "r"(x), "r"(b), "r"(c));                                    \
    value ^ within << 31;                                                      \
  })
KERNEL shuffle_range(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i] & 0x7fffffff;
  PUT(SHUFFLE("up", 2, 0));
  PUT(SHUFFLE("up", 1, 0x1000));
  PUT(SHUFFLE("down", 2, 0x1f));
  PUT(SHUFFLE("down", 3, 0x180f));
  PUT(SHUFFLE("bfly", 4, 0x1f));
  PUT(SHUFFLE("bfly", 8, 0x1c1f));
  PUT(SHUFFLE("idx", LANE + 3, 0x1f));
  PUT(SHUFFLE("idx", 6, 0x1c03));
  PUT(SHUFFLE("idx", 9, 0x0007));
}

KERNEL votes(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(__all_sync(ALL, x < 1000));
  PUT(__any_sync(ALL, x < 3));
  PUT(__ballot_sync(ALL, x & 1));
  PUT(__uni_sync(ALL, x > 500));
  u32 r;
  asm volatile(
      "{\n\t.reg .pred %%p, %%q;\n\tsetp.lt.u32 %%p, %1, 3;\n\t"
      "vote.sync.all.pred %%q, !%%p, -1;\n\tselp.u32 %0, 1, 0, %%q;\n\t}"
      : "=r"(r)
      : "r"(x));
  PUT(r);
  PUT(__activemask());
  if (LANE & 4)
    PUT(__ballot_sync(0xf0f0f0f0, x & 2));
}

KERNEL matches(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(__match_any_sync(ALL, x % 5));
  PUT(__match_any_sync(ALL, (u64)(x % 3) << 40));
  int all;
  PUT(__match_all_sync(ALL, i / 64, &all));
  PUT(all);
  PUT(__match_all_sync(ALL, (u64)x, &all));
  PUT(all);
  if (LANE < 11)
    PUT(__match_any_sync(0x7ff, x % 2));
}

KERNEL reductions(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i];
  PUT(__reduce_add_sync(ALL, x));
  PUT(__reduce_add_sync(ALL, (s32)x));
  PUT(__reduce_min_sync(ALL, x));
  PUT(__reduce_max_sync(ALL, x));
  PUT(__reduce_min_sync(ALL, (s32)x));
  PUT(__reduce_max_sync(ALL, (s32)x));
  PUT(__reduce_and_sync(ALL, x | 0x80));
  PUT(__reduce_or_sync(ALL, x & 0xffff));
  PUT(__reduce_xor_sync(ALL, x));
  if (LANE >= 24)
    PUT(__reduce_max_sync(0xff000000, x));
}

// Lanes hold masks of their own groups (a partition by value).
KERNEL groups(const u32 *a, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i] % 4, mask = __match_any_sync(ALL, x);
  PUT(__reduce_add_sync(mask, i));
  PUT(__shfl_sync(mask, i, __ffs(mask) - 1));
  PUT(__popc(mask & ((1u << LANE) - 1)));
  __syncwarp(mask);
}

KERNEL scans(const float *a, float *out, u32 n) {
  ELEMENT;
  float x = a[i], sum = x;
  for (u32 d = 1; d < 32; d *= 2) {
    float y = __shfl_up_sync(ALL, sum, d);
    if (LANE >= d)
      sum += y;
  }
  PUT(sum);
  for (u32 d = 16; d; d /= 2)
    x = fmaxf(x, __shfl_xor_sync(ALL, x, d));
  PUT(x);
}
#endif
