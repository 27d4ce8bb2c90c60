//===- Generator.h - kernel definitions to device code ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every kernel.def becomes one or several stages: device functions of the same
// parameters, launched one after the other. Entry points are host code that
// computes sizes and grids and launches (nest_call::launch).
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_GENERATOR_H
#define NESTC_LOWERING_NVPTX_GENERATOR_H

#include "dialect/Kernel.h"
#include "lowering/code/Buffer.h"
#include "lowering/code/Entry.h"
#include "lowering/nvptx/Device.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#include <functional>
#include <vector>

namespace nestc::nvptx {

using namespace nestc::code;

/// What one launch of a stage takes, as i64 of host code.
struct Grid {
  Value x, y, z; ///< blocks; null for 1. No block where one of them is 0
};

/// A device function and how it is launched.
struct Stage {
  int64_t index;   ///< among the kernels of the package
  int64_t threads; ///< of a block
  int64_t shared;  ///< bytes of dynamic shared memory
  /// The grid, from the buffers that the host has: sizes are known there,
  /// contents are not.
  std::function<Grid(Code &host, llvm::ArrayRef<Buffer> buffers)> grid;
};

class Generator {
public:
  /// Device functions go to `device`, entry points to `module`. A block may
  /// have `sharedBytes` of shared memory.
  Generator(mlir::ModuleOp module, mlir::ModuleOp device, int64_t sharedBytes)
      : module(module), device(device), sharedBytes(sharedBytes) {}

  /// Replaces every kernel.def and entry function of the module.
  mlir::LogicalResult run();

  mlir::ModuleOp module, device;
  int64_t sharedBytes;

  struct Definition {
    kernel::DefOp def;
    std::vector<Stage> stages;
  };
  llvm::StringMap<Definition> definitions;
  /// Names of the device functions, by Stage::index.
  std::vector<std::string> kernels;

private:
  mlir::LogicalResult generateDefinition(kernel::DefOp def);
};

/// A kernel definition being generated.
class Kernel {
public:
  Kernel(Generator &generator, kernel::DefOp def)
      : generator(generator), def(def), op(def.getKernel()) {}

  Generator &generator;
  kernel::DefOp def;
  mlir::Operation *op;
  std::vector<Stage> stages;

  /// Index of an operand among the buffers of a stage.
  unsigned indexOf(Value operand) const {
    return mlir::cast<mlir::BlockArgument>(operand).getArgNumber();
  }

  /// Inside a stage.
  struct Inside {
    Device &code;
    llvm::ArrayRef<Buffer> buffers;
    const Kernel &kernel;

    const Buffer &operator[](Value operand) const {
      return buffers[kernel.indexOf(operand)];
    }
  };

  /// Adds a stage of blocks of `threads` threads with `shared` bytes of dynamic
  /// shared memory.
  void stage(int64_t threads, int64_t shared,
             std::function<Grid(Code &host, llvm::ArrayRef<Buffer>)> grid,
             llvm::function_ref<void(Inside &)> body);
  /// A stage whose blocks take `perBlock` items each of the `count` that the
  /// host computes, one a thread if that is the number of threads. `body` gets
  /// the first item of the block.
  void stageOver(
      int64_t threads, int64_t shared, int64_t perBlock,
      const std::function<Value(Code &host, llvm::ArrayRef<Buffer>)> &count,
      llvm::function_ref<void(Inside &, Value first)> body);
};

/// The rows that a kernel works on: with `offsets` the packed rows `low` to
/// `low` + `count` of a family, which the device reads, else all of a stream.
struct RowRange {
  Value low, count;
};
RowRange rowsOf(Kernel::Inside &in, Value offsets, Sets sets, Value stream);

//===----------------------------------------------------------------------===//
// The kernel classes
//===----------------------------------------------------------------------===//

mlir::LogicalResult generate(Kernel &kernel, kernel::EmbedOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::MatmulOp op);
mlir::LogicalResult generate(Kernel &kernel, kernel::ProjectOp op);
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
/// kernel.last_rows of ids.
mlir::LogicalResult generateLastIds(Kernel &kernel, kernel::LastRowsOp op);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_GENERATOR_H
