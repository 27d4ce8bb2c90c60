//===- Buffer.cpp - memrefs inside generated code -------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/code/Buffer.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::code;

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

Value Buffer::rows(Code &code) const {
  Value rows = code.i64(1);
  for (Value size : ArrayRef(sizes).drop_back())
    rows = code.mul(rows, size);
  return rows;
}

Value Buffer::rowStride(Code &code) const {
  return strides.size() < 2 ? columns() : strides[strides.size() - 2];
}

Value Buffer::row(Code &code, Value index) const {
  return code.at(pointer, element(), code.mul(index, rowStride(code)));
}

Value Buffer::entry(Code &code, Value index) const {
  return code.loadI32(code.at(pointer, element(), index));
}

void Buffer::setEntry(Code &code, Value index, Value value) const {
  code.storeI32(value, code.at(pointer, element(), index));
}

static SmallVector<int64_t> stridesOf(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    strides.clear();
  return strides;
}

// Strides that follow from the sizes are not passed.
static bool isPassed(MemRefType type, ArrayRef<int64_t> strides, unsigned i) {
  return ShapedType::isDynamic(strides[i]) && !type.getLayout().isIdentity();
}

unsigned nestc::code::numDynamicParts(MemRefType type) {
  unsigned count = type.getNumDynamicDims();
  SmallVector<int64_t> strides = stridesOf(type);
  for (unsigned i = 0; i < strides.size(); ++i)
    count += isPassed(type, strides, i);
  return count;
}

SmallVector<Value> nestc::code::dynamicParts(const Buffer &buffer) {
  SmallVector<Value> parts;
  for (auto [size, value] : llvm::zip(buffer.type.getShape(), buffer.sizes))
    if (ShapedType::isDynamic(size))
      parts.push_back(value);
  SmallVector<int64_t> strides = stridesOf(buffer.type);
  for (unsigned i = 0; i < strides.size(); ++i)
    if (isPassed(buffer.type, strides, i))
      parts.push_back(buffer.strides[i]);
  return parts;
}

Buffer nestc::code::makeBuffer(Code &code, MemRefType type, Value pointer,
                               ValueRange parts) {
  Buffer buffer{type, pointer, {}, {}};
  unsigned next = 0;
  for (int64_t size : type.getShape())
    buffer.sizes.push_back(ShapedType::isDynamic(size) ? parts[next++]
                                                       : code.i64(size));
  SmallVector<int64_t> strides = stridesOf(type);
  buffer.strides.resize(strides.size());
  for (int64_t i = strides.size() - 1; i >= 0; --i) {
    if (!ShapedType::isDynamic(strides[i]))
      buffer.strides[i] = code.i64(strides[i]);
    else if (!isPassed(type, strides, i))
      buffer.strides[i] = code.mul(buffer.strides[i + 1], buffer.sizes[i + 1]);
  }
  for (unsigned i = 0; i < strides.size(); ++i)
    if (!buffer.strides[i])
      buffer.strides[i] = parts[next++];
  return buffer;
}

LogicalResult nestc::code::checkBuffer(Operation *op, MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0)
    return op->emitOpError("has a buffer the generator cannot address: ")
           << type << "; offsets must be 0";
  if (!strides.empty() && strides.back() != 1)
    return op->emitOpError("has a buffer whose columns are not consecutive: ")
           << type;
  if (type.getRank() != 2 && !type.getLayout().isIdentity())
    return op->emitOpError("has a strided buffer of rank ")
           << type.getRank()
           << "; only matrices may have a row stride: " << type;
  if (!type.getElementType().isIntOrFloat())
    return op->emitOpError("has elements the generator does not know: ")
           << type;
  return success();
}

LogicalResult nestc::code::checkI32(Operation *op, ArrayRef<Value> operands) {
  for (Value operand : operands)
    if (operand &&
        !cast<MemRefType>(operand.getType()).getElementType().isInteger(32))
      return op->emitOpError("has integers of another type than i32: ")
             << operand.getType();
  return success();
}

bool nestc::code::isFloatType(Type type) {
  return type.isF32() || type.isBF16() || type.isF16();
}

