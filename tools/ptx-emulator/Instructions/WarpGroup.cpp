//===- WarpGroup.cpp - products of a warpgroup ----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.15: wgmma, of four warps. Each warp has 16 of the 64 rows, and
// computes them by itself when the instruction is issued. What is asynchronous:
//  - The sums are kept apart until wgmma.wait_group; their registers are
//    undefined until then, and must not be written.
//  - Shared memory is read when the instruction is issued, and looked at again
//    by the wait. The first warp that waits for a group does so for all four,
//    once they have issued it: there the reading ends for the race detector, as
//    one of the warp's first lane, which all who wait for the group know of.
//  - Registers must be as they were at the last wgmma.fence, or at the wait
//  that
//    gave them their value.
//
// Order of accumulation: as in Matrix.cpp.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Instructions/WarpGroup.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Async.h"
#include "tools/ptx-emulator/Instructions/Elements.h"
#include "tools/ptx-emulator/MemoryAccess.h"
#include "tools/ptx-emulator/TensorMap.h"

#include <algorithm>
#include <bitset>

using namespace nestc::ptx;

static constexpr unsigned warpRows = 16;
static constexpr unsigned mostColumns = 256;
/// Of a row of A and of a column of B, in every type.
static constexpr unsigned rowBytes = 32;

namespace {
/// The shape and types: Op::imm.
struct Product {
  uint16_t n;
  Type a, b, d;
  enum Flag : uint8_t {
    NegateA = 1,
    NegateB = 2,
    TransposeA = 4,
    TransposeB = 8,
    Saturate = 16,
    RegistersA = 32
  };
  uint8_t flags;

  bool has(Flag flag) const { return flags & flag; }
  /// Elements in 32 bytes; words of b1.
  unsigned k() const { return 8 * rowBytes / elementBits(a); }
};
static_assert(sizeof(Product) <= 8);

Product productOf(const Op &op) {
  Product product;
  std::memcpy(&product, &op.imm, sizeof product);
  return product;
}
} // namespace

namespace {
/// A register of wgmma in a warp.
struct GroupRegister {
  bool inFlight = false;
  bool written = false; ///< by others, and no fence since
  uint32_t group = 0;   ///< the last that writes it
  uint32_t line = 0;
  uint64_t shape = 0;
  uint32_t value[laneCount]; ///< of an accumulator in flight
  uint32_t lost[laneCount];  ///< bits of it that are undefined
};

/// What a warp's registers have under way.
struct GroupWarp {
  bool fenced = false;
  uint32_t openGroup = 0;
  std::vector<GroupRegister> registers; ///< as Program::groupRegisters
  /// A register of A until the group is waited for.
  struct Operand {
    uint32_t group, line, number;
  };
  std::vector<Operand> operands;
};

/// What a product reads of shared memory.
struct Reading {
  uint32_t group;
  uint32_t line;
  std::vector<uint32_t> chunks; ///< of 16 bytes
  std::vector<uint8_t> data;    ///< of all of them
};
} // namespace

struct nestc::ptx::WarpGroup {
  GroupWarp warps[4];
  std::vector<Reading> readings;
  Knowledge ended; ///< that these readings are over
};

static WarpGroup &groupOf(Warp &warp) {
  auto &groups = warp.block.warpGroups;
  groups.resize(std::max<size_t>(groups.size(), warp.id / 4 + 1));
  std::shared_ptr<WarpGroup> &group = groups[warp.id / 4];
  if (!group) {
    group = std::make_shared<WarpGroup>();
    for (GroupWarp &each : group->warps)
      each.registers.resize(warp.program.groupRegisters.size());
  }
  return *group;
}

/// All 128 threads have to be there.
static bool needsWarpgroup(Warp &warp, const Op &op, uint32_t lanes) {
  unsigned first = warp.id / 4 * 4;
  bool whole = lanes == ~0u && first + 4 <= warp.block.warps.size();
  for (unsigned i = 0; whole && i < 4; ++i)
    whole = warp.block.warps[first + i]->present == ~0u;
  if (!whole)
    warp.fail(op, __builtin_ctz(lanes),
              "a warpgroup is 128 threads, from a multiple of 128 on");
  return whole;
}

