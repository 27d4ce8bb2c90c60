//===- Sha256.h - the hash of a package's code ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_SHA256_H
#define NESTC_LOWERING_RUNTIME_SHA256_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nestc {
namespace rt {

/// SHA-256 of FIPS 180-4, in pieces.
class Sha256 {
public:
  void update(const void *data, size_t size);
  /// 64 lower-case hexadecimal digits. Once; no update after it.
  std::string finish();

private:
  void block(const unsigned char *data);

  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t total = 0;
  unsigned char pending[64];
};

/// Of one text.
std::string sha256(std::string_view text);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_SHA256_H
