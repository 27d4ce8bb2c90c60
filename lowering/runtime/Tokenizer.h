//===- Tokenizer.h - byte-pair encoding -------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads the tokenizer.json of Hugging Face's tokenizers when its model is a BPE
// of one of two kinds. What is supported of each part:
//
//                   byte-level             with byte fallback (Gemma, Llama 2)
//   normalizer      none, NFC              none, NFC, Prepend, Replace of a
//   string pre_tokenizer   ByteLevel; Split by    none; Split by " ", merged
//   with what is
//                   the patterns of GPT-2, before; Metaspace of U+2581
//                   Llama 3 (also GPT-4,
//                   OLMo 2) and Qwen 2
//   decoder         ByteLevel              Sequence of Replace of strings,
//                                          ByteFallback, Fuse, Strip at the
//                                          start
//
//   Sequences of these; model BPE with merges as strings or pairs and
//   ignore_merges, no dropout, prefixes or suffixes; post_processor none,
//   ByteLevel, TemplateProcessing; added_tokens all but single_word.
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
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace rt {

/// How a text is cut before BPE: by a model's pattern, behind every space, or
/// before every mark of a word.
enum class SplitPattern : uint8_t { None, Gpt2, Llama3, Qwen2, Spaces, Words };

/// What stands for a space where a vocabulary has byte fallback: U+2581.
constexpr char32_t wordMark = 0x2581;

/// The pattern that a regular expression of a file is.
std::optional<SplitPattern> findSplitPattern(const std::string &regex);

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

  /// The bytes of the tokens, as they are within a text; not necessarily whole
  /// UTF-8 sequences. `skipSpecial` leaves special tokens out. An unknown id is
  /// an error.
  Expected<std::string> decodeBytes(const std::vector<int32_t> &ids,
                                    bool skipSpecial = false) const;
  /// The text of the tokens, with invalid parts replaced by U+FFFD (one for
  /// each byte where there is byte fallback), and without a space that encode()
  /// puts before a text.
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
  /// A stage of pre-tokenization. `lead` is put before a piece that does not
  /// begin with it: before none, all, or the one at the start of the text.
  struct Step {
    enum class Lead : uint8_t { None, All, First };
    SplitPattern pattern = SplitPattern::None;
    Lead leads = Lead::None;
    char32_t lead = ' ';
    bool marksSpaces = false; ///< spaces become word marks
  };
  /// A stage of normalization: NFC, or what is put before a text that is not
  /// empty, or a string that is replaced by another.
  struct Normal {
    enum class Kind : uint8_t { Nfc, Prepend, Replace } kind;
    std::u32string from, to;
  };
  struct Token {
    std::string bytes;
    bool known = false, special = false;
    bool isByte = false; ///< stands for one byte that the vocabulary lacks
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
  Status readMetaspace(const JsonReader &reader);
  Status readFallbackDecoder(const JsonReader &reader);
  Status readPostProcessor(const JsonReader &reader);
  Status setToken(const JsonReader &reader, const std::string &content,
                  int64_t id);

  std::u32string normalize(std::u32string_view text) const;
  /// What BPE starts from: bytes, or characters.
  std::vector<int32_t> symbolsOf(std::u32string_view piece) const;
  void encodePiece(std::u32string_view piece, std::vector<int32_t> &ids) const;
  void encodePlain(std::u32string_view text, bool isFirst,
                   std::vector<int32_t> &ids) const;
  Expected<const Token *> tokenOf(int32_t id) const;
  /// Cuts at added tokens; `plain` gets what lies between, and whether it is at
  /// the start of `text`.
  template <typename Plain>
  void cutAtTokens(
      std::u32string_view text,
      const std::unordered_map<char32_t, std::vector<AddedToken>> &table,
      std::vector<int32_t> &ids, Plain plain) const;

  std::string where;
  bool byteFallback = false; // else byte-level
  bool ignoreMerges = false;
  std::vector<Normal> normals;
  std::vector<Step> steps;
  std::vector<Token> tokens;                       // by id
  std::array<int32_t, 256> byteIds = {};           // -1: no token for the byte
  std::unordered_map<std::string, int32_t> pieces; // what BPE makes, to id
  size_t strips = 0; // spaces that decode() takes from the start
  std::unordered_map<uint64_t, Merge> merges;
  // Added tokens by their first code point, the longest first. Verbatim ones
  // are sought before normalization, the others after it.
  std::unordered_map<char32_t, std::vector<AddedToken>> verbatim, normalized;
  std::vector<int32_t> before, after; // of the post-processor
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_TOKENIZER_H
