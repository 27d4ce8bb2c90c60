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

Value Device::thread() {
  return arith::ExtUIOp::create(*this, i64Type(), thread32());
}

Value Device::block(unsigned dimension) {
  return arith::ExtUIOp::create(*this, i64Type(), block32(dimension));
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

void Device::barrierOf(Value name, int64_t count) {
  NVVM::BarrierOp::create(*this, Type(), name, i32(count),
                          NVVM::BarrierReductionAttr(), Value());
}

void Device::syncWarp() { NVVM::SyncWarpOp::create(*this, i32(-1)); }

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

Value Device::block32(unsigned dimension) {
  if (dimension == 0)
    return NVVM::BlockIdXOp::create(*this, getI32Type());
  if (dimension == 1)
    return NVVM::BlockIdYOp::create(*this, getI32Type());
  return NVVM::BlockIdZOp::create(*this, getI32Type());
}

static Value opaqueMove(Device &code, Value value, const char *move,
                        const char *constraints, bool isUnlike = false) {
  return LLVM::InlineAsmOp::create(
             code, value.getType(), ValueRange{value}, move, constraints,
             /*has_side_effects=*/isUnlike, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

Value Device::unlike(Value value) {
  return opaqueMove(*this, value, "mov.b32 $0, $1;", "=r,r",
                    /*isUnlike=*/true);
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

Value Device::atByte(Value pointer, Value byte) {
  return byteAt(pointer, arith::ExtUIOp::create(*this, i64Type(), byte));
}

Value Device::atRow(Value pointer, Value row, int64_t bytes) {
  return byteAt(pointer,
                mul(arith::ExtUIOp::create(*this, i64Type(), row), bytes));
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
  if (width % 2)
    return loadVector(stored, pointer, width);
  // Two in a word: the lower one is a shift away, the upper one is there.
  Value words =
      LLVM::LoadOp::create(*this, i32Vector(width / 2), pointer, bytes);
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

Value Device::ballot(Value condition) {
  return NVVM::VoteSyncOp::create(*this, getI32Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::ballot);
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

static SmallVector<Value> loadFour(Device &code, Value pointer,
                                   NVVM::MMALayout layout) {
  auto type = LLVM::LLVMStructType::getLiteral(
      code.getContext(), SmallVector<Type>(4, code.getI32Type()));
  auto shape = NVVM::LdStMatrixShapeAttr::get(code.getContext(), 8, 8);
  Value four = NVVM::LdMatrixOp::create(code, type, pointer, 4, layout, shape,
                                        NVVM::LdStMatrixEltType::B16);
  return unpack(code, four, 4);
}

SmallVector<Value> Device::loadMatrices(Value pointer) {
  return loadFour(*this, pointer, NVVM::MMALayout::row);
}

SmallVector<Value> Device::loadMatricesTransposed(Value pointer) {
  return loadFour(*this, pointer, NVVM::MMALayout::col);
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

//===----------------------------------------------------------------------===//
// Single numbers
//===----------------------------------------------------------------------===//

Value Device::maxNumber(Value a, Value b) {
  return arith::MaxNumFOp::create(*this, a, b);
}

Value Device::minNumber(Value a, Value b) {
  return arith::MinNumFOp::create(*this, a, b);
}

static Value intrinsic(Device &code, Type type, StringRef name,
                       ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(code, type, code.getStringAttr(name),
                                       operands)
      .getResult(0);
}

Value Device::exp2(Value x) {
  return intrinsic(*this, getF32Type(), "llvm.nvvm.ex2.approx.ftz.f", x);
}

Value Device::upperHalves(Value low, Value high) {
  return intrinsic(*this, getI32Type(), "llvm.nvvm.prmt",
                   {asInt(low), asInt(high), i32(0x7632)});
}

Value Device::anyLane(Value condition) {
  return NVVM::VoteSyncOp::create(*this, getI1Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::any);
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

//===----------------------------------------------------------------------===//
// f32 vectors
//===----------------------------------------------------------------------===//

static int64_t widthOf(Value vector) {
  return cast<VectorType>(vector.getType()).getNumElements();
}

void Device::storeVector(Type stored, Value vector, Value pointer) {
  if (!stored.isF32())
    vector = arith::TruncFOp::create(
        *this, VectorType::get({widthOf(vector)}, stored), vector);
  store(vector, pointer);
}

SmallVector<Value>
Device::byElement(ValueRange vectors, unsigned results,
                  function_ref<SmallVector<Value>(ValueRange)> body) {
  int64_t width = widthOf(vectors.front());
  SmallVector<Value> whole(results, splat(0, width));
  for (int64_t i = 0; i < width; ++i) {
    SmallVector<Value> ones;
    for (Value vector : vectors)
      ones.push_back(broadcast(vector::ExtractOp::create(*this, vector, i), 1));
    for (auto [result, one] : llvm::zip(whole, body(ones)))
      result = vector::InsertOp::create(
          *this, vector::ExtractOp::create(*this, one, 0), result, i);
  }
  return whole;
}

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

//===----------------------------------------------------------------------===//
// Counts and sets of lanes
//===----------------------------------------------------------------------===//

Value Device::count(Value condition) {
  return arith::ExtUIOp::create(*this, getI32Type(), condition);
}
Value Device::bitAnd(Value a, Value b) {
  return createOrFold<arith::AndIOp>(a, b);
}
Value Device::bitOr(Value a, Value b) {
  return createOrFold<arith::OrIOp>(a, b);
}
Value Device::bitXor(Value a, Value b) {
  return createOrFold<arith::XOrIOp>(a, b);
}
Value Device::shiftLeft(Value value, int64_t bits) {
  return createOrFold<arith::ShLIOp>(value, i32(bits));
}
Value Device::shiftRight(Value value, int64_t bits) {
  return createOrFold<arith::ShRUIOp>(value, i32(bits));
}
Value Device::minUnsigned(Value a, Value b) {
  return createOrFold<arith::MinUIOp>(a, b);
}
Value Device::compare(arith::CmpIPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpIOp>(predicate, a, b);
}
Value Device::countBits(Value value) {
  return LLVM::CtPopOp::create(*this, value.getType(), value);
}
Value Device::highestBit(Value value) {
  Value asShift = arith::ConstantOp::create(*this, getBoolAttr(false));
  return intrinsic(*this, getI32Type(), "llvm.nvvm.flo.u", {value, asShift});
}

static Value redux(Device &code, NVVM::ReduxKind kind, Value value) {
  return NVVM::ReduxOp::create(code, value.getType(), value, kind,
                               code.i32(-1));
}

Value Device::sumLanes(Value value) {
  return redux(*this, NVVM::ReduxKind::ADD, value);
}
Value Device::minLanes(Value value) {
  return redux(*this, NVVM::ReduxKind::UMIN, value);
}

/// Inline assembly with one result, or else with effects.
static Value assembly(Device &code, Type result, ValueRange operands,
                      StringRef text, StringRef constraints) {
  auto op = LLVM::InlineAsmOp::create(
      code, result ? TypeRange(result) : TypeRange(), operands, text,
      constraints, /*has_side_effects=*/!result, /*is_align_stack=*/false,
      LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
  return result ? op.getResult(0) : Value();
}

Value Device::scanLanes(Value value) {
  // The predicate of the shuffle saves a select in every step.
  std::string text = "{ .reg .pred p; .reg .b32 t; ";
  for (int64_t delta = 1; delta < warpSize; delta *= 2)
    text += "shfl.sync.up.b32 t|p, $0, " + std::to_string(delta) +
            ", 0, -1; @p add.s32 $0, $0, t; ";
  return assembly(*this, value.getType(), value, text + "}", "=r,0");
}

Value Device::matchLanes(Value value) {
  return NVVM::MatchSyncOp::create(*this, getI32Type(), i32(-1), value,
                                   NVVM::MatchSyncKind::any);
}

Value Device::lanesBelow() {
  return intrinsic(*this, getI32Type(), "llvm.nvvm.read.ptx.sreg.lanemask.lt",
                   ValueRange());
}

void Device::countShared(Value address, Value index, int64_t byte) {
  // As atomicrmw, an address of 64 bits would be made for every word.
  assembly(*this, Type(), {index, address},
           "{ .reg .b32 a; mad.lo.u32 a, $0, 4, $1; red.shared.add.u32 [a+" +
               std::to_string(byte) + "], 1; }",
           "r,r,~{memory}");
}

static Value changeIf(Device &code, StringRef name, Value condition,
                      Value value, Value amount) {
  bool isWord = value.getType().isInteger(32);
  return assembly(
      code, value.getType(), {value, condition, amount},
      ("@$2 " + name + (isWord ? ".s32" : ".s64") + " $0, $0, $3;").str(),
      isWord ? "=r,0,b,r" : "=l,0,b,l");
}

Value Device::addIf(Value condition, Value value, Value amount) {
  return changeIf(*this, "add", condition, value, amount);
}
Value Device::subIf(Value condition, Value value, Value amount) {
  return changeIf(*this, "sub", condition, value, amount);
}

void Device::storeIf(Value condition, Value value, Value address) {
  assembly(*this, Type(), {condition, address, value},
           "@$0 st.global.b32 [$1], $2;", "b,l,r,~{memory}");
}

//===----------------------------------------------------------------------===//
// What blocks do together
//===----------------------------------------------------------------------===//

Value Device::isLastBlock(Value counter, Value last) {
  // What the block wrote comes before its ticket.
  barrier();
  Value isFirst = equal(thread(), 0);
  Value ticket = valueIf(
      isFirst,
      [&] {
        // LLVM makes a relaxed atom, whatever the order asked for.
        auto fence = [&] {
          LLVM::FenceOp::create(*this, LLVM::AtomicOrdering::acq_rel, "device");
        };
        fence();
        Value old = LLVM::AtomicRMWOp::create(
            *this, LLVM::AtomicBinOp::uinc_wrap, counter, last,
            LLVM::AtomicOrdering::monotonic, "device");
        fence();
        return old;
      },
      i32(0));
  Value isLast = arith::AndIOp::create(
      *this, isFirst, compare(arith::CmpIPredicate::eq, ticket, last));
  auto any = NVVM::BarrierOp::create(
      *this, getI32Type(), Value(), Value(),
      NVVM::BarrierReductionAttr::get(getContext(), NVVM::BarrierReduction::OR),
      count(isLast));
  return compare(arith::CmpIPredicate::ne, any.getResult(0), i32(0));
}

Value Device::grid32(unsigned dimension) {
  if (dimension == 0)
    return NVVM::GridDimXOp::create(*this, getI32Type());
  if (dimension == 1)
    return NVVM::GridDimYOp::create(*this, getI32Type());
  return NVVM::GridDimZOp::create(*this, getI32Type());
}
