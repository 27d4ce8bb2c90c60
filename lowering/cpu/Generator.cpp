//===- Generator.cpp - kernel definitions to functions -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

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

unsigned cpu::numDynamicParts(MemRefType type) {
  unsigned count = type.getNumDynamicDims();
  SmallVector<int64_t> strides = stridesOf(type);
  for (unsigned i = 0; i < strides.size(); ++i)
    count += isPassed(type, strides, i);
  return count;
}

SmallVector<Value> cpu::dynamicParts(const Buffer &buffer) {
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

Buffer cpu::makeBuffer(Code &code, MemRefType type, Value pointer,
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

LogicalResult cpu::checkBuffer(Operation *op, MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0)
    return op->emitOpError("has a buffer the CPU generator cannot address: ")
           << type << "; offsets must be 0";
  if (!strides.empty() && strides.back() != 1)
    return op->emitOpError("has a buffer whose columns are not consecutive: ")
           << type;
  if (type.getRank() != 2 && !type.getLayout().isIdentity())
    return op->emitOpError("has a strided buffer of rank ")
           << type.getRank()
           << "; only matrices may have a row stride: " << type;
  if (!type.getElementType().isIntOrFloat())
    return op->emitOpError("has elements the CPU generator does not know: ")
           << type;
  return success();
}

LogicalResult cpu::checkI32(Operation *op, ArrayRef<Value> operands) {
  for (Value operand : operands)
    if (operand &&
        !cast<MemRefType>(operand.getType()).getElementType().isInteger(32))
      return op->emitOpError("has integers of another type than i32: ")
             << operand.getType();
  return success();
}

bool cpu::isFloatType(Type type) {
  return type.isF32() || type.isBF16() || type.isF16();
}

//===----------------------------------------------------------------------===//
// Operands of regions
//===----------------------------------------------------------------------===//

LogicalResult cpu::checkOperandMap(Operation *op, MemRefType type,
                                   AffineMap map) {
  bool plain = map.getNumSymbols() == 0 && map.getNumResults() <= 2 &&
               llvm::all_of(map.getResults(), [](AffineExpr e) {
                 return isa<AffineDimExpr, AffineConstantExpr>(e);
               });
  if (!plain)
    return op->emitOpError("reads an operand through ")
           << AffineMapAttr::get(map)
           << "; the CPU generator knows (row), (column), (row, column)";
  // A row that is not the first result would run across the vector.
  if (map.getNumResults() == 2 && map.isFunctionOfDim(0) &&
      map.getResult(1) == getAffineDimExpr(0, map.getContext()))
    return op->emitOpError("reads an operand transposed, through ")
           << AffineMapAttr::get(map);
  if (!isFloatType(type.getElementType()))
    return op->emitOpError("reads an operand of ")
           << type.getElementType() << "; the CPU generator reads f32, bf16, "
           << "f16";
  return success();
}

Value cpu::loadOperand(Code &code, const Buffer &buffer, AffineMap map,
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
cpu::regionInputs(Operation *op, OperandRange operands, ArrayAttr maps,
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

//===----------------------------------------------------------------------===//
// Sets of rows
//===----------------------------------------------------------------------===//

RowRange cpu::rowsOf(Kernel &kernel, Value offsets, Sets sets, Value stream) {
  Code &code = kernel.code;
  if (!offsets)
    return {code.i64(0), kernel[stream].rows(code)};
  const Buffer &table = kernel[offsets];
  Value low = table.entry(code, code.i64((*sets)[0]));
  return {low, code.sub(table.entry(code, code.i64((*sets)[1])), low)};
}

Value cpu::setOf(Code &code, const Buffer &offsets, ArrayRef<int64_t> sets,
                 Value row) {
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

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

static LLVMFuncOp makeFunction(Generator &generator, Location location,
                               StringRef name, ArrayRef<Type> arguments) {
  OpBuilder builder = OpBuilder::atBlockEnd(generator.module.getBody());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(builder.getContext()), arguments);
  auto function = LLVMFuncOp::create(builder, location, name, type,
                                     LLVM::Linkage::Internal);
  function.setNoInline(true);
  function.addEntryBlock(builder);
  return function;
}

LLVMFuncOp Generator::routine(StringRef name, ArrayRef<Type> arguments,
                              function_ref<void(Code &, ValueRange)> body) {
  if (auto found = module.lookupSymbol<LLVMFuncOp>(name))
    return found;
  Location location = UnknownLoc::get(module.getContext());
  LLVMFuncOp function = makeFunction(*this, location, name, arguments);
  Code code(location, OpBuilder::atBlockEnd(&function.getBody().front()),
            lanes);
  body(code, function.getArguments());
  LLVM::ReturnOp::create(code, ValueRange());
  return function;
}

Value Generator::constant(Code &code, StringRef name, DenseElementsAttr data) {
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto type = LLVM::LLVMArrayType::get(data.getElementType(), data.size());
  LLVM::GlobalOp::create(builder, code.getLoc(), type, /*isConstant=*/true,
                         LLVM::Linkage::Internal, name, data,
                         /*alignment=*/64);
  return LLVM::AddressOfOp::create(code, code.ptrType(), name);
}

// The function of a definition: the call, then of every argument the pointer
// and its dynamic parts.
static LLVMFuncOp makeDefinition(Generator &generator, kernel::DefOp def) {
  Builder builder(def.getContext());
  Type pointer = LLVM::LLVMPointerType::get(def.getContext());
  SmallVector<Type> arguments{pointer};
  for (Type type : def.getBody().getArgumentTypes()) {
    arguments.push_back(pointer);
    arguments.append(numDynamicParts(cast<MemRefType>(type)),
                     builder.getI64Type());
  }
  std::string name = ("nest_kernel_" + def.getSymName()).str();
  return makeFunction(generator, def.getLoc(), name, arguments);
}

Kernel::Kernel(Generator &generator, kernel::DefOp def)
    : generator(generator), def(def), op(def.getKernel()),
      function(makeDefinition(generator, def)),
      code(op->getLoc(), OpBuilder::atBlockEnd(&function.getBody().front()),
           generator.lanes),
      call(function.getArgument(0)) {
  ValueRange rest = function.getArguments().drop_front();
  for (Type type : def.getBody().getArgumentTypes()) {
    auto memref = cast<MemRefType>(type);
    unsigned parts = numDynamicParts(memref);
    buffers.push_back(
        makeBuffer(code, memref, rest.front(), rest.slice(1, parts)));
    rest = rest.drop_front(1 + parts);
  }
}

unsigned Kernel::indexOf(Value operand) const {
  return cast<BlockArgument>(operand).getArgNumber();
}

//===----------------------------------------------------------------------===//
// Parallel pieces
//===----------------------------------------------------------------------===//

Value cpu::addressOf(Code &code, LLVMFuncOp function) {
  return LLVM::AddressOfOp::create(code, code.ptrType(), function.getSymName());
}

void cpu::callParallelFor(Code &code, Value call, LLVMFuncOp task,
                          Value context, Value count) {
  // The members of nest_call, 8 bytes each: buffers, dims, arena, runtime,
  // parallel_for.
  Value runtime = code.slot(call, 3, code.ptrType());
  Value parallelFor = code.slot(call, 4, code.ptrType());
  Type pointer = code.ptrType();
  auto type =
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(code.getContext()),
                                  {pointer, pointer, pointer, code.i64Type()});
  LLVM::CallOp::create(
      code, type,
      ValueRange{parallelFor, runtime, addressOf(code, task), context, count});
}

Value cpu::grainFor(Code &code, Value each, int64_t minWork) {
  return code.max(code.div(code.i64(minWork), code.max(each, 1)), 1);
}

void Kernel::parallel(Value count, Value grain, ValueRange extras,
                      function_ref<void(Piece &)> body) {
  // The context: count, grain, buffers, extras.
  SmallVector<Value> context{count, grain};
  for (const Buffer &buffer : buffers) {
    context.push_back(buffer.pointer);
    llvm::append_range(context, dynamicParts(buffer));
  }
  llvm::append_range(context, extras);

  std::string name = ("nest_task_" + def.getSymName()).str();
  Type pointer = code.ptrType();
  LLVMFuncOp task = generator.routine(
      name, {pointer, code.i64Type(), pointer}, [&](Code &in, ValueRange args) {
        in.setLoc(code.getLoc());
        SmallVector<Value> values;
        for (auto [i, value] : llvm::enumerate(context))
          values.push_back(in.slot(args[0], i, value.getType()));
        ValueRange rest = ValueRange(values).drop_front(2);
        SmallVector<Buffer> inner;
        for (const Buffer &buffer : buffers) {
          unsigned parts = numDynamicParts(buffer.type);
          inner.push_back(
              makeBuffer(in, buffer.type, rest.front(), rest.slice(1, parts)));
          rest = rest.drop_front(1 + parts);
        }
        Value low = in.mul(args[1], values[1]);
        Value high = in.min(in.add(low, values[1]), values[0]);
        in.loop(low, high, 1, [&](Value item) {
          Piece piece{in, inner, rest, item, args[2]};
          body(piece);
        });
      });
  Value table = code.table(context.size());
  for (auto [i, value] : llvm::enumerate(context))
    code.setSlot(table, i, value);
  callParallelFor(code, call, task, table, code.ceilDiv(count, grain));
}

//===----------------------------------------------------------------------===//
// Definitions
//===----------------------------------------------------------------------===//

LogicalResult Generator::generateDefinition(kernel::DefOp def) {
  Block &block = def.getBody().front();
  if (!llvm::hasSingleElement(block))
    return def.emitOpError("must hold exactly one kernel operation");
  for (Type type : block.getArgumentTypes()) {
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref)
      return def.emitOpError("has an argument that is no memref: ") << type;
    if (failed(checkBuffer(def, memref)))
      return failure();
  }
  Operation *op = def.getKernel();
  for (Value operand : op->getOperands())
    if (!isa<BlockArgument>(operand))
      return op->emitOpError("has an operand that is no argument of the "
                             "kernel.def");

  Kernel kernel(*this, def);
  LogicalResult result =
      llvm::TypeSwitch<Operation *, LogicalResult>(op)
          .Case<nestc::kernel::EmbedOp, nestc::kernel::MatmulOp,
                nestc::kernel::RowwiseOp, nestc::kernel::RopeTableOp,
                nestc::kernel::RopeOp, nestc::kernel::CacheAppendOp,
                nestc::kernel::AttentionOp, nestc::kernel::LastRowsOp,
                nestc::kernel::SelectOp, nestc::kernel::PartitionOp,
                nestc::kernel::AssignOp, nestc::kernel::GatherOp,
                nestc::kernel::ChosenOp, nestc::kernel::SoftmaxOp,
                nestc::kernel::AdvanceOp, nestc::kernel::RankOp>(
              [&](auto op) { return generate(kernel, op); })
          .Default([](Operation *op) {
            return op->emitOpError("has no CPU code generator");
          });
  if (failed(result))
    return failure();
  LLVM::ReturnOp::create(kernel.code, ValueRange());
  definitions[def.getSymName()] = {kernel.function, def, kernel.scratch};
  return success();
}

LogicalResult Generator::run() {
  SmallVector<kernel::DefOp> defs(module.getOps<kernel::DefOp>());
  SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
  for (kernel::DefOp def : defs)
    if (failed(generateDefinition(def)))
      return failure();
  for (func::FuncOp function : functions)
    if (failed(generateEntry(function)))
      return failure();
  for (func::FuncOp function : functions)
    function.erase();
  for (kernel::DefOp def : defs)
    def.erase();
  return success();
}
