// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the kernels for sm_90a share: mbarriers, bulk copies, tensor maps.
// Addresses of shared memory are the 32-bit ones of its window.
#pragma once
#include "common.h"

#define AT(p) ((u32)__cvta_generic_to_shared(p))
#define ASM(...) asm volatile(__VA_ARGS__ : "memory")

/// A tensor map, passed as a const __grid_constant__ parameter.
struct alignas(64) TensorMap {
  char bytes[128];
};

__device__ inline void init(u32 bar, u32 count) {
  ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count));
}
__device__ inline void arrive(u32 bar) {
  ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar));
}
/// Expects bytes of the phase, and arrives.
__device__ inline void expect(u32 bar, u32 bytes) {
  ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar),
      "r"(bytes));
}
/// Whether the phase of this parity is complete.
__device__ inline bool passed(u32 bar, u32 parity) {
  u32 done;
  ASM("{\n\t.reg .pred %%p;\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 %%p, [%1], %2;\n\t"
      "selp.u32 %0, 1, 0, %%p;\n\t}" : "=r"(done) : "r"(bar),
      "r"(parity));
  return done;
}
__device__ inline void wait(u32 bar, u32 parity) {
  while (!passed(bar, parity))
    ;
}

/// Generic writes of this thread to shared memory, before what the asynchronous
/// proxy reads or writes.
__device__ inline void fence_async() {
  ASM("fence.proxy.async.shared::cta;" ::);
}
/// Initialised mbarriers, before what the asynchronous proxy does with them.
__device__ inline void fence_init() {
  ASM("fence.mbarrier_init.release.cluster;" ::);
}

/// Bytes of global memory to shared memory.
__device__ inline void bulk_load(u32 to, const void *from, u32 bytes, u32 bar) {
  ASM("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(to),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(bar));
}
__device__ inline void bulk_store(void *to, u32 from, u32 bytes) {
  ASM("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
          __cvta_generic_to_global(to)),
      "r"(from), "r"(bytes));
}
/// A box of a matrix, x innermost.
__device__ inline void tensor_load(u32 to, const TensorMap &map, int x, int y,
                                   u32 bar) {
  ASM("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
      "::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(bar));
}
__device__ inline void tensor_store(const TensorMap &map, int x, int y,
                                    u32 from) {
  ASM("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], "
      "[%3];" ::"l"(&map),
      "r"(x), "r"(y), "r"(from));
}
#define BULK_COMMIT ASM("cp.async.bulk.commit_group;" ::)
#define BULK_WAIT(n) ASM("cp.async.bulk.wait_group %0;" ::"n"(n))
#define BULK_WAIT_READ(n) ASM("cp.async.bulk.wait_group.read %0;" ::"n"(n))
