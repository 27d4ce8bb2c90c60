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
// Hot loops
//===----------------------------------------------------------------------===//

Value Device::i32(int64_t value) {
  return arith::ConstantOp::create(*this, getI32IntegerAttr(value));
}

Value Device::thread32() {
  return NVVM::ThreadIdXOp::create(*this, getI32Type());
}

static Value opaqueMove(Device &code, Value value, const char *move,
                        const char *constraints) {
  return LLVM::InlineAsmOp::create(
             code, value.getType(), ValueRange{value}, move, constraints,
             /*has_side_effects=*/false, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

Value Device::opaque(Value value) {
  return opaqueMove(*this, value, "mov.b32 $0, $1;", "=r,r");
}

Value Device::opaquePointer(Value pointer) {
  return opaqueMove(*this, pointer, "mov.b64 $0, $1;", "=l,l");
}

Value Device::sharedAddress(int64_t byte) {
  Value address = narrow(LLVM::PtrToIntOp::create(*this, i64Type(), shared()));
  return byte ? add(address, i32(byte)) : address;
}

Value Device::sharedAt(Value address, Value offset, int64_t byte) {
  if (offset)
    address = add(address, offset);
  auto type = LLVM::LLVMPointerType::get(getContext(), sharedSpace);
  return byteAt(LLVM::IntToPtrOp::create(*this, type, address), byte);
}

Value Device::global(Value pointer) {
  auto type = LLVM::LLVMPointerType::get(getContext(), globalSpace);
  return LLVM::AddrSpaceCastOp::create(*this, type, pointer);
}

Value Device::byteAt(Value pointer, Value byte) {
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             ValueRange{byte});
}

Value Device::byteAt(Value pointer, int64_t byte) {
  return byte ? LLVM::GEPOp::create(
                    *this, pointer.getType(), getI8Type(), pointer,
                    ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(byte)})
              : pointer;
}

// Of an access, in bytes: its size, or 16 if it takes several instructions.
static unsigned wideAlignment(Type stored, int64_t width) {
  return std::min<int64_t>(16, width * stored.getIntOrFloatBitWidth() / 8);
}

Value Device::loadWide(Type stored, Value pointer, int64_t width) {
  unsigned bytes = wideAlignment(stored, width);
  if (stored.isF32())
    return LLVM::LoadOp::create(*this, f32Vector(width), pointer, bytes);
  if (stored.isF16()) {
    Value half = LLVM::LoadOp::create(*this, VectorType::get({width}, stored),
                                      pointer, bytes);
    return arith::ExtFOp::create(*this, f32Vector(width), half);
  }
  Value bits = LLVM::LoadOp::create(
      *this, VectorType::get({width}, getI16Type()), pointer, bytes);
  bits = arith::ExtUIOp::create(*this, i32Vector(width), bits);
  bits = arith::ShLIOp::create(*this, bits, splatI32(16, width));
  return arith::BitcastOp::create(*this, f32Vector(width), bits);
}

void Device::storeWide(Type stored, Value vector, Value pointer) {
  int64_t width = cast<VectorType>(vector.getType()).getNumElements();
  if (stored.isF32()) {
    LLVM::StoreOp::create(*this, vector, pointer, wideAlignment(stored, width));
    return;
  }
  if (width == 1)
    return storeVector(stored, vector, pointer);
  Value pairs = LLVM::PoisonOp::create(*this, i32Vector(width / 2));
  for (int64_t i = 0; i < width / 2; ++i) {
    Value pair =
        packPair(stored, vector::ExtractOp::create(*this, vector, 2 * i),
                 vector::ExtractOp::create(*this, vector, 2 * i + 1));
    pairs = vector::InsertOp::create(*this, pair, pairs, i);
  }
  LLVM::StoreOp::create(*this, pairs, pointer, wideAlignment(stored, width));
}

Value Device::packPair(Type stored, Value low, Value high) {
  const char *name =
      stored.isBF16() ? "llvm.nvvm.ff2bf16x2.rn" : "llvm.nvvm.ff2f16x2.rn";
  auto pair = VectorType::get({2}, stored);
  Value value = LLVM::CallIntrinsicOp::create(*this, pair, getStringAttr(name),
                                              ValueRange{high, low})
                    .getResult(0);
  return LLVM::BitcastOp::create(*this, getI32Type(), value);
}

