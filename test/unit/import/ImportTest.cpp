//===- ImportTest.cpp - checkpoints in, modules or errors out ---*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Import.h"

#include "dialect/Nest.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Json.h"
#include "lowering/runtime/Safetensors.h"
#include "passes/Submodel.h"

#include "mlir/IR/Verifier.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <map>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {

/// A checkpoint in a directory of its own: a llama of two layers, d 8, two
/// heads of 4 with one KV head, F 16, vocabulary 12. A test changes what it is
/// about and imports.
class ImportTest : public testing::Test {
protected:
  using Shape = std::vector<int64_t>;
  struct Tensor {
    DType dtype;
    Shape shape;
    char fill;
  };

  void SetUp() override {
    std::string pattern = testing::TempDir() + "nest-import-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    auto parsed = parseJson(R"({
      "model_type": "llama", "vocab_size": 12, "hidden_size": 8,
      "intermediate_size": 16, "num_hidden_layers": 2,
      "num_attention_heads": 2, "num_key_value_heads": 1,
      "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
      "eos_token_id": [0, 3], "use_cache": true})",
                            "config.json");
    ASSERT_TRUE(parsed);
    config = std::move(*parsed);
    add("model.embed_tokens.weight", {12, 8});
    add("lm_head.weight", {12, 8});
    add("model.norm.weight", {8});
    for (const char *layer : {"model.layers.0.", "model.layers.1."}) {
      const std::string prefix = layer;
      add(prefix + "input_layernorm.weight", {8});
      add(prefix + "post_attention_layernorm.weight", {8});
      add(prefix + "self_attn.q_proj.weight", {8, 8});
      add(prefix + "self_attn.k_proj.weight", {4, 8});
      add(prefix + "self_attn.v_proj.weight", {4, 8});
      add(prefix + "self_attn.o_proj.weight", {8, 8});
      add(prefix + "mlp.gate_proj.weight", {16, 8});
      add(prefix + "mlp.up_proj.weight", {16, 8});
      add(prefix + "mlp.down_proj.weight", {8, 16});
    }
  }
  void TearDown() override { (void)removeTree(directory); }

  void add(const std::string &name, Shape shape, DType dtype = DType::F32,
           char fill = 0) {
    tensors[name] = {dtype, std::move(shape), fill};
  }
  void addToLayers(const std::string &name, const Shape &shape) {
    add("model.layers.0." + name, shape);
    add("model.layers.1." + name, shape);
  }
  void set(const std::string &key, const std::string &json) {
    auto value = parseJson(json, key);
    ASSERT_TRUE(value) << value.error().str();
    config.set(key, std::move(*value));
  }
  void write(const std::string &file, const std::string &text) {
    Status status = writeFile(joinPath(directory, file), text);
    ASSERT_TRUE(status.ok()) << status.error().str();
  }

  void writeTensors() {
    SafetensorsWriter writer;
    for (const auto &[name, tensor] : tensors) {
      std::string bytes(*byteCount(tensor.dtype, tensor.shape), tensor.fill);
      auto index = writer.add(name, tensor.dtype, tensor.shape,
                              [bytes](const ByteSink &sink) {
                                return sink(bytes.data(), bytes.size());
                              });
      ASSERT_TRUE(index) << index.error().str();
    }
    std::string path = joinPath(directory, "model.safetensors");
    auto file = AtomicFile::create(path);
    ASSERT_TRUE(file) << file.error().str();
    ASSERT_TRUE(writer.write(*file, path).ok());
    ASSERT_TRUE(file->commit().ok());
  }

  /// Imports what stands in the directory.
  bool importDirectory() {
    errors.clear();
    warnings.clear();
    auto sink = [&](ImportSeverity severity, const Error &error) {
      std::string text = error.str();
      for (size_t at; (at = text.find(directory)) != std::string::npos;)
        text.replace(at, directory.size(), "DIR");
      (severity == ImportSeverity::Error ? errors : warnings) += text;
    };
    module = importCheckpoint(context, directory, sink);
    EXPECT_EQ(!module, errors.size() != 0);
    EXPECT_TRUE(!module || succeeded(verify(*module)));
    return static_cast<bool>(module);
  }
  /// Writes config and tensors, and imports them.
  bool import() {
    write("config.json", config.str(1));
    writeTensors();
    return importDirectory();
  }
  std::string error() {
    import();
    return errors;
  }

  template <typename Op>
  SmallVector<Op> ops(StringRef function = "decode") {
    SmallVector<Op> found;
    module->lookupSymbol<func::FuncOp>(function).walk(
        [&](Op op) { found.push_back(op); });
    return found;
  }
  std::string weight(StringRef name) {
    auto op = module->lookupSymbol<nest::WeightOp>(name);
    if (!op)
      return "none";
    std::string text;
    llvm::raw_string_ostream stream(text);
    if (op.getStored())
      stream << *op.getStored() << " as ";
    stream << op.getTensorType();
    return text;
  }
  std::vector<int64_t> windows() {
    std::vector<int64_t> list;
    for (nest::AttentionOp op : ops<nest::AttentionOp>())
      list.push_back(op.getMask().getWindow());
    return list;
  }

  std::string directory;
  Json config;
  std::map<std::string, Tensor> tensors;
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::string errors, warnings;
};

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

