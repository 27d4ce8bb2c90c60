//===- Olmo.cpp - OLMo as MatFormer-OLMo trains it --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sequential blocks only: MatFormer-OLMo nests no others.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"
#include "tools/import/Rope.h"
#include "tools/import/Routes.h"

#include <cmath>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {
struct Olmo {
  int64_t numLayers = 0, vocab = 0, rows = 0, hidden = 0, heads = 0,
          kvHeads = 0, maxLength = 0;
  std::vector<int64_t> ffn; ///< one for each layer; of swiglu a half
  double epsilon = 0, alibi = 0;
  bool rope = false, gated = false, tied = true, rms = false;
  bool bias = true, normBias = true, affine = true;
  bool headNorms = false, headAffine = true;
  RopeConfig ropeConfig;
  nest::Activation activation = nest::Activation::silu;
  std::vector<int64_t> eos;

  int64_t headDim() const { return hidden / heads; }
  bool hasPositions() const { return alibi == 0 && !rope; }
};
} // namespace

// clang-format off
static const char *const kWte = "transformer.wte.weight";
static const char *const kWpe = "transformer.wpe.weight";
static const char *const kHead = "transformer.ff_out";
// Rows of att_proj, and of a ff_proj that is gated: the half that is
// multiplied comes first.
static const char *const kParts[] = {".q", ".k", ".v"};
static const char *const kHalves[] = {".x", ".gate"};
// clang-format on

static std::string blockPrefix(int64_t layer) {
  return "transformer.blocks." + std::to_string(layer) + ".";
}

/// Keys that change the function, and the one value of each that is supported.
static Status checkFixed(const Config &config) {
  struct Flag {
    const char *key;
    bool otherwise, legal;
  };
  for (const Flag &flag : {Flag{"scale_logits", false, false},
                           Flag{"embedding_layer_norm", false, false},
                           Flag{"norm_after", false, false},
                           Flag{"rope_full_precision", true, true}}) {
    NEST_RT_ASSIGN(bool set, config.flag(flag.key, flag.otherwise));
    if (set != flag.legal)
      return config.error(flag.key,
                          std::string("is ") + (set ? "true" : "false") +
                              ", which is not supported",
                          flag.legal ? "true" : "false");
  }
  for (const char *key : {"clip_qkv", "quantization_config"})
    if (config.has(key))
      return config.error(key, "is set, which is not supported",
                          "null or no such key");
  NEST_RT_ASSIGN(int64_t group, config.sizeOr("block_group_size", 1));
  if (group != 1)
    return config.error(
        "block_group_size",
        "is " + std::to_string(group) + ", which is not supported", "1");
  NEST_RT_ASSIGN(std::string block,
                 config.root().getStringOr("block_type", "sequential"));
  if (block != "sequential")
    return config.error("block_type",
                        "\"" + block +
                            "\" is not supported: only sequential blocks have "
                            "an FFN of their own to nest",
                        "sequential");
  return Status::success();
}

static Status readNorms(const Config &config, Olmo &model) {
  NEST_RT_ASSIGN(std::string type,
                 config.root().getStringOr("layer_norm_type", "default"));
  if (type != "default" && type != "low_precision" && type != "rms")
    return config.error("layer_norm_type", "\"" + type + "\" is not supported",
                        legalNames(type, {"default", "low_precision", "rms"}));
  model.rms = type == "rms";
  NEST_RT_ASSIGN(model.epsilon, config.positive("layer_norm_eps", 1e-5));
  NEST_RT_ASSIGN(model.bias, config.flag("include_bias", true));
  model.normBias = model.bias;
  if (config.has("bias_for_layer_norm")) {
    NEST_RT_ASSIGN(model.normBias, config.flag("bias_for_layer_norm", true));
  }
  NEST_RT_ASSIGN(model.affine, config.flag("layer_norm_with_affine", true));
  NEST_RT_ASSIGN(model.headNorms, config.flag("attention_layer_norm", false));
  NEST_RT_ASSIGN(model.headAffine,
                 config.flag("attention_layer_norm_with_affine", true));
  if (model.rms && model.normBias && (model.affine || model.headNorms))
    return config.error("bias_for_layer_norm",
                        "gives norms of type rms a bias, which is not "
                        "supported",
                        "false");
  return Status::success();
}

