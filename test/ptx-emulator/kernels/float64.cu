// compile: float64.ptx nvcc -arch=sm_80
//
// f64: four rounding modes, comparisons, minima, rounding to integers.
#include "common.h"

#define F1(text) OP1(text, double, "=d", "d"(x))
#define F2(text) OP2(text, double, "=d", "d"(x), "d"(y))

KERNEL rounding_f64(const double *a, const double *b, const double *c,
                    double *out, u32 n) {
  ELEMENT;
  double x = a[i], y = b[i], z = c[i];
  PUT(__dadd_rn(x, y));
  PUT(__dadd_rz(x, y));
  PUT(__dadd_rd(x, y));
  PUT(__dadd_ru(x, y));
  PUT(__dsub_rn(x, y));
  PUT(__dsub_rz(x, y));
  PUT(__dmul_rn(x, y));
  PUT(__dmul_rz(x, y));
  PUT(__dmul_rd(x, y));
  PUT(__dmul_ru(x, y));
  PUT(__fma_rn(x, y, z));
  PUT(__fma_rz(x, y, z));
  PUT(__fma_rd(x, y, z));
  PUT(__fma_ru(x, y, z));
  PUT(__ddiv_rn(x, y));
  PUT(__ddiv_rz(x, y));
  PUT(__ddiv_rd(x, y));
  PUT(__ddiv_ru(x, y));
  PUT(__dsqrt_rn(x));
  PUT(__dsqrt_rz(x));
  PUT(__dsqrt_rd(x));
  PUT(__dsqrt_ru(x));
  PUT(__drcp_rn(x));
  PUT(__drcp_ru(x));
  PUT(F1("abs.f64"));
  PUT(F1("neg.f64"));
  PUT(F2("min.f64"));
  PUT(F2("max.f64"));
  PUT(F2("copysign.f64"));
  PUT(F1("cvt.rni.f64.f64"));
  PUT(F1("cvt.rzi.f64.f64"));
  PUT(F1("cvt.rmi.f64.f64"));
  PUT(F1("cvt.rpi.f64.f64"));
  PUT(x < y ? 1. : x == y ? 2. : x > y ? 3. : 4.);
  PUT(__hiloint2double(__double2loint(x), __double2hiint(y)));
}