TEST_F(ImportTest, Module) {
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(warnings, "");
  auto model = (*module)->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  ASSERT_TRUE(model);
  auto text = [&](const char *key) {
    return model.getAs<StringAttr>(key).getValue();
  };
  auto number = [&](const char *key) {
    return model.getAs<IntegerAttr>(key).getInt();
  };
  EXPECT_EQ(text("family"), "llama");
  EXPECT_EQ(text("model_type"), "llama");
  EXPECT_EQ(text("dtype"), "f32");
  EXPECT_EQ(number("num_layers"), 2);
  EXPECT_EQ(number("vocab_size"), 12);
  EXPECT_EQ(number("hidden_size"), 8);
  EXPECT_EQ(number("max_length"), 32);
  EXPECT_EQ(model.getAs<DenseI64ArrayAttr>("eos_token_ids").asArrayRef(),
            ArrayRef<int64_t>({0, 3}));
  EXPECT_FALSE(model.getAs<BoolAttr>("declared_axes").getValue());
  EXPECT_EQ((*module)->getAttrOfType<StringAttr>(nest::kSourceAttr).getValue(),
            StringRef(directory));

  for (const char *name : {"prefill", "decode", "verify"}) {
    auto entry = module->lookupSymbol<func::FuncOp>(name);
    ASSERT_TRUE(entry) << name;
    EXPECT_EQ(entry.getNumArguments(), 7u);
    EXPECT_EQ(entry.getNumResults(), 5u);
    EXPECT_EQ(ops<nest::LayerOp>(name).size(), 2u);
    EXPECT_EQ(ops<nest::LastOp>(name).size(), name == StringRef("prefill"));
  }
  AxisTable table = AxisTable::get(*module);
  ASSERT_EQ(table.axes.size(), 4u);
  EXPECT_EQ(table.axes["layers.1.ffn"].size, 16);
  EXPECT_EQ(weight("model.layers.1.mlp.down_proj.weight"),
            "tensor<8x16xf32, #nest.on<_, layers.1.ffn>>");
  EXPECT_EQ(windows(), (std::vector<int64_t>{0, 0}));
}

TEST_F(ImportTest, MixedTypes) {
  tensors["model.embed_tokens.weight"].dtype = DType::BF16;
  tensors["model.layers.0.mlp.up_proj.weight"].dtype = DType::F16;
  tensors["model.layers.0.input_layernorm.weight"].dtype = DType::BF16;
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("model.embed_tokens.weight"), "tensor<12x8xbf16>");
  EXPECT_EQ(weight("model.layers.0.self_attn.q_proj.weight"),
            "tensor<8x8xf32> as tensor<8x8xbf16, "
            "#nest.on<layers.0.heads * 8, _>>");
  EXPECT_EQ(weight("model.layers.0.mlp.up_proj.weight"),
            "tensor<16x8xf16> as tensor<16x8xbf16, #nest.on<layers.0.ffn, _>>");
  EXPECT_EQ(weight("model.layers.0.input_layernorm.weight"),
            "tensor<8xbf16> as tensor<8xf32>");
  EXPECT_EQ(weight("model.norm.weight"), "tensor<8xf32>");
}

