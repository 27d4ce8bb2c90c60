//===- Code.h - a builder for loops on pointers and vectors -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What kernels and entry points are written with. Integers are i64,
// memory is !llvm.ptr, loops are scf, arithmetic is arith on vectors of `lanes`
// f32, or of one f32 where a row ends: ragged ends are loops over single
// columns, so that no masks are needed and every target makes good code.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CODE_CODE_H
#define NESTC_LOWERING_CODE_CODE_H

#include "dialect/Nest.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nestc::code {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using mlir::VectorType;

/// f32 values in a scratch area are rounded up to this many, so that every
/// part of it starts a cache line.
inline constexpr int64_t lineFloats = 16;

class Code : public mlir::ImplicitLocOpBuilder {
public:
  Code(mlir::Location location, mlir::OpBuilder at, int64_t lanes)
      : ImplicitLocOpBuilder(location, at), lanes(lanes) {}

  /// f32 in a vector register of the target.
  const int64_t lanes;

  //===--------------------------------------------------------------------===//
  // Integers
  //===--------------------------------------------------------------------===//

  Type i64Type() { return getI64Type(); }
  Type ptrType() { return mlir::LLVM::LLVMPointerType::get(getContext()); }
  Value i64(int64_t value);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value add(Value a, int64_t b) { return add(a, i64(b)); }
  Value sub(Value a, int64_t b) { return sub(a, i64(b)); }
  Value mul(Value a, int64_t b) { return mul(a, i64(b)); }
  /// Of non-negative values, rounded down.
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value div(Value a, int64_t b) { return div(a, i64(b)); }
  Value rem(Value a, int64_t b) { return rem(a, i64(b)); }
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value min(Value a, int64_t b) { return min(a, i64(b)); }
  Value max(Value a, int64_t b) { return max(a, i64(b)); }
  Value ceilDiv(Value a, Value b) { return div(add(a, sub(b, 1)), b); }
  Value ceilDiv(Value a, int64_t b) { return div(add(a, b - 1), b); }
  Value roundUp(Value a, int64_t b) { return mul(ceilDiv(a, b), b); }
  Value less(Value a, Value b);
  Value less(Value a, int64_t b) { return less(a, i64(b)); }
  Value equal(Value a, int64_t b);
  /// 0 <= value < count.
  Value inside(Value value, Value count);
  Value select(Value condition, Value a, Value b);
  /// An i32 of memory as an i64, and back.
  Value loadI32(Value pointer);
  void storeI32(Value value, Value pointer);

  //===--------------------------------------------------------------------===//
  // Control flow
  //===--------------------------------------------------------------------===//

  using LoopBody = llvm::function_ref<llvm::SmallVector<Value>(
      Value index, ValueRange carried)>;
  /// for (index = low; index < high; index += step), with carried values.
  llvm::SmallVector<Value> loop(Value low, Value high, int64_t step,
                                ValueRange carried, LoopBody body);
  void loop(Value low, Value high, int64_t step,
            llvm::function_ref<void(Value index)> body);
  void loop(Value high, llvm::function_ref<void(Value index)> body) {
    loop(i64(0), high, 1, body);
  }
  void when(Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = nullptr);
  /// The sum over columns of integers that `body` gives as vectors of i32.
  Value countColumns(Value count,
                     llvm::function_ref<Value(Value, int64_t)> body);
  /// Columns 0 .. count-1: whole vectors, then one by one. `body` gets the
  /// first column and how many there are.
  void columns(Value count,
               llvm::function_ref<void(Value column, int64_t width)> body);
  /// Sums over columns; `body` yields vectors of `width`, the results are f32.
  llvm::SmallVector<Value>
  sumColumns(Value count, unsigned sums,
             llvm::function_ref<llvm::SmallVector<Value>(Value, int64_t)> body);

  //===--------------------------------------------------------------------===//
  // Memory
  //===--------------------------------------------------------------------===//

  /// &pointer[index], elements of `type`.
  Value at(Value pointer, Type type, Value index);
  Value at(Value pointer, Type type, int64_t index);
  Value atF32(Value pointer, Value index) {
    return at(pointer, getF32Type(), index);
  }
  Value atF32(Value pointer, int64_t index) {
    return at(pointer, getF32Type(), index);
  }
  Value load(Type type, Value pointer);
  void store(Value value, Value pointer);
  /// `width` values of memory as vector<width x f32>; `stored` is f32, bf16 or
  /// f16.
  Value loadVector(Type stored, Value pointer, int64_t width);
  /// The inverse; rounds to nearest, ties to even.
  virtual void storeVector(Type stored, Value vector, Value pointer);
  /// Slot `index` of a table of 8-byte values.
  Value slot(Value table, int64_t index, Type type);
  void setSlot(Value table, int64_t index, Value value);
  /// A table of `count` 8-byte slots on the stack. Only outside loops.
  Value table(int64_t count);

  //===--------------------------------------------------------------------===//
  // f32 vectors
  //===--------------------------------------------------------------------===//

  VectorType f32Vector(int64_t width) {
    return VectorType::get({width}, getF32Type());
  }
  VectorType i32Vector(int64_t width) {
    return VectorType::get({width}, getI32Type());
  }
  Value f32(float value);
  Value splat(float value, int64_t width);
  Value splatI32(int32_t value, int64_t width);
  Value broadcast(Value scalar, int64_t width);
  Value fadd(Value a, Value b);
  Value fsub(Value a, Value b);
  Value fmul(Value a, Value b);
  Value fdiv(Value a, Value b);
  Value fma(Value a, Value b, Value c);
  /// Of numbers; b when one is not a number.
  Value fmax(Value a, Value b);
  Value fmin(Value a, Value b);
  /// Sum and maximum of a vector's elements.
  Value sum(Value vector);
  Value maximum(Value vector);
  /// Rounded to the values of `stored`, still f32.
  Value roundTo(Type stored, Value vector);
  /// a / b and 1 / sqrt(x) of a region: targets that have nothing exact and
  /// cheap are off by a rounding or two.
  virtual Value divide(Value a, Value b) { return fdiv(a, b); }
  virtual Value rsqrt(Value x);
  /// e^x; relative error about 1e-7, 0 and infinity at the ends, NaN for NaN.
  virtual Value exp(Value x);
  Value tanh(Value x);
  Value erf(Value x);
  /// c[0] + c[1] x + c[2] x^2 ...
  Value polynomial(Value x, llvm::ArrayRef<float> coefficients);
};

/// Clones the elementwise scalar operations of `block` on vectors of `width`;
/// yields what its kernel.yield yields. Constants become splats.
llvm::SmallVector<Value> cloneOnVectors(Code &code, mlir::Block &block,
                                        ValueRange arguments, int64_t width);

/// Whether cloneOnVectors can do every operation of `block`; an error that
/// names the operation otherwise.
mlir::LogicalResult checkVectorizable(mlir::Block &block);

/// CapacityAttr::of in code: how many of `rows` (i64) rows of a sequence a
/// capacity lets pass.
Value capacityOf(Code &code, nest::CapacityAttr capacity, Value rows);

} // namespace nestc::code

#endif // NESTC_LOWERING_CODE_CODE_H