//===----------------------------------------------------------------------===//
// Matrices in shared memory
//===----------------------------------------------------------------------===//

namespace {
/// PTX ISA 9.7.15.5.1: a matrix descriptor. Lengths are bytes.
struct Matrix {
  explicit Matrix(uint64_t bits)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4), base(bits >> 49 & 7) {
    // 1, 2, 3 are 128, 64 and 32 bytes.
    swizzle = bits >> 62 ? 4 - (bits >> 62) : 0;
  }
  uint32_t start, leading, stride;
  unsigned base, swizzle;

  /// Where chunk `i` of 16 bytes of row `row` lies, if rows are along k.
  uint32_t alongK(unsigned row, unsigned i) const {
    uint32_t at = start + row / 8 * stride;
    if (!swizzle)
      return at + row % 8 * 16 + i * leading;
    return swizzled(at + row % 8 * (16u << swizzle) + i * 16, swizzle, base);
  }
  /// Where the 16 bytes with elements 8 i to 8 i + 7 at `k` lie, if rows are
  /// along the other dimension. Elements have 16 bits.
  uint32_t across(unsigned k, unsigned i) const {
    if (!swizzle)
      return start + i * stride + k % 8 * 16 + k / 8 * leading;
    unsigned span = 1u << swizzle;
    uint32_t at = start + i / span * leading + k / 8 * stride;
    return swizzled(at + k % 8 * (16 * span) + i % span * 16, swizzle, base);
  }
};

/// The bytes of a matrix, by row (of A) or column (of B), and which are
/// undefined.
struct Bytes {
  uint8_t row[mostColumns][rowBytes];
  std::bitset<mostColumns> undefined;
};
} // namespace

/// Reads `count` rows from `first` on; `reading` gets where they lie and what
/// is there. False after a fault.
static bool readMatrix(Warp &warp, const Op &op, uint64_t descriptor,
                       unsigned first, unsigned count, bool transposed,
                       Bytes &bytes, Reading &reading) {
  Matrix matrix(descriptor);
  Block &block = warp.block;
  std::vector<uint32_t> &chunks = reading.chunks;
  size_t begin = chunks.size();
  if (transposed)
    for (unsigned k = 0; k < 16; ++k)
      for (unsigned i = 0; i < count / 8; ++i)
        chunks.push_back(matrix.across(k, first / 8 + i));
  else
    for (unsigned row = 0; row < count; ++row)
      for (unsigned i = 0; i < 2; ++i)
        chunks.push_back(matrix.alongK(first + row, i));
  for (size_t c = begin; c < chunks.size(); ++c) {
    uint32_t at = chunks[c];
    if (at + 16 > block.sharedSize) {
      warp.fail(op, 0,
                "the matrix reaches byte " + std::to_string(at + 15) +
                    " of shared memory, outside the block's " +
                    std::to_string(block.sharedSize) + " bytes");
      return false;
    }
    const uint8_t *data = block.shared.data() + at;
    uint64_t state[2];
    std::memcpy(state, block.sharedState.data() + at, 16);
    bool undefined = (state[0] | state[1]) != 0;
    if (undefined) {
      Pointers p;
      p.state[0] = block.sharedState.data() + at;
      if (!checkState(warp, op, 1, 16, false, p))
        return false;
    }
    size_t i = c - begin;
    if (transposed) {
      unsigned k = i / (count / 8), part = i % (count / 8);
      for (unsigned e = 0; e < 8; ++e) {
        std::memcpy(bytes.row[8 * part + e] + 2 * k, data + 2 * e, 2);
        if (undefined)
          bytes.undefined.set(8 * part + e);
      }
    } else {
      std::memcpy(bytes.row[i / 2] + i % 2 * 16, data, 16);
      if (undefined)
        bytes.undefined.set(i / 2);
    }
    if (!checkFenced(warp, op, 0, at, 16))
      return false;
    reading.data.insert(reading.data.end(), data, data + 16);
  }
  return true;
}

