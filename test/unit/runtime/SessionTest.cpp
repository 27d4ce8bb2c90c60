//===- SessionTest.cpp - packages and sessions ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Session.h"
#include "Support.h"
#include "lowering/runtime/CpuFeatures.h"
#include "lowering/runtime/Package.h"
#include "lowering/runtime/Safetensors.h"
#include "lowering/runtime/Sha256.h"
#include "nest/runtime.h"

#include <cmath>
#include <set>
#include <sys/stat.h>
#include <thread>

using namespace nestc::rt;

static constexpr int64_t V = 16, C = 32;

Manifest fakeManifest() {
  Manifest m;
  m.producer = "nestc 0.1.0";
  m.target = "cpu";
  m.cpu.level = "native";
  m.model.family = "llama";
  m.model.modelType = "fake";
  m.model.vocabSize = V;
  m.model.maxLength = C;
  m.model.numLayers = 1;
  m.model.eosTokenIds = {0};
  m.model.dtype = "f32";
  m.submodel.name = "default";
  m.totalParameters = 48;
  m.effectiveParameters = 48;
  m.weightBytes = 192;
  m.macsPerToken = 1;
  m.code = {"code.so", std::string(64, '0')};
  m.files = {{"weights.safetensors", 1024, std::string(64, '0')}};
  m.weights.resize(2);
  m.weights[0].name = "bias";
  m.weights[0].offset = 256;
  m.weights[0].shape = {V};
  m.weights[1].name = "table";
  m.weights[1].offset = 512;
  m.weights[1].shape = {V, 1};
  m.weights[1].rowStride = 2;
  auto dynamic = [](int i) { return ManifestDim::dynamic(i); };
  auto fixed = [](int64_t i) { return ManifestDim::of(i); };
  for (const char *name : {"prefill", "verify", "decode", "fail"}) {
    Manifest::Entry e;
    e.name = name;
    e.symbol = std::string("nest_entry_") + name;
    bool decode = e.name == "decode";
    e.dims = {"B"};
    if (!decode)
      e.dims.push_back("T");
    ManifestDim rows = decode ? fixed(1) : dynamic(1);
    e.inputs = {{"tokens", DType::I32, {dynamic(0), rows}, false},
                {"positions", DType::I32, {dynamic(0), rows}, false},
                {"lengths", DType::I32, {dynamic(0)}, false},
                {"layers.0.k",
                 DType::F32,
                 {dynamic(0), fixed(2), fixed(C), fixed(4)},
                 true}};
    e.outputs = {{"logits",
                  DType::F32,
                  {dynamic(0), e.name == "verify" ? rows : fixed(1), fixed(V)},
                  false}};
    e.weights = {0, 1};
    e.arena = {64, 8, 16};
    e.scratch = 256;
    m.entries.push_back(std::move(e));
  }
  return m;
}

void makeRouted(Manifest &m) {
  m.model.modalities = {{"text", "image", "speech"}, {0, 2}};
  m.model.routes = {{"0", "select odd, decode even"}};
  Manifest::Entry prefill = m.entries[0], verify = m.entries[1];
  for (Manifest::Entry *entry : {&prefill, &verify}) {
    Manifest::Entry causal = *entry;
    causal.name += "_causal";
    causal.symbol += "_causal";
    m.entries.push_back(causal);
  }
  for (Manifest::Entry &entry : m.entries) {
    entry.symbol.insert(std::string("nest_entry_").size(), "routed_");
    ManifestDim batch = ManifestDim::dynamic(0);
    Manifest::Buffer modality = entry.inputs[1];
    modality.name = "modality";
    entry.inputs[3] = modality;
    entry.inputs.push_back({"layers.0.length", DType::I32, {batch}, true});
    entry.inputs.push_back(
        {"layers.0.positions", DType::I32, {batch, ManifestDim::of(C)}, true});
    entry.weights.clear();
  }
}

