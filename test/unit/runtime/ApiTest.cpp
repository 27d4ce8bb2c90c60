//===- ApiTest.cpp - the C interface ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "lowering/runtime/Json.h"
#include "nest/runtime.h"

#include <cstring>

using namespace nestc::rt;

extern "C" int32_t abiVersionFromC(void);

namespace {
class ApiTest : public testing::Test {
protected:
  void SetUp() override {
    makeFakePackage(dir / "pkg");
    std::string tokenizer =
        *readFile(NEST_SOURCE_DIR "/test/models/matlm/tokenizer.json");
    ASSERT_OK(writeFile(dir / "pkg/tokenizer.json", tokenizer));
    ASSERT_EQ(nest_package_load((dir / "pkg").c_str(), &package), NEST_OK)
        << nest_last_error();
  }
  void TearDown() override { nest_package_free(package); }
  ScratchDirectory dir;
  nest_package *package = nullptr;
};

/// A named buffer over a vector.
template <typename T>
nest_buffer buffer(const char *name, const char *dtype,
                   std::vector<int64_t> shape, std::vector<T> &data) {
  nest_buffer result = {};
  result.name = name;
  result.dtype = dtype;
  result.rank = static_cast<int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), result.shape);
  result.data = data.data();
  result.bytes = data.size() * sizeof(T);
  return result;
}
} // namespace

static bool says(const char *part) {
  return std::strstr(nest_last_error(), part) != nullptr;
}

TEST(Api, Versions) {
  EXPECT_EQ(abiVersionFromC(), NEST_ABI_VERSION);
  EXPECT_STRNE(nest_version(), "");
}

TEST(Api, NullIsAnError) {
  nest_package *package = reinterpret_cast<nest_package *>(1);
  EXPECT_EQ(nest_package_load(nullptr, &package), NEST_ERROR_ARGUMENT);
  EXPECT_EQ(package, nullptr);
  EXPECT_TRUE(says("path is NULL"));
  EXPECT_EQ(nest_package_load("/nonexistent", &package), NEST_ERROR_PACKAGE);
  EXPECT_TRUE(says("/nonexistent: does not exist"));
  EXPECT_STREQ(nest_last_error_place(), "/nonexistent");
  EXPECT_STREQ(nest_last_error_message(), "does not exist");
  EXPECT_STRNE(nest_last_error_legal(), "");
  EXPECT_EQ(nest_package_load("/", nullptr), NEST_ERROR_ARGUMENT);
  nest_package_free(nullptr);
  nest_session_free(nullptr);
  nest_session_reset(nullptr);
  nest_free(nullptr);
  EXPECT_EQ(nest_session_create(nullptr, nullptr, nullptr),
            NEST_ERROR_ARGUMENT);
  EXPECT_EQ(nest_session_prefill(nullptr, nullptr, 1, nullptr),
            NEST_ERROR_ARGUMENT);
  EXPECT_EQ(nest_session_length(nullptr, 0), -1);
  EXPECT_EQ(nest_package_has_tokenizer(nullptr), 0);
  EXPECT_STREQ(nest_package_info_json(nullptr), "{}");
}

TEST_F(ApiTest, Info) {
  Expected<Json> info = parseJson(nest_package_info_json(package), "info");
  ASSERT_OK(info);
  EXPECT_EQ(info->find("entries")->size(), 4u);
  EXPECT_EQ(info->find("num_weights")->asInt(), 2);
  EXPECT_TRUE(info->find("tokenizer")->asBool());
  EXPECT_EQ(info->find("weights"), nullptr);
  EXPECT_EQ(nest_package_vocab_size(package), 16);
  EXPECT_EQ(nest_package_max_length(package), 32);
}

