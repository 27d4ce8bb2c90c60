//===- Mode.cpp - llama with Mixture-of-Depths-and-Experts -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An FFN of experts: every row takes the slots with the largest scores, each
// for its probability. The last slot may be a no-op. Staged: a router before
// the layer as well, as in the family mod.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Llama.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {
struct Experts {
  int64_t count = 0, chosen = 0, noops = 0;
  bool noopAddsInput = false;
  std::vector<bool> layers;
  int64_t slots() const { return count + noops; }
};
} // namespace

// clang-format off
static const TensorRule kExpertTensors[] = {
  {"gate_proj.weight", "FD"},
  {"up_proj.weight",   "FD"},
  {"down_proj.weight", "DF"},
};
// clang-format on

static Expected<Experts> readExperts(const Config &config, int64_t numLayers) {
  Experts experts;
  NEST_RT_ASSIGN(experts.count, config.size("num_experts"));
  NEST_RT_ASSIGN(experts.chosen, config.size("num_experts_per_tok"));
  NEST_RT_ASSIGN(experts.noops,
                 config.root().getIntOr("noop_experts", 0, 0, 1));
  // Sets of a family are numbered in 16 bits.
  if (experts.slots() > UINT16_MAX)
    return config.error("num_experts", "is " + std::to_string(experts.count),
                        "at most 65534 experts");
  if (experts.chosen > experts.slots())
    return config.error(
        "num_experts_per_tok", "is " + std::to_string(experts.chosen),
        "at most the number of slots, " + std::to_string(experts.slots()));
  if (config.has("noop")) {
    NEST_RT_ASSIGN(JsonReader noop, config.root().get("noop"));
    NEST_RT_ASSIGN(size_t kind, noop.asOneOf({"zero", "weighted_identity"}));
    experts.noopAddsInput = kind == 1;
  }
  experts.layers.assign(numLayers, !config.has("moe_layers"));
  if (config.has("moe_layers")) {
    NEST_RT_ASSIGN(JsonReader list, config.root().get("moe_layers"));
    NEST_RT_ASSIGN(auto layers, list.asIntList(0, numLayers - 1));
    for (int64_t layer : layers)
      experts.layers[layer] = true;
  }
  return experts;
}

/// x and what the experts make of its norm h, row by row.
static Value buildExperts(Graph &graph, const Experts &experts,
                          const std::string &prefix,
                          nest::Activation activation, Value x, Value h,
                          Value rows) {
  OpBuilder &b = graph.ops();
  Location loc = graph.loc();
  Value logits = graph.linear(h, prefix + "router.weight");
  Value probabilities = graph.softmax(logits);
  auto family = nest::RowsType::get(b.getContext(), experts.slots(),
                                    /*cover=*/true, nest::CapacityAttr());
  auto shape = cast<RankedTensorType>(h.getType()).getShape();
  auto one = RankedTensorType::get({shape[0], shape[1], 1}, b.getF32Type());
  // A no-op that adds nothing needs no body: its rows stay as they are.
  bool noopHasBody = experts.noops && experts.noopAddsInput;
  for (int64_t choice = 0; choice < experts.chosen; ++choice) {
    // The order of the scores is that of the probabilities.
    Value sets = nest::AssignOp::create(b, loc, family, logits, rows,
                                        b.getI64IntegerAttr(choice));
    Value chosen = nest::ChosenOp::create(b, loc, one, probabilities, sets);
    Value weight = nest::SpreadOp::create(b, loc, one, chosen, sets, Value());
    auto body = [&](unsigned slot, ValueRange packed) -> SmallVector<Value> {
      Value inner = packed[0];
      if (slot < experts.count) {
        std::string name = prefix + "experts." + std::to_string(slot) + ".";
        Value gate = graph.linear(inner, name + "gate_proj.weight");
        Value up = graph.linear(inner, name + "up_proj.weight");
        inner = graph.linear(graph.glu(activation, gate, up),
                             name + "down_proj.weight");
      }
      return {graph.add(packed[2], graph.scale(inner, packed[1]))};
    };
    x = graph
            .on(sets, {h, weight, x}, {x}, {},
                experts.count + (noopHasBody ? 1 : 0), body)
            .front();
  }
  return x;
}

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Llama model, readLlama(input));
  NEST_RT_ASSIGN(Experts experts, readExperts(input.config, model.numLayers));
  auto routerOf = [&](int64_t layer) {
    return model.prefixes[layer] + "router.weight";
  };
  NEST_RT_ASSIGN(model.routes, matchRoutes(input, model.numLayers, routerOf));
  model.ownFfn = experts.layers;
  for (int64_t layer = 0; layer < model.numLayers; ++layer)
    if (const std::optional<Route> &route = model.routes[layer]) {
      if (route->usesPredictor())
        return Error(route->place, "uses a predictor, which mode does not have",
                     "topk, threshold:T, always or never");
      model.routers[layer].weight = routerOf(layer);
    }
  auto prefixOf = [&](int64_t layer) { return model.prefixes[layer] + "mlp."; };
  auto declare = [&](WeightTable &weights, SizeTable &sizes,
                     int64_t layer) -> Status {
    if (model.routes[layer])
      NEST_RT_TRY(declareRouter(model.routers[layer], input.checkpoint, sizes,
                                weights));
    if (!experts.layers[layer])
      return Status::success();
    TensorUse exact;
    exact.exact = true;
    sizes.set('E', experts.slots(), "num_experts + noop_experts");
    NEST_RT_TRY(
        weights.declare(prefixOf(layer) + "router.weight", "ED", sizes, exact));
    for (int64_t expert = 0; expert < experts.count; ++expert)
      NEST_RT_TRY(weights.declare(kExpertTensors, 0, sizes,
                                  prefixOf(layer) + "experts." +
                                      std::to_string(expert) + "."));
    return Status::success();
  };
  model.feed = [&](Graph &graph, int64_t layer, Value x, Value h, Value rows) {
    return LayerParts::Fed{Value(),
                           buildExperts(graph, experts, prefixOf(layer),
                                        model.activation, x, h, rows)};
  };
  return buildLlama(input, model, "mode", module, declare);
}

const Family nestc::modeFamily = {"mode", {"mode"}, {}, Family::Routes, build};