Manifest makeFakePackage(const std::string &path,
                         const std::function<void(Manifest &)> &change) {
  Manifest m = fakeManifest();
  EXPECT_EQ(::mkdir(path.c_str(), 0700), 0);
  SafetensorsWriter writer;
  auto numbers = [](std::vector<float> values) -> ByteProducer {
    return [values](const ByteSink &sink) {
      return sink(values.data(), values.size() * 4);
    };
  };
  std::vector<float> bias(V), table(2 * V, 100.0f);
  for (int64_t v = 0; v < V; ++v) {
    bias[v] = static_cast<float>(v) / 64;
    table[2 * v] = -bias[v];
  }
  (void)*writer.add("bias", DType::F32, {V}, numbers(bias));
  (void)*writer.add("table", DType::F32, {V, 2}, numbers(table));
  writer.layout();
  std::string weights = joinPath(path, "weights.safetensors");
  Expected<OutputFile> file = OutputFile::create(weights);
  EXPECT_OK(writer.write(*file, weights));
  EXPECT_OK(file->close());
  m.files[0].bytes = static_cast<int64_t>(writer.fileBytes());
  m.files[0].sha256Header = sha256(writer.headerText());
  m.weights[0].offset = static_cast<int64_t>(writer.offset(0));
  m.weights[1].offset = static_cast<int64_t>(writer.offset(1));
  std::string code = *readFile(NEST_FAKE_MODEL);
  EXPECT_OK(writeFile(joinPath(path, "code.so"), code));
  m.code.sha256 = sha256(code);
  if (change)
    change(m);
  EXPECT_OK(writeFile(joinPath(path, "manifest.json"), m.serialise()));
  return m;
}

namespace {
class SessionTest : public testing::Test {
protected:
  void SetUp() override {
    makeFakePackage(dir / "pkg");
    Expected<std::unique_ptr<Package>> loaded = Package::load(dir / "pkg");
    ASSERT_OK(loaded);
    package = std::move(*loaded);
  }
  std::unique_ptr<Session> session(int64_t batch = 1, int64_t length = 0,
                                   int threads = 2) {
    Expected<std::unique_ptr<Session>> created =
        Session::create(*package, batch, length, threads);
    EXPECT_FALSE(created.failed()) << created.error().str();
    return created ? std::move(*created) : nullptr;
  }
  ScratchDirectory dir;
  std::unique_ptr<Package> package;
};
} // namespace

/// What the fake model says after `tokens`.
static int32_t expected(const std::vector<int32_t> &tokens) {
  int32_t sum = 1;
  for (int32_t token : tokens)
    sum += token;
  return sum % static_cast<int32_t>(V);
}

TEST_F(SessionTest, PrefillThenDecode) {
  for (int threads : {1, 2, 5}) {
    auto s = session(1, 0, threads);
    std::vector<int32_t> tokens = {3, 4, 5};
    std::vector<float> logits(V);
    ASSERT_OK(s->run("prefill", false, tokens.data(), 3, logits.data()));
    EXPECT_EQ(argmax(logits.data(), V), expected(tokens));
    EXPECT_EQ(s->length(0), 3);
    for (int step = 0; step < 10; ++step) {
      int32_t token = argmax(logits.data(), V);
      tokens.push_back(token);
      ASSERT_OK(s->run("decode", false, &token, 1, logits.data()));
      EXPECT_EQ(argmax(logits.data(), V), expected(tokens));
    }
    EXPECT_EQ(s->length(0), 13);
    s->reset();
    EXPECT_EQ(s->length(0), 0);
    tokens = {1};
    ASSERT_OK(s->run("prefill", false, tokens.data(), 1, nullptr));
    ASSERT_OK(s->run("prefill", false, tokens.data(), 1, logits.data()));
    EXPECT_EQ(argmax(logits.data(), V), 3);
  }
}

// A submodel's session calls its entries; here they are those of another code.
TEST_F(SessionTest, Submodels) {
  makeFakePackage(dir / "two", [](Manifest &m) {
    m.further.push_back({{"small", "", {}}, 1, 1, 1, 1, {}, {}});
    Manifest::Entry prefill = m.entries[0];
    prefill.name = "small:prefill";
    prefill.symbol = m.entries[3].symbol; // fails when it is called
    m.entries.push_back(prefill);
  });
  Expected<std::unique_ptr<Package>> loaded = Package::load(dir / "two");
  ASSERT_OK(loaded);
  const Package &two = **loaded;
  int32_t token = 3;
  for (const char *name : {"", "default"}) {
    auto first = Session::create(two, 1, 0, 1, false, name);
    ASSERT_OK(first);
    EXPECT_OK((*first)->run("prefill", false, &token, 1, nullptr));
    EXPECT_OK((*first)->run("decode", false, &token, 1, nullptr));
  }
  auto small = Session::create(two, 1, 0, 1, false, "small");
  ASSERT_OK(small);
  EXPECT_TRUE((*small)->run("prefill", false, &token, 1, nullptr).failed());
  expectError((*small)->run("decode", false, &token, 1, nullptr),
              "has no entry point \"small:decode\"");
  expectError(Session::create(two, 1, 0, 1, false, "big"),
              "the package holds no submodel 'big'; legal: default, small");
}

