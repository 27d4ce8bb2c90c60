//===- Graph.cpp - emits the entries of a decoder ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Graph.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

Value Graph::get(StringRef weight) {
  Value &value = gets[weight];
  if (!value)
    value = GetOp::create(builder, at(weight), weights.type(weight),
                          FlatSymbolRefAttr::get(builder.getContext(), weight),
                          ValueRange());
  return value;
}

/// The stream of `like`'s rows whose columns are dimension `dim` of a weight.
RankedTensorType Graph::stream(Value like, RankedTensorType weight,
                               unsigned dim) {
  SmallVector<int64_t> shape(cast<RankedTensorType>(like.getType()).getShape());
  shape.resize(2);
  shape.push_back(weight.getDimSize(dim));
  SmallVector<StringAttr> axes(3, builder.getStringAttr(""));
  SmallVector<int64_t> inner(3, 1);
  if (OnAttr on = getOn(weight)) {
    axes[2] = on.getAxes()[dim];
    inner[2] = on.getInner()[dim];
  }
  return RankedTensorType::get(
      shape, builder.getF32Type(),
      OnAttr::getOrNull(builder.getContext(), axes, inner));
}

Value Graph::embed(StringRef table) {
  Value rows = get(table);
  return EmbedOp::create(builder, at(table),
                         stream(tokens, weights.type(table), 1), tokens, rows,
                         builder.getF32FloatAttr(1.0f));
}

Value Graph::linear(Value x, StringRef weight, StringRef bias) {
  Value w = get(weight);
  Value b = bias.empty() ? Value() : get(bias);
  return LinearOp::create(builder, at(weight),
                          stream(x, weights.type(weight), 0), x, w, b);
}

Value Graph::rmsNorm(Value x, StringRef weight, double epsilon, int64_t group) {
  Value w = get(weight);
  return NormOp::create(builder, at(weight), x.getType(), NormKind::rms, x, w,
                        /*bias=*/Value(), APFloat(static_cast<float>(epsilon)),
                        group ? builder.getI64IntegerAttr(group)
                              : IntegerAttr());
}

Value Graph::glu(Activation kind, Value gate, Value up) {
  return GluOp::create(builder, location, gate.getType(), kind, gate, up);
}

Value Graph::rope(Value x, RopeAttr rope) {
  return nest::RopeOp::create(builder, location, x.getType(), x, positions,
                              rope);
}

Value Graph::add(Value a, Value b) {
  return arith::AddFOp::create(builder, location, a, b);
}

