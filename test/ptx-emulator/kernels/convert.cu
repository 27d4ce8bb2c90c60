// compile: convert.ptx nvcc -arch=sm_80
// compile: convert-sm90.ptx nvcc -arch=sm_90 -DSM90
//
// Conversions between all types, with all roundings and saturation.
#include "common.h"

#define TO(text, T, to, from) OP1("cvt." text, T, to, from)

#define TO_INTEGER(source, from)                                               \
  MODES("s8", source, s32, "=r", from);                                        \
  MODES("u8", source, u32, "=r", from);                                        \
  TO_WIDE(source, from)
#define TO_WIDE(source, from)                                                  \
  MODES("s16", source, s16, "=h", from);                                       \
  MODES("u16", source, u16, "=h", from);                                       \
  MODES("s32", source, s32, "=r", from);                                       \
  MODES("u32", source, u32, "=r", from);                                       \
  MODES("s64", source, s64, "=l", from);                                       \
  MODES("u64", source, u64, "=l", from)
#define MODES(type, source, T, to, from)                                       \
  PUT(TO("rni." type "." source, T, to, from));                                \
  PUT(TO("rzi." type "." source, T, to, from));                                \
  PUT(TO("rmi." type "." source, T, to, from));                                \
  PUT(TO("rpi." type "." source, T, to, from))

#ifdef SM90
KERNEL integer_from_bf16(const u16 *a, s64 *out, u32 n) {
  ELEMENT;
  u16 x = a[i];
  // The 8-bit types are not among them.
  TO_WIDE("bf16", "h"(x));
}

KERNEL bf16_from(const s64 *a, const u16 *b, u16 *out, u32 n) {
  ELEMENT;
  s64 x = a[i];
  u16 h = b[i];
  PUT(TO("rn.bf16.s32", u16, "=h", "r"((s32)x)));
  PUT(TO("rz.bf16.u32", u16, "=h", "r"((u32)x)));
  PUT(TO("rm.bf16.s64", u16, "=h", "l"(x)));
  PUT(TO("rp.bf16.u64", u16, "=h", "l"(x)));
  PUT(TO("rn.bf16.s16", u16, "=h", "h"((s16)x)));
  PUT(TO("rn.bf16.f16", u16, "=h", "h"(h)));
  PUT(TO("rzi.bf16.bf16", u16, "=h", "h"(h)));
  PUT(TO("rni.bf16.bf16", u16, "=h", "h"(h)));
}

KERNEL tf32_from(const float *a, u32 *out, u32 n) {
  ELEMENT;
  float x = a[i];
  PUT(TO("rn.tf32.f32", u32, "=r", "f"(x)) & ~8191);
  PUT(TO("rz.tf32.f32", u32, "=r", "f"(x)) & ~8191);
  PUT(TO("rn.relu.tf32.f32", u32, "=r", "f"(x)) & ~8191);
  PUT(TO("rz.relu.tf32.f32", u32, "=r", "f"(x)) & ~8191);
}

KERNEL fp8_from(const float *a, const float *b, u16 *out, u32 n) {
  ELEMENT;
  float x = a[i], y = b[i];
#define F8(text) OP2("cvt.rn." text ".f32", u16, "=h", "f"(x), "f"(y))
  PUT(F8("satfinite.e4m3x2"));
  PUT(F8("satfinite.e5m2x2"));
  PUT(F8("satfinite.relu.e4m3x2"));
  PUT(F8("satfinite.relu.e5m2x2"));
}

