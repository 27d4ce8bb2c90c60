//===- DType.h - element types of files and buffers -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_DTYPE_H
#define NESTC_LOWERING_RUNTIME_DTYPE_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nestc {
namespace rt {

/// Element types that files can hold. Kernels use a few of them only.
enum class DType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  F8E4M3,
  F8E5M2,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  Bool
};

/// Bytes of one element.
unsigned byteSize(DType type);

/// The name in a manifest and on the command line: f32, bf16, i32, u8, bool.
const char *name(DType type);
std::optional<DType> parseDType(std::string_view name);

/// The name in a safetensors header: F32, BF16, I32, U8, BOOL, F8_E4M3.
const char *safetensorsName(DType type);
std::optional<DType> parseSafetensorsDType(std::string_view name);

/// All names, for "what is legal": "f64, f32, ...".
std::string allDTypeNames();
std::string allSafetensorsDTypeNames();

/// Product of the sizes (1 for rank 0); nothing when a size is negative or the
/// product exceeds int64.
std::optional<int64_t> elementCount(const std::vector<int64_t> &shape);

/// Bytes of a dense tensor; nothing on overflow or a negative size.
std::optional<uint64_t> byteCount(DType type,
                                  const std::vector<int64_t> &shape);

/// "[4, 64]".
std::string shapeString(const std::vector<int64_t> &shape);

/// Conversions of single elements as kernels do them: round to nearest even.
float bf16ToF32(uint16_t bits);
float f16ToF32(uint16_t bits);
uint16_t f32ToBf16(float value);
uint16_t f32ToF16(float value);

/// Converts `count` elements between f32, f16 and bf16 (and f64 as a source).
/// Returns false when the pair is not one of these. `from` and `to` need no
/// alignment and must not overlap.
bool convertElements(DType fromType, const void *from, DType toType, void *to,
                     int64_t count);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_DTYPE_H
