//===- Mod.cpp - llama with Mixture-of-Depths ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Llama.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Llama model, readLlama(input));
  auto routerOf = [&](int64_t layer) {
    return model.prefixes[layer] + "router.";
  };
  NEST_RT_ASSIGN(model.routes,
                 matchRoutes(input, model.numLayers, [&](int64_t layer) {
                   return routerOf(layer) + "weight_predictor.weight";
                 }));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    const std::optional<Route> &route = model.routes[layer];
    if (!route)
      continue;
    std::string name = routerOf(layer);
    Router &router = model.routers[layer];
    router.weight = name + "weight_predictor.weight";
    router.bias = name + "weight_predictor.bias";
    if (route->usesPredictor() ||
        input.checkpoint.find(name + "predictor.0.weight"))
      router.predictor = name + "predictor";
    model.prefixes[layer] += "block.";
  }
  auto declare = [&](WeightTable &weights, SizeTable &sizes, int64_t layer) {
    if (!model.routes[layer])
      return Status::success();
    return declareRouter(model.routers[layer], input.checkpoint, sizes,
                         weights);
  };
  return buildLlama(input, model, "mod", module, declare);
}

const Family nestc::modFamily = {"mod",
                                 {"llama", "mistral"},
                                 {".router.", ".block."},
                                 Family::Routes,
                                 build};
