//===- Order.cpp - the order in which lanes run to meet again -------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Order.h"

#include <algorithm>

using namespace nestc::ptx;

namespace {

/// Basic blocks, and the strongly connected components of parts of them.
class Order {
public:
  explicit Order(const Program &program);

  /// Appends the blocks of `part`, which are entered at the first.
  void place(std::vector<uint32_t> part, unsigned depth);

  std::vector<uint32_t> starts; ///< first operation of each block
  std::vector<uint32_t> placed;

private:
  std::vector<std::vector<uint32_t>>
  components(const std::vector<uint32_t> &part);

  struct Visit {
    uint32_t index = 0, low = 0;
    bool onStack = false;
  };

  std::vector<std::vector<uint32_t>> successors;
  std::vector<Visit> visits;
  /// Which part a block is in; edges out of the part at hand do not count.
  std::vector<uint32_t> partOf;
  uint32_t parts = 0;
};

} // namespace

/// Deeper loops than this are placed as they stand.
static constexpr unsigned maxDepth = 64;

Order::Order(const Program &program) {
  const std::vector<Op> &ops = program.ops;
  std::vector<uint32_t> blockOf(ops.size());
  bool begins = true;
  for (uint32_t i = 0; i < ops.size(); ++i) {
    if (begins || ops[i].leader)
      starts.push_back(i);
    blockOf[i] = starts.size() - 1;
    begins = ops[i].kind == OpKind::Branch ||
             ops[i].kind == OpKind::BranchTable || ops[i].kind == OpKind::Exit;
  }
  successors.resize(starts.size());
  for (uint32_t b = 0; b < starts.size(); ++b) {
    uint32_t end = b + 1 < starts.size() ? starts[b + 1] : ops.size();
    const Op &last = ops[end - 1];
    std::vector<uint32_t> &out = successors[b];
    bool ends = !last.guarded &&
                (last.kind == OpKind::Branch ||
                 last.kind == OpKind::BranchTable || last.kind == OpKind::Exit);
    if (!ends && b + 1 < starts.size())
      out.push_back(b + 1);
    if (last.kind == OpKind::Branch)
      out.push_back(blockOf[last.target]);
    if (last.kind == OpKind::BranchTable)
      for (uint32_t target : program.tables[last.target])
        out.push_back(blockOf[target]);
  }
  partOf.resize(starts.size());
  visits.resize(starts.size());
}

/// Tarjan's algorithm without recursion; components in topological order, each
/// with the block by which it was reached first.
std::vector<std::vector<uint32_t>>
Order::components(const std::vector<uint32_t> &part) {
  uint32_t mine = ++parts;
  for (uint32_t b : part) {
    partOf[b] = mine;
    visits[b] = Visit();
  }
  std::vector<std::vector<uint32_t>> found;
  std::vector<uint32_t> stack;
  std::vector<std::pair<uint32_t, size_t>> path;
  uint32_t count = 0;
  for (uint32_t root : part) {
    if (visits[root].index)
      continue;
    path.push_back({root, 0});
    while (!path.empty()) {
      auto &[b, next] = path.back();
      Visit &visit = visits[b];
      if (next == 0) {
        visit.index = visit.low = ++count;
        visit.onStack = true;
        stack.push_back(b);
      }
      bool deeper = false;
      while (next < successors[b].size()) {
        uint32_t s = successors[b][next++];
        if (partOf[s] != mine)
          continue;
        if (!visits[s].index) {
          path.push_back({s, 0});
          deeper = true;
          break;
        }
        if (visits[s].onStack)
          visit.low = std::min(visit.low, visits[s].index);
      }
      if (deeper)
        continue;
      uint32_t done = b;
      path.pop_back();
      if (!path.empty())
        visits[path.back().first].low =
            std::min(visits[path.back().first].low, visits[done].low);
      if (visits[done].low != visits[done].index)
        continue;
      std::vector<uint32_t> component;
      uint32_t member;
      do {
        member = stack.back();
        stack.pop_back();
        visits[member].onStack = false;
        component.push_back(member);
      } while (member != done);
      std::reverse(component.begin(), component.end());
      found.push_back(std::move(component));
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

void Order::place(std::vector<uint32_t> part, unsigned depth) {
  if (depth > maxDepth) {
    placed.insert(placed.end(), part.begin(), part.end());
    return;
  }
  for (std::vector<uint32_t> &component : components(part)) {
    // The head of a loop comes first; without it the rest has an order again.
    placed.push_back(component.front());
    component.erase(component.begin());
    if (!component.empty())
      place(std::move(component), depth + 1);
  }
}

std::vector<uint32_t> nestc::ptx::rankOps(const Program &program) {
  Order order(program);
  std::vector<uint32_t> all(order.starts.size());
  for (uint32_t b = 0; b < all.size(); ++b)
    all[b] = b;
  order.place(std::move(all), 0);
  std::vector<uint32_t> rank(program.ops.size());
  uint32_t next = 0;
  for (uint32_t b : order.placed) {
    uint32_t end = b + 1 < order.starts.size()
                       ? order.starts[b + 1]
                       : static_cast<uint32_t>(program.ops.size());
    for (uint32_t i = order.starts[b]; i < end; ++i)
      rank[i] = next++;
  }
  return rank;
}
