//===- PackageWriter.h - writes a package directory ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_PACKAGE_PACKAGEWRITER_H
#define NESTC_LOWERING_PACKAGE_PACKAGEWRITER_H

#include "lowering/package/WeightFile.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Manifest.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nestc {

/// The weights of a specialised module, in the module's order. With `link`
/// those that can be are read where they are stored.
std::vector<PackagedWeight> collectWeights(mlir::ModuleOp module,
                                           bool link = false);

/// Fills the model's facts and the weights' sizes from a specialised module.
void describeModel(mlir::ModuleOp module, rt::Manifest &manifest);

/// Adds every entry of a module after kernel-outline: inputs, outputs, weights
/// (as indices into `weights`) and arena.
rt::Status describeEntries(mlir::ModuleOp module,
                           const std::vector<PackagedWeight> &weights,
                           rt::Manifest &manifest);

/// Device code of a package for a GPU.
struct PackagedDevice {
  std::string ptx;
  std::string cubin; ///< empty: there is none
  std::vector<std::string> kernels;
};

struct PackageRequest {
  std::string output;     ///< the package directory
  std::string checkpoint; ///< directory that holds the weights
  /// Writes the finished shared object to a path.
  std::function<rt::Status(const std::string &)> code;
  std::optional<PackagedDevice> device;
  rt::Manifest manifest; ///< all but code, device, files and weights
  std::vector<PackagedWeight> weights;
  /// Bytes of weights written so far, of how many; may be empty.
  std::function<void(uint64_t, uint64_t)> progress;
};

/// Writes manifest, code, weights (streamed, only what is needed) and the
/// checkpoint's tokenizer, and moves the directory into place when complete.
rt::Status writePackage(PackageRequest request);

} // namespace nestc

#endif // NESTC_LOWERING_PACKAGE_PACKAGEWRITER_H
