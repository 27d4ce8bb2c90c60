//===- Knowledge.cpp - what happened before -------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Knowledge.h"

#include <algorithm>

using namespace nestc::ptx;

uint32_t Knowledge::of(unsigned warp, unsigned lane) const {
  uint16_t thread = warp << 5 | lane;
  auto it = std::lower_bound(some.begin(), some.end(),
                             std::make_pair(thread, uint32_t(0)));
  uint32_t clock = all[warp];
  return it != some.end() && it->first == thread ? std::max(clock, it->second)
                                                 : clock;
}

void Knowledge::raise(unsigned warp, unsigned lane, uint32_t clock) {
  if (clock <= all[warp])
    return;
  uint16_t thread = warp << 5 | lane;
  auto it = std::lower_bound(some.begin(), some.end(),
                             std::make_pair(thread, uint32_t(0)));
  if (it != some.end() && it->first == thread)
    it->second = std::max(it->second, clock);
  else
    some.insert(it, {thread, clock});
}

void Knowledge::add(const Knowledge &other) {
  if (other.epoch < epoch)
    return;
  if (other.epoch > epoch)
    clear();
  epoch = other.epoch;
  join(other);
}

void Knowledge::join(const Knowledge &other) {
  for (unsigned w = 0; w < all.size(); ++w)
    all[w] = std::max(all[w], other.all[w]);
  for (auto [thread, clock] : other.some)
    raise(thread >> 5, thread & 31, clock);
  some.erase(std::remove_if(some.begin(), some.end(),
                            [&](const std::pair<uint16_t, uint32_t> &each) {
                              return each.second <= all[each.first >> 5];
                            }),
             some.end());
}
