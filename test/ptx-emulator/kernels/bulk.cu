// compile: bulk.ptx nvcc -arch=sm_90a
//
// Bulk copies and reductions, of bytes and of boxes of tensors.
#include "hopper.h"

// Words of shared memory that the asynchronous proxy may overwrite.
#define TILE extern __shared__ __align__(1024) u32 tile[]
#define FILL(words, value)                                                     \
  for (u32 i = threadIdx.x; i < (words); i += blockDim.x)                      \
    tile[i] = (value);                                                         \
  fence_async();                                                               \
  __syncthreads()
#define DUMP(words)                                                            \
  for (u32 i = threadIdx.x; i < (words); i += blockDim.x)                      \
    out[i] = tile[i];

// Pieces of any multiple of 16 bytes: (to, from, size) each. What is around
// them stays.
KERNEL load(const u8 *a, u32 *out, const u32 *pieces, u32 n, u32 words) {
  TILE;
  __shared__ u64 barrier;
  u32 bar = AT(&barrier);
  if (threadIdx.x == 0) {
    init(bar, 1);
    fence_init();
  }
  FILL(words, i * 0x01010101u);
  if (threadIdx.x == 0) {
    u32 bytes = 0;
    for (u32 k = 0; k < n; ++k)
      bytes += pieces[3 * k + 2];
    expect(bar, bytes);
    for (u32 k = 0; k < n; ++k, pieces += 3)
      if (k & 1)
        ASM("cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes "
            "[%0], [%1], %2, [%3];" ::"r"(AT(tile) + pieces[0]),
            "l"(__cvta_generic_to_global(a + pieces[1])), "r"(pieces[2]),
            "r"(bar));
      else
        bulk_load(AT(tile) + pieces[0], a + pieces[1], pieces[2], bar);
  }
  wait(bar, 0);
  DUMP(words);
}

// Every lane brings a row; one expects them all, in whatever order.
KERNEL rows(const u32 *a, u32 *out) {
  __shared__ __align__(16) u32 tile[32][32];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0) {
    init(bar, 2);
    fence_init();
  }
  __syncthreads();
  if (t < 32)
    bulk_load(AT(tile[t]), a + 32 * (t ^ 3), 128, bar);
  if (t == 9 || t == 40)
    expect(bar, 16 * 128);
  wait(bar, 0);
  for (u32 k = t; k < 1024; k += blockDim.x)
    out[k] = tile[k % 32][k / 32];
}

// A ring of stages filled by one thread.
KERNEL stream(const u32 *a, u32 *out, u32 n) {
  __shared__ __align__(16) u32 stage[3][64];
  __shared__ u64 full[3], empty[3];
  u32 t = threadIdx.x;
  if (t == 0) {
    for (u32 k = 0; k < 3; ++k) {
      init(AT(&full[k]), 1);
      init(AT(&empty[k]), 64);
    }
    fence_init();
  }
  __syncthreads();
  if (t == 64) {
    for (u32 k = 0; k < n; ++k) {
      wait(AT(&empty[k % 3]), k / 3 & 1 ^ 1);
      expect(AT(&full[k % 3]), 256);
      bulk_load(AT(stage[k % 3]), a + 64 * k, 256, AT(&full[k % 3]));
    }
  } else if (t < 64) {
    u32 sum = 0;
    for (u32 k = 0; k < n; ++k) {
      wait(AT(&full[k % 3]), k / 3 & 1);
      sum = sum * 3 + stage[k % 3][63 - t];
      arrive(AT(&empty[k % 3]));
    }
    out[t] = sum;
  }
}

// Global memory stored by threads is copied after a fence.
KERNEL stored_before(u32 *a, u32 *out) {
  __shared__ __align__(16) u32 tile[64];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0) {
    init(bar, 1);
    fence_init();
  }
  a[t] = a[t] * 3 + t;
  ASM("fence.proxy.async.global;" ::);
  __syncthreads();
  if (t == 0) {
    expect(bar, 256);
    bulk_load(AT(tile), a, 256, bar);
  }
  wait(bar, 0);
  out[t] = tile[63 - t];
}

