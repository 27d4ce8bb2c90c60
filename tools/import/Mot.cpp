//===- Mot.cpp - Mixture-of-Transformers -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every row takes the tower of its modality: weights that are untied there are
// its tower's. One softmax of attention spans all rows, so a layer is two
// regions: up to queries, keys and values, and from attention on.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"
#include "tools/import/Graph.h"
#include "tools/import/Rope.h"

#include <cmath>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {
enum Feature : unsigned { QkNorm = 1 << 0 };

/// A tensor of a layer, in the words of nest.json's `untied`.
struct PartRule {
  const char *group, *name, *shape, *part;
  unsigned when = 0;
};

struct Mot {
  int64_t numLayers = 0, vocab = 0, dim = 0, heads = 0, kvHeads = 0,
          headDim = 0, maxLength = 0;
  std::vector<int64_t> ffn; ///< one for each layer
  double epsilon = 0;
  unsigned features = 0;
  RopeConfig rope;
  std::vector<int64_t> eos;
  Modalities modalities;

  bool isUntied(StringRef part) const { return modalities.isUntied(part); }
  bool normsHeads() const { return features & QkNorm; }
};
} // namespace

// clang-format off
static const PartRule kLayerTensors[] = {
  {"attention.",    "attention_norm",  "D",  "norms"},
  {"attention.",    "wq",              "QD", "qkv"},
  {"attention.",    "wk",              "KD", "qkv"},
  {"attention.",    "wv",              "KD", "qkv"},
  {"attention.",    "q_normalization", "H",  "qk_norm", QkNorm},
  {"attention.",    "k_normalization", "H",  "qk_norm", QkNorm},
  {"attention.",    "wo",              "DQ", "o"},
  {"feed_forward.", "ffn_norm",        "D",  "norms"},
  {"feed_forward.", "w1",              "FD", "ffn"},
  {"feed_forward.", "w2",              "DF", "ffn"},
  {"feed_forward.", "w3",              "FD", "ffn"},
};
// clang-format on

/// The tensor of a rule in a layer, for a tower.
static std::string nameOf(const Mot &model, const PartRule &rule, int64_t layer,
                          int64_t tower) {
  std::string prefix =
      "layers." + std::to_string(layer) + "." + std::string(rule.group);
  std::string number = std::to_string(tower);
  if (!model.isUntied(rule.part))
    return prefix + rule.name + ".weight";
  if (StringRef(rule.part) == "ffn")
    return prefix + "local_experts." + number + "." + rule.name + ".weight";
  return prefix + "local_experts_" + rule.name + "." + number + ".weight";
}

static std::string nameOf(const Mot &model, StringRef name, int64_t layer,
                          int64_t tower) {
  for (const PartRule &rule : kLayerTensors)
    if (name == rule.name)
      return nameOf(model, rule, layer, tower);
  return {};
}

static std::string finalNorm(const Mot &model, int64_t tower) {
  return model.isUntied("final_norm")
             ? "norm." + std::to_string(tower) + ".weight"
             : "norm.weight";
}

static Expected<Mot> readConfig(const ImportInput &input) {
  const Config &config = input.config;
  if (config.has("quantization_config"))
    return config.error("quantization_config",
                        "quantised checkpoints are not supported",
                        "tensors of F32, BF16 or F16 and no such key");
  Mot model;
  if (!input.nest.modalities())
    return Error(input.directory + "/nest.json: modalities", "is missing",
                 "a model of towers needs names, tower, untied and norm");
  model.modalities = *input.nest.modalities();
  NEST_RT_ASSIGN(model.vocab, config.size("vocab_size"));
  NEST_RT_ASSIGN(model.dim, config.size("dim"));
  NEST_RT_ASSIGN(model.numLayers, config.size("n_layers"));
  NEST_RT_TRY(checkDepth(input, "n_layers", model.numLayers));
  NEST_RT_ASSIGN(model.heads, config.size("n_heads"));
  NEST_RT_ASSIGN(model.kvHeads, config.sizeOr("n_kv_heads", model.heads));
  if (model.heads % model.kvHeads != 0)
    return config.error("n_kv_heads", "is " + std::to_string(model.kvHeads),
                        "a divisor of n_heads (" + std::to_string(model.heads) +
                            ")");
  if (!config.has("head_dim") && model.dim % model.heads != 0)
    return config.error("dim",
                        "is " + std::to_string(model.dim) +
                            ", no multiple of n_heads (" +
                            std::to_string(model.heads) + ")",
                        "a multiple of it, or head_dim beside it");
  NEST_RT_ASSIGN(model.headDim,
                 config.sizeOr("head_dim", model.dim / model.heads));
  NEST_RT_ASSIGN(model.ffn,
                 config.sizesPerLayer("hidden_dim", model.numLayers));
  NEST_RT_ASSIGN(model.maxLength, config.sizeOr("max_seq_len", 4096));
  NEST_RT_ASSIGN(model.epsilon, config.positive("norm_eps", 1e-5));
  NEST_RT_ASSIGN(bool normsHeads, config.flag("qk_normalization", false));
  model.features = normsHeads ? QkNorm : 0;
  NEST_RT_ASSIGN(model.rope, readRope(config, model.maxLength));
  if (model.rope.partial != 1)
    return Error(model.rope.partialPlace, "is not 1", "1, or no such key");
  NEST_RT_ASSIGN(model.eos,
                 readEndTokens(input, input.config, std::nullopt, model.vocab));
  return model;
}

