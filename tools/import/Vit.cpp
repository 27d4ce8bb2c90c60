//===- Vit.cpp - vision transformers ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// ViTModel and ViTForImageClassification of Hugging Face transformers: patches
// of an image and a token in front of them, bidirectional attention, no cache.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Family.h"
#include "tools/import/Graph.h"

#include <cmath>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {
enum Feature : unsigned {
  QkvBias = 1 << 0,
  Pooler = 1 << 1,
  Classifier = 1 << 2,
};

struct Extent {
  int64_t height = 0, width = 0;
};

struct Vit {
  std::string prefix; ///< of all names but the classifier's
  unsigned features = 0;
  int64_t numLayers = 0, hidden = 0, heads = 0, channels = 0, labels = 0,
          pooled = 0;
  Extent image, patch, grid; ///< the grid counts patches
  std::vector<int64_t> ffn;  ///< one for each layer
  double epsilon = 0;
  nest::Activation activation = nest::Activation::gelu;
  nest::Activation poolerActivation = nest::Activation::tanh;

  int64_t patches() const { return grid.height * grid.width; }
  int64_t rows() const { return patches() + 1; }
  std::string layerPrefix(int64_t layer) const {
    return prefix + "encoder.layer." + std::to_string(layer) + ".";
  }
};
} // namespace

// D hidden_size, F FFN of the layer (on its axis), S patches and one, C
// channels, P and Q height and width of a patch, E pooler, L labels.
// clang-format off
static const TensorRule kTopTensors[] = {
  {"embeddings.cls_token",           "11D"},
  {"embeddings.position_embeddings", "1SD"},
  {"layernorm.weight",               "D"},
  {"layernorm.bias",                 "D"},
  {"pooler.dense.weight",            "ED", Pooler},
  {"pooler.dense.bias",              "E",  Pooler},
};
static const TensorRule kClassifier[] = {
  {"classifier.weight", "LD", Classifier},
  {"classifier.bias",   "L",  Classifier},
};
static const TensorRule kLayerTensors[] = {
  {"layernorm_before.weight",          "D"},
  {"layernorm_before.bias",            "D"},
  {"attention.attention.query.weight", "DD"},
  {"attention.attention.query.bias",   "D", QkvBias},
  {"attention.attention.key.weight",   "DD"},
  {"attention.attention.key.bias",     "D", QkvBias},
  {"attention.attention.value.weight", "DD"},
  {"attention.attention.value.bias",   "D", QkvBias},
  {"attention.output.dense.weight",    "DD"},
  {"attention.output.dense.bias",      "D"},
  {"layernorm_after.weight",           "D"},
  {"layernorm_after.bias",             "D"},
  {"intermediate.dense.weight",        "FD"},
  {"intermediate.dense.bias",          "F"},
  {"output.dense.weight",              "DF"},
  {"output.dense.bias",                "D"},
};
// clang-format on
static constexpr const char *kProjection =
    "embeddings.patch_embeddings.projection.";

//===----------------------------------------------------------------------===//
// Config
//===----------------------------------------------------------------------===//

/// One size for both, or a list of height and width.
static Expected<Extent> readExtent(const Config &config, const char *key,
                                   int64_t otherwise) {
  Extent extent;
  if (config.has(key)) {
    NEST_RT_ASSIGN(JsonReader value, config.root().get(key));
    if (value.json().isArray()) {
      NEST_RT_ASSIGN(auto sizes, value.asIntList(1, kMaxConfigSize));
      if (sizes.size() != 2)
        return value.error("has " + std::to_string(sizes.size()) + " elements",
                           "one size, or a list of height and width");
      return Extent{sizes[0], sizes[1]};
    }
  }
  NEST_RT_ASSIGN(extent.height, config.sizeOr(key, otherwise));
  extent.width = extent.height;
  return extent;
}