KERNEL store(const u32 *a, u8 *out, const u32 *pieces, u32 n, u32 words) {
  TILE;
  FILL(words, a[i]);
  if (threadIdx.x == 0) {
    for (u32 k = 0; k < n; ++k, pieces += 3)
      bulk_store(out + pieces[0], AT(tile) + pieces[1], pieces[2]);
    BULK_COMMIT;
    BULK_WAIT(0);
  }
}

// Groups: the source is free when it was read, the result there when it was
// written. Empty groups count.
KERNEL groups(const u32 *a, u32 *out) {
  __shared__ __align__(16) u32 tile[64];
  u32 t = threadIdx.x;
  for (u32 k = 0; k < 4; ++k) {
    tile[t] = a[64 * k + t];
    fence_async();
    __syncthreads();
    if (t == 0) {
      bulk_store(out + 64 * k, AT(tile), 256);
      BULK_COMMIT;
      BULK_WAIT_READ(0);
    }
    __syncthreads();
  }
  if (t == 0) {
    BULK_COMMIT;
    BULK_WAIT(2);
    out[256] = out[0] + out[191];
    BULK_WAIT(0);
    out[257] = out[255];
  }
}

// What was stored is loaded again, by the same thread, and stored elsewhere
// without that a thread saw it.
KERNEL round_trip(const u32 *a, u32 *middle, u32 *out) {
  __shared__ __align__(16) u32 tile[2][64];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0) {
    init(bar, 1);
    fence_init();
  }
  tile[0][t] = a[t];
  fence_async();
  __syncthreads();
  if (t == 0) {
    bulk_store(middle, AT(tile[0]), 256);
    BULK_COMMIT;
    BULK_WAIT(0);
    expect(bar, 256);
    bulk_load(AT(tile[1]), middle, 128, bar);
    bulk_load(AT(tile[1]) + 128, middle, 128, bar);
    wait(bar, 0);
    bulk_store(out, AT(tile[1]), 256);
    BULK_COMMIT;
    BULK_WAIT(0);
  }
}

// From the block's shared memory to the same by way of the cluster's window.
KERNEL within(const u32 *a, u32 *out) {
  __shared__ __align__(16) u32 tile[3][64];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier), to, mapped;
  if (t == 0) {
    init(bar, 1);
    fence_init();
  }
  tile[0][t] = a[t];
  tile[2][t] = a[t + 64];
  fence_async();
  __syncthreads();
  ASM("mapa.shared::cluster.u32 %0, %1, 0;" : "=r"(to) : "r"(AT(tile[1])));
  ASM("mapa.shared::cluster.u32 %0, %1, 0;" : "=r"(mapped) : "r"(bar));
  if (t == 0) {
    expect(bar, 256);
    ASM("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"
        " [%0], [%1], 256, [%2];" ::"r"(to),
        "r"(AT(tile[0])), "r"(mapped));
  }
  wait(bar, 0);
  out[t] = tile[1][63 - t];
  __syncthreads();
  if (t == 0) {
    expect(bar, 256);
    ASM("cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier"
        "::complete_tx::bytes.add.u32 [%0], [%1], 256, [%2];" ::"r"(to),
        "r"(AT(tile[2])), "r"(mapped));
  }
  wait(bar, 1);
  out[64 + t] = tile[1][t];
}

