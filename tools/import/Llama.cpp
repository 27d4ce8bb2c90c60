//===- Llama.cpp - llama, qwen2, qwen3, mistral, olmo2 ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// Decoder-only models of one plan, as Hugging Face transformers computes them:
// embedding, layers of attention and a gated FFN with residuals, a norm, a
// head. What a model type has of its own is a row of kModelTypes; what a
// feature adds is in the tables of tensors and one branch of buildLayer.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Llama.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

namespace {

enum Feature : unsigned {
  PreNorm = 1 << 0,  ///< x + f(norm(x))
  PostNorm = 1 << 1, ///< x + norm(f(x))
  HeadNorm = 1 << 2, ///< q and k normed per head, before RoPE
  RowNorm = 1 << 3,  ///< q and k normed over all heads together
  QkvBias = 1 << 4,
  OutputBias = 1 << 5,
  FfnBias = 1 << 6,
  OwnHead = 1 << 7,  ///< the head is no copy of the embedding
  OwnTable = 1 << 8, ///< the embedding is stored (else the head is, tied)
  Ffn = 1 << 9,      ///< the layer's FFN is Llama's
};

/// Where the window of a layer's attention comes from.
enum class Window { None, Mistral, Qwen };

} // namespace

/// A model type: what it always has, which config keys it reads, and the
/// defaults of its config class in transformers.
struct nestc::LlamaType {
  const char *name;
  unsigned features;
  bool readsAttentionBias, readsMlpBias;
  Window window;
  int64_t headDim; ///< 0: hidden_size / num_attention_heads
  int64_t kvHeads; ///< 0: num_attention_heads
  double epsilon;
  int64_t maxLength;
  std::optional<int64_t> eos;
};

namespace {
// clang-format off
const LlamaType kModelTypes[] = {
  // name     features             attn.bias mlp_bias window           head kv  eps   length  eos
  {"llama",   PreNorm,             true,     true,    Window::None,    0,   0,  1e-6, 2048,   2},
  {"mistral", PreNorm,             false,    false,   Window::Mistral, 0,   8,  1e-6, 131072, 2},
  {"qwen2",   PreNorm | QkvBias,   false,    false,   Window::Qwen,    0,   32, 1e-6, 32768,  std::nullopt},
  {"qwen3",   PreNorm | HeadNorm,  true,     false,   Window::Qwen,    128, 32, 1e-6, 32768,  std::nullopt},
  {"mode",    PreNorm,             true,     false,   Window::None,    0,   0,  1e-6, 2048,   2},
  {"olmo2",   PostNorm | RowNorm,  true,     false,   Window::None,    0,   0,  1e-5, 2048,   50279},
};

// V vocabulary, D hidden, Q query heads x width, K KV heads x width, H width of
// a head, F FFN of the layer (on its axis).
const TensorRule kTopTensors[] = {
  {"model.embed_tokens.weight", "VD", OwnTable},
  {"lm_head.weight",            "VD", OwnHead},
};
const TensorRule kLayerTensors[] = {
  {"input_layernorm.weight",            "D",  PreNorm},
  {"self_attn.q_proj.weight",           "QD"},
  {"self_attn.q_proj.bias",             "Q",  QkvBias},
  {"self_attn.k_proj.weight",           "KD"},
  {"self_attn.k_proj.bias",             "K",  QkvBias},
  {"self_attn.v_proj.weight",           "KD"},
  {"self_attn.v_proj.bias",             "K",  QkvBias},
  {"self_attn.q_norm.weight",           "H",  HeadNorm},
  {"self_attn.k_norm.weight",           "H",  HeadNorm},
  {"self_attn.q_norm.weight",           "Q",  RowNorm},
  {"self_attn.k_norm.weight",           "K",  RowNorm},
  {"self_attn.o_proj.weight",           "DQ"},
  {"self_attn.o_proj.bias",             "D",  OutputBias},
  {"post_attention_layernorm.weight",   "D"},
  {"mlp.gate_proj.weight",              "FD", Ffn},
  {"mlp.gate_proj.bias",                "F",  Ffn | FfnBias},
  {"mlp.up_proj.weight",                "FD", Ffn},
  {"mlp.up_proj.bias",                  "F",  Ffn | FfnBias},
  {"mlp.down_proj.weight",              "DF", Ffn},
  {"mlp.down_proj.bias",                "D",  Ffn | FfnBias},
  {"post_feedforward_layernorm.weight", "D",  PostNorm},
};
const TensorRule kLastTensors[] = {
  {"model.norm.weight", "D"},
};
// clang-format on

} // namespace

//===----------------------------------------------------------------------===//
// Config
//===----------------------------------------------------------------------===//