Value nestc::code::evaluate(Code &code, AffineExpr expr, ValueRange dims,
                            function_ref<Value(int64_t)> constant) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  if (auto number = dyn_cast<AffineConstantExpr>(expr))
    return constant(number.getValue());
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value left = evaluate(code, binary.getLHS(), dims, constant);
  Value right = evaluate(code, binary.getRHS(), dims, constant);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return code.add(left, right);
  case AffineExprKind::Mul:
    return code.mul(left, right);
  case AffineExprKind::FloorDiv:
    return code.div(left, right);
  default: // a legal remap has no other
    return code.rem(left, right);
  }
}

//===----------------------------------------------------------------------===//
// Operands of regions
//===----------------------------------------------------------------------===//

LogicalResult nestc::code::checkOperandMap(Operation *op, MemRefType type,
                                           AffineMap map) {
  bool plain = map.getNumSymbols() == 0 && map.getNumResults() <= 2 &&
               llvm::all_of(map.getResults(), [](AffineExpr e) {
                 return isa<AffineDimExpr, AffineConstantExpr>(e);
               });
  if (!plain)
    return op->emitOpError("reads an operand through ")
           << AffineMapAttr::get(map)
           << "; the generator knows (row), (column), (row, column)";
  // A row that is not the first result would run across the vector.
  if (map.getNumResults() == 2 && map.isFunctionOfDim(0) &&
      map.getResult(1) == getAffineDimExpr(0, map.getContext()))
    return op->emitOpError("reads an operand transposed, through ")
           << AffineMapAttr::get(map);
  if (!isFloatType(type.getElementType()))
    return op->emitOpError("reads an operand of ")
           << type.getElementType() << "; the generator reads f32, bf16, "
           << "f16";
  return success();
}

Value nestc::code::loadOperand(Code &code, const Buffer &buffer, AffineMap map,
                               ValueRange dims, int64_t width) {
  Value index = code.i64(0);
  bool alongVector = false;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    Value position;
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      position = dims[dim.getPosition()];
      alongVector = dim.getPosition() > 0;
    } else {
      position = code.i64(cast<AffineConstantExpr>(expr).getValue());
      alongVector = false;
    }
    if (i + 1 < map.getNumResults())
      position = code.mul(position, buffer.rowStride(code));
    index = code.add(index, position);
  }
  Value pointer = code.at(buffer.pointer, buffer.element(), index);
  if (alongVector)
    return code.loadVector(buffer.element(), pointer, width);
  Value one = code.loadVector(buffer.element(), pointer, 1);
  return width == 1
             ? one
             : code.broadcast(vector::ExtractOp::create(code, one, 0), width);
}

FailureOr<SmallVector<RegionInput>>
nestc::code::regionInputs(Operation *op, OperandRange operands, ArrayAttr maps,
                          unsigned perSetDims, int64_t groups) {
  SmallVector<RegionInput> inputs;
  for (AffineMap map : maps.getAsValueRange<AffineMapAttr>()) {
    bool perSet = map.getNumDims() == perSetDims && map.getNumResults() == 2;
    size_t count = perSet ? groups : 1;
    if (operands.size() < count)
      return op->emitOpError("has more maps than operands");
    if (perSet)
      map = map.getSubMap({1});
    inputs.push_back({map, operands.take_front(count), count > 1});
    operands = operands.drop_front(count);
    for (Value operand : inputs.back().operands)
      if (failed(checkOperandMap(op, cast<MemRefType>(operand.getType()), map)))
        return failure();
  }
  if (!operands.empty())
    return op->emitOpError("has operands without maps");
  return inputs;
}

Value nestc::code::setOf(Code &code, const Buffer &offsets,
                         ArrayRef<int64_t> sets, Value row) {
  // The last set that starts at the row or before.
  int64_t count = sets[1] - sets[0];
  Value set = code.i64(0);
  for (int64_t step = llvm::PowerOf2Ceil(count) / 2; step > 0; step /= 2) {
    Value next = code.min(code.add(set, step), count - 1);
    Value start = offsets.entry(code, code.add(next, sets[0]));
    set = code.select(code.less(row, start), set, next);
  }
  return set;
}