static Status readHeads(const Config &config, Olmo &model) {
  NEST_RT_ASSIGN(model.heads, config.size("n_heads"));
  if (model.hidden % model.heads != 0)
    return config.error("d_model",
                        "is " + std::to_string(model.hidden) +
                            ", no multiple of n_heads (" +
                            std::to_string(model.heads) + ")",
                        "a multiple of it");
  NEST_RT_ASSIGN(bool single, config.flag("multi_query_attention", false));
  int64_t otherwise = single ? 1 : model.heads;
  NEST_RT_ASSIGN(model.kvHeads, config.sizeOr("n_kv_heads", otherwise));
  if (model.heads % model.kvHeads != 0 || (single && model.kvHeads != 1))
    return config.error("n_kv_heads", "is " + std::to_string(model.kvHeads),
                        single ? "1, beside multi_query_attention"
                               : "a divisor of n_heads (" +
                                     std::to_string(model.heads) + ")");
  NEST_RT_ASSIGN(bool alibi, config.flag("alibi", false));
  NEST_RT_ASSIGN(model.rope, config.flag("rope", false));
  if (alibi && model.rope)
    return config.error("alibi", "is true, and so is rope", "one of them");
  if (alibi) {
    NEST_RT_ASSIGN(double most, config.positive("alibi_bias_max", 8));
    model.alibi = most / static_cast<double>(model.heads);
  }
  NEST_RT_ASSIGN(model.ropeConfig, readRope(config, model.maxLength));
  return Status::success();
}

static Status readFfn(const Config &config, Olmo &model) {
  const std::vector<std::string> legal = {"gelu", "relu", "silu", "swiglu"};
  NEST_RT_ASSIGN(std::string name,
                 config.root().getStringOr("activation_type", "swiglu"));
  if (!llvm::is_contained(legal, name))
    return config.error("activation_type",
                        "the activation \"" + name + "\" is not supported",
                        legalNames(name, legal));
  model.gated = name == "swiglu";
  model.activation = name == "gelu"   ? nest::Activation::gelu
                     : name == "relu" ? nest::Activation::relu
                                      : nest::Activation::silu;
  const char *key = "mlp_ratio";
  if (config.has("mlp_hidden_size")) {
    key = "mlp_hidden_size";
    NEST_RT_ASSIGN(model.ffn, config.sizesPerLayer(key, model.numLayers));
  } else {
    NEST_RT_ASSIGN(int64_t ratio, config.sizeOr(key, 4));
    if (ratio > kMaxConfigSize / model.hidden)
      return config.error(key, "is " + std::to_string(ratio),
                          "at most " +
                              std::to_string(kMaxConfigSize / model.hidden));
    model.ffn.assign(model.numLayers, ratio * model.hidden);
  }
  if (!model.gated)
    return Status::success();
  for (int64_t &width : model.ffn) {
    if (width % 2 != 0)
      return config.error(key,
                          "gives swiglu " + std::to_string(width) +
                              " columns, which are no two halves",
                          "an even number");
    width /= 2;
  }
  return Status::success();
}

