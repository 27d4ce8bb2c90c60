//===- Device.cpp - a builder for code of a GPU ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Device.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace nestc::nvptx;

/// The name of the dynamic shared memory in a device module.
static constexpr const char *sharedName = "nest_shared";

//===----------------------------------------------------------------------===//
// Where a thread is
//===----------------------------------------------------------------------===//

Value Device::thread32() {
  return NVVM::ThreadIdXOp::create(*this, getI32Type());
}

Value Device::block32(unsigned dimension) {
  if (dimension == 0)
    return NVVM::BlockIdXOp::create(*this, getI32Type());
  if (dimension == 1)
    return NVVM::BlockIdYOp::create(*this, getI32Type());
  return NVVM::BlockIdZOp::create(*this, getI32Type());
}

Value Device::thread() {
  return arith::ExtUIOp::create(*this, i64Type(), thread32());
}

Value Device::block(unsigned dimension) {
  return arith::ExtUIOp::create(*this, i64Type(), block32(dimension));
}

Value Device::i32(int64_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}

SmallVector<Value> Device::choose(Value condition, ValueRange otherwise,
                                  function_ref<SmallVector<Value>()> then) {
  auto branch = scf::IfOp::create(*this, otherwise.getTypes(), condition,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(*this, then());
  setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(*this, otherwise);
  return branch.getResults();
}

void Device::share(Value count, function_ref<void(Value)> body) {
  loop(thread(), count, threads, body);
}

//===----------------------------------------------------------------------===//
// What threads do together
//===----------------------------------------------------------------------===//

void Device::barrier() { NVVM::Barrier0Op::create(*this); }

static Value shuffle(Device &code, NVVM::ShflKind kind, Value value,
                     Value offset, int64_t clamp) {
  return NVVM::ShflOp::create(code, value.getType(), code.i32(-1), value,
                              offset, code.i32(clamp), kind, UnitAttr());
}

Value Device::shuffleXor(Value value, int64_t mask) {
  return shuffle(*this, NVVM::ShflKind::bfly, value, i32(mask), 31);
}

Value Device::shuffleUp(Value value, int64_t delta) {
  return shuffle(*this, NVVM::ShflKind::up, value, i32(delta), 0);
}

Value Device::shuffleFrom(Value value, Value from) {
  return shuffle(*this, NVVM::ShflKind::idx, value, narrow(from), 31);
}

Value Device::reduceWarp(Value value,
                         function_ref<Value(Value, Value)> combine) {
  for (int64_t mask = warpSize / 2; mask; mask /= 2)
    value = combine(value, shuffleXor(value, mask));
  return value;
}

Value Device::reduceBlock(Value value, Value shared,
                          function_ref<Value(Value, Value)> combine) {
  value = reduceWarp(value, combine);
  int64_t warps = threads / warpSize;
  if (warps == 1)
    return value;
  Type type = value.getType();
  when(equal(lane(), 0), [&] { store(value, atShared(shared, type, warp())); });
  barrier();
  // Every thread combines in the same order.
  Value result = load(type, shared);
  for (int64_t w = 1; w < warps; ++w)
    result = combine(result, load(type, atShared(shared, type, i64(w))));
  return result;
}

Value Device::sumBlock(Value value, Value shared) {
  return reduceBlock(value, shared,
                     [&](Value a, Value b) { return fadd(a, b); });
}

Value Device::maxBlock(Value value, Value shared) {
  return reduceBlock(value, shared,
                     [&](Value a, Value b) { return fmax(a, b); });
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

Value Device::shared(int64_t byte) {
  auto module = getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  auto type = LLVM::LLVMArrayType::get(getI8Type(), 0);
  if (!module.lookupSymbol(sharedName)) {
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    LLVM::GlobalOp::create(builder, getLoc(), type, /*isConstant=*/false,
                           LLVM::Linkage::External, sharedName, Attribute(),
                           /*alignment=*/1024, sharedSpace);
  }
  auto pointer = LLVM::LLVMPointerType::get(getContext(), sharedSpace);
  Value base = LLVM::AddressOfOp::create(*this, pointer, sharedName);
  return byte ? atShared(base, getI8Type(), i64(byte)) : base;
}

Value Device::atShared(Value pointer, Type type, Value index) {
  return LLVM::GEPOp::create(*this, pointer.getType(), type, pointer,
                             ValueRange{index});
}

Value Device::asInt(Value value) {
  return arith::BitcastOp::create(*this, getI32Type(), value);
}
Value Device::asFloat(Value value) {
  return arith::BitcastOp::create(*this, getF32Type(), value);
}
Value Device::narrow(Value value) {
  return arith::TruncIOp::create(*this, getI32Type(), value);
}
Value Device::widen(Value value) {
  return arith::ExtSIOp::create(*this, i64Type(), value);
}

//===----------------------------------------------------------------------===//
// Memory in wide accesses
//===----------------------------------------------------------------------===//

Value Device::atByte(Value pointer, Value bytes, int64_t more) {
  pointer =
      at(pointer, getI8Type(), arith::ExtUIOp::create(*this, i64Type(), bytes));
  return at(pointer, getI8Type(), more);
}

Value Device::atRow(Value pointer, Value row, int64_t bytes) {
  return at(pointer, getI8Type(),
            mul(arith::ExtUIOp::create(*this, i64Type(), row), bytes));
}

static int64_t widthOf(Value vector) {
  return cast<VectorType>(vector.getType()).getNumElements();
}

static unsigned bytesOf(Type stored, int64_t width) {
  return static_cast<unsigned>(stored.getIntOrFloatBitWidth() / 8 * width);
}

Value Device::loadWide(Type stored, Value pointer, int64_t width) {
  auto load = [&](Type type) {
    return Value(LLVM::LoadOp::create(*this, type, pointer,
                                      std::min(bytesOf(stored, width), 16u)));
  };
  if (stored.isF32())
    return load(f32Vector(width));
  if (width % 2)
    return loadVector(stored, pointer, width);
  if (stored.isF16())
    return arith::ExtFOp::create(*this, f32Vector(width),
                                 load(VectorType::get({width}, stored)));
  // Two in a word: the lower one is a shift away, the upper one is there.
  Value words = load(i32Vector(width / 2));
  Value low = arith::ShLIOp::create(*this, words, splatI32(16, width / 2));
  Value high = arith::AndIOp::create(
      *this, words, splatI32(static_cast<int32_t>(0xffff0000), width / 2));
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < width / 2; ++i)
    order.append({i, width / 2 + i});
  return arith::BitcastOp::create(
      *this, f32Vector(width),
      vector::ShuffleOp::create(*this, low, high, order));
}

static Value converted(Device &code, Type stored, Value vector) {
  if (stored.isF32())
    return vector;
  return arith::TruncFOp::create(
      code, VectorType::get({widthOf(vector)}, stored), vector);
}

void Device::storeWide(Type stored, Value vector, Value pointer) {
  LLVM::StoreOp::create(*this, converted(*this, stored, vector), pointer,
                        std::min(bytesOf(stored, widthOf(vector)), 16u));
}

void Device::storeVector(Type stored, Value vector, Value pointer) {
  store(converted(*this, stored, vector), pointer);
}

//===----------------------------------------------------------------------===//
// f32 vectors
//===----------------------------------------------------------------------===//

Value Device::eachElement(StringRef intrinsic, ValueRange vectors) {
  auto type = cast<VectorType>(vectors.front().getType());
  Value result = splat(0, type.getNumElements());
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    SmallVector<Value> arguments;
    for (Value vector : vectors)
      arguments.push_back(vector::ExtractOp::create(*this, vector, i));
    Value element =
        LLVM::CallIntrinsicOp::create(*this, getF32Type(),
                                      getStringAttr(intrinsic), arguments)
            .getResult(0);
    result = vector::InsertOp::create(*this, element, result, i);
  }
  return result;
}

