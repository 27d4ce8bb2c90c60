// compile: newer.ptx nvcc -arch=sm_100
//
// What came with sm_90 and sm_100: sums of mixed types, .relu on integers,
// fma.oob, .satfinite on halves, lop3 with a predicate.
#include "common.h"

#define SUM(text) OP2(text, float, "=f", "h"(x), "f"(z))
#define FMA(text) OP3(text, float, "=f", "h"(x), "h"(y), "f"(z))

#define MIXED(type)                                                            \
  KERNEL mixed_##type(const u16 *a, const u16 *b, const float *c, float *out,  \
                      u32 n) {                                                 \
    ELEMENT;                                                                   \
    u16 x = a[i], y = b[i];                                                    \
    float z = c[i];                                                            \
    PUT(SUM("add.f32." #type));                                                \
    PUT(SUM("add.rn.f32." #type));                                             \
    PUT(SUM("add.rz.f32." #type));                                             \
    PUT(SUM("add.rm.f32." #type));                                             \
    PUT(SUM("add.rp.f32." #type));                                             \
    PUT(SUM("add.sat.f32." #type));                                            \
    PUT(SUM("add.rz.sat.f32." #type));                                         \
    PUT(SUM("sub.f32." #type));                                                \
    PUT(SUM("sub.rz.f32." #type));                                             \
    PUT(SUM("sub.rm.f32." #type));                                             \
    PUT(SUM("sub.rp.f32." #type));                                             \
    PUT(SUM("sub.rn.sat.f32." #type));                                         \
    PUT(FMA("fma.rn.f32." #type));                                             \
    PUT(FMA("fma.rz.f32." #type));                                             \
    PUT(FMA("fma.rm.f32." #type));                                             \
    PUT(FMA("fma.rp.f32." #type));                                             \
    PUT(FMA("fma.rn.sat.f32." #type));                                         \
    PUT(FMA("fma.rp.sat.f32." #type));                                         \
  }
MIXED(f16)
MIXED(bf16)

KERNEL relu_s32(const u32 *a, const u32 *b, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i];
  PUT(OP2("min.relu.s32", u32, "=r", "r"(x), "r"(y)));
  PUT(OP2("max.relu.s32", u32, "=r", "r"(x), "r"(y)));
  PUT(OP2("min.relu.s16x2", u32, "=r", "r"(x), "r"(y)));
  PUT(OP2("max.relu.s16x2", u32, "=r", "r"(x), "r"(y)));
}

#define OOB(text) OP3(text, u32, "=r", "r"(x), "r"(y), "r"(z))
#define OOB_LOW(text)                                                          \
  OP3(text, u16, "=h", "h"((u16)x), "h"((u16)y), "h"((u16)z))

KERNEL oob(const u32 *a, const u32 *b, const u32 *c, u32 *out, u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i], z = c[i];
  PUT(OOB("fma.rn.oob.f16x2"));
  PUT(OOB("fma.rn.oob.relu.f16x2"));
  PUT(OOB("fma.rn.oob.sat.f16x2"));
  PUT(OOB_LOW("fma.rn.oob.f16"));
  PUT(OOB("fma.rn.oob.bf16x2"));
  PUT(OOB("fma.rn.oob.relu.bf16x2"));
  PUT(OOB_LOW("fma.rn.oob.relu.bf16"));
}

#define FINITE(text) OP1(text, u16, "=h", "f"(x))
#define FINITE2(text) OP2(text, u32, "=r", "f"(x), "f"(y))
#define FINITE32(text) OP1(text, u32, "=r", "f"(x))

KERNEL satfinite(const float *a, const float *b, u32 *out, u32 n) {
  ELEMENT;
  float x = a[i], y = b[i];
  PUT(FINITE("cvt.rn.satfinite.f16.f32"));
  PUT(FINITE("cvt.rz.satfinite.f16.f32"));
  PUT(FINITE("cvt.rn.relu.satfinite.f16.f32"));
  PUT(FINITE("cvt.rn.satfinite.bf16.f32"));
  PUT(FINITE("cvt.rz.relu.satfinite.bf16.f32"));
  PUT(FINITE2("cvt.rn.satfinite.f16x2.f32"));
  PUT(FINITE2("cvt.rz.relu.satfinite.f16x2.f32"));
  PUT(FINITE2("cvt.rn.relu.satfinite.bf16x2.f32"));
  PUT(FINITE2("cvt.rz.satfinite.bf16x2.f32"));
  PUT(FINITE32("cvt.rn.satfinite.tf32.f32") & ~0x1fff);
  PUT(FINITE32("cvt.rz.relu.satfinite.tf32.f32") & ~0x1fff);
  PUT(FINITE32("cvt.rna.satfinite.tf32.f32") & ~0x1fff);
}

KERNEL lop3_predicate(const u32 *a, const u32 *b, const u32 *c, u32 *out,
                      u32 n) {
  ELEMENT;
  u32 x = a[i], y = b[i], z = c[i], d, p;
#define LOP3(text, first)                                                      \
  asm volatile("{ .reg .pred p, q; setp.lt.u32 q, %3, %4;\n\t" text            \
               " " first "|p, %2, %3, %4, 0x88, q; selp.u32 %1, 1, 0, p; }"    \
               : "+r"(d), "=r"(p)                                              \
               : "r"(x), "r"(y), "r"(z))
  d = 5;
  LOP3("lop3.or.b32", "%0");
  PUT(d);
  PUT(p);
  LOP3("lop3.and.b32", "%0");
  PUT(d);
  PUT(p);
  d = 5;
  LOP3("lop3.and.b32", "_");
  PUT(d);
  PUT(p);
}
