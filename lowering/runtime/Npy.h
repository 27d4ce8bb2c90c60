//===- Npy.h - NumPy array files --------------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Versions 1 to 3 of .npy, little endian, the element types of DType that NumPy
// has. bf16 is stored as uint16. What is in Fortran order is read into C order.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_NPY_H
#define NESTC_LOWERING_RUNTIME_NPY_H

#include "lowering/runtime/DType.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Files.h"

#include <string>
#include <vector>

namespace nestc {
namespace rt {

/// An array read from a file. Data is aligned to its element size; it is the
/// mapped file where that allows it.
class NpyArray {
public:
  DType dtype = DType::F32;
  std::vector<int64_t> shape;

  const void *data() const { return pointer; }
  template <typename T>
  const T *as() const {
    return static_cast<const T *>(pointer);
  }
  /// Number of elements.
  int64_t count() const { return elements; }

private:
  friend Expected<NpyArray> readNpy(const std::string &path);
  const void *pointer = nullptr;
  int64_t elements = 0;
  MappedFile map;
  std::vector<uint64_t> copy; // when the file's data is not aligned or ordered
};

Expected<NpyArray> readNpy(const std::string &path);

/// The header of a .npy file (version 1, or 2 when it is long), padded so that
/// data begins at a multiple of 64.
std::string npyHeader(DType dtype, const std::vector<int64_t> &shape);

/// Writes atomically; `data` holds the dense elements.
Status writeNpy(const std::string &path, DType dtype,
                const std::vector<int64_t> &shape, const void *data);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_NPY_H