static Expected<Vit> readConfig(const ImportInput &input) {
  const Config &config = input.config;
  const Checkpoint &checkpoint = input.checkpoint;
  if (config.has("quantization_config"))
    return config.error("quantization_config",
                        "quantised checkpoints are not supported",
                        "tensors of F32, BF16 or F16 and no such key");
  Vit model;
  NEST_RT_ASSIGN(model.hidden, config.sizeOr("hidden_size", 768));
  NEST_RT_ASSIGN(model.numLayers, config.sizeOr("num_hidden_layers", 12));
  NEST_RT_TRY(checkDepth(input, "num_hidden_layers", model.numLayers));
  NEST_RT_ASSIGN(model.heads, config.sizeOr("num_attention_heads", 12));
  if (model.hidden % model.heads != 0)
    return config.error("hidden_size",
                        "is " + std::to_string(model.hidden) +
                            ", no multiple of num_attention_heads (" +
                            std::to_string(model.heads) + ")",
                        "a multiple of it");
  model.ffn.assign(model.numLayers, 3072);
  if (config.has("intermediate_size")) {
    NEST_RT_ASSIGN(model.ffn,
                   config.sizesPerLayer("intermediate_size", model.numLayers));
  }
  NEST_RT_ASSIGN(model.epsilon, config.positive("layer_norm_eps", 1e-12));
  NEST_RT_ASSIGN(model.activation, config.activation("hidden_act", "gelu"));
  NEST_RT_ASSIGN(model.poolerActivation,
                 config.activation("pooler_act", "tanh"));
  NEST_RT_ASSIGN(model.channels, config.sizeOr("num_channels", 3));
  NEST_RT_ASSIGN(model.pooled,
                 config.sizeOr("pooler_output_size", model.hidden));
  NEST_RT_ASSIGN(model.image, readExtent(config, "image_size", 224));
  NEST_RT_ASSIGN(model.patch, readExtent(config, "patch_size", 16));
  // What a patch leaves over at the border is not looked at.
  model.grid = {model.image.height / model.patch.height,
                model.image.width / model.patch.width};
  if (model.patches() == 0)
    return config.error("patch_size", "is larger than image_size",
                        "a part of the image");
  NEST_RT_ASSIGN(bool hasBias, config.flag("qkv_bias", true));
  model.features |= hasBias ? QkvBias : 0;

  if (checkpoint.find("vit.embeddings.cls_token"))
    model.prefix = "vit.";
  if (checkpoint.find(model.prefix + "pooler.dense.weight"))
    model.features |= Pooler;
  if (checkpoint.find("classifier.weight"))
    model.features |= Classifier;
  model.labels = 2; // transformers' default, for which it writes no key
  if (config.has("id2label")) {
    NEST_RT_ASSIGN(JsonReader names, config.root().get("id2label"));
    NEST_RT_TRY(names.expectObject());
    model.labels = static_cast<int64_t>(names.json().members().size());
  } else {
    NEST_RT_ASSIGN(model.labels, config.sizeOr("num_labels", model.labels));
  }
  return model;
}

