//===- Graph.cpp - emits the entries of a decoder ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Graph.h"

#include "passes/Submodel.h"

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

/// The stream of rows whose columns are dimension `dim` of a weight.
RankedTensorType Graph::stream(ArrayRef<int64_t> rows, RankedTensorType weight,
                               unsigned dim) {
  SmallVector<int64_t> shape(rows);
  shape.push_back(weight.getDimSize(dim));
  SmallVector<StringAttr> axes(shape.size(), builder.getStringAttr(""));
  SmallVector<int64_t> inner(shape.size(), 1);
  if (OnAttr on = getOn(weight)) {
    axes.back() = on.getAxes()[dim];
    inner.back() = on.getInner()[dim];
  }
  return RankedTensorType::get(
      shape, builder.getF32Type(),
      OnAttr::getOrNull(builder.getContext(), axes, inner));
}

Value Graph::embedIds(StringRef table, Value ids, double scale,
                      std::optional<int64_t> unknown) {
  Value rows = get(table);
  return EmbedOp::create(
      builder, at(table),
      stream(cast<RankedTensorType>(ids.getType()).getShape(),
             weights.type(table), 1),
      ids, rows, builder.getF32FloatAttr(static_cast<float>(scale)),
      unknown ? builder.getI64IntegerAttr(*unknown) : IntegerAttr());
}

Value Graph::embed(StringRef table, double scale,
                   std::optional<int64_t> unknown) {
  return embedIds(table, tokens, scale, unknown);
}

Value Graph::embedPositions(StringRef table) {
  return embedIds(table, positions, /*scale=*/1, /*unknown=*/{});
}

Value Graph::linear(Value x, StringRef weight, StringRef bias) {
  Value w = get(weight);
  Value b = bias.empty() ? Value() : get(bias);
  ArrayRef<int64_t> rows = cast<RankedTensorType>(x.getType()).getShape();
  return LinearOp::create(builder, at(weight),
                          stream(rows.drop_back(), weights.type(weight), 0), x,
                          w, b);
}

Value Graph::norm(NormKind kind, Value x, StringRef weight, StringRef bias,
                  double epsilon, int64_t group) {
  Value w = weight.empty() ? Value() : get(weight);
  Value b = bias.empty() ? Value() : get(bias);
  return NormOp::create(builder, at(weight), x.getType(), kind, x, w, b,
                        APFloat(static_cast<float>(epsilon)),
                        group ? builder.getI64IntegerAttr(group)
                              : IntegerAttr());
}

Value Graph::rmsNorm(Value x, StringRef weight, double epsilon, int64_t group) {
  return norm(NormKind::rms, x, weight, "", epsilon, group);
}

Value Graph::layerNorm(Value x, StringRef weight, StringRef bias,
                       double epsilon) {
  return norm(NormKind::layer, x, weight, bias, epsilon, /*group=*/0);
}

Value Graph::glu(Activation kind, Value gate, Value up) {
  return GluOp::create(builder, location, gate.getType(), kind, gate, up);
}

Value Graph::act(Activation kind, Value x) {
  return ActOp::create(builder, location, x.getType(), kind, x);
}

Value Graph::rope(Value x, RopeAttr rope, Value at) {
  return nest::RopeOp::create(builder, location, x.getType(), x,
                              at ? at : positions, rope);
}

Value Graph::add(Value a, Value b) {
  return arith::AddFOp::create(builder, location, a, b);
}

Value Graph::sub(Value a, Value b) {
  return arith::SubFOp::create(builder, location, a, b);
}

Value Graph::scale(Value x, Value weights) { return scale(x, weights, 0); }

Value Graph::scale(Value x, Value weights, int64_t column) {
  return ScaleOp::create(builder, location, x.getType(), x, weights,
                         builder.getI64IntegerAttr(column));
}

Value Graph::times(Value x, double factor) {
  return TimesOp::create(builder, location, x.getType(), x,
                         APFloat(static_cast<float>(factor)));
}

