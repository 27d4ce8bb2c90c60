//===- Routes.cpp - what a layer is, and what a route makes of it -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Routes.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;
using namespace nestc::nest;

CapacityAttr Route::capacity(MLIRContext *context) const {
  return CapacityAttr::get(context, numerator, denominator, rounding, minimum);
}

//===----------------------------------------------------------------------===//
// Weights and caches
//===----------------------------------------------------------------------===//

Status nestc::declareRouter(const Router &router, const Checkpoint &checkpoint,
                            SizeTable &sizes, WeightTable &weights) {
  TensorUse exact;
  exact.exact = true;
  sizes.set('1', 1, "1");
  NEST_RT_TRY(weights.declare(router.weight, "1D", sizes, exact));
  if (!router.bias.empty())
    NEST_RT_TRY(weights.declare(router.bias, "1", sizes));
  if (router.predictor.empty())
    return Status::success();
  const TensorInfo *first = checkpoint.find(router.predictor + ".0.weight");
  bool known = first && first->shape.size() == 2 && first->shape[0] > 0;
  sizes.set('P', known ? first->shape[0] : 1, "rows of .0.weight");
  NEST_RT_TRY(
      weights.declare(router.predictor + ".0.weight", "PD", sizes, exact));
  NEST_RT_TRY(weights.declare(router.predictor + ".0.bias", "P", sizes));
  NEST_RT_TRY(
      weights.declare(router.predictor + ".2.weight", "1P", sizes, exact));
  return weights.declare(router.predictor + ".2.bias", "1", sizes);
}

Decoder::Cache nestc::cacheOf(int64_t heads, int64_t headDim, int64_t window,
                              const Route *route) {
  bool own = route && route->scope != Route::Scope::Ffn && !route->keepsAll;
  return {heads, headDim, own, own && window != 0};
}

DictionaryAttr
nestc::describeRoutes(MLIRContext *context,
                      llvm::ArrayRef<std::optional<Route>> routes) {
  static const char *const kRules[] = {"topk", "threshold", "predictor",
                                       "always", "never"};
  Builder builder(context);
  NamedAttrList list;
  for (const auto &[layer, route] : llvm::enumerate(routes)) {
    if (!route)
      continue;
    auto rule = [&](Route::Rule rule) {
      return builder.getStringAttr(kRules[static_cast<unsigned>(rule)]);
    };
    NamedAttrList one;
    one.append("capacity", route->capacity(context));
    one.append("select", rule(route->select));
    one.append("decode", rule(route->decode));
    if (route->scope != Route::Scope::Ffn)
      one.append("kv",
                 builder.getStringAttr(route->keepsAll ? "all" : "selected"));
    list.append(std::to_string(layer), one.getDictionary(context));
  }
  return list.getDictionary(context);
}

//===----------------------------------------------------------------------===//
// Which rows
//===----------------------------------------------------------------------===//

namespace {
/// Builds the region of one route.
class RoutedRegion {
public:
  RoutedRegion(Graph &graph, const LayerParts &parts, const Route &route,
               const Router &router)
      : graph(graph), parts(parts), route(route), router(router) {}

