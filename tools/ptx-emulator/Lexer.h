//===- Lexer.h - words of a PTX text ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_LEXER_H
#define NESTC_TOOLS_PTX_EMULATOR_LEXER_H

#include <cstdint>
#include <string_view>

namespace nestc {
namespace ptx {

struct Token {
  enum class Kind : uint8_t {
    End,
    Identifier, ///< letters, digits, _ $ %
    Dotted,     ///< .b32, .L1::evict_last; text without the first dot
    Int,
    Float32, ///< 0f3f800000
    Float64, ///< 0d... or a decimal
    String,
    Punctuation, ///< one character, or << >>
    Bad          ///< text says what is wrong
  };
  Kind kind = Kind::End;
  unsigned line = 1;
  std::string_view text;
  uint64_t bits = 0;
  bool isUnsigned = false;

  bool is(std::string_view punctuation) const {
    return kind == Kind::Punctuation && text == punctuation;
  }
};

/// Splits text into tokens; comments and white space fall away.
class Lexer {
public:
  explicit Lexer(std::string_view text) : rest(text) {}
  Token next();

private:
  bool skipBlank(Token &bad);
  Token number();

  std::string_view rest;
  unsigned line = 1;
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_LEXER_H
