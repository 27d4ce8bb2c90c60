// compile: integer.ptx nvcc -arch=sm_80
// compile: integer-O0.ptx nvcc -arch=sm_80 -Xcicc -O0 -DSMALL
// compile: integer-clang.ptx clang --cuda-gpu-arch=sm_80 -O2 -DSMALL
//
// Integer arithmetic of all widths.
#include "common.h"

template <class T>
__device__ void arithmetic(const T *a, const T *b, T *out, u32 n) {
  ELEMENT;
  T x = a[i], y = b[i];
  PUT(x + y);
  PUT(x - y);
  PUT(x * y);
  PUT(x / y);
  PUT(x % y);
  PUT(x < y ? x : y);
  PUT(x > y ? x : y);
  PUT(x & y);
  PUT(x | y);
  PUT(x ^ y);
  PUT(~x);
  PUT(-x);
  PUT(x << (y & 7));
  PUT(x >> (y & 7));
  PUT((x < y) + 2 * (x <= y) + 4 * (x == y) + 8 * (x != y) + 16 * (x > y) +
      32 * (x >= y));
  PUT(x * y + x);
}

#define ARITHMETIC(T)                                                          \
  KERNEL arithmetic_##T(const T *a, const T *b, T *out, u32 n) {               \
    arithmetic<T>(a, b, out, n);                                               \
  }
ARITHMETIC(s32)
ARITHMETIC(u16)
ARITHMETIC(s64)
#ifndef SMALL
ARITHMETIC(u32)
ARITHMETIC(s8)
ARITHMETIC(u8)
ARITHMETIC(s16)
ARITHMETIC(u64)

KERNEL special_32(const u32 *a, const u32 *b, const u32 *c, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i], z = c[i];
  PUT(__mulhi((s32)x, (s32)y));
  PUT(__umulhi(x, y));
  PUT(__mul24((s32)x, (s32)y));
  PUT(__umul24(x, y));
  PUT(OP2("mul24.hi.s32", u32, "=r", "r"(x), "r"(y)));
  PUT(OP3("mad24.lo.u32", u32, "=r", "r"(x), "r"(y), "r"(z)));
  PUT(OP3("mad.hi.s32", u32, "=r", "r"(x), "r"(y), "r"(z)));
  PUT(OP3("mad.hi.u32", u32, "=r", "r"(x), "r"(y), "r"(z)));
  PUT(OP3("mad.hi.sat.s32", u32, "=r", "r"(x), "r"(y), "r"(z)));
  PUT(OP2("add.sat.s32", u32, "=r", "r"(x), "r"(y)));
  PUT(OP2("sub.sat.s32", u32, "=r", "r"(x), "r"(y)));
  PUT(__sad((s32)x, (s32)y, z));
  PUT(__usad(x, y, z));
  PUT(abs((s32)x));
  PUT(__hadd((s32)x, (s32)y));
  PUT(__rhadd((s32)x, (s32)y));
  PUT(__uhadd(x, y));
  PUT(__urhadd(x, y));
  PUT(OP2("mul.wide.s16", u32, "=r", "h"((s16)x), "h"((s16)y)));
  PUT(OP2("mul.wide.u16", u32, "=r", "h"((s16)x), "h"((s16)y)));
  PUT(OP3("mad.wide.s16", u32, "=r", "h"((s16)x), "h"((s16)y), "r"(z)));
  PUT(OP3("mad.wide.u16", u32, "=r", "h"((s16)x), "h"((s16)y), "r"(z)));
  PUT(OP2("mul.hi.s16", u16, "=h", "h"((s16)x), "h"((s16)y)));
  PUT(OP2("mul.hi.u16", u16, "=h", "h"((s16)x), "h"((s16)y)));
  PUT(OP3("mad.hi.u16", u16, "=h", "h"((s16)x), "h"((s16)y), "h"((s16)z)));
  PUT(OP3("sad.s16", u16, "=h", "h"((s16)x), "h"((s16)y), "h"((s16)z)));
  PUT(OP1("cnot.b32", u32, "=r", "r"(x & y & z)));
  PUT(OP3("slct.u32.s32", u32, "=r", "r"(x), "r"(y), "r"((s32)z)));
  PUT(x / 7 + x % 10);
  PUT((s32)x / 7 + (s32)x % -10);
  PUT((s32)x / 16);
}

