//===- FakeGpu.cu - kernels of a package, by hand ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The model of FakeModel.c on a GPU; FakeGpu.c launches these. FakeGpu.ptx is
//
//   clang++-22 -S -O2 --cuda-device-only --cuda-gpu-arch=sm_80 -nocudainc
//     -nocudalib FakeGpu.cu -o FakeGpu.ptx
//
//===----------------------------------------------------------------------===//

#define KERNEL extern "C" __attribute__((global)) void
#define DEVICE __attribute__((device))

static DEVICE int thread() { return __nvvm_read_ptx_sreg_tid_x(); }
static DEVICE int blockX() { return __nvvm_read_ptx_sreg_ctaid_x(); }
static DEVICE int blockY() { return __nvvm_read_ptx_sreg_ctaid_y(); }

enum { V = 16, C = 32, H = 2, D = 4 };

/// Block b, thread t: writes a token into the cache, wrongly where the position
/// or the counter is not what it has to be.
KERNEL append(const int *tokens, const int *positions, const int *lengths,
              const int *counter, float *cache, long rows) {
  long b = blockX(), t = thread();
  int at = lengths[b] + t;
  bool good =
      positions[b * rows + t] == at && counter[b] == lengths[b] + rows;
  for (int h = 0; h < H; ++h)
    for (int d = 0; d < D; ++d)
      cache[((b * H + h) * C + at) * D + d] = good ? tokens[b * rows + t] : -1;
}

/// Block (b, r), thread v: logits of one row; of the last where outRows is 1.
KERNEL logits(const int *lengths, const float *cache, const float *bias,
              const float *table, float *out, long rows, long outRows) {
  long b = blockX(), r = blockY(), v = thread();
  long at = lengths[b] + (outRows == 1 ? rows - 1 : r);
  long sum = 1;
  for (long i = 0; i <= at; ++i)
    sum += (long)cache[((b * H + 1) * C + i) * D + 3];
  out[(b * outRows + r) * V + v] =
      bias[v] + table[v * 2] + (sum % V == v ? 1.0f : 0.0f);
}

/// Block b: rows of a counter.
KERNEL count(int *counter, long rows) { counter[blockX()] += rows; }

/// One thread: writes past the 48 KiB that no one has to be allowed.
KERNEL wide(float *arena, long words) {
  extern __attribute__((shared)) float memory[];
  memory[words - 1] = 1;
  arena[0] = memory[words - 1];
}

/// One thread: writes behind the arena.
KERNEL fault(float *arena, long words) { arena[words] = 1; }
