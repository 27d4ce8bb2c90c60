//===- Target.cpp - the GPUs that code is made for ------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Pipeline.h"

#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace {
/// sm_NN; PTX versions as 10 * major + minor, 0 where there is no such target.
struct Row {
  unsigned sm;
  unsigned plain;  ///< PTX of sm_NN: what has it and all that generators use
  unsigned exact;  ///< of sm_NNa, for this compute capability alone
  unsigned family; ///< of sm_NNf, for later ones of the same major version too
  unsigned shared; ///< KiB of shared memory that a block may have
};
} // namespace

// The intersection of what LLVM 22 and ptxas of CUDA 13.0 know.
static constexpr Row rows[] = {
    {80, 80, 0, 0, 163},    {86, 80, 0, 0, 99},     {87, 80, 0, 0, 163},
    {89, 80, 0, 0, 99},     {90, 80, 80, 0, 227},   {100, 86, 86, 88, 227},
    {103, 88, 88, 88, 227}, {110, 90, 90, 90, 227}, {120, 87, 87, 88, 99},
    {121, 88, 88, 88, 99},
};

static void addName(std::vector<std::string> &to, const Row &row,
                    const char *suffix) {
  to.push_back("sm_" + std::to_string(row.sm) + suffix);
}

std::vector<std::string> nestc::NvptxTarget::names() {
  std::vector<std::string> result;
  for (const Row &row : rows) {
    addName(result, row, "");
    if (row.exact)
      addName(result, row, "a");
    if (row.family)
      addName(result, row, "f");
  }
  return result;
}

Expected<nestc::NvptxTarget> nestc::NvptxTarget::get(StringRef name) {
  StringRef number = name;
  bool known = number.consume_front("sm_");
  bool exact = known && number.consume_back("a");
  bool family = known && !exact && number.consume_back("f");
  unsigned sm;
  if (known && !number.getAsInteger(10, sm))
    for (const Row &row : rows) {
      unsigned ptx = exact ? row.exact : family ? row.family : row.plain;
      if (row.sm == sm && ptx)
        return NvptxTarget{sm, name.str(), "+ptx" + std::to_string(ptx),
                           int64_t(row.shared) * 1024};
    }
  return createStringError(inconvertibleErrorCode(), "unknown GPU '" + name +
                                                         "'; known are " +
                                                         join(names(), ", "));
}