Value Graph::gain(Value x, StringRef weight) {
  return GainOp::create(builder, at(weight), x.getType(), x, get(weight));
}

Value Graph::rescale(Value x, Value like, double epsilon) {
  return RescaleOp::create(builder, location, x.getType(), x, like,
                           APFloat(static_cast<float>(epsilon)));
}

Value Graph::cutoff(Value x, double factor) {
  return CutoffOp::create(builder, location, x.getType(), x,
                          APFloat(static_cast<float>(factor)));
}

Value Graph::softmax(Value x, Value rows) {
  return SoftmaxOp::create(builder, location, x.getType(), x, rows,
                           rows ? builder.getUnitAttr() : UnitAttr());
}

void Graph::append(Value k, Value v, Value length, Value rows) {
  auto to = [&](Value cache, Value what) {
    return nest::CacheAppendOp::create(builder, location, cache.getType(),
                                       cache, what, length, rows);
  };
  caches.keys = to(caches.keys, k);
  caches.values = to(caches.values, v);
}

Value Graph::attend(Value q, Value length, double scale, int64_t window,
                    double alibi, Value rows, bool compact) {
  return nest::AttentionOp::create(
      builder, location, q.getType(), q, caches.keys, caches.values, length,
      compact ? caches.positions : Value(), rows,
      builder.getF32FloatAttr(static_cast<float>(scale)),
      MaskAttr::get(builder.getContext(), /*causal=*/true, window,
                    alibi == 0
                        ? FloatAttr()
                        : builder.getF32FloatAttr(static_cast<float>(alibi))),
      compact ? builder.getUnitAttr() : UnitAttr());
}

SmallVector<Value> Graph::on(
    Value rows, ValueRange gathered, ValueRange bases, ValueRange carried,
    unsigned bodies,
    llvm::function_ref<SmallVector<Value>(unsigned body, ValueRange packed)>
        build) {
  std::vector<Region> regions(bodies);
  SmallVector<Type> types;
  SmallVector<Location> locations(gathered.size(), location);
  for (unsigned index = 0; index < bodies; ++index) {
    OpBuilder::InsertionGuard guard(builder);
    Block *body = builder.createBlock(&regions[index], {}, gathered.getTypes(),
                                      locations);
    llvm::StringMap<Value> outside;
    std::swap(outside, gets);
    SmallVector<Value> yielded = build(index, body->getArguments());
    YieldOp::create(builder, location, yielded);
    std::swap(outside, gets);
    if (index == 0)
      llvm::append_range(types, ValueRange(yielded).getTypes());
  }
  auto op = OnOp::create(builder, location, types, rows, gathered, bases,
                         carried, bodies);
  for (unsigned index = 0; index < bodies; ++index)
    op.getBodies()[index].takeBody(regions[index]);
  return llvm::to_vector_of<Value>(op.getResults());
}

Value Graph::remap(Value x, AffineMap map, RankedTensorType type, Value base) {
  return RemapOp::create(builder, location, type, x, map, base);
}

Value Graph::remap(StringRef weight, AffineMap map, Value base) {
  return remap(get(weight), map, cast<RankedTensorType>(base.getType()), base);
}

Value Graph::attendAll(Value q, Value k, Value v, int64_t heads, double scale) {
  auto type = cast<RankedTensorType>(k.getType());
  int64_t width = type.getDimSize(2) / heads;
  AffineExpr batch, head, row, column;
  bindDims(builder.getContext(), batch, head, row, column);
  AffineMap map = AffineMap::get(4, 0, {batch, row, head * width + column},
                                 builder.getContext());
  auto headsType = RankedTensorType::get(
      {type.getDimSize(0), heads, type.getDimSize(1), width},
      weights.multiplyType());
  return nest::AttentionOp::create(
      builder, location, q.getType(), q, remap(k, map, headsType),
      remap(v, map, headsType), /*lengths=*/Value(), /*positions=*/Value(),
      /*rows=*/Value(), builder.getF32FloatAttr(static_cast<float>(scale)),
      MaskAttr::get(builder.getContext(), /*causal=*/false, /*window=*/0,
                    /*alibi=*/FloatAttr()),
      /*compact=*/UnitAttr());
}