Value Device::valueIf(Value condition, function_ref<Value()> then,
                      Value otherwise) {
  auto branch = scf::IfOp::create(*this, otherwise.getType(), condition,
                                  /*withElse=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(*this, then());
  setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(*this, otherwise);
  return branch.getResult(0);
}

void Device::keepRolled(Value result) {
  auto unroll = LLVM::LoopUnrollAttr::get(
      getContext(), /*disable=*/getBoolAttr(true), IntegerAttr(), BoolAttr(),
      BoolAttr(), LLVM::LoopAnnotationAttr(), LLVM::LoopAnnotationAttr(),
      LLVM::LoopAnnotationAttr());
  LLVM::LoopAnnotationAttr annotation =
      LLVM::LoopAnnotationAttr::get(getContext(), {}, {}, {}, unroll, {}, {},
                                    {}, {}, {}, {}, {}, {}, {}, {}, {});
  result.getDefiningOp()->setAttr("llvm.loop_annotation", annotation);
}

Value Device::ballot(Value condition) {
  return NVVM::VoteSyncOp::create(*this, getI32Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::ballot);
}

//===----------------------------------------------------------------------===//
// Asynchronous copies and tensor cores
//===----------------------------------------------------------------------===//

void Device::copyAsync(Value toShared, Value fromGlobal, Value bytes) {
  NVVM::CpAsyncOp::create(*this, toShared, fromGlobal, 16,
                          NVVM::LoadCacheModifierKind::CG, bytes);
}
void Device::commitCopies() { NVVM::CpAsyncCommitGroupOp::create(*this); }
void Device::waitCopies(int64_t groups) {
  NVVM::CpAsyncWaitGroupOp::create(*this, static_cast<uint32_t>(groups));
}

static SmallVector<Value> unpack(Device &code, Value aggregate, int64_t count) {
  SmallVector<Value> parts;
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(LLVM::ExtractValueOp::create(code, aggregate, i));
  return parts;
}

SmallVector<Value> Device::loadMatrices(Value pointer) {
  auto type = LLVM::LLVMStructType::getLiteral(
      getContext(), SmallVector<Type>(4, getI32Type()));
  auto shape = NVVM::LdStMatrixShapeAttr::get(getContext(), 8, 8);
  Value four =
      NVVM::LdMatrixOp::create(*this, type, pointer, 4, NVVM::MMALayout::row,
                               shape, NVVM::LdStMatrixEltType::B16);
  return unpack(*this, four, 4);
}

SmallVector<Value> Device::multiply(Type stored, ValueRange a, ValueRange b,
                                    ValueRange sums) {
  auto type = LLVM::LLVMStructType::getLiteral(
      getContext(), SmallVector<Type>(4, getF32Type()));
  auto shape = NVVM::MMAShapeAttr::get(getContext(), 16, 8, 16);
  if (stored.isBF16()) {
    auto kind = NVVM::MMATypesAttr::get(getContext(), NVVM::MMATypes::bf16);
    Value four = NVVM::MmaOp::create(
        *this, type, shape, NVVM::MMAB1OpAttr(), NVVM::MMAIntOverflowAttr(),
        NVVM::MMALayout::row, NVVM::MMALayout::col, kind, kind, a, b, sums);
    return unpack(*this, four, 4);
  }
  // NVVM takes f16 as pairs.
  auto pairs = [&](ValueRange words) {
    SmallVector<Value> result;
    for (Value word : words)
      result.push_back(LLVM::BitcastOp::create(
          *this, VectorType::get({2}, getF16Type()), word));
    return result;
  };
  auto kind = NVVM::MMATypesAttr::get(getContext(), NVVM::MMATypes::f16);
  Value four = NVVM::MmaOp::create(*this, type, shape, NVVM::MMAB1OpAttr(),
                                   NVVM::MMAIntOverflowAttr(),
                                   NVVM::MMALayout::row, NVVM::MMALayout::col,
                                   kind, kind, pairs(a), pairs(b), sums);
  return unpack(*this, four, 4);
}