  /// Chooses rows of x and runs the region on them.
  Value build(Value x) {
    scores = graph.linear(x, router.weight, router.bias);
    rows = select(x);
    bool attends = route.scope != Route::Scope::Ffn;
    if (attends && route.keepsAll)
      appendAll(x);
    bool selected = attends && !route.keepsAll;

    SmallVector<Value> gathered{x};
    auto gather = [&](bool needed, Value value) {
      if (needed)
        gathered.push_back(value);
      return needed ? static_cast<int>(gathered.size()) - 1 : -1;
    };
    bool original = attends && ((parts.rope && !route.compact) ||
                                (selected && graph.caches.positions));
    int positionsAt = gather(original, graph.positions);
    int scoresAt = gather(usesScores(), scores);

    SmallVector<Value> carried;
    LayerCaches before = graph.caches;
    if (selected) {
      carried = {before.keys, before.values};
      if (before.positions)
        carried.push_back(before.positions);
    }
    SmallVector<Value> results = graph.on(
        rows, gathered, {x}, carried, 1, [&](unsigned, ValueRange packed) {
          positions = positionsAt < 0 ? Value() : packed[positionsAt];
          Value r = scoresAt < 0 ? Value() : weigh(packed[scoresAt]);
          SmallVector<Value> yielded{pass(packed[0], r)};
          if (selected) {
            yielded.append({graph.caches.keys, graph.caches.values});
            if (graph.caches.positions)
              yielded.push_back(graph.caches.positions);
          }
          return yielded;
        });
    if (selected) {
      graph.caches.keys = results[1];
      graph.caches.values = results[2];
      if (before.positions)
        graph.caches.positions = results[3];
      graph.caches.length =
          AdvanceOp::create(graph.ops(), graph.loc(), before.length.getType(),
                            before.length, graph.tokens, rows);
    }
    return results[0];
  }

private:
  Value top(CapacityAttr capacity, Value ranked) {
    MLIRContext *context = graph.ops().getContext();
    return SelectOp::create(graph.ops(), graph.loc(),
                            RowsType::get(context, 1, false, capacity), ranked,
                            Value(), capacity, FloatAttr());
  }

  Value select(Value x) {
    OpBuilder &builder = graph.ops();
    MLIRContext *context = builder.getContext();
    auto part = [&](int64_t numerator) {
      return CapacityAttr::get(context, numerator, 1, Rounding::floor, 0);
    };
    auto above = [&](Value ranked) -> Value {
      return SelectOp::create(builder, graph.loc(),
                              RowsType::get(context, 1, false, CapacityAttr()),
                              ranked, Value(), CapacityAttr(),
                              builder.getF32FloatAttr(route.limit));
    };
    switch (graph.decodes ? route.decode : route.select) {
    case Route::Rule::TopK: {
      CapacityAttr capacity = route.capacity(context);
      // Each row by itself is the call of one row.
      if (graph.decodes && !graph.oneRow)
        capacity = part(capacity.of(1));
      return top(capacity, ranked());
    }
    case Route::Rule::Threshold:
      return above(ranked());
    case Route::Rule::Predictor:
      return above(predicted(x));
    case Route::Rule::Always:
      return top(part(1), scores);
    case Route::Rule::Never:
      return top(part(0), scores);
    }
    return {};
  }

  Value ranked() {
    if (!route.rankOnWeight || route.weight == Route::Weight::Logit)
      return scores;
    if (route.weight == Route::Weight::Sigmoid)
      return graph.act(Activation::sigmoid, scores);
    // The weight is 1: a softmax of one element.
    return graph.softmax(scores);
  }

  Value predicted(Value x) {
    const std::string &name = router.predictor;
    Value inner = graph.linear(x, name + ".0.weight", name + ".0.bias");
    inner = graph.act(Activation::silu, inner);
    Value score = graph.linear(inner, name + ".2.weight", name + ".2.bias");
    return graph.act(Activation::sigmoid, score);
  }

  //===--------------------------------------------------------------------===//
  // With which weight
  //===--------------------------------------------------------------------===//

  bool usesScores() const {
    if (route.gate == Route::Gate::Additive || route.gate == Route::Gate::Hard)
      return false;
    // A row that is chosen by itself is the only one of its softmax.
    return route.weight != Route::Weight::One &&
           !(route.weight == Route::Weight::SoftmaxSelected && graph.decodes);
  }

  Value weigh(Value packedScores) {
    switch (route.weight) {
    case Route::Weight::Logit:
      return packedScores;
    case Route::Weight::Sigmoid:
      return graph.act(Activation::sigmoid, packedScores);
    case Route::Weight::SoftmaxSelected:
      return graph.softmax(packedScores, rows);
    case Route::Weight::One:
      break;
    }
    return {};
  }

  //===--------------------------------------------------------------------===//
  // What they get
  //===--------------------------------------------------------------------===//

  /// K and V of all rows, kept whatever is chosen.
  void appendAll(Value x) {
    Value h = parts.before(graph, x);
    Value k = parts.key(graph, h);
    Value v = parts.value(graph, h);
    if (parts.rope)
      k = graph.rope(k, parts.rope);
    graph.append(k, v, graph.lengths);
  }

