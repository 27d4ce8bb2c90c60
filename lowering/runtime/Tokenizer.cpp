//===- Tokenizer.cpp - byte-pair encoding -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Tokenizer.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Unicode.h"

#include <algorithm>
#include <queue>

using namespace nestc::rt;

/// An id beyond this is no token of any model; it bounds our table.
static constexpr int64_t maxTokenId = int64_t(1) << 24;

//===----------------------------------------------------------------------===//
// The byte alphabet
//===----------------------------------------------------------------------===//

// Byte-level BPE writes bytes as printable characters: those that are printable
// in Latin-1 as themselves, the others, in order, from U+0100.
namespace {
struct ByteAlphabet {
  std::array<char32_t, 256> character;
  std::unordered_map<char32_t, unsigned char> byte;

  ByteAlphabet() {
    char32_t next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
      bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) ||
                       (b >= 0xae && b <= 0xff);
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<unsigned char>(b);
    }
  }
};
} // namespace

static const ByteAlphabet &alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

/// The bytes that a token's text stands for; the text itself when it is none of
/// the alphabet (an added token with a space).
static std::string tokenBytes(const std::string &content) {
  std::optional<std::u32string> text = decodeUtf8(content);
  if (!text)
    return content;
  std::string bytes;
  for (char32_t c : *text) {
    auto it = alphabet().byte.find(c);
    if (it == alphabet().byte.end())
      return content;
    bytes += static_cast<char>(it->second);
  }
  return bytes;
}

//===----------------------------------------------------------------------===//
// Bytes that a vocabulary lacks
//===----------------------------------------------------------------------===//

