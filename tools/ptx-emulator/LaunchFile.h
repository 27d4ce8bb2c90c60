//===- LaunchFile.h - the launch file of the command ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What `ptx-emulator --launch FILE.json` reads: a kernel's name, its grid and
// block, and its arguments. Buffers are .npy files, each an allocation of its
// own.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_LAUNCHFILE_H
#define NESTC_TOOLS_PTX_EMULATOR_LAUNCHFILE_H

#include "lowering/runtime/DType.h"
#include "tools/ptx-emulator/Launch.h"

namespace nestc {
namespace ptx {

/// A buffer to write when the kernel has run.
struct OutputFile {
  std::string path;
  rt::DType dtype;
  std::vector<int64_t> shape;
  uint64_t address; ///< on the device
};

struct LaunchFile {
  std::string kernel;
  LaunchConfig config;
  /// Values of the arguments as bytes, to be laid out as the kernel has them.
  std::vector<std::vector<uint8_t>> arguments;
  std::vector<OutputFile> outputs;
};

/// Reads it and puts its buffers on the device.
rt::Expected<LaunchFile> readLaunchFile(const std::string &path,
                                        Device &device);

/// Lays the arguments out as parameters of a program.
rt::Status bindArguments(LaunchFile &launch, const std::string &path,
                         const Program &program);

/// Writes the outputs, atomically each.
rt::Status writeOutputs(const LaunchFile &launch, Device &device);

/// The profile as the command prints it (docs/PtxEmulator.md has the keys); an
/// indent of 0: in one line.
std::string profileJson(const std::string &kernel, const Profile &profile,
                        unsigned indent = 2);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_LAUNCHFILE_H
