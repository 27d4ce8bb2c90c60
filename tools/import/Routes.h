//===- Routes.h - what a layer is, and what a route makes of it -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_ROUTES_H
#define NESTC_TOOLS_IMPORT_ROUTES_H

#include "tools/import/Graph.h"

#include <functional>
#include <optional>
#include <string>

namespace nestc {

/// A route of nest.json, checked: which rows of a call enter a region of a
/// layer, with which weight, and what they get. docs/Import.md has the words.
struct Route {
  enum class Scope { Block, Attention, Ffn };
  enum class Rule { TopK, Threshold, Predictor, Always, Never };
  enum class Weight { Logit, Sigmoid, SoftmaxSelected, One };
  enum class Gate {
    Delta,
    DoubleResidual,
    Additive,
    Replace,
    FfnGatedDouble,
    FfnGated,
    Hard
  };

  std::string place; ///< "nest.json: routes.layers.odd"
  Scope scope = Scope::Block;
  Rule select = Rule::TopK;
  int64_t numerator = 1, denominator = 8; ///< denominator 0: a count
  nest::Rounding rounding = nest::Rounding::floor;
  int64_t minimum = 1;
  bool rankOnWeight = false;
  Weight weight = Weight::Logit;
  Gate gate = Gate::Delta;
  bool compact = false;  ///< positions count the rows that passed
  bool keepsAll = false; ///< K and V of every row are kept
  Rule decode = Rule::Threshold;
  float limit = 0; ///< of a threshold or a predictor

  nest::CapacityAttr capacity(mlir::MLIRContext *context) const;
  bool usesPredictor() const {
    return select == Rule::Predictor || decode == Rule::Predictor;
  }
  /// Whether a row may pass in a decode and not in a prefill, or with another
  /// weight.
  bool decodesApart() const {
    return select != decode || select == Rule::TopK ||
           weight == Weight::SoftmaxSelected;
  }
};

/// The tensors that score rows for a route. A bias or predictor that is not
/// there has no name.
struct Router {
  std::string weight, bias;
  std::string predictor; ///< before .0.weight, .0.bias, .2.weight, .2.bias
};

/// What a family says of a layer.
struct LayerParts {
  using Step = std::function<mlir::Value(Graph &, mlir::Value)>;
  /// What an FFN makes of x: what it adds to it, or the sum.
  struct Fed {
    mlir::Value added, sum;
  };

  Step before;            ///< the layer's input to that of query, key and value
  Step query, key, value; ///< before RoPE
  nest::RopeAttr rope;    ///< or null
  Step output;            ///< what attention gives to what is added
  /// `rows`: the set that x is packed by, or null.
  std::function<Fed(Graph &, mlir::Value x, mlir::Value rows)> feed;
  double scale = 1;
  int64_t window = 0;
  double alibi = 0; ///< of the mask; 0: none
};

/// A layer, its region behind a route where there is one.
mlir::Value buildLayer(Graph &graph, const LayerParts &parts,
                       const Route *route, const Router &router, mlir::Value x);

/// The caches of a layer with `heads` KV heads.
Decoder::Cache cacheOf(int64_t heads, int64_t headDim, int64_t window,
                       const Route *route);

/// Declares the router of a layer; `sizes` explains D. The predictor's too
/// where it has a name; how wide it is inside is what is stored.
rt::Status declareRouter(const Router &router, const rt::Checkpoint &checkpoint,
                         SizeTable &sizes, WeightTable &weights);

/// Records the routes in `nest.model`, for nest-specialize.
mlir::DictionaryAttr
describeRoutes(mlir::MLIRContext *context,
               llvm::ArrayRef<std::optional<Route>> routes);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_ROUTES_H
