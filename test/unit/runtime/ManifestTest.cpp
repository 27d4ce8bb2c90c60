//===- ManifestTest.cpp - what a package says about itself ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "lowering/runtime/Sha256.h"

using namespace nestc::rt;

TEST(Manifest, RoundTrip) {
  Manifest manifest = fakeManifest();
  std::string text = manifest.serialise();
  Expected<Manifest> back = Manifest::parse(text, "m");
  ASSERT_OK(back);
  EXPECT_EQ(back->serialise(), text);
  ASSERT_TRUE(back->findEntry("decode"));
  const Manifest::Entry &prefill = *back->findEntry("prefill");
  EXPECT_EQ(prefill.dim("T"), 1);
  EXPECT_EQ(prefill.dim("x"), -1);
  EXPECT_TRUE(prefill.findInput("layers.0.k")->cache);
  EXPECT_EQ(prefill.arenaBytes({2, 3}), 2u * 3 * 64 + 2 * 8 + 16);
  EXPECT_FALSE(prefill.arenaBytes({int64_t(1) << 40, int64_t(1) << 40}));
  EXPECT_EQ(Manifest::Entry::shapeOf(*prefill.findOutput("logits"), {2, 3}),
            (std::vector<int64_t>{2, 1, 16}));
  EXPECT_EQ(back->weights[1].extent(), (15 * 2 + 1) * 4u);
}

/// A manifest with a submodel "small" behind the first, with entries of its
/// own.
static Manifest manifestOfTwo() {
  Manifest m = fakeManifest();
  Manifest::FurtherSubmodel small;
  small.submodel = {"small", "layers.all.ffn=1/4", {}};
  small.totalParameters = 12;
  small.effectiveParameters = 11;
  small.weightBytes = 48;
  small.macsPerToken = 1;
  m.further.push_back(small);
  for (size_t i = 0; i < 3; ++i) {
    Manifest::Entry entry = m.entries[i];
    entry.name = "small:" + entry.name;
    m.entries.push_back(entry);
  }
  return m;
}

TEST(Manifest, Submodels) {
  Manifest manifest = manifestOfTwo();
  manifest.further[0].routes = {{"0", "select topk"}};
  EXPECT_OK(manifest.validate("m"));
  Expected<Manifest> back = Manifest::parse(manifest.serialise(), "m");
  ASSERT_OK(back);
  EXPECT_EQ(back->serialise(), manifest.serialise());
  EXPECT_EQ(back->submodelNames(),
            (std::vector<std::string>{"default", "small"}));
  EXPECT_EQ(back->entryOf(0, "decode"), "decode");
  EXPECT_EQ(back->entryOf(1, "decode"), "small:decode");
  EXPECT_EQ(back->submodelOf("small:decode"), 1u);
  EXPECT_EQ(back->submodelOf("decode"), 0u);
  EXPECT_EQ(back->submodelOf("smaller:decode"), 0u);
  EXPECT_EQ(*back->findSubmodel("", "p"), 0u);
  EXPECT_EQ(*back->findSubmodel("default", "p"), 0u);
  EXPECT_EQ(*back->findSubmodel("small", "p"), 1u);
  expectError(back->findSubmodel("smal", "p"),
              "p: the package holds no submodel 'smal'; did you mean small?");
  EXPECT_EQ(back->further[0].routes, manifest.further[0].routes);

  auto invalid = [](const std::function<void(Manifest &)> &change,
                    const std::string &part) {
    Manifest m = manifestOfTwo();
    change(m);
    expectError(Manifest::fromJson(m.toJson(), "m"), part);
  };
  auto name = [](Manifest &m) -> auto & { return m.further[0].submodel.name; };
  invalid([&](Manifest &m) { name(m) = "default"; }, "stands twice");
  invalid([&](Manifest &m) { name(m) = ""; }, "is no name");
  invalid([&](Manifest &m) { name(m) = "a:b"; }, "is no name");
  invalid([](Manifest &m) { m.further[0].effectiveParameters = 13; },
          "further_submodels[0].parameters.effective: is 13");
  invalid([](Manifest &m) { m.further[0].modalities = {{"a"}, {1}}; },
          "further_submodels[0].modalities.accepted: has 1");
  // Widths.
  auto open = [](const Manifest::Width &width) {
    return [width](Manifest &m) { m.submodel.widths = {width}; };
  };
  invalid(open({"a", 0, 4, 8}), "submodel.widths[0].low: is 0");
  invalid(open({"a", 5, 4, 8}), "submodel.widths[0].low: is 5");
  invalid(open({"a", 1, 9, 8}), "submodel.widths[0].high: is 9");
  invalid(open({"", 1, 4, 8}), "submodel.widths[0].axis");
  invalid(open({"tokens", 1, 4, 8}), "the width tokens is no number");
  invalid(
      [](Manifest &m) { m.submodel.widths = {{"a", 1, 4, 8}, {"a", 1, 4, 8}}; },
      "names a again");
  // Caches are one for all.
  invalid(
      [](Manifest &m) {
        m.entries.back().inputs.back().shape[1] = ManifestDim::of(1);
      },
      "the cache layers.0.k differs between small:decode");
}

