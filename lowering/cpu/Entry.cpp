//===- Entry.cpp - entry points -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An entry function holds index arithmetic, views of the arena, and launches.
// It becomes nest_entry_NAME(const nest_call *), which takes the buffers and
// sizes from the call.
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

namespace {
class Entry {
public:
  Entry(Generator &generator, func::FuncOp source, LLVMFuncOp function)
      : generator(generator), source(source), function(function),
        code(source.getLoc(),
             OpBuilder::atBlockEnd(&function.getBody().front()),
             generator.lanes),
        call(function.getArgument(0)) {}

  LogicalResult run() {
    if (failed(arguments()))
      return failure();
    for (Operation &op : source.getBody().front()) {
      code.setLoc(op.getLoc());
      if (failed(operation(&op)))
        return failure();
    }
    auto bytes = code.getI64IntegerAttr(scratch);
    function->setAttr("kernel.scratch", bytes);
    return success();
  }

private:
  LogicalResult arguments();
  LogicalResult operation(Operation *op);
  LogicalResult launch(kernel::LaunchOp op);
  LogicalResult view(memref::ViewOp op);
  LogicalResult arithmetic(Operation *op);

  Generator &generator;
  func::FuncOp source;
  LLVMFuncOp function;
  Code code;
  Value call;
  DenseMap<Value, Buffer> buffers;
  // Index and integer values as i64.
  DenseMap<Value, Value> integers;
  int64_t scratch = 0;
};
} // namespace

LogicalResult Entry::arguments() {
  Value table = code.slot(call, 0, code.ptrType());
  Value dims = code.slot(call, 1, code.ptrType());
  Value arena = code.slot(call, 2, code.ptrType());
  Value batch = code.slot(dims, 0, code.i64Type());
  Value tokens;
  int64_t next = 0;
  for (BlockArgument argument : source.getArguments()) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (!type)
      return source.emitOpError("has an argument that is no memref: ")
             << argument.getType();
    if (failed(checkBuffer(source, type)))
      return failure();
    bool isArena =
        bool(source.getArgAttr(argument.getArgNumber(), "kernel.arena"));
    Value pointer = isArena ? arena : code.slot(table, next++, code.ptrType());
    SmallVector<Value> parts;
    for (auto [i, size] : llvm::enumerate(type.getShape())) {
      if (!ShapedType::isDynamic(size))
        continue;
      if (isArena) {
        // Its size is nobody's business.
        parts.push_back(code.i64(0));
      } else if (i == 0) {
        parts.push_back(batch);
      } else if (i == 1) {
        if (!tokens)
          tokens = code.slot(dims, 1, code.i64Type());
        parts.push_back(tokens);
      } else {
        return source.emitOpError("argument ")
               << argument.getArgNumber() << " has a dynamic dimension " << i
               << "; only 0 (batch) and 1 (tokens) may be dynamic";
      }
    }
    if (parts.size() != numDynamicParts(type))
      return source.emitOpError("argument ")
             << argument.getArgNumber() << " has a dynamic stride: " << type;
    buffers[argument] = makeBuffer(code, type, pointer, parts);
  }
  return success();
}

LogicalResult Entry::view(memref::ViewOp op) {
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

LogicalResult Entry::launch(kernel::LaunchOp op) {
  auto found = generator.definitions.find(op.getKernel());
  if (found == generator.definitions.end())
    return op.emitOpError("launches an unknown kernel");
  Generator::Definition &definition = found->second;
  TypeRange wanted = definition.def.getBody().getArgumentTypes();
  if (wanted.size() != op.getBuffers().size())
    return op.emitOpError("passes ")
           << op.getBuffers().size() << " buffers to a kernel of "
           << wanted.size();
  SmallVector<Value> arguments{call};
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
    arguments.push_back(buffer.pointer);
    llvm::append_range(arguments, dynamicParts(buffer));
  }
  LLVM::CallOp::create(code, definition.function, arguments);
  scratch = std::max(scratch, definition.scratch);
  return success();
}

// Index arithmetic becomes the same operation on i64.
LogicalResult Entry::arithmetic(Operation *op) {
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

LogicalResult Entry::operation(Operation *op) {
  for (Value operand : op->getOperands())
    if (!buffers.count(operand) && !integers.count(operand))
      return op->emitOpError("uses a value the CPU generator has not seen");
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
      .Case([&](func::ReturnOp op) -> LogicalResult {
        if (op.getNumOperands())
          return op.emitOpError("returns values; entries write to buffers");
        Value ok = arith::ConstantOp::create(code, code.getI32IntegerAttr(0));
        LLVM::ReturnOp::create(code, ok);
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

LogicalResult Generator::generateEntry(func::FuncOp entry) {
  auto name = entry->getAttrOfType<StringAttr>("nest.entry");
  if (!name)
    return entry.emitOpError("is no entry: attribute nest.entry is missing");
  if (!llvm::hasSingleElement(entry.getBody()))
    return entry.emitOpError("must have one block");
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext());
  auto type = LLVM::LLVMFunctionType::get(builder.getI32Type(), {pointer});
  auto function = LLVMFuncOp::create(
      builder, entry.getLoc(), ("nest_entry_" + name.getValue()).str(), type);
  function.addEntryBlock(builder);
  return Entry(*this, entry, function).run();
}