// A width is an input of the entries that have it, bound until it is bound
// anew.
TEST_F(SessionTest, WidthsAreBound) {
  makeFakePackage(dir / "open", [](Manifest &m) {
    m.submodel.widths = {{"layers.0.ffn", 4, 12, 16}};
    // The fake code takes positions for what stands there: a number is as good.
    for (Manifest::Entry &entry : m.entries)
      entry.inputs.push_back(
          {"layers.0.ffn", DType::I32, {ManifestDim::of(1)}, false});
  });
  Expected<std::unique_ptr<Package>> loaded = Package::load(dir / "open");
  ASSERT_OK(loaded);
  auto created = Session::create(**loaded, 1, 0, 1);
  ASSERT_OK(created);
  Session &s = **created;
  for (int64_t width : {4, 12, 7})
    EXPECT_OK(s.bind("layers.0.ffn", width));
  for (int64_t width : {int64_t(3), int64_t(13), int64_t(-1), INT64_MAX})
    expectError(s.bind("layers.0.ffn", width),
                "layers.0.ffn: cannot be bound to " + std::to_string(width) +
                    "; legal are 4 to 12");
  expectError(s.bind("layers.1.ffn", 4),
              "layers.1.ffn: is no width that a call binds; did you mean "
              "layers.0.ffn?");
  auto fixed = session(1);
  expectError(fixed->bind("layers.0.ffn", 4),
              "none: all widths were fixed at compile time");
}

TEST_F(SessionTest, VerifyGivesAllRowsOfABatch) {
  auto s = session(3);
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<float> logits(9 * V);
  ASSERT_OK(s->run("verify", true, tokens.data(), 3, logits.data()));
  for (int b = 0; b < 3; ++b)
    for (int t = 0; t < 3; ++t)
      EXPECT_EQ(
          argmax(&logits[(b * 3 + t) * V], V),
          expected({tokens.begin() + b * 3, tokens.begin() + b * 3 + t + 1}));
}

TEST_F(SessionTest, ErrorsLeaveTheSessionAsItWas) {
  auto s = session(2, 8);
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_OK(s->run("prefill", false, tokens.data(), 4, nullptr));
  auto fails = [&](Status status, int code, const std::string &text) {
    EXPECT_EQ(status.failed() ? status.error().code : 0, code);
    expectError(status, text);
    EXPECT_EQ(s->length(0), 4);
    EXPECT_EQ(s->length(1), 4);
  };
  int32_t bad[] = {1, 1, 1, 16}, negative[] = {1, -1, 1, 1};
  fails(s->run("prefill", false, bad, 2, nullptr), NEST_ERROR_TOKEN,
        "tokens[1][1]: is 16, outside the vocabulary; 0 to 15");
  fails(s->run("prefill", false, negative, 2, nullptr), NEST_ERROR_TOKEN,
        "tokens[0][1]: is -1");
  fails(s->run("prefill", false, tokens.data(), 0, nullptr),
        NEST_ERROR_ARGUMENT, "there are 0");
  fails(s->run("prefill", false, tokens.data(), INT64_MAX, nullptr),
        NEST_ERROR_LENGTH, "more than the maximum length; at most 8 rows");
  std::vector<int32_t> ten(10, 1);
  fails(s->run("prefill", false, ten.data(), 5, nullptr), NEST_ERROR_LENGTH,
        "5 rows behind 4");
  fails(s->run("fail", false, tokens.data(), 1, nullptr), NEST_ERROR_INTERNAL,
        "the code failed with 3");
  fails(s->run("prefil", false, tokens.data(), 1, nullptr),
        NEST_ERROR_UNSUPPORTED, "did you mean prefill?");
  auto fresh = session();
  expectError(fresh->run("prefill", true, tokens.data(), 1, nullptr),
              "has not the outputs of a session's entry point");
}