TEST_F(ImportTest, WidthsPerLayer) {
  set("intermediate_size", "[16, 24]");
  for (const char *name : {"gate_proj", "up_proj"})
    tensors["model.layers.1.mlp." + std::string(name) + ".weight"].shape[0] =
        24;
  tensors["model.layers.1.mlp.down_proj.weight"].shape[1] = 24;
  write("nest.json", R"({"format": 1, "axes": {
    "layers.all.ffn": {"levels": ["1/4", "1"]}}})");
  ASSERT_TRUE(import()) << errors;
  AxisTable table = AxisTable::get(*module);
  EXPECT_EQ(table.axes["layers.0.ffn"].levels, (SmallVector<int64_t>{4, 16}));
  EXPECT_EQ(table.axes["layers.1.ffn"].levels, (SmallVector<int64_t>{6, 24}));
}

TEST_F(ImportTest, Tying) {
  // Not stored: the table is the head.
  set("tie_word_embeddings", "true");
  Tensor head = tensors["lm_head.weight"];
  tensors.erase("lm_head.weight");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("lm_head.weight"), "none");

  // Stored as a copy, with what older files have beside it.
  tensors["lm_head.weight"] = head;
  addToLayers("self_attn.rotary_emb.inv_freq", {2});
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("lm_head.weight"), "none");
  EXPECT_EQ(warnings, "");

  // Only the head is stored.
  Tensor table = tensors["model.embed_tokens.weight"];
  tensors.erase("model.embed_tokens.weight");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("lm_head.weight"), "tensor<12x8xf32>");

  // Stored, and not a copy.
  tensors["model.embed_tokens.weight"] = table;
  tensors["lm_head.weight"].fill = 1;
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("lm_head.weight"), "tensor<12x8xf32>");
  EXPECT_EQ(warnings, "DIR/model.safetensors: lm_head.weight: differs from "
                      "model.embed_tokens.weight, so the two are not tied; set "
                      "tie_word_embeddings to false in config.json");
}

TEST_F(ImportTest, Biases) {
  set("attention_bias", "true");
  set("mlp_bias", "true");
  for (const char *name : {"q_proj", "o_proj"})
    addToLayers("self_attn." + std::string(name) + ".bias", {8});
  for (const char *name : {"k_proj", "v_proj"})
    addToLayers("self_attn." + std::string(name) + ".bias", {4});
  addToLayers("mlp.gate_proj.bias", {16});
  addToLayers("mlp.up_proj.bias", {16});
  addToLayers("mlp.down_proj.bias", {8});
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(weight("model.layers.0.mlp.up_proj.bias"),
            "tensor<16xf32, #nest.on<layers.0.ffn>>");
  unsigned biased = 0;
  for (nest::LinearOp op : ops<nest::LinearOp>())
    biased += static_cast<bool>(op.getBias());
  EXPECT_EQ(biased, 14u); // all but the head
}

TEST_F(ImportTest, Qwen2) {
  set("model_type", "\"qwen2\"");
  addToLayers("self_attn.q_proj.bias", {8});
  addToLayers("self_attn.k_proj.bias", {4});
  addToLayers("self_attn.v_proj.bias", {4});
  set("sliding_window", "5");
  set("max_window_layers", "1");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{0, 0}));
  set("use_sliding_window", "true");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{0, 5}));
  set("layer_types", R"(["sliding_attention", "full_attention"])");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{5, 0}));
  set("sliding_window", "null");
  EXPECT_EQ(error(),
            "DIR/config.json: layer_types[0]: is sliding_attention, but there "
            "is no window; full_attention; or use_sliding_window true with "
            "sliding_window at least 1");
}

TEST_F(ImportTest, Qwen3) {
  set("model_type", "\"qwen3\"");
  // 128 elements a head are the default of this type.
  EXPECT_EQ(error().rfind("DIR/model.safetensors: "
                          "model.layers.0.self_attn.q_proj.weight: has shape "
                          "[8, 8]; config.json asks for [256, 8]",
                          0),
            0u)
      << errors;
  set("head_dim", "4");
  addToLayers("self_attn.q_norm.weight", {4});
  addToLayers("self_attn.k_norm.weight", {4});
  ASSERT_TRUE(import()) << errors;
  std::vector<int64_t> groups;
  for (nest::NormOp op : ops<nest::NormOp>())
    groups.push_back(op.getGroup().value_or(0));
  EXPECT_EQ(groups, (std::vector<int64_t>{0, 4, 4, 0, 0, 4, 4, 0, 0}));
}

