//===- Profile.h - what emulated kernels did --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_PROFILE_H
#define NESTC_TOOLS_NESTC_PROFILE_H

#include "lowering/runtime/Error.h"

#include <cstdint>
#include <string>

namespace nestc {

/// Sums up the lines that libnest-ptx writes to NEST_PTX_PROFILE: those behind
/// what the file has already, or of a temporary file where the variable is not
/// set.
class LaunchProfile {
public:
  LaunchProfile() = default;
  LaunchProfile(LaunchProfile &&other) noexcept;
  LaunchProfile &operator=(LaunchProfile &&) = delete;
  LaunchProfile(const LaunchProfile &) = delete;
  ~LaunchProfile();

  /// Before the package is loaded.
  static rt::Expected<LaunchProfile> start();
  /// A table with a row for each kernel, the one of most instructions first.
  rt::Expected<std::string> table() const;

private:
  std::string path;
  int64_t begin = 0;
  bool temporary = false;
};

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_PROFILE_H
