//===- DType.cpp - element types of files and buffers -----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/DType.h"

#include <cmath>
#include <cstring>

namespace nestc {
namespace rt {

namespace {
struct Row {
  DType type;
  const char *name;
  const char *safetensors;
  unsigned bytes;
};
} // namespace

static const Row table[] = {
    {DType::F64, "f64", "F64", 8},
    {DType::F32, "f32", "F32", 4},
    {DType::F16, "f16", "F16", 2},
    {DType::BF16, "bf16", "BF16", 2},
    {DType::F8E4M3, "f8e4m3", "F8_E4M3", 1},
    {DType::F8E5M2, "f8e5m2", "F8_E5M2", 1},
    {DType::I64, "i64", "I64", 8},
    {DType::I32, "i32", "I32", 4},
    {DType::I16, "i16", "I16", 2},
    {DType::I8, "i8", "I8", 1},
    {DType::U64, "u64", "U64", 8},
    {DType::U32, "u32", "U32", 4},
    {DType::U16, "u16", "U16", 2},
    {DType::U8, "u8", "U8", 1},
    {DType::Bool, "bool", "BOOL", 1},
};

static const Row &row(DType type) { return table[static_cast<unsigned>(type)]; }

unsigned byteSize(DType type) { return row(type).bytes; }
const char *name(DType type) { return row(type).name; }
const char *safetensorsName(DType type) { return row(type).safetensors; }

std::optional<DType> parseDType(std::string_view name) {
  for (const Row &row : table)
    if (name == row.name)
      return row.type;
  return std::nullopt;
}

std::optional<DType> parseSafetensorsDType(std::string_view name) {
  for (const Row &row : table)
    if (name == row.safetensors)
      return row.type;
  return std::nullopt;
}

std::string allDTypeNames() {
  std::string names;
  for (const Row &row : table)
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

std::string allSafetensorsDTypeNames() {
  std::string names;
  for (const Row &row : table)
    names += (names.empty() ? "" : ", ") + std::string(row.safetensors);
  return names;
}

std::optional<int64_t> elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0)
      return std::nullopt;
    if (size == 0)
      empty = true;
    else if (__builtin_mul_overflow(count, size, &count))
      return std::nullopt;
  }
  return empty ? 0 : count;
}

std::optional<uint64_t> byteCount(DType type,
                                  const std::vector<int64_t> &shape) {
  std::optional<int64_t> count = elementCount(shape);
  int64_t bytes;
  // Stays within int64, so that a byte count can be an offset anywhere.
  if (!count || __builtin_mul_overflow(
                    *count, static_cast<int64_t>(byteSize(type)), &bytes))
    return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string shapeString(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

float bf16ToF32(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

float f16ToF32(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  uint32_t wide;
  if (exponent == 31) {
    wide = sign | 0x7f800000 | (fraction << 13);
  } else if (exponent != 0) {
    wide = sign | ((exponent + 112) << 23) | (fraction << 13);
  } else {
    // Zero and subnormals are exact multiples of 2^-24.
    float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

uint16_t f32ToBf16(float value) {
  uint32_t wide;
  std::memcpy(&wide, &value, 4);
  if ((wide & 0x7fffffff) > 0x7f800000)
    return static_cast<uint16_t>((wide >> 16) | 0x40); // quiet NaN
  return static_cast<uint16_t>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
}

uint16_t f32ToF16(float value) {
  uint32_t wide;
  std::memcpy(&wide, &value, 4);
  uint32_t sign = (wide >> 16) & 0x8000;
  uint32_t magnitude = wide & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x47800000) // 65536 and above; 65520..65535 round up below
    return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) { // below the smallest normal, 2^-14
    float positive;
    std::memcpy(&positive, &magnitude, 4);
    // Scaling is exact; nearbyint rounds half to even.
    return static_cast<uint16_t>(
        sign | static_cast<uint32_t>(std::nearbyint(positive * 0x1p24f)));
  }
  uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

bool convertElements(DType fromType, const void *from, DType toType, void *to,
                     int64_t count) {
  const auto *source = static_cast<const char *>(from);
  auto *target = static_cast<char *>(to);
  auto isFloat = [](DType type) {
    return type == DType::F32 || type == DType::F16 || type == DType::BF16;
  };
  if ((!isFloat(fromType) && fromType != DType::F64) || !isFloat(toType))
    return false;
  if (fromType == toType) {
    std::memcpy(target, source, static_cast<size_t>(count) * byteSize(toType));
    return true;
  }
  for (int64_t i = 0; i < count; ++i) {
    float value;
    uint16_t half;
    double wide;
    switch (fromType) {
    case DType::F64:
      std::memcpy(&wide, source + i * 8, 8);
      value = static_cast<float>(wide);
      break;
    case DType::F32:
      std::memcpy(&value, source + i * 4, 4);
      break;
    case DType::F16:
      std::memcpy(&half, source + i * 2, 2);
      value = f16ToF32(half);
      break;
    default:
      std::memcpy(&half, source + i * 2, 2);
      value = bf16ToF32(half);
      break;
    }
    if (toType == DType::F32) {
      std::memcpy(target + i * 4, &value, 4);
    } else {
      half = toType == DType::F16 ? f32ToF16(value) : f32ToBf16(value);
      std::memcpy(target + i * 2, &half, 2);
    }
  }
  return true;
}

} // namespace rt
} // namespace nestc