TEST_F(ImportTest, Mistral) {
  set("model_type", "\"mistral\"");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{4096, 4096}));
  set("sliding_window", "6");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{6, 6}));
  set("sliding_window", "null");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(windows(), (std::vector<int64_t>{0, 0}));
  set("sliding_window", "0");
  EXPECT_EQ(error(), "DIR/config.json: sliding_window: is 0; an integer from 1 "
                     "to 2147483647");
}

TEST_F(ImportTest, Olmo2) {
  set("model_type", "\"olmo2\"");
  for (const char *layer : {"model.layers.0.", "model.layers.1."})
    tensors.erase(std::string(layer) + "input_layernorm.weight");
  addToLayers("post_feedforward_layernorm.weight", {8});
  addToLayers("self_attn.q_norm.weight", {8});
  addToLayers("self_attn.k_norm.weight", {4});
  ASSERT_TRUE(import()) << errors;
  // Residuals add the norm of what attention and FFN yield.
  for (arith::AddFOp op : ops<arith::AddFOp>())
    EXPECT_TRUE(op.getRhs().getDefiningOp<nest::NormOp>());
  for (nest::NormOp op : ops<nest::NormOp>())
    EXPECT_FALSE(op.getGroup());
}

TEST_F(ImportTest, TypeOfArchitecture) {
  set("model_type", "null");
  set("architectures", R"(["MistralForCausalLM"])");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ((*module)
                ->getAttrOfType<DictionaryAttr>(nest::kModelAttr)
                .getAs<StringAttr>("model_type")
                .getValue(),
            "mistral");
}