/// Looks for races of the warp's first lane, which reads these chunks.
static bool readChunks(Warp &warp, const Op &op,
                       const std::vector<uint32_t> &chunks, bool remember) {
  Race race;
  Races &races = warp.block.races;
  races.setTag(op.line);
  if (!races.readMany(warp.id, 0, chunks.data(), chunks.size(), 16, remember,
                      race))
    return true;
  failRace(warp, op, race);
  return false;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

namespace {
template <typename T>
struct Tile {
  alignas(64) T a[warpRows][rowBytes]; ///< [m][k]
  alignas(64) T b[rowBytes][mostColumns];
  alignas(64) T c[warpRows][mostColumns];
};
} // namespace

/// Adds products in order of k, four rows and eight columns at once.
NEST_PTX_INLINE void sumFloats(Tile<float> &tile, unsigned n, unsigned k) {
  for (unsigned column = 0; column < n; column += 8)
    for (unsigned row = 0; row < warpRows; row += 4) {
      float sums[4][8];
      for (unsigned i = 0; i < 4; ++i)
        std::memcpy(sums[i], &tile.c[row + i][column], sizeof sums[i]);
      for (unsigned x = 0; x < k; ++x)
        for (unsigned i = 0; i < 4; ++i)
          for (unsigned j = 0; j < 8; ++j)
            sums[i][j] = detail::hardwareFma(tile.a[row + i][x],
                                             tile.b[x][column + j], sums[i][j]);
      for (unsigned i = 0; i < 4; ++i)
        for (unsigned j = 0; j < 8; ++j)
          tile.c[row + i][column + j] = canonical(sums[i][j]);
    }
}
NEST_PTX_FAST static void sumFloatsFast(Tile<float> &tile, unsigned n,
                                        unsigned k) {
  sumFloats(tile, n, k);
}

static void sum(Tile<float> &tile, const Product &product) {
  if (hasFastLanes())
    sumFloatsFast(tile, product.n, product.k());
  else
    sumFloats(tile, product.n, product.k());
}

static void sum(Tile<int32_t> &tile, const Product &product) {
  bool isBits = product.a == Type::B1;
  for (unsigned row = 0; row < warpRows; ++row) {
    int32_t sums[mostColumns] = {};
    for (unsigned x = 0; x < product.k(); ++x)
      for (unsigned j = 0; j < product.n; ++j) {
        int32_t a = tile.a[row][x], b = tile.b[x][j];
        sums[j] += isBits ? __builtin_popcount(a & b) : a * b;
      }
    for (unsigned j = 0; j < product.n; ++j) {
      int64_t total = int64_t(tile.c[row][j]) + sums[j];
      tile.c[row][j] = product.has(Product::Saturate)
                           ? clampInteger<int32_t>(total)
                           : static_cast<int32_t>(total);
    }
  }
}

/// The elements of a row of bytes.
template <typename T, typename Number>
static void elementsOf(const uint8_t *row, unsigned count, unsigned bits,
                       bool negate, Number number, T *to, size_t stride) {
  for (unsigned i = 0; i < count; ++i) {
    uint64_t element = 0;
    std::memcpy(&element, row + i * bits / 8, bits / 8);
    T value = number(element);
    to[i * stride] = negate ? -value : value;
  }
}

/// The same for f16 and bf16, both matrices at once.
template <bool fast, bool isHalf>
NEST_PTX_INLINE void widenPairs(const Product &product, const Bytes &a,
                                const Bytes &b, Tile<float> &tile) {
  for (unsigned row = 0; row < warpRows; ++row)
    for (unsigned half = 0; half < 2; ++half)
      widen<fast, isHalf>(a.row[row] + 16 * half, &tile.a[row][8 * half]);
  for (unsigned column = 0; column < product.n; column += 8)
    for (unsigned half = 0; half < 2; ++half) {
      uint32_t block[8][4];
      for (unsigned i = 0; i < 8; ++i)
        std::memcpy(block[i], b.row[column + i] + 16 * half, 16);
      Halves rows[8];
      transpose(block[0], rows);
      for (unsigned i = 0; i < 8; ++i)
        widen<fast, isHalf>(&rows[i], &tile.b[8 * half + i][column]);
    }
  if (product.has(Product::NegateA) != product.has(Product::NegateB))
    for (auto &row : tile.a)
      for (unsigned i = 0; i < 16; ++i)
        row[i] = -row[i];
}
template <bool isHalf>
NEST_PTX_FAST static void widenPairsFast(const Product &product, const Bytes &a,
                                         const Bytes &b, Tile<float> &tile) {
  widenPairs<true, isHalf>(product, a, b, tile);
}

static bool widenPairs(const Product &product, const Bytes &a, const Bytes &b,
                       Tile<float> &tile) {
  if (product.a != Type::F16 && product.a != Type::BF16)
    return false;
  bool fast = hasFastLanes(), isHalf = product.a == Type::F16;
  (fast     ? isHalf ? &widenPairsFast<true> : &widenPairsFast<false>
   : isHalf ? &widenPairs<false, true>
            : &widenPairs<false, false>)(product, a, b, tile);
  return true;
}
static bool widenPairs(const Product &, const Bytes &, const Bytes &,
                       Tile<int32_t> &) {
  return false;
}

namespace {
/// Rows, columns and elements that are undefined.
struct Lost {
  std::bitset<mostColumns> columns;
  uint32_t rows = 0;
  std::bitset<mostColumns> elements[warpRows];

  bool any() const {
    bool some = rows || columns.any();
    for (const auto &row : elements)
      some |= row.any();
    return some;
  }
  bool at(unsigned row, unsigned column) const {
    return rows >> row & 1 || columns[column] || elements[row][column];
  }
};

} // namespace

/// Where register `r` of an accumulator has its element for a lane (the first
/// of two if `isHalf`).
static unsigned rowOf(unsigned r, unsigned lane, bool isHalf) {
  return lane / 4 + 8 * ((isHalf ? r : r / 2) % 2);
}
static unsigned columnOf(unsigned r, unsigned lane, bool isHalf) {
  return (isHalf ? r / 2 : r / 4) * 8 + lane % 4 * 2 + (isHalf ? 0 : r % 2);
}

//===----------------------------------------------------------------------===//
// wgmma.mma_async. op.list: D; list2: A in registers, if it is there; s[0],
// s[1]: the descriptors of A and B; s[2]: "D is added to"
//===----------------------------------------------------------------------===//

/// A register must not have been written since a fence, nor be in flight (but
/// for accumulators of the same shape). False after a fault.
static bool checkRegister(Warp &warp, const Op &op, const GroupRegister &reg,
                          bool isAccumulator) {
  const char *role = isAccumulator ? "an accumulator" : "a register of A";
  if (reg.written)
    warp.fail(op, 0,
              std::string(role) + " was written after the last wgmma.fence");
  else if (reg.inFlight &&
           !(isAccumulator && reg.shape == static_cast<uint64_t>(op.imm)))
    warp.fail(op, 0,
              std::string(role) + " is the result of the wgmma of line " +
                  std::to_string(reg.line) + ", which was not waited for");
  else
    return true;
  return false;
}

Step nestc::ptx::noteGroupWrite(Warp &warp, const Op &op, uint32_t lanes) {
  if (warp.present != ~0u) // no warpgroup
    return Step::Done;
  GroupWarp &state = groupOf(warp).warps[warp.id % 4];
  GroupRegister &reg = state.registers[op.target];
  unsigned lane = __builtin_ctz(lanes);
  if (reg.inFlight)
    return warp.fail(op, lane,
                     "a result of the wgmma of line " +
                         std::to_string(reg.line) +
                         " is written before the wait for it");
  for (const GroupWarp::Operand &operand : state.operands)
    if (operand.number == op.target)
      return warp.fail(op, lane,
                       "a register of A of the wgmma of line " +
                           std::to_string(operand.line) +
                           " is written before the wait for it");
  reg.written = true;
  return Step::Done;
}

template <typename T>
static void loadAccumulators(const Warp &warp, const Op &op,
                             const Product &product,
                             const std::vector<GroupRegister> &registers,
                             const std::vector<uint32_t> &numbers,
                             Tile<T> &tile, Lost &lost) {
  bool isHalf = product.d == Type::F16;
  for (unsigned r = 0; r < op.list.size(); ++r) {
    const GroupRegister &reg = registers[numbers[r]];
    const uint32_t *value =
        reg.inFlight ? reg.value : warp.at<uint32_t>(op.list[r]);
    bool shadowed = reg.inFlight || warp.undefined(op.list[r]);
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = rowOf(r, lane, isHalf), column = columnOf(r, lane, isHalf);
      T *to = &tile.c[row][column];
      uint32_t bits = value[lane];
      if constexpr (std::is_same_v<T, float>) {
        if (isHalf) {
          to[0] = toFloat(Half{static_cast<uint16_t>(bits)});
          to[1] = toFloat(Half{static_cast<uint16_t>(bits >> 16)});
        } else {
          to[0] = fromBits<float>(bits);
        }
      } else {
        to[0] = static_cast<int32_t>(bits);
      }
      if (!shadowed)
        continue;
      uint64_t gone =
          reg.inFlight ? reg.lost[lane] : warp.shadow(op.list[r], lane, 4);
      if (gone & (isHalf ? 0xffff : ~0u))
        lost.elements[row].set(column);
      if (isHalf && gone >> 16)
        lost.elements[row].set(column + 1);
    }
  }
}

