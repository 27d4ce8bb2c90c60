//===- ExportTest.cpp - checkpoints of submodels ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the command cannot be asked for: files of tensors that are split early.
//
//===----------------------------------------------------------------------===//

#include "tools/import/Export.h"

#include "lowering/package/PackageWriter.h"
#include "lowering/runtime/Json.h"
#include "passes/Passes.h"
#include "tools/import/Family.h"
#include "tools/import/Import.h"

#include "mlir/Pass/PassManager.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <cstring>

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

namespace {

/// A llama of three layers, d 8, F 16, whose elements count up.
class ExportTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nest-export-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    source = joinPath(directory, "source");
    output = joinPath(directory, "output");
    auto made = AtomicDirectory::create(source);
    ASSERT_TRUE(made);
    ASSERT_TRUE(writePlainFile(joinPath(made->tempPath(), "config.json"), R"({
      "model_type": "llama", "vocab_size": 12, "hidden_size": 8,
      "intermediate_size": 16, "num_hidden_layers": 3,
      "num_attention_heads": 2, "num_key_value_heads": 1})")
                    .ok());
    SafetensorsWriter writer;
    auto add = [&](const std::string &name, std::vector<int64_t> shape) {
      std::string bytes(*byteCount(DType::F32, shape), '\0');
      for (size_t i = 0; i < bytes.size(); i += 4) {
        uint32_t bits = next++;
        std::memcpy(&bytes[i], &bits, 4);
      }
      ASSERT_TRUE(writer.add(name, DType::F32, std::move(shape),
                             [bytes](const ByteSink &sink) {
                               return sink(bytes.data(), bytes.size());
                             }));
    };
    add("model.embed_tokens.weight", {12, 8});
    add("lm_head.weight", {12, 8});
    add("model.norm.weight", {8});
    for (const char *layer : {"0.", "1.", "2."}) {
      const std::string prefix = std::string("model.layers.") + layer;
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
    ASSERT_TRUE(writeTensors(
                    writer, joinPath(made->tempPath(), "model.safetensors"), {})
                    .ok());
    ASSERT_TRUE(made->commit().ok());
  }
  void TearDown() override { (void)removeTree(directory); }

  Status exportSubmodel(const std::string &submodel, uint64_t shardBytes) {
    MLIRContext context;
    auto module = importCheckpoint(context, source,
                                   [](ImportSeverity, const Error &error) {
                                     ADD_FAILURE() << error.str();
                                   });
    ExportRequest request;
    request.directory = source;
    request.output = output;
    request.family = findFamily("llama");
    request.table = AxisTable::get(*module);
    SubmodelError error;
    request.binding = *resolveSubmodel(*SubmodelSpec::parse(submodel, error),
                                       request.table, error);
    request.all = collectWeights(*module);
    PassManager manager(&context, ModuleOp::getOperationName());
    manager.addPass(createNestSpecialize({submodel, {}}));
    EXPECT_TRUE(succeeded(manager.run(*module)));
    request.kept = collectWeights(*module);
    request.producer = "nestc test";
    request.shardBytes = shardBytes;
    lastDone = 0;
    request.progress = [&](uint64_t done, uint64_t total) {
      EXPECT_LE(lastDone, done);
      EXPECT_LE(done, total);
      lastDone = done;
      lastTotal = total;
    };
    request.warn = [&](const Error &) { ++warnings; };
    return exportCheckpoint(request);
  }
  /// The bytes of a tensor; empty where there is none.
  std::string bytes(const Checkpoint &checkpoint, const char *name) {
    const TensorInfo *tensor = checkpoint.find(name);
    return tensor ? std::string(static_cast<const char *>(tensor->data),
                                tensor->bytes)
                  : std::string();
  }

  std::string directory, source, output;
  uint32_t next = 0;
  uint64_t lastDone = 0, lastTotal = 0;
  int warnings = 0;
};

