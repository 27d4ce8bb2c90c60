// compile: float32.ptx nvcc -arch=sm_80
// compile: float32-clang.ptx clang --cuda-gpu-arch=sm_80 -O2 -DSMALL
//
// f32: four rounding modes, flushing, saturation, comparisons, minima.
#include "common.h"

#define F1(text) OP1(text, float, "=f", "f"(x))
#define F2(text) OP2(text, float, "=f", "f"(x), "f"(y))
#define F3(text) OP3(text, float, "=f", "f"(x), "f"(y), "f"(z))

#ifndef SMALL
KERNEL rounding_f32(const float *a, const float *b, const float *c, float *out,
                    u32 n) {
  ELEMENT;
  float x = a[i], y = b[i], z = c[i];
  PUT(__fadd_rn(x, y));
  PUT(__fadd_rz(x, y));
  PUT(__fadd_rd(x, y));
  PUT(__fadd_ru(x, y));
  PUT(__fsub_rn(x, y));
  PUT(__fsub_rz(x, y));
  PUT(__fsub_rd(x, y));
  PUT(__fsub_ru(x, y));
  PUT(__fmul_rn(x, y));
  PUT(__fmul_rz(x, y));
  PUT(__fmul_rd(x, y));
  PUT(__fmul_ru(x, y));
  PUT(__fmaf_rn(x, y, z));
  PUT(__fmaf_rz(x, y, z));
  PUT(__fmaf_rd(x, y, z));
  PUT(__fmaf_ru(x, y, z));
  PUT(__fdiv_rn(x, y));
  PUT(__fdiv_rz(x, y));
  PUT(__fdiv_rd(x, y));
  PUT(__fdiv_ru(x, y));
  PUT(__fsqrt_rn(x));
  PUT(__fsqrt_rz(x));
  PUT(__fsqrt_rd(x));
  PUT(__fsqrt_ru(x));
  PUT(__frcp_rn(x));
  PUT(__frcp_rz(x));
  PUT(__frcp_rd(x));
  PUT(__frcp_ru(x));
}

KERNEL modified_f32(const float *a, const float *b, const float *c, float *out,
                    u32 n) {
  ELEMENT;
  float x = a[i], y = b[i], z = c[i];
  PUT(F2("add.ftz.f32"));
  PUT(F2("add.sat.f32"));
  PUT(F2("add.rz.ftz.sat.f32"));
  PUT(F2("sub.ftz.f32"));
  PUT(F2("mul.ftz.f32"));
  PUT(F2("mul.rn.sat.f32"));
  PUT(F3("fma.rn.ftz.f32"));
  PUT(F3("fma.rn.sat.f32"));
  PUT(F2("div.rn.ftz.f32"));
  PUT(F1("sqrt.rn.ftz.f32"));
  PUT(F1("rcp.rn.ftz.f32"));
  PUT(F1("abs.f32"));
  PUT(F1("abs.ftz.f32"));
  PUT(F1("neg.f32"));
  PUT(F1("neg.ftz.f32"));
  PUT(F2("min.f32"));
  PUT(F2("max.f32"));
  PUT(F2("min.ftz.f32"));
  PUT(F2("max.ftz.f32"));
  PUT(F2("min.NaN.f32"));
  PUT(F2("max.NaN.f32"));
  PUT(F2("copysign.f32"));
  PUT(F1("cvt.rni.f32.f32"));
  PUT(F1("cvt.rzi.f32.f32"));
  PUT(F1("cvt.rmi.f32.f32"));
  PUT(F1("cvt.rpi.f32.f32"));
  PUT(F1("cvt.sat.f32.f32"));
  PUT(OP3("slct.f32.s32", float, "=f", "f"(x), "f"(y), "r"(__float_as_int(z))));
  PUT(OP3("slct.f32.f32", float, "=f", "f"(x), "f"(y), "f"(z)));
}
#endif

#define COMPARE(text)                                                          \
  ({                                                                           \
    u32 result;                                                                \
    asm volatile("{\n\t.reg .pred %%p;\n\tsetp." text                          \
                 ".f32 %%p, %1, %2;\n\tselp.u32 %0, 1, 0, %%p;\n\t}"           \
                 : "=r"(result)                                                \
                 : "f"(x), "f"(y));                                            \
    result;                                                                    \
  })

KERNEL compare_f32(const float *a, const float *b, u32 *out, u32 n) {
  ELEMENT;
  float x = a[i], y = b[i];
  PUT(COMPARE("eq"));
  PUT(COMPARE("ne"));
  PUT(COMPARE("lt"));
  PUT(COMPARE("le"));
  PUT(COMPARE("gt"));
  PUT(COMPARE("ge"));
  PUT(COMPARE("equ"));
  PUT(COMPARE("neu"));
  PUT(COMPARE("ltu"));
  PUT(COMPARE("leu"));
  PUT(COMPARE("gtu"));
  PUT(COMPARE("geu"));
  PUT(COMPARE("num"));
  PUT(COMPARE("nan"));
  PUT(COMPARE("lt.ftz"));
  PUT(x < y ? 10 : x == y ? 20 : x > y ? 30 : 40);
  PUT(!(x < y) && !(x >= y));
  PUT(OP2("set.lt.u32.f32", u32, "=r", "f"(x), "f"(y)));
  PUT(__float_as_uint(OP2("set.geu.f32.f32", float, "=f", "f"(x), "f"(y))));
#define TEST(text)                                                             \
  ({                                                                           \
    u32 result;                                                                \
    asm volatile("{\n\t.reg .pred %%p;\n\ttestp." text                         \
                 ".f32 %%p, %1;\n\tselp.u32 %0, 1, 0, %%p;\n\t}"               \
                 : "=r"(result)                                                \
                 : "f"(x));                                                    \
    result;                                                                    \
  })
  PUT(TEST("finite"));
  PUT(TEST("infinite"));
  PUT(TEST("number"));
  PUT(TEST("notanumber"));
  PUT(TEST("normal"));
  PUT(TEST("subnormal"));
  // Predicates combined, both results, a negated and an unused one.
  u32 r, s;
  asm volatile("{\n\t.reg .pred %%p, %%q, %%r;\n\t"
               "setp.gt.f32 %%r, %2, 0f3F800000;\n\t"
               "setp.lt.and.f32 %%p|%%q, %2, %3, %%r;\n\t"
               "selp.u32 %0, 1, 0, %%p;\n\t"
               "@%%q add.u32 %0, %0, 2;\n\t"
               "setp.lt.or.f32 %%p|_, %2, %3, !%%r;\n\t"
               "selp.u32 %1, 1, 0, %%p;\n\t"
               "setp.eq.xor.f32 _|%%q, %2, %3, %%r;\n\t"
               "@!%%q add.u32 %1, %1, 2;\n\t}"
               : "=&r"(r), "=&r"(s)
               : "f"(x), "f"(y));
  PUT(r);
  PUT(s);
}

#ifdef SMALL
KERNEL plain_f32(const float *a, const float *b, const float *c, float *out,
                 u32 n) {
  ELEMENT;
  float x = a[i], y = b[i], z = c[i];
  PUT(x + y);
  PUT(x - y);
  PUT(x * y);
  PUT(x / y);
  PUT(__builtin_fmaf(x, y, z));
  PUT(-x);
  PUT(__builtin_fabsf(x));
  PUT(x < y ? x : z);
  PUT(__builtin_fminf(x, y));
  PUT(__builtin_sqrtf(x));
  PUT(__builtin_floorf(x));
  PUT(__builtin_truncf(x));
}
#endif