/// The values in `caches`.
static SmallVector<Value> carried(const LayerCaches &caches) {
  SmallVector<Value> values;
  for (Value value :
       {caches.keys, caches.values, caches.length, caches.positions})
    if (value)
      values.push_back(value);
  return values;
}

Streams
Graph::layer(int64_t index, ValueRange streams,
             llvm::function_ref<Streams(Graph &, int64_t, ValueRange)> build) {
  Location loc = NameLoc::get(builder.getStringAttr("layers." + Twine(index)));
  SmallVector<Value> before = carried(caches);
  SmallVector<Type> types(streams.getTypes());
  llvm::append_range(types, ValueRange(before).getTypes());
  auto layer = LayerOp::create(builder, loc, types, index, streams, before);
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&layer.getBody());
  llvm::StringMap<Value> outside;
  std::swap(outside, gets);
  location = loc;
  Streams yielded = build(*this, index, streams);
  llvm::append_range(yielded, carried(caches));
  YieldOp::create(builder, loc, yielded);
  std::swap(outside, gets);
  unsigned next = streams.size();
  for (Value *value :
       {&caches.keys, &caches.values, &caches.length, &caches.positions})
    if (*value)
      *value = layer.getResult(next++);
  return Streams(layer.getResults().take_front(streams.size()));
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

namespace {
/// An entry: one row or many in, the last row's logits or all out, rows chosen
/// together or each by itself.
struct EntryKind {
  const char *name;
  bool oneRow, allLogits, decodes;
};
} // namespace

static constexpr EntryKind kEntries[] = {{"prefill", false, false, false},
                                         {"decode", true, false, true},
                                         {"verify", false, true, false}};
static constexpr EntryKind kCausalEntries[] = {
    {"prefill_causal", false, false, true},
    {"verify_causal", false, true, true}};

