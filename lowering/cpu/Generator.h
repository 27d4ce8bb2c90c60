//===- Generator.h - kernel definitions to functions -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CPU_GENERATOR_H
#define NESTC_LOWERING_CPU_GENERATOR_H

#include "dialect/Kernel.h"
#include "lowering/code/Buffer.h"
#include "lowering/code/Entry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#include <optional>

namespace nestc::cpu {

using namespace nestc::code;
using mlir::LLVM::LLVMFuncOp;

class Generator {
public:
  Generator(mlir::ModuleOp module, int64_t lanes)
      : module(module), lanes(lanes) {}

  /// Replaces every kernel.def and entry function of the module.
  mlir::LogicalResult run();

  mlir::ModuleOp module;
  const int64_t lanes;

  /// A private function `name`, made on first use.
  LLVMFuncOp routine(llvm::StringRef name, llvm::ArrayRef<Type> arguments,
                     llvm::function_ref<void(Code &, ValueRange)> body);
  /// A private constant array.
  Value constant(Code &code, llvm::StringRef name,
                 mlir::DenseElementsAttr data);

  /// Function and scratch bytes of every definition generated so far.
  struct Definition {
    LLVMFuncOp function;
    kernel::DefOp def;
    int64_t scratch = 0;
  };
  llvm::StringMap<Definition> definitions;

private:
  mlir::LogicalResult generateDefinition(kernel::DefOp def);
};

/// A kernel definition being generated: `code` is in its function's body.
class Kernel {
public:
  Kernel(Generator &generator, kernel::DefOp def);

  Generator &generator;
  kernel::DefOp def;
  mlir::Operation *op;
  LLVMFuncOp function;
  Code code;
  /// The nest_call.
  Value call;
  /// One for each argument of the definition.
  llvm::SmallVector<Buffer> buffers;
  /// Bytes of a worker's scratch that its tasks need.
  int64_t scratch = 0;

  /// Index in `buffers` of the operand.
  unsigned indexOf(Value operand) const;
  const Buffer &operator[](Value operand) const {
    return buffers[indexOf(operand)];
  }

  /// What a parallel piece sees.
  struct Piece {
    Code &code;
    llvm::ArrayRef<Buffer> buffers;
    ValueRange extras;
    Value item;
    Value scratch;
  };
  /// Runs `body` for items 0 .. count-1 in pieces of `grain` items, in
  /// parallel. `extras` are i64 or pointers that the pieces can use.
  void parallel(Value count, Value grain, ValueRange extras,
                llvm::function_ref<void(Piece &)> body);
};

/// Calls task(context, i, scratch) for i in 0 .. count-1, in parallel.
void callParallelFor(Code &code, Value call, LLVMFuncOp task, Value context,
                     Value count);
Value addressOf(Code &code, LLVMFuncOp function);

/// Items of a piece so that it does about `minWork` of the work that all
/// `count` items of `each` units make.
Value grainFor(Code &code, Value each, int64_t minWork = 32 * 1024);

//===----------------------------------------------------------------------===//
// Sets of rows
//===----------------------------------------------------------------------===//

/// The rows that a kernel works on: with `offsets` the packed rows `low` to
/// `low` + `count` of a family, else all rows of a stream.
struct RowRange {
  Value low, count;
};
RowRange rowsOf(Kernel &kernel, Value offsets, Sets sets, Value stream);
//===----------------------------------------------------------------------===//
// The kernel classes
//===----------------------------------------------------------------------===//

mlir::LogicalResult generate(Kernel &kernel, kernel::EmbedOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::MatmulOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::RowwiseOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::RopeTableOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::RopeOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::CacheAppendOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::AttentionOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::LastRowsOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::ArgmaxOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::RemapOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::SelectOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::PartitionOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::AssignOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::GatherOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::ChosenOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::SoftmaxOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::AdvanceOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::RankOp op);

} // namespace nestc::cpu

#endif // NESTC_LOWERING_CPU_GENERATOR_H