TEST_F(SessionTest, Limits) {
  auto fails = [&](int64_t batch, int64_t length, int threads, int code,
                   const std::string &text) {
    Expected<std::unique_ptr<Session>> created =
        Session::create(*package, batch, length, threads);
    expectError(created, text);
    EXPECT_EQ(created.error().code, code);
  };
  fails(-1, 0, 0, NEST_ERROR_ARGUMENT, "a batch of -1");
  fails(1, 33, 0, NEST_ERROR_LENGTH, "1 to 32, the package's");
  fails(1, -1, 0, NEST_ERROR_LENGTH, "length of -1");
  fails(1, 0, -1, NEST_ERROR_ARGUMENT, "-1 threads");
  // 1 KiB a sequence.
  fails(INT32_MAX, 0, 0, NEST_ERROR_MEMORY, "needs 2.0 TiB of memory, but");
}

TEST_F(SessionTest, HugeCachesAreRefused) {
  makeFakePackage(dir / "huge", [](Manifest &m) {
    m.model.maxLength = INT32_MAX;
    for (Manifest::Entry &entry : m.entries)
      entry.inputs[3].shape[2].size = INT32_MAX;
  });
  Expected<std::unique_ptr<Package>> huge = Package::load(dir / "huge");
  ASSERT_OK(huge);
  expectError(Session::create(**huge, 1000, 0, 1), "TiB of memory, but");
  expectError(Session::create(**huge, INT32_MAX, 0, 1),
              "larger than can be counted");
  // A short session on it is small.
  EXPECT_OK(Session::create(**huge, 1, 16, 1));
}

TEST_F(SessionTest, Generates) {
  auto s = session(2);
  std::vector<int32_t> prompt = {3, 4, 7, 7};
  std::vector<int32_t> got[2];
  Session::GenerateOptions options;
  options.count = 6;
  options.ignoreEos = true;
  ASSERT_OK(s->generate(prompt.data(), 2, options, [&](int64_t b, int32_t t) {
    got[b].push_back(t);
    return true;
  }));
  for (int b = 0; b < 2; ++b) {
    std::vector<int32_t> all(prompt.begin() + b * 2,
                             prompt.begin() + b * 2 + 2);
    ASSERT_EQ(got[b].size(), 6u);
    for (int32_t token : got[b]) {
      EXPECT_EQ(token, expected(all));
      all.push_back(token);
    }
  }
  EXPECT_EQ(s->length(0), 7); // the last one is not in the caches

  // 7 + 8 + 1 = 16: the end token at once; the other sequence goes on.
  s->reset();
  prompt = {7, 8, 3, 4};
  got[0].clear();
  got[1].clear();
  options.ignoreEos = false;
  options.count = 2;
  ASSERT_OK(s->generate(prompt.data(), 2, options, [&](int64_t b, int32_t t) {
    got[b].push_back(t);
    return true;
  }));
  EXPECT_EQ(got[0].size(), 0u);
  // 3 + 4 + 1 = 8, and 3 + 4 + 8 + 1 = 16 is an end token again.
  EXPECT_EQ(got[1], std::vector<int32_t>{8});

  s->reset(); // the callback ends it
  int calls = 0;
  options.ignoreEos = true;
  ASSERT_OK(s->generate(prompt.data(), 2, options, [&](int64_t, int32_t) {
    ++calls;
    return false;
  }));
  EXPECT_EQ(calls, 1);

  s->reset(); // the caches are full
  options.count = 1000;
  calls = 0;
  Status full = s->generate(prompt.data(), 2, options, [&](int64_t b, int32_t) {
    calls += b == 0;
    return true;
  });
  expectError(full, "more than the maximum length");
  EXPECT_EQ(full.error().code, NEST_ERROR_LENGTH);
  EXPECT_EQ(calls, 31);

  options.temperature = std::nan("");
  expectError(s->generate(prompt.data(), 2, options,
                          [](int64_t, int32_t) { return true; }),
              "temperature");
}

//===----------------------------------------------------------------------===//
// Routes and modalities
//===----------------------------------------------------------------------===//