template <typename T>
static void keepSums(Warp &warp, const Op &op, const Product &product,
                     std::vector<GroupRegister> &registers,
                     const std::vector<uint32_t> &numbers, const Tile<T> &tile,
                     const Lost &lost, uint32_t group) {
  bool isHalf = product.d == Type::F16, some = lost.any();
  for (unsigned r = 0; r < op.list.size(); ++r) {
    GroupRegister &reg = registers[numbers[r]];
    reg.inFlight = true;
    reg.group = group;
    reg.line = op.line;
    reg.shape = static_cast<uint64_t>(op.imm);
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = rowOf(r, lane, isHalf), column = columnOf(r, lane, isHalf);
      const T *sums = &tile.c[row][column];
      uint32_t gone =
          some && lost.at(row, column) ? (isHalf ? 0xffff : ~0u) : 0;
      if (some && isHalf && lost.at(row, column + 1))
        gone |= 0xffff0000u;
      reg.lost[lane] = gone;
      if constexpr (std::is_same_v<T, float>) {
        reg.value[lane] = isHalf ? uint32_t(convert<Half>(sums[1]).bits) << 16 |
                                       convert<Half>(sums[0]).bits
                                 : toBits(sums[0]);
      } else {
        reg.value[lane] = static_cast<uint32_t>(sums[0]);
      }
    }
    warp.undefine(op.list[r], 4, ~0u);
  }
}