static Status declareWeights(const Mot &model, WeightTable &weights) {
  SizeTable sizes;
  sizes.set('V', model.vocab, "vocab_size");
  sizes.set('D', model.dim, "dim");
  sizes.set('H', model.headDim, "head_dim");
  auto towersOf = [&](StringRef part) {
    return model.isUntied(part) ? model.modalities.numTowers : 1;
  };
  NEST_RT_TRY(weights.declare("tok_embeddings.weight", "VD", sizes));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    std::string heads = AxisTable::name(layer, kHeadAxis);
    sizes.set('Q', model.heads * model.headDim, "n_heads * head_dim", heads,
              model.heads / model.kvHeads * model.headDim);
    sizes.set('K', model.kvHeads * model.headDim, "n_kv_heads * head_dim",
              heads, model.headDim);
    sizes.set('F', model.ffn[layer], "hidden_dim",
              AxisTable::name(layer, kFfnAxis));
    for (const PartRule &rule : kLayerTensors)
      for (int64_t tower = 0; tower < towersOf(rule.part); ++tower)
        if ((rule.when & ~model.features) == 0)
          NEST_RT_TRY(weights.declare(nameOf(model, rule, layer, tower),
                                      rule.shape, sizes));
  }
  for (int64_t tower = 0; tower < towersOf("final_norm"); ++tower)
    NEST_RT_TRY(weights.declare(finalNorm(model, tower), "D", sizes));
  NEST_RT_TRY(weights.declare("output.weight", "VD", sizes));
  return weights.checkNothingElse(
      [](StringRef name) { return name == "rope.freqs"; });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

namespace {
/// Emits layers; `towers` is the entry's family of rows.
class TowerBuilder {
public:
  TowerBuilder(const Mot &model, nest::RopeAttr rope)
      : model(model), rope(rope) {}

  Value embed(Graph &graph) {
    const Modalities &list = model.modalities;
    towers = Value();
    if (!list.untied.empty())
      towers = nest::PartitionOp::create(
          graph.ops(), graph.loc(),
          nest::RowsType::get(graph.ops().getContext(), list.numTowers,
                              /*cover=*/true, nest::CapacityAttr()),
          graph.modality, graph.ops().getDenseI64ArrayAttr(list.towers));
    return graph.embed("tok_embeddings.weight");
  }

