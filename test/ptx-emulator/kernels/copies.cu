// compile: copies.ptx nvcc -arch=sm_80
//
// Asynchronous copies to shared memory.
#include "common.h"

#define AT(p) ((u32)__cvta_generic_to_shared(p))
#define COPY(text, to, from, ...)                                              \
  asm volatile("cp.async." text ";" ::"r"(AT(to)), "l"(from)__VA_ARGS__        \
               : "memory")
#define COMMIT asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#define WAIT_ALL asm volatile("cp.async.wait_all;" ::: "memory")

// Each thread reads its own bytes, for which no barrier is needed.
KERNEL sizes(const u32 *a, u32 *out) {
  __shared__ __align__(16) u32 tile[64][4];
  u32 t = threadIdx.x;
  COPY("ca.shared.global [%0], [%1], 4", &tile[t][0], a + 4 * t);
  COPY("ca.shared.global [%0+4], [%1+4], 4", &tile[t][0], a + 4 * t);
  COPY("ca.shared.global [%0], [%1], 8", &tile[t][2], a + 4 * t + 2);
  COMMIT;
  WAIT(0);
  for (u32 k = 0; k < 4; ++k)
    out[4 * t + k] = tile[t][3 - k];
  COPY("ca.shared.global [%0], [%1], 16", &tile[t][0], a + 4 * (63 - t));
  WAIT_ALL;
  for (u32 k = 0; k < 4; ++k)
    out[256 + 4 * t + k] = tile[t][k];
  COPY("cg.shared.global.L2::128B [%0], [%1], 16", &tile[t][0],
       a + 4 * (t ^ 5));
  COMMIT;
  WAIT_ALL;
  __syncthreads();
  for (u32 k = 0; k < 4; ++k)
    out[512 + 4 * t + k] = tile[t ^ 1][k];
}

// Bytes beyond the source's size become zero; with size 0 nothing is read.
KERNEL zero_fill(const u32 *a, u32 *out, u32 n) {
  __shared__ __align__(16) u32 tile[64][4];
  u32 t = threadIdx.x, size = t % 17;
  const u32 *from = size ? a + 4 * t : (const u32 *)16;
  COPY("cg.shared.global [%0], [%1], 16, %2", &tile[t][0], from, , "r"(size));
  COMMIT;
  WAIT(0);
  for (u32 k = 0; k < 4; ++k)
    out[4 * t + k] = tile[t][k];
  COPY("ca.shared.global [%0], [%1], 4, %2", &tile[t][1], a + t, , "r"(t % 5));
  COPY("ca.shared.global.L2::64B [%0], [%1], 8, %2", &tile[t][2], a + 2 * t, ,
       "r"(t % 9));
  asm volatile("{\n\t.reg .pred %%p;\n\tsetp.gt.u32 %%p, %2, 40;\n\t"
               "cp.async.ca.shared.global [%0], [%1], 4, %%p;\n\t}" ::"r"(
                   AT(&tile[t][0])),
               "l"(a + t), "r"(t)
               : "memory");
  WAIT_ALL;
  for (u32 k = 0; k < 4; ++k)
    out[256 + 4 * t + k] = tile[t][k];
}

// Groups in flight: each wait frees the oldest.
KERNEL groups(const u32 *a, u32 *out) {
  __shared__ u32 tile[4][64];
  u32 t = threadIdx.x;
  for (u32 k = 0; k < 4; ++k) {
    COPY("ca.shared.global [%0], [%1], 4", &tile[k][t], a + 64 * k + t);
    COMMIT;
  }
  WAIT(3);
  __syncthreads();
  u32 x = tile[0][63 - t];
  WAIT(1);
  __syncthreads();
  x = x * 3 + tile[1][63 - t];
  x = x * 3 + tile[2][t ^ 1];
  WAIT(0);
  __syncthreads();
  out[t] = x * 3 + tile[3][63 - t];
}

// Lanes that copy different counts, and empty groups.
KERNEL uneven(const u32 *a, u32 *out) {
  __shared__ u32 tile[4][32];
  u32 t = threadIdx.x;
  for (u32 k = 0; k < 4; ++k)
    tile[k][t] = 1000 + k;
  __syncwarp();
  for (u32 k = 0; k < 4; ++k) {
    if (k <= t % 4)
      COPY("ca.shared.global [%0], [%1], 4", &tile[k][31 - t], a + 32 * k + t);
    COMMIT;
  }
  WAIT(0);
  __syncwarp();
  for (u32 k = 0; k < 4; ++k)
    out[32 * k + t] = tile[k][t];
}

// A ring of stages, each thread copying for all.
template <int Stages>
__device__ void pipeline(const u32 *a, u32 *out, u32 n) {
  __shared__ __align__(16) u32 ring[Stages][128];
  u32 t = threadIdx.x, sum = 0;
  for (u32 k = 0; k < Stages - 1; ++k) {
    if (k < n)
      COPY("cg.shared.global [%0], [%1], 16", &ring[k][4 * t],
           a + 128 * k + 4 * t);
    COMMIT;
  }
  for (u32 k = 0; k < n; ++k) {
    WAIT(Stages - 2);
    __syncthreads();
    u32 next = k + Stages - 1;
    if (next < n)
      COPY("cg.shared.global [%0], [%1], 16", &ring[next % Stages][4 * t],
           a + 128 * next + 4 * t);
    COMMIT;
    for (u32 j = 0; j < 4; ++j)
      sum = sum * 5 + ring[k % Stages][(4 * t + j * 33 + k) % 128];
  }
  out[t] = sum;
}
KERNEL pipeline_2(const u32 *a, u32 *out, u32 n) { pipeline<2>(a, out, n); }
KERNEL pipeline_3(const u32 *a, u32 *out, u32 n) { pipeline<3>(a, out, n); }
KERNEL pipeline_5(const u32 *a, u32 *out, u32 n) { pipeline<5>(a, out, n); }
