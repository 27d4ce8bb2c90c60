//===- TargetsTest.cpp - every GPU that code is made for ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatedGpu.h"
#include "Fixture.h"
#include "lowering/nvptx/Ptxas.h"

#include <set>

using namespace nestc;
using namespace nestc::test;
using std::string;
using std::vector;

/// A product in bf16, with the sum of the old value.
static const char *const matmul =
    "kernel.matmul ins(%a0 : memref<?x?x64xbf16>) weights(%a1 : "
    "memref<32x64xbf16>) by [] outs(%a2 : memref<?x?x32xf32>) {\n"
    "^bb0(%x: f32, %o: f32):\n%y = arith.addf %x, %o : f32\n"
    "kernel.yield %y : f32\n}";

TEST(GpuTargets, EachRunsAndAssembles) {
  std::optional<string> ptxas = findPtxas();
  Random random(3);
  Stored a(random.many(16 * 64), "bf16"), w(random.many(32 * 64), "bf16");
  vector<float> old = random.many(16 * 32);
  vector<double> expected(old.begin(), old.end());
  for (int64_t m = 0; m < 16; ++m)
    for (int64_t n = 0; n < 32; ++n)
      for (int64_t k = 0; k < 64; ++k)
        expected[m * 32 + n] +=
            double(a.values[m * 64 + k]) * w.values[n * 64 + k];
  for (const string &name : NvptxTarget::names()) {
    SCOPED_TRACE(name);
    Compiled code(oneKernel({"memref<?x?x64xbf16>", "memref<32x64xbf16>",
                             "memref<?x?x32xf32>"},
                            matmul),
                  name);
    ASSERT_EQ(code.error, "");
    EXPECT_NE(code.ptx.find(".target " + name + "\n"), string::npos)
        << code.ptx.substr(0, 200);
    vector<float> out = old;
    code.run({a.data(), w.data(), out.data()}, 1, 16);
    EXPECT_LE(worst(out, expected), 1e-5);
    if (!ptxas)
      continue;
    auto cubin = assemblePtx(*ptxas, code.ptx, *NvptxTarget::get(name));
    EXPECT_TRUE(bool(cubin)) << llvm::toString(cubin.takeError());
  }
}

TEST(GpuTargets, Names) {
  vector<string> names = NvptxTarget::names();
  EXPECT_EQ(std::set<string>(names.begin(), names.end()).size(), names.size());
  for (const char *name : {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90",
                           "sm_90a", "sm_100", "sm_100a", "sm_100f", "sm_103",
                           "sm_120", "sm_120a", "sm_120f", "sm_121"})
    EXPECT_TRUE(bool(NvptxTarget::get(name))) << name;
  for (const char *name : {"sm_75", "sm_80a", "sm_90f", "sm_120af", "sm_",
                           "sm_a", "sm_80 ", "SM_80", "80", "", "sm_088"}) {
    auto target = NvptxTarget::get(name);
    ASSERT_FALSE(bool(target)) << name;
    EXPECT_EQ(
        llvm::toString(target.takeError())
            .find("unknown GPU '" + string(name) + "'; known are sm_80, "),
        0u);
  }
  auto shared = [](const char *name) {
    return NvptxTarget::get(name)->sharedBytes / 1024;
  };
  for (const char *name : {"sm_86", "sm_89", "sm_120", "sm_121f"})
    EXPECT_EQ(shared(name), 99) << name;
  for (const char *name : {"sm_80", "sm_87"})
    EXPECT_EQ(shared(name), 163) << name;
  for (const char *name : {"sm_90a", "sm_100", "sm_103f", "sm_110"})
    EXPECT_EQ(shared(name), 227) << name;
}

/// What a target gives is asked for when code is made, not when it is loaded.
TEST(GpuTargets, SharedMemoryIsWhatTheTargetHas) {
  for (const string &name : NvptxTarget::names()) {
    auto target = NvptxTarget::get(name);
    EXPECT_EQ(static_cast<uint64_t>(target->sharedBytes),
              ptx::maxSharedBytes(target->sm))
        << name;
  }
}