  Value layer(Graph &graph, int64_t index, Value x) {
    bool post = model.modalities.normsOutput;
    auto name = [&](StringRef tensor, int64_t tower) {
      return nameOf(model, tensor, index, tower);
    };
    auto norm = [&](Value value, StringRef tensor, int64_t tower,
                    int64_t group = 0) {
      return graph.rmsNorm(value, name(tensor, tower), model.epsilon, group);
    };

    bool headsUntied = model.normsHeads() && model.isUntied("qk_norm");
    SmallVector<Value> qkv =
        region(graph,
               (!post && model.isUntied("norms")) || model.isUntied("qkv") ||
                   headsUntied,
               {x}, [&](int64_t tower, ValueRange rows) -> SmallVector<Value> {
                 Value h =
                     post ? rows[0] : norm(rows[0], "attention_norm", tower);
                 Value q = graph.linear(h, name("wq", tower));
                 Value k = graph.linear(h, name("wk", tower));
                 Value v = graph.linear(h, name("wv", tower));
                 if (model.normsHeads()) {
                   q = norm(q, "q_normalization", tower, model.headDim);
                   k = norm(k, "k_normalization", tower, model.headDim);
                 }
                 return {q, k, v};
               });
    Value q = graph.rope(qkv[0], rope);
    Value k = graph.rope(qkv[1], rope);
    graph.append(k, qkv[2], graph.lengths);
    Value attended =
        graph.attend(q, graph.lengths, 1.0 / std::sqrt(model.headDim),
                     /*window=*/0, /*alibi=*/0);
    auto rest = [&](int64_t tower, ValueRange rows) -> SmallVector<Value> {
      Value o = graph.linear(rows[0], name("wo", tower));
      if (post)
        o = norm(o, "attention_norm", tower);
      Value inner = graph.add(rows[1], o);
      Value h = post ? inner : norm(inner, "ffn_norm", tower);
      Value gate = graph.linear(h, name("w1", tower));
      Value up = graph.linear(h, name("w3", tower));
      Value down = graph.linear(graph.glu(nest::Activation::silu, gate, up),
                                name("w2", tower));
      if (post)
        down = norm(down, "ffn_norm", tower);
      return {graph.add(inner, down)};
    };
    return region(graph,
                  model.isUntied("o") || model.isUntied("norms") ||
                      model.isUntied("ffn"),
                  {attended, x}, rest)
        .front();
  }

  /// The final norm, where towers have their own.
  Value finish(Graph &graph, Value x) {
    auto body = [&](int64_t tower, ValueRange rows) -> SmallVector<Value> {
      return {graph.rmsNorm(rows[0], finalNorm(model, tower), model.epsilon)};
    };
    return region(graph, true, {x}, body).front();
  }

  Value head(Graph &graph, Value x) {
    if (!model.isUntied("final_norm"))
      x = graph.rmsNorm(x, finalNorm(model, 0), model.epsilon);
    return graph.linear(x, "output.weight");
  }

private:
  /// `build` on the rows of each tower, or once on all of them.
  SmallVector<Value>
  region(Graph &graph, bool untied, ValueRange streams,
         llvm::function_ref<SmallVector<Value>(int64_t tower, ValueRange rows)>
             build) {
    if (!untied)
      return build(0, streams);
    return graph.on(
        towers, streams, {}, {},
        static_cast<unsigned>(model.modalities.numTowers),
        [&](unsigned tower, ValueRange rows) { return build(tower, rows); });
  }

  const Mot &model;
  nest::RopeAttr rope;
  Value towers;
};
} // namespace

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Mot model, readConfig(input));
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(
      declareAxes(input,
                  {{kFfnAxis, model.ffn},
                   headAxes(model.numLayers, model.heads, model.kvHeads)},
                  module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(model, weights));
  recordModel(input,
              {"mot",
               "mot",
               model.numLayers,
               model.vocab,
               model.dim,
               model.maxLength,
               model.eos,
               {},
               model.headDim},
              weights, module);
  NEST_RT_ASSIGN(RopeTable table, computeRope(model.rope, model.headDim));
  auto rope = nest::RopeAttr::get(module.getContext(), model.headDim,
                                  table.frequencies, table.magnitude);
  TowerBuilder emit(model, rope);
  Decoder decoder;
  decoder.caches.assign(
      model.numLayers,
      Decoder::Cache{model.kvHeads, model.headDim, /*ownLength=*/false,
                     /*ownPositions=*/false, /*nested=*/true});
  decoder.maxLength = model.maxLength;
  decoder.takesModality = true;
  auto embed = [&](Graph &graph) -> Streams { return {emit.embed(graph)}; };
  auto layer = [&](Graph &graph, int64_t index, ValueRange x) -> Streams {
    return {emit.layer(graph, index, x.front())};
  };
  auto finish = [&](Graph &graph, ValueRange x) -> Streams {
    return {emit.finish(graph, x.front())};
  };
  auto head = [&](Graph &graph, ValueRange x) {
    return emit.head(graph, x.front());
  };
  decoder.embed = embed;
  decoder.layer = layer;
  if (model.isUntied("final_norm"))
    decoder.finish = finish;
  decoder.head = head;
  buildDecoder(builder, weights, decoder);
  return Status::success();
}

const Family nestc::motFamily = {
    "mot",        {"mot"},   {},        Family::ModalityList, build, "n_layers",
    "hidden_dim", "layers.", "n_heads", "n_kv_heads"};