TEST(Manifest, TicketsAreTheSameInAllEntries) {
  Manifest manifest = fakeManifest();
  EXPECT_EQ(manifest.serialise().find("tickets"), std::string::npos);
  manifest.entries[0].arena.tickets = 128;
  EXPECT_EQ(manifest.entries[0].arenaBytes({2, 3}),
            128 + 2u * 3 * 64 + 2 * 8 + 16);
  Status status = manifest.validate("m");
  ASSERT_TRUE(status.failed());
  EXPECT_NE(status.error().str().find("arena.tickets: is 128"),
            std::string::npos)
      << status.error().str();
  EXPECT_NE(status.error().str().find("0 without a GPU"), std::string::npos);
  // Of a GPU they are legal, and the same everywhere.
  manifest.target = "sm_80";
  manifest.abi = 2;
  manifest.device.emplace();
  manifest.device->ptx = {"code.ptx", std::string(64, 'a')};
  manifest.device->kernels = {"k"};
  for (Manifest::Entry &entry : manifest.entries)
    entry.scratch = 0;
  status = manifest.validate("m");
  ASSERT_TRUE(status.failed());
  EXPECT_NE(status.error().str().find("as in other entries"), std::string::npos)
      << status.error().str();
  for (Manifest::Entry &entry : manifest.entries)
    entry.arena.tickets = 128;
  EXPECT_OK(manifest.validate("m"));
  Expected<Manifest> back = Manifest::parse(manifest.serialise(), "m");
  ASSERT_OK(back);
  EXPECT_EQ(back->entries[1].arena.tickets, 128);
}

TEST(Manifest, DenseStrideIsFilledIn) {
  Manifest manifest = fakeManifest();
  manifest.weights[1].shape = {16, 2};
  manifest.weights[1].rowStride = 0;
  EXPECT_OK(manifest.validate("m"));
  EXPECT_EQ(Manifest::parse(manifest.serialise(), "m")->weights[1].rowStride,
            2);
}

/// Calls `visit` with copies of `json` in each of which one value, at any
/// depth, is replaced by `replacement` or, when that is empty, removed.
static void
forEachChange(const Json &json, const std::function<Json(const Json &)> &change,
              const std::function<void(const Json &, const Json &old,
                                       const std::string &)> &visit,
              const std::string &path = "") {
  if (!path.empty())
    visit(change(json), json, path);
  if (json.isObject()) {
    for (const Json::Member &member : json.members())
      forEachChange(
          member.second, change,
          [&](const Json &inner, const Json &old, const std::string &where) {
            Json copy = json;
            copy.set(member.first, inner);
            visit(copy, old, where);
          },
          path + "." + member.first);
  } else if (json.isArray()) {
    for (size_t i = 0; i < json.size(); ++i)
      forEachChange(
          json.elements()[i], change,
          [&](const Json &inner, const Json &old, const std::string &where) {
            Json copy = Json::array();
            for (size_t j = 0; j < json.size(); ++j)
              copy.push(j == i ? inner : json.elements()[j]);
            visit(copy, old, where);
          },
          path + "[" + std::to_string(i) + "]");
  }
}

