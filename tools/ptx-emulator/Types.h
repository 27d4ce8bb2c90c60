//===- Types.h - fundamental types of PTX -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_TYPES_H
#define NESTC_TOOLS_PTX_EMULATOR_TYPES_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace nestc {
namespace ptx {

/// Types of registers, variables and instructions. Packed types (f16x2) and
/// those of tensor instructions (tf32, e4m3) never declare a register.
enum class Type : uint8_t {
  None,
  Pred,
  B8,
  B16,
  B32,
  B64,
  B128,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  BF16,
  F32,
  F64,
  F16x2,
  BF16x2,
  F32x2,
  TF32,
  E4M3,
  E5M2,
  E4M3x2,
  E5M2x2,
  U16x2,
  S16x2,
  B1,
  U4,
  S4
};

/// Of "f32", with no dot.
std::optional<Type> typeFromName(std::string_view name);
/// ".f32"
const char *typeName(Type type);
/// Bits of a value: 1 for predicates.
unsigned typeBits(Type type);
inline unsigned typeBytes(Type type) { return (typeBits(type) + 7) / 8; }

inline bool isUnsignedInt(Type t) { return t >= Type::U8 && t <= Type::U64; }
inline bool isSignedInt(Type t) { return t >= Type::S8 && t <= Type::S64; }
inline bool isInt(Type t) { return t >= Type::U8 && t <= Type::S64; }
inline bool isBits(Type t) { return t >= Type::B8 && t <= Type::B128; }
inline bool isFloat(Type t) { return t >= Type::F16 && t <= Type::F64; }

/// State spaces. Generic is an address that says its space itself.
enum class Space : uint8_t { Generic, Global, Shared, Local, Param, Const };
const char *spaceName(Space space);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_TYPES_H