TEST_F(ImportTest, EndTokensOutside) {
  set("eos_token_id", "[3, 151645]");
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(warnings, "DIR/config.json: eos_token_id: 151645 is no token of "
                      "the model, and is ignored; tokens are 0 to 11");
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

TEST_F(ImportTest, Tensors) {
  auto tensor = tensors["model.layers.1.mlp.up_proj.weight"];
  tensors.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(error().rfind("DIR: the tensor model.layers.1.mlp.up_proj.weight "
                          "is missing; ",
                          0),
            0u)
      << errors;
  tensors["model.layers.1.mlp.up_proj.weight"] = tensor;

  tensors["model.layers.1.mlp.up_proj.weight"].dtype = DType::I32;
  EXPECT_EQ(error(), "DIR/model.safetensors: model.layers.1.mlp.up_proj.weight:"
                     " has element type I32; F32, BF16 or F16");
  tensors["model.layers.1.mlp.up_proj.weight"] = tensor;

  tensors["model.layers.1.mlp.up_proj.weight"].shape = {16, 8, 1};
  EXPECT_EQ(error(), "DIR/model.safetensors: model.layers.1.mlp.up_proj.weight:"
                     " has shape [16, 8, 1]; config.json asks for [16, 8], "
                     "that is [intermediate_size, hidden_size]");
  tensors["model.layers.1.mlp.up_proj.weight"] = tensor;

  add("model.layers.2.input_layernorm.weight", {8});
  add("score.weight", {8});
  EXPECT_EQ(
      error(),
      "DIR/model.safetensors: model.layers.2.input_layernorm.weight: "
      "this tensor is not part of the model, nor is another one; legal are "
      "the 21 tensors that config.json asks for");
}

TEST_F(ImportTest, ConfigValues) {
  struct Case {
    const char *key, *value, *error;
  };
  const Case cases[] = {
      {"vocab_size", "0", "is 0; an integer from 1 to 2147483647"},
      {"hidden_size", "\"8\"", "is a string; an integer from 1 to 2147483647"},
      {"num_hidden_layers", "2000000000",
       "is 2000000000, but the checkpoint has only 21 tensors; the number of "
       "layers that are stored"},
      {"num_key_value_heads", "3",
       "is 3; a divisor of num_attention_heads (2)"},
      {"num_attention_heads", "3",
       "is 8, no multiple of num_attention_heads (3); a multiple of it, or "
       "head_dim beside it"},
      {"rms_norm_eps", "0", "is 0; a number above 0 in the range of f32"},
      {"rms_norm_eps", "1e308",
       "is 1e+308; a number above 0 in the range of f32"},
      {"rms_norm_eps", "1e-308",
       "is 1e-308; a number above 0 in the range of f32"},
      {"rms_norm_eps", "\"1e-5\"", "is a string; a number"},
      {"tie_word_embeddings", "\"no\"", "is a string; true or false"},
      {"attention_bias", "1", "is an integer; true or false"},
      {"quantization_config", "{\"bits\": 4}",
       "quantised checkpoints are not supported; tensors of F32, BF16 or F16 "
       "and no such key"},
      {"architectures", "[\"LlamaForSequenceClassification\"]",
       "is LlamaForSequenceClassification; language models (...ForCausalLM) "
       "are supported"},
      {"layer_types", "[\"full_attention\"]",
       "has 1 elements; one for each of num_hidden_layers (2) layers"},
      {"partial_rotary_factor", "0.5",
       "is not 1, which llama does not have; 1, or no such key"},
      {"model_type", "\"lama\"",
       "\"lama\" is not supported; did you mean llama? legal: llama, qwen2, "
       "qwen3, mistral, olmo2, gemma3n, gemma3n_text, vit, mode, mot"},
      {"model_type", "null",
       "is missing; legal: llama, qwen2, qwen3, mistral, olmo2, gemma3n, "
       "gemma3n_text, vit, mode, mot"},
  };
  for (const Case &test : cases) {
    SCOPED_TRACE(test.key + std::string(" ") + test.value);
    Json before = config;
    set(test.key, test.value);
    // The heads are checked against the hidden size.
    std::string key = test.error[3] == '8' ? "hidden_size" : test.key;
    EXPECT_EQ(error(), "DIR/config.json: " + key + ": " + test.error);
    config = before;
  }
}

// Nothing of a size that the tensors do not have is allocated.
TEST_F(ImportTest, AbsurdSizes) {
  for (const char *key :
       {"vocab_size", "hidden_size", "intermediate_size", "head_dim"}) {
    Json before = config;
    set(key, "2147483646");
    EXPECT_EQ(error().rfind("DIR/model.safetensors: ", 0), 0u) << errors;
    EXPECT_NE(errors.find("config.json asks for"), std::string::npos);
    config = before;
  }
}

TEST_F(ImportTest, LayerTypesOfUniformModels) {
  set("layer_types", R"(["full_attention", "sliding_attention"])");
  EXPECT_EQ(error(),
            "DIR/config.json: layer_types[1]: is sliding_attention, but all "
            "layers of llama are alike; full_attention");
  set("layer_types", R"(["full_attention", "chunked_attention"])");
  EXPECT_EQ(error(), "DIR/config.json: layer_types[1]: is "
                     "\"chunked_attention\"; legal: full_attention, "
                     "sliding_attention");
}

/// What is refused of routers and routes, each of them alone.
TEST_F(ImportTest, RefusedRoutes) {
  const std::string router = "model.layers.1.router.weight_predictor.";
  add(router + "weight", {1, 8});
  EXPECT_EQ(error(), "DIR/model.safetensors: " + router +
                         "weight: is a router without a route; nest.json says "
                         "of every router what it does: routes.layers.1");
  auto route = [&](const std::string &layers, const std::string &keys) {
    write("nest.json", R"({"format": 1, "routes": {"layers.)" + layers +
                           "\": {" + keys + "}}}");
  };
  const std::string threshold = R"("decode": "threshold:0")";
  route("all", threshold);
  EXPECT_EQ(error(), "DIR/nest.json: routes.layers.all: routes layer 0, which "
                     "has no router; layers with a tensor like model.layers.0."
                     "router.weight_predictor.weight");
  route("1-2", threshold);
  EXPECT_EQ(error(), "DIR/nest.json: routes.layers.1-2: there is no layer 2; "
                     "the model has layers 0-1");

  // Everything in .block., the router with its bias.
  route("1", threshold);
  for (const char *name :
       {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj",
        "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    std::string rest = std::string(name) + ".weight";
    tensors["model.layers.1.block." + rest] = tensors["model.layers.1." + rest];
    tensors.erase("model.layers.1." + rest);
  }
  EXPECT_EQ(error().rfind("DIR: the tensor " + router + "bias is missing", 0),
            0u)
      << errors;
  add(router + "bias", {1});
  ASSERT_TRUE(import()) << errors;
  EXPECT_EQ(ops<nest::OnOp>().size(), 1u);
  auto exact = module->lookupSymbol<nest::WeightOp>(router + "weight");
  EXPECT_TRUE(exact && exact.getExact());

  route("1", R"("decode": "predictor:0.5")");
  EXPECT_EQ(error().rfind("DIR: the tensor model.layers.1.router.predictor.0."
                          "weight is missing",
                          0),
            0u)
      << errors;
  write("nest.json",
        R"({"format": 1, "family": "llama", "routes": {"layers.1": {)" +
            threshold + "}}}");
  EXPECT_EQ(error(),
            "DIR/nest.json: family: is llama, but config.json's model_type "
            "llama with its routers belongs to mod; legal is mod");
}

TEST_F(ImportTest, WhatLlamaDoesNotHave) {
  write("nest.json", R"({"format": 1, "routes": {"layers.1": {
    "decode": "always"}}})");
  EXPECT_EQ(error(), "DIR/nest.json: routes: are there, but the family llama "
                     "has no routers; no such key");
  write("nest.json", R"({"format": 1, "modalities": {"names": ["text"],
    "tower": {"text": 0}, "untied": [], "norm": "pre"}})");
  EXPECT_EQ(error(), "DIR/nest.json: modalities: are there, but the family "
                     "llama has no towers; no such key");
}

