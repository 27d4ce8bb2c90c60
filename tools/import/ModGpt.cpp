//===- ModGpt.cpp - GPT-2 with Mixture-of-Depths ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"
#include "tools/import/Routes.h"

#include <cmath>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {
struct Gpt {
  int64_t numLayers = 0, vocab = 0, hidden = 0, heads = 0, positions = 0,
          maxLength = 0;
  std::vector<int64_t> ffn; ///< one for each layer
  double epsilon = 0, scale = 1;
  nest::Activation activation = nest::Activation::gelu_tanh;
  std::vector<int64_t> eos;
  std::vector<std::string> prefixes; ///< of tensors' names, a layer each
  std::vector<std::optional<Route>> routes;
  std::vector<Router> routers;
};
} // namespace

// D n_embd, F FFN of the layer (on its axis), V vocabulary, N positions. Each
// has a bias along its first dimension where one is stored.
// clang-format off
static const TensorRule kTopTensors[] = {
  {"transformer.wte.weight", "VD"},
  {"transformer.wpe.weight", "ND"},
};
static const TensorRule kLayerTensors[] = {
  {"ln_1",        "D"},
  {"attn.c_proj", "DD"},
  {"ln_2",        "D"},
  {"mlp.c_fc",    "FD"},
  {"mlp.c_proj",  "DF"},
};
// Rows of attn.c_attn.
static const char *const kParts[] = {".q", ".k", ".v"};
// clang-format on

