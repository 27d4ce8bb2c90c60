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

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

LLVMFuncOp Generator::routine(StringRef name, ArrayRef<Type> arguments,
                              function_ref<void(Code &, ValueRange)> body) {
  if (auto found = module.lookupSymbol<LLVMFuncOp>(name))
    return found;
  Location location = UnknownLoc::get(module.getContext());
  LLVMFuncOp function = makeFunction(module, location, name, arguments);
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
  return makeFunction(generator.module, def.getLoc(), name, arguments);
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
                nestc::kernel::ArgmaxOp, nestc::kernel::RemapOp,
                nestc::kernel::SelectOp, nestc::kernel::PartitionOp,
                nestc::kernel::AssignOp, nestc::kernel::GatherOp,
                nestc::kernel::ChosenOp, nestc::kernel::SoftmaxOp,
                nestc::kernel::AdvanceOp, nestc::kernel::RankOp>(
              [&](auto op) { return generate(kernel, op); })
          .Case([](nestc::kernel::ProjectOp op) {
            return op.emitOpError("is for GPUs; leave out "
                                  "kernel-fuse-projections, which forms it");
          })
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
  int64_t scratch = 0; // the most that a kernel of the entry needs
  EntryTarget target{
      module, lanes,
      [&](StringRef name) {
        auto found = definitions.find(name);
        return found == definitions.end() ? kernel::DefOp() : found->second.def;
      },
      [&](Code &code, Value call, kernel::DefOp def, ArrayRef<Buffer> buffers) {
        const Definition &definition = definitions[def.getSymName()];
        SmallVector<Value> arguments{call};
        for (const Buffer &buffer : buffers) {
          arguments.push_back(buffer.pointer);
          llvm::append_range(arguments, dynamicParts(buffer));
        }
        LLVM::CallOp::create(code, definition.function, arguments);
        scratch = std::max(scratch, definition.scratch);
        return success();
      }};
  for (func::FuncOp function : functions) {
    scratch = 0;
    FailureOr<LLVMFuncOp> entry = makeEntry(function, target);
    if (failed(entry))
      return failure();
    (*entry)->setAttr("kernel.scratch",
                      Builder(module.getContext()).getI64IntegerAttr(scratch));
  }
  for (func::FuncOp function : functions)
    function.erase();
  for (kernel::DefOp def : defs)
    def.erase();
  return success();
}
