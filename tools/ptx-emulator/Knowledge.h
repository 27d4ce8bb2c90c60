//===- Knowledge.h - what happened before -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A vector clock in the form that Races.h needs: as a rule the lanes of a warp
// are known of alike.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_KNOWLEDGE_H
#define NESTC_TOOLS_PTX_EMULATOR_KNOWLEDGE_H

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace nestc {
namespace ptx {

/// Which accesses happened before whoever holds this: up to which clock, of all
/// lanes of a warp and of single threads. Clocks are those of one epoch of a
/// Races; one that is kept over the end of its epoch reads as empty.
class Knowledge {
public:
  void clear() {
    all.fill(0);
    some.clear();
  }
  /// Takes what the other holds as well. Of different epochs, the later one is
  /// all there is to know.
  void add(const Knowledge &other);

private:
  friend class Races;

  uint32_t of(unsigned warp, unsigned lane) const;
  void raise(unsigned warp, unsigned lane, uint32_t clock);
  void join(const Knowledge &other);

  uint32_t epoch = 0;
  std::array<uint32_t, 32> all{};
  std::vector<std::pair<uint16_t, uint32_t>> some; ///< thread, clock; sorted
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_KNOWLEDGE_H
