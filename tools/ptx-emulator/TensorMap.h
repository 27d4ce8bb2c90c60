//===- TensorMap.h - what a tensor copy moves -------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// CUDA driver API, cuTensorMapEncodeTiled: a tensor in global memory and the
// box of it that one instruction copies. The 128 bytes that a kernel gets are
// opaque to it; their layout here is our own.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_TENSORMAP_H
#define NESTC_TOOLS_PTX_EMULATOR_TENSORMAP_H

#include "lowering/runtime/Error.h"

#include <cstdint>
#include <optional>

namespace nestc {
namespace ptx {

struct TensorMap {
  static constexpr unsigned bytes = 128, align = 64, mostRank = 5;

  /// In the order of CUtensorMapDataType.
  enum class Element : uint8_t {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F64,
    BF16,
    F32Ftz,
    TF32,
    TF32Ftz,
    Count
  };

  Element element = Element::U8;
  unsigned rank = 1;
  uint64_t address = 0;
  uint64_t extent[mostRank] = {1, 1, 1, 1, 1}; ///< innermost first
  uint64_t stride[mostRank] = {};              ///< bytes; [0] is not read
  uint32_t box[mostRank] = {1, 1, 1, 1, 1};    ///< elements
  uint32_t step[mostRank] = {1, 1, 1, 1,
                             1}; ///< of the elements that are copied
  /// Chunks of 16 bytes change places within 16 << swizzle bytes; 0: none.
  unsigned swizzle = 0;
  bool fillNaN = false; ///< what lies outside the tensor is NaN, not zero

  unsigned elementBytes() const;
  /// Elements of the box along a dimension that are copied.
  uint32_t copied(unsigned dimension) const {
    return (box[dimension] + step[dimension] - 1) / step[dimension];
  }
  /// Bytes of a row of the box, and of all of it, in shared memory.
  uint32_t rowBytes() const { return box[0] * elementBytes(); }
  uint32_t boxBytes() const;

  /// What cuTensorMapEncodeTiled refuses; the error's place is left empty.
  rt::Status check() const;
  /// The map has to pass check().
  void encode(uint8_t *to) const;
  /// Nothing when the bytes are no tensor map.
  static std::optional<TensorMap> decode(const uint8_t *from);
};

/// "bf16" and the like, in the order of TensorMap::Element.
extern const char *const
    elementNames[static_cast<unsigned>(TensorMap::Element::Count)];

/// Where the byte at `address` in shared memory lies when chunks of 16 bytes
/// change places within 16 << bits bytes. The pattern depends on the address
/// itself; `base` shifts it by rows of 128 bytes.
inline uint32_t swizzled(uint32_t address, unsigned bits, unsigned base = 0) {
  return address ^ (((address >> 7) - base) & ((1u << bits) - 1)) << 4;
}

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_TENSORMAP_H