/// A value that is the same in all lanes. False after a fault.
static bool sameInAll(Warp &warp, const Op &op, Slot slot, const char *role,
                      uint64_t &value) {
  if (!warp.demand(op, slot, ~0u, role))
    return false;
  const uint64_t *values = warp.at<uint64_t>(slot);
  value = values[0];
  for (unsigned lane = 1; lane < laneCount; ++lane)
    if (values[lane] != value) {
      warp.fail(op, lane, std::string(role) + " differs between lanes");
      return false;
    }
  return true;
}

template <typename T>
static Step multiply(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsWarpgroup(warp, op, lanes))
    return Step::Fault;
  WarpGroup &group = groupOf(warp);
  GroupWarp &state = group.warps[warp.id % 4];
  if (!state.fenced)
    return warp.fail(op, 0, "no wgmma.fence was executed before");
  Product product = productOf(op);
  const std::vector<uint32_t> &numbers = warp.program.groupNumbers[op.target];
  for (unsigned r = 0; r < op.list.size(); ++r)
    if (!checkRegister(warp, op, state.registers[numbers[r]], true))
      return Step::Fault;
  if (!warp.demand(op, op.s[2], ~0u, "scale-d"))
    return Step::Fault;
  uint32_t adds = warp.predicate(op.s[2]);
  if (adds && ~adds)
    return warp.fail(op, __builtin_ctz(~adds), "scale-d differs between lanes");
  Reading reading;
  reading.group = state.openGroup;
  reading.line = op.line;
  static thread_local Tile<T> tile;
  static thread_local Bytes a, b;
  Lost lost;
  a.undefined.reset();
  b.undefined.reset();
  uint64_t descriptor;
  unsigned k = product.k(), bits = elementBits(product.a);
  if (product.has(Product::RegistersA)) {
    for (unsigned r = 0; r < op.list2.size(); ++r) {
      uint32_t number = numbers[op.list.size() + r];
      if (!checkRegister(warp, op, state.registers[number], false))
        return Step::Fault;
      const uint32_t *words = warp.at<uint32_t>(op.list2[r]);
      state.operands.push_back({state.openGroup, op.line, number});
      for (unsigned lane = 0; lane < laneCount; ++lane) {
        unsigned row = lane / 4 + 8 * (r % 2);
        std::memcpy(a.row[row] + r / 2 * 16 + lane % 4 * 4, words + lane, 4);
        if (warp.undefined(op.list2[r]) >> lane & 1)
          a.undefined.set(row);
      }
    }
  } else if (!sameInAll(warp, op, op.s[0], "the descriptor of A", descriptor) ||
             !readMatrix(warp, op, descriptor, warp.id % 4 * warpRows, warpRows,
                         product.has(Product::TransposeA), a, reading)) {
    return Step::Fault;
  }
  if (!sameInAll(warp, op, op.s[1], "the descriptor of B", descriptor) ||
      !readMatrix(warp, op, descriptor, 0, product.n,
                  product.has(Product::TransposeB), b, reading) ||
      !readChunks(warp, op, reading.chunks, false))
    return Step::Fault;
  if (!widenPairs(product, a, b, tile)) {
    byElement<T>(product.a, [&](auto number) {
      for (unsigned row = 0; row < warpRows; ++row)
        elementsOf(a.row[row], k, bits, product.has(Product::NegateA), number,
                   tile.a[row], 1);
    });
    byElement<T>(product.b, [&](auto number) {
      for (unsigned column = 0; column < product.n; ++column)
        elementsOf(b.row[column], k, bits, product.has(Product::NegateB),
                   number, &tile.b[0][column], mostColumns);
    });
  }
  if (adds)
    loadAccumulators(warp, op, product, state.registers, numbers, tile, lost);
  else
    for (unsigned row = 0; row < warpRows; ++row)
      std::fill_n(tile.c[row], product.n, T(0));
  lost.rows = static_cast<uint32_t>(a.undefined.to_ullong() & 0xffff);
  lost.columns = b.undefined;
  sum(tile, product);
  keepSums(warp, op, product, state.registers, numbers, tile, lost,
           state.openGroup);
  unsigned macs = warpRows * product.n * k;
  warp.block.counters.mmaFlops +=
      2ull * macs * (product.a == Type::B1 ? 32 : 1);
  group.readings.push_back(std::move(reading));
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Fences, groups and waits
//===----------------------------------------------------------------------===//

