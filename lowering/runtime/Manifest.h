//===- Manifest.h - what a package says about itself ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// manifest.json, format 1. The compiler fills a Manifest and writes it with
// serialise(); the runtime parses one, and whatever parse() lets through is
// consistent in itself: indices in range, shapes over declared dimensions,
// sums that fit. What only the files can tell (sizes, hashes) is checked when
// the package is loaded. A newer format is refused; unknown keys are errors.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_MANIFEST_H
#define NESTC_LOWERING_RUNTIME_MANIFEST_H

#include "lowering/runtime/DType.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Json.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nestc {
namespace rt {

/// The newest manifest format and code ABI that this library knows.
constexpr int64_t manifestFormat = 1;
constexpr int64_t codeAbi = 2;
/// The code ABI of packages for the CPU; that of packages for a GPU is codeAbi.
constexpr int64_t cpuCodeAbi = 1;

/// What "sm_90a" says: code for compute capability 9.0 with its own
/// instructions.
struct GpuTarget {
  int capability = 0;  ///< 10 * major + minor
  bool exact = false;  ///< "sm_90a": runs on this capability only
  bool family = false; ///< "sm_100f": on this one and later of the same major

  /// Whether PTX of this target runs on a device of `capability`.
  bool runsOn(int device) const {
    if (exact)
      return device == capability;
    return device >= capability && (!family || device / 10 == capability / 10);
  }
};
/// Nothing when `target` is not sm_NN, sm_NNa or sm_NNf.
std::optional<GpuTarget> parseGpuTarget(std::string_view target);

/// Limits on untrusted numbers; generous for any real model.
constexpr int64_t maxManifestDim = int64_t(1) << 40;
constexpr int64_t maxManifestRank = 8;

/// A size in the shape of a buffer: a number, or one of the entry's dims.
struct ManifestDim {
  int64_t size = 0; ///< when symbol < 0
  int symbol = -1;  ///< index in Entry::dims
  static ManifestDim of(int64_t size) { return {size, -1}; }
  static ManifestDim dynamic(int symbol) { return {0, symbol}; }
  bool isDynamic() const { return symbol >= 0; }
  friend bool operator==(const ManifestDim &a, const ManifestDim &b) {
    return a.size == b.size && a.symbol == b.symbol;
  }
};

struct Manifest {
  struct Cpu {
    std::string level;                 ///< as given: native, x86-64-v3, ...
    std::vector<std::string> features; ///< LLVM's names: avx2, fma, ...
  };
  /// The values of the input `modality`: indices in names.
  struct Modalities {
    std::vector<std::string> names;
    std::vector<int64_t> accepted; ///< ascending; the others were cut away

    bool empty() const { return names.empty(); }
    bool accepts(int64_t value) const;
    /// "0 (text), 2 (speech)": what is accepted.
    std::string legal() const;
    /// An error that names the legal values unless `value` is accepted.
    Status check(int64_t value, const std::string &place) const;
  };
  struct Model {
    std::string family, modelType;
    int64_t vocabSize = 0, maxLength = 0, numLayers = 0;
    std::vector<int64_t> eosTokenIds;
    std::string dtype; ///< what matrices are multiplied in: f32, bf16, f16
    Modalities modalities;
    /// What a routed layer does, in words, by layer; for people.
    std::vector<std::pair<std::string, std::string>> routes;
  };
  /// A width that stays open until a call: an i32 [1] input of this name.
  struct Width {
    std::string axis; ///< layers.0.ffn
    int64_t low = 0, high = 0;
    int64_t size = 0; ///< of the whole axis, for fractions of it

    /// An error that names the range unless `value` is in it.
    Status check(int64_t value) const;
  };
  struct Submodel {
    std::string name, spec;
    std::vector<Width> widths;