Value Device::maxNumber(Value a, Value b) {
  return arith::MaxNumFOp::create(*this, a, b);
}

Value Device::divide(Value a, Value b) {
  DenseFPElementsAttr constant;
  if (matchPattern(b, m_Constant(&constant)) && constant.isSplat()) {
    APFloat inverse = APFloat::getOne(APFloat::IEEEsingle());
    inverse.divide(constant.getSplatValue<APFloat>(),
                   APFloat::rmNearestTiesToEven);
    if (inverse.isNormal())
      return fmul(a, splat(inverse.convertToFloat(), widthOf(a)));
  }
  return eachElement("llvm.nvvm.div.full", {a, b});
}

Value Device::rsqrt(Value x) {
  return eachElement("llvm.nvvm.rsqrt.approx.f", {x});
}

Value Device::exp(Value x) {
  int64_t width = widthOf(x);
  auto min = [&](Value a, Value b) {
    return Value(arith::MinNumFOp::create(*this, a, b));
  };
  // n = round(x / ln 2), kept to where 2^n is normal, in the low bits of a sum;
  // biased by 127, so that a shift makes 2^n of it. What is then left of an x
  // beyond goes to 0 or infinity, and NaN stays NaN.
  float zero = 12582912.0f + 127;
  Value biased = fma(x, splat(1.44269502f, width), splat(zero, width));
  biased = min(maxNumber(biased, splat(zero - 126, width)),
               splat(zero + 127, width));
  Value n = fsub(splat(zero, width), biased);
  // 1 / ln 2 in two parts: x / ln 2 - n without its rounding error.
  Value rest = fma(x, splat(1.44269502f, width), n);
  rest = fma(x, splat(1.92596303e-8f, width), rest);
  Value bits = arith::BitcastOp::create(*this, i32Vector(width), biased);
  Value power = arith::BitcastOp::create(
      *this, f32Vector(width),
      arith::ShLIOp::create(*this, bits, splatI32(23, width)));
  return fmul(eachElement("llvm.nvvm.ex2.approx.ftz.f32", {rest}), power);
}