TEST(Manifest, EveryValueOfAWrongTypeIsAnError) {
  Json good = manifestOfTwo().toJson();
  const Json wrong[] = {Json(),
                        Json(true),
                        Json("?"),
                        Json(-7),
                        Json(1.5),
                        Json(UINT64_MAX),
                        Json::array(),
                        Json::object(),
                        Json::arrayOf(std::vector<std::string>{"x"})};
  int count = 0;
  for (const Json &replacement : wrong)
    forEachChange(
        good, [&](const Json &) { return replacement; },
        [&](const Json &bad, const Json &old, const std::string &path) {
          Expected<Manifest> result = Manifest::fromJson(bad, "m");
          ++count;
          if (result.failed()) {
            EXPECT_EQ(result.error().str().substr(0, 1), "m");
            return;
          }
          // Only a value of the same kind can pass.
          bool sameKind = old.kind() == replacement.kind();
          bool dim = path.find(".shape[") != std::string::npos;
          EXPECT_TRUE(sameKind || dim) << path << " = " << replacement.str();
        });
  EXPECT_GT(count, 1000);
}

TEST(Manifest, EveryMissingOrUnknownKeyIsAnError) {
  Json good = manifestOfTwo().toJson();
  auto without = [](const Json &object, const std::string &key, bool rename) {
    Json copy = Json::object();
    for (const Json::Member &member : object.members()) {
      if (member.first != key)
        copy.set(member.first, member.second);
      else if (rename)
        copy.set(member.first + "_", member.second);
    }
    return copy;
  };
  std::function<void(const Json &, const std::function<Json(Json)> &)> walk =
      [&](const Json &json, const std::function<Json(Json)> &rebuild) {
        if (json.isObject())
          for (const Json::Member &member : json.members()) {
            bool optional = member.first == "cache" ||
                            member.first == "row_stride" ||
                            member.first == "further_submodels" ||
                            member.first == "sha256_header";
            for (bool rename : {false, true}) {
              Expected<Manifest> result = Manifest::fromJson(
                  rebuild(without(json, member.first, rename)), "m");
              if (!optional || rename) {
                EXPECT_TRUE(result.failed()) << member.first;
              }
            }
            walk(member.second, [&](Json inner) {
              Json copy = json;
              copy.set(member.first, std::move(inner));
              return rebuild(std::move(copy));
            });
          }
        else if (json.isArray())
          for (size_t i = 0; i < json.size(); ++i)
            walk(json.elements()[i], [&](Json inner) {
              Json copy = Json::array();
              for (size_t j = 0; j < json.size(); ++j)
                copy.push(j == i ? inner : json.elements()[j]);
              return rebuild(std::move(copy));
            });
      };
  walk(good, [](Json json) { return json; });
}

TEST(Manifest, EveryExtremeNumberIsSafe) {
  Json good = manifestOfTwo().toJson();
  for (int64_t number :
       {int64_t(0), int64_t(3), int64_t(1) << 31, int64_t(1) << 40,
        int64_t(1) << 50, INT64_MAX, INT64_MIN})
    forEachChange(
        good, [&](const Json &old) { return old.isInt() ? Json(number) : old; },
        [&](const Json &bad, const Json &, const std::string &) {
          Expected<Manifest> result = Manifest::fromJson(bad, "m");
          if (!result)
            return;
          for (const Manifest::Weight &weight : result->weights)
            EXPECT_LE(
                static_cast<uint64_t>(weight.offset) + weight.extent(),
                static_cast<uint64_t>(
                    result->files[static_cast<size_t>(weight.file)].bytes));
          for (const Manifest::Entry &entry : result->entries)
            (void)entry.arenaBytes(
                std::vector<int64_t>(entry.dims.size(), INT32_MAX));
        });
}

static void expectInvalid(const std::function<void(Manifest &)> &change,
                          const std::string &message) {
  Manifest manifest = fakeManifest();
  change(manifest);
  expectError(manifest.validate("m"), message);
  expectError(Manifest::parse(manifest.serialise(), "m"), message);
}

/// Makes of fakeManifest() that of a package for a GPU.
static void makeGpu(Manifest &m) {
  m.target = "sm_90a";
  m.abi = 2;
  for (Manifest::Entry &entry : m.entries)
    entry.scratch = 0;
  m.device.emplace();
  m.device->ptx = {"code.ptx", std::string(64, 'a')};
  m.device->kernels = {"rows", "matmul_0"};
}

