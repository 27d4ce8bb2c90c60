//===- Unicode.h - code points, categories, NFC -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_UNICODE_H
#define NESTC_LOWERING_RUNTIME_UNICODE_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nestc {
namespace rt {

/// Strict UTF-8 to code points; nothing when `text` is not valid UTF-8.
std::optional<std::u32string> decodeUtf8(std::string_view text);
void appendUtf8(std::string &out, char32_t codePoint);
std::string encodeUtf8(std::u32string_view text);

/// Valid UTF-8: every maximal invalid part becomes U+FFFD.
std::string lossyUtf8(std::string_view bytes);

/// General categories L* and N*, and the property White_Space (`\s`).
bool isLetter(char32_t codePoint);
bool isNumber(char32_t codePoint);
bool isSpace(char32_t codePoint);

/// Normalization form C.
std::u32string normalizeNfc(std::u32string_view text);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_UNICODE_H