namespace {
class RoutedTest : public SessionTest {
protected:
  void SetUp() override {
    makeFakePackage(dir / "routed", makeRouted);
    load(dir / "routed");
  }
  void load(const std::string &path) {
    Expected<std::unique_ptr<Package>> loaded = Package::load(path);
    ASSERT_OK(loaded);
    package = std::move(*loaded);
  }
  std::unique_ptr<Session> causal() {
    Expected<std::unique_ptr<Session>> created =
        Session::create(*package, 1, 0, 1, /*causal=*/true);
    EXPECT_FALSE(created.failed());
    return created ? std::move(*created) : nullptr;
  }
  /// Runs an entry point of [batch, 1, V] and gives each sequence's answer.
  std::vector<int32_t> answer(Session &s, const char *entry,
                              const std::vector<int32_t> &tokens,
                              const std::vector<int32_t> &modality) {
    int64_t count = static_cast<int64_t>(tokens.size()) / s.batch();
    EXPECT_OK(s.setModality(modality.data(), count));
    std::vector<float> logits(s.batch() * V);
    EXPECT_OK(s.run(entry, false, tokens.data(), count, logits.data()));
    std::vector<int32_t> result;
    for (int64_t b = 0; b < s.batch(); ++b)
      result.push_back(argmax(&logits[b * V], V));
    return result;
  }
};
} // namespace

using Ids = std::vector<int32_t>;

TEST_F(RoutedTest, CountersStartAtZeroAndAreForgotten) {
  auto s = session(2);
  for (int again = 0; again < 2; ++again) {
    // Rows 0 and 2 of the first sequence, row 2 of the second.
    EXPECT_EQ(answer(*s, "prefill", {1, 2, 3, 4, 6, 5}, {0, 0, 0, 0, 0, 2}),
              (Ids{2 + 0 + 2, 1 + 2 + 6}));
    // Row 3 of the second: a decode takes the even ones.
    EXPECT_EQ(answer(*s, "decode", {1, 2}, {2, 0}),
              (Ids{2 + 2 + 6, 2 + 2 + 3}));
    s->reset();
  }
}

TEST_F(RoutedTest, AFailedCallDoesNotCount) {
  auto s = session();
  EXPECT_EQ(answer(*s, "prefill", {1, 1}, {0, 0}), Ids{2 + 1});
  Ids tokens = {1, 1, 1}, modality = {0, 0, 0};
  ASSERT_OK(s->setModality(modality.data(), 3));
  expectError(s->run("fail", false, tokens.data(), 3, nullptr),
              "the code failed with 3");
  EXPECT_EQ(s->length(0), 2);
  EXPECT_EQ(answer(*s, "decode", {2}, {0}), Ids{3 + 0 + 1 + 2});
}

TEST_F(RoutedTest, PrefillByTheRuleOfADecode) {
  auto s = causal();
  Ids tokens = {2, 1, 4}, modality = {0, 2, 2};
  EXPECT_EQ(answer(*s, "prefill", tokens, modality), Ids{2 + 2 + 6});
  // As if decoded row by row.
  auto steps = session();
  Ids last;
  std::vector<float> logits(3 * V);
  s->reset();
  ASSERT_OK(s->setModality(modality.data(), 3));
  ASSERT_OK(s->run("verify", true, tokens.data(), 3, logits.data()));
  for (size_t t = 0; t < 3; ++t) {
    last = answer(*steps, "decode", {tokens[t]}, {modality[t]});
    EXPECT_EQ(argmax(&logits[t * V], V), last[0]);
  }
  EXPECT_EQ(answer(*session(), "prefill", tokens, modality), Ids{1 + 1 + 6});
  // A model without routes is causal already.
  SessionTest::SetUp(); // NOLINT(bugprone-parent-virtual-call)
  s = causal();
  ASSERT_OK(s->run("prefill", false, tokens.data(), 3, logits.data()));
  EXPECT_EQ(argmax(logits.data(), V), expected(tokens));
}

