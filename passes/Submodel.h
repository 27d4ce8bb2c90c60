//===- Submodel.h - what --submodel says ---------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_SUBMODEL_H
#define NESTC_PASSES_SUBMODEL_H

#include "dialect/Nest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nestc {

/// Kinds of axes, the last word of their names: neurons of an FFN; KV heads,
/// each with its query heads.
inline constexpr llvm::StringLiteral kFfnAxis = "ffn", kHeadAxis = "heads";
inline constexpr llvm::StringRef kAxisKinds[] = {kFfnAxis, kHeadAxis};

/// Why a submodel was refused: PLACE: what is wrong; what is legal.
struct SubmodelError {
  enum class Kind {
    Syntax, ///< the text cannot be parsed (exit code 2)
    Illegal ///< the text asks for something that is not there (exit code 1)
  };
  Kind kind = Kind::Syntax;
  std::string place, message, legal;
  /// "place: message; legal".
  std::string str() const;
};

/// A set of layers as written: all, *, 7, 0-9, odd, even, 0+4+9-24.
class LayerSelector {
public:
  /// Parses `text`; on failure fills `error` with `place` as its place.
  static std::optional<LayerSelector>
  parse(llvm::StringRef text, llvm::StringRef place, SubmodelError &error);
  /// The layers below `numLayers` that are meant, ascending. A layer that is
  /// not there is an error.
  std::optional<llvm::SmallVector<int64_t>>
  resolve(int64_t numLayers, llvm::StringRef place, SubmodelError &error) const;
  /// How `layers`, ascending and below `numLayers`, are written: all, 0-3+7.
  static std::string text(llvm::ArrayRef<int64_t> layers, int64_t numLayers);
  /// Whether layers are listed by number, so that each of them is meant.
  bool isListed() const { return kind == Kind::Ranges; }

private:
  struct Range {
    int64_t first, last;
  };
  enum class Kind { All, Odd, Even, Ranges } kind = Kind::All;
  llvm::SmallVector<Range> ranges;
};

/// A width: a fraction of the full size, a count, or all of it.
struct WidthValue {
  enum class Kind { Full, Fraction, Count } kind = Kind::Full;
  int64_t numerator = 1, denominator = 1; ///< Fraction
  int64_t count = 0;                      ///< Count

  static std::optional<WidthValue>
  parse(llvm::StringRef text, llvm::StringRef place, SubmodelError &error);
  /// The number of elements that is meant of an axis of `size`, of which each
  /// stands for `group` that users count; an error when it is no whole number,
  /// zero, or above `size`.
  std::optional<int64_t> resolve(int64_t size, int64_t group,
                                 llvm::StringRef place,
                                 SubmodelError &error) const;
};

/// The text of --submodel, parsed: later entries override earlier ones.
struct SubmodelSpec {
  struct Entry {
    enum class Key { Width, Skip, Capacity, Dense, Modalities } key;
    std::string text; ///< as written, the place of errors
    LayerSelector layers;
    llvm::StringRef kind;                ///< Width: of kAxisKinds
    WidthValue value;                    ///< Width, Capacity
    std::optional<WidthValue> low;       ///< Width: stays open, down to this
    std::vector<std::string> modalities; ///< Modalities
  };
  std::vector<Entry> entries;

  /// Parses inline text: `layers.SEL.ffn=VALUE`, `layers.SEL.ffn=LOW..HIGH`
  /// (which stays open until a call), `layers.SEL.heads=VALUE`,
  /// `skip=SEL`, `routes.SEL.capacity=VALUE`, `routes.SEL=dense`,
  /// `modalities=A+B`.
  static std::optional<SubmodelSpec> parse(llvm::StringRef text,
                                           SubmodelError &error);
};

/// What a submodel may choose in a model: its axes by name, its routes by
/// layer, its modalities.
struct AxisTable {
  struct Axis {
    int64_t size;
    llvm::SmallVector<int64_t> levels; ///< widths it was trained at
    int64_t group = 1; ///< how many of what users count is an element
    /// Whether a statistic runs over it, so that a call cannot bind it.
    bool hasStatistic = false;
  };
  struct Route {
    bool ranksInSelect, ranksInDecode; ///< whether the rule is a capacity
    nest::CapacityAttr capacity;
  };
  int64_t numLayers = 0;
  int64_t headDim = 0; ///< columns of a head; 0 where heads are no axis
  llvm::StringMap<Axis> axes;
  std::map<int64_t, Route> routes;
  std::vector<std::string> modalities;
  /// Layers whose keys and values others read, and these.
  std::map<int64_t, std::vector<int64_t>> readers;

  /// Reads `nest.axis` operations and `nest.model` of a universal module.
  static AxisTable get(mlir::ModuleOp module);
  /// The name of a layer's axis: layers.N.KIND.
  static std::string name(int64_t layer, llvm::StringRef kind);
};

/// What a submodel means for one model.
struct Binding {
  llvm::StringMap<int64_t> widths; ///< every axis of the model
  /// Axes whose width a call binds: from this up to what `widths` says.
  std::map<std::string, int64_t> open;
  std::vector<bool> skipped; ///< one for each layer
  /// Routes that are chosen otherwise: a capacity, or null for every row.
  std::map<int64_t, nest::CapacityAttr> routes;
  std::vector<bool> modalities;      ///< whether each is kept; empty: all are
  std::vector<std::string> warnings; ///< such as a width that is no level
};

/// Resolves `spec` against the axes of a model; axes that it does not mention
/// keep their full size.
std::optional<Binding> resolveSubmodel(const SubmodelSpec &spec,
                                       const AxisTable &table,
                                       SubmodelError &error);

/// The inline text behind `text`: itself when it has a `=` or is empty, else
/// the named submodel of the module's `nest.submodels`.
std::optional<std::string> lookUpSubmodel(mlir::ModuleOp module,
                                          llvm::StringRef text,
                                          SubmodelError &error);

/// Of `names` the one nearest to `name`, "" when none is near.
std::string nearestName(llvm::StringRef name,
                        llvm::ArrayRef<std::string> names);

} // namespace nestc

#endif // NESTC_PASSES_SUBMODEL_H
