//===- Unicode.cpp - code points, categories, NFC ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Unicode.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

using namespace nestc::rt;

namespace {
struct Range {
  char32_t first, last;
};
struct ClassRange {
  char32_t first, last;
  uint8_t value;
};
struct Decomposition {
  char32_t codePoint, first, second; // second is 0 for a single one
  bool composes;
};
} // namespace

#include "lowering/runtime/UnicodeTables.inc"

//===----------------------------------------------------------------------===//
// UTF-8
//===----------------------------------------------------------------------===//

/// Decodes one code point at `at`. Returns the length, or 0 when invalid, in
/// which case `bad` is the length of the maximal invalid part.
static unsigned decodeOne(std::string_view text, size_t at, char32_t &result,
                          unsigned &bad) {
  auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  unsigned first = byte(0);
  bad = 1;
  if (first < 0x80) {
    result = first;
    return 1;
  }
  unsigned length = first >= 0xc2 && first < 0xe0   ? 2
                    : first >= 0xe0 && first < 0xf0 ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4
                                                    : 0;
  if (!length)
    return 0;
  // The second byte has a narrower range after some first bytes: no overlong
  // forms, no surrogates, nothing above U+10FFFF.
  unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  char32_t value = first & (0xff >> (length + 1));
  for (unsigned i = 1; i < length; ++i) {
    unsigned next = byte(i);
    if (next < low || next > high) {
      bad = i;
      return 0;
    }
    value = value << 6 | (next & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  result = value;
  return length;
}

std::optional<std::u32string> nestc::rt::decodeUtf8(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    char32_t codePoint;
    unsigned bad;
    unsigned length = decodeOne(text, at, codePoint, bad);
    if (!length)
      return std::nullopt;
    out.push_back(codePoint);
    at += length;
  }
  return out;
}

void nestc::rt::appendUtf8(std::string &out, char32_t c) {
  auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

std::string nestc::rt::encodeUtf8(std::u32string_view text) {
  std::string out;
  for (char32_t c : text)
    appendUtf8(out, c);
  return out;
}

std::string nestc::rt::lossyUtf8(std::string_view bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size();) {
    char32_t codePoint;
    unsigned bad;
    if (unsigned length = decodeOne(bytes, at, codePoint, bad)) {
      out.append(bytes.substr(at, length));
      at += length;
    } else {
      out += "\xef\xbf\xbd";
      at += bad;
    }
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Categories
//===----------------------------------------------------------------------===//

template <typename Table>
static const auto *findRange(const Table &table, char32_t c) {
  auto it = std::upper_bound(
      std::begin(table), std::end(table), c,
      [](char32_t value, const auto &range) { return value < range.first; });
  if (it == std::begin(table) || c > std::prev(it)->last)
    return static_cast<decltype(&*it)>(nullptr);
  return &*std::prev(it);
}

bool nestc::rt::isLetter(char32_t c) {
  if (c < 0x80)
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return findRange(letters, c);
}

bool nestc::rt::isNumber(char32_t c) {
  if (c < 0x80)
    return c >= '0' && c <= '9';
  return findRange(numbers, c);
}

bool nestc::rt::isSpace(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

static unsigned combiningClass(char32_t c) {
  const ClassRange *range =
      c < 0x300 ? nullptr : findRange(combiningClasses, c);
  return range ? range->value : 0;
}

// Hangul syllables are composed by arithmetic.
static constexpr char32_t hangulS = 0xac00, hangulL = 0x1100, hangulV = 0x1161,
                          hangulT = 0x11a7;
static constexpr unsigned countL = 19, countV = 21, countT = 28;
static constexpr unsigned countS = countL * countV * countT;

static void decompose(char32_t c, std::u32string &out) {
  if (c < 0xc0) {
    out.push_back(c);
    return;
  }
  if (c >= hangulS && c < hangulS + countS) {
    unsigned index = c - hangulS;
    out.push_back(hangulL + index / (countV * countT));
    out.push_back(hangulV + index / countT % countV);
    if (index % countT)
      out.push_back(hangulT + index % countT);
    return;
  }
  const auto *it = std::lower_bound(
      std::begin(decompositions), std::end(decompositions), c,
      [](const Decomposition &row, char32_t v) { return row.codePoint < v; });
  if (it == std::end(decompositions) || it->codePoint != c) {
    out.push_back(c);
    return;
  }
  decompose(it->first, out);
  if (it->second)
    decompose(it->second, out);
}

static char32_t composePair(char32_t a, char32_t b) {
  if (a >= hangulL && a < hangulL + countL && b >= hangulV &&
      b < hangulV + countV)
    return hangulS + ((a - hangulL) * countV + (b - hangulV)) * countT;
  if (a >= hangulS && a < hangulS + countS && (a - hangulS) % countT == 0 &&
      b > hangulT && b < hangulT + countT)
    return a + (b - hangulT);
  static const auto *pairs = [] {
    auto *map = new std::unordered_map<uint64_t, char32_t>;
    for (const Decomposition &row : decompositions)
      if (row.composes)
        map->emplace(static_cast<uint64_t>(row.first) << 32 | row.second,
                     row.codePoint);
    return map;
  }();
  auto it = pairs->find(static_cast<uint64_t>(a) << 32 | b);
  return it == pairs->end() ? 0 : it->second;
}

std::u32string nestc::rt::normalizeNfc(std::u32string_view text) {
  // Below U+0300 nothing decomposes that would not compose again.
  if (std::all_of(text.begin(), text.end(),
                  [](char32_t c) { return c < 0x300; }))
    return std::u32string(text);
  std::u32string all;
  for (char32_t c : text)
    decompose(c, all);
  // Canonical order: runs of combining marks, stably by class.
  for (size_t i = 0; i < all.size();) {
    if (!combiningClass(all[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < all.size() && combiningClass(all[end]))
      ++end;
    if (end - i > 1) {
      std::u32string sorted;
      for (unsigned value = 1; value < 256 && sorted.size() < end - i; ++value)
        for (size_t j = i; j < end; ++j)
          if (combiningClass(all[j]) == value)
            sorted.push_back(all[j]);
      std::copy(sorted.begin(), sorted.end(), all.begin() + i);
    }
    i = end;
  }
  // Composition: each mark with the last starter, unless something of the same
  // or a higher class, or another starter, stands between them.
  std::u32string out;
  size_t starter = std::u32string::npos;
  unsigned lastClass = 0;
  for (char32_t c : all) {
    unsigned klass = combiningClass(c);
    if (starter != std::u32string::npos) {
      bool adjacent = out.size() == starter + 1;
      if (adjacent || (lastClass != 0 && lastClass < klass)) {
        if (char32_t composed = composePair(out[starter], c)) {
          out[starter] = composed;
          continue;
        }
      }
    }
    if (klass == 0)
      starter = out.size();
    lastClass = klass;
    out.push_back(c);
  }
  return out;
}