Value Graph::attend(Value q, Value k, Value v, double scale, int64_t window) {
  keys = nest::CacheAppendOp::create(builder, location, keys.getType(), keys, k,
                                     lengths, /*family=*/Value());
  values = nest::CacheAppendOp::create(builder, location, values.getType(),
                                       values, v, lengths, /*family=*/Value());
  return nest::AttentionOp::create(
      builder, location, q.getType(), q, keys, values, lengths,
      /*positions=*/Value(), /*rows=*/Value(),
      builder.getF32FloatAttr(static_cast<float>(scale)),
      MaskAttr::get(builder.getContext(), /*causal=*/true, window),
      /*compact=*/UnitAttr());
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

namespace {
/// An entry: one row or many in, the last row's logits or all out.
struct EntryKind {
  const char *name;
  bool oneRow, allLogits;
};
} // namespace

static constexpr EntryKind kEntries[] = {{"prefill", false, false},
                                         {"decode", true, false},
                                         {"verify", false, true}};

namespace nestc {
/// Emits one entry after the other.
class DecoderBuilder {
public:
  DecoderBuilder(OpBuilder &builder, const WeightTable &weights,
                 const Decoder &decoder)
      : builder(builder), weights(weights), decoder(decoder) {}

  void build(const EntryKind &kind) {
    OpBuilder::InsertionGuard guard(builder);
    func::FuncOp entry = declare(kind);
    Block *block = entry.addEntryBlock();
    builder.setInsertionPointToStart(block);

    Graph graph(builder, weights);
    graph.tokens = block->getArgument(0);
    graph.positions = block->getArgument(1);
    graph.lengths = block->getArgument(2);
    Value x = decoder.embed(graph);
    SmallVector<Value> results(1);
    for (size_t layer = 0; layer < decoder.caches.size(); ++layer) {
      graph.keys = block->getArgument(3 + 2 * layer);
      graph.values = block->getArgument(4 + 2 * layer);
      x = buildLayer(graph, static_cast<int64_t>(layer), x);
      results.append({graph.keys, graph.values});
    }
    if (!kind.allLogits && !kind.oneRow) {
      auto type = cast<RankedTensorType>(x.getType());
      x = LastOp::create(
          builder, entry.getLoc(),
          RankedTensorType::get({type.getDimSize(0), 1, type.getDimSize(2)},
                                type.getElementType()),
          x, /*rows=*/Value());
    }
    results[0] = decoder.head(graph, x);
    func::ReturnOp::create(builder, entry.getLoc(), results);

    // The head says how wide the logits are.
    SmallVector<Type> types(entry.getFunctionType().getResults());
    types[0] = results[0].getType();
    entry.setType(
        builder.getFunctionType(entry.getFunctionType().getInputs(), types));
  }

private:
  func::FuncOp declare(const EntryKind &kind) {
    constexpr int64_t dynamic = ShapedType::kDynamic;
    MLIRContext *context = builder.getContext();
    Type i32 = builder.getI32Type();
    auto rows =
        RankedTensorType::get({dynamic, kind.oneRow ? 1 : dynamic}, i32);
    SmallVector<Type> inputs{rows, rows, RankedTensorType::get({dynamic}, i32)};
    SmallVector<Type> results{
        RankedTensorType::get({dynamic}, builder.getF32Type())};
    for (const Decoder::Cache &cache : decoder.caches) {
      auto type = RankedTensorType::get(
          {dynamic, cache.heads, decoder.maxLength, cache.headDim},
          weights.multiplyType());
      inputs.append({type, type});
      results.append({type, type});
    }
    auto entry = func::FuncOp::create(
        builder, NameLoc::get(StringAttr::get(context, kind.name)), kind.name,
        builder.getFunctionType(inputs, results));
    entry->setAttr(kEntryAttr, builder.getStringAttr(kind.name));
    const char *names[] = {"tokens", "positions", "lengths"};
    for (unsigned i = 0; i < 3; ++i)
      entry.setArgAttr(i, kNameAttr, builder.getStringAttr(names[i]));
    entry.setResultAttr(0, kNameAttr, builder.getStringAttr("logits"));
    for (unsigned layer = 0; layer < decoder.caches.size(); ++layer)
      for (unsigned part = 0; part < 2; ++part) {
        auto name = builder.getStringAttr("layers." + Twine(layer) +
                                          (part ? ".v" : ".k"));
        entry.setArgAttr(3 + 2 * layer + part, kCacheAttr, name);
        entry.setResultAttr(1 + 2 * layer + part, kCacheAttr, name);
      }
    return entry;
  }

  /// A nest.layer around what the family emits; on return the graph's caches
  /// are the layer's results.
  Value buildLayer(Graph &graph, int64_t index, Value x) {
    Location loc =
        NameLoc::get(builder.getStringAttr("layers." + Twine(index)));
    Value carried[] = {graph.keys, graph.values};
    Type types[] = {x.getType(), carried[0].getType(), carried[1].getType()};
    auto layer = LayerOp::create(builder, loc, TypeRange(types), index,
                                 ValueRange(x), ValueRange(carried));
    OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(&layer.getBody());
    llvm::StringMap<Value> outside;
    std::swap(outside, graph.gets);
    graph.location = loc;
    Value result = decoder.layer(graph, index, x);
    YieldOp::create(builder, loc, ValueRange{result, graph.keys, graph.values});
    std::swap(outside, graph.gets);
    graph.keys = layer.getResult(1);
    graph.values = layer.getResult(2);
    return layer.getResult(0);
  }

  OpBuilder &builder;
  const WeightTable &weights;
  const Decoder &decoder;
};
} // namespace nestc

void nestc::buildDecoder(OpBuilder &builder, const WeightTable &weights,
                         const Decoder &decoder) {
  DecoderBuilder entries(builder, weights, decoder);
  for (const EntryKind &kind : kEntries)
    entries.build(kind);
}
