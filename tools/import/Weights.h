//===- Weights.h - the tensors of a family, checked and declared -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_WEIGHTS_H
#define NESTC_TOOLS_IMPORT_WEIGHTS_H

#include "dialect/Nest.h"
#include "lowering/runtime/Safetensors.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <array>
#include <functional>
#include <string>

namespace nestc {

/// A line of a family's table: a tensor of the checkpoint, under the prefix
/// that it is declared with. The shape has a letter for each dimension, which a
/// SizeTable explains. The line counts when all features in `when` are there.
struct TensorRule {
  const char *name;
  const char *shape;
  unsigned when = 0;
};

/// How a tensor is declared beyond its shape.
struct TensorUse {
  /// A router's: multiplied in f32, whatever the others are multiplied in.
  bool exact = false;
  /// Of a tensor with `rows` rows (or, with `columns`, as many columns) the
  /// shape is those from `first` on; 0: it has no others. `meaning` is that of
  /// `rows`; the weight's name has `suffix` behind the tensor's.
  int64_t first = 0, rows = 0;
  std::string meaning = {};
  std::string suffix = {};
  bool columns = false;
  /// The dimensions behind the first one are one: a convolution as a matrix.
  bool joined = false;
};

/// What the letters of shapes stand for in one model (or in one of its layers).
class SizeTable {
public:
  struct Size {
    int64_t value = 0;
    std::string meaning; ///< in terms of the config: "hidden_size"
    std::string axis;    ///< the axis that such a dimension lies on, or empty
    int64_t inner = 1;   ///< of the dimension, for each element of the axis
  };
  void set(char letter, int64_t value, std::string meaning,
           std::string axis = {}, int64_t inner = 1) {
    sizes[static_cast<unsigned char>(letter) & 127] = {
        value, std::move(meaning), std::move(axis), inner};
  }
  const Size &operator[](char letter) const {
    return sizes[static_cast<unsigned char>(letter) & 127];
  }

private:
  std::array<Size, 128> sizes;
};

/// Checks tensors of a checkpoint against rules and declares them as
/// nest.weight. Matrices all have the element type of the first one (what they
/// are multiplied in), vectors are f32; a tensor that is stored otherwise says
/// so.
class WeightTable {
public:
  /// Weights are inserted by `builder`, at its insertion point.
  WeightTable(const rt::Checkpoint &checkpoint, mlir::OpBuilder &builder)
      : checkpoint(checkpoint), builder(builder) {}

  /// Declares every tensor of `rules` whose features are in `features`, names
  /// beginning with `prefix`. A tensor that is missing, of another shape or of
  /// a type that nothing is multiplied in, is an error.
  rt::Status declare(llvm::ArrayRef<TensorRule> rules, unsigned features,
                     const SizeTable &sizes, llvm::StringRef prefix = "",
                     const TensorUse &use = {});
  /// One tensor, its shape in the letters of `sizes`.
  rt::Status declare(llvm::StringRef name, llvm::StringRef letters,
                     const SizeTable &sizes, const TensorUse &use = {});

  /// After all declarations: an error when the checkpoint holds a tensor that
  /// was not declared and that `isHarmless` does not know.
  rt::Status
  checkNothingElse(llvm::function_ref<bool(llvm::StringRef)> isHarmless) const;

  /// The type of a declared weight; null when there is none of this name.
  mlir::RankedTensorType type(llvm::StringRef name) const {
    return types.lookup(name);
  }
  /// What matrices are multiplied in; null before the first one.
  mlir::Type multiplyType() const { return elementType; }

private:
  const rt::Checkpoint &checkpoint;
  mlir::OpBuilder &builder;
  mlir::Type elementType;
  llvm::StringMap<mlir::RankedTensorType> types;
  llvm::StringSet<> read; ///< tensors
};

/// "f32", "bf16" or "f16".
std::string typeName(mlir::Type type);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_WEIGHTS_H
