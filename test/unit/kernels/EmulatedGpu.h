//===- EmulatedGpu.h - device code in the emulator --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TEST_UNIT_KERNELS_EMULATEDGPU_H
#define NESTC_TEST_UNIT_KERNELS_EMULATEDGPU_H

#include "nest/code_abi.h"
#include "tools/ptx-emulator/Launch.h"

#include <memory>
#include <string>
#include <vector>

namespace nestc::test {

/// Runs the launches of an entry point in the PTX emulator.
class EmulatedGpu {
public:
  EmulatedGpu(const std::string &ptx, const std::vector<std::string> &kernels);

  /// Why the text was refused; empty when it was not.
  const std::string &error() const { return problem; }
  /// Calls an entry point whose `buffers` are blocks of the heap. `seed` 0: the
  /// last warp and block first, else at random. Returns what went wrong.
  std::string call(nest_entry entry, nest_call call,
                   const std::vector<void *> &buffers, unsigned seed);

  /// Whether launches count sectors and bank conflicts, and what those since
  /// then counted, by kernel.
  bool profile = false;
  std::vector<std::pair<std::string, ptx::Profile>> profiles;

private:
  static int32_t launch(void *self, int64_t kernel, const int64_t *geometry,
                        const int64_t *arguments, int64_t count);

  std::string problem;
  ptx::Device device;
  ptx::LoadedModule module;
  std::vector<ptx::Program> programs;
  std::vector<std::string> names;
  ptx::Schedule schedule;
};

} // namespace nestc::test

#endif // NESTC_TEST_UNIT_KERNELS_EMULATEDGPU_H
