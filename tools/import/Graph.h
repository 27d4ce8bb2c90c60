//===- Graph.h - emits the entries of a decoder -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_GRAPH_H
#define NESTC_TOOLS_IMPORT_GRAPH_H

#include "dialect/Nest.h"
#include "tools/import/Weights.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <vector>

namespace nestc {

/// Emits graph operations of one entry. Streams are [B, T, width] of f32;
/// weights are named as in the checkpoint, and operations have a location named
/// after theirs.
class Graph {
public:
  Graph(mlir::OpBuilder &builder, const WeightTable &weights)
      : builder(builder), weights(weights),
        location(mlir::UnknownLoc::get(builder.getContext())) {}

  /// Rows of a table for the tokens of the entry.
  mlir::Value embed(llvm::StringRef table);
  /// x w^T, and a bias unless its name is empty.
  mlir::Value linear(mlir::Value x, llvm::StringRef weight,
                     llvm::StringRef bias = "");
  /// RMS norm of the last dimension, or of groups of `group` elements of it.
  mlir::Value rmsNorm(mlir::Value x, llvm::StringRef weight, double epsilon,
                      int64_t group = 0);
  mlir::Value glu(nest::Activation kind, mlir::Value gate, mlir::Value up);
  mlir::Value rope(mlir::Value x, nest::RopeAttr rope);
  mlir::Value add(mlir::Value a, mlir::Value b);
  /// Appends k and v to the layer's caches and attends over them.
  mlir::Value attend(mlir::Value q, mlir::Value k, mlir::Value v, double scale,
                     int64_t window);

private:
  friend class DecoderBuilder;

  mlir::Value get(llvm::StringRef weight);
  mlir::RankedTensorType stream(mlir::Value like, mlir::RankedTensorType weight,
                                unsigned dim);
  mlir::Location at(llvm::StringRef name) const {
    return mlir::NameLoc::get(builder.getStringAttr(name));
  }

  mlir::OpBuilder &builder;
  const WeightTable &weights;
  mlir::Location location;           ///< of operations without a weight
  llvm::StringMap<mlir::Value> gets; ///< in the current region
  mlir::Value tokens, positions, lengths;
  mlir::Value keys, values; ///< caches of the current layer
};

/// What a family says about a decoder-only model.
struct Decoder {
  /// KV heads and their width in a layer's cache.
  struct Cache {
    int64_t heads, headDim;
  };
  std::vector<Cache> caches; ///< one for each layer
  int64_t maxLength = 0;     ///< rows that a cache holds

  /// Tokens to the residual stream, which all layers have the type of.
  llvm::function_ref<mlir::Value(Graph &)> embed;
  /// The residual stream after layer N. Calls Graph::attend once.
  llvm::function_ref<mlir::Value(Graph &, int64_t layer, mlir::Value x)> layer;
  /// The residual stream (last rows only, but for `verify`) to logits.
  llvm::function_ref<mlir::Value(Graph &, mlir::Value x)> head;
};

/// Adds the functions `prefill`, `decode` and `verify` at the insertion point
/// of `builder`; docs/Import.md lists their arguments and results.
void buildDecoder(mlir::OpBuilder &builder, const WeightTable &weights,
                  const Decoder &decoder);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_GRAPH_H
