//===- Passes.td - lowering passes-*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NEST_LOWERING_PASSES_TD
#define NEST_LOWERING_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertNestToLinalg : Pass<"convert-nest-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower graph operations to linalg on tensors: the reference for the numbers";
  let description = [{
    Every operation of the graph dialect, one pattern each. Weights become
    trailing arguments `{nest.weight = "key"}` of every entry. Axes must be bound.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::bufferization::BufferizationDialect"];
}

def ConvertKernelToCpu : Pass<"convert-kernel-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Generate CPU code, in the LLVM dialect, for kernels and entries";
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "512",
           "width of a vector register of the target, in bits">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::vector::VectorDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect"];
}

def ConvertKernelToNvptx : Pass<"convert-kernel-to-nvptx", "::mlir::ModuleOp"> {
  let summary = "Generate code of an NVIDIA GPU for kernels, in a module of its own, and host code for entries";
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::vector::VectorDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect"];
  let options = [Option<"sharedBytes", "shared-bytes", "int64_t", "101376",
                        "shared memory that a block of the target may have">];
}

#endif // NEST_LOWERING_PASSES_TD