/// Keys that are known to change the function and that nothing here computes.
static Status refuseUnsupported(const Config &config) {
  if (config.has("quantization_config"))
    return config.error("quantization_config",
                        "quantised checkpoints are not supported",
                        "tensors of F32, BF16 or F16 and no such key");
  if (config.has("architectures")) {
    NEST_RT_ASSIGN(JsonReader reader, config.root().get("architectures"));
    NEST_RT_ASSIGN(std::vector<std::string> names, reader.asStringList());
    auto isLm = [](StringRef name) { return name.ends_with("ForCausalLM"); };
    if (!names.empty() && llvm::none_of(names, isLm))
      return reader.error("is " + names.front(),
                          "language models (...ForCausalLM) are supported");
  }
  return Status::success();
}

/// The window of every layer, 0 for none. A key sees itself and the window - 1
/// before it.
static Expected<std::vector<int64_t>>
readWindows(const Config &config, const LlamaType &type, int64_t numLayers) {
  bool isQwen = type.window == Window::Qwen;
  NEST_RT_ASSIGN(bool useWindow, config.flag("use_sliding_window", false));
  int64_t window = 0;
  // Only a key that is absent has the class's default; null is no window.
  if ((type.window == Window::Mistral || (isQwen && useWindow)) &&
      !config.isNull("sliding_window")) {
    NEST_RT_ASSIGN(window, config.sizeOr("sliding_window", 4096));
  }
  std::vector<int64_t> windows(numLayers, window);
  if (isQwen && window) {
    NEST_RT_ASSIGN(int64_t full, config.root().getIntOr("max_window_layers", 28,
                                                        0, kMaxConfigSize));
    std::fill_n(windows.begin(), std::min(full, numLayers), 0);
  }
  if (!config.has("layer_types"))
    return windows;

  NEST_RT_ASSIGN(JsonReader list, config.root().get("layer_types"));
  NEST_RT_TRY(list.expectArray());
  if (static_cast<int64_t>(list.size()) != numLayers)
    return list.error("has " + std::to_string(list.size()) + " elements",
                      "one for each of num_hidden_layers (" +
                          std::to_string(numLayers) + ") layers");
  for (int64_t layer = 0; layer < numLayers; ++layer) {
    JsonReader element = list.at(layer);
    NEST_RT_ASSIGN(size_t kind,
                   element.asOneOf({"full_attention", "sliding_attention"}));
    bool slides = kind == 1;
    if (isQwen) {
      if (slides && !window)
        return element.error("is sliding_attention, but there is no window",
                             "full_attention; or use_sliding_window true with "
                             "sliding_window at least 1");
      windows[layer] = slides ? window : 0;
    } else if (slides != (window != 0)) {
      // These model types do not read the list; it must not contradict them.
      return element.error(
          std::string("is ") +
              (slides ? "sliding_attention" : "full_attention") +
              ", but all layers of " + type.name + " are alike",
          window ? "sliding_attention, as sliding_window is set"
                 : "full_attention");
    }
  }
  return windows;
}

/// Which of table and head are stored. A tied model that stores both is tied
/// when they are equal, and not tied when they differ, as in transformers.
static Status readTying(const ImportInput &input, Llama &model) {
  NEST_RT_ASSIGN(bool tied, input.config.flag("tie_word_embeddings", false));
  const TensorInfo *table = input.checkpoint.find(model.table);
  const TensorInfo *head = input.checkpoint.find(model.head);
  if (tied && table && head) {
    tied = table->shape == head->shape && table->dtype == head->dtype &&
           table->bytes == head->bytes &&
           std::memcmp(table->data, head->data, table->bytes) == 0;
    if (!tied)
      input.warn(Error(
          input.checkpoint.placeOf(*head),
          "differs from model.embed_tokens.weight, so the two are not tied",
          "set tie_word_embeddings to false in config.json"));
  }
  if (!tied)
    model.features |= OwnHead | OwnTable;
  else if (!table && head)
    model.features |= OwnHead, model.table = model.head;
  else
    model.features |= OwnTable, model.head = model.table;
  return Status::success();
}