static Expected<Olmo> readConfig(const ImportInput &input) {
  const Config &config = input.config;
  Olmo model;
  NEST_RT_TRY(checkFixed(config));
  NEST_RT_ASSIGN(model.vocab, config.size("vocab_size"));
  model.rows = model.vocab;
  if (config.has("embedding_size")) {
    NEST_RT_ASSIGN(model.rows, config.size("embedding_size"));
  }
  if (model.rows < model.vocab)
    return config.error("embedding_size",
                        "is " + std::to_string(model.rows) +
                            ", below vocab_size",
                        "null, or at least " + std::to_string(model.vocab));
  NEST_RT_ASSIGN(model.hidden, config.size("d_model"));
  NEST_RT_ASSIGN(model.numLayers, config.size("n_layers"));
  NEST_RT_TRY(checkDepth(input, "n_layers", model.numLayers));
  NEST_RT_ASSIGN(model.maxLength, config.sizeOr("max_sequence_length", 1024));
  NEST_RT_ASSIGN(model.tied, config.flag("weight_tying", true));
  NEST_RT_TRY(readNorms(config, model));
  NEST_RT_TRY(readHeads(config, model));
  NEST_RT_TRY(readFfn(config, model));
  NEST_RT_ASSIGN(model.eos,
                 readEndTokens(input, input.config, 50256, model.vocab));
  return model;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

static Status declareWeights(const Olmo &model, WeightTable &weights) {
  SizeTable sizes;
  sizes.set('V', model.vocab, "vocab_size");
  sizes.set('N', model.maxLength, "max_sequence_length");
  sizes.set('D', model.hidden, "d_model");
  sizes.set('K', model.kvHeads * model.headDim(),
            "KV heads * d_model / n_heads");
  // A weight, and a bias along its first dimension.
  auto declare = [&](const std::string &name, StringRef letters, bool weight,
                     bool bias, const TensorUse &use = {}) -> Status {
    if (weight)
      NEST_RT_TRY(weights.declare(name + ".weight", letters, sizes, use));
    if (!bias)
      return Status::success();
    return weights.declare(name + ".bias", letters.take_front(), sizes, use);
  };
  bool normBias = model.affine && model.normBias;
  // Rows behind the vocabulary are padding.
  TensorUse table;
  table.rows = model.rows;
  table.meaning = "embedding_size";
  NEST_RT_TRY(weights.declare(kWte, "VD", sizes, table));
  if (model.hasPositions())
    NEST_RT_TRY(weights.declare(kWpe, "ND", sizes));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    std::string prefix = blockPrefix(layer);
    int64_t width = model.ffn[layer], kv = sizes['K'].value, first = 0;
    sizes.set('F', width, "the FFN's width", AxisTable::name(layer, kFfnAxis));
    for (const char *norm : {"attn_norm", "ff_norm"})
      NEST_RT_TRY(declare(prefix + norm, "D", model.affine, normBias));
    for (auto [part, letters] :
         {std::pair{kParts[0], "DD"}, {kParts[1], "KD"}, {kParts[2], "KD"}}) {
      TensorUse use;
      use.first = first;
      use.rows = model.hidden + 2 * kv;
      use.meaning = "d_model + 2 * KV heads * d_model / n_heads";
      use.suffix = part;
      NEST_RT_TRY(declare(prefix + "att_proj", letters, true, model.bias, use));
      first += sizes[letters[0]].value;
    }
    for (auto [norm, letters] : {std::pair{"q_norm", "D"}, {"k_norm", "K"}})
      NEST_RT_TRY(
          declare(prefix + norm, letters, model.headNorms && model.headAffine,
                  model.headNorms && model.headAffine && model.normBias));
    NEST_RT_TRY(declare(prefix + "attn_out", "DD", true, model.bias));
    if (!model.gated) {
      NEST_RT_TRY(declare(prefix + "ff_proj", "FD", true, model.bias));
    } else {
      for (int64_t half = 0; half < 2; ++half) {
        TensorUse use;
        use.first = half * width;
        use.rows = 2 * width;
        use.meaning = "mlp_hidden_size";
        use.suffix = kHalves[half];
        NEST_RT_TRY(declare(prefix + "ff_proj", "FD", true, model.bias, use));
      }
    }
    NEST_RT_TRY(declare(prefix + "ff_out", "DF", true, model.bias));
  }
  NEST_RT_TRY(declare("transformer.ln_f", "D", model.affine, normBias));
  if (!model.tied)
    NEST_RT_TRY(declare(kHead, "VD", true, model.bias, table));
  return weights.checkNothingElse([](StringRef) { return false; });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

static Value normOf(Graph &graph, const Olmo &model, Value x,
                    const std::string &name, bool affine) {
  std::string weight = affine ? name + ".weight" : "";
  if (model.rms)
    return graph.rmsNorm(x, weight, model.epsilon);
  return graph.layerNorm(
      x, weight, affine && model.normBias ? name + ".bias" : "", model.epsilon);
}

static LayerParts layerParts(const Olmo &model, nest::RopeAttr rope,
                             int64_t layer) {
  std::string prefix = blockPrefix(layer);
  auto linear = [&](const char *name, const char *part = "") {
    std::string full = prefix + name;
    return [weight = full + ".weight" + part,
            bias = model.bias ? full + ".bias" + part : std::string()](
               Graph &graph, Value x) { return graph.linear(x, weight, bias); };
  };
  auto projected = [&](const char *part, const char *norm) -> LayerParts::Step {
    auto project = linear("att_proj", part);
    if (!model.headNorms)
      return project;
    return [&model, project, name = prefix + norm](Graph &graph, Value x) {
      return normOf(graph, model, project(graph, x), name, model.headAffine);
    };
  };
  LayerParts parts;
  parts.scale = 1.0 / std::sqrt(static_cast<double>(model.headDim()));
  parts.alibi = model.alibi;
  parts.rope = rope;
  parts.before = [&model, name = prefix + "attn_norm"](Graph &graph, Value x) {
    return normOf(graph, model, x, name, model.affine);
  };
  parts.query = projected(kParts[0], "q_norm");
  parts.key = projected(kParts[1], "k_norm");
  parts.value = linear("att_proj", kParts[2]);
  parts.output = linear("attn_out");
  parts.feed = [&model, name = prefix + "ff_norm",
                up = linear("ff_proj", model.gated ? kHalves[0] : ""),
                gate = linear("ff_proj", kHalves[1]), down = linear("ff_out")](
                   Graph &graph, Value x, Value) -> LayerParts::Fed {
    Value normed = normOf(graph, model, x, name, model.affine);
    Value inner = up(graph, normed);
    inner = model.gated
                ? graph.glu(model.activation, gate(graph, normed), inner)
                : graph.act(model.activation, inner);
    return {down(graph, inner), Value()};
  };
  return parts;
}

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Olmo model, readConfig(input));
  nest::RopeAttr rope;
  if (model.rope) {
    NEST_RT_ASSIGN(RopeTable table,
                   computeRope(model.ropeConfig, model.headDim()));
    rope = nest::RopeAttr::get(module.getContext(), model.headDim(),
                               table.frequencies, table.magnitude);
  }
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(declareAxes(input, {{kFfnAxis, model.ffn}}, module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(model, weights));
  recordModel(input,
              {"olmo",
               "olmo",
               model.numLayers,
               model.vocab,
               model.hidden,
               model.maxLength,
               model.eos,
               {}},
              weights, module);

  Decoder decoder;
  decoder.maxLength = model.maxLength;
  std::vector<LayerParts> parts;
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    parts.push_back(layerParts(model, rope, layer));
    decoder.caches.push_back(cacheOf(model.kvHeads, model.headDim(),
                                     /*window=*/0, /*route=*/nullptr));
  }
  auto embed = [&](Graph &graph) -> Streams {
    Value x = graph.embed(kWte);
    return {model.hasPositions() ? graph.add(x, graph.embedPositions(kWpe))
                                 : x};
  };
  auto layer = [&](Graph &graph, int64_t index, ValueRange x) -> Streams {
    return {buildLayer(graph, parts[index], nullptr, {}, x.front())};
  };
  auto head = [&](Graph &graph, ValueRange streams) {
    Value x = streams.front();
    Value normed = normOf(graph, model, x, "transformer.ln_f", model.affine);
    if (model.tied)
      return graph.linear(normed, kWte);
    std::string name = kHead;
    return graph.linear(normed, name + ".weight",
                        model.bias ? name + ".bias" : "");
  };
  decoder.embed = embed;
  decoder.layer = layer;
  decoder.head = head;
  buildDecoder(builder, weights, decoder);
  return Status::success();
}

const Family nestc::olmoFamily = {
    "olmo", {},         {"transformer.blocks."}, 0,
    build,  "n_layers", "mlp_hidden_size",       "transformer.blocks."};