// Reductions on global memory: each block adds its words, or all the same ones.
#define REDUCE(name, text)                                                     \
  KERNEL reduce_##name(const u32 *a, u32 *out, u32 words, u32 apart) {         \
    TILE;                                                                      \
    FILL(words, a[blockIdx.x * apart + i]);                                    \
    if (threadIdx.x == 0) {                                                    \
      ASM("cp.reduce.async.bulk.global.shared::cta.bulk_group." text           \
          " [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(out)),             \
          "r"(AT(tile)), "r"(4 * words));                                      \
      BULK_COMMIT;                                                             \
      BULK_WAIT(0);                                                            \
    }                                                                          \
  }
REDUCE(add_u32, "add.u32")
REDUCE(add_s32, "add.s32")
REDUCE(add_u64, "add.u64")
REDUCE(add_f16, "add.noftz.f16")
REDUCE(add_bf16, "add.noftz.bf16")
REDUCE(add_f32, "add.f32")
REDUCE(add_f64, "add.f64")
REDUCE(min_u32, "min.u32")
REDUCE(min_s32, "min.s32")
REDUCE(min_u64, "min.u64")
REDUCE(min_s64, "min.s64")
REDUCE(min_f16, "min.f16")
REDUCE(min_bf16, "min.bf16")
REDUCE(max_u32, "max.u32")
REDUCE(max_s32, "max.s32")
REDUCE(max_u64, "max.u64")
REDUCE(max_s64, "max.s64")
REDUCE(max_f16, "max.f16")
REDUCE(max_bf16, "max.bf16")
REDUCE(inc_u32, "inc.u32")
REDUCE(dec_u32, "dec.u32")
REDUCE(and_b32, "and.b32")
REDUCE(or_b32, "or.b32")
REDUCE(xor_b32, "xor.b32")
REDUCE(and_b64, "and.b64")
REDUCE(or_b64, "or.b64")
REDUCE(xor_b64, "xor.b64")

// Boxes of tensors to shared memory, at an offset of it.
#define PARAMETER(map) const __grid_constant__ TensorMap map
#define C1 "r"(x)
#define C2 C1, "r"(y)
#define C3 C2, "r"(z)
#define C4 C3, "r"(v)
#define C5 C4, "r"(w)
#define TENSORS(rank, places, places_load, coordinates)                        \
  KERNEL load_##rank(PARAMETER(map), u32 *out, u32 offset, u32 words,          \
                     u32 bytes, int x, int y, int z, int v, int w) {           \
    TILE;                                                                      \
    __shared__ u64 barrier;                                                    \
    u32 bar = AT(&barrier);                                                    \
    if (threadIdx.x == 0) {                                                    \
      init(bar, 1);                                                            \
      fence_init();                                                            \
    }                                                                          \
    FILL(words, i * 0x01010101u);                                              \
    if (threadIdx.x == 0) {                                                    \
      expect(bar, bytes);                                                      \
      ASM("cp.async.bulk.tensor." #rank ".shared::cluster.global.tile."        \
          "mbarrier::complete_tx::bytes [%0], [%1, {" places_load              \
          "}], [%2];" ::"r"(AT(tile) + offset),                                \
          "l"(&map), "r"(bar), coordinates);                                   \
    }                                                                          \
    wait(bar, 0);                                                              \
    DUMP(words);                                                               \
  }                                                                            \
  KERNEL store_##rank(PARAMETER(map), const u32 *a, u32 offset, u32 words,     \
                      int x, int y, int z, int v, int w) {                     \
    TILE;                                                                      \
    FILL(words, a[i]);                                                         \
    if (threadIdx.x == 0) {                                                    \
      ASM("cp.async.bulk.tensor." #rank ".global.shared::cta.bulk_group [%0, " \
          "{" places "}], [%1];" ::"l"(&map),                                  \
          "r"(AT(tile) + offset), coordinates);                                \
      BULK_COMMIT;                                                             \
      BULK_WAIT(0);                                                            \
    }                                                                          \
  }                                                                            \
  KERNEL reduce_##rank(PARAMETER(map), const u32 *a, u32 offset, u32 words,    \
                       int x, int y, int z, int v, int w) {                    \
    TILE;                                                                      \
    FILL(words, a[i]);                                                         \
    if (threadIdx.x == 0) {                                                    \
      ASM("cp.reduce.async.bulk.tensor." #rank ".global.shared::cta.add."      \
          "tile.bulk_group [%0, {" places "}], [%1];" ::"l"(&map),             \
          "r"(AT(tile) + offset), coordinates);                                \
      BULK_COMMIT;                                                             \
      BULK_WAIT(0);                                                            \
    }                                                                          \
  }
TENSORS(1d, "%2", "%3", C1)
TENSORS(2d, "%2, %3", "%3, %4", C2)
TENSORS(3d, "%2, %3, %4", "%3, %4, %5", C3)
TENSORS(4d, "%2, %3, %4, %5", "%3, %4, %5, %6", C4)
TENSORS(5d, "%2, %3, %4, %5, %6", "%3, %4, %5, %6, %7", C5)

