// compile: tensor.ptx nvcc -arch=sm_80
// compile: tensor-sm90.ptx nvcc -arch=sm_90 -DSM90
//
// Matrix instructions. Fragments come and go as registers: word r of lane l is
// at 32 r + l, so that the reference alone knows what belongs where.
#include "common.h"

#define LANE (threadIdx.x & 31)

#ifdef SM90
#define STMATRIX(suffix, name, ...)                                            \
  KERNEL stmatrix_##name(const u32 *a, const u32 *rows, u32 *out) {            \
    __shared__ __align__(16) u32 tile[256];                                    \
    for (u32 k = LANE; k < 256; k += 32)                                       \
      tile[k] = 0;                                                             \
    __syncwarp();                                                              \
    u32 to = (u32)__cvta_generic_to_shared(tile) + rows[LANE];                 \
    a += LANE;                                                                 \
    asm volatile("stmatrix.sync.aligned.m8n8." suffix                          \
                 ".shared.b16 [%0], " __VA_ARGS__                              \
                 : "memory");                                                  \
    __syncwarp();                                                              \
    for (u32 k = LANE; k < 256; k += 32)                                       \
      out[k] = tile[k];                                                        \
  }
STMATRIX("x1", x1, "{%1};" ::"r"(to), "r"(a[0]))
STMATRIX("x2", x2, "{%1, %2};" ::"r"(to), "r"(a[0]), "r"(a[32]))
STMATRIX("x4", x4, "{%1, %2, %3, %4};" ::"r"(to), "r"(a[0]), "r"(a[32]),
         "r"(a[64]), "r"(a[96]))
STMATRIX("x1.trans", x1_trans, "{%1};" ::"r"(to), "r"(a[0]))
STMATRIX("x4.trans", x4_trans, "{%1, %2, %3, %4};" ::"r"(to), "r"(a[0]),
         "r"(a[32]), "r"(a[64]), "r"(a[96]))
#else
#define LDMATRIX(suffix, name, count, ...)                                     \
  KERNEL ldmatrix_##name(const u32 *a, const u32 *rows, u32 *out) {            \
    __shared__ __align__(16) u32 tile[256];                                    \
    for (u32 k = LANE; k < 256; k += 32)                                       \
      tile[k] = a[k];                                                          \
    __syncwarp();                                                              \
    u32 from = (u32)__cvta_generic_to_shared(tile) + rows[LANE], r[4];         \
    asm volatile("ldmatrix.sync.aligned.m8n8." suffix                          \
                 ".shared.b16 " __VA_ARGS__);                                  \
    for (u32 k = 0; k < count; ++k)                                            \
      out[32 * k + LANE] = r[k];                                               \
  }
LDMATRIX("x1", x1, 1, "{%0}, [%1];" : "=r"(r[0]) : "r"(from))
LDMATRIX("x2", x2, 2, "{%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(from))
LDMATRIX("x4", x4, 4, "{%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]),
         "=r"(r[2]), "=r"(r[3]) : "r"(from))
LDMATRIX("x1.trans", x1_trans, 1, "{%0}, [%1];" : "=r"(r[0]) : "r"(from))
LDMATRIX("x2.trans", x2_trans, 2, "{%0, %1}, [%2];" : "=r"(r[0]),
         "=r"(r[1]) : "r"(from))
LDMATRIX("x4.trans", x4_trans, 4, "{%0, %1, %2, %3}, [%4];" : "=r"(r[0]),
         "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from))

KERNEL movmatrix(const u32 *a, u32 *out) {
  u32 r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;"
               : "=r"(r)
               : "r"(a[LANE]));
  out[LANE] = r;
}

#define LOAD                                                                   \
  a += LANE;                                                                   \
  b += LANE;                                                                   \
  c += LANE;                                                                   \
  d += LANE

#define A1 "r"(a[0])
#define A2 A1, "r"(a[32])
#define A4 A2, "r"(a[64]), "r"(a[96])
#define B1 "r"(b[0])
#define B2 B1, "r"(b[32])

// Accumulators of four words, kind is "f" or "r".
#define MMA4(name, T, kind, text, A, B, places)                                \
  KERNEL name(const u32 *a, const u32 *b, const T *c, T *d) {                  \
    LOAD;                                                                      \
    T r0 = c[0], r1 = c[32], r2 = c[64], r3 = c[96];                           \
    asm volatile("mma.sync.aligned." text " {%0, %1, %2, %3}, " places         \
                 ", {%0, %1, %2, %3};"                                         \
                 : "+" kind(r0), "+" kind(r1), "+" kind(r2), "+" kind(r3)      \
                 : A, B);                                                      \
    d[0] = r0, d[32] = r1, d[64] = r2, d[96] = r3;                             \
  }
#define P42 "{%4, %5, %6, %7}, {%8, %9}"
#define P21 "{%4, %5}, {%6}"
MMA4(mma_f16_k16, float, "f", "m16n8k16.row.col.f32.f16.f16.f32", A4, B2, P42)
MMA4(mma_bf16_k16, float, "f", "m16n8k16.row.col.f32.bf16.bf16.f32", A4, B2,
     P42)
MMA4(mma_f16_k8, float, "f", "m16n8k8.row.col.f32.f16.f16.f32", A2, B1, P21)
MMA4(mma_bf16_k8, float, "f", "m16n8k8.row.col.f32.bf16.bf16.f32", A2, B1, P21)
MMA4(mma_tf32_k8, float, "f", "m16n8k8.row.col.f32.tf32.tf32.f32", A4, B2, P42)
MMA4(mma_tf32_k4, float, "f", "m16n8k4.row.col.f32.tf32.tf32.f32", A2, B1, P21)

// f16 accumulators.
KERNEL mma_half_k16(const u32 *a, const u32 *b, const u32 *c, u32 *d) {
  LOAD;
  u32 r0, r1;
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, "
               "{%2, %3, %4, %5}, {%6, %7}, {%8, %9};"
               : "=r"(r0), "=r"(r1)
               : A4, B2, "r"(c[0]), "r"(c[32]));
  d[0] = r0, d[32] = r1;
}
KERNEL mma_half_k8(const u32 *a, const u32 *b, const u32 *c, u32 *d) {
  LOAD;
  u32 r0, r1;
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0, %1}, "
               "{%2, %3}, {%4}, {%5, %6};"
               : "=r"(r0), "=r"(r1)
               : A2, B1, "r"(c[0]), "r"(c[32]));
  d[0] = r0, d[32] = r1;
}
#endif
