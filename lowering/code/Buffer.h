//===- Buffer.h - memrefs inside generated code -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CODE_BUFFER_H
#define NESTC_LOWERING_CODE_BUFFER_H

#include "lowering/code/Code.h"

#include "mlir/IR/BuiltinTypes.h"

#include <optional>

namespace nestc::code {

/// A memref inside generated code: a pointer to its first element, and sizes
/// and strides in elements as i64.
struct Buffer {
  mlir::MemRefType type;
  Value pointer;
  llvm::SmallVector<Value> sizes;
  llvm::SmallVector<Value> strides;

  Type element() const { return type.getElementType(); }
  /// Leading dimensions count as rows, in row-major order.
  Value rows(Code &code) const;
  /// Size of the last dimension.
  Value columns() const { return sizes.back(); }
  /// Elements from one row to the next.
  Value rowStride(Code &code) const;
  Value row(Code &code, Value index) const;
  /// Of a table of i32, in row-major order: an entry as an i64, and back.
  Value entry(Code &code, Value index) const;
  void setEntry(Code &code, Value index, Value value) const;
};

/// The parts of a memref that are passed beside its pointer: dynamic sizes,
/// then dynamic strides.
unsigned numDynamicParts(mlir::MemRefType type);
llvm::SmallVector<Value> dynamicParts(const Buffer &buffer);
/// The inverse.
Buffer makeBuffer(Code &code, mlir::MemRefType type, Value pointer,
                  ValueRange parts);

/// Fails with an error at `op` when the generator cannot address `type`.
mlir::LogicalResult checkBuffer(mlir::Operation *op, mlir::MemRefType type);

/// Loads what an operand of a region sees at a place: `buffer` read through
/// `map`, whose dimensions are `dims`; dimension 0 is the row, others run along
/// the vector. `map` was checked by checkOperandMap.
Value loadOperand(Code &code, const Buffer &buffer, mlir::AffineMap map,
                  ValueRange dims, int64_t width);
mlir::LogicalResult checkOperandMap(mlir::Operation *op, mlir::MemRefType type,
                                    mlir::AffineMap map);
/// Whether every element type given is f32, bf16 or f16.
bool isFloatType(Type type);

/// An expression of a legal remap, of integers of the type that `constant`
/// makes.
Value evaluate(Code &code, mlir::AffineExpr expr, ValueRange dims,
               llvm::function_ref<Value(int64_t)> constant);

/// An argument of a region: what it is read through, and the operand, or one
/// for each of several sets of rows.
struct RegionInput {
  mlir::AffineMap map;
  mlir::OperandRange operands;
  bool perSet;
};
/// The inputs that `operands` are. Maps of `perSetDims` dimensions stand for
/// `groups` operands; what they say of the set is left out. Fails with an error
/// at `op` when the generator cannot read one.
mlir::FailureOr<llvm::SmallVector<RegionInput>>
regionInputs(mlir::Operation *op, mlir::OperandRange operands,
             mlir::ArrayAttr maps, unsigned perSetDims, int64_t groups);

using Sets = std::optional<llvm::ArrayRef<int64_t>>;

/// The set, counted from the first of `sets`, of packed row `row`.
Value setOf(Code &code, const Buffer &offsets, llvm::ArrayRef<int64_t> sets,
            Value row);

/// Fails with an error at `op` when an operand is there and no table of i32.
mlir::LogicalResult checkI32(mlir::Operation *op,
                             llvm::ArrayRef<Value> operands);

} // namespace nestc::code

#endif // NESTC_LOWERING_CODE_BUFFER_H
