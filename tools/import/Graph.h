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

#include <optional>
#include <vector>

namespace nestc {

/// What goes from layer to layer: mostly one value, the residual stream.
using Streams = llvm::SmallVector<mlir::Value, 4>;

/// Caches of a layer. `length` and `positions` (of its rows) are null where the
/// caches hold every row, as `lengths` of the entry says.
struct LayerCaches {
  mlir::Value keys, values, length, positions;
};

/// Emits graph operations of one entry. Streams are [B, T, width] of f32;
/// weights are named as in the checkpoint, and operations have a location named
/// after theirs.
class Graph {
public:
  Graph(mlir::OpBuilder &builder, const WeightTable &weights)
      : builder(builder), weights(weights),
        location(mlir::UnknownLoc::get(builder.getContext())) {}

  /// What the entry was given; `modality` is null where the model has none.
  mlir::Value tokens, positions, lengths, modality;
  /// Of the layer that is built, as they are at this point; all null where it
  /// has none.
  LayerCaches caches;
  /// Of the layers before, as they are after the call.
  std::vector<LayerCaches> earlier;
  /// Whether rows are chosen as in a decode; whether a call has a single row.
  bool decodes = false, oneRow = false;

  /// Rows of a table for the tokens of the entry, or for its positions. Tokens
  /// that the table has no row for read row `unknown`.
  mlir::Value embed(llvm::StringRef table, double scale = 1,
                    std::optional<int64_t> unknown = {});
  mlir::Value embedPositions(llvm::StringRef table);
  /// x w^T, and a bias unless its name is empty.
  mlir::Value linear(mlir::Value x, llvm::StringRef weight,
                     llvm::StringRef bias = "");
  /// RMS norm of the last dimension, or of groups of `group` elements of it.
  /// Norms have no weight where its name is empty.
  mlir::Value rmsNorm(mlir::Value x, llvm::StringRef weight, double epsilon,
                      int64_t group = 0);
  /// Layer norm of the last dimension; no bias where its name is empty.
  mlir::Value layerNorm(mlir::Value x, llvm::StringRef weight,
                        llvm::StringRef bias, double epsilon);
  mlir::Value glu(nest::Activation kind, mlir::Value gate, mlir::Value up);
  mlir::Value act(nest::Activation kind, mlir::Value x);
  /// By the positions given, else by those of the entry.
  mlir::Value rope(mlir::Value x, nest::RopeAttr rope, mlir::Value at = {});
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  /// Row by row times a weight.
  mlir::Value scale(mlir::Value x, mlir::Value weights);
  mlir::Value times(mlir::Value x, double factor);
  /// Row by row times column `column` of weights.
  mlir::Value scale(mlir::Value x, mlir::Value weights, int64_t column);
  /// Column by column times a weight.
  mlir::Value gain(mlir::Value x, llvm::StringRef weight);
  /// x with the root mean square of another stream, row by row.
  mlir::Value rescale(mlir::Value x, mlir::Value like, double epsilon);
  /// What of each row lies above its mean and `factor` deviations.
  mlir::Value cutoff(mlir::Value x, double factor);
  /// Over the last dimension, or with `rows` over those rows of a sequence.
  mlir::Value softmax(mlir::Value x, mlir::Value rows = {});

  /// Appends k and v to the layer's caches behind `length` rows; with `rows`
  /// they are packed by that set.
  void append(mlir::Value k, mlir::Value v, mlir::Value length,
              mlir::Value rows = {});
  /// Attends over the caches, which held `length` rows before the call; with
  /// `rows` queries are packed, and caches hold these rows only if `compact`.
  /// `alibi` is that of the mask, 0 for none.
  mlir::Value attend(mlir::Value q, mlir::Value length, double scale,
                     int64_t window, double alibi, mlir::Value rows = {},
                     bool compact = false);