static Step fence(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsWarpgroup(warp, op, lanes))
    return Step::Fault;
  GroupWarp &state = groupOf(warp).warps[warp.id % 4];
  state.fenced = true;
  for (GroupRegister &reg : state.registers)
    reg.written = false;
  return Step::Done;
}

static Step commitGroup(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsWarpgroup(warp, op, lanes))
    return Step::Fault;
  ++groupOf(warp).warps[warp.id % 4].openGroup;
  return Step::Done;
}

/// Takes those for which `isOver` holds away.
template <typename T, typename F>
static void erase(std::vector<T> &all, F isOver) {
  all.erase(std::remove_if(all.begin(), all.end(), isOver), all.end());
}

/// What a product reads has to be there still.
static bool endReading(Warp &warp, const Op &op, const Reading &reading) {
  Block &block = warp.block;
  for (size_t i = 0; i < reading.chunks.size(); ++i) {
    uint32_t at = reading.chunks[i];
    bool isCopied =
        std::memchr(block.sharedState.data() + at, Pending, 16) != nullptr;
    if (!isCopied && std::memcmp(block.shared.data() + at,
                                 reading.data.data() + 16 * i, 16) == 0)
      continue;
    warp.fail(op, 0,
              std::string(isCopied ? "an asynchronous copy" : "a store") +
                  " changes byte " + std::to_string(at) +
                  " of shared memory, an operand of the wgmma of line " +
                  std::to_string(reading.line) + ", before the wait for it");
    return false;
  }
  return readChunks(warp, op, reading.chunks, true);
}