TEST(Manifest, DeviceCode) {
  Manifest manifest = fakeManifest();
  makeGpu(manifest);
  Expected<Manifest> read = Manifest::parse(manifest.serialise(), "m");
  ASSERT_OK(read);
  ASSERT_TRUE(read->device);
  EXPECT_EQ(read->device->ptx.file, "code.ptx");
  EXPECT_FALSE(read->device->cubin);
  EXPECT_EQ(read->device->kernels,
            (std::vector<std::string>{"rows", "matmul_0"}));
  manifest.device->cubin = {"code.cubin", std::string(64, 'b')};
  read = Manifest::parse(manifest.serialise(), "m");
  ASSERT_OK(read);
  ASSERT_TRUE(read->device->cubin);
  EXPECT_EQ(read->device->cubin->sha256, std::string(64, 'b'));
  EXPECT_EQ(read->serialise(), manifest.serialise());
}

TEST(Manifest, DeviceCodeOfNoUse) {
  using M = Manifest;
  auto gpu = [](const std::function<void(M &)> &change,
                const std::string &message) {
    expectInvalid(
        [&](M &m) {
          makeGpu(m);
          change(m);
        },
        message);
  };
  gpu([](M &m) { m.abi = 1; }, "m: abi: is 1 for the target sm_90a; 2");
  gpu([](M &m) { m.target = "cpu"; }, "m: abi: is 2 for the target cpu; 1");
  gpu([](M &m) { m.target = "cpu", m.abi = 1; },
      "m: device: stands in a package for the CPU");
  gpu([](M &m) { m.device.reset(); }, "m: device: is missing");
  gpu([](M &m) { m.target = "sm_9x"; }, "m: target: is \"sm_9x\"");
  gpu([](M &m) { m.device->ptx.file = "../a.ptx"; },
      "m: device.ptx.file: \"../a.ptx\" is no plain file name");
  gpu([](M &m) { m.device->cubin = {"a", "b"}; },
      "m: device.cubin.sha256: is no SHA-256");
  gpu([](M &m) { m.device->kernels[1] = "rows"; },
      "m: device.kernels[1]: \"rows\" is no name, or stands twice");
  gpu([](M &m) { m.device->kernels[0] = "a b"; }, "m: device.kernels[0]");
  gpu([](M &m) { m.entries[1].scratch = 8; }, "m: entries[1].scratch: is 8");
}

TEST(Manifest, GpuTargets) {
  for (const char *text : {"", "cpu", "sm_", "sm_8", "sm_08", "sm_8000",
                           "sm_80x", "sm_90aa", "SM_80", "sm_a", "80"})
    EXPECT_FALSE(parseGpuTarget(text)) << text;
  std::optional<GpuTarget> plain = parseGpuTarget("sm_80"),
                           exact = parseGpuTarget("sm_90a"),
                           family = parseGpuTarget("sm_100f");
  ASSERT_TRUE(plain && exact && family);
  EXPECT_TRUE(plain->runsOn(80) && plain->runsOn(120) && !plain->runsOn(75));
  EXPECT_TRUE(exact->runsOn(90) && !exact->runsOn(100) && !exact->runsOn(80));
  EXPECT_TRUE(family->runsOn(100) && family->runsOn(103) &&
              !family->runsOn(120) && !family->runsOn(90));
}

TEST(Manifest, Inconsistencies) {
  using M = Manifest;
  expectError(M::parse("{\"format\":2}", "m"), "m: format: is 2, newer");
  expectError(M::parse("{\"format\":1,\"abi\":3}", "m"), "m: abi: is 3");
  expectError(M::parse("[]", "m"), "m: is a list; an object");
  expectInvalid([](M &m) { m.code.file = "../code.so"; },
                "m: code.file: \"../code.so\" is no plain file name");
  expectInvalid([](M &m) { m.code.sha256 = "abc"; }, "is no SHA-256");
  expectInvalid([](M &m) { m.files[0].path = "../w"; },
                "neither a plain file name nor an absolute path");
  expectInvalid([](M &m) { m.files[0].bytes = 100; },
                "ends behind its file of 100 bytes");
  expectInvalid([](M &m) { m.weights[0].file = 1; },
                "weights[0].file: is 1; an index below the 1 files");
  expectInvalid([](M &m) { m.weights[0].offset = 2; }, "a multiple of 4");
  expectInvalid([](M &m) { m.weights[1].shape = {16, 3}; },
                "at least the row's 3");
  expectInvalid([](M &m) { m.entries[0].weights = {0, 2}; },
                "indices below the 2 weights");
  expectInvalid([](M &m) { m.entries[1].name = m.entries[0].name; },
                "stands twice");
  expectInvalid([](M &m) { m.entries[0].outputs[0].name = "tokens"; },
                "stands twice");
  expectInvalid([](M &m) { m.entries[0].symbol = "a b"; }, "a C identifier");
  expectInvalid([](M &m) { m.entries[0].dims.push_back("Z"); },
                "no input has the dim Z");
  expectInvalid([](M &m) { m.entries[0].dims[1] = "B"; }, "stands twice");
  expectInvalid([](M &m) { m.entries[2].inputs[3].dtype = DType::BF16; },
                "the cache layers.0.k differs between");
  expectInvalid([](M &m) { m.entries[2].inputs[3].shape[2].size = 64; },
                "the cache layers.0.k differs between");
  expectInvalid([](M &m) { m.entries[2].inputs[3].cache = false; },
                "the cache layers.0.k differs between");
  expectInvalid([](M &m) { m.entries.clear(); }, "one entry at least");
  expectInvalid([](M &m) { m.effectiveParameters = m.totalParameters + 1; },
                "at most the total");
}