TEST_F(ApiTest, Sessions) {
  nest_session_options options = {};
  options.size = sizeof options;
  options.batch = 2;
  options.max_length = 8;
  nest_session *session = nullptr;
  ASSERT_EQ(nest_session_create(package, &options, &session), NEST_OK);
  EXPECT_EQ(nest_session_batch(session), 2);
  EXPECT_EQ(nest_session_max_length(session), 8);
  int32_t tokens[] = {1, 2, 3, 4};
  float logits[2 * 2 * 16];
  EXPECT_EQ(nest_session_prefill(session, tokens, 2, logits), NEST_OK);
  EXPECT_EQ(logits[4], 1.0f);
  EXPECT_EQ(logits[16 + 8], 1.0f);
  EXPECT_EQ(nest_session_decode(session, tokens, logits), NEST_OK);
  EXPECT_EQ(nest_session_verify(session, tokens, 2, logits), NEST_OK);
  EXPECT_EQ(nest_session_length(session, 1), 5);
  EXPECT_EQ(nest_session_length(session, 2), -1);
  tokens[3] = 99;
  EXPECT_EQ(nest_session_verify(session, tokens, 2, logits), NEST_ERROR_TOKEN);
  EXPECT_TRUE(says("tokens[1][1]: is 99"));
  EXPECT_STREQ(nest_last_error_place(), "tokens[1][1]");
  EXPECT_EQ(nest_session_prefill(session, tokens, 4, logits),
            NEST_ERROR_LENGTH);
  nest_session_reset(session);
  EXPECT_EQ(nest_session_length(session, 1), 0);

  // Greedily, by a prefill and by a decode behind it.
  int32_t next[2] = {-1, -1};
  tokens[3] = 4;
  EXPECT_EQ(nest_session_next(session, tokens, 2, next), NEST_OK);
  EXPECT_EQ(next[0], 4);
  EXPECT_EQ(next[1], 8);
  int32_t last[] = {next[0], next[1]};
  EXPECT_EQ(nest_session_next(session, last, 1, next), NEST_OK);
  EXPECT_EQ(next[0], 8);
  EXPECT_EQ(nest_session_length(session, 0), 3);
  EXPECT_EQ(nest_session_next(session, last, 1, nullptr), NEST_ERROR_ARGUMENT);
  nest_session_reset(session);

  nest_generate_options generate = {};
  generate.size = sizeof generate;
  generate.count = 3;
  generate.ignore_eos = 1;
  tokens[3] = 4;
  std::vector<int32_t> got;
  auto callback = [](void *user, int64_t sequence, int32_t token) -> int32_t {
    if (sequence == 0)
      static_cast<std::vector<int32_t> *>(user)->push_back(token);
    return 0;
  };
  EXPECT_EQ(
      nest_session_generate(session, tokens, 2, &generate, callback, &got),
      NEST_OK);
  EXPECT_EQ(got, (std::vector<int32_t>{4, 8, 0}));
  nest_session_free(session);

  // Structures of other versions.
  options.size = 2;
  EXPECT_EQ(nest_session_create(package, &options, &session),
            NEST_ERROR_ARGUMENT);
  EXPECT_EQ(session, nullptr);
  struct {
    nest_session_options options;
    uint64_t added;
  } newer = {};
  newer.options.size = sizeof newer;
  ASSERT_EQ(nest_session_create(package, &newer.options, &session), NEST_OK);
  nest_session_free(session);
  newer.added = 1;
  EXPECT_EQ(nest_session_create(package, &newer.options, &session),
            NEST_ERROR_ARGUMENT);
}

TEST_F(ApiTest, Tokenizer) {
  ASSERT_EQ(nest_package_has_tokenizer(package), 1);
  int32_t *tokens;
  size_t count, size;
  ASSERT_EQ(nest_tokenize(package, "can't stop", 10, 1, &tokens, &count),
            NEST_OK);
  EXPECT_GT(count, 1u);
  char *text;
  ASSERT_EQ(nest_detokenize(package, tokens, count, 0, &text, &size), NEST_OK);
  EXPECT_STREQ(text, "can't stop");
  EXPECT_EQ(size, 10u);
  nest_free(text);
  nest_free(tokens);
  int32_t bad = 1 << 20;
  EXPECT_EQ(nest_detokenize(package, &bad, 1, 0, &text, &size),
            NEST_ERROR_TOKEN);
  EXPECT_EQ(text, nullptr);
  EXPECT_EQ(nest_tokenize(package, "\xff", 1, 1, &tokens, &count),
            NEST_ERROR_ARGUMENT);
  ASSERT_EQ(nest_tokenize(package, nullptr, 0, 1, &tokens, &count), NEST_OK);
  EXPECT_EQ(count, 0u);
  nest_free(tokens);

  makeFakePackage(dir / "bare");
  nest_package *bare;
  ASSERT_EQ(nest_package_load((dir / "bare").c_str(), &bare), NEST_OK);
  EXPECT_EQ(nest_tokenize(bare, "a", 1, 1, &tokens, &count),
            NEST_ERROR_UNSUPPORTED);
  nest_package_free(bare);
}