/// The sums of a product go to their registers.
static void takeSums(Warp &warp, Slot slot, GroupRegister &reg) {
  reg.inFlight = false;
  std::memcpy(warp.at<uint32_t>(slot), reg.value, sizeof reg.value);
  warp.define(slot, ~0u);
  for (unsigned lane = 0; lane < laneCount; ++lane)
    if (reg.lost[lane])
      warp.setShadow(slot, lane, 4, reg.lost[lane]);
}

static Step waitGroup(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsWarpgroup(warp, op, lanes))
    return Step::Fault;
  WarpGroup &group = groupOf(warp);
  GroupWarp &state = group.warps[warp.id % 4];
  auto isOver = [&](const auto &each) {
    return each.group + static_cast<uint64_t>(op.imm) < state.openGroup;
  };
  // All four warps take part in what is waited for.
  for (const GroupWarp &each : group.warps)
    if (each.openGroup + static_cast<uint64_t>(op.imm) < state.openGroup)
      return Step::Blocked;
  bool ends = false;
  for (const Reading &reading : group.readings) {
    if (!isOver(reading))
      continue;
    ends = true;
    if (!endReading(warp, op, reading))
      return Step::Fault;
  }
  erase(group.readings, isOver);
  if (ends)
    warp.block.races.release(group.ended, warp.id, 1);
  warp.block.races.acquire(group.ended, warp.id, lanes);
  erase(state.operands, isOver);
  for (size_t i = 0; i < state.registers.size(); ++i) {
    GroupRegister &reg = state.registers[i];
    if (reg.inFlight && isOver(reg))
      takeSums(warp, warp.program.groupRegisters[i], reg);
  }
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// m64nNkK; n is 0 after an error.
static void takeShape(Decoder &d, unsigned &n, unsigned &k) {
  for (n = 8; n <= mostColumns; n += 8)
    for (unsigned depth : {8, 16, 32, 256}) {
      k = depth;
      if (d.take("m64n" + std::to_string(n) + "k" + std::to_string(k)))
        return;
    }
  n = k = 0;
  d.error("the shape is missing", "m64nNkK, N a multiple of 8 up to 256");
}

/// The types of D, A and B, and the k that they have; 0 if they do not go
/// together.
static unsigned depthOf(Type to, Type a, Type b) {
  auto isByte = [](Type t) { return t == Type::S8 || t == Type::U8; };
  auto isSmall = [](Type t) { return t == Type::E4M3 || t == Type::E5M2; };
  bool toFloat = to == Type::F32 || to == Type::F16;
  if (a == Type::F16 && b == a && toFloat)
    return 16;
  if (a == Type::BF16 && b == a && to == Type::F32)
    return 16;
  if (a == Type::TF32 && b == a && to == Type::F32)
    return 8;
  if (isSmall(a) && isSmall(b) && toFloat)
    return 32;
  if (isByte(a) && isByte(b) && to == Type::S32)
    return 32;
  if (a == Type::B1 && b == a && to == Type::S32)
    return 256;
  return 0;
}

