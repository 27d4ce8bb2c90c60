//===- Gemma3n.cpp - the text decoder of Gemma 3n ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As Hugging Face transformers computes it. Between layers there are several
// streams (AltUp): a layer predicts all of them from what they are, computes
// the active one, and corrects all by what that one turned out to be. Beside
// them every layer has an input of its own from the tokens (PLE). The last
// layers attend over the caches of the last layer of their type that has some.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"
#include "tools/import/Graph.h"
#include "tools/import/Rope.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

namespace {

enum Feature : unsigned {
  OwnCache = 1 << 0,    ///< the layer has keys and values
  Bias = 1 << 1,        ///< of the projections of attention
  OutputScale = 1 << 2, ///< of the stream that PLE reads
  OwnHead = 1 << 3,     ///< the head is no copy of the embedding
};

// V vocabulary, D hidden, P columns of a layer's own input, Q query heads x
// width, K KV heads x width, H width of a head, F FFN of the layer (on its
// axis), R rank of LAuReL, N streams, M = N x N.
// clang-format off
const TensorRule kTopTensors[] = {
  {"embed_tokens.weight",                    "VD"},
  {"per_layer_projection_norm.weight",       "P"},
  {"norm.weight",                            "D"},
};
/// With a number behind the first part, one for each stream but the first.
const char *const kProjections[] = {"altup_projections.", "altup_unembed_projections."};
const TensorRule kLayerTensors[] = {
  {"input_layernorm.weight",                 "D"},
  {"self_attn.q_proj.weight",                "QD"},
  {"self_attn.q_proj.bias",                  "Q",  Bias},
  {"self_attn.k_proj.weight",                "KD", OwnCache},
  {"self_attn.k_proj.bias",                  "K",  OwnCache | Bias},
  {"self_attn.v_proj.weight",                "KD", OwnCache},
  {"self_attn.v_proj.bias",                  "K",  OwnCache | Bias},
  {"self_attn.q_norm.weight",                "H"},
  {"self_attn.k_norm.weight",                "H",  OwnCache},
  {"self_attn.o_proj.weight",                "DQ"},
  {"self_attn.o_proj.bias",                  "D",  Bias},
  {"post_attention_layernorm.weight",        "D"},
  {"pre_feedforward_layernorm.weight",       "D"},
  {"mlp.gate_proj.weight",                   "FD"},
  {"mlp.up_proj.weight",                     "FD"},
  {"mlp.down_proj.weight",                   "DF"},
  {"post_feedforward_layernorm.weight",      "D"},
  {"laurel.linear_left.weight",              "RD"},
  {"laurel.linear_right.weight",             "DR"},
  {"laurel.post_laurel_norm.weight",         "D"},
  {"per_layer_input_gate.weight",            "PD"},
  {"per_layer_projection.weight",            "DP"},
  {"post_per_layer_input_norm.weight",       "D"},
  {"altup.correct_output_scale",             "D",  OutputScale},
  {"altup.router_norm.weight",               "D"},
};
/// They choose how streams are mixed, and are multiplied in f32.
const TensorRule kRouterTensors[] = {
  {"altup.modality_router.weight",           "ND"},
  {"altup.prediction_coefs.weight",          "MN"},
  {"altup.correction_coefs.weight",          "NN"},
};
/// Of the multi-modal model, no part of the text decoder.
const char *const kOtherParts[] = {
  "model.vision_tower.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio.",
};
// clang-format on

const char kPleTable[] = "embed_tokens_per_layer.weight";
const char kPleProjection[] = "per_layer_model_projection.weight";
const char kHead[] = "lm_head.weight";

/// The least mean square of a stream whose magnitude is set.
constexpr double kLeastMagnitude = 1e-5;

/// A config, read and checked as far as it can be without the tensors.
struct Gemma3n {
  std::string prefix; ///< what tensors' names begin with
  unsigned features = 0;
  int64_t numLayers = 0, vocab = 0, pleVocab = 0, hidden = 0, ple = 0,
          heads = 0, kvHeads = 0, headDim = 0, maxLength = 0, rank = 0,
          streams = 0, active = 0, numShared = 0, window = 0;
  std::vector<int64_t> ffn;        ///< one for each layer
  std::vector<bool> slides;        ///< one for each layer
  std::vector<double> sparsity;    ///< one for each layer
  std::vector<int64_t> donors;     ///< one for each layer; -1: it has caches
  double epsilon = 0, softcap = 0; ///< 0: none
  nest::Activation activation = nest::Activation::gelu_tanh;
  RopeConfig fullRope, localRope;
  std::vector<int64_t> eos;