    const Width *findWidth(std::string_view axis) const;
  };
  /// A submodel behind the first one, over the same weights. Its entries are
  /// named NAME:ENTRY; what it costs and takes is its own.
  struct FurtherSubmodel {
    Submodel submodel;
    int64_t totalParameters = 0, effectiveParameters = 0;
    int64_t weightBytes = 0, macsPerToken = 0;
    Modalities modalities;
    std::vector<std::pair<std::string, std::string>> routes;
  };
  struct Code {
    std::string file, sha256;
  };
  /// Device code, of packages for a GPU.
  struct Device {
    Code ptx;
    std::optional<Code> cubin;        ///< made of ptx for the very target
    std::vector<std::string> kernels; ///< by the number that `launch` takes
  };
  /// A plain name inside the package, or an absolute path (weights=link).
  struct File {
    std::string path;
    int64_t bytes = 0;
    std::string sha256Header; ///< of the safetensors header; may be empty
  };
  struct Weight {
    std::string name;
    int64_t file = 0;   ///< index in files
    int64_t offset = 0; ///< bytes from the start of the file
    DType dtype = DType::F32;
    std::vector<int64_t> shape;
    /// Elements from one row to the next, >= shape[1]; rank 2 only, else 0. 0
    /// for rank 2 means dense.
    int64_t rowStride = 0;
    /// rowStride of a weight of rank 2, never 0 unless the rows are empty.
    int64_t stride() const { return rowStride ? rowStride : shape[1]; }
    /// Bytes from the first to behind the last element.
    uint64_t extent() const;
  };
  struct Buffer {
    std::string name;
    DType dtype = DType::F32;
    std::vector<ManifestDim> shape;
    bool cache = false; ///< inputs only: updated in place, kept by the session
  };
  struct Arena {
    int64_t perRow = 0, perSequence = 0, fixed = 0; ///< bytes
    /// Of a GPU: bytes at the start that are zero between kernels, the same in
    /// all entries.
    int64_t tickets = 0;
  };
  struct Entry {
    std::string name, symbol;
    std::vector<std::string> dims;
    std::vector<Buffer> inputs, outputs;
    std::vector<int64_t> weights; ///< indices in Manifest::weights
    Arena arena;
    int64_t scratch = 0; ///< bytes per worker

    const Buffer *findInput(std::string_view name) const;
    const Buffer *findOutput(std::string_view name) const;
    /// Index of a dim by name, or -1.
    int dim(std::string_view name) const;
    /// tickets + perRow*B*T + perSequence*B + fixed for the values of `dims` (T
    /// is 1 where there is no T, B likewise); nothing on overflow.
    std::optional<uint64_t>
    arenaBytes(const std::vector<int64_t> &dimValues) const;
    /// A buffer's shape for the values of `dims`.
    static std::vector<int64_t> shapeOf(const Buffer &buffer,
                                        const std::vector<int64_t> &dimValues);
  };

  int64_t format = manifestFormat;
  int64_t abi = cpuCodeAbi;
  std::string producer;
  std::string target; ///< cpu, sm_80, sm_90a, ...
  Cpu cpu;            ///< what the code on the host needs
  Model model;
  Submodel submodel; ///< the first one, and what it costs
  int64_t totalParameters = 0, effectiveParameters = 0;
  int64_t weightBytes = 0;
  int64_t macsPerToken = 0;
  std::vector<FurtherSubmodel> further;
  Code code;
  std::optional<Device> device; ///< exactly when the target is no cpu
  std::vector<File> files;
  std::vector<Weight> weights;
  std::vector<Entry> entries;

  const Entry *findEntry(std::string_view name) const;
  /// Names of submodels, the first one first.
  std::vector<std::string> submodelNames() const;
  /// The number of a submodel: 0 for an empty name. An error, whose place is
  /// `place`, names the legal ones.
  Expected<size_t> findSubmodel(const std::string &name,
                                const std::string &place) const;
  /// The number of the submodel that an entry of this name belongs to.
  size_t submodelOf(std::string_view entry) const;
  /// The name of a submodel's entry: "decode", "small:decode".
  std::string entryOf(size_t submodel, std::string_view entry) const;
  const Submodel &submodelAt(size_t index) const {
    return index ? further[index - 1].submodel : submodel;
  }
  const Modalities &modalitiesOf(size_t submodel) const {
    return submodel ? further[submodel - 1].modalities : model.modalities;
  }

  /// Parses and validates; `place` is the path, for messages.
  static Expected<Manifest> parse(std::string_view text,
                                  const std::string &place);
  static Expected<Manifest> fromJson(const Json &json,
                                     const std::string &place);
  /// The checks of parse() that concern more than one value. The writer calls
  /// it before it writes.
  Status validate(const std::string &place) const;

  /// That caches and logits have the sizes that `model` says.
  Status validateSizes(const std::string &place) const;

  /// All but the digest.
  Json toJson() const;
  /// What manifest.json holds: toJson() and, as "sha256", digest(). parse()
  /// checks it where it is there, for code is called with what stands here.
  std::string serialise() const;
  /// Of the content, however it is spaced.
  std::string digest() const;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_MANIFEST_H