KERNEL fp8_f16(const u16 *a, u32 *out, u32 n) {
  ELEMENT;
  u16 x = a[i];
  u32 pair = x | (u32)a[n - 1 - i] << 16;
  PUT(TO("rn.f16x2.e4m3x2", u32, "=r", "h"(x)));
  PUT(TO("rn.f16x2.e5m2x2", u32, "=r", "h"(x)));
  PUT(TO("rn.relu.f16x2.e5m2x2", u32, "=r", "h"(x)));
  PUT(TO("rn.satfinite.e4m3x2.f16x2", u16, "=h", "r"(pair)));
  PUT(TO("rn.satfinite.relu.e5m2x2.f16x2", u16, "=h", "r"(pair)));
}
#else
KERNEL integer_from_f32(const float *a, s64 *out, u32 n) {
  ELEMENT;
  float x = a[i];
  TO_INTEGER("f32", "f"(x));
  PUT(TO("rni.ftz.s32.f32", s32, "=r", "f"(x)));
  PUT(TO("rpi.ftz.u64.f32", u64, "=l", "f"(x)));
  PUT((s32)x);
  PUT((u64)x);
}

KERNEL integer_from_f64(const double *a, s64 *out, u32 n) {
  ELEMENT;
  double x = a[i];
  TO_INTEGER("f64", "d"(x));
}

KERNEL integer_from_f16(const u16 *a, s64 *out, u32 n) {
  ELEMENT;
  u16 x = a[i];
  TO_INTEGER("f16", "h"(x));
}

#define FROM_INTEGER(type, T, to)                                              \
  SOURCES("rn." type, T, to);                                                  \
  SOURCES("rz." type, T, to);                                                  \
  SOURCES("rm." type, T, to);                                                  \
  SOURCES("rp." type, T, to)
#define SOURCES(text, T, to)                                                   \
  PUT(TO(text ".s16", T, to, "h"((s16)x)));                                    \
  PUT(TO(text ".u16", T, to, "h"((u16)x)));                                    \
  PUT(TO(text ".s32", T, to, "r"((s32)x)));                                    \
  PUT(TO(text ".u32", T, to, "r"((u32)x)));                                    \
  PUT(TO(text ".s64", T, to, "l"(x)));                                         \
  PUT(TO(text ".u64", T, to, "l"(x)))

KERNEL f32_from_integer(const s64 *a, float *out, u32 n) {
  ELEMENT;
  s64 x = a[i];
  FROM_INTEGER("f32", float, "=f");
  PUT(TO("rn.f32.s8", float, "=f", "r"((s32)x)));
  PUT(TO("rn.f32.u8", float, "=f", "r"((s32)x)));
  PUT(TO("rn.sat.f32.s32", float, "=f", "r"((s32)x)));
}

KERNEL f64_from_integer(const s64 *a, double *out, u32 n) {
  ELEMENT;
  s64 x = a[i];
  FROM_INTEGER("f64", double, "=d");
}

KERNEL f16_from_integer(const s64 *a, u16 *out, u32 n) {
  ELEMENT;
  s64 x = a[i];
  FROM_INTEGER("f16", u16, "=h");
}

KERNEL integer_from_integer(const s64 *a, s64 *out, u32 n) {
  ELEMENT;
  s64 x = a[i];
  s32 y = x;
  s16 z = x;
  PUT(TO("s32.s8", s32, "=r", "r"(y)));
  PUT(TO("u32.u8", u32, "=r", "r"(y)));
  PUT(TO("s32.s16", s32, "=r", "h"(z)));
  PUT(TO("u32.u16", u32, "=r", "h"(z)));
  PUT(TO("s64.s32", s64, "=l", "r"(y)));
  PUT(TO("u64.u32", u64, "=l", "r"(y)));
  PUT(TO("u64.s32", u64, "=l", "r"(y)));
  PUT(TO("s64.u16", s64, "=l", "h"(z)));
  PUT(TO("u32.u64", u32, "=r", "l"(x)));
  PUT(TO("s8.s64", s32, "=r", "l"(x)));
  PUT(TO("u8.u32", u32, "=r", "r"(y)));
  PUT(TO("s16.s8", s16, "=h", "h"(z)));
  PUT(TO("sat.s8.s32", s32, "=r", "r"(y)));
  PUT(TO("sat.u8.s32", u32, "=r", "r"(y)));
  PUT(TO("sat.u8.u32", u32, "=r", "r"(y)));
  PUT(TO("sat.s16.s64", s16, "=h", "l"(x)));
  PUT(TO("sat.u16.s16", u16, "=h", "h"(z)));
  PUT(TO("sat.s32.s64", s32, "=r", "l"(x)));
  PUT(TO("sat.u32.s64", u32, "=r", "l"(x)));
  PUT(TO("sat.s32.u64", s32, "=r", "l"(x)));
  PUT(TO("sat.u64.s64", u64, "=l", "l"(x)));
  PUT(TO("sat.s64.u64", s64, "=l", "l"(x)));
  PUT(OP2("cvt.pack.sat.s16.s32", u32, "=r", "r"(y), "r"((s32)(x >> 32))));
  PUT(OP3("cvt.pack.sat.u8.s32.b32", u32, "=r", "r"(y), "r"((s32)(x >> 32)),
          "r"(0x1234)));
}

