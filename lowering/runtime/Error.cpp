//===- Error.cpp - errors as values -----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Error.h"

using namespace nestc::rt;

/// Names come from untrusted files: one line stays one line.
static void appendEscaped(std::string &out, const std::string &text) {
  static const char digits[] = "0123456789abcdef";
  for (unsigned char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      out += "\\x";
      out += digits[c >> 4];
      out += digits[c & 15];
    } else {
      out += static_cast<char>(c);
    }
  }
}

std::string Error::str() const {
  std::string out;
  if (!place.empty()) {
    appendEscaped(out, place);
    out += ": ";
  }
  appendEscaped(out, message);
  if (!legal.empty()) {
    out += "; ";
    appendEscaped(out, legal);
  }
  return out;
}