/// The token of a byte: <0x0A>.
static std::string fallbackToken(unsigned byte) {
  const char *digits = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

static std::optional<unsigned char> fallbackByte(const std::string &token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>')
    return std::nullopt;
  unsigned byte = 0;
  for (char c : {token[3], token[4]}) {
    bool isDigit = c >= '0' && c <= '9', isUpper = c >= 'A' && c <= 'F',
         isLower = c >= 'a' && c <= 'f';
    if (!isDigit && !isUpper && !isLower)
      return std::nullopt;
    byte = 16 * byte + static_cast<unsigned>(isDigit   ? c - '0'
                                             : isUpper ? c - 'A' + 10
                                                       : c - 'a' + 10);
  }
  return static_cast<unsigned char>(byte);
}

static std::u32string replaceAll(const std::u32string &text,
                                 const std::u32string &from,
                                 const std::u32string &to) {
  std::u32string result;
  size_t start = 0;
  for (size_t at = text.find(from); at != std::u32string::npos;
       at = text.find(from, start)) {
    result.append(text, start, at - start);
    result += to;
    start = at + from.size();
  }
  return result.append(text, start);
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// A member that is a text in UTF-8.
static Expected<std::u32string> readText(const JsonReader &reader,
                                         const char *key) {
  NEST_RT_ASSIGN(std::string bytes, reader.getString(key));
  std::optional<std::u32string> text = decodeUtf8(bytes);
  if (!text)
    return reader.error(std::string(key) + " is not valid UTF-8",
                        "text in UTF-8");
  return *text;
}

Expected<Tokenizer> Tokenizer::open(const std::string &path) {
  NEST_RT_ASSIGN(MappedFile file, MappedFile::open(path));
  if (file.size() > uint64_t(1) << 29)
    return Error(path, "has " + std::to_string(file.size()) + " bytes",
                 "at most 512 MiB");
  return parse(file.text(), path);
}

Expected<Tokenizer> Tokenizer::parse(std::string_view text,
                                     const std::string &place) {
  NEST_RT_ASSIGN(Json json, parseJson(text, place));
  Tokenizer result;
  result.where = place;
  NEST_RT_TRY(result.read(JsonReader(json, place)));
  return result;
}

static Error unsupported(const JsonReader &reader, const char *what,
                         const std::string &found, const char *legal) {
  return reader.error(std::string(what) + " \"" + found + "\" is not supported",
                      legal);
}

/// A flag that has to be absent, null, false or empty.
static Status expectUnset(const JsonReader &reader, const char *key) {
  const Json *value = reader.json().find(key);
  if (!value || value->isNull() || (value->isBool() && !value->asBool()) ||
      (value->isString() && value->asString().empty()) ||
      (value->isNumber() && value->asDouble() == 0))
    return Status::success();
  return reader.error(std::string(key) + " is " + value->str() +
                          ", which is not supported",
                      "a BPE without it");
}

Status Tokenizer::setToken(const JsonReader &reader, const std::string &content,
                           int64_t id) {
  if (static_cast<size_t>(id) >= tokens.size())
    tokens.resize(static_cast<size_t>(id) + 1);
  Token &token = tokens[static_cast<size_t>(id)];
  std::string bytes = byteFallback ? content : tokenBytes(content);
  if (token.known && token.bytes != bytes)
    return reader.error("the id " + std::to_string(id) + " has two tokens",
                        "distinct ids");
  token.bytes = std::move(bytes);
  token.known = true;
  return Status::success();
}

Status Tokenizer::read(const JsonReader &reader) {
  NEST_RT_TRY(reader.expectObject());
  NEST_RT_ASSIGN(JsonReader model, reader.get("model"));
  NEST_RT_TRY(readModel(model));
  if (reader.hasValue("normalizer")) {
    NEST_RT_ASSIGN(JsonReader normalizer, reader.get("normalizer"));
    NEST_RT_TRY(readNormalizer(normalizer));
  }
  if (reader.hasValue("added_tokens")) {
    NEST_RT_ASSIGN(JsonReader list, reader.get("added_tokens"));
    NEST_RT_TRY(readAddedTokens(list));
  }
  bool sawByteLevel = false;
  if (!byteFallback || reader.hasValue("pre_tokenizer")) {
    NEST_RT_ASSIGN(JsonReader preTokenizer, reader.get("pre_tokenizer"));
    NEST_RT_TRY(readPreTokenizer(preTokenizer, sawByteLevel));
    if (sawByteLevel == byteFallback)
      return preTokenizer.error(
          byteFallback ? "is byte-level beside byte_fallback"
                       : "is not byte-level",
          byteFallback ? "none, Split or Metaspace" : "ByteLevel");
  }
  if (reader.hasValue("post_processor")) {
    NEST_RT_ASSIGN(JsonReader post, reader.get("post_processor"));
    NEST_RT_TRY(readPostProcessor(post));
  }
  NEST_RT_ASSIGN(JsonReader decoder, reader.get("decoder"));
  if (byteFallback)
    return readFallbackDecoder(decoder);
  NEST_RT_ASSIGN(std::string decoderType, decoder.getString("type"));
  if (decoderType != "ByteLevel")
    return unsupported(decoder, "the decoder", decoderType, "ByteLevel");
  return Status::success();
}

Status Tokenizer::readModel(const JsonReader &model) {
  NEST_RT_ASSIGN(std::string type, model.getStringOr("type", "BPE"));
  if (type != "BPE")
    return unsupported(model, "the model", type, "BPE");
  for (const char *key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
    NEST_RT_TRY(expectUnset(model, key));
  NEST_RT_ASSIGN(byteFallback, model.getBoolOr("byte_fallback", false));
  NEST_RT_ASSIGN(ignoreMerges, model.getBoolOr("ignore_merges", false));

  NEST_RT_ASSIGN(JsonReader vocab, model.get("vocab"));
  NEST_RT_TRY(vocab.expectObject());
  std::unordered_map<std::string, int32_t> byText;
  for (const Json::Member &member : vocab.json().members()) {
    // Not JsonReader::get, whose place text is dear for 200,000 members.
    if (!member.second.isInt() || member.second.asInt() < 0 ||
        member.second.asInt() > maxTokenId)
      return vocab.error("\"" + member.first + "\" is " + member.second.str(),
                         "an id from 0 to " + std::to_string(maxTokenId));
    int32_t id = static_cast<int32_t>(member.second.asInt());
    NEST_RT_TRY(setToken(vocab, member.first, id));
    byText.emplace(member.first, id);
    pieces.emplace(tokens[static_cast<size_t>(id)].bytes, id);
  }
  for (unsigned b = 0; b < 256; ++b) {
    std::string text;
    if (byteFallback)
      text = fallbackToken(b);
    else
      appendUtf8(text, alphabet().character[b]);
    auto it = byText.find(text);
    byteIds[b] = it == byText.end() ? -1 : it->second;
    if (byteFallback && byteIds[b] < 0)
      return vocab.error("lacks " + text + " beside byte_fallback",
                         "a token for every byte");
  }

  NEST_RT_ASSIGN(JsonReader list, model.get("merges"));
  NEST_RT_TRY(list.expectArray());
  for (size_t i = 0; i < list.size(); ++i) {
    const Json &item = list.json().elements()[i];
    std::string left, right;
    bool good = false;
    if (item.isString()) {
      const std::string &text = item.asString();
      size_t space = text.find(' ');
      good = space != std::string::npos &&
             text.find(' ', space + 1) == std::string::npos;
      if (good) {
        left = text.substr(0, space);
        right = text.substr(space + 1);
      }
    } else if (item.isArray() && item.size() == 2 &&
               item.elements()[0].isString() && item.elements()[1].isString()) {
      left = item.elements()[0].asString();
      right = item.elements()[1].asString();
      good = true;
    }
    if (!good)
      return list.at(i).error("is no merge", "\"a b\" or [\"a\", \"b\"]");
    auto a = byText.find(left), b = byText.find(right),
         result = byText.find(left + right);
    for (const auto &[it, text] :
         {std::make_pair(a, left), std::make_pair(b, right),
          std::make_pair(result, left + right)})
      if (it == byText.end())
        return list.at(i).error("\"" + text + "\" is not in the vocabulary",
                                "merges of tokens into tokens");
    uint64_t key = static_cast<uint64_t>(a->second) << 32 |
                   static_cast<uint32_t>(b->second);
    // A later duplicate wins, as in the library that wrote the file.
    merges[key] = {static_cast<uint32_t>(i), result->second};
  }
  return Status::success();
}

Status Tokenizer::readAddedTokens(const JsonReader &list) {
  NEST_RT_TRY(list.expectArray());
  for (size_t i = 0; i < list.size(); ++i) {
    JsonReader item = list.at(i);
    NEST_RT_ASSIGN(std::string content, item.getString("content"));
    NEST_RT_ASSIGN(int64_t id, item.getInt("id", 0, maxTokenId));
    NEST_RT_ASSIGN(bool special, item.getBoolOr("special", false));
    NEST_RT_ASSIGN(bool isNormalized, item.getBoolOr("normalized", !special));
    NEST_RT_TRY(expectUnset(item, "single_word"));
    AddedToken token;
    NEST_RT_ASSIGN(token.lstrip, item.getBoolOr("lstrip", false));
    NEST_RT_ASSIGN(token.rstrip, item.getBoolOr("rstrip", false));
    token.id = static_cast<int32_t>(id);
    std::optional<std::u32string> text = decodeUtf8(content);
    if (!text || text->empty())
      return item.error("has an empty content", "a text");
    NEST_RT_TRY(setToken(item, content, id));
    tokens[static_cast<size_t>(id)].special = special;
    token.content = isNormalized ? normalize(*text) : *text;
    auto &bucket = (isNormalized ? normalized : verbatim)[token.content[0]];
    bucket.push_back(std::move(token));
  }
  for (auto *table : {&verbatim, &normalized})
    for (auto &entry : *table)
      std::sort(entry.second.begin(), entry.second.end(),
                [](const AddedToken &a, const AddedToken &b) {
                  return a.content.size() != b.content.size()
                             ? a.content.size() > b.content.size()
                             : a.content < b.content;
                });
  return Status::success();
}

Status Tokenizer::readNormalizer(const JsonReader &reader) {
  NEST_RT_ASSIGN(std::string type, reader.getString("type"));
  if (type == "NFC") {
    normals.push_back({Normal::Kind::Nfc, {}, {}});
    return Status::success();
  }
  if (byteFallback && type == "Prepend") {
    NEST_RT_ASSIGN(std::u32string text, readText(reader, "prepend"));
    normals.push_back({Normal::Kind::Prepend, {}, std::move(text)});
    return Status::success();
  }
  if (byteFallback && type == "Replace") {
    NEST_RT_ASSIGN(JsonReader pattern, reader.get("pattern"));
    NEST_RT_ASSIGN(std::u32string from, readText(pattern, "String"));
    NEST_RT_ASSIGN(std::u32string to, readText(reader, "content"));
    if (from.empty())
      return pattern.error("is empty", "a text");
    normals.push_back({Normal::Kind::Replace, std::move(from), std::move(to)});
    return Status::success();
  }
  if (type == "Sequence") {
    NEST_RT_ASSIGN(JsonReader list, reader.get("normalizers"));
    NEST_RT_TRY(list.expectArray());
    for (size_t i = 0; i < list.size(); ++i)
      NEST_RT_TRY(readNormalizer(list.at(i)));
    return Status::success();
  }
  return unsupported(reader, "the normalizer", type,
                     byteFallback ? "none, NFC, Prepend, Replace"
                                  : "none or NFC");
}

Status Tokenizer::readPreTokenizer(const JsonReader &reader,
                                   bool &sawByteLevel) {
  NEST_RT_ASSIGN(std::string type, reader.getString("type"));
  if (sawByteLevel)
    return reader.error("stands behind ByteLevel", "ByteLevel as the last one");
  if (type == "Sequence") {
    NEST_RT_ASSIGN(JsonReader list, reader.get("pretokenizers"));
    NEST_RT_TRY(list.expectArray());
    for (size_t i = 0; i < list.size(); ++i)
      NEST_RT_TRY(readPreTokenizer(list.at(i), sawByteLevel));
    return Status::success();
  }
  Step step;
  if (type == "ByteLevel") {
    NEST_RT_ASSIGN(bool useRegex, reader.getBoolOr("use_regex", true));
    NEST_RT_ASSIGN(bool leads, reader.getBoolOr("add_prefix_space", true));
    step.leads = leads ? Step::Lead::All : Step::Lead::None;
    step.pattern = useRegex ? SplitPattern::Gpt2 : SplitPattern::None;
    steps.push_back(step);
    sawByteLevel = true;
    return Status::success();
  }
  if (type == "Split") {
    NEST_RT_ASSIGN(std::string behavior,
                   reader.getStringOr("behavior", "Isolated"));
    NEST_RT_ASSIGN(bool invert, reader.getBoolOr("invert", false));
    NEST_RT_ASSIGN(JsonReader pattern, reader.get("pattern"));
    if (byteFallback) {
      NEST_RT_ASSIGN(std::string text, pattern.getString("String"));
      if (text != " " || behavior != "MergedWithPrevious" || invert)
        return unsupported(reader, "Split with behavior", behavior,
                           "MergedWithPrevious of \" \"");
      step.pattern = SplitPattern::Spaces;
      steps.push_back(step);
      return Status::success();
    }
    NEST_RT_ASSIGN(std::string regex, pattern.getString("Regex"));
    // With a pattern that matches every piece of a text, removing what lies
    // between the matches (inverted) is the same as isolating the matches.
    bool same = (behavior == "Isolated" && !invert) ||
                (behavior == "Removed" && invert);
    if (!same)
      return unsupported(reader, "Split with behavior", behavior, "Isolated");
    std::optional<SplitPattern> known = findSplitPattern(regex);
    if (!known)
      return unsupported(pattern, "the pattern", regex,
                         "the patterns of GPT-2, Llama 3 and Qwen 2");
    step.pattern = *known;
    steps.push_back(step);
    return Status::success();
  }
  if (byteFallback && type == "Metaspace")
    return readMetaspace(reader);
  return unsupported(reader, "the pre_tokenizer", type,
                     byteFallback ? "Metaspace, Split or Sequence"
                                  : "ByteLevel, Split or Sequence");
}

Status Tokenizer::readMetaspace(const JsonReader &reader) {
  NEST_RT_ASSIGN(std::u32string mark, readText(reader, "replacement"));
  if (mark != std::u32string(1, wordMark))
    return unsupported(reader, "the replacement", encodeUtf8(mark),
                       encodeUtf8(std::u32string(1, wordMark)).c_str());
  // Older files say add_prefix_space.
  NEST_RT_ASSIGN(bool prefix, reader.getBoolOr("add_prefix_space", true));
  NEST_RT_ASSIGN(
      std::string scheme,
      reader.getStringOr("prepend_scheme", prefix ? "always" : "never"));
  NEST_RT_ASSIGN(bool splits, reader.getBoolOr("split", true));
  Step step;
  step.marksSpaces = true;
  step.lead = wordMark;
  if (scheme == "always")
    step.leads = Step::Lead::All;
  else if (scheme == "first")
    step.leads = Step::Lead::First;
  else if (scheme != "never")
    return unsupported(reader, "prepend_scheme", scheme,
                       "always, first or never");
  step.pattern = splits ? SplitPattern::Words : SplitPattern::None;
  steps.push_back(step);
  return Status::success();
}

/// Replace of strings, ByteFallback, Fuse, and Strip of spaces at the start,
/// each optional but ByteFallback.
Status Tokenizer::readFallbackDecoder(const JsonReader &reader) {
  const char *legal =
      "Replace, ByteFallback, Fuse and Strip at the start, in this order";
  NEST_RT_ASSIGN(std::string outer, reader.getString("type"));
  if (outer != "Sequence")
    return unsupported(reader, "the decoder", outer, legal);
  NEST_RT_ASSIGN(JsonReader list, reader.get("decoders"));
  NEST_RT_TRY(list.expectArray());
  bool sawBytes = false, sawFuse = false;
  for (size_t i = 0; i < list.size(); ++i) {
    JsonReader item = list.at(i);
    NEST_RT_ASSIGN(std::string type, item.getString("type"));
    if (type == "Replace" && !sawBytes) {
      NEST_RT_ASSIGN(JsonReader pattern, item.get("pattern"));
      NEST_RT_ASSIGN(std::u32string from, readText(pattern, "String"));
      NEST_RT_ASSIGN(std::u32string to, readText(item, "content"));
      if (from.empty())
        return pattern.error("is empty", "a text");
      for (Token &token : tokens)
        if (std::optional<std::u32string> text = decodeUtf8(token.bytes))
          token.bytes = encodeUtf8(replaceAll(*text, from, to));
    } else if (type == "ByteFallback" && !sawBytes) {
      sawBytes = true;
    } else if (type == "Fuse" && sawBytes && !sawFuse) {
      sawFuse = true;
    } else if (type == "Strip" && sawFuse && i + 1 == list.size()) {
      NEST_RT_ASSIGN(std::string content, item.getString("content"));
      NEST_RT_ASSIGN(int64_t start, item.getInt("start", 0, 1 << 20));
      NEST_RT_ASSIGN(int64_t stop, item.getInt("stop", 0, 1 << 20));
      if (content != " " || stop != 0)
        return unsupported(item, "Strip of", content, "\" \" at the start");
      strips = static_cast<size_t>(start);
    } else {
      return unsupported(item, "the decoder", type, legal);
    }
  }
  if (!sawBytes)
    return list.error("has no ByteFallback", legal);
  for (Token &token : tokens)
    if (std::optional<unsigned char> byte = fallbackByte(token.bytes)) {
      token.bytes.assign(1, static_cast<char>(*byte));
      token.isByte = true;
    }
  return Status::success();
}

Status Tokenizer::readPostProcessor(const JsonReader &reader) {
  NEST_RT_ASSIGN(std::string type, reader.getString("type"));
  if (type == "ByteLevel") // concerns offsets only
    return Status::success();
  if (type == "Sequence") {
    NEST_RT_ASSIGN(JsonReader list, reader.get("processors"));
    NEST_RT_TRY(list.expectArray());
    for (size_t i = 0; i < list.size(); ++i)
      NEST_RT_TRY(readPostProcessor(list.at(i)));
    return Status::success();
  }
  if (type != "TemplateProcessing")
    return unsupported(reader, "the post_processor", type,
                       "ByteLevel or TemplateProcessing");
  NEST_RT_ASSIGN(JsonReader special, reader.get("special_tokens"));
  NEST_RT_ASSIGN(JsonReader single, reader.get("single"));
  NEST_RT_TRY(single.expectArray());
  bool sawText = false;
  for (size_t i = 0; i < single.size(); ++i) {
    JsonReader item = single.at(i);
    NEST_RT_TRY(item.expectObject());
    if (item.has("Sequence")) {
      if (sawText)
        return item.error("repeats the text", "one Sequence");
      sawText = true;
      continue;
    }
    NEST_RT_ASSIGN(JsonReader token, item.get("SpecialToken"));
    NEST_RT_ASSIGN(std::string id, token.getString("id"));
    NEST_RT_ASSIGN(JsonReader entry, special.get(id));
    NEST_RT_ASSIGN(JsonReader idsReader, entry.get("ids"));
    NEST_RT_ASSIGN(std::vector<int64_t> ids, idsReader.asIntList(0));
    for (int64_t value : ids) {
      if (value >= idLimit() || !tokens[static_cast<size_t>(value)].known)
        return idsReader.error("has the unknown id " + std::to_string(value),
                               "ids of tokens");
      (sawText ? after : before).push_back(static_cast<int32_t>(value));
    }
  }
  if (!sawText)
    return single.error("has no Sequence", "one Sequence");
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

std::u32string Tokenizer::normalize(std::u32string_view text) const {
  std::u32string result(text);
  for (const Normal &step : normals) {
    if (step.kind == Normal::Kind::Nfc)
      result = normalizeNfc(result);
    else if (step.kind == Normal::Kind::Replace)
      result = replaceAll(result, step.from, step.to);
    else if (!result.empty())
      result = step.to + result;
  }
  return result;
}

std::vector<int32_t> Tokenizer::symbolsOf(std::u32string_view piece) const {
  std::vector<int32_t> symbols;
  for (char32_t character : piece) {
    std::string bytes;
    appendUtf8(bytes, character);
    auto known = byteFallback ? pieces.find(bytes) : pieces.end();
    if (known != pieces.end())
      symbols.push_back(known->second);
    else
      for (unsigned char byte : bytes)
        symbols.push_back(byteIds[byte]);
  }
  return symbols;
}

/// Merges the pair of the lowest rank, the leftmost one on ties, until none is
/// left: a list of symbols and a heap of candidate pairs, O(n log n).
void Tokenizer::encodePiece(std::u32string_view piece,
                            std::vector<int32_t> &ids) const {
  if (ignoreMerges) {
    auto it = pieces.find(encodeUtf8(piece));
    if (it != pieces.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  struct Symbol {
    int32_t id;
    int64_t previous, next; // -1: none; id -1: merged away
  };
  std::vector<Symbol> symbols;
  for (int32_t id : symbolsOf(piece)) {
    int64_t at = static_cast<int64_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  }
  if (symbols.empty())
    return;
  symbols.back().next = -1;
  struct Candidate {
    uint32_t rank;
    int64_t at;
    int32_t left, right, result;
    bool operator>(const Candidate &other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  auto consider = [&](int64_t at) {
    if (at < 0 || symbols[at].next < 0)
      return;
    int32_t left = symbols[at].id, right = symbols[symbols[at].next].id;
    auto it = merges.find(static_cast<uint64_t>(left) << 32 |
                          static_cast<uint32_t>(right));
    if (it != merges.end())
      heap.push({it->second.rank, at, left, right, it->second.result});
  };
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    consider(static_cast<int64_t>(i));
  while (!heap.empty()) {
    Candidate best = heap.top();
    heap.pop();
    Symbol &left = symbols[best.at];
    // The pair may be gone since it was pushed.
    if (left.id != best.left || left.next < 0 ||
        symbols[left.next].id != best.right)
      continue;
    Symbol &right = symbols[left.next];
    left.id = best.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0)
      symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (int64_t at = 0; at >= 0; at = symbols[at].next)
    ids.push_back(symbols[at].id);
}

void Tokenizer::encodePlain(std::u32string_view text, bool isFirst,
                            std::vector<int32_t> &ids) const {
  if (text.empty())
    return;
  std::vector<std::u32string> current = {std::u32string(text)}, next;
  for (const Step &step : steps) {
    next.clear();
    for (std::u32string &piece : current) {
      if (step.marksSpaces)
        std::replace(piece.begin(), piece.end(), U' ', wordMark);
      bool leads = step.leads == Step::Lead::All ||
                   (step.leads == Step::Lead::First && isFirst &&
                    &piece == &current.front());
      if (leads && piece[0] != step.lead)
        piece.insert(piece.begin(), step.lead);
      for (std::u32string_view part : splitText(piece, step.pattern))
        next.emplace_back(part);
    }
    std::swap(current, next);
  }
  for (const std::u32string &piece : current)
    encodePiece(piece, ids);
}

template <typename Plain>
void Tokenizer::cutAtTokens(
    std::u32string_view text,
    const std::unordered_map<char32_t, std::vector<AddedToken>> &table,
    std::vector<int32_t> &ids, Plain plain) const {
  size_t start = 0; // of what is not yet encoded
  for (size_t at = 0; at < text.size();) {
    const AddedToken *found = nullptr;
    auto bucket = table.find(text[at]);
    if (bucket != table.end())
      for (const AddedToken &token : bucket->second)
        if (text.substr(at, token.content.size()) == token.content) {
          found = &token;
          break;
        }
    if (!found) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + found->content.size();
    while (found->lstrip && begin > start && isSpace(text[begin - 1]))
      --begin;
    while (found->rstrip && end < text.size() && isSpace(text[end]))
      ++end;
    plain(text.substr(start, begin - start), start == 0);
    ids.push_back(found->id);
    start = at = end;
  }
  plain(text.substr(start), start == 0);
}

Expected<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                                 bool addSpecial) const {
  std::optional<std::u32string> codePoints = decodeUtf8(text);
  if (!codePoints)
    return Error("text", "is not valid UTF-8", "text in UTF-8");
  std::vector<int32_t> ids;
  if (addSpecial)
    ids = before;
  cutAtTokens(*codePoints, verbatim, ids,
              [&](std::u32string_view between, bool isFirst) {
                cutAtTokens(normalize(between), normalized, ids,
                            [&](std::u32string_view plain, bool begins) {
                              encodePlain(plain, isFirst && begins, ids);
                            });
              });
  if (addSpecial)
    ids.insert(ids.end(), after.begin(), after.end());
  if (std::find(ids.begin(), ids.end(), -1) != ids.end())
    return Error(where, "the vocabulary lacks a token for a byte of the text",
                 "a vocabulary with all 256 bytes");
  return ids;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

Expected<const Tokenizer::Token *> Tokenizer::tokenOf(int32_t id) const {
  if (id < 0 || id >= idLimit() || !tokens[static_cast<size_t>(id)].known)
    return Error("token " + std::to_string(id), "is not in the tokenizer",
                 "ids below " + std::to_string(idLimit()));
  return &tokens[static_cast<size_t>(id)];
}

Expected<std::string> Tokenizer::decodeBytes(const std::vector<int32_t> &ids,
                                             bool skipSpecial) const {
  std::string bytes;
  for (int32_t id : ids) {
    NEST_RT_ASSIGN(const Token *token, tokenOf(id));
    if (!skipSpecial || !token->special)
      bytes += token->bytes;
  }
  return bytes;
}

Expected<std::string> Tokenizer::decode(const std::vector<int32_t> &ids,
                                        bool skipSpecial) const {
  if (!byteFallback) {
    NEST_RT_ASSIGN(std::string bytes, decodeBytes(ids, skipSpecial));
    return lossyUtf8(bytes);
  }
  std::string text, run; // a run of single bytes is text as a whole or not
  auto endRun = [&] {
    if (decodeUtf8(run))
      text += run;
    else
      for (size_t i = 0; i < run.size(); ++i)
        appendUtf8(text, 0xfffd);
    run.clear();
  };
  for (int32_t id : ids) {
    NEST_RT_ASSIGN(const Token *token, tokenOf(id));
    if (skipSpecial && token->special)
      continue;
    if (!token->isByte)
      endRun();
    (token->isByte ? run : text) += token->bytes;
  }
  endRun();
  size_t start = 0;
  while (start < strips && start < text.size() && text[start] == ' ')
    ++start;
  return text.substr(start);
}