KERNEL f32_from_float(const float *a, const double *b, const u16 *c, u32 *out,
                      u32 n) {
  ELEMENT;
  float x = a[i];
  double y = b[i];
  u16 h = c[i];
#define F32(text, ...) PUT(__float_as_uint(TO(text, float, "=f", __VA_ARGS__)))
  F32("rn.f32.f64", "d"(y));
  F32("rz.f32.f64", "d"(y));
  F32("rm.f32.f64", "d"(y));
  F32("rp.f32.f64", "d"(y));
  F32("rn.ftz.f32.f64", "d"(y));
  F32("rn.sat.f32.f64", "d"(y));
  F32("f32.f16", "h"(h));
  F32("ftz.f32.f16", "h"(h));
  F32("sat.f32.f16", "h"(h));
  F32("f32.bf16", "h"(h));
  F32("rmi.ftz.f32.f32", "f"(x));
  F32("ftz.f32.f32", "f"(x));
  PUT(TO("rna.tf32.f32", u32, "=r", "f"(x)) & ~8191);
}

KERNEL f64_from_float(const float *a, const u16 *b, double *out, u32 n) {
  ELEMENT;
  PUT(TO("f64.f32", double, "=d", "f"(a[i])));
  PUT(TO("ftz.f64.f32", double, "=d", "f"(a[i])));
  PUT(TO("sat.f64.f32", double, "=d", "f"(a[i])));
  PUT(TO("f64.f16", double, "=d", "h"(b[i])));
}

KERNEL f16_from_float(const float *a, const double *b, const u16 *c, u16 *out,
                      u32 n) {
  ELEMENT;
  float x = a[i];
  double y = b[i];
  u16 h = c[i];
  PUT(TO("rn.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rz.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rm.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rp.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rn.relu.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rn.sat.f16.f32", u16, "=h", "f"(x)));
  PUT(TO("rn.f16.f64", u16, "=h", "d"(y)));
  PUT(TO("rp.f16.f64", u16, "=h", "d"(y)));
  PUT(TO("rni.f16.f16", u16, "=h", "h"(h)));
  PUT(TO("rpi.f16.f16", u16, "=h", "h"(h)));
  PUT(TO("rn.bf16.f32", u16, "=h", "f"(x)));
  PUT(TO("rz.bf16.f32", u16, "=h", "f"(x)));
  PUT(TO("rn.relu.bf16.f32", u16, "=h", "f"(x)));
  PUT(TO("rz.relu.bf16.f32", u16, "=h", "f"(x)));
}

KERNEL pair_from_float(const float *a, const float *b, u32 *out, u32 n) {
  ELEMENT;
  float x = a[i], y = b[i];
#define PAIR(text) PUT(OP2("cvt." text ".f32", u32, "=r", "f"(x), "f"(y)))
  PAIR("rn.f16x2");
  PAIR("rz.f16x2");
  PAIR("rn.relu.f16x2");
  PAIR("rn.bf16x2");
  PAIR("rz.bf16x2");
  PAIR("rn.relu.bf16x2");
}
#endif