TEST_F(ExportTest, Shards) {
  const char *spec = "layers.all.ffn=1/2,layers.2.ffn=4,skip=1";
  ASSERT_TRUE(exportSubmodel(spec, UINT64_MAX).ok());
  EXPECT_EQ(lastDone, lastTotal);
  EXPECT_EQ(warnings, 1); // widths as a list
  auto whole = Checkpoint::open(output);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->files().size(), 1u);
  EXPECT_EQ(whole->files()[0].metadata().at("format"), "pt");
  std::string again = output + "-again";
  ASSERT_EQ(::rename(output.c_str(), again.c_str()), 0);
  whole = Checkpoint::open(again);
  ASSERT_TRUE(whole);

  constexpr uint64_t kLimit = 700;
  ASSERT_TRUE(exportSubmodel(spec, kLimit).ok());
  EXPECT_EQ(lastDone, lastTotal);
  auto split = Checkpoint::open(output);
  ASSERT_TRUE(split) << split.error().str();
  size_t count = split->files().size();
  EXPECT_GT(count, 3u);
  EXPECT_TRUE(fileExists(joinPath(
      output, "model-00001-of-0000" + std::to_string(count) + ".safetensors")));
  EXPECT_FALSE(fileExists(joinPath(output, "model.safetensors")));
  ASSERT_EQ(split->size(), whole->size());
  uint64_t total = 0;
  for (const TensorInfo *tensor : whole->tensors()) {
    total += tensor->bytes;
    EXPECT_EQ(bytes(*split, tensor->name.c_str()),
              bytes(*whole, tensor->name.c_str()))
        << tensor->name;
  }
  for (const SafetensorsFile &file : split->files()) {
    uint64_t held = 0;
    for (const TensorInfo &tensor : file.tensors())
      held += tensor.bytes;
    EXPECT_TRUE(held <= kLimit || file.tensors().size() == 1);
  }
  auto index = readJsonFile(joinPath(output, "model.safetensors.index.json"));
  ASSERT_TRUE(index);
  EXPECT_EQ(index->find("metadata")->find("total_size")->asInt(),
            static_cast<int64_t>(total));

  // An export in several files is replaced by one in a single file.
  ASSERT_TRUE(exportSubmodel(spec, UINT64_MAX).ok());
  EXPECT_FALSE(fileExists(joinPath(output, "model.safetensors.index.json")));
}

TEST_F(ExportTest, ColumnsAndRows) {
  ASSERT_TRUE(exportSubmodel("layers.all.ffn=4,skip=0", UINT64_MAX).ok());
  EXPECT_EQ(warnings, 0);
  auto before = Checkpoint::open(source);
  auto after = Checkpoint::open(output);
  ASSERT_TRUE(before && after);
  std::string gate = bytes(*before, "model.layers.2.mlp.gate_proj.weight");
  EXPECT_EQ(bytes(*after, "model.layers.1.mlp.gate_proj.weight"),
            gate.substr(0, size_t(4) * 8 * 4));
  std::string down = bytes(*before, "model.layers.1.mlp.down_proj.weight");
  std::string columns;
  for (size_t row = 0; row < 8; ++row)
    columns += down.substr(row * 16 * 4, size_t(4) * 4);
  EXPECT_EQ(bytes(*after, "model.layers.0.mlp.down_proj.weight"), columns);
  EXPECT_EQ(after->find("model.layers.2.mlp.down_proj.weight"), nullptr);
}

TEST_F(ExportTest, OtherDirectoriesStay) {
  ASSERT_TRUE(exportSubmodel("", UINT64_MAX).ok());
  ASSERT_TRUE(writePlainFile(joinPath(output, "mine.txt"), "x").ok());
  Status refused = exportSubmodel("skip=0", UINT64_MAX);
  ASSERT_TRUE(refused.failed());
  EXPECT_EQ(refused.error().str(),
            output + ": is a directory that nestc did not make; a new path, a "
                     "file, a nestc package or an earlier export");
  EXPECT_EQ(Checkpoint::open(output)->size(), 30u);
}

} // namespace