  /// What attention adds to packed rows.
  Value attend(Value x) {
    Value h = parts.before(graph, x);
    Value q = parts.query(graph, h);
    if (route.keepsAll) {
      if (parts.rope)
        q = graph.rope(q, parts.rope, positions);
      return parts.output(graph, graph.attend(q, graph.lengths, parts.scale,
                                              parts.window, parts.alibi, rows));
    }
    Value k = parts.key(graph, h);
    Value v = parts.value(graph, h);
    Value length = graph.caches.length;
    if (parts.rope) {
      Value at = positions;
      if (route.compact)
        at = RankOp::create(graph.ops(), graph.loc(), graph.positions.getType(),
                            length, graph.tokens, rows);
      q = graph.rope(q, parts.rope, at);
      k = graph.rope(k, parts.rope, at);
    }
    graph.append(k, v, length, rows);
    if (graph.caches.positions)
      graph.caches.positions = CacheAppendOp::create(
          graph.ops(), graph.loc(), graph.caches.positions.getType(),
          graph.caches.positions, positions, length, rows);
    return parts.output(graph, graph.attend(q, length, parts.scale,
                                            parts.window, parts.alibi, rows,
                                            /*compact=*/true));
  }

  Value scaled(Value value, Value r) {
    return r ? graph.scale(value, r) : value;
  }

  Value pass(Value x, Value r) {
    Value h = x;
    if (route.scope != Route::Scope::Ffn)
      h = graph.add(x, attend(x));
    LayerParts::Fed fed;
    if (route.scope != Route::Scope::Attention)
      fed = parts.feed(graph, h, rows);
    bool gatesFfn = route.gate == Route::Gate::FfnGated ||
                    route.gate == Route::Gate::FfnGatedDouble;
    if (gatesFfn) {
      Value base = h;
      if (route.gate == Route::Gate::FfnGatedDouble)
        base = graph.add(x, h);
      Value added = fed.added ? fed.added : graph.sub(fed.sum, h);
      return graph.add(base, scaled(added, r));
    }
    Value body = fed.sum ? fed.sum : fed.added ? graph.add(h, fed.added) : h;
    switch (route.gate) {
    case Route::Gate::Delta:
      // With the weight 1 nothing is left of the difference.
      return r ? graph.add(x, graph.scale(graph.sub(body, x), r)) : body;
    case Route::Gate::DoubleResidual:
      return graph.add(x, scaled(body, r));
    case Route::Gate::Additive:
      return graph.add(x, body);
    case Route::Gate::Replace:
      return scaled(body, r);
    default: // Hard
      return body;
    }
  }

  Graph &graph;
  const LayerParts &parts;
  const Route &route;
  const Router &router;
  Value scores, rows;
  Value positions; ///< of packed rows
};
} // namespace

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

/// Attention on every row, with its residual.
static Value attendAll(Graph &graph, const LayerParts &parts, Value x) {
  Value h = parts.before(graph, x);
  Value q = parts.query(graph, h);
  Value k = parts.key(graph, h);
  Value v = parts.value(graph, h);
  if (parts.rope) {
    q = graph.rope(q, parts.rope);
    k = graph.rope(k, parts.rope);
  }
  graph.append(k, v, graph.lengths);
  Value attended =
      graph.attend(q, graph.lengths, parts.scale, parts.window, parts.alibi);
  return graph.add(x, parts.output(graph, attended));
}

/// The FFN on every row, with its residual.
static Value feedAll(Graph &graph, const LayerParts &parts, Value x) {
  LayerParts::Fed fed = parts.feed(graph, x, Value());
  return fed.sum ? fed.sum : graph.add(x, fed.added);
}

Value nestc::buildLayer(Graph &graph, const LayerParts &parts,
                        const Route *route, const Router &router, Value x) {
  if (!route)
    return feedAll(graph, parts, attendAll(graph, parts, x));
  if (route->scope == Route::Scope::Ffn)
    x = attendAll(graph, parts, x);
  x = RoutedRegion(graph, parts, *route, router).build(x);
  if (route->scope == Route::Scope::Attention)
    x = feedAll(graph, parts, x);
  return x;
}