Expected<Llama> nestc::readLlama(const ImportInput &input) {
  const Config &config = input.config;
  NEST_RT_TRY(refuseUnsupported(config));
  NEST_RT_ASSIGN(std::string name, modelTypeOf(config));
  Llama model;
  model.type = llvm::find_if(
      kModelTypes, [&](const LlamaType &type) { return name == type.name; });
  const LlamaType &type = *model.type;
  model.features = type.features;

  NEST_RT_ASSIGN(model.vocab, config.size("vocab_size"));
  NEST_RT_ASSIGN(model.hidden, config.size("hidden_size"));
  NEST_RT_ASSIGN(model.numLayers, config.size("num_hidden_layers"));
  NEST_RT_TRY(checkDepth(input, "num_hidden_layers", model.numLayers));
  NEST_RT_ASSIGN(model.ffn,
                 config.sizesPerLayer("intermediate_size", model.numLayers));

  NEST_RT_ASSIGN(model.heads, config.size("num_attention_heads"));
  int64_t kvHeads = type.kvHeads && !config.isNull("num_key_value_heads")
                        ? type.kvHeads
                        : model.heads;
  NEST_RT_ASSIGN(model.kvHeads, config.sizeOr("num_key_value_heads", kvHeads));
  if (model.heads % model.kvHeads != 0)
    return config.error("num_key_value_heads",
                        "is " + std::to_string(model.kvHeads),
                        "a divisor of num_attention_heads (" +
                            std::to_string(model.heads) + ")");
  model.headDim = type.headDim;
  if (config.has("head_dim")) {
    NEST_RT_ASSIGN(model.headDim, config.size("head_dim"));
  } else if (!model.headDim) {
    if (model.hidden % model.heads != 0)
      return config.error("hidden_size",
                          "is " + std::to_string(model.hidden) +
                              ", no multiple of num_attention_heads (" +
                              std::to_string(model.heads) + ")",
                          "a multiple of it, or head_dim beside it");
    model.headDim = model.hidden / model.heads;
  }

  NEST_RT_ASSIGN(model.maxLength,
                 config.sizeOr("max_position_embeddings", type.maxLength));

  NEST_RT_ASSIGN(model.epsilon, config.positive("rms_norm_eps", type.epsilon));
  NEST_RT_ASSIGN(model.activation, config.activation("hidden_act", "silu"));
  if (type.readsAttentionBias) {
    NEST_RT_ASSIGN(bool bias, config.flag("attention_bias", false));
    if (bias)
      model.features |= QkvBias | OutputBias;
  }
  if (type.readsMlpBias) {
    NEST_RT_ASSIGN(bool bias, config.flag("mlp_bias", false));
    if (bias)
      model.features |= FfnBias;
  }
  NEST_RT_ASSIGN(model.windows, readWindows(config, type, model.numLayers));

  NEST_RT_ASSIGN(model.rope, readRope(config, model.maxLength));
  // transformers ignores the key here or fails on it.
  if (model.rope.partial != 1)
    return Error(model.rope.partialPlace,
                 "is not 1, which " + name + " does not have",
                 "1, or no such key");

  NEST_RT_ASSIGN(model.eos,
                 readEndTokens(input, input.config, type.eos, model.vocab));
  NEST_RT_TRY(readTying(input, model));
  for (int64_t layer = 0; layer < model.numLayers; ++layer)
    model.prefixes.push_back("model.layers." + std::to_string(layer) + ".");
  model.routes.resize(model.numLayers);
  model.routers.resize(model.numLayers);
  model.ownFfn.resize(model.numLayers);
  return model;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

using DeclareLayer =
    llvm::function_ref<Status(WeightTable &, SizeTable &, int64_t)>;

static Status declareWeights(const Llama &model, WeightTable &weights,
                             DeclareLayer declare) {
  SizeTable sizes;
  sizes.set('V', model.vocab, "vocab_size");
  sizes.set('D', model.hidden, "hidden_size");
  sizes.set('H', model.headDim, "head_dim");
  NEST_RT_TRY(weights.declare(kTopTensors, model.features, sizes));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    std::string heads = AxisTable::name(layer, kHeadAxis);
    sizes.set('Q', model.heads * model.headDim,
              "num_attention_heads * head_dim", heads,
              model.heads / model.kvHeads * model.headDim);
    sizes.set('K', model.kvHeads * model.headDim,
              "num_key_value_heads * head_dim", heads, model.headDim);
    sizes.set('F', model.ffn[layer], "intermediate_size",
              AxisTable::name(layer, kFfnAxis));
    unsigned ffn = model.ownFfn[layer] ? 0 : Ffn;
    NEST_RT_TRY(weights.declare(kLayerTensors, model.features | ffn, sizes,
                                model.prefixes[layer]));
    if (declare)
      NEST_RT_TRY(declare(weights, sizes, layer));
  }
  NEST_RT_TRY(weights.declare(kLastTensors, model.features, sizes));
  // Older files store what is computed from the config, and a copy of a tied
  // table.
  return weights.checkNothingElse([&](StringRef name) {
    return name.ends_with("rotary_emb.inv_freq") ||
           (name == "lm_head.weight" && !(model.features & OwnHead));
  });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

static LayerParts layerParts(const Llama &model, nest::RopeAttr rope,
                             int64_t layer) {
  std::string prefix = model.prefixes[layer];
  unsigned features = model.features;
  double epsilon = model.epsilon;
  auto has = [=](unsigned feature) { return (features & feature) != 0; };
  auto norm = [=](Graph &graph, Value value, const char *name,
                  int64_t group = 0) {
    return graph.rmsNorm(value, prefix + name + ".weight", epsilon, group);
  };
  auto linear = [=](Graph &graph, Value value, const char *name, Feature bias) {
    std::string weight = prefix + name;
    return graph.linear(value, weight + ".weight",
                        has(bias) ? weight + ".bias" : std::string());
  };
  int64_t group = has(HeadNorm) ? model.headDim : 0;
  bool normsHeads = has(HeadNorm) || has(RowNorm);

  LayerParts parts;
  parts.rope = rope;
  parts.scale = 1.0 / std::sqrt(model.headDim);
  parts.window = model.windows[layer];
  parts.before = [=](Graph &graph, Value x) {
    return has(PreNorm) ? norm(graph, x, "input_layernorm") : x;
  };
  parts.query = [=](Graph &graph, Value h) {
    Value q = linear(graph, h, "self_attn.q_proj", QkvBias);
    return normsHeads ? norm(graph, q, "self_attn.q_norm", group) : q;
  };
  parts.key = [=](Graph &graph, Value h) {
    Value k = linear(graph, h, "self_attn.k_proj", QkvBias);
    return normsHeads ? norm(graph, k, "self_attn.k_norm", group) : k;
  };
  parts.value = [=](Graph &graph, Value h) {
    return linear(graph, h, "self_attn.v_proj", QkvBias);
  };
  parts.output = [=](Graph &graph, Value attended) {
    Value o = linear(graph, attended, "self_attn.o_proj", OutputBias);
    return has(PostNorm) ? norm(graph, o, "post_attention_layernorm") : o;
  };
  auto own = model.ownFfn[layer] ? model.feed : decltype(model.feed)();
  nest::Activation activation = model.activation;
  parts.feed = [=](Graph &graph, Value x, Value rows) -> LayerParts::Fed {
    Value h = has(PreNorm) ? norm(graph, x, "post_attention_layernorm") : x;
    if (own)
      return own(graph, layer, x, h, rows);
    Value gate = linear(graph, h, "mlp.gate_proj", FfnBias);
    Value up = linear(graph, h, "mlp.up_proj", FfnBias);
    Value down = linear(graph, graph.glu(activation, gate, up), "mlp.down_proj",
                        FfnBias);
    if (has(PostNorm))
      down = norm(graph, down, "post_feedforward_layernorm");
    return {down, Value()};
  };
  return parts;
}

Status nestc::buildLlama(const ImportInput &input, const Llama &model,
                         const char *family, ModuleOp module,
                         DeclareLayer declare) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(
      declareAxes(input,
                  {{kFfnAxis, model.ffn},
                   headAxes(model.numLayers, model.heads, model.kvHeads)},
                  module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(model, weights, declare));
  recordModel(input,
              {family, model.type->name, model.numLayers, model.vocab,
               model.hidden, model.maxLength, model.eos, model.routes,
               model.headDim},
              weights, module);

  // Only now that the tensors bear out how wide a head is.
  NEST_RT_ASSIGN(RopeTable table, computeRope(model.rope, model.headDim));
  auto rope = nest::RopeAttr::get(module.getContext(), model.headDim,
                                  table.frequencies, table.magnitude);
  Decoder decoder;
  decoder.maxLength = model.maxLength;
  std::vector<LayerParts> parts;
  auto routeOf = [&](int64_t layer) {
    const std::optional<Route> &route = model.routes[layer];
    return route ? &*route : nullptr;
  };
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    const Route *route = routeOf(layer);
    parts.push_back(layerParts(model, rope, layer));
    decoder.caches.push_back(
        cacheOf(model.kvHeads, model.headDim, model.windows[layer], route));
    decoder.caches.back()->nested = true;
    decoder.decodesApart |= route && route->decodesApart();
  }
  auto embed = [&](Graph &graph) -> Streams {
    return {graph.embed(model.table)};
  };
  auto layer = [&](Graph &graph, int64_t index, ValueRange x) -> Streams {
    return {buildLayer(graph, parts[index], routeOf(index),
                       model.routers[index], x.front())};
  };
  auto head = [&](Graph &graph, ValueRange streams) {
    Value x = streams.front();
    Value normed = graph.rmsNorm(x, "model.norm.weight", model.epsilon);
    return graph.linear(normed, model.head);
  };
  decoder.embed = embed;
  decoder.layer = layer;
  decoder.head = head;
  buildDecoder(builder, weights, decoder);
  return Status::success();
}

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Llama model, readLlama(input));
  return buildLlama(input, model, "llama", module);
}

const Family nestc::llamaFamily = {
    "llama", {"llama", "qwen2", "qwen3", "mistral", "olmo2"}, {}, 0, build};
