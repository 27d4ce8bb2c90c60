//===- Tokenizer.h - byte-level BPE -----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads the tokenizer.json of Hugging Face's tokenizers when its model is a
// byte-level BPE. What is supported of each part:
//
//   normalizer      none, NFC, Sequence of these
//   pre_tokenizer   ByteLevel; Split by the patterns of GPT-2, Llama 3 (also
//                   GPT-4, OLMo 2) and Qwen 2; Sequence of these
//   model           BPE, merges as strings or pairs, ignore_merges; no dropout,
//                   prefixes, suffixes or byte fallback
//   post_processor  none, ByteLevel, TemplateProcessing, Sequence of these
//   decoder         ByteLevel
//   added_tokens    all but single_word
//
// Anything else is an error that names it.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_TOKENIZER_H
#define NESTC_LOWERING_RUNTIME_TOKENIZER_H

#include "lowering/runtime/Error.h"
#include "lowering/runtime/Json.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace rt {

/// How a text is cut before BPE.
enum class SplitPattern : uint8_t { None, Gpt2, Llama3, Qwen2 };

/// Cuts a text; the pieces in order are the text. Exposed for tests.
std::vector<std::u32string_view> splitText(std::u32string_view text,
                                           SplitPattern pattern);

class Tokenizer {
public:
  /// Reads and checks a tokenizer.json.
  static Expected<Tokenizer> open(const std::string &path);
  static Expected<Tokenizer> parse(std::string_view text,
                                   const std::string &place);

  /// The ids of a UTF-8 text. Added tokens that stand in the text are
  /// recognised. `addSpecial` puts what the post-processor adds around it.
  Expected<std::vector<int32_t>> encode(std::string_view text,
                                        bool addSpecial = true) const;

  /// The bytes of the tokens; not necessarily whole UTF-8 sequences.
  /// `skipSpecial` leaves special tokens out. An unknown id is an error.
  Expected<std::string> decodeBytes(const std::vector<int32_t> &ids,
                                    bool skipSpecial = false) const;
  /// decodeBytes() with invalid parts replaced by U+FFFD.
  Expected<std::string> decode(const std::vector<int32_t> &ids,
                               bool skipSpecial = false) const;

  /// One more than the largest id.
  int64_t idLimit() const { return static_cast<int64_t>(tokens.size()); }

private:
  struct AddedToken {
    std::u32string content;
    int32_t id = 0;
    bool lstrip = false, rstrip = false;
  };
  /// A stage of pre-tokenization.
  struct Step {
    SplitPattern pattern = SplitPattern::None;
    bool addPrefixSpace = false;
  };
  struct Token {
    std::string bytes;
    bool known = false, special = false;
  };
  struct Merge {
    uint32_t rank;
    int32_t result;
  };

  Status read(const JsonReader &reader);
  Status readModel(const JsonReader &model);
  Status readAddedTokens(const JsonReader &list);
  Status readNormalizer(const JsonReader &reader);
  Status readPreTokenizer(const JsonReader &reader, bool &sawByteLevel);
  Status readPostProcessor(const JsonReader &reader);
  Status setToken(const JsonReader &reader, const std::string &content,
                  int64_t id);

  void encodePiece(std::u32string_view piece, std::vector<int32_t> &ids) const;
  void encodePlain(std::u32string_view text, std::vector<int32_t> &ids) const;
  /// Cuts at added tokens; `plain` gets what lies between.
  template <typename Plain>
  void cutAtTokens(
      std::u32string_view text,
      const std::unordered_map<char32_t, std::vector<AddedToken>> &table,
      std::vector<int32_t> &ids, Plain plain) const;

  std::string where;
  bool nfc = false;
  bool ignoreMerges = false;
  std::vector<Step> steps;
  std::vector<Token> tokens;                       // by id
  std::array<int32_t, 256> byteIds = {};           // -1: no token for the byte
  std::unordered_map<std::string, int32_t> pieces; // bytes to id
  std::unordered_map<uint64_t, Merge> merges;
  // Added tokens by their first code point, the longest first. Verbatim ones
  // are sought before normalization, the others after it.
  std::unordered_map<char32_t, std::vector<AddedToken>> verbatim, normalized;
  std::vector<int32_t> before, after; // of the post-processor
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_TOKENIZER_H
