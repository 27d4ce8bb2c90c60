//===- Generator.cpp - kernel definitions to device code ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Generator.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

/// Parameters of a stage: of every argument the pointer and its dynamic parts,
/// eight bytes each.
static SmallVector<Type> parametersOf(kernel::DefOp def) {
  Builder builder(def.getContext());
  SmallVector<Type> types;
  for (Type type : def.getBody().getArgumentTypes()) {
    types.push_back(LLVM::LLVMPointerType::get(def.getContext()));
    types.append(numDynamicParts(cast<MemRefType>(type)), builder.getI64Type());
  }
  return types;
}

void Kernel::stage(int64_t threads, int64_t shared,
                   std::function<Grid(Code &, ArrayRef<Buffer>)> grid,
                   function_ref<void(Inside &)> body) {
  std::string name = ("nest_" + def.getSymName()).str();
  if (!stages.empty())
    name += "_" + std::to_string(stages.size());
  OpBuilder builder = OpBuilder::atBlockEnd(generator.device.getBody());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(builder.getContext()), parametersOf(def));
  auto function = LLVMFuncOp::create(builder, op->getLoc(), name, type);
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(),
                    builder.getUnitAttr());
  function->setAttr(
      NVVM::NVVMDialect::getReqntidAttrName(),
      builder.getDenseI32ArrayAttr({static_cast<int32_t>(threads)}));
  // For readers: what a launch adds is nowhere in the text of a kernel.
  function->setAttr("device.shared", builder.getI64IntegerAttr(shared));
  Device code(op->getLoc(),
              OpBuilder::atBlockEnd(function.addEntryBlock(builder)), threads);
  SmallVector<Buffer> buffers;
  ValueRange rest = function.getArguments();
  for (Type type : def.getBody().getArgumentTypes()) {
    auto memref = cast<MemRefType>(type);
    unsigned parts = numDynamicParts(memref);
    buffers.push_back(
        makeBuffer(code, memref, rest.front(), rest.slice(1, parts)));
    rest = rest.drop_front(1 + parts);
  }
  Inside inside{code, buffers, *this};
  body(inside);
  LLVM::ReturnOp::create(code, ValueRange());
  stages.push_back({static_cast<int64_t>(generator.kernels.size()), threads,
                    shared, std::move(grid)});
  generator.kernels.push_back(std::move(name));
}

void Kernel::stageOver(
    int64_t threads, int64_t shared, int64_t perBlock,
    const std::function<Value(Code &, ArrayRef<Buffer>)> &count,
    function_ref<void(Inside &, Value)> body) {
  stage(
      threads, shared,
      [count, perBlock](Code &host, ArrayRef<Buffer> buffers) {
        return Grid{host.ceilDiv(count(host, buffers), perBlock), {}, {}};
      },
      [&](Inside &in) { body(in, in.code.mul(in.code.block(), perBlock)); });
}

RowRange nvptx::rowsOf(Kernel::Inside &in, Value offsets, Sets sets,
                       Value stream) {
  Device &code = in.code;
  if (!offsets)
    return {code.i64(0), in[stream].rows(code)};
  const Buffer &table = in[offsets];
  Value low = table.entry(code, code.i64((*sets)[0]));
  return {low, code.sub(table.entry(code, code.i64((*sets)[1])), low)};
}

//===----------------------------------------------------------------------===//
// Definitions and entry points
//===----------------------------------------------------------------------===//

