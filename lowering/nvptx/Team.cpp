//===- Team.cpp - threads that share a row or a part of it ----------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// Threads of a block of small teams, and the most of a block.
static constexpr int64_t smallBlock = 128, largestBlock = 1024;
/// Values that a thread holds: what leaves registers for the rest.
static constexpr int64_t mostValues = 64;

Team Team::of(int64_t columns, int64_t aligned, int64_t streams) {
  Team team;
  team.columns = columns;
  team.width = std::gcd(aligned, int64_t(4));
  streams = std::max<int64_t>(streams, 1);
  int64_t all = llvm::divideCeil(columns, team.width);
  // Sixteen columns a thread keep memory busy.
  int64_t most =
      std::min<int64_t>(
          16, std::max<int64_t>(llvm::bit_floor<uint64_t>(mostValues / streams),
                                team.width)) /
      team.width;
  team.inRegisters = true;
  // Eight threads fetch a line of 128 bytes; fewer only of shorter items.
  if (all <= 8)
    team.size = llvm::PowerOf2Ceil(all);
  else if (all <= warpSize * most)
    team.size =
        std::max<int64_t>(8, llvm::PowerOf2Ceil(llvm::divideCeil(all, most)));
  else {
    int64_t least = llvm::alignTo(llvm::divideCeil(all, most), warpSize);
    // The fewest vectors beyond the end.
    team.size = 0;
    int64_t waste = 0;
    for (int64_t size = least; size <= std::min(2 * least, largestBlock);
         size += warpSize) {
      int64_t beyond = llvm::alignTo(all, size) - all;
      if (team.size && beyond >= waste)
        continue;
      team.size = size;
      waste = beyond;
    }
    if (!team.size) {
      team.size = largestBlock / 2;
      team.inRegisters = false;
    }
  }
  team.vectors = llvm::divideCeil(all, team.size);
  // Registers of 1024 threads are 64 for each.
  if (team.size > largestBlock / 2 &&
      team.vectors * team.width * streams > mostValues / 2)
    team.inRegisters = false;
  team.threads = team.size > warpSize ? team.size : smallBlock;
  return team;
}

/// Warps' values lie in fours, which are read at once.
static int64_t slotsOf(const Team &team) {
  return llvm::alignTo(team.size / warpSize, 4);
}

int64_t Team::sharedOf(int64_t values) const {
  return size > warpSize ? values * slotsOf(*this) * 4 : 0;
}

Columns::Columns(Device &code, const Team &team) : code(code), team(team) {
  Value thread = code.thread32(), block = code.block32();
  if (team.perBlock() == 1) {
    place = block;
  } else {
    Value size = code.i32(team.size);
    place = code.add(code.mul(block, code.i32(team.perBlock())),
                     code.div(thread, size));
    thread = code.rem(thread, size);
  }
  start = code.mul(thread, code.i32(team.width));
}

void Columns::unrolled(Visit visit, Value limit) const {
  for (int64_t j = 0; j < team.vectors; ++j) {
    Value valid;
    if (limit || (j + 1) * team.step() > team.columns) {
      Value column = code.add(start, code.i32(j * team.step()));
      valid = code.less(column, limit ? limit : code.i32(team.columns));
    }
    visit(j, valid);
  }
}

SmallVector<Value> Columns::reduce(ArrayRef<Value> values, Combine combine) {
  SmallVector<Value> results(values);
  for (int64_t mask = std::min(team.size, warpSize) / 2; mask; mask /= 2)
    for (Value &value : results)
      value = combine(value, code.shuffleXor(value, mask));
  if (team.size <= warpSize || values.empty())
    return results;
  Value area = code.shared(sharedUsed);
  int64_t slots = slotsOf(team), warps = team.size / warpSize;
  sharedUsed += slots * 4 * values.size();
  Value thread = code.thread32(), warp = code.div(thread, code.i32(warpSize));
  auto at = [&](int64_t value, Value warp) {
    return code.atShared(area, code.getF32Type(),
                         code.widen(code.add(warp, code.i32(value * slots))));
  };
  Value lane = code.rem(thread, code.i32(warpSize));
  code.when(code.equal(code.widen(lane), 0), [&] {
    for (auto [i, value] : llvm::enumerate(results))
      code.store(value, at(i, warp));
  });
  code.barrier();
  for (auto [i, value] : llvm::enumerate(results)) {
    value = {};
    for (int64_t w = 0; w < warps;) {
      int64_t width =
          std::min<int64_t>(4, llvm::bit_floor<uint64_t>(warps - w));
      Value some = LLVM::LoadOp::create(code, code.f32Vector(width),
                                        at(i, code.i32(w)), width * 4);
      for (int64_t k = 0; k < width; ++k) {
        Value one = vector::ExtractOp::create(code, some, k);
        value = value ? combine(value, one) : one;
      }
      w += width;
    }
  }
  return results;
}

Value nvptx::entry32(Device &code, const Buffer &table, Value index) {
  return code.load(code.getI32Type(),
                   code.atRow(table.pointer, index, sizeof(int32_t)));
}

Rows nvptx::rows32(Kernel::Inside &in, Value offsets, Sets sets, Value stream) {
  Device &code = in.code;
  if (!offsets)
    return {{}, code.narrow(in[stream].rows(code))};
  const Buffer &table = in[offsets];
  Value low = entry32(code, table, code.i32((*sets)[0]));
  return {low, code.sub(entry32(code, table, code.i32((*sets)[1])), low)};
}
