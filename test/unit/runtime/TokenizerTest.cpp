//===- TokenizerTest.cpp - byte-pair encoding --------------------*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Tokenizer.h"
#include "Support.h"
#include "lowering/runtime/Json.h"
#include "lowering/runtime/Unicode.h"

using namespace nestc::rt;

static const char *matlm = NEST_SOURCE_DIR "/test/models/matlm/tokenizer.json";

TEST(Tokenizer, AgreesWithTheGoldens) {
  Expected<Tokenizer> tokenizer = Tokenizer::open(matlm);
  ASSERT_OK(tokenizer);
  Expected<Json> cases =
      readJsonFile(NEST_SOURCE_DIR "/test/e2e/goldens/tokenizer/cases.json");
  ASSERT_OK(cases);
  ASSERT_GT(cases->size(), 0u);
  for (const Json &item : cases->elements()) {
    const std::string &text = item.find("text")->asString();
    Expected<std::vector<int32_t>> ids = tokenizer->encode(text);
    ASSERT_OK(ids);
    EXPECT_EQ(Json::arrayOf(*ids).str(), item.find("ids")->str()) << text;
    if (const Json *decoded = item.find("decoded")) {
      Expected<std::string> back = tokenizer->decode(*ids);
      ASSERT_OK(back);
      EXPECT_EQ(*back, decoded->asString());
    }
  }
}

/// What the Python package makes of texts, and of tokens in any order.
static void checkFallbackCases(const std::string &name,
                               const std::string &folder) {
  std::string own = NEST_SOURCE_DIR "/test/e2e/goldens/tokenizer/";
  Expected<Tokenizer> tokenizer = Tokenizer::open(own + name + ".json");
  ASSERT_OK(tokenizer);
  Expected<Json> cases = readJsonFile(folder + name + ".cases.json");
  ASSERT_OK(cases);
  ASSERT_GE(cases->size(), 250u);
  auto ids = [](const Json &item, const char *key) {
    std::vector<int32_t> list;
    for (const Json &id : item.find(key)->elements())
      list.push_back(static_cast<int32_t>(id.asInt()));
    return list;
  };
  for (const Json &item : cases->elements()) {
    const std::string &text = item.find("text")->asString();
    for (bool special : {true, false}) {
      Expected<std::vector<int32_t>> encoded = tokenizer->encode(text, special);
      ASSERT_OK(encoded);
      EXPECT_EQ(*encoded, ids(item, special ? "ids" : "plain"))
          << name << ": " << text;
    }
    EXPECT_EQ(*tokenizer->decode(ids(item, "ids")),
              item.find("decoded")->asString())
        << name << ": " << text;
    EXPECT_EQ(*tokenizer->decode(ids(item, "odd"), true),
              item.find("odd_decoded")->asString())
        << name << ": " << item.find("odd")->str();
  }
}

TEST(Tokenizer, ByteFallbackAgreesWithTheGoldens) {
  for (const char *name : {"gemma", "llama2", "mistral", "metaspace"}) {
    checkFallbackCases(name, NEST_SOURCE_DIR "/test/e2e/goldens/tokenizer/");
    if (const char *more = std::getenv("NEST_TOKENIZER_CASES"))
      checkFallbackCases(name, std::string(more) + "/");
  }
}

TEST(Tokenizer, DecodesAnyTokens) {
  Expected<Tokenizer> tokenizer = Tokenizer::open(matlm);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(*tokenizer->decode({0, 65, 0}, true), "a");
  expectError(tokenizer->decode({-1}), "token -1: is not in the tokenizer");
  expectError(tokenizer->decode({1 << 20}), "is not in the tokenizer");
  expectError(tokenizer->encode("\xff"), "is not valid UTF-8");
  // A long piece takes no quadratic time.
  std::string word(300000, 'a');
  Expected<std::vector<int32_t>> ids = tokenizer->encode(word);
  ASSERT_OK(ids);
  EXPECT_EQ(*tokenizer->decode(*ids), word);
}

static std::string split(const std::string &text, SplitPattern pattern) {
  std::u32string points = *decodeUtf8(text);
  std::string out;
  for (std::u32string_view piece : splitText(points, pattern))
    out += (out.empty() ? "" : "|") + encodeUtf8(piece);
  return out;
}

TEST(Tokenizer, Splits) {
  EXPECT_EQ(split("Hello world's 12345\n\n  foo!?", SplitPattern::Gpt2),
            "Hello| world|'s| 12345|\n\n | foo|!?");
  EXPECT_EQ(split("Hello world's 12345\n\n  foo!?\n", SplitPattern::Llama3),
            "Hello| world|'s| |123|45|\n\n| | foo|!?\n");
  EXPECT_EQ(split("ab 12'S x", SplitPattern::Qwen2), "ab| |1|2|'S| x");
  EXPECT_EQ(split("12'S", SplitPattern::Gpt2), "12|'|S");
  EXPECT_EQ(split("\tx !a\r\n ", SplitPattern::Llama3), "\tx| !|a|\r\n| ");
  EXPECT_EQ(split("\tx", SplitPattern::Gpt2), "\t|x");
  EXPECT_EQ(split("x   ", SplitPattern::Gpt2), "x|   ");
  EXPECT_EQ(split("x \n y", SplitPattern::Llama3), "x| \n| y");
  EXPECT_EQ(split("\xc3\xa9t\xc3\xa9 \xe4\xb8\xad", SplitPattern::Gpt2),
            "\xc3\xa9t\xc3\xa9| \xe4\xb8\xad");
}

