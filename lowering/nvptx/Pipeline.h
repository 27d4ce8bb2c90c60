//===- Pipeline.h - outlined kernels to device code -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_PIPELINE_H
#define NESTC_LOWERING_NVPTX_PIPELINE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace nestc {

/// A GPU that code is made for.
struct NvptxTarget {
  unsigned sm = 80;        ///< compute capability: 80, 90, 120
  std::string name;        ///< "sm_80", "sm_90a"
  std::string features;    ///< of LLVM: "+ptx80"
  int64_t sharedBytes = 0; ///< of shared memory that a block may have

  /// The target of a name such as "sm_80"; an error lists the legal ones.
  static llvm::Expected<NvptxTarget> get(llvm::StringRef name);
  static std::vector<std::string> names();
};

/// Adds the passes from a module of kernel.def and entry functions to the LLVM
/// dialect: host code with entry points nest_entry_NAME, and in it a module
/// `device` of kernels, whose names are its attribute `device.kernels` in the
/// order in which nest_call::launch counts them. A kernel whose blocks need
/// more shared memory than those of the target have is an error.
void buildNvptxPipeline(mlir::OpPassManager &passes, const NvptxTarget &target);

/// Takes the device module out of what the pipeline made.
mlir::OwningOpRef<mlir::ModuleOp> takeDeviceModule(mlir::ModuleOp module);
/// Its kernels, by number.
std::vector<std::string> kernelNames(mlir::ModuleOp device);

/// PTX of a device module.
llvm::Expected<std::string> emitPtx(mlir::ModuleOp device,
                                    const NvptxTarget &target);

} // namespace nestc

#endif // NESTC_LOWERING_NVPTX_PIPELINE_H