TEST(Manifest, RoutesAndModalities) {
  Manifest manifest = fakeManifest();
  makeRouted(manifest);
  EXPECT_OK(manifest.validate("m"));
  Expected<Manifest> back = Manifest::parse(manifest.serialise(), "m");
  ASSERT_OK(back);
  EXPECT_EQ(back->serialise(), manifest.serialise());
  EXPECT_EQ(back->model.modalities.names,
            (std::vector<std::string>{"text", "image", "speech"}));
  EXPECT_EQ(back->model.modalities.accepted, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(back->model.routes, manifest.model.routes);

  auto routed = [](const std::function<void(Manifest &)> &change) {
    return [change](Manifest &m) {
      makeRouted(m);
      change(m);
    };
  };
  auto names = [](Manifest &m) -> auto & { return m.model.modalities.names; };
  auto accepted = [](Manifest &m) -> auto & {
    return m.model.modalities.accepted;
  };
  expectInvalid(routed([&](Manifest &m) { m.model.modalities = {}; }),
                "takes a modality, and the model names none");
  expectInvalid(routed([&](Manifest &m) { names(m)[1] = "text"; }),
                "modalities.names: \"text\" is empty or stands twice");
  expectInvalid(routed([&](Manifest &m) { names(m)[1] = ""; }), "is empty");
  expectInvalid(routed([&](Manifest &m) { accepted(m) = {}; }),
                "modalities.accepted: is empty");
  expectInvalid(routed([&](Manifest &m) { accepted(m) = {0, 3}; }),
                "accepted: has 3; ascending indices below the 3 names");
  expectInvalid(routed([&](Manifest &m) { accepted(m) = {2, 0}; }),
                "accepted: has 0");
  // Caches: lengths [B], positions [B, C], nothing else of i32.
  auto cache = [](Manifest &m, size_t i, std::vector<ManifestDim> shape) {
    for (Manifest::Entry &entry : m.entries)
      entry.inputs[i].shape = shape;
  };
  ManifestDim batch = ManifestDim::dynamic(0);
  for (std::vector<ManifestDim> shape :
       {std::vector<ManifestDim>{},
        {batch, ManifestDim::of(31)},
        {batch, batch},
        {batch, ManifestDim::of(2), ManifestDim::of(32), ManifestDim::of(4)}})
    expectInvalid(routed([&](Manifest &m) { cache(m, 5, shape); }),
                  "the cache layers.0.positions has not the max_length 32");
  expectInvalid(routed([&](Manifest &m) {
                  for (Manifest::Entry &entry : m.entries)
                    entry.inputs[5].dtype = DType::F32;
                }),
                "has not the max_length");
  // What a model without tokens or caches does not have.
  expectInvalid(routed([&](Manifest &m) { m.model.vocabSize = 0; }),
                "takes tokens, and the model has no vocab_size");
  expectInvalid(routed([&](Manifest &m) { m.model.maxLength = 0; }),
                "and the model has no max_length");
  // Keys that are there only where they say something.
  Json json = manifest.toJson();
  for (const char *key : {"modalities", "routes"})
    for (Json bad : {Json(3), Json("x"), Json::array()}) {
      Json model = *json.find("model"), copy = json;
      model.set(key, bad);
      copy.set("model", model);
      expectError(Manifest::fromJson(copy, "m"), key);
    }
}