  /// Elements in other places, of `type`; with `base` added to it.
  mlir::Value remap(mlir::Value x, mlir::AffineMap map,
                    mlir::RankedTensorType type, mlir::Value base = {});
  /// The same of a weight.
  mlir::Value remap(llvm::StringRef weight, mlir::AffineMap map,
                    mlir::Value base);
  /// Attends over the rows of the call, which all see each other, in `heads`
  /// heads.
  mlir::Value attendAll(mlir::Value q, mlir::Value k, mlir::Value v,
                        int64_t heads, double scale);

  /// A nest.layer around what `build` emits; on return the caches are the
  /// layer's results.
  Streams
  layer(int64_t index, mlir::ValueRange streams,
        llvm::function_ref<Streams(Graph &, int64_t, mlir::ValueRange)> build);

  /// A nest.on with `bodies` bodies. `build` emits a body on packed rows and
  /// gives what it yields; the first body says what is assembled.
  llvm::SmallVector<mlir::Value>
  on(mlir::Value rows, mlir::ValueRange gathered, mlir::ValueRange bases,
     mlir::ValueRange carried, unsigned bodies,
     llvm::function_ref<llvm::SmallVector<mlir::Value>(unsigned body,
                                                       mlir::ValueRange packed)>
         build);

  /// For operations that only one family or the routes have.
  mlir::OpBuilder &ops() { return builder; }
  mlir::Location loc() const { return location; }

private:
  mlir::Value get(llvm::StringRef weight);
  mlir::RankedTensorType stream(llvm::ArrayRef<int64_t> rows,
                                mlir::RankedTensorType weight, unsigned dim);
  mlir::Value embedIds(llvm::StringRef table, mlir::Value ids, double scale,
                       std::optional<int64_t> unknown);
  mlir::Value norm(nest::NormKind kind, mlir::Value x, llvm::StringRef weight,
                   llvm::StringRef bias, double epsilon, int64_t group);
  mlir::Location at(llvm::StringRef name) const {
    return mlir::NameLoc::get(builder.getStringAttr(name));
  }

  mlir::OpBuilder &builder;
  const WeightTable &weights;
  mlir::Location location;           ///< of operations without a weight
  llvm::StringMap<mlir::Value> gets; ///< in the current region
};

/// What a family says about a decoder-only model.
struct Decoder {
  /// KV heads and their width in a layer's cache; whether the layer counts its
  /// rows itself, and whether it keeps their positions.
  struct Cache {
    int64_t heads, headDim;
    bool ownLength = false, ownPositions = false;
    bool nested = false; ///< heads lie on the layer's axis of heads
  };
  /// One for each layer; none for one that attends over another's.
  std::vector<std::optional<Cache>> caches;
  int64_t maxLength = 0; ///< rows that a cache holds
  bool takesModality = false;
  /// Whether rows are chosen in a decode otherwise than in a prefill: there are
  /// `prefill_causal` and `verify_causal` too then.
  bool decodesApart = false;

  /// Tokens to the streams, which all layers take and give.
  llvm::function_ref<Streams(Graph &)> embed;
  /// The streams after layer N. Updates Graph::caches.
  llvm::function_ref<Streams(Graph &, int64_t layer, mlir::ValueRange)> layer;
  /// What is done to all rows behind the layers (optional).
  llvm::function_ref<Streams(Graph &, mlir::ValueRange)> finish;
  /// The streams (last rows only, but for `verify`) to logits.
  llvm::function_ref<mlir::Value(Graph &, mlir::ValueRange)> head;
};

/// Adds the functions `prefill`, `decode` and `verify`, and those that
/// `decodesApart` asks for, at the insertion point of `builder`; docs/Import.md
/// lists their arguments and results.
void buildDecoder(mlir::OpBuilder &builder, const WeightTable &weights,
                  const Decoder &decoder);

/// Adds the function `encode` of one input without caches. `build` emits it and
/// gives its results with their names.
void buildEncoder(
    mlir::OpBuilder &builder, const WeightTable &weights,
    llvm::StringRef inputName, mlir::RankedTensorType input,
    llvm::function_ref<std::vector<std::pair<llvm::StringRef, mlir::Value>>(
        Graph &, mlir::Value)>
        build);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_GRAPH_H