TEST(Unicode, Utf8) {
  EXPECT_FALSE(decodeUtf8("\xc0\x80"));
  EXPECT_FALSE(decodeUtf8("\xed\xa0\x80"));
  EXPECT_FALSE(decodeUtf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(decodeUtf8("\xe2\x82"));
  for (char32_t c :
       {0u, 0x7fu, 0x80u, 0x7ffu, 0x800u, 0xffffu, 0x10000u, 0x10ffffu}) {
    std::string text;
    appendUtf8(text, c);
    EXPECT_EQ(decodeUtf8(text), std::u32string(1, c));
  }
  EXPECT_EQ(lossyUtf8("a\xe2\x82"
                      "b\xff\xfe"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(Unicode, Nfc) {
  auto nfc = [](std::u32string text) { return normalizeNfc(text); };
  EXPECT_EQ(nfc(U"e\u0301"), U"\u00e9");
  EXPECT_EQ(nfc(U"\u1e9b\u0323"), U"\u1e9b\u0323");
  EXPECT_EQ(nfc(U"q\u0307\u0323"), U"q\u0323\u0307"); // canonical order
  EXPECT_EQ(nfc(U"\u1100\u1161\u11a8"), U"\uac01");
  EXPECT_EQ(nfc(U"\u212b"), U"\u00c5");
  EXPECT_EQ(nfc(U"\u0958"), U"\u0915\u093c"); // excluded from composition
  EXPECT_EQ(nfc(U"abc"), U"abc");
}

/// A tokenizer.json of the bytes alone, with parts replaced.
static Json tinyTokenizer() {
  Json vocab = Json::object();
  char32_t next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    bool printable =
        (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    std::string text;
    appendUtf8(text, printable ? b : next++);
    vocab.set(text, b);
  }
  vocab.set("ab", 256);
  vocab.set("abc", 257);
  vocab.set("bc", 258);
  Json model = Json::object();
  model.set("type", "BPE");
  model.set("vocab", vocab);
  Json merges = Json::array();
  merges.push("b c");
  merges.push("a b");
  Json pair = Json::array();
  pair.push("ab");
  pair.push("c");
  merges.push(pair);
  model.set("merges", merges);
  Json level = Json::object();
  level.set("type", "ByteLevel");
  level.set("add_prefix_space", false);
  Json json = Json::object();
  json.set("model", model);
  json.set("pre_tokenizer", level);
  json.set("decoder", level);
  return json;
}

static Expected<Tokenizer> parse(const Json &json) {
  return Tokenizer::parse(json.str(), "t.json");
}

static Json typed(const char *type) {
  Json json = Json::object();
  json.set("type", type);
  return json;
}

using Ids = std::vector<int32_t>;

TEST(Tokenizer, MergesByRank) {
  Json json = tinyTokenizer();
  Expected<Tokenizer> tokenizer = parse(json);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(*tokenizer->encode("abc"), Ids({'a', 258}));
  EXPECT_EQ(*tokenizer->encode("abab"), Ids({256, 256}));
  Json model = *json.find("model");
  model.set("ignore_merges", true);
  json.set("model", model);
  EXPECT_EQ(*parse(json)->encode("abc"), Ids({257}));
}

TEST(Tokenizer, AddedTokensAndTemplates) {
  Json json = tinyTokenizer();
  auto added = [](const char *content, int id, bool special, bool strip) {
    Json token = Json::object();
    token.set("content", content);
    token.set("id", id);
    token.set("special", special);
    token.set("lstrip", strip);
    token.set("rstrip", strip);
    return token;
  };
  Json list = Json::array();
  list.push(added("<s>", 300, true, false));
  list.push(added("<s>x", 301, true, false));
  list.push(added("<pad>", 302, false, true));
  json.set("added_tokens", list);
  Expected<Json> post = parseJson(
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>",)"
      R"("type_id":0}},{"Sequence":{"id":"A","type_id":0}}],)"
      R"("special_tokens":{"<s>":{"id":"<s>","ids":[300],"tokens":["<s>"]}}})",
      "p");
  json.set("post_processor", *post);
  Expected<Tokenizer> tokenizer = parse(json);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(*tokenizer->encode("a<s>b<s>x"), Ids({300, 'a', 300, 'b', 301}));
  EXPECT_EQ(*tokenizer->encode("a <pad>  b", false), Ids({'a', 302, 'b'}));
  EXPECT_EQ(*tokenizer->decode({300, 'a', 302}, true), "a<pad>");
}

TEST(Tokenizer, NamesWhatIsNotSupported) {
  auto with = [](const char *key, const Json &value) {
    Json json = tinyTokenizer();
    json.set(key, value);
    return parse(json);
  };
  auto withModel = [&](const char *key, const Json &value) {
    Json model = *tinyTokenizer().find("model");
    model.set(key, value);
    return with("model", model);
  };
  expectError(with("normalizer", typed("Lowercase")),
              "t.json: normalizer: the normalizer \"Lowercase\" is not");
  EXPECT_OK(with("normalizer", typed("NFC")));
  expectError(with("pre_tokenizer", typed("Metaspace")), "\"Metaspace\"");
  expectError(with("decoder", typed("WordPiece")), "\"WordPiece\"");
  expectError(with("decoder", Json()), "t.json: decoder: is null");
  expectError(with("post_processor", typed("BertProcessing")),
              "\"BertProcessing\"");
  expectError(withModel("type", "Unigram"), "\"Unigram\"");
  expectError(withModel("dropout", 0.5), "dropout is 0.5");
  expectError(withModel("byte_fallback", true), "byte_fallback");
  expectError(withModel("merges", Json("x")), "model.merges: is a string");
  Json merges = Json::array();
  merges.push("a zz");
  expectError(withModel("merges", merges),
              "model.merges[0]: \"zz\" is not in the vocabulary");
  Json vocab = Json::object();
  vocab.set("a", -1);
  expectError(withModel("vocab", vocab), "\"a\" is -1");
  vocab.set("a", 1);
  vocab.set("b", 1);
  expectError(withModel("vocab", vocab), "the id 1 has two tokens");
  Json splitter = typed("Split");
  Json pattern = Json::object();
  pattern.set("Regex", "\\w+");
  splitter.set("pattern", pattern);
  expectError(with("pre_tokenizer", splitter), "the pattern \"\\w+\"");
}

TEST(Tokenizer, NamesWhatIsNotSupportedWithByteFallback) {
  Expected<Json> read =
      readJsonFile(NEST_SOURCE_DIR "/test/e2e/goldens/tokenizer/llama2.json");
  ASSERT_OK(read);
  auto with = [&](const char *key, const std::string &text) {
    Json json = *read;
    json.set(key, *parseJson(text, "p"));
    return parse(json);
  };
  auto decoders = [&](const std::string &list) {
    return with("decoder",
                R"({"type": "Sequence", "decoders": [)" + list + "]}");
  };
  EXPECT_OK(decoders(R"({"type": "ByteFallback"})"));
  expectError(decoders(R"({"type": "Fuse"})"),
              "decoder.decoders[0]: the decoder \"Fuse\" is not supported");
  expectError(decoders(""), "decoder.decoders: has no ByteFallback");
  const std::string fused = R"({"type": "ByteFallback"}, {"type": "Fuse"}, )";
  expectError(
      decoders(fused +
               R"({"type": "Strip", "content": " ", "start": 1, "stop": 1})"),
      "Strip of \" \" is not supported");
  expectError(with("decoder", R"({"type": "ByteLevel"})"),
              "the decoder \"ByteLevel\"");
  expectError(with("normalizer", R"({"type": "Replace", "pattern":
                  {"Regex": " "}, "content": "x"})"),
              "normalizer.pattern.String: is missing");
  expectError(with("normalizer", R"({"type": "Replace", "pattern":
                  {"String": ""}, "content": "x"})"),
              "normalizer.pattern: is empty");
  expectError(with("pre_tokenizer", R"({"type": "ByteLevel"})"),
              "pre_tokenizer: is byte-level beside byte_fallback");
  expectError(with("pre_tokenizer", R"({"type": "Metaspace",
                  "replacement": "_"})"),
              "the replacement \"_\"");
  expectError(with("pre_tokenizer", R"({"type": "Metaspace", "replacement":
                  "\u2581", "prepend_scheme": "last"})"),
              "prepend_scheme \"last\"");
  expectError(with("pre_tokenizer", R"({"type": "Split", "pattern":
                  {"String": " "}, "behavior": "Isolated"})"),
              "Split with behavior \"Isolated\"");
  expectError(with("model", R"({"type": "BPE", "byte_fallback": true,
                  "vocab": {"<0x00>": 0}, "merges": []})"),
              "model.vocab: lacks <0x01> beside byte_fallback");
}

// A text that is printed token by token keeps the spaces between them; a whole
// one begins without the mark that was put before it.
TEST(Tokenizer, BytesOfPartsAreThoseWithinTheText) {
  Expected<Tokenizer> tokenizer = Tokenizer::open(
      NEST_SOURCE_DIR "/test/e2e/goldens/tokenizer/llama2.json");
  ASSERT_OK(tokenizer);
  Expected<Ids> ids = tokenizer->encode("the nested the", false);
  ASSERT_OK(ids);
  EXPECT_EQ(*tokenizer->decode(*ids), "the nested the");
  std::string text;
  for (int32_t id : *ids)
    text += *tokenizer->decodeBytes({id});
  EXPECT_EQ(text, " the nested the");
}