TEST_F(RoutedTest, ModalitiesAreChecked) {
  auto s = session(2);
  Ids tokens = {1, 1, 1, 1}, modality = {0, 0, 0, 1};
  expectError(
      s->run("prefill", false, tokens.data(), 2, nullptr),
      "modality: is missing; for each token one of 0 (text), 2 (speech)");
  Status status = s->setModality(modality.data(), 2);
  expectError(status, "modality[1][1]: is 1 (image), no modality that is "
                      "accepted; 0 (text), 2 (speech)");
  EXPECT_EQ(status.error().code, NEST_ERROR_ARGUMENT);
  modality[3] = -1;
  expectError(s->setModality(modality.data(), 2), "modality[1][1]: is -1, no");
  modality[3] = 3;
  expectError(s->setModality(modality.data(), 2), "modality[1][1]: is 3, no");
  expectError(s->setModality(modality.data(), -1), "has -1 rows; 0 to 32");
  expectError(s->setModality(modality.data(), INT64_MAX), "0 to 32");
  modality[3] = 2;
  ASSERT_OK(s->setModality(modality.data(), 2));
  expectError(s->run("prefill", false, tokens.data(), 1, nullptr),
              "modality: has 2 rows for a call of 1");
  // A failed call forgets nothing; a successful one does.
  ASSERT_OK(s->run("prefill", false, tokens.data(), 2, nullptr));
  expectError(s->run("decode", false, tokens.data(), 1, nullptr),
              "modality: is missing");
  ASSERT_OK(s->setModality(modality.data(), 1));
  ASSERT_OK(s->setModality(nullptr, 0));
  expectError(s->run("decode", false, tokens.data(), 1, nullptr),
              "modality: is missing");
  EXPECT_EQ(s->length(0), 2);
}

TEST_F(RoutedTest, OneModalityNeedsNoInput) {
  makeFakePackage(dir / "speech", [](Manifest &m) {
    makeRouted(m);
    m.model.modalities.accepted = {2};
  });
  load(dir / "speech");
  auto s = session();
  Ids tokens = {1};
  std::vector<float> logits(V);
  ASSERT_OK(s->run("prefill", false, tokens.data(), 1, logits.data()));
  EXPECT_EQ(argmax(logits.data(), V), 1 + 6);
  Ids removed = {0};
  expectError(s->setModality(removed.data(), 1), "is 0 (text)");

  // Entries that do not take it: optional, and checked.
  makeFakePackage(dir / "fixed", [](Manifest &m) {
    m.model.modalities = {{"text", "image"}, {1}};
  });
  load(dir / "fixed");
  s = session();
  ASSERT_OK(s->run("prefill", false, tokens.data(), 1, logits.data()));
  expectError(s->setModality(removed.data(), 1), "is 0 (text)");
  Ids kept = {1};
  ASSERT_OK(s->setModality(kept.data(), 1));
  ASSERT_OK(s->run("prefill", false, tokens.data(), 1, logits.data()));
  EXPECT_EQ(argmax(logits.data(), V), 3);

  SessionTest::SetUp(); // NOLINT(bugprone-parent-virtual-call)
  s = session();
  Status status = s->setModality(kept.data(), 1);
  expectError(status, "has no modalities");
  EXPECT_EQ(status.error().code, NEST_ERROR_UNSUPPORTED);
}

TEST_F(RoutedTest, NewTokensHaveTheLastModality) {
  auto s = session(2);
  Session::GenerateOptions options;
  options.count = 3;
  options.ignoreEos = true;
  auto generate = [&](const Ids &modality) {
    s->reset();
    Ids prompt = {1, 2, 2, 1}, got;
    EXPECT_OK(s->setModality(modality.data(), 2));
    EXPECT_OK(
        s->generate(prompt.data(), 2, options, [&](int64_t b, int32_t token) {
          if (b == 1)
            got.push_back(token);
          return true;
        }));
    return got;
  };
  // 1 row at 1; 8 passes at 2; 11 does not pass.
  EXPECT_EQ(generate({0, 0, 0, 2}), (Ids{2 + 6, 2 + 3 + 6, 2 + 3 + 6}));
  options.modality = 0;
  EXPECT_EQ(generate({0, 0, 0, 2}), (Ids{8, 2 + 3, 2 + 3}));
  options.modality = 1;
  Ids prompt = {1, 2, 2, 1};
  s->reset();
  expectError(s->generate(prompt.data(), 2, options,
                          [](int64_t, int32_t) { return true; }),
              "modality: is 1 (image)");
  EXPECT_EQ(s->length(0), 0);
}