LogicalResult Generator::generateDefinition(kernel::DefOp def) {
  for (Type type : def.getBody().getArgumentTypes())
    if (failed(checkBuffer(def, cast<MemRefType>(type))))
      return failure();
  Kernel kernel(*this, def);
  LogicalResult result =
      llvm::TypeSwitch<Operation *, LogicalResult>(def.getKernel())
          .Case<nestc::kernel::EmbedOp, nestc::kernel::MatmulOp,
                nestc::kernel::ProjectOp, nestc::kernel::RowwiseOp,
                nestc::kernel::RopeTableOp, nestc::kernel::RopeOp,
                nestc::kernel::CacheAppendOp, nestc::kernel::AttentionOp,
                nestc::kernel::LastRowsOp, nestc::kernel::ArgmaxOp,
                nestc::kernel::RemapOp, nestc::kernel::SelectOp,
                nestc::kernel::PartitionOp, nestc::kernel::AssignOp,
                nestc::kernel::GatherOp, nestc::kernel::ChosenOp,
                nestc::kernel::SoftmaxOp, nestc::kernel::AdvanceOp,
                nestc::kernel::RankOp>(
              [&](auto op) { return generate(kernel, op); })
          .Default([](Operation *op) {
            return op->emitOpError("has no GPU code generator");
          });
  if (failed(result))
    return failure();
  for (const Stage &stage : kernel.stages)
    if (stage.shared > sharedBytes)
      return def.getKernel()->emitOpError()
             << "needs " << stage.shared << " bytes of shared memory for "
             << kernels[stage.index] << ", a block of the target has at most "
             << sharedBytes << "; compile for another --target";
  definitions[def.getSymName()] = {def, std::move(kernel.stages)};
  return success();
}

/// nest_call::launch(runtime, kernel, geometry, arguments, count).
static void launch(Code &code, Value call, const Stage &stage,
                   ArrayRef<Buffer> buffers, ArrayRef<Value> arguments) {
  Grid grid = stage.grid(code, buffers);
  Value one = code.i64(1);
  Value geometry[] = {grid.x ? grid.x : one, grid.y ? grid.y : one,
                      grid.z ? grid.z : one, code.i64(stage.threads),
                      code.i64(stage.shared)};
  auto tableOf = [&](ArrayRef<Value> values) {
    Value table = code.table(values.size());
    for (auto [i, value] : llvm::enumerate(values))
      code.setSlot(table, i, value);
    return table;
  };
  // The members of nest_call, 8 bytes each: buffers, dims, arena, runtime,
  // parallel_for, launch.
  Type pointer = code.ptrType(), i64 = code.i64Type();
  auto type = LLVM::LLVMFunctionType::get(
      code.getI32Type(), {pointer, i64, pointer, pointer, i64});
  LLVM::CallOp::create(
      code, type,
      ValueRange{code.slot(call, 5, pointer), code.slot(call, 3, pointer),
                 code.i64(stage.index), tableOf(geometry), tableOf(arguments),
                 code.i64(static_cast<int64_t>(arguments.size()))});
}

LogicalResult Generator::run() {
  SmallVector<kernel::DefOp> defs(module.getOps<kernel::DefOp>());
  SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
  for (kernel::DefOp def : defs)
    if (failed(generateDefinition(def)))
      return failure();
  EntryTarget target{
      module, /*lanes=*/1,
      [&](StringRef name) {
        auto found = definitions.find(name);
        return found == definitions.end() ? kernel::DefOp() : found->second.def;
      },
      [&](Code &code, Value call, kernel::DefOp def, ArrayRef<Buffer> buffers) {
        SmallVector<Value> arguments;
        for (const Buffer &buffer : buffers) {
          arguments.push_back(buffer.pointer);
          llvm::append_range(arguments, dynamicParts(buffer));
        }
        for (const Stage &stage : definitions[def.getSymName()].stages)
          launch(code, call, stage, buffers, arguments);
        return success();
      }};
  for (func::FuncOp function : functions) {
    FailureOr<LLVMFuncOp> entry = makeEntry(function, target);
    if (failed(entry))
      return failure();
    (*entry)->setAttr("kernel.scratch",
                      Builder(module.getContext()).getI64IntegerAttr(0));
  }
  for (func::FuncOp function : functions)
    function.erase();
  for (kernel::DefOp def : defs)
    def.erase();
  return success();
}