  std::string layer(int64_t index) const {
    return prefix + "layers." + std::to_string(index) + ".";
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Config
//===----------------------------------------------------------------------===//

/// The types of the layers: every fifth one sees all rows unless the config
/// says otherwise.
static Status readTypes(const ImportInput &input, const Config &config,
                        Gemma3n &model) {
  for (int64_t layer = 0; layer < model.numLayers; ++layer)
    model.slides.push_back((layer + 1) % 5 != 0);
  if (!config.has("layer_types"))
    return Status::success();
  NEST_RT_ASSIGN(JsonReader list, config.root().get("layer_types"));
  NEST_RT_TRY(list.expectArray());
  auto count = static_cast<int64_t>(list.size());
  std::string legal = "one for each of num_hidden_layers (" +
                      std::to_string(model.numLayers) + ") layers";
  if (count < model.numLayers)
    return list.error("has " + std::to_string(count) + " elements", legal);
  // Published tools cut layers out and leave the list as it was.
  if (count > model.numLayers)
    input.warn(list.error("has " + std::to_string(count) +
                              " elements, of which the first are taken",
                          legal));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    NEST_RT_ASSIGN(size_t kind, list.at(layer).asOneOf(
                                    {"full_attention", "sliding_attention"}));
    model.slides[layer] = kind == 1;
  }
  return Status::success();
}

/// Which layer's caches the last layers attend over: those of the last layer of
/// their type that has some.
static Status findDonors(const Config &config, Gemma3n &model) {
  const char *key = "num_kv_shared_layers";
  NEST_RT_ASSIGN(model.numShared,
                 config.root().getIntOr(key, 15, 0, kMaxConfigSize));
  int64_t first = model.numLayers - model.numShared;
  if (first < 1)
    return config.error(key,
                        "is " + std::to_string(model.numShared) + " of " +
                            std::to_string(model.numLayers) + " layers",
                        "fewer than there are layers");
  model.donors.assign(model.numLayers, -1);
  for (int64_t layer = first; layer < model.numLayers; ++layer) {
    for (int64_t donor = 0; donor < first; ++donor)
      if (model.slides[donor] == model.slides[layer])
        model.donors[layer] = donor;
    if (model.donors[layer] < 0)
      return config.error(key,
                          "lets layer " + std::to_string(layer) +
                              " attend over keys of a " +
                              (model.slides[layer] ? "sliding" : "full") +
                              "_attention layer before layer " +
                              std::to_string(first) + ", and there is none",
                          "a layer of every type in front of those that share");
  }
  return Status::success();
}

static Status readSparsity(const Config &config, Gemma3n &model) {
  const char *key = "activation_sparsity_pattern";
  model.sparsity.assign(model.numLayers, 0);
  if (!config.has(key)) {
    if (model.numLayers > 10)
      std::fill_n(model.sparsity.begin(), 10, 0.95);
    return Status::success();
  }
  NEST_RT_ASSIGN(JsonReader list, config.root().get(key));
  bool isList = list.json().isArray();
  if (isList && static_cast<int64_t>(list.size()) != model.numLayers)
    return list.error("has " + std::to_string(list.size()) + " elements",
                      "one for each of num_hidden_layers (" +
                          std::to_string(model.numLayers) + ") layers");
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    JsonReader element = isList ? list.at(layer) : list;
    NEST_RT_ASSIGN(model.sparsity[layer], element.asNumber());
    if (!(model.sparsity[layer] >= 0 && model.sparsity[layer] < 1))
      return element.error("is " + element.json().str(),
                           "a number from 0 to below 1");
  }
  return Status::success();
}

/// Rotary embeddings by type: `rope_parameters`, or the older two keys.
static Status readRopes(const Config &config, Gemma3n &model) {
  static const Json none = Json::object();
  JsonReader root = config.root();
  JsonReader full(none, root.place() + ": rope_theta"),
      local(none, root.place() + ": rope_local_base_freq");
  for (const char *key : {"rope_parameters", "rope_scaling"}) {
    if (!root.hasValue(key))
      continue;
    NEST_RT_ASSIGN(JsonReader member, root.get(key));
    NEST_RT_TRY(member.expectObject());
    full = member;
    if (member.hasValue("full_attention")) {
      NEST_RT_ASSIGN(full, member.get("full_attention"));
      NEST_RT_TRY(full.expectObject());
    }
    if (member.hasValue("sliding_attention")) {
      NEST_RT_ASSIGN(local, member.get("sliding_attention"));
      NEST_RT_TRY(local.expectObject());
    }
    break;
  }
  NEST_RT_ASSIGN(double theta, config.positive("rope_theta", 1e6));
  NEST_RT_ASSIGN(double near, config.positive("rope_local_base_freq", 1e4));
  NEST_RT_ASSIGN(model.fullRope,
                 readRope(config, full, theta, model.maxLength));
  NEST_RT_ASSIGN(model.localRope,
                 readRope(config, local, near, model.maxLength));
  for (const RopeConfig *rope : {&model.fullRope, &model.localRope})
    if (rope->partial != 1)
      return Error(rope->partialPlace, "is not 1, which gemma3n does not have",
                   "1, or no such key");
  return Status::success();
}

static Status readAltUp(const Config &config, Gemma3n &model) {
  NEST_RT_ASSIGN(model.streams, config.sizeOr("altup_num_inputs", 4));
  if (model.streams > 16)
    return config.error("altup_num_inputs",
                        "is " + std::to_string(model.streams), "1 to 16");
  NEST_RT_ASSIGN(model.active, config.root().getIntOr("altup_active_idx", 0, 0,
                                                      model.streams - 1));
  NEST_RT_ASSIGN(bool scales, config.flag("altup_correct_scale", true));
  if (scales)
    model.features |= OutputScale;
  return Status::success();
}

static Expected<Gemma3n> readConfig(const ImportInput &input,
                                    const Config &config) {
  Gemma3n model;
  if (config.has("quantization_config"))
    return config.error("quantization_config",
                        "quantised checkpoints are not supported",
                        "tensors of F32, BF16 or F16 and no such key");
  NEST_RT_ASSIGN(model.vocab, config.sizeOr("vocab_size", 262400));
  NEST_RT_ASSIGN(model.pleVocab,
                 config.sizeOr("vocab_size_per_layer_input", 262144));
  NEST_RT_ASSIGN(model.hidden, config.sizeOr("hidden_size", 2048));
  NEST_RT_ASSIGN(model.ple, config.sizeOr("hidden_size_per_layer_input", 256));
  NEST_RT_ASSIGN(model.numLayers, config.sizeOr("num_hidden_layers", 35));
  NEST_RT_TRY(checkDepth(input, "num_hidden_layers", model.numLayers));
  if (config.has("intermediate_size")) {
    NEST_RT_ASSIGN(model.ffn,
                   config.sizesPerLayer("intermediate_size", model.numLayers));
  } else {
    model.ffn.assign(model.numLayers, 16384);
  }
  NEST_RT_ASSIGN(model.heads, config.sizeOr("num_attention_heads", 8));
  NEST_RT_ASSIGN(model.kvHeads, config.sizeOr("num_key_value_heads", 2));
  if (model.heads % model.kvHeads != 0)
    return config.error("num_key_value_heads",
                        "is " + std::to_string(model.kvHeads),
                        "a divisor of num_attention_heads (" +
                            std::to_string(model.heads) + ")");
  NEST_RT_ASSIGN(model.headDim, config.sizeOr("head_dim", 256));
  NEST_RT_ASSIGN(model.maxLength,
                 config.sizeOr("max_position_embeddings", 32768));
  NEST_RT_ASSIGN(model.epsilon, config.positive("rms_norm_eps", 1e-6));
  NEST_RT_ASSIGN(model.activation,
                 config.activation("hidden_activation", "gelu_pytorch_tanh"));
  NEST_RT_ASSIGN(model.window, config.sizeOr("sliding_window", 512));
  NEST_RT_ASSIGN(model.rank, config.sizeOr("laurel_rank", 64));
  NEST_RT_ASSIGN(bool bias, config.flag("attention_bias", false));
  if (bias)
    model.features |= Bias;
  if (!config.isNull("final_logit_softcapping")) {
    NEST_RT_ASSIGN(model.softcap,
                   config.positive("final_logit_softcapping", 30));
  }
  NEST_RT_TRY(readAltUp(config, model));
  NEST_RT_TRY(readTypes(input, config, model));
  NEST_RT_TRY(findDonors(config, model));
  NEST_RT_TRY(readSparsity(config, model));
  NEST_RT_TRY(readRopes(config, model));
  return model;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The part of a tensor with all layers side by side that one layer has.
static TensorUse partOf(const Gemma3n &model, int64_t layer, bool columns) {
  TensorUse use;
  use.first = layer * model.ple;
  use.rows = model.numLayers * model.ple;
  use.meaning = "num_hidden_layers * hidden_size_per_layer_input";
  use.suffix = "." + std::to_string(layer);
  use.columns = columns;
  return use;
}

/// Whether a tensor of a layer that attends over another's caches belongs to
/// caches of its own; published files have some. Its layer is `layer`.
static bool isUnread(const Gemma3n &model, StringRef name, int64_t &layer) {
  return name.consume_front(model.prefix + "layers.") &&
         !name.consumeInteger(10, layer) && layer < model.numLayers &&
         model.donors[layer] >= 0 &&
         (name.starts_with(".self_attn.k_") ||
          name.starts_with(".self_attn.v_"));
}

static bool isOtherPart(StringRef name) {
  return llvm::any_of(kOtherParts,
                      [&](StringRef part) { return name.starts_with(part); });
}

static Status declareWeights(const Gemma3n &model, WeightTable &weights) {
  SizeTable sizes;
  sizes.set('V', model.vocab, "vocab_size");
  sizes.set('U', model.pleVocab, "vocab_size_per_layer_input");
  sizes.set('D', model.hidden, "hidden_size");
  sizes.set('P', model.ple, "hidden_size_per_layer_input");
  sizes.set('H', model.headDim, "head_dim");
  sizes.set('Q', model.heads * model.headDim, "num_attention_heads * head_dim");
  sizes.set('K', model.kvHeads * model.headDim,
            "num_key_value_heads * head_dim");
  sizes.set('R', model.rank, "laurel_rank");
  sizes.set('N', model.streams, "altup_num_inputs");
  sizes.set('M', model.streams * model.streams, "altup_num_inputs squared");
  NEST_RT_TRY(
      weights.declare(kTopTensors, model.features, sizes, model.prefix));
  if (model.features & OwnHead)
    NEST_RT_TRY(weights.declare(kHead, "VD", sizes));
  for (const char *projection : kProjections)
    for (int64_t stream = 1; stream < model.streams; ++stream)
      NEST_RT_TRY(weights.declare(model.prefix + projection +
                                      std::to_string(stream - 1) + ".weight",
                                  "DD", sizes));
  TensorUse exact;
  exact.exact = true;
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    std::string prefix = model.layer(layer);
    sizes.set('F', model.ffn[layer], "intermediate_size",
              AxisTable::name(layer, kFfnAxis));
    NEST_RT_TRY(weights.declare(model.prefix + kPleTable, "UP", sizes,
                                partOf(model, layer, /*columns=*/true)));
    NEST_RT_TRY(weights.declare(model.prefix + kPleProjection, "PD", sizes,
                                partOf(model, layer, /*columns=*/false)));
    unsigned own = model.donors[layer] < 0 ? OwnCache : 0;
    NEST_RT_TRY(
        weights.declare(kLayerTensors, model.features | own, sizes, prefix));
    NEST_RT_TRY(weights.declare(kRouterTensors, 0, sizes, prefix, exact));
  }
  return weights.checkNothingElse([&](StringRef name) {
    if (isOtherPart(name))
      return true;
    if (name == kHead)
      return (model.features & OwnHead) == 0;
    if (name.ends_with(".altup.correct_output_scale"))
      return (model.features & OutputScale) == 0;
    int64_t layer = 0;
    return isUnread(model, name, layer);
  });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

/// x with p of a standard normal variable below it.
static double normalQuantile(double p) {
  double low = -40, high = 40;
  for (unsigned step = 0; step < 200; ++step) {
    double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return high;
}

namespace {
/// Emits the layers of an entry.
class Gemma3nBuilder {
public:
  Gemma3nBuilder(const Gemma3n &model, nest::RopeAttr fullRope,
                 nest::RopeAttr localRope)
      : model(model), fullRope(fullRope), localRope(localRope) {}

  Streams embed(Graph &graph) {
    base = graph.embed(model.prefix + "embed_tokens.weight",
                       std::sqrt(model.hidden));
    Streams streams{base};
    for (int64_t stream = 1; stream < model.streams; ++stream)
      streams.push_back(
          graph.rescale(graph.linear(base, projection(kProjections[0], stream)),
                        base, kLeastMagnitude));
    return streams;
  }

  Streams layer(Graph &graph, int64_t index, ValueRange before) {
    std::string prefix = model.layer(index);
    auto norm = [&](Value x, const char *name) {
      return graph.rmsNorm(x, prefix + name + ".weight", model.epsilon);
    };
    auto linear = [&](Value x, const char *name) {
      return graph.linear(x, prefix + name + ".weight");
    };

    Streams streams = predict(graph, prefix, before);
    Value active = streams[model.active];
    Value normed = norm(active, "input_layernorm");
    Value laurel = norm(
        linear(linear(normed, "laurel.linear_left"), "laurel.linear_right"),
        "laurel.post_laurel_norm");
    Value attended =
        norm(attend(graph, prefix, index, normed), "post_attention_layernorm");
    Value x = graph.add(graph.add(active, attended), graph.add(normed, laurel));
    x = graph.times(x, std::sqrt(0.5));
    Value h = norm(x, "pre_feedforward_layernorm");
    Value gate = linear(h, "mlp.gate_proj");
    if (model.sparsity[index] > 0)
      gate = graph.cutoff(gate, normalQuantile(model.sparsity[index]));
    Value down =
        linear(graph.glu(model.activation, gate, linear(h, "mlp.up_proj")),
               "mlp.down_proj");
    x = graph.add(x, norm(down, "post_feedforward_layernorm"));

    streams = correct(graph, prefix, x, streams);
    Value first = streams[model.active];
    if (model.features & OutputScale)
      first = graph.gain(first, prefix + "altup.correct_output_scale");
    Value own =
        graph.glu(model.activation, linear(first, "per_layer_input_gate"),
                  ownInput(graph, index));
    own =
        norm(linear(own, "per_layer_projection"), "post_per_layer_input_norm");
    for (Value &stream : MutableArrayRef(streams).drop_front())
      stream = graph.add(stream, own);
    return streams;
  }

  Value head(Graph &graph, ValueRange streams) {
    Value sum = streams.front();
    for (int64_t stream = 1; stream < model.streams; ++stream)
      sum = graph.add(
          sum, graph.rescale(graph.linear(streams[stream],
                                          projection(kProjections[1], stream)),
                             streams.front(), kLeastMagnitude));
    Value normed = graph.rmsNorm(
        graph.times(sum, 1.0 / static_cast<double>(model.streams)),
        model.prefix + "norm.weight", model.epsilon);
    Value logits =
        graph.linear(normed, model.features & OwnHead
                                 ? std::string(kHead)
                                 : model.prefix + "embed_tokens.weight");
    if (model.softcap == 0)
      return logits;
    logits = graph.act(nest::Activation::tanh,
                       graph.times(logits, 1 / model.softcap));
    return graph.times(logits, model.softcap);
  }

private:
  std::string projection(const char *name, int64_t stream) const {
    return model.prefix + name + std::to_string(stream - 1) + ".weight";
  }

  /// What the layer gets of the tokens.
  Value ownInput(Graph &graph, int64_t index) const {
    std::string suffix = "." + std::to_string(index);
    Value projected =
        graph.times(graph.linear(base, model.prefix + kPleProjection + suffix),
                    1 / std::sqrt(model.hidden));
    projected = graph.rmsNorm(projected,
                              model.prefix + "per_layer_projection_norm.weight",
                              model.epsilon);
    Value embedded =
        graph.embed(model.prefix + kPleTable + suffix, std::sqrt(model.ple),
                    /*unknown=*/0);
    return graph.times(graph.add(projected, embedded), std::sqrt(0.5));
  }

  /// The coefficients that x chooses, as columns.
  Value mixture(Graph &graph, const std::string &prefix, Value x,
                const char *name) const {
    Value normed =
        graph.rmsNorm(x, prefix + "altup.router_norm.weight", model.epsilon);
    normed = graph.times(normed, 1.0 / static_cast<double>(model.hidden));
    Value chosen = graph.act(
        nest::Activation::tanh,
        graph.linear(normed, prefix + "altup.modality_router.weight"));
    return graph.linear(chosen, prefix + name);
  }

  Streams predict(Graph &graph, const std::string &prefix,
                  ValueRange streams) const {
    Value weights = mixture(graph, prefix, streams[model.active],
                            "altup.prediction_coefs.weight");
    Streams predicted;
    for (int64_t i = 0; i < model.streams; ++i) {
      Value sum = streams[i];
      for (int64_t j = 0; j < model.streams; ++j)
        sum = graph.add(
            sum, graph.scale(streams[j], weights, i * model.streams + j));
      predicted.push_back(sum);
    }
    return predicted;
  }

  /// Every stream, and 1 + c times what the active one is beside its
  /// prediction.
  Streams correct(Graph &graph, const std::string &prefix, Value x,
                  const Streams &predicted) const {
    Value weights = mixture(graph, prefix, x, "altup.correction_coefs.weight");
    Value news = graph.sub(x, predicted[model.active]);
    Streams corrected;
    for (int64_t i = 0; i < model.streams; ++i)
      corrected.push_back(graph.add(graph.add(predicted[i], news),
                                    graph.scale(news, weights, i)));
    return corrected;
  }

  /// What attention adds, before its norm.
  Value attend(Graph &graph, const std::string &prefix, int64_t index,
               Value normed) const {
    bool bias = (model.features & Bias) != 0;
    auto linear = [&](Value x, const char *name) {
      std::string weight = prefix + "self_attn." + name;
      return graph.linear(x, weight + ".weight",
                          bias ? weight + ".bias" : std::string());
    };
    auto norm = [&](Value x, const std::string &weight) {
      return graph.rmsNorm(x, weight, model.epsilon, model.headDim);
    };
    nest::RopeAttr rope = model.slides[index] ? localRope : fullRope;
    Value q =
        norm(linear(normed, "q_proj"), prefix + "self_attn.q_norm.weight");
    q = graph.rope(q, rope);
    int64_t donor = model.donors[index];
    if (donor < 0) {
      Value k =
          norm(linear(normed, "k_proj"), prefix + "self_attn.k_norm.weight");
      Value v = norm(linear(normed, "v_proj"), "");
      graph.append(graph.rope(k, rope), v, graph.lengths);
    } else {
      graph.caches = graph.earlier[donor];
    }
    Value attended =
        graph.attend(q, graph.lengths, /*scale=*/1,
                     model.slides[index] ? model.window : 0, /*alibi=*/0);
    if (donor >= 0)
      graph.caches = {};
    return linear(attended, "o_proj");
  }

  const Gemma3n &model;
  nest::RopeAttr fullRope, localRope;
  Value base; ///< the embedding of the entry's tokens
};
} // namespace

static Expected<nest::RopeAttr>
ropeOf(MLIRContext *context, const RopeConfig &rope, int64_t headDim) {
  NEST_RT_ASSIGN(RopeTable table, computeRope(rope, headDim));
  return nest::RopeAttr::get(context, headDim, table.frequencies,
                             table.magnitude);
}

/// Builds the module of `config`, that of the text decoder.
static Status build(const ImportInput &input, const Config &config,
                    ModuleOp module) {
  NEST_RT_ASSIGN(Gemma3n model, readConfig(input, config));
  model.prefix = "model.";
  for (const TensorInfo *tensor : input.checkpoint.tensors())
    if (StringRef(tensor->name).starts_with("model.language_model."))
      model.prefix = "model.language_model.";
  NEST_RT_ASSIGN(bool tied, config.flag("tie_word_embeddings", true));
  if (!tied)
    model.features |= OwnHead;
  // The outer config of a multi-modal model is what generation goes by.
  NEST_RT_ASSIGN(
      model.eos,
      readEndTokens(input,
                    input.config.has("eos_token_id") ? input.config : config, 1,
                    model.vocab));

  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(declareAxes(input, {{kFfnAxis, model.ffn}}, module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(model, weights));
  ModelFacts facts;
  facts.family = "gemma3n";
  facts.modelType = "gemma3n_text";
  facts.numLayers = model.numLayers;
  facts.vocabSize = model.vocab;
  facts.hiddenSize = model.hidden;
  facts.maxLength = model.maxLength;
  facts.eosTokenIds = model.eos;
  facts.unread.resize(model.numLayers);
  int64_t others = 0;
  for (const TensorInfo *tensor : input.checkpoint.tensors()) {
    int64_t layer = 0;
    others += isOtherPart(tensor->name);
    if (isUnread(model, tensor->name, layer))
      facts.unread[layer] +=
          std::accumulate(tensor->shape.begin(), tensor->shape.end(),
                          int64_t(1), std::multiplies<int64_t>());
  }
  if (others)
    facts.leftOut = std::to_string(others) +
                    " tensors of the vision and audio parts; the text decoder "
                    "is what is imported";
  recordModel(input, facts, weights, module);

  MLIRContext *context = module.getContext();
  NEST_RT_ASSIGN(auto fullRope, ropeOf(context, model.fullRope, model.headDim));
  NEST_RT_ASSIGN(auto localRope,
                 ropeOf(context, model.localRope, model.headDim));
  Gemma3nBuilder emit(model, fullRope, localRope);
  Decoder decoder;
  decoder.maxLength = model.maxLength;
  for (int64_t donor : model.donors)
    decoder.caches.push_back(
        donor < 0 ? std::optional(Decoder::Cache{model.kvHeads, model.headDim})
                  : std::nullopt);
  auto embed = [&](Graph &graph) { return emit.embed(graph); };
  auto layer = [&](Graph &graph, int64_t index, ValueRange streams) {
    return emit.layer(graph, index, streams);
  };
  auto head = [&](Graph &graph, ValueRange streams) {
    return emit.head(graph, streams);
  };
  decoder.embed = embed;
  decoder.layer = layer;
  decoder.head = head;
  buildDecoder(builder, weights, decoder);
  return Status::success();
}

static Status build(const ImportInput &input, ModuleOp module) {
  if (!input.config.has("text_config"))
    return build(input, input.config, module);
  NEST_RT_ASSIGN(Config text, input.config.part("text_config"));
  return build(input, text, module);
}

//===----------------------------------------------------------------------===//
// Export
//===----------------------------------------------------------------------===//

/// The config of the text decoder by itself.
static Json ownConfig(const Json &config) {
  const Json *text = config.find("text_config");
  if (!text)
    return config;
  Json own = Json::object();
  own.set("architectures",
          Json::arrayOf(std::vector<std::string>{"Gemma3nForCausalLM"}));
  for (const auto &[key, value] : text->members())
    own.set(key, value);
  own.set("model_type", "gemma3n_text");
  // What the outer config says of generation and storage goes for the text.
  for (const char *key : {"eos_token_id", "torch_dtype", "dtype"})
    if (const Json *value = config.find(key))
      own.set(key, *value);
  return own;
}

/// The value of `key` for every layer: those of a list, or of the defaults.
template <typename Default>
static Json keptValues(const Json &config, const char *key,
                       ArrayRef<int64_t> kept, Default otherwise) {
  const Json *list = config.find(key);
  Json left = Json::array();
  for (int64_t layer : kept)
    left.push(list && list->isArray() ? list->elements()[layer]
                                      : Json(otherwise(layer)));
  return left;
}

/// Types, sparsity and the number of layers that share, of those that are left.
static void keepLayers(Json &config, ArrayRef<int64_t> kept,
                       int64_t numLayers) {
  const char *ffn = "intermediate_size";
  // transformers writes a list, whatever it read.
  if (const Json *width = config.find(ffn); width && width->isInt())
    config.set(
        ffn, Json::arrayOf(std::vector<int64_t>(kept.size(), width->asInt())));
  if (static_cast<int64_t>(kept.size()) == numLayers)
    return;
  const char *types = "layer_types";
  // Types that the import had already, the depth being set, are left alone.
  const Json *list = config.find(types);
  if (!list || !list->isArray() ||
      list->size() >= static_cast<size_t>(numLayers))
    config.set(types, keptValues(config, types, kept, [](int64_t layer) {
                 return std::string((layer + 1) % 5 == 0 ? "full_attention"
                                                         : "sliding_attention");
               }));
  const char *sparsity = "activation_sparsity_pattern";
  const Json *one = config.find(sparsity);
  if (!one || !one->isNumber())
    config.set(sparsity, keptValues(config, sparsity, kept, [&](int64_t layer) {
                 return numLayers > 10 && layer < 10 ? 0.95 : 0.0;
               }));
  const char *shared = "num_kv_shared_layers";
  const Json *count = config.find(shared);
  int64_t before = count && count->isInt() ? count->asInt() : 15;
  config.set(shared, llvm::count_if(kept, [&](int64_t layer) {
               return layer >= numLayers - before;
             }));
}

const Family nestc::gemma3nFamily = {"gemma3n",
                                     {"gemma3n", "gemma3n_text"},
                                     {},
                                     0,
                                     build,
                                     "num_hidden_layers",
                                     "intermediate_size",
                                     "model.layers.",
                                     "num_attention_heads",
                                     "num_key_value_heads",
                                     "",
                                     "model.language_model.",
                                     ownConfig,
                                     keepLayers};