static Expected<Gpt> readConfig(const ImportInput &input) {
  const Config &config = input.config;
  if (config.has("quantization_config"))
    return config.error("quantization_config",
                        "quantised checkpoints are not supported",
                        "tensors of F32, BF16 or F16 and no such key");
  for (const char *key :
       {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    NEST_RT_ASSIGN(bool set, config.flag(key, false));
    if (set)
      return config.error(key, "is true, which is not supported", "false");
  }
  Gpt model;
  NEST_RT_ASSIGN(model.vocab, config.size("vocab_size"));
  NEST_RT_ASSIGN(model.hidden, config.size("n_embd"));
  NEST_RT_ASSIGN(model.numLayers, config.size("n_layer"));
  NEST_RT_TRY(checkDepth(input, "n_layer", model.numLayers));
  NEST_RT_ASSIGN(model.heads, config.size("n_head"));
  if (model.hidden % model.heads != 0)
    return config.error("n_embd",
                        "is " + std::to_string(model.hidden) +
                            ", no multiple of n_head (" +
                            std::to_string(model.heads) + ")",
                        "a multiple of it");
  model.ffn.assign(model.numLayers, 4 * model.hidden);
  if (config.has("n_inner")) {
    NEST_RT_ASSIGN(model.ffn, config.sizesPerLayer("n_inner", model.numLayers));
  }
  NEST_RT_ASSIGN(model.positions, config.sizeOr("n_positions", 1024));
  model.maxLength = model.positions;
  NEST_RT_ASSIGN(model.epsilon, config.positive("layer_norm_epsilon", 1e-5));
  NEST_RT_ASSIGN(model.activation,
                 config.activation("activation_function", "gelu_new"));
  NEST_RT_ASSIGN(bool scales, config.flag("scale_attn_weights", true));
  if (scales)
    model.scale = 1.0 / std::sqrt(model.hidden / model.heads);
  NEST_RT_ASSIGN(model.eos,
                 readEndTokens(input, input.config, 50256, model.vocab));

  for (int64_t layer = 0; layer < model.numLayers; ++layer)
    model.prefixes.push_back("transformer.h." + std::to_string(layer) + ".");
  model.routers.resize(model.numLayers);
  NEST_RT_ASSIGN(model.routes,
                 matchRoutes(input, model.numLayers, [&](int64_t layer) {
                   return model.prefixes[layer] + "mod_router.weight";
                 }));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    const std::optional<Route> &route = model.routes[layer];
    if (!route)
      continue;
    std::string &prefix = model.prefixes[layer];
    Router &router = model.routers[layer];
    router.weight = prefix + "mod_router.weight";
    if (input.checkpoint.find(prefix + "mod_router.bias"))
      router.bias = prefix + "mod_router.bias";
    if (route->usesPredictor() ||
        input.checkpoint.find(prefix + "mod_predictor.0.weight"))
      router.predictor = prefix + "mod_predictor";
    prefix += "block.";
  }
  return model;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// `name`.bias, or nothing where it is not stored.
static std::string biasOf(const ImportInput &input, const std::string &name) {
  std::string bias = name + ".bias";
  return input.checkpoint.find(bias) ? bias : std::string();
}

static Status declareWeights(const ImportInput &input, const Gpt &model,
                             WeightTable &weights) {
  SizeTable sizes;
  sizes.set('V', model.vocab, "vocab_size");
  sizes.set('N', model.positions, "n_positions");
  sizes.set('D', model.hidden, "n_embd");
  NEST_RT_TRY(weights.declare(kTopTensors, 0, sizes));
  auto declare = [&](const std::string &name, StringRef letters,
                     const TensorUse &use = {}) -> Status {
    NEST_RT_TRY(weights.declare(name + ".weight", letters, sizes, use));
    std::string bias = biasOf(input, name);
    if (bias.empty())
      return Status::success();
    return weights.declare(bias, letters.take_front(), sizes, use);
  };
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    sizes.set('F', model.ffn[layer], "n_inner",
              AxisTable::name(layer, kFfnAxis));
    for (int64_t part = 0; part < 3; ++part)
      NEST_RT_TRY(declare(model.prefixes[layer] + "attn.c_attn", "DD",
                          {false, part * model.hidden, 3 * model.hidden,
                           "3 * n_embd", kParts[part]}));
    for (const TensorRule &rule : kLayerTensors)
      NEST_RT_TRY(declare(model.prefixes[layer] + rule.name, rule.shape));
    if (model.routes[layer])
      NEST_RT_TRY(declareRouter(model.routers[layer], input.checkpoint, sizes,
                                weights));
  }
  NEST_RT_TRY(declare("transformer.ln_f", "D"));
  if (input.checkpoint.find("lm_head.weight"))
    NEST_RT_TRY(weights.declare("lm_head.weight", "VD", sizes));
  // Causal masks, as older files store them.
  return weights.checkNothingElse([](StringRef name) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

static LayerParts layerParts(const ImportInput &input, const Gpt &model,
                             int64_t layer) {
  std::string prefix = model.prefixes[layer];
  auto norm = [&](const char *name) {
    std::string full = prefix + name;
    return [weight = full + ".weight", bias = biasOf(input, full),
            epsilon = model.epsilon](Graph &graph, Value x) {
      return graph.layerNorm(x, weight, bias, epsilon);
    };
  };
  auto linear = [&](const char *name, const char *part = "") {
    std::string full = prefix + name, bias = biasOf(input, full);
    if (!bias.empty())
      bias += part;
    return [weight = full + ".weight" + part, bias](Graph &graph, Value x) {
      return graph.linear(x, weight, bias);
    };
  };
  LayerParts parts;
  parts.scale = model.scale;
  parts.before = norm("ln_1");
  parts.query = linear("attn.c_attn", kParts[0]);
  parts.key = linear("attn.c_attn", kParts[1]);
  parts.value = linear("attn.c_attn", kParts[2]);
  parts.output = linear("attn.c_proj");
  parts.feed = [normed = norm("ln_2"), up = linear("mlp.c_fc"),
                down = linear("mlp.c_proj"), activation = model.activation](
                   Graph &graph, Value x, Value) -> LayerParts::Fed {
    Value inner = graph.act(activation, up(graph, normed(graph, x)));
    return {down(graph, inner), Value()};
  };
  return parts;
}

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Gpt model, readConfig(input));
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(declareAxes(input, {{kFfnAxis, model.ffn}}, module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(input, model, weights));
  recordModel(input,
              {"mod-gpt", "gpt2", model.numLayers, model.vocab, model.hidden,
               model.maxLength, model.eos, model.routes},
              weights, module);

  Decoder decoder;
  decoder.maxLength = model.maxLength;
  std::vector<LayerParts> parts;
  auto routeOf = [&](int64_t layer) {
    return model.routes[layer] ? &*model.routes[layer] : nullptr;
  };
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    const Route *route = routeOf(layer);
    parts.push_back(layerParts(input, model, layer));
    decoder.caches.push_back(cacheOf(model.heads, model.hidden / model.heads,
                                     /*window=*/0, route));
    decoder.decodesApart |= route && route->decodesApart();
  }
  auto embed = [&](Graph &graph) -> Streams {
    return {graph.add(graph.embed("transformer.wte.weight"),
                      graph.embedPositions("transformer.wpe.weight"))};
  };
  auto layer = [&](Graph &graph, int64_t index, ValueRange x) -> Streams {
    return {buildLayer(graph, parts[index], routeOf(index),
                       model.routers[index], x.front())};
  };
  bool ownHead = input.checkpoint.find("lm_head.weight");
  auto head = [&](Graph &graph, ValueRange streams) {
    Value x = streams.front();
    Value normed =
        graph.layerNorm(x, "transformer.ln_f.weight",
                        biasOf(input, "transformer.ln_f"), model.epsilon);
    return graph.linear(normed,
                        ownHead ? "lm_head.weight" : "transformer.wte.weight");
  };
  decoder.embed = embed;
  decoder.layer = layer;
  decoder.head = head;
  buildDecoder(builder, weights, decoder);
  return Status::success();
}

const Family nestc::modGptFamily = {"mod-gpt",
                                    {},
                                    {".mod_router.", ".mod_predictor."},
                                    Family::Routes,
                                    build,
                                    "n_layer",
                                    "n_inner",
                                    "transformer.h."};