TEST_F(ImportTest, StatedFamily) {
  write("nest.json", R"({"format": 1, "family": "lama"})");
  EXPECT_EQ(error(), "DIR/nest.json: family: there is no family \"lama\"; did "
                     "you mean llama? legal: llama, gemma3n, vit, olmo, mod, "
                     "mod-gpt, mode, mot");
  write("nest.json", R"({"format": 1, "family": "mot"})");
  EXPECT_EQ(error(),
            "DIR/nest.json: family: is mot, but config.json's model_type llama "
            "belongs to llama; legal is llama");
  write("nest.json", R"({"format": 1, "submodels": {"s": "skip=5"}})");
  EXPECT_EQ(error().rfind("DIR/nest.json: submodels.s: ", 0), 0u) << errors;
}

TEST_F(ImportTest, Directories) {
  EXPECT_FALSE(importDirectory());
  EXPECT_EQ(errors.rfind("DIR/config.json: ", 0), 0u) << errors;
  write("config.json", config.str());
  EXPECT_FALSE(importDirectory());
  EXPECT_EQ(errors.rfind("DIR", 0), 0u) << errors;
  std::string parent = directory;
  directory = parent + "/none";
  EXPECT_FALSE(importDirectory());
  EXPECT_EQ(errors, "DIR: is not there; a checkpoint is a directory with "
                    "config.json and *.safetensors");
  directory = parent + "/config.json";
  EXPECT_FALSE(importDirectory());
  EXPECT_EQ(errors, "DIR: is no directory; a checkpoint is a directory with "
                    "config.json and *.safetensors");
  directory = parent;
}

TEST_F(ImportTest, Shards) {
  write("config.json", config.str());
  writeTensors();
  write("model.safetensors.index.json",
        R"({"weight_map": {"model.norm.weight": "../model.safetensors"}})");
  EXPECT_FALSE(importDirectory());
  EXPECT_NE(errors.find("../model.safetensors"), std::string::npos) << errors;
}

TEST_F(ImportTest, TruncatedFiles) {
  write("config.json", config.str());
  writeTensors();
  auto whole = readFile(joinPath(directory, "model.safetensors"));
  ASSERT_TRUE(whole);
  for (size_t size : {0, 4, 8, 100, 2000}) {
    write("model.safetensors", whole->substr(0, size));
    EXPECT_FALSE(importDirectory()) << size;
  }
  write("model.safetensors", *whole);
  std::string text = config.str();
  for (size_t size = 0; size < text.size(); size += 7) {
    write("config.json", text.substr(0, size));
    EXPECT_FALSE(importDirectory()) << size;
  }
}

} // namespace
