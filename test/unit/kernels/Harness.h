//===- Harness.h - compiles and runs kernels written by hand -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TEST_UNIT_KERNELS_HARNESS_H
#define NESTC_TEST_UNIT_KERNELS_HARNESS_H

#include "lowering/cpu/CodeGen.h"
#include "lowering/runtime/include/nest/code_abi.h"

#include "mlir/IR/MLIRContext.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace nestc::test {

class EmulatedGpu;

/// A module's code, loaded. `text` has kernel definitions and entries.
class Compiled {
public:
  Compiled(const std::string &text, const std::string &level);
  ~Compiled();
  /// Empty when all went well.
  std::string error;
  int64_t scratch = 0;
  /// Seconds of the passes, of the code generator and of the linker.
  double passSeconds = 0, codeSeconds = 0, linkSeconds = 0;
  size_t objectBytes = 0;
  /// Of a GPU's code, its text.
  std::string ptx;

  /// Calls nest_entry_e. Tasks run in reverse order on one thread, or in order
  /// on `threads`; of a GPU, warps and blocks. Each buffer is a block of the
  /// heap of its own, which is all of it that a GPU's code may touch.
  void run(const std::vector<void *> &buffers, int64_t b, int64_t t,
           int threads = 0, void *arena = nullptr);

  /// Of a GPU's code; else null.
  EmulatedGpu *device() { return gpu.get(); }

private:
  std::string directory;
  std::unique_ptr<EmulatedGpu> gpu;
  void *library = nullptr;
  nest_entry entry = nullptr;
};

/// A module of one definition @k with `arguments` (types), whose operation is
/// `body` on %a0, %a1 ..., and an entry that launches it.
std::string oneKernel(const std::vector<std::string> &arguments,
                      const std::string &body);

/// The levels this host can run, the widest last, and GPUs in the emulator, of
/// which ctest takes sm_80 and a part of the others (CMakeLists.txt).
std::vector<std::string> levels();
/// The GPU of tests that take one: NEST_TEST_GPU, or sm_80.
std::string gpuLevel();

/// Deterministic values in [-1, 1).
class Random {
public:
  explicit Random(uint64_t seed)
      : state(seed * 2654435761u + 88172645463325252u) {}
  float next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<float>(static_cast<double>(state >> 11) / (1ull << 52) -
                              1);
  }
  std::vector<float> many(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float &value : values)
      value = next() * scale;
    return values;
  }

private:
  uint64_t state;
};

/// f32 values as memory of type "f32", "bf16" or "f16", and what they became.
struct Stored {
  Stored(const std::vector<float> &from, const std::string &type);
  std::vector<char> bytes;
  std::vector<float> values;
  void *data() { return bytes.data(); }
};
float roundTo(float value, const std::string &type);
/// The values of memory of a type.
std::vector<float> widen(const std::vector<char> &bytes,
                         const std::string &type);

} // namespace nestc::test

#endif // NESTC_TEST_UNIT_KERNELS_HARNESS_H