TEST_F(ApiTest, CallEntry) {
  std::vector<int32_t> tokens = {2, 3}, positions = {1, 2}, lengths = {1};
  std::vector<float> cache(2 * 32 * 4, 0.0f);
  cache[32 * 4 + 3] = 5; // the row that is already there: token 5
  std::vector<nest_buffer> inputs = {
      buffer("tokens", "i32", {1, 2}, tokens),
      buffer("positions", "i32", {1, 2}, positions),
      buffer("lengths", "i32", {1}, lengths),
      buffer("layers.0.k", "f32", {1, 2, 32, 4}, cache)};
  nest_buffer outputs[2] = {};
  outputs[0].name = "logits";
  outputs[1].name = "layers.0.k";
  auto call = [&] {
    return nest_call_entry(package, "verify", 1, inputs.data(), inputs.size(),
                           outputs, 2);
  };
  ASSERT_EQ(call(), NEST_OK) << nest_last_error();
  EXPECT_EQ(outputs[0].rank, 3);
  EXPECT_EQ(outputs[0].shape[1], 2);
  EXPECT_STREQ(outputs[0].dtype, "f32");
  auto *logits = static_cast<float *>(outputs[0].data);
  EXPECT_EQ(logits[8], 1.0f);       // 5 + 2 + 1
  EXPECT_EQ(logits[16 + 11], 1.0f); // 5 + 2 + 3 + 1
  EXPECT_EQ(static_cast<float *>(outputs[1].data)[8], 3.0f);
  EXPECT_EQ(cache[8], 0.0f); // what was given is not changed
  // Into memory of the caller.
  EXPECT_EQ(call(), NEST_OK);
  outputs[0].bytes = 4;
  EXPECT_EQ(call(), NEST_ERROR_ARGUMENT);
  EXPECT_TRUE(says("has room for 4 bytes; 128"));
  nest_free(outputs[0].data);
  nest_free(outputs[1].data);
  outputs[0].data = outputs[1].data = nullptr;

  // A cache that is not given is zero.
  inputs.pop_back();
  ASSERT_EQ(call(), NEST_OK);
  EXPECT_EQ(static_cast<float *>(outputs[0].data)[3], 1.0f);
  nest_free(outputs[0].data);
  nest_free(outputs[1].data);
  outputs[0].data = outputs[1].data = nullptr;

  auto fails = [&](nest_status status, const char *text) {
    EXPECT_EQ(call(), status);
    EXPECT_TRUE(says(text)) << nest_last_error();
    EXPECT_EQ(outputs[0].data, nullptr);
  };
  lengths[0] = 31;
  fails(NEST_ERROR_LENGTH, "lengths[0]: is 31; 0 to 30");
  lengths[0] = -1;
  fails(NEST_ERROR_LENGTH, "lengths[0]: is -1");
  lengths[0] = 1;
  tokens[0] = 16;
  fails(NEST_ERROR_TOKEN, "tokens[0]: is 16; 0 to 15");
  tokens[0] = 2;
  positions[1] = -3;
  fails(NEST_ERROR_LENGTH, "positions[1]: is -3");
  positions[1] = 2;
  inputs[1].shape[1] = 1;
  inputs[1].bytes = 4;
  fails(NEST_ERROR_ARGUMENT, "the input positions is i32 [1, 1]; i32 [B, T]");
  inputs[1].shape[1] = 2;
  fails(NEST_ERROR_ARGUMENT, "positions: has 4 bytes for i32 [1, 2]; 8");
  inputs[1].bytes = 8;
  inputs[1].dtype = "f32";
  fails(NEST_ERROR_ARGUMENT, "the input positions is f32");
  inputs[1].dtype = "i33";
  fails(NEST_ERROR_ARGUMENT, "unknown type \"i33\"");
  inputs[1].dtype = "i32";
  inputs[1].name = "position";
  fails(NEST_ERROR_ARGUMENT, "did you mean positions?");
  inputs[1].name = "tokens";
  fails(NEST_ERROR_ARGUMENT, "is given twice");
  inputs[1].name = "positions";
  outputs[1].name = "logit";
  fails(NEST_ERROR_ARGUMENT, "did you mean logits?");
  outputs[1].name = "layers.0.k";
  inputs.pop_back();
  fails(NEST_ERROR_ARGUMENT, "the input lengths is missing");
}