// The type is that of the map.
#define REDUCE_TENSOR(op)                                                      \
  KERNEL tensor_##op(PARAMETER(map), const u32 *a, u32 words, int x, int y) {  \
    TILE;                                                                      \
    FILL(words, a[i]);                                                         \
    if (threadIdx.x == 0) {                                                    \
      ASM("cp.reduce.async.bulk.tensor.2d.global.shared::cta." #op             \
          ".bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),                     \
          "r"(AT(tile)), C2);                                                  \
      BULK_COMMIT;                                                             \
      BULK_WAIT(0);                                                            \
    }                                                                          \
  }
REDUCE_TENSOR(min)
REDUCE_TENSOR(max)
REDUCE_TENSOR(inc)
REDUCE_TENSOR(dec)
REDUCE_TENSOR(and)
REDUCE_TENSOR(or)
REDUCE_TENSOR(xor)

// A whole matrix box by box, a block each, transposed boxes on the way back:
// both maps, both directions, boxes over the edges.
KERNEL transpose(PARAMETER(from), PARAMETER(to)) {
  __shared__ __align__(128) u32 in[16][16], back[16][16];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier);
  if (t == 0) {
    ASM("prefetch.tensormap [%0];" ::"l"(&to));
    init(bar, 1);
    fence_init();
    expect(bar, 1024);
    tensor_load(AT(in), from, blockIdx.x * 16, blockIdx.y * 16, bar);
  }
  __syncthreads();
  wait(bar, 0);
  for (u32 i = t; i < 256; i += blockDim.x)
    back[i % 16][i / 16] = in[i / 16][i % 16];
  fence_async();
  __syncthreads();
  if (t == 0) {
    tensor_store(to, blockIdx.y * 16, blockIdx.x * 16, AT(back));
    BULK_COMMIT;
    BULK_WAIT(0);
  }
}

// Boxes that no thread touches: from one tensor to another, in a ring of two.
KERNEL move(PARAMETER(from), PARAMETER(to), u32 n) {
  __shared__ __align__(128) u32 box[2][64];
  __shared__ u64 full[2];
  if (threadIdx.x)
    return;
  init(AT(&full[0]), 1);
  init(AT(&full[1]), 1);
  fence_init();
  for (u32 k = 0; k < n; ++k) {
    if (k > 1)
      BULK_WAIT_READ(1);
    expect(AT(&full[k % 2]), 256);
    tensor_load(AT(box[k % 2]), from, 0, k, AT(&full[k % 2]));
    wait(AT(&full[k % 2]), k / 2 & 1);
    tensor_store(to, 0, n - 1 - k, AT(box[k % 2]));
    BULK_COMMIT;
  }
  BULK_WAIT(0);
}

// Hints change nothing.
KERNEL hints(PARAMETER(map), const u32 *a, u32 *out) {
  __shared__ __align__(128) u32 tile[2][64];
  __shared__ u64 barrier;
  u32 t = threadIdx.x, bar = AT(&barrier);
  u64 policy;
  ASM("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy) :);
  if (t == 0) {
    ASM("cp.async.bulk.prefetch.L2.global [%0], 256;" ::"l"(
        __cvta_generic_to_global(a)));
    ASM("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {0, 0}];" ::"l"(
        &map));
    init(bar, 1);
    fence_init();
    expect(bar, 512);
    ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".L2::cache_hint [%0], [%1], 256, [%2], %3;" ::"r"(AT(tile[0])),
        "l"(__cvta_generic_to_global(a)), "r"(bar), "l"(policy));
    ASM("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
        "::bytes.L2::cache_hint [%0], [%1, {0, 0}], [%2], %3;" ::"r"(
            AT(tile[1])),
        "l"(&map), "r"(bar), "l"(policy));
  }
  __syncthreads();
  wait(bar, 0);
  u32 sum = tile[0][t] + 3 * tile[1][63 - t];
  __syncthreads();
  tile[0][t] = sum;
  fence_async();
  __syncthreads();
  if (t == 0) {
    ASM("cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%0], "
        "[%1], 256, %2;" ::"l"(__cvta_generic_to_global(out)),
        "r"(AT(tile[0])), "l"(policy));
    BULK_COMMIT;
    BULK_WAIT(0);
  }
}