TEST(Sampling, ArgmaxAndSample) {
  float tie[] = {1, 3, 3, 2}, nan[] = {NAN, 1, NAN, 2}, none[] = {NAN, NAN};
  EXPECT_EQ(argmax(tie, 4), 1);
  EXPECT_EQ(argmax(nan, 4), 3);
  EXPECT_EQ(argmax(none, 2), 0);
  Random first(42), second(42), third(43);
  EXPECT_EQ(first.next(), second.next());
  EXPECT_NE(first.next(), third.next());
  // Frequencies follow the softmax.
  float logits[] = {0, std::log(2.0f), -INFINITY, std::log(5.0f)};
  int count[4] = {};
  for (int i = 0; i < 80000; ++i)
    ++count[sample(logits, 4, 1.0, first)];
  EXPECT_NEAR(count[0], 10000, 500);
  EXPECT_NEAR(count[1], 20000, 700);
  EXPECT_EQ(count[2], 0);
  EXPECT_NEAR(count[3], 50000, 900);
  EXPECT_EQ(sample(logits, 4, 0, first), 3);
  EXPECT_EQ(sample(logits, 4, 1e-3, first), 3);
}

TEST_F(SessionTest, SessionsAreIndependent) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      Expected<std::unique_ptr<Session>> s = Session::create(*package, 2, 0, 2);
      std::vector<int32_t> all[2];
      std::vector<float> logits(2 * V);
      for (int step = 0; step < 30; ++step) {
        int32_t tokens[] = {(i + step) % 16, (i * step) % 16};
        Status status = (*s)->run("decode", false, tokens, 1, logits.data());
        for (int b = 0; b < 2; ++b) {
          all[b].push_back(tokens[b]);
          wrong[i] +=
              status.failed() || argmax(&logits[b * V], V) != expected(all[b]);
        }
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST_F(SessionTest, AReplacedPackageIsLoadedAnew) {
  // The same path while the first one is loaded: not the same library.
  ASSERT_OK(removeTree(dir / "pkg"));
  makeFakePackage(dir / "pkg");
  Expected<std::unique_ptr<Package>> second = Package::load(dir / "pkg");
  ASSERT_OK(second);
  EXPECT_NE(package->function(0), (*second)->function(0));
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

static void expectLoadError(const std::function<void(Manifest &)> &change,
                            const std::string &text, int code = 0) {
  ScratchDirectory dir;
  makeFakePackage(dir / "p", change);
  Expected<std::unique_ptr<Package>> package = Package::load(dir / "p");
  expectError(package, text);
  EXPECT_EQ(package.error().code, code);
}

TEST(Package, Refusals) {
  using M = Manifest;
  ScratchDirectory dir;
  expectError(Package::load(dir / "x"), "does not exist");
  expectError(Package::load(dir.path()), "has no manifest.json");
  expectLoadError([](M &m) { m.target = "sm_90a"; },
                  "abi: is 1 for the target sm_90a");
  expectLoadError([](M &m) { m.cpu.features = {"teleport"}; }, "\"teleport\"",
                  NEST_ERROR_UNSUPPORTED);
  expectLoadError([](M &m) { m.code.sha256 = std::string(64, '0'); },
                  "its SHA-256 is not the one of the manifest");
  expectLoadError([](M &m) { m.code.file = "weights.safetensors"; },
                  "its SHA-256 is not the one");
  expectLoadError([](M &m) { m.code.file = "none.so"; },
                  "cannot be opened as a file");
  expectLoadError([](M &m) { m.entries[0].symbol = "nest_entry_none"; },
                  "has no symbol nest_entry_none");
  expectLoadError([](M &m) { m.files[0].bytes += 64; }, "the manifest says");
  expectLoadError([](M &m) { m.files[0].sha256Header = std::string(64, '0'); },
                  "its header is not the one of the manifest");
  expectLoadError([](M &m) { m.files[0].path = "/nonexistent/w"; },
                  "No such file");
  // Right hash, wrong content.
  ScratchDirectory other;
  makeFakePackage(other / "p", [&](M &m) {
    m.code.sha256 = sha256("no library");
    EXPECT_OK(writeFile(other / "p/code.so", "no library"));
  });
  expectError(Package::load(other / "p"), "cannot be loaded");
  EXPECT_OK(writeFile(other / "p/code.so", *readFile(NEST_FAKE_MODEL)));
  EXPECT_OK(writeFile(other / "p/tokenizer.json", "{}"));
  expectError(Package::load(other / "p"), "SHA-256");
}

TEST(Package, LinkedWeights) {
  ScratchDirectory dir;
  makeFakePackage(dir / "a");
  makeFakePackage(dir / "b", [&](Manifest &m) {
    m.files[0].path = dir / "a/weights.safetensors";
    EXPECT_OK(removeTree(dir / "b/weights.safetensors"));
  });
  EXPECT_OK(Package::load(dir / "b"));
}