TEST_F(ApiTest, RoutesAndModalities) {
  makeFakePackage(dir / "routed", makeRouted);
  nest_package *routed = nullptr;
  ASSERT_EQ(nest_package_load((dir / "routed").c_str(), &routed), NEST_OK)
      << nest_last_error();
  nest_session_options options = {};
  options.size = sizeof options;
  options.prefill = 2;
  nest_session *session = nullptr;
  EXPECT_EQ(nest_session_create(routed, &options, &session),
            NEST_ERROR_ARGUMENT);
  EXPECT_TRUE(says("options.prefill: is 2"));
  options.prefill = NEST_PREFILL_DECODE;
  ASSERT_EQ(nest_session_create(routed, &options, &session), NEST_OK);
  int32_t tokens[] = {2, 2}, modality[] = {0, 2};
  float logits[16];
  EXPECT_EQ(nest_session_set_modality(nullptr, modality, 1),
            NEST_ERROR_ARGUMENT);
  EXPECT_EQ(nest_session_set_modality(session, nullptr, 1),
            NEST_ERROR_ARGUMENT);
  EXPECT_EQ(nest_session_prefill(session, tokens, 2, logits),
            NEST_ERROR_ARGUMENT);
  ASSERT_EQ(nest_session_set_modality(session, modality, 2), NEST_OK);
  EXPECT_EQ(nest_session_prefill(session, tokens, 2, logits), NEST_OK);
  EXPECT_EQ(logits[2 + 1 + 6], 1.0f);

  nest_generate_options generate = {};
  generate.size = sizeof generate;
  generate.count = 2;
  generate.ignore_eos = 1;
  generate.has_modality = 1;
  std::vector<int32_t> got;
  auto callback = [](void *user, int64_t, int32_t token) -> int32_t {
    static_cast<std::vector<int32_t> *>(user)->push_back(token);
    return 0;
  };
  nest_session_reset(session);
  ASSERT_EQ(nest_session_set_modality(session, modality, 2), NEST_OK);
  EXPECT_EQ(
      nest_session_generate(session, tokens, 2, &generate, callback, &got),
      NEST_OK);
  EXPECT_EQ(got, (std::vector<int32_t>{9, 3})); // 9 does not pass
  // A caller that does not know the field yet.
  generate.size = offsetof(nest_generate_options, modality);
  generate.has_modality = 0;
  nest_session_reset(session);
  got.clear();
  ASSERT_EQ(nest_session_set_modality(session, modality, 2), NEST_OK);
  EXPECT_EQ(
      nest_session_generate(session, tokens, 2, &generate, callback, &got),
      NEST_OK);
  EXPECT_EQ(got, (std::vector<int32_t>{9, 9}));
  nest_session_free(session);

  // One entry point: the same checks, and caches of i32.
  std::vector<int32_t> ids = {1}, at = {3}, lengths = {3}, values = {1},
                       length = {1}, kept(32);
  kept[0] = 2;
  std::vector<nest_buffer> inputs = {
      buffer("tokens", "i32", {1, 1}, ids),
      buffer("positions", "i32", {1, 1}, at),
      buffer("lengths", "i32", {1}, lengths),
      buffer("modality", "i32", {1, 1}, values),
      buffer("layers.0.length", "i32", {1}, length),
      buffer("layers.0.positions", "i32", {1, 32}, kept)};
  nest_buffer outputs[2] = {};
  outputs[0].name = "layers.0.length";
  outputs[1].name = "layers.0.positions";
  auto call = [&] {
    return nest_call_entry(routed, "prefill", 1, inputs.data(), inputs.size(),
                           outputs, 2);
  };
  EXPECT_EQ(call(), NEST_ERROR_ARGUMENT);
  EXPECT_TRUE(says("modality[0]: is 1 (image)")) << nest_last_error();
  values[0] = 0;
  length[0] = 32;
  EXPECT_EQ(call(), NEST_ERROR_LENGTH);
  EXPECT_TRUE(says("layers.0.length[0]: is 32; 0 to 31")) << nest_last_error();
  length[0] = 1;
  kept[7] = 32;
  EXPECT_EQ(call(), NEST_ERROR_LENGTH);
  EXPECT_TRUE(says("layers.0.positions[7]: is 32")) << nest_last_error();
  kept[7] = 0;
  ASSERT_EQ(call(), NEST_OK) << nest_last_error();
  EXPECT_EQ(static_cast<int32_t *>(outputs[0].data)[0], 2);
  EXPECT_EQ(static_cast<int32_t *>(outputs[1].data)[0], 2);
  EXPECT_EQ(static_cast<int32_t *>(outputs[1].data)[1], 3);
  nest_free(outputs[0].data);
  nest_free(outputs[1].data);
  nest_package_free(routed);
}