namespace {
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
    graph.decodes = kind.decodes;
    graph.oneRow = kind.oneRow;
    unsigned next = 0;
    auto argument = [&] { return block->getArgument(next++); };
    graph.tokens = argument();
    graph.positions = argument();
    graph.lengths = argument();
    if (decoder.takesModality)
      graph.modality = argument();
    Streams streams = decoder.embed(graph);
    SmallVector<Value> results(1);
    for (const auto &[layer, cache] : llvm::enumerate(decoder.caches)) {
      graph.caches = {};
      if (cache)
        graph.caches = {argument(), argument(), {}, {}};
      if (cache && cache->ownLength)
        graph.caches.length = argument();
      if (cache && cache->ownPositions)
        graph.caches.positions = argument();
      streams =
          graph.layer(static_cast<int64_t>(layer), streams, decoder.layer);
      llvm::append_range(results, carried(graph.caches));
      graph.earlier.push_back(graph.caches);
    }
    if (decoder.finish)
      streams = decoder.finish(graph, streams);
    for (Value &x : streams) {
      if (kind.allLogits || kind.oneRow)
        break;
      auto type = cast<RankedTensorType>(x.getType());
      x = LastOp::create(
          builder, entry.getLoc(),
          RankedTensorType::get({type.getDimSize(0), 1, type.getDimSize(2)},
                                type.getElementType()),
          x, /*rows=*/Value());
    }
    results[0] = decoder.head(graph, streams);
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
    Type i32 = builder.getI32Type();
    auto rows =
        RankedTensorType::get({dynamic, kind.oneRow ? 1 : dynamic}, i32);
    auto lengths = RankedTensorType::get({dynamic}, i32);
    SmallVector<Type> inputs{rows, rows, lengths};
    SmallVector<StringRef> names{"tokens", "positions", "lengths"};
    if (decoder.takesModality) {
      inputs.push_back(rows);
      names.push_back("modality");
    }
    SmallVector<Type> caches;
    SmallVector<StringAttr> cacheNames;
    for (size_t layer = 0; layer < decoder.caches.size(); ++layer) {
      if (!decoder.caches[layer])
        continue;
      const Decoder::Cache &cache = *decoder.caches[layer];
      auto add = [&](const char *part, Type type) {
        caches.push_back(type);
        cacheNames.push_back(
            builder.getStringAttr("layers." + Twine(layer) + "." + part));
      };
      SmallVector<StringAttr> axes(4, builder.getStringAttr(""));
      if (cache.nested)
        axes[1] = builder.getStringAttr(
            AxisTable::name(static_cast<int64_t>(layer), kHeadAxis));
      auto type = RankedTensorType::get(
          {dynamic, cache.heads, decoder.maxLength, cache.headDim},
          weights.multiplyType(),
          OnAttr::getOrNull(builder.getContext(), axes, {1, 1, 1, 1}));
      add("k", type);
      add("v", type);
      if (cache.ownLength)
        add("length", lengths);
      if (cache.ownPositions)
        add("positions",
            RankedTensorType::get({dynamic, decoder.maxLength}, i32));
    }
    SmallVector<Type> results{
        RankedTensorType::get({dynamic}, builder.getF32Type())};
    llvm::append_range(inputs, caches);
    llvm::append_range(results, caches);
    auto entry = func::FuncOp::create(
        builder, NameLoc::get(builder.getStringAttr(kind.name)), kind.name,
        builder.getFunctionType(inputs, results));
    entry->setAttr(kEntryAttr, builder.getStringAttr(kind.name));
    for (const auto &[index, name] : llvm::enumerate(names))
      entry.setArgAttr(index, kNameAttr, builder.getStringAttr(name));
    entry.setResultAttr(0, kNameAttr, builder.getStringAttr("logits"));
    for (const auto &[index, name] : llvm::enumerate(cacheNames)) {
      entry.setArgAttr(names.size() + index, kCacheAttr, name);
      entry.setResultAttr(1 + index, kCacheAttr, name);
    }
    return entry;
  }

  OpBuilder &builder;
  const WeightTable &weights;
  const Decoder &decoder;
};
} // namespace

void nestc::buildDecoder(OpBuilder &builder, const WeightTable &weights,
                         const Decoder &decoder) {
  DecoderBuilder entries(builder, weights, decoder);
  for (const EntryKind &kind : kEntries)
    entries.build(kind);
  if (decoder.decodesApart)
    for (const EntryKind &kind : kCausalEntries)
      entries.build(kind);
}

void nestc::buildEncoder(
    OpBuilder &builder, const WeightTable &weights, StringRef inputName,
    RankedTensorType input,
    llvm::function_ref<std::vector<std::pair<StringRef, Value>>(Graph &, Value)>
        build) {
  OpBuilder::InsertionGuard guard(builder);
  const char *name = "encode";
  auto entry =
      func::FuncOp::create(builder, NameLoc::get(builder.getStringAttr(name)),
                           name, builder.getFunctionType(input, {}));
  entry->setAttr(kEntryAttr, builder.getStringAttr(name));
  entry.setArgAttr(0, kNameAttr, builder.getStringAttr(inputName));
  Block *block = entry.addEntryBlock();
  builder.setInsertionPointToStart(block);
  Graph graph(builder, weights);
  SmallVector<Value> results;
  SmallVector<StringRef> names;
  for (auto [output, value] : build(graph, block->getArgument(0))) {
    names.push_back(output);
    results.push_back(value);
  }
  func::ReturnOp::create(builder, entry.getLoc(), results);
  entry.setType(builder.getFunctionType(input, ValueRange(results).getTypes()));
  for (auto [index, output] : llvm::enumerate(names))
    entry.setResultAttr(index, kNameAttr, builder.getStringAttr(output));
}
