// compile: approx.ptx nvcc -arch=sm_80
// compile: approx-sm90.ptx nvcc -arch=sm_90 -DBF16
// compile: approx-fast.ptx nvcc -arch=sm_80 -use_fast_math -DFAST
//
// Approximate instructions, and the functions of the mathematical library.
#include "common.h"

#if !defined(FAST) && !defined(BF16)
#define F1(text) OP1(text, float, "=f", "f"(x))

KERNEL approx_f32(const float *a, const float *b, float *out, u32 n) {
  ELEMENT;
  float x = a[i], y = b[i];
  PUT(F1("ex2.approx.f32"));
  PUT(F1("ex2.approx.ftz.f32"));
  PUT(F1("lg2.approx.f32"));
  PUT(F1("lg2.approx.ftz.f32"));
  PUT(F1("sin.approx.f32"));
  PUT(F1("cos.approx.f32"));
  PUT(F1("sin.approx.ftz.f32"));
  PUT(F1("tanh.approx.f32"));
  PUT(F1("rcp.approx.f32"));
  PUT(F1("rcp.approx.ftz.f32"));
  PUT(F1("rsqrt.approx.f32"));
  PUT(F1("rsqrt.approx.ftz.f32"));
  PUT(F1("sqrt.approx.f32"));
  PUT(F1("sqrt.approx.ftz.f32"));
  PUT(OP2("div.approx.f32", float, "=f", "f"(x), "f"(y)));
  PUT(OP2("div.approx.ftz.f32", float, "=f", "f"(x), "f"(y)));
  PUT(OP2("div.full.f32", float, "=f", "f"(x), "f"(y)));
  PUT(OP2("div.full.ftz.f32", float, "=f", "f"(x), "f"(y)));
}

KERNEL approx_f64(const double *a, double *out, u32 n) {
  ELEMENT;
  double x = a[i];
  PUT(OP1("rcp.approx.ftz.f64", double, "=d", "d"(x)));
  PUT(OP1("rsqrt.approx.f64", double, "=d", "d"(x)));
}

KERNEL approx_f16(const u16 *a, u16 *out, u32 n) {
  ELEMENT;
  u16 x = a[i];
  u32 pair = x | (u32)a[n - 1 - i] << 16;
  PUT(OP1("ex2.approx.f16", u16, "=h", "h"(x)));
  PUT(OP1("tanh.approx.f16", u16, "=h", "h"(x)));
  PUT(OP1("ex2.approx.f16x2", u32, "=r", "r"(pair)));
  PUT(OP1("tanh.approx.f16x2", u32, "=r", "r"(pair)) >> 16);
}
#endif

#ifdef BF16
KERNEL approx_bf16(const u16 *a, u16 *out, u32 n) {
  ELEMENT;
  u16 x = a[i];
  u32 pair = x | (u32)a[n - 1 - i] << 16;
  PUT(OP1("ex2.approx.ftz.bf16", u16, "=h", "h"(x)));
  PUT(OP1("tanh.approx.bf16", u16, "=h", "h"(x)));
  PUT(OP1("ex2.approx.ftz.bf16x2", u32, "=r", "r"(pair)) >> 16);
  PUT(OP1("tanh.approx.bf16x2", u32, "=r", "r"(pair)));
}
#else
// The library: with fast mathematics the intrinsics, else code with branches,
// tables and, for huge angles, an array in local memory.
KERNEL library(const float *a, float *out, u32 n) {
  ELEMENT;
  float x = a[i];
  PUT(expf(x));
  PUT(exp2f(x));
  PUT(logf(fabsf(x)));
  PUT(log2f(fabsf(x)));
  PUT(sinf(x));
  PUT(cosf(x));
  PUT(tanhf(x));
  PUT(1 / (1 + expf(-x)));
  PUT(powf(fabsf(x), 1.25f));
  PUT(rsqrtf(fabsf(x)));
#ifndef FAST
  PUT(erff(x));
  PUT(sinf(x * 1e6f));
  PUT(log1pf(fabsf(x)));
#endif
}

#ifndef FAST
KERNEL library_f64(const double *a, double *out, u32 n) {
  ELEMENT;
  double x = a[i];
  PUT(exp(x));
  PUT(log(fabs(x)));
}
#endif
#endif
