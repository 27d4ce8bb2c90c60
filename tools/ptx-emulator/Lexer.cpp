//===- Lexer.cpp - words of a PTX text ------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Lexer.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

using namespace nestc::ptx;

static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '$' || c == '%';
}
static bool isName(char c) { return isNameStart(c) || isDigit(c); }
static int hexValue(char c) {
  if (isDigit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

static Token bad(unsigned line, std::string_view what) {
  Token token;
  token.kind = Token::Kind::Bad;
  token.line = line;
  token.text = what;
  return token;
}

/// Skips blanks and comments; false when a comment does not end.
bool Lexer::skipBlank(Token &problem) {
  while (!rest.empty()) {
    char c = rest.front();
    if (c == '\n')
      ++line;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' ||
        c == '\v') {
      rest.remove_prefix(1);
    } else if (rest.substr(0, 2) == "//") {
      size_t end = rest.find('\n');
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
    } else if (rest.substr(0, 2) == "/*") {
      size_t end = rest.find("*/", 2);
      if (end == std::string_view::npos) {
        problem = bad(line, "a comment that does not end");
        return false;
      }
      for (char d : rest.substr(0, end))
        line += d == '\n';
      rest.remove_prefix(end + 2);
    } else {
      return true;
    }
  }
  return true;
}

Token Lexer::number() {
  Token token;
  token.line = line;
  std::string_view text = rest;
  auto finish = [&](size_t length) {
    token.text = text.substr(0, length);
    rest.remove_prefix(length);
    return token;
  };
  auto hexDigits = [&](size_t from, size_t most) {
    size_t i = from;
    token.bits = 0;
    while (i < text.size() && hexValue(text[i]) >= 0 && i - from < most)
      token.bits = token.bits << 4 | hexValue(text[i++]);
    return i;
  };
  if (text.size() > 1 && text[0] == '0') {
    char kind = text[1];
    if (kind == 'f' || kind == 'F' || kind == 'd' || kind == 'D') {
      size_t digits = kind == 'f' || kind == 'F' ? 8 : 16;
      size_t end = hexDigits(2, digits);
      if (end != 2 + digits || (end < text.size() && isName(text[end])))
        return bad(line, digits == 8 ? "0f needs 8 hexadecimal digits"
                                     : "0d needs 16 hexadecimal digits");
      token.kind = digits == 8 ? Token::Kind::Float32 : Token::Kind::Float64;
      return finish(end);
    }
    unsigned base = kind == 'x' || kind == 'X'   ? 16
                    : kind == 'b' || kind == 'B' ? 2
                    : isDigit(kind)              ? 8
                                                 : 0;
    // A leading zero is octal only when no decimal follows ("0123.5" is rare
    // enough to be refused).
    if (base) {
      size_t start = base == 8 ? 1 : 2, i = start;
      uint64_t value = 0;
      for (; i < text.size(); ++i) {
        int digit = hexValue(text[i]);
        if (digit < 0 || static_cast<unsigned>(digit) >= base)
          break;
        if (value > (~uint64_t(0) - digit) / base)
          return bad(line, "an integer above 64 bits");
        value = value * base + digit;
      }
      if (i == start)
        return bad(line, "a number without digits");
      token.kind = Token::Kind::Int;
      token.bits = value;
      if (i < text.size() && text[i] == 'U') {
        token.isUnsigned = true;
        ++i;
      }
      token.isUnsigned |= value >> 63;
      if (i < text.size() && isName(text[i]))
        return bad(line, "a number with letters after it");
      return finish(i);
    }
  }
  size_t i = 0;
  while (i < text.size() && isDigit(text[i]))
    ++i;
  bool isReal = false;
  if (i + 1 < text.size() && text[i] == '.' && isDigit(text[i + 1])) {
    isReal = true;
    ++i;
    while (i < text.size() && isDigit(text[i]))
      ++i;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    size_t j = i + 1;
    if (j < text.size() && (text[j] == '+' || text[j] == '-'))
      ++j;
    if (j < text.size() && isDigit(text[j])) {
      isReal = true;
      i = j;
      while (i < text.size() && isDigit(text[i]))
        ++i;
    }
  }
  if (isReal) {
    double value = std::strtod(std::string(text.substr(0, i)).c_str(), nullptr);
    if (std::isinf(value))
      return bad(line, "a float above all that there are");
    std::memcpy(&token.bits, &value, 8);
    token.kind = Token::Kind::Float64;
  } else {
    uint64_t value = 0;
    for (char c : text.substr(0, i)) {
      unsigned digit = c - '0';
      if (value > (~uint64_t(0) - digit) / 10)
        return bad(line, "an integer above 64 bits");
      value = value * 10 + digit;
    }
    token.kind = Token::Kind::Int;
    token.bits = value;
    token.isUnsigned = value >> 63;
    if (i < text.size() && text[i] == 'U') {
      token.isUnsigned = true;
      ++i;
    }
  }
  if (i < text.size() && isName(text[i]))
    return bad(line, "a number with letters after it");
  return finish(i);
}

Token Lexer::next() {
  Token token;
  if (!skipBlank(token))
    return token;
  token.line = line;
  if (rest.empty())
    return token;
  char c = rest.front();
  auto take = [&](Token::Kind kind, size_t from, size_t end) {
    token.kind = kind;
    token.text = rest.substr(from, end - from);
    rest.remove_prefix(end);
    return token;
  };
  if (isDigit(c))
    return number();
  if (isNameStart(c)) {
    size_t i = 1;
    while (i < rest.size() && isName(rest[i]))
      ++i;
    return take(Token::Kind::Identifier, 0, i);
  }
  if (c == '.' && rest.size() > 1 && isName(rest[1])) {
    size_t i = 1;
    while (i < rest.size() && (isName(rest[i]) ||
                               (rest[i] == ':' && i + 2 < rest.size() &&
                                rest[i + 1] == ':' && isName(rest[i + 2])) ||
                               (rest[i] == ':' && rest[i - 1] == ':' && i > 1)))
      ++i;
    return take(Token::Kind::Dotted, 1, i);
  }
  if (c == '"') {
    size_t i = 1;
    while (i < rest.size() && rest[i] != '"' && rest[i] != '\n')
      i += rest[i] == '\\' && i + 1 < rest.size() ? 2 : 1;
    if (i >= rest.size() || rest[i] != '"')
      return bad(line, "a string that does not end");
    token = take(Token::Kind::String, 1, i);
    rest.remove_prefix(1);
    return token;
  }
  for (std::string_view pair : {"<<", ">>", "==", "!=", "<=", ">=", "&&", "||"})
    if (rest.substr(0, 2) == pair)
      return take(Token::Kind::Punctuation, 0, 2);
  if (std::strchr("{}()[]<>,;:=@!|+-*/%&^~?.", c) && c)
    return take(Token::Kind::Punctuation, 0, 1);
  return bad(line, "a character that PTX does not have");
}