KERNEL special_64(const u64 *a, const u64 *b, const u64 *c, u64 *out, u32 n) {
  ELEMENT;
  u64 x = a[i], y = b[i], z = c[i];
  PUT(__mul64hi(x, y));
  PUT(__umul64hi(x, y));
  PUT((s64)(s32)x * (s32)y);
  PUT((u64)(u32)x * (u32)y);
  PUT((s64)(s32)x * (s32)y + (s64)z);
  PUT((u64)(u32)x * (u32)y + z);
  PUT(OP3("mad.hi.s64", u64, "=l", "l"(x), "l"(y), "l"(z)));
  PUT(OP3("mad.lo.u64", u64, "=l", "l"(x), "l"(y), "l"(z)));
  PUT(OP3("sad.s64", u64, "=l", "l"(x), "l"(y), "l"(z)));
  PUT(OP3("sad.u64", u64, "=l", "l"(x), "l"(y), "l"(z)));
  PUT(llabs((s64)x));
  PUT(OP1("cnot.b64", u64, "=l", "l"(x & y & z)));
  PUT(x / 1000000007);
}

KERNEL carry(const u64 *a, const u64 *b, u64 *out, u32 n) {
  ELEMENT;
  unsigned __int128 x = (unsigned __int128)a[i] << 64 | a[i ^ 1];
  unsigned __int128 y = (unsigned __int128)b[i ^ 1] << 64 | b[i];
  unsigned __int128 sum = x + y, difference = x - y, product = x * y;
  PUT(sum);
  PUT(sum >> 64);
  PUT(difference);
  PUT(difference >> 64);
  PUT(product);
  PUT(product >> 64);
  PUT(x < y);
  u32 x0 = a[i], x1 = a[i] >> 32, y0 = b[i], y1 = b[i] >> 32, r0, r1, r2, r3;
  asm("add.cc.u32 %0, %3, %5;\n\taddc.cc.u32 %1, %4, %6;\n\taddc.u32 %2, 0, 0;"
      : "=r"(r0), "=r"(r1), "=r"(r2)
      : "r"(x0), "r"(x1), "r"(y0), "r"(y1));
  PUT((u64)r1 << 32 | r0);
  PUT(r2);
  asm("sub.cc.u32 %0, %3, %5;\n\tsubc.cc.u32 %1, %4, %6;\n\tsubc.u32 %2, 0, 0;"
      : "=r"(r0), "=r"(r1), "=r"(r2)
      : "r"(x0), "r"(x1), "r"(y0), "r"(y1));
  PUT((u64)r1 << 32 | r0);
  PUT(r2);
  // 64 x 64 to 128 bits from 32-bit pieces.
  asm("mul.lo.u32 %0, %4, %6;\n\t"
      "mul.hi.u32 %1, %4, %6;\n\t"
      "mad.lo.cc.u32 %1, %4, %7, %1;\n\t"
      "madc.hi.u32 %2, %4, %7, 0;\n\t"
      "mad.lo.cc.u32 %1, %5, %6, %1;\n\t"
      "madc.hi.cc.u32 %2, %5, %6, %2;\n\t"
      "madc.hi.u32 %3, %5, %7, 0;\n\t"
      "mad.lo.cc.u32 %2, %5, %7, %2;\n\t"
      "addc.u32 %3, %3, 0;"
      : "=&r"(r0), "=&r"(r1), "=&r"(r2), "=&r"(r3)
      : "r"(x0), "r"(x1), "r"(y0), "r"(y1));
  PUT((u64)r1 << 32 | r0);
  PUT((u64)r3 << 32 | r2);
  u64 lo, hi;
  asm("add.cc.u64 %0, %2, %3;\n\taddc.u64 %1, %2, %3;"
      : "=&l"(lo), "=l"(hi)
      : "l"(a[i]), "l"(b[i]));
  PUT(lo);
  PUT(hi);
}
#endif
