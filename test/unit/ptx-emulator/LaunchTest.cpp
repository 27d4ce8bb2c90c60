//===- LaunchTest.cpp - kernels run over a grid ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Launch.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Parser.h"

#include "gtest/gtest.h"

#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

namespace {

/// A kernel `k(.param .u64 out)` with some registers, and a buffer.
class PtxLaunch : public ::testing::Test {
protected:
  void compile(const std::string &body, const std::string &module = "",
               const std::string &target = "sm_80") {
    auto parsed = parse(".version 8.0\n.target " + target +
                            "\n.address_size 64\n" + module +
                            "\n.visible .entry k(.param .u64 out)\n{\n"
                            "  .reg .b32 %r<20>;\n  .reg .b64 %a<20>;\n"
                            "  .reg .pred %p<4>;\n" +
                            body + "\n}\n",
                        "t.ptx");
    ASSERT_FALSE(parsed.failed()) << parsed.error().str();
    auto loadedModule = load(device, std::move(*parsed));
    ASSERT_FALSE(loadedModule.failed()) << loadedModule.error().str();
    loaded = std::move(*loadedModule);
    auto decoded = decode(loaded, "k");
    ASSERT_FALSE(decoded.failed()) << decoded.error().str();
    program = std::move(*decoded);
  }

  /// Runs it; the fault's text or "".
  std::string run(unsigned words = 1024) {
    out.assign(words, 0);
    uint64_t address = device.map(out.data(), words * 4, "out");
    config.params.resize(8);
    std::memcpy(config.params.data(), &address, 8);
    auto result = launch(device, program, config);
    device.release(address);
    if (result.failed())
      return result.error().str();
    profile = result->profile;
    return result->fault ? result->fault->str() : "";
  }

  Device device;
  LoadedModule loaded;
  Program program;
  LaunchConfig config;
  Profile profile;
  std::vector<uint32_t> out;
};

/// %r0 = the number of the thread in the grid, %a0 = its word of `out`.
constexpr const char *ownWord = R"(
  ld.param.u64 %a0, [out];
  mov.u32 %r0, %tid.x;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mad.lo.u32 %r0, %r1, %r2, %r0;
  mul.wide.u32 %a1, %r0, 4;
  add.u64 %a0, %a0, %a1;
)";

} // namespace

TEST_F(PtxLaunch, LeastAndLargestNotBelowZero) {
  compile(R"(
  ld.param.u64 %a0, [out];
  min.relu.s32 %r0, 5, -3;
  st.global.u32 [%a0], %r0;
  min.relu.s32 %r0, 5, 7;
  st.global.u32 [%a0+4], %r0;
  max.relu.s32 %r0, -5, -3;
  st.global.u32 [%a0+8], %r0;
  mov.b32 %r1, 0x0005fffe;
  mov.b32 %r2, 0x0007ffff;
  max.relu.s16x2 %r0, %r1, %r2;
  st.global.u32 [%a0+12], %r0;
  min.relu.s16x2 %r0, %r1, %r2;
  st.global.u32 [%a0+16], %r0;
  ret;)",
          "", "sm_90");
  ASSERT_EQ(run(5), "");
  EXPECT_EQ(out, (std::vector<uint32_t>{0, 5, 0, 0x70000, 0x50000}));
}

TEST_F(PtxLaunch, EveryThreadOfTheGrid) {
  compile(std::string(ownWord) + "  st.global.u32 [%a0], %r0;\n  ret;");
  config.grid[0] = 5;
  config.block[0] = 70;
  for (auto kind : {Schedule::Kind::RoundRobin, Schedule::Kind::Reverse,
                    Schedule::Kind::Random}) {
    config.schedule = {kind, 7};
    EXPECT_EQ(run(350), "");
    for (uint32_t i = 0; i < 350; ++i)
      ASSERT_EQ(out[i], i);
  }
  EXPECT_EQ(profile.threadInstructions, 350u * 9);
  EXPECT_EQ(profile.warpInstructions, 5u * 3 * 9);
  EXPECT_EQ(profile.globalBytes[1], 350u * 4);
}

TEST_F(PtxLaunch, FirstFaultOfTheScheduleIsTold) {
  compile(std::string(ownWord) + "  st.global.u32 [%a0], %r0;\n  ret;");
  config.grid[0] = 64;
  config.block[0] = 32;
  for (int trial = 0; trial < 20; ++trial) {
    std::string fault = run(33);
    EXPECT_EQ(
        fault.find("k:18: block (1,0,0) thread (1,0,0): store of 4 bytes "), 0u)
        << fault;
    EXPECT_NE(fault.find("is 0 bytes beyond out of 132 bytes"),
              std::string::npos)
        << fault;
  }
}

TEST_F(PtxLaunch, UndefinedTravelsAndFailsWhereItMatters) {
  // The upper half of %r9 is never set: the lower half may be used.
  compile(std::string(ownWord) + R"(
  .reg .b16 %h<3>;
  mov.u16 %h0, 7;
  mov.b32 %r9, {%h0, %h1};
  and.b32 %r9, %r9, 0xffff;
  st.global.u32 [%a0], %r9;
  ret;)");
  EXPECT_EQ(run(), "");
  EXPECT_EQ(out[0], 7u);
  compile(std::string(ownWord) + R"(
  add.u32 %r9, %r8, 1;
  st.global.u32 [%a0], %r9;
  ret;)");
  EXPECT_EQ(run(), "k:20: block (0,0,0) thread (0,0,0): an undefined value is "
                   "stored to global memory");
  compile(std::string(ownWord) + R"(
  @%p1 bra $end;
  st.global.u32 [%a0], %r0;
$end:
  ret;)");
  EXPECT_EQ(run(), "k:19: block (0,0,0) thread (0,0,0): the predicate that the "
                   "branch depends on is undefined");
}

TEST_F(PtxLaunch, MisalignedNullAndParameters) {
  compile("  ld.param.u64 %a0, [out];\n  st.global.u32 [%a0+2], 1;\n  ret;");
  EXPECT_NE(run().find("is misaligned: it has to be a multiple of 4"),
            std::string::npos);
  compile("  mov.u64 %a0, 0;\n  ld.global.u32 %r0, [%a0];\n  ret;");
  EXPECT_NE(run().find("a null pointer"), std::string::npos);
  compile("  ld.param.u64 %a0, [out+8];\n  ret;");
  EXPECT_NE(run().find("outside the kernel's 8 bytes of parameters"),
            std::string::npos);
}

TEST_F(PtxLaunch, LoopsAreBounded) {
  compile("$loop:\n  bra $loop;");
  config.maxSteps = 1000;
  EXPECT_EQ(run(), "k: more than 1000 operations of a block's warps; raise the "
                   "limit if that is what it needs");
}

TEST_F(PtxLaunch, LimitsOfALaunch) {
  compile("  ret;");
  config.block[0] = 1025;
  EXPECT_NE(run().find("each extent is 1 to 1024"), std::string::npos);
  config.block[0] = 512;
  config.block[1] = 4;
  EXPECT_EQ(run(), "k: a block of 2048 threads; at most 1024");
  config.block[0] = config.block[1] = 1;
  config.dynamicShared = 200 << 10;
  EXPECT_EQ(run(), "k: 204800 bytes of shared memory; a block on sm_80 has at "
                   "most 166912");
}
