//===- TokenizerSplit.cpp - how a text is cut before BPE --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Tokenizer.h"
#include "lowering/runtime/Unicode.h"

#include <algorithm>

using namespace nestc::rt;

// The patterns are those of the models' files, matched by hand. All three try,
// in this order: a contraction; letters; numbers; other signs; white space.

static constexpr const char *gpt2Text =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
static constexpr const char *llama3Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
static constexpr const char *qwen2Text =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Length of 's 't 're 've 'm 'll 'd at `at`, or 0.
static size_t contraction(std::u32string_view text, size_t at, bool anyCase) {
  if (text[at] != '\'' || at + 1 >= text.size())
    return 0;
  auto fold = [&](size_t i) -> char32_t {
    char32_t c = i < text.size() ? text[i] : 0;
    if (anyCase && c >= 'A' && c <= 'Z')
      return c + 32;
    if (anyCase && c == 0x17f) // the long s folds to s
      return 's';
    return c;
  };
  char32_t a = fold(at + 1), b = fold(at + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd')
    return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') ||
      (a == 'l' && b == 'l'))
    return 3;
  return 0;
}

/// End of the piece that begins at `at`.
static size_t pieceEnd(std::u32string_view text, size_t at,
                       SplitPattern pattern) {
  size_t size = text.size();
  bool gpt2 = pattern == SplitPattern::Gpt2;
  auto isSign = [](char32_t c) {
    return !isSpace(c) && !isLetter(c) && !isNumber(c);
  };
  auto run = [&](size_t from, auto &&is) {
    while (from < size && is(text[from]))
      ++from;
    return from;
  };
  auto isNewline = [](char32_t c) { return c == '\r' || c == '\n'; };

  if (size_t length = contraction(text, at, !gpt2))
    return at + length;

  char32_t c = text[at];
  bool hasNext = at + 1 < size;
  char32_t next = hasNext ? text[at + 1] : 0;
  // Letters, after a space, or after any one sign in the newer patterns.
  if (isLetter(c))
    return run(at, isLetter);
  bool lead = gpt2 ? c == ' ' : !isNewline(c) && !isNumber(c);
  if (lead && hasNext && isLetter(next))
    return run(at + 1, isLetter);
  if (gpt2) {
    if (isNumber(c))
      return run(at, isNumber);
    if (c == ' ' && hasNext && isNumber(next))
      return run(at + 1, isNumber);
  } else if (isNumber(c)) {
    size_t limit = pattern == SplitPattern::Llama3 ? 3 : 1;
    return std::min(run(at, isNumber), at + limit);
  }
  if (isSign(c) || (c == ' ' && hasNext && isSign(next))) {
    size_t end = run(at + (c == ' ' ? 1 : 0), isSign);
    return gpt2 ? end : run(end, isNewline);
  }
  // White space is left. The newer patterns end it behind its last newline.
  size_t end = run(at, isSpace);
  if (!gpt2)
    for (size_t i = end; i > at; --i)
      if (isNewline(text[i - 1]))
        return i;
  // \s+(?!\S): the last one goes to the word behind it.
  if (end < size && end - at > 1)
    return end - 1;
  return end;
}

std::optional<SplitPattern>
nestc::rt::findSplitPattern(const std::string &regex) {
  for (const auto &[pattern, text] :
       {std::pair(SplitPattern::Gpt2, gpt2Text),
        std::pair(SplitPattern::Llama3, llama3Text),
        std::pair(SplitPattern::Qwen2, qwen2Text)})
    if (regex == text)
      return pattern;
  return std::nullopt;
}

std::vector<std::u32string_view> nestc::rt::splitText(std::u32string_view text,
                                                      SplitPattern pattern) {
  std::vector<std::u32string_view> pieces;
  if (pattern == SplitPattern::None) {
    if (!text.empty())
      pieces.push_back(text);
    return pieces;
  }
  if (pattern == SplitPattern::Spaces || pattern == SplitPattern::Words) {
    // A piece ends behind every space, or before every mark of a word.
    bool ends = pattern == SplitPattern::Spaces;
    size_t start = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      size_t cut = ends ? (text[at] == ' ' ? at + 1 : 0)
                        : (text[at] == wordMark ? at : 0);
      if (cut > start) {
        pieces.push_back(text.substr(start, cut - start));
        start = cut;
      }
    }
    if (start < text.size())
      pieces.push_back(text.substr(start));
    return pieces;
  }
  for (size_t at = 0; at < text.size();) {
    size_t end = pieceEnd(text, at, pattern);
    pieces.push_back(text.substr(at, end - at));
    at = end;
  }
  return pieces;
}