static Status declareWeights(const Vit &model, WeightTable &weights) {
  SizeTable sizes;
  sizes.set('1', 1, "1");
  sizes.set('D', model.hidden, "hidden_size");
  sizes.set('S', model.rows(), "patches + 1");
  sizes.set('C', model.channels, "num_channels");
  sizes.set('P', model.patch.height, "patch_size");
  sizes.set('Q', model.patch.width, "patch_size");
  sizes.set('E', model.pooled, "pooler_output_size");
  sizes.set('L', model.labels, "number of labels");
  std::string projection = model.prefix + kProjection;
  TensorUse joined;
  joined.joined = true;
  NEST_RT_TRY(weights.declare(projection + "weight", "DCPQ", sizes, joined));
  NEST_RT_TRY(weights.declare(projection + "bias", "D", sizes));
  NEST_RT_TRY(
      weights.declare(kTopTensors, model.features, sizes, model.prefix));
  for (int64_t layer = 0; layer < model.numLayers; ++layer) {
    sizes.set('F', model.ffn[layer], "intermediate_size",
              AxisTable::name(layer, kFfnAxis));
    NEST_RT_TRY(weights.declare(kLayerTensors, model.features, sizes,
                                model.layerPrefix(layer)));
  }
  NEST_RT_TRY(weights.declare(kClassifier, model.features, sizes));
  return weights.checkNothingElse([](StringRef name) {
    return name.ends_with("embeddings.mask_token"); // of masked training
  });
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

/// The stream of patches' rows and, in front of them, that of the image.
static Value embed(Graph &graph, const Vit &model, Value pixels) {
  OpBuilder &builder = graph.ops();
  MLIRContext *context = builder.getContext();
  auto stream = [&](int64_t rows, int64_t columns) {
    return RankedTensorType::get({ShapedType::kDynamic, rows, columns},
                                 builder.getF32Type());
  };
  AffineExpr batch, row, column;
  bindDims(context, batch, row, column);
  auto map = [&](ArrayRef<AffineExpr> results) {
    return AffineMap::get(3, 0, results, context);
  };
  AffineExpr zero = builder.getAffineConstantExpr(0);
  int64_t height = model.patch.height, width = model.patch.width;
  AffineExpr pixel = column % (height * width);
  Value patches = graph.remap(
      pixels,
      map({batch, column.floorDiv(height * width),
           row.floorDiv(model.grid.width) * height + pixel.floorDiv(width),
           row % model.grid.width * width + pixel % width}),
      stream(model.patches(), model.channels * height * width));
  std::string projection = model.prefix + kProjection;
  Value x = graph.linear(patches, projection + "weight", projection + "bias");
  x = graph.remap(x, map({batch, row - 1, column}),
                  stream(model.rows(), model.hidden));
  x = graph.remap(model.prefix + "embeddings.cls_token",
                  map({row, zero, column}), x);
  return graph.remap(model.prefix + "embeddings.position_embeddings",
                     map({zero, row, column}), x);
}

static Value layer(Graph &graph, const Vit &model, int64_t index, Value x) {
  std::string prefix = model.layerPrefix(index);
  bool qkvBias = model.features & QkvBias;
  auto linear = [&](const char *name, Value of, bool hasBias = true) {
    return graph.linear(of, prefix + name + ".weight",
                        hasBias ? prefix + name + ".bias" : std::string());
  };
  auto norm = [&](const char *name, Value of) {
    return graph.layerNorm(of, prefix + name + ".weight",
                           prefix + name + ".bias", model.epsilon);
  };
  int64_t headDim = model.hidden / model.heads;
  Value h = norm("layernorm_before", x);
  Value attended = graph.attendAll(
      linear("attention.attention.query", h, qkvBias),
      linear("attention.attention.key", h, qkvBias),
      linear("attention.attention.value", h, qkvBias), model.heads,
      1.0 / std::sqrt(static_cast<double>(headDim)));
  x = graph.add(linear("attention.output.dense", attended), x);
  Value inner = graph.act(model.activation, linear("intermediate.dense",
                                                   norm("layernorm_after", x)));
  return graph.add(linear("output.dense", inner), x);
}

static Status build(const ImportInput &input, ModuleOp module) {
  NEST_RT_ASSIGN(Vit model, readConfig(input));
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  NEST_RT_TRY(declareAxes(input, {{kFfnAxis, model.ffn}}, module, builder));
  WeightTable weights(input.checkpoint, builder);
  NEST_RT_TRY(declareWeights(model, weights));
  ModelFacts facts;
  facts.family = facts.modelType = "vit";
  facts.numLayers = model.numLayers;
  facts.hiddenSize = model.hidden;
  facts.routes.resize(model.numLayers);
  recordModel(input, facts, weights, module);

  auto encode = [&](Graph &graph, Value pixels) {
    Value x = embed(graph, model, pixels);
    for (int64_t index = 0; index < model.numLayers; ++index)
      x = graph
              .layer(index, x,
                     [&](Graph &graph, int64_t index, ValueRange x) -> Streams {
                       return {layer(graph, model, index, x.front())};
                     })
              .front();
    x = graph.layerNorm(x, model.prefix + "layernorm.weight",
                        model.prefix + "layernorm.bias", model.epsilon);
    std::vector<std::pair<StringRef, Value>> outputs{{"last_hidden_state", x}};
    // The row of the image.
    AffineExpr batch, column;
    bindDims(builder.getContext(), batch, column);
    Value image = graph.remap(
        x,
        AffineMap::get(2, 0, {batch, builder.getAffineConstantExpr(0), column},
                       builder.getContext()),
        RankedTensorType::get({ShapedType::kDynamic, model.hidden},
                              builder.getF32Type()));
    if (model.features & Pooler) {
      std::string pooler = model.prefix + "pooler.dense.";
      outputs.emplace_back(
          "pooler_output",
          graph.act(model.poolerActivation,
                    graph.linear(image, pooler + "weight", pooler + "bias")));
    }
    if (model.features & Classifier)
      outputs.emplace_back("logits", graph.linear(image, "classifier.weight",
                                                  "classifier.bias"));
    return outputs;
  };
  buildEncoder(builder, weights, "pixel_values",
               RankedTensorType::get({ShapedType::kDynamic, model.channels,
                                      model.image.height, model.image.width},
                                     builder.getF32Type()),
               encode);
  return Status::success();
}

const Family nestc::vitFamily = {"vit",
                                 {"vit"},
                                 {},
                                 0,
                                 build,
                                 "num_hidden_layers",
                                 "intermediate_size",
                                 "encoder.layer.",
                                 "num_attention_heads",
                                 "num_key_value_heads",
                                 "vit."};
