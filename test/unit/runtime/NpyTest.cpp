//===- NpyTest.cpp - NumPy array files --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Npy.h"
#include "Support.h"

#include <cstring>

using namespace nestc::rt;

TEST(Npy, RoundTrip) {
  ScratchDirectory dir;
  float values[6] = {0, 1, 2, 3, 4, 5};
  ASSERT_OK(writeNpy(dir / "a.npy", DType::F32, {2, 3}, values));
  Expected<NpyArray> array = readNpy(dir / "a.npy");
  ASSERT_OK(array);
  EXPECT_EQ(array->dtype, DType::F32);
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(array->count(), 6);
  EXPECT_EQ(std::memcmp(array->data(), values, sizeof values), 0);
  for (unsigned i = 0; i <= static_cast<unsigned>(DType::Bool); ++i) {
    DType type = static_cast<DType>(i);
    char data[24] = {};
    for (const std::vector<int64_t> &shape :
         {std::vector<int64_t>{}, {3}, {0}, {1, 3, 1}}) {
      ASSERT_OK(writeNpy(dir / "b.npy", type, shape, data));
      Expected<NpyArray> back = readNpy(dir / "b.npy");
      ASSERT_OK(back);
      EXPECT_EQ(back->shape, shape);
      EXPECT_EQ(byteSize(back->dtype), byteSize(type));
    }
  }
  EXPECT_EQ(npyHeader(DType::BF16, {1}).find("'<u2'") != std::string::npos,
            true);
}

static std::string npy(const std::string &dict, size_t data, int version = 1) {
  std::string text = "\x93NUMPY";
  text += static_cast<char>(version);
  text += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    text += static_cast<char>(dict.size() >> 8 * i);
  return text + dict + std::string(data, '\0');
}

TEST(Npy, FortranOrder) {
  ScratchDirectory dir;
  std::string text = npy("{'descr': '<i2', 'fortran_order': True, "
                         "'shape': (2, 3, 2), }\n",
                         24);
  for (int16_t i = 0; i < 12; ++i) // element [a, b, c] is 100 a + 10 b + c
    text[text.size() - 24 + 2 * i] =
        static_cast<char>(i % 2 * 100 + i / 2 % 3 * 10 + i / 6);
  ASSERT_OK(writeFile(dir / "f.npy", text));
  Expected<NpyArray> array = readNpy(dir / "f.npy");
  ASSERT_OK(array);
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3, 2}));
  std::vector<int16_t> values(array->as<int16_t>(), array->as<int16_t>() + 12);
  EXPECT_EQ(values, (std::vector<int16_t>{0, 1, 10, 11, 20, 21, 100, 101, 110,
                                          111, 120, 121}));
}

static Status openText(const std::string &text) {
  static ScratchDirectory dir;
  // Not writeFile, whose syncing takes its time over thousands of files.
  NEST_RT_ASSIGN(OutputFile out, OutputFile::create(dir / "a.npy"));
  NEST_RT_TRY(out.write(text));
  NEST_RT_TRY(out.close());
  NEST_RT_ASSIGN(NpyArray array, readNpy(dir / "a.npy"));
  volatile char sink = 0;
  for (size_t i = 0; i < *byteCount(array.dtype, array.shape); ++i)
    sink = sink + array.as<char>()[i];
  return Status::success();
}

TEST(Npy, Headers) {
  auto dict = [](const std::string &descr, const std::string &order,
                 const std::string &shape) {
    return "{'descr': '" + descr + "', 'fortran_order': " + order +
           ", 'shape': " + shape + ", }\n";
  };
  EXPECT_OK(openText(npy(dict("<i8", "False", "(2,)"), 16)));
  EXPECT_OK(openText(npy(dict("<i8", "False", "(2,)"), 16, 2)));
  EXPECT_OK(openText(npy(dict("<i8", "False", "(2,)"), 16, 3)));
  EXPECT_OK(openText(npy(dict("<i8", "False", "(2L, 1L)"), 16)));
  EXPECT_OK(openText(npy(dict("<f4", "True", "(2,)"), 8)));
  EXPECT_OK(openText(npy(dict("<f4", "True", "(2, 0, 3)"), 0)));
  EXPECT_OK(openText(npy(dict("|b1", "False", "()"), 1)));
  // Data that is not aligned.
  for (int pad = 0; pad < 8; ++pad)
    EXPECT_OK(openText(
        npy(dict("<i8", "False", "(2,)") + std::string(pad, ' '), 16)));
  expectError(openText(npy(dict("<i8", "False", "(2,)"), 16, 4)),
              ".npy version 4");
  expectError(openText("hello world, this is text"), "is no .npy file");
  expectError(openText(npy(dict(">f4", "False", "(2,)"), 8)),
              "elements of type \">f4\"");
  expectError(openText(npy(dict("|O", "False", "(2,)"), 8)), "\"|O\"");
  expectError(openText(npy(dict("<f4", "False", "(3,)"), 8)),
              "holds 8 bytes of data, but [3] of f32 needs 12");
  expectError(openText(npy(dict("<f4", "False", "(1,)"), 8)), "holds 8 bytes");
  for (const char *shape :
       {"(-1,)", "(2", "2", "(2 2)", "(99999999999999999999,)", "(,)", "[2]",
        "('2',)", "(2.0,)"})
    expectError(openText(npy(dict("<f4", "False", shape), 8)),
                "a header that cannot be read");
  expectError(openText(npy(dict("<f4", "Maybe", "(2,)"), 8)), "cannot be read");
  expectError(
      openText(npy(dict("<f4", "False", "(4611686018427387904, 4)"), 8)),
      "needs more than 2^63");
  std::string good = npy(dict("<i8", "False", "(2,)"), 16);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_TRUE(openText(good.substr(0, size)).failed()) << size;
  for (size_t i = 0; i < good.size() - 16; ++i)
    for (int bit = 0; bit < 8; bit += 3) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1 << bit);
      (void)openText(bad).failed();
    }
}
