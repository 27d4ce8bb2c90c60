//===- Device.cpp - a builder for code of a GPU ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Device.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nestc::nvptx;

/// The name of the dynamic shared memory in a device module.
static constexpr const char *sharedName = "nest_shared";

//===----------------------------------------------------------------------===//
// Where a thread is
//===----------------------------------------------------------------------===//

Value Device::thread() {
  return arith::ExtUIOp::create(*this, i64Type(),
                                NVVM::ThreadIdXOp::create(*this, getI32Type()));
}

Value Device::block(unsigned dimension) {
  Value index;
  if (dimension == 0)
    index = NVVM::BlockIdXOp::create(*this, getI32Type());
  else if (dimension == 1)
    index = NVVM::BlockIdYOp::create(*this, getI32Type());
  else
    index = NVVM::BlockIdZOp::create(*this, getI32Type());
  return arith::ExtUIOp::create(*this, i64Type(), index);
}

void Device::share(Value count, function_ref<void(Value)> body) {
  loop(thread(), count, threads, body);
}

//===----------------------------------------------------------------------===//
// What threads do together
//===----------------------------------------------------------------------===//

void Device::barrier() { NVVM::Barrier0Op::create(*this); }

static Value i32(Device &code, int64_t value) {
  return arith::ConstantOp::create(code, code.getI32IntegerAttr(value));
}

static Value shuffle(Device &code, NVVM::ShflKind kind, Value value,
                     Value offset, int64_t clamp) {
  return NVVM::ShflOp::create(code, value.getType(), i32(code, -1), value,
                              offset, i32(code, clamp), kind, UnitAttr());
}

Value Device::shuffleXor(Value value, int64_t mask) {
  return shuffle(*this, NVVM::ShflKind::bfly, value, i32(*this, mask), 31);
}

Value Device::shuffleUp(Value value, int64_t delta) {
  return shuffle(*this, NVVM::ShflKind::up, value, i32(*this, delta), 0);
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
