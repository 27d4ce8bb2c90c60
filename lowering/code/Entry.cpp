//===- Entry.cpp - entry points -------------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An entry function holds index arithmetic, views of the arena, and launches.
// It becomes nest_entry_NAME(const nest_call *), which takes the buffers and
// sizes from the call. Its launches stand in parts, functions of a bounded size
// that take the same: LLVM's work grows faster than a function. All else is
// pure, and made in each part that uses it.
//
//===----------------------------------------------------------------------===//

#include "lowering/code/Entry.h"
#include "lowering/code/EntrySymbol.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::code;

// Launches in a part.
static constexpr size_t launchesOfPart = 64;

LLVMFuncOp code::makeFunction(ModuleOp module, Location location,
                              StringRef name, ArrayRef<Type> arguments) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(builder.getContext()), arguments);
  auto function = LLVMFuncOp::create(builder, location, name, type,
                                     LLVM::Linkage::Internal);
  function.setNoInline(true);
  function.addEntryBlock(builder);
  return function;
}

namespace {
class Part {
public:
  /// `slots` are the places of the entry's arguments in the call's table; the
  /// arena has none.
  Part(const EntryTarget &target, const DenseMap<Value, int64_t> &slots,
       Code &code, Value call)
      : target(target), slots(slots), code(code), call(call) {}

  LogicalResult operation(Operation *op);

private:
  LogicalResult need(Value value);
  LogicalResult argument(BlockArgument argument);
  LogicalResult launch(kernel::LaunchOp op);
  LogicalResult view(memref::ViewOp op);
  LogicalResult arithmetic(Operation *op);

  const EntryTarget &target;
  const DenseMap<Value, int64_t> &slots;
  Code &code;
  Value call;
  // The sizes of the call, once a buffer has them.
  Value batch, tokens;
  DenseMap<Value, Buffer> buffers;
  // Index and integer values as i64.
  DenseMap<Value, Value> integers;
};
} // namespace

// Makes a value of the entry known in this part.
LogicalResult Part::need(Value value) {
  if (buffers.count(value) || integers.count(value))
    return success();
  if (auto block = dyn_cast<BlockArgument>(value))
    return argument(block);
  return operation(value.getDefiningOp());
}

LogicalResult Part::argument(BlockArgument argument) {
  Operation *source = argument.getOwner()->getParentOp();
  auto type = dyn_cast<MemRefType>(argument.getType());
  if (!type)
    return source->emitOpError("has an argument that is no memref: ")
           << argument.getType();
  if (failed(checkBuffer(source, type)))
    return failure();
  auto size = [&](Value &size, int64_t place) {
    if (!size)
      size =
          code.slot(code.slot(call, 1, code.ptrType()), place, code.i64Type());
    return size;
  };
  auto slot = slots.find(argument);
  bool isArena = slot == slots.end();
  Value pointer = isArena ? code.slot(call, 2, code.ptrType())
                          : code.slot(code.slot(call, 0, code.ptrType()),
                                      slot->second, code.ptrType());
  SmallVector<Value> parts;
  for (auto [i, extent] : llvm::enumerate(type.getShape())) {
    if (!ShapedType::isDynamic(extent))
      continue;
    if (isArena) {
      // Its size is nobody's business.
      parts.push_back(code.i64(0));
    } else if (i == 0) {
      parts.push_back(size(batch, 0));
    } else if (i == 1) {
      parts.push_back(size(tokens, 1));
    } else {
      return source->emitOpError("argument ")
             << argument.getArgNumber() << " has a dynamic dimension " << i
             << "; only 0 (batch) and 1 (tokens) may be dynamic";
    }
  }
  if (parts.size() != numDynamicParts(type))
    return source->emitOpError("argument ")
           << argument.getArgNumber() << " has a dynamic stride: " << type;
  buffers[argument] = makeBuffer(code, type, pointer, parts);
  return success();
}

LogicalResult Part::view(memref::ViewOp op) {
  auto type = cast<MemRefType>(op.getType());
  if (failed(checkBuffer(op, type)))
    return failure();
  SmallVector<Value> sizes;
  for (Value size : op.getSizes())
    sizes.push_back(integers.lookup(size));
  Value pointer = code.at(buffers[op.getSource()].pointer, code.getI8Type(),
                          integers.lookup(op.getByteShift()));
  buffers[op] = makeBuffer(code, type, pointer, sizes);
  return success();
}

LogicalResult Part::launch(kernel::LaunchOp op) {
  kernel::DefOp definition = target.definition(op.getKernel());
  if (!definition)
    return op.emitOpError("launches an unknown kernel");
  TypeRange wanted = definition.getBody().getArgumentTypes();
  if (wanted.size() != op.getBuffers().size())
    return op.emitOpError("passes ")
           << op.getBuffers().size() << " buffers to a kernel of "
           << wanted.size();
  SmallVector<Buffer> passed;
  for (auto [value, type] : llvm::zip(op.getBuffers(), wanted)) {
    Buffer buffer = buffers[value];
    auto memref = cast<MemRefType>(type);
    bool fits = memref.getElementType() == buffer.element() &&
                memref.getRank() == buffer.type.getRank();
    for (int64_t i = 0; fits && i < memref.getRank(); ++i)
      fits = memref.isDynamicDim(i) ||
             memref.getDimSize(i) == buffer.type.getDimSize(i);
    // A row stride that the kernel counts on must be the buffer's.
    SmallVector<int64_t> want, have;
    int64_t offset;
    fits = fits && succeeded(memref.getStridesAndOffset(want, offset)) &&
           succeeded(buffer.type.getStridesAndOffset(have, offset));
    for (unsigned i = 0; fits && i < want.size(); ++i)
      fits = want[i] == have[i] || ShapedType::isDynamic(want[i]);
    if (!fits)
      return op.emitOpError("passes ")
             << buffer.type << " where the kernel wants " << memref;
    buffer.type = memref;
    passed.push_back(std::move(buffer));
  }
  return target.launch(code, call, definition, passed);
}

