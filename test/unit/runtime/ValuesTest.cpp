//===- ValuesTest.cpp - types, conversions, hashes, host --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "lowering/runtime/CpuFeatures.h"
#include "lowering/runtime/DType.h"
#include "lowering/runtime/Sha256.h"

#include <cmath>
#include <cstring>

using namespace nestc::rt;

TEST(Error, IsOneLine) {
  EXPECT_EQ(Error("a.json", "is wrong", "right").str(),
            "a.json: is wrong; right");
  EXPECT_EQ(Error("", "is wrong").str(), "is wrong");
  EXPECT_EQ(Error("a\nb", "\x1b[31m").str(), "a\\nb: \\x1b[31m");
}

TEST(DType, NamesRoundTrip) {
  for (unsigned i = 0; i <= static_cast<unsigned>(DType::Bool); ++i) {
    DType type = static_cast<DType>(i);
    EXPECT_EQ(parseDType(name(type)), type);
    EXPECT_EQ(parseSafetensorsDType(safetensorsName(type)), type);
  }
  EXPECT_FALSE(parseDType("F32"));
  EXPECT_FALSE(parseSafetensorsDType("f32"));
}

TEST(DType, Counts) {
  EXPECT_EQ(elementCount({}), 1);
  EXPECT_EQ(elementCount({2, 3}), 6);
  EXPECT_EQ(elementCount({int64_t(1) << 40, 0, int64_t(1) << 20}), 0);
  EXPECT_FALSE(elementCount({int64_t(1) << 40, int64_t(1) << 40}));
  EXPECT_FALSE(elementCount({-1}));
  EXPECT_FALSE(byteCount(DType::F64, {int64_t(1) << 61}));
  EXPECT_EQ(byteCount(DType::BF16, {3}), 6u);
}

TEST(DType, HalfRoundTripsAndRounds) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    float half = f16ToF32(static_cast<uint16_t>(bits));
    float brain = bf16ToF32(static_cast<uint16_t>(bits));
    if (!std::isnan(half)) {
      ASSERT_EQ(f32ToF16(half), bits);
    } else {
      ASSERT_TRUE(std::isnan(f16ToF32(f32ToF16(half))));
    }
    if (!std::isnan(brain)) {
      ASSERT_EQ(f32ToBf16(brain), bits);
    } else {
      ASSERT_TRUE(std::isnan(bf16ToF32(f32ToBf16(brain))));
    }
  }
  EXPECT_EQ(f32ToF16(65519.0f), 0x7bff);
  EXPECT_EQ(f32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(f32ToF16(1e30f), 0x7c00);
  EXPECT_EQ(f32ToF16(1.0f + 0x1p-11f), 0x3c00); // half to even
  EXPECT_EQ(f32ToF16(1.0f + 0x3p-11f), 0x3c02);
  EXPECT_EQ(f32ToF16(0x1p-25f), 0);
  EXPECT_EQ(f32ToF16(0x1.8p-25f), 1);
  EXPECT_EQ(f32ToF16(0x1.ffcp-15f + 0x1p-26f), 0x400); // rounds to a normal
  EXPECT_EQ(f32ToBf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(f32ToBf16(1.0f + 0x3p-8f), 0x3f82);
}

TEST(DType, ConvertsElements) {
  float from[] = {1.5f, -2.0f};
  uint16_t brain[2], half[2];
  float back[2];
  EXPECT_TRUE(convertElements(DType::F32, from, DType::BF16, brain, 2));
  EXPECT_TRUE(convertElements(DType::BF16, brain, DType::F16, half, 2));
  EXPECT_TRUE(convertElements(DType::F16, half, DType::F32, back, 2));
  EXPECT_EQ(std::memcmp(from, back, sizeof from), 0);
  EXPECT_FALSE(convertElements(DType::I32, from, DType::F32, back, 2));
}

TEST(Sha256, StandardVectors) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495"
                        "991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb4"
                           "10ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 million;
  for (int i = 0; i < 1000; ++i)
    million.update(std::string(1000, 'a').data(), 1000);
  EXPECT_EQ(million.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e"
                              "046d39ccc7112cd0");
  // Every length around the block size, at once and byte by byte.
  for (size_t size = 0; size < 200; ++size) {
    std::string text(size, 'x');
    Sha256 pieces;
    for (char c : text)
      pieces.update(&c, 1);
    EXPECT_EQ(pieces.finish(), sha256(text));
  }
}

TEST(CpuFeatures, NamesWhatIsMissing) {
  EXPECT_OK(checkCpuFeatures(hostCpuFeatures(), "pkg"));
  expectError(checkCpuFeatures({"teleport"}, "pkg"),
              "pkg: was compiled for the processor feature \"teleport\"");
#if defined(__x86_64__)
  std::vector<std::string> host = hostCpuFeatures();
  auto has = [&](const char *name) {
    return std::find(host.begin(), host.end(), name) != host.end();
  };
  __builtin_cpu_init();
  EXPECT_EQ(has("avx2"), static_cast<bool>(__builtin_cpu_supports("avx2")));
  EXPECT_EQ(has("fma"), static_cast<bool>(__builtin_cpu_supports("fma")));
  EXPECT_EQ(has("avx512f"),
            static_cast<bool>(__builtin_cpu_supports("avx512f")));
  EXPECT_EQ(has("avx512bw"),
            static_cast<bool>(__builtin_cpu_supports("avx512bw")));
  for (const std::string &name : knownCpuFeatures())
    if (!has(name.c_str())) {
      expectError(checkCpuFeatures({name}, "pkg"), name + ", which this host");
      break;
    }
#endif
}