static void decodeProduct(Decoder &d) {
  if (d.has("sp"))
    return d.error("sparse matrices are not supported");
  unsigned n, k;
  takeShape(d, n, k);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  Product product = {};
  product.n = static_cast<uint16_t>(n);
  if (d.take("satfinite"))
    product.flags |= Product::Saturate;
  product.d = d.type({Type::F32, Type::F16, Type::S32});
  std::initializer_list<Type> inputs = {Type::F16,  Type::BF16, Type::TF32,
                                        Type::E4M3, Type::E5M2, Type::S8,
                                        Type::U8,   Type::B1};
  product.a = d.type(inputs);
  product.b = d.type(inputs);
  bool isInt = product.d == Type::S32, isBits = product.a == Type::B1;
  if (isBits) {
    d.needOneOf({"and"});
    d.needOneOf({"popc"});
  }
  if (depthOf(product.d, product.a, product.b) != k || !k)
    d.error("there is no such product");
  if ((product.flags & Product::Saturate) && (!isInt || isBits))
    d.error(".satfinite is for bytes");
  if (isInt && n % 16 && n != 8 && n != 24)
    d.error("integers have no such shape", "N is 8, 24 or a multiple of 16");
  const Operand &a = d.operand(1);
  bool fromRegisters = a.kind == Operand::Kind::Vector;
  if (fromRegisters)
    product.flags |= Product::RegistersA;
  bool isWide = typeBits(product.a) == 16;
  d.finish(4 + (isInt ? 0 : 2) + (isWide ? 2 - fromRegisters : 0));
  const Operand &to = d.operand(0);
  size_t count = product.d == Type::F16 ? n / 4 : n / 2;
  if (to.kind != Operand::Kind::Vector || to.elements.size() != count)
    return d.error("D does not have " + std::to_string(count) + " registers");
  std::vector<uint32_t> numbers;
  for (const Operand &each : to.elements) {
    op.list.push_back(
        d.result(each, product.d == Type::F16 ? Type::B32 : product.d));
    numbers.push_back(d.groupRegister(op.list.back()));
  }
  if (fromRegisters) {
    if (a.elements.size() != 4)
      return d.error("A does not have 4 registers");
    for (const Operand &each : a.elements) {
      op.list2.push_back(d.source(each, Type::B32));
      if (std::optional<Type> type = d.registerType(each);
          type && isFloat(*type))
        d.error("A lies in registers of bits", "%r1 and the like");
      numbers.push_back(d.groupRegister(op.list2.back()));
    }
  } else {
    op.s[0] = d.source(1, Type::B64);
  }
  op.s[1] = d.source(2, Type::B64);
  op.s[2] = d.predicate(d.operand(3));
  unsigned at = 4;
  auto flag = [&](int64_t clear, int64_t set, Product::Flag bit,
                  const char *legal) {
    std::optional<int64_t> value = d.immediate(at++);
    if (!value || (*value != clear && *value != set))
      d.error("an operand is not legal", legal);
    else if (*value == set)
      product.flags |= bit;
  };
  if (!isInt) {
    flag(1, -1, Product::NegateA, "1 or -1");
    flag(1, -1, Product::NegateB, "1 or -1");
  }
  if (isWide && !fromRegisters)
    flag(0, 1, Product::TransposeA, "0 or 1");
  if (isWide)
    flag(0, 1, Product::TransposeB, "0 or 1");
  std::memcpy(&op.imm, &product, sizeof product);
  op.target = d.program.groupNumbers.size();
  d.program.groupNumbers.push_back(std::move(numbers));
  op.effect = isInt ? multiply<int32_t> : multiply<float>;
  d.noteSharedAccess(16);
  d.emit(std::move(op));
}

static void decodeWarpGroup(Decoder &d) {
  d.require(80, 90);
  if (d.loaded.module->sm != 90 || !d.loaded.module->suffix)
    d.error("needs sm_90a");
  int kind = d.needOneOf({"mma_async", "fence", "commit_group", "wait_group"});
  d.needOneOf({"sync"});
  d.take("aligned"); // which it is in any case
  if (kind == 0)
    return decodeProduct(d);
  d.finish(kind == 3);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  if (kind == 3) {
    std::optional<int64_t> pending = d.immediate(0);
    if (!pending || *pending < 0 || *pending > UINT32_MAX)
      d.error("the number of groups is not a constant");
    op.imm = pending.value_or(0);
  }
  op.effect = kind == 1 ? fence : kind == 2 ? commitGroup : waitGroup;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::warpGroupTable() {
  static constexpr OpcodeRow rows[] = {{"wgmma", decodeWarpGroup}};
  return {rows, std::size(rows)};
}
