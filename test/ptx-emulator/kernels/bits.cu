// compile: bits.ptx nvcc -arch=sm_80
//
// Bits: shifts beyond the width, fields, counts, permutations, dot products.
#include "common.h"

KERNEL shifts(const u64 *a, const u32 *counts, u64 *out, u32 n) {
  ELEMENT;
  u64 x = a[i];
  u32 y = x, s = counts[i];
  u16 h = x;
  PUT(OP2("shl.b16", u16, "=h", "h"(h), "r"(s)));
  PUT(OP2("shr.u16", u16, "=h", "h"(h), "r"(s)));
  PUT(OP2("shr.s16", u16, "=h", "h"(h), "r"(s)));
  PUT(OP2("shl.b32", u32, "=r", "r"(y), "r"(s)));
  PUT(OP2("shr.u32", u32, "=r", "r"(y), "r"(s)));
  PUT(OP2("shr.b32", u32, "=r", "r"(y), "r"(s)));
  PUT(OP2("shr.s32", u32, "=r", "r"(y), "r"(s)));
  PUT(OP2("shl.b64", u64, "=l", "l"(x), "r"(s)));
  PUT(OP2("shr.u64", u64, "=l", "l"(x), "r"(s)));
  PUT(OP2("shr.s64", u64, "=l", "l"(x), "r"(s)));
  u32 z = x >> 32;
  PUT(__funnelshift_l(y, z, s));
  PUT(__funnelshift_r(y, z, s));
  PUT(__funnelshift_lc(y, z, s));
  PUT(__funnelshift_rc(y, z, s));
}

KERNEL fields(const u64 *a, const u64 *b, const u32 *position,
              const u32 *length, u64 *out, u32 n) {
  ELEMENT;
  u64 x = a[i], y = b[i];
  u32 p = position[i], l = length[i];
  PUT(OP3("bfe.u32", u32, "=r", "r"((u32)x), "r"(p), "r"(l)));
  PUT(OP3("bfe.s32", u32, "=r", "r"((u32)x), "r"(p), "r"(l)));
  PUT(OP3("bfe.u64", u64, "=l", "l"(x), "r"(p), "r"(l)));
  PUT(OP3("bfe.s64", u64, "=l", "l"(x), "r"(p), "r"(l)));
  u32 r;
  asm("bfi.b32 %0, %1, %2, %3, %4;"
      : "=r"(r)
      : "r"((u32)x), "r"((u32)y), "r"(p), "r"(l));
  PUT(r);
  u64 q;
  asm("bfi.b64 %0, %1, %2, %3, %4;" : "=l"(q) : "l"(x), "l"(y), "r"(p), "r"(l));
  PUT(q);
  PUT(OP2("bmsk.clamp.b32", u32, "=r", "r"(p), "r"(l)));
  PUT(OP2("bmsk.wrap.b32", u32, "=r", "r"(p), "r"(l)));
  PUT(OP2("szext.clamp.s32", u32, "=r", "r"((u32)x), "r"(l)));
  PUT(OP2("szext.clamp.u32", u32, "=r", "r"((u32)x), "r"(l)));
  PUT(OP2("szext.wrap.s32", u32, "=r", "r"((u32)x), "r"(l)));
}

KERNEL counts(const u64 *a, u64 *out, u32 n) {
  ELEMENT;
  u64 x = a[i];
  PUT(__popc(x));
  PUT(__popcll(x));
  PUT(__clz(x));
  PUT(__clzll(x));
  PUT(__brev(x));
  PUT(__brevll(x));
  PUT(__ffs(x));
  PUT(__ffsll(x));
  PUT(OP1("bfind.u32", u32, "=r", "r"((u32)x)));
  PUT(OP1("bfind.s32", u32, "=r", "r"((u32)x)));
  PUT(OP1("bfind.shiftamt.u32", u32, "=r", "r"((u32)x)));
  PUT(OP1("bfind.shiftamt.s32", u32, "=r", "r"((u32)x)));
  PUT(OP1("bfind.u64", u32, "=r", "l"(x)));
  PUT(OP1("bfind.s64", u32, "=r", "l"(x)));
  PUT(OP1("bfind.shiftamt.u64", u32, "=r", "l"(x)));
  PUT(__fns(x, 3, 2));
}

#define LOP3(table)                                                            \
  ({                                                                           \
    u32 result;                                                                \
    asm("lop3.b32 %0, %1, %2, %3, " #table ";"                                 \
        : "=r"(result)                                                         \
        : "r"(x), "r"(y), "r"(z));                                             \
    result;                                                                    \
  })
#define PRMT(mode) OP3("prmt.b32" mode, u32, "=r", "r"(x), "r"(y), "r"(z))

KERNEL permutes(const u32 *a, const u32 *b, const u32 *c, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i], z = c[i];
  PUT(__byte_perm(x, y, z));
  PUT(PRMT(""));
  PUT(PRMT(".f4e"));
  PUT(PRMT(".b4e"));
  PUT(PRMT(".rc8"));
  PUT(PRMT(".ecl"));
  PUT(PRMT(".ecr"));
  PUT(PRMT(".rc16"));
  PUT(LOP3(0x00));
  PUT(LOP3(0xff));
  PUT(LOP3(0xe8));
  PUT(LOP3(0x96));
  PUT(LOP3(0xca));
  PUT(LOP3(0x1b));
  PUT((x & y) | (~x & z));
  PUT(__dp4a((s32)x, (s32)y, (s32)z));
  PUT(__dp4a(x, y, z));
  PUT(OP3("dp4a.u32.s32", u32, "=r", "r"(x), "r"(y), "r"(z)));
  PUT(__dp2a_lo((s32)x, (s32)y, (s32)z));
  PUT(__dp2a_hi((s32)x, (s32)y, (s32)z));
  PUT(__dp2a_lo(x, y, z));
  PUT(__dp2a_hi(x, y, z));
  PUT(__vadd4(x, y));
  PUT(__vcmpgtu2(x, y));
  PUT(__vmaxs2(x, y));
}