// Index arithmetic becomes the same operation on i64.
LogicalResult Part::arithmetic(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto value = dyn_cast<IntegerAttr>(constant.getValue());
    if (!value)
      return op->emitOpError("is no integer; entries hold index arithmetic");
    integers[constant] = code.i64(value.getInt());
    return success();
  }
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op)) {
    integers[op->getResult(0)] = integers.lookup(op->getOperand(0));
    return success();
  }
  IRMapping map;
  for (Value operand : op->getOperands())
    map.map(operand, integers.lookup(operand));
  Operation *clone = code.clone(*op, map);
  for (auto [to, from] : llvm::zip(clone->getResults(), op->getResults())) {
    if (to.getType().isIndex())
      to.setType(code.i64Type());
    integers[from] = to;
  }
  return success();
}

LogicalResult Part::operation(Operation *op) {
  for (Value operand : op->getOperands())
    if (failed(need(operand)))
      return failure();
  code.setLoc(op->getLoc());
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](kernel::LaunchOp op) { return launch(op); })
      .Case([&](memref::ViewOp op) { return view(op); })
      .Case([&](memref::CastOp op) -> LogicalResult {
        // More static types of the same buffer change nothing here.
        auto type = dyn_cast<MemRefType>(op.getType());
        if (!type)
          return op.emitOpError("casts to an unranked memref");
        Buffer buffer = buffers[op.getSource()];
        buffer.type = type;
        buffers[op] = buffer;
        return success();
      })
      .Case([&](memref::DimOp op) -> LogicalResult {
        std::optional<int64_t> index = op.getConstantIndex();
        const Buffer &buffer = buffers[op.getSource()];
        if (!index || *index < 0 || *index >= buffer.type.getRank())
          return op.emitOpError("needs a constant dimension in range");
        integers[op] = buffer.sizes[*index];
        return success();
      })
      .Default([&](Operation *op) -> LogicalResult {
        if (isa<arith::ArithDialect>(op->getDialect()) &&
            op->getNumRegions() == 0)
          return arithmetic(op);
        return op->emitOpError("is not known in an entry; after kernel-outline "
                               "it holds index arithmetic, memref.dim, "
                               "memref.view, memref.cast and kernel.launch");
      });
}

FailureOr<LLVMFuncOp> code::makeEntry(func::FuncOp entry,
                                      const EntryTarget &target) {
  auto name = entry->getAttrOfType<StringAttr>("nest.entry");
  if (!name)
    return entry.emitOpError("is no entry: attribute nest.entry is missing");
  if (!llvm::hasSingleElement(entry.getBody()))
    return entry.emitOpError("must have one block");
  if (entry.getNumResults())
    return entry.emitOpError("returns values; entries write to buffers");
  DenseMap<Value, int64_t> slots;
  for (BlockArgument argument : entry.getArguments())
    if (!entry.getArgAttr(argument.getArgNumber(), "kernel.arena"))
      slots.try_emplace(argument, slots.size());
  SmallVector<Operation *> launches;
  for (Operation &op : entry.getBody().front().without_terminator())
    if (!isMemoryEffectFree(&op))
      launches.push_back(&op);

  ModuleOp module = target.module;
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
  auto type = LLVM::LLVMFunctionType::get(builder.getI32Type(), {pointer});
  auto function = LLVMFuncOp::create(builder, entry.getLoc(),
                                     entrySymbol(name.getValue()), type);
  Code code(entry.getLoc(),
            OpBuilder::atBlockEnd(function.addEntryBlock(builder)),
            target.lanes);
  LogicalResult result = success();
  for (size_t first = 0; first < launches.size(); first += launchesOfPart) {
    std::string partName =
        ("nest_part_" + name.getValue() + "_" + Twine(first / launchesOfPart))
            .str();
    LLVMFuncOp part =
        makeFunction(target.module, entry.getLoc(), partName, pointer);
    Code inside(entry.getLoc(), OpBuilder::atBlockEnd(&part.getBody().front()),
                target.lanes);
    Part of(target, slots, inside, part.getArgument(0));
    for (Operation *op :
         ArrayRef(launches).slice(first).take_front(launchesOfPart))
      if (succeeded(result))
        result = of.operation(op);
    LLVM::ReturnOp::create(inside, ValueRange());
    LLVM::CallOp::create(code, part, function.getArgument(0));
  }
  LLVM::ReturnOp::create(
      code, arith::ConstantOp::create(code, code.getI32IntegerAttr(0)));
  if (failed(result))
    return failure();
  return function;
}
