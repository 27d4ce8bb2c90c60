//===- Types.cpp - fundamental types of PTX -------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Types.h"

using namespace nestc::ptx;

namespace {
struct Row {
  const char *name;
  Type type;
  unsigned bits;
};
} // namespace

static constexpr Row rows[] = {
    {".none", Type::None, 0},      {".pred", Type::Pred, 1},
    {".b8", Type::B8, 8},          {".b16", Type::B16, 16},
    {".b32", Type::B32, 32},       {".b64", Type::B64, 64},
    {".b128", Type::B128, 128},    {".u8", Type::U8, 8},
    {".u16", Type::U16, 16},       {".u32", Type::U32, 32},
    {".u64", Type::U64, 64},       {".s8", Type::S8, 8},
    {".s16", Type::S16, 16},       {".s32", Type::S32, 32},
    {".s64", Type::S64, 64},       {".f16", Type::F16, 16},
    {".bf16", Type::BF16, 16},     {".f32", Type::F32, 32},
    {".f64", Type::F64, 64},       {".f16x2", Type::F16x2, 32},
    {".bf16x2", Type::BF16x2, 32}, {".f32x2", Type::F32x2, 64},
    {".tf32", Type::TF32, 32},     {".e4m3", Type::E4M3, 8},
    {".e5m2", Type::E5M2, 8},      {".e4m3x2", Type::E4M3x2, 16},
    {".e5m2x2", Type::E5M2x2, 16}, {".u16x2", Type::U16x2, 32},
    {".s16x2", Type::S16x2, 32},   {".b1", Type::B1, 1},
    {".u4", Type::U4, 4},          {".s4", Type::S4, 4}};

std::optional<Type> nestc::ptx::typeFromName(std::string_view name) {
  for (const Row &row : rows)
    if (row.type != Type::None && name == row.name + 1)
      return row.type;
  return std::nullopt;
}

const char *nestc::ptx::typeName(Type type) {
  return rows[static_cast<unsigned>(type)].name;
}

unsigned nestc::ptx::typeBits(Type type) {
  return rows[static_cast<unsigned>(type)].bits;
}

const char *nestc::ptx::spaceName(Space space) {
  static const char *const names[] = {"generic", "global", "shared",
                                      "local",   "param",  "const"};
  return names[static_cast<unsigned>(space)];
}
