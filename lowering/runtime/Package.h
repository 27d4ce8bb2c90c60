//===- Package.h - a loaded package -----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_PACKAGE_H
#define NESTC_LOWERING_RUNTIME_PACKAGE_H

#include "lowering/runtime/Error.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Manifest.h"
#include "lowering/runtime/Tokenizer.h"
#include "nest/code_abi.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nestc {
namespace rt {

class CudaDriver;
class CudaPackage;

/// How to load a package.
struct PackageOptions {
  /// Run a package for a GPU on the PTX emulator; no other is taken then.
  bool emulate = false;
  /// Instead of the one that would be opened; for tests.
  std::shared_ptr<const CudaDriver> driver;
};

/// A package in memory: manifest validated, processor checked, weights mapped,
/// code loaded. Immutable.
class Package {
public:
  Package(const Package &) = delete;
  Package &operator=(const Package &) = delete;
  ~Package();

  /// Errors carry a nest_status.
  static Expected<std::unique_ptr<Package>>
  load(const std::string &path, const PackageOptions &options = {});

  const std::string &path() const { return directory; }
  const Manifest &manifest() const { return description; }
  /// An error when there is none, or none that this runtime knows: without it
  /// a package still takes token ids.
  Expected<const Tokenizer *> tokenizer() const {
    if (bpe)
      return &*bpe;
    return noTokenizer;
  }
  const std::string &infoJson() const { return info; }
  /// The package on the GPU; null when its target is the CPU.
  const std::shared_ptr<CudaPackage> &device() const { return onDevice; }

  /// The code of manifest().entries[index].
  nest_entry function(size_t index) const { return functions[index]; }
  /// Where weight `index` of the manifest begins.
  const void *weight(size_t index) const {
    const Manifest::Weight &w = description.weights[index];
    return files[static_cast<size_t>(w.file)].data() + w.offset;
  }
  /// Index of an entry point, or an error that lists those there are.
  Expected<size_t> entry(std::string_view name) const;

private:
  Package() = default;
  Status mapFiles();
  Status loadCode();
  Status loadDevice(const PackageOptions &options);

  std::string directory, info;
  Manifest description;
  std::vector<MappedFile> files;
  std::optional<Tokenizer> bpe;
  Error noTokenizer;
  std::vector<nest_entry> functions;
  std::shared_ptr<CudaPackage> onDevice;
  void *library = nullptr;
  int codeFile = -1;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_PACKAGE_H
