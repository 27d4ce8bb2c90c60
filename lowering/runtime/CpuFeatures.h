//===- CpuFeatures.h - what this processor can do ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_CPUFEATURES_H
#define NESTC_LOWERING_RUNTIME_CPUFEATURES_H

#include "lowering/runtime/Error.h"

#include <string>
#include <string_view>
#include <vector>

namespace nestc {
namespace rt {

/// The features of this host, by LLVM's names (avx2, fma, avx512f, ...): those
/// that processor and operating system both support, of the ones this library
/// knows. Empty on other architectures than x86-64.
std::vector<std::string> hostCpuFeatures();

/// All names this library knows.
std::vector<std::string> knownCpuFeatures();

/// An error that names the first of `required` which this host lacks, or which
/// this library does not know. `place` is the package.
Status checkCpuFeatures(const std::vector<std::string> &required,
                        const std::string &place);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_CPUFEATURES_H
