// compile: tensor-more.ptx nvcc -arch=sm_80
//
// Matrix instructions beyond what the compiler of this project needs: integers,
// f64, and the wmma interface with its opaque fragments.
#include "common.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#define LANE (threadIdx.x & 31)

#define INTEGER_K32(name, text)                                                \
  KERNEL name(const u32 *a, const u32 *b, const u32 *c, u32 *d) {              \
    a += LANE, b += LANE, c += LANE, d += LANE;                                \
    u32 r[4];                                                                  \
    asm volatile("mma.sync.aligned.m16n8k32.row.col" text                      \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "             \
                 "{%10, %11, %12, %13};"                                       \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])              \
                 : "r"(a[0]), "r"(a[32]), "r"(a[64]), "r"(a[96]), "r"(b[0]),   \
                   "r"(b[32]), "r"(c[0]), "r"(c[32]), "r"(c[64]), "r"(c[96])); \
    for (u32 k = 0; k < 4; ++k)                                                \
      d[32 * k] = r[k];                                                        \
  }
INTEGER_K32(mma_s8, ".s32.s8.s8.s32")
INTEGER_K32(mma_u8s8, ".s32.u8.s8.s32")
INTEGER_K32(mma_s8_saturated, ".satfinite.s32.s8.s8.s32")

KERNEL mma_f64(const double *a, const double *b, const double *c, double *d) {
  double r0, r1;
  asm volatile(
      "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, "
      "{%3}, {%4, %5};"
      : "=d"(r0), "=d"(r1)
      : "d"(a[LANE]), "d"(b[LANE]), "d"(c[LANE]), "d"(c[32 + LANE]));
  d[LANE] = r0, d[32 + LANE] = r1;
}

using namespace nvcuda::wmma;

KERNEL wmma_f16(const __half *a, const __half *b, const float *c, float *d) {
  fragment<matrix_a, 16, 16, 16, __half, row_major> x;
  fragment<matrix_b, 16, 16, 16, __half, col_major> y;
  fragment<accumulator, 16, 16, 16, float> z;
  load_matrix_sync(x, a, 24);
  load_matrix_sync(y, b, 16);
  load_matrix_sync(z, c, 16, mem_row_major);
  mma_sync(z, x, y, z);
  for (int k = 0; k < z.num_elements; ++k)
    z.x[k] *= 2;
  store_matrix_sync(d, z, 16, mem_row_major);
}

KERNEL wmma_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *d) {
  __shared__ __nv_bfloat16 tile[32 * 16];
  for (u32 k = LANE; k < 512; k += 32)
    tile[k] = a[k];
  __syncwarp();
  fragment<matrix_a, 32, 8, 16, __nv_bfloat16, col_major> x;
  fragment<matrix_b, 32, 8, 16, __nv_bfloat16, row_major> y;
  fragment<accumulator, 32, 8, 16, float> z;
  fill_fragment(z, 1);
  load_matrix_sync(x, tile, 32);
  load_matrix_sync(y, b, 8);
  mma_sync(z, x, y, z);
  store_matrix_sync(d, z, 32, mem_col_major);
}
