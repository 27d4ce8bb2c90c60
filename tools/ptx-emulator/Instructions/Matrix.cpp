//===- Matrix.cpp - matrix instructions of a warp -------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.14: mma.sync, ldmatrix, stmatrix, movmatrix, wmma.
//
// Order of accumulation: products are exact; an element of the result starts
// from its accumulator and adds k = 0, 1, ... in order. With f32 accumulators
// each step is one fused multiply-add rounded to nearest even; with f16 the sum
// is made in f32 and rounded once at the end; f64 is fused in order; integers
// are exact, and wrap or saturate once at the end. The ISA leaves the order
// open: hardware may differ in the last bits.
//
// What is undefined stays where it matters: a row of A spoils its row of the
// result, a column of B its column, an element of C itself.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"
#include "tools/ptx-emulator/MemoryAccess.h"

using namespace nestc::ptx;

namespace {
/// A tile big enough for every shape.
template <typename T>
struct Tile {
  T a[32][32]; ///< [m][k]
  T b[32][32]; ///< [k][n]
};

template <typename A>
struct Accumulators {
  A c[32][32]; ///< [m][n]
};

/// Undefined rows, columns and elements.
struct TileTaint {
  uint32_t rows = 0, columns = 0;
  uint32_t elements[32] = {}; ///< [m]: bits of n
  bool any() const {
    uint32_t all = rows | columns;
    for (uint32_t row : elements)
      all |= row;
    return all != 0;
  }
};

/// The shape and types of a product: Op::imm.
struct Shape {
  uint8_t m, n, k;
  Type a, b, c, d;
  bool saturates;
};
static_assert(sizeof(Shape) == 8);

Shape shapeOf(const Op &op) {
  Shape shape;
  std::memcpy(&shape, &op.imm, 8);
  return shape;
}
} // namespace

/// One element as a number of the sum's type.
template <typename T>
static T element(uint64_t bits, Type type) {
  switch (type) {
  case Type::F16:
    return static_cast<T>(toFloat(Half{static_cast<uint16_t>(bits)}));
  case Type::BF16:
    return static_cast<T>(toFloat(Bf16{static_cast<uint16_t>(bits)}));
  case Type::TF32:
    return static_cast<T>(
        fromBits<float>(static_cast<uint32_t>(bits) & 0xffffe000));
  case Type::F64:
    return static_cast<T>(fromBits<double>(bits));
  case Type::E4M3:
    return static_cast<T>(toFloat(e4m3ToHalf(static_cast<uint8_t>(bits))));
  case Type::E5M2:
    return static_cast<T>(toFloat(e5m2ToHalf(static_cast<uint8_t>(bits))));
  case Type::S8:
    return static_cast<T>(static_cast<int8_t>(bits));
  default:
    return static_cast<T>(static_cast<uint8_t>(bits));
  }
}

/// Bits of element `j` of a register of `width` bytes.
static uint64_t partOf(Warp &warp, Slot slot, unsigned lane, unsigned width,
                       unsigned bits, unsigned j) {
  uint64_t word = 0;
  std::memcpy(&word, warp.at<uint8_t>(slot) + lane * width, width);
  return bits == 64 ? word : word >> (bits * j) & ((uint64_t(1) << bits) - 1);
}

/// Adds products in order of k.
template <typename T>
NEST_PTX_INLINE void sumFloat(const Tile<T> &tile, Accumulators<T> &sum,
                              unsigned m, unsigned n, unsigned k) {
  for (unsigned i = 0; i < m; ++i)
    for (unsigned part = 0; part < n; part += 8) {
      T row[8];
      for (unsigned j = 0; j < 8; ++j)
        row[j] = sum.c[i][part + j];
      for (unsigned x = 0; x < k; ++x) {
        T a = tile.a[i][x];
        for (unsigned j = 0; j < 8; ++j)
          row[j] = detail::hardwareFma(a, tile.b[x][part + j], row[j]);
      }
      for (unsigned j = 0; j < 8; ++j)
        sum.c[i][part + j] = row[j];
    }
}
NEST_PTX_FAST static void sumFast(const Tile<float> &tile,
                                  Accumulators<float> &sum, unsigned m,
                                  unsigned n, unsigned k) {
  sumFloat(tile, sum, m, n, k);
}
NEST_PTX_FAST static void sumFast(const Tile<double> &tile,
                                  Accumulators<double> &sum, unsigned m,
                                  unsigned n, unsigned k) {
  sumFloat(tile, sum, m, n, k);
}

template <typename T>
static void sum(const Tile<T> &tile, Accumulators<T> &sums, unsigned m,
                unsigned n, unsigned k) {
  if constexpr (std::is_same_v<T, int64_t>) {
    for (unsigned i = 0; i < m; ++i)
      for (unsigned x = 0; x < k; ++x)
        for (unsigned j = 0; j < n; ++j)
          sums.c[i][j] += tile.a[i][x] * tile.b[x][j];
  } else if (hasFastLanes()) {
    sumFast(tile, sums, m, n, k);
  } else {
    sumFloat(tile, sums, m, n, k);
  }
}

//===----------------------------------------------------------------------===//
// mma.sync: fragments as the ISA lays them out
//===----------------------------------------------------------------------===//

/// Calls `f(row, k, slot, lane, part)` for the elements of A; of B it is
/// `(column, k, ...)`. A register has 32 / bits elements (f64: 1); `rows8`
/// counts halves of 8 rows.
template <typename F>
static void forFragment(const std::vector<Slot> &slots, unsigned first,
                        unsigned count, unsigned rows8, unsigned perRegister,
                        F f) {
  for (unsigned r = 0; r < count; ++r) {
    unsigned half = r % rows8, chunk = r / rows8;
    for (unsigned lane = 0; lane < laneCount; ++lane)
      for (unsigned j = 0; j < perRegister; ++j)
        f(lane / 4 + 8 * half,
          chunk * 4 * perRegister + lane % 4 * perRegister + j,
          slots[first + r], lane, j);
  }
}

/// Elements of 16 bits in pairs: the common case without calls.
template <typename Widen>
NEST_PTX_INLINE void gatherPairs(Warp &warp, const Op &op, unsigned aCount,
                                 unsigned bCount, Tile<float> &tile,
                                 Widen widen) {
  for (unsigned r = 0; r < aCount; ++r) {
    const uint32_t *words = warp.at<uint32_t>(op.list2[r]);
    float low[laneCount], high[laneCount];
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      low[lane] = widen(words[lane] & 0xffff);
      high[lane] = widen(words[lane] >> 16);
    }
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      float *to = &tile.a[lane / 4 + 8 * (r & 1)][(r >> 1) * 8 + lane % 4 * 2];
      to[0] = low[lane];
      to[1] = high[lane];
    }
  }
  for (unsigned r = 0; r < bCount; ++r) {
    const uint32_t *words = warp.at<uint32_t>(op.list2[aCount + r]);
    float low[laneCount], high[laneCount];
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      low[lane] = widen(words[lane] & 0xffff);
      high[lane] = widen(words[lane] >> 16);
    }
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned k = r * 8 + lane % 4 * 2;
      tile.b[k][lane / 4] = low[lane];
      tile.b[k + 1][lane / 4] = high[lane];
    }
  }
}

NEST_PTX_INLINE float widenHalf(uint32_t bits) {
  return toFloat(Half{static_cast<uint16_t>(bits)});
}
NEST_PTX_INLINE float widenBf16(uint32_t bits) {
  return fromBits<float>(bits << 16);
}

NEST_PTX_INLINE void gatherPairs(Warp &warp, const Op &op, unsigned aCount,
                                 unsigned bCount, Tile<float> &tile,
                                 bool half) {
  if (half)
    gatherPairs(warp, op, aCount, bCount, tile,
                [](uint32_t bits)
                    __attribute__((always_inline)) { return widenHalf(bits); });
  else
    gatherPairs(warp, op, aCount, bCount, tile,
                [](uint32_t bits)
                    __attribute__((always_inline)) { return widenBf16(bits); });
}
NEST_PTX_FAST static void gatherFast(Warp &warp, const Op &op, unsigned aCount,
                                     unsigned bCount, Tile<float> &tile,
                                     bool half) {
  gatherPairs(warp, op, aCount, bCount, tile, half);
}

/// T: float, double or int64_t for the sum. Operands: op.list is D; op.list2 is
/// A, B, C with op.variant and op.target registers of A and B.
template <typename T>
static Step mma(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  Shape shape = shapeOf(op);
  unsigned aCount = op.variant, bCount = op.target, cFirst = aCount + bCount;
  unsigned rows8 = shape.m / 8;
  unsigned aBits = std::max(8u, typeBits(shape.a));
  unsigned width = shape.a == Type::F64 ? 8 : 4;
  unsigned perRegister = 8 * width / (shape.a == Type::TF32 ? 32 : aBits);
  Tile<T> tile;
  Accumulators<T> sums;
  TileTaint taint;
  uint32_t unknown = 0;
  for (Slot slot : op.list2)
    unknown |= warp.undefined(slot);
  bool pairs = std::is_same_v<T, float> && perRegister == 2 && rows8 == 2;
  if (pairs) {
    if constexpr (std::is_same_v<T, float>) {
      if (hasFastLanes())
        gatherFast(warp, op, aCount, bCount, tile, shape.a == Type::F16);
      else
        gatherPairs(warp, op, aCount, bCount, tile, shape.a == Type::F16);
    }
  } else {
    unsigned bits = shape.a == Type::TF32 ? 32 : aBits;
    forFragment(
        op.list2, 0, aCount, rows8, perRegister,
        [&](unsigned row, unsigned k, Slot slot, unsigned lane, unsigned j) {
          tile.a[row][k] =
              element<T>(partOf(warp, slot, lane, width, bits, j), shape.a);
        });
    forFragment(
        op.list2, aCount, bCount, 1, perRegister,
        [&](unsigned column, unsigned k, Slot slot, unsigned lane, unsigned j) {
          tile.b[k][column] =
              element<T>(partOf(warp, slot, lane, width, bits, j), shape.b);
        });
  }
  if (unknown) {
    forFragment(
        op.list2, 0, aCount, rows8, 1,
        [&](unsigned row, unsigned, Slot slot, unsigned lane, unsigned) {
          if (warp.undefined(slot) >> lane & 1)
            taint.rows |= 1u << row;
        });
    forFragment(
        op.list2, aCount, bCount, 1, 1,
        [&](unsigned column, unsigned, Slot slot, unsigned lane, unsigned) {
          if (warp.undefined(slot) >> lane & 1)
            taint.columns |= 1u << column;
        });
  }
  bool halfC = shape.c == Type::F16, halfD = shape.d == Type::F16;
  unsigned cCount = op.list2.size() - cFirst;
  for (unsigned r = 0; r < cCount; ++r) {
    Slot slot = op.list2[cFirst + r];
    uint32_t bad = warp.undefined(slot);
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      if (halfC) {
        uint32_t word = warp.at<uint32_t>(slot)[lane];
        sums.c[row + 8 * r][column] =
            static_cast<T>(toFloat(Half{static_cast<uint16_t>(word)}));
        sums.c[row + 8 * r][column + 1] =
            static_cast<T>(toFloat(Half{static_cast<uint16_t>(word >> 16)}));
        if (bad >> lane & 1)
          taint.elements[row + 8 * r] |= 3u << column;
        continue;
      }
      row += 8 * (r >> 1);
      column += r & 1;
      if constexpr (std::is_same_v<T, double>)
        sums.c[row][column] = warp.at<double>(slot)[lane];
      else if constexpr (std::is_same_v<T, float>)
        sums.c[row][column] = warp.at<float>(slot)[lane];
      else
        sums.c[row][column] = warp.at<int32_t>(slot)[lane];
      if (bad >> lane & 1)
        taint.elements[row] |= 1u << column;
    }
  }
  sum(tile, sums, shape.m, 8, shape.k);
  for (unsigned r = 0; r < op.list.size(); ++r) {
    Slot slot = op.list[r];
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      if (halfD) {
        uint32_t low =
            convert<Half>(static_cast<float>(sums.c[row + 8 * r][column])).bits;
        uint32_t high =
            convert<Half>(static_cast<float>(sums.c[row + 8 * r][column + 1]))
                .bits;
        warp.at<uint32_t>(slot)[lane] = high << 16 | low;
        continue;
      }
      row += 8 * (r >> 1);
      column += r & 1;
      T value = sums.c[row][column];
      if constexpr (std::is_same_v<T, double>)
        warp.at<double>(slot)[lane] = canonical(value);
      else if constexpr (std::is_same_v<T, float>)
        warp.at<float>(slot)[lane] = canonical(value);
      else
        warp.at<int32_t>(slot)[lane] = shape.saturates
                                           ? clampInteger<int32_t>(value)
                                           : static_cast<int32_t>(value);
    }
    warp.define(slot, ~0u);
    if (!unknown)
      continue;
    unsigned bytes = std::is_same_v<T, double> ? 8 : 4;
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = lane / 4 + 8 * (halfD ? r : r >> 1);
      unsigned column = lane % 4 * 2 + (halfD ? 0 : r & 1);
      auto lost = [&](unsigned c) {
        return (taint.rows >> row & 1) || (taint.columns >> c & 1) ||
               (taint.elements[row] >> c & 1);
      };
      uint64_t bits = 0;
      if (halfD)
        bits =
            (lost(column) ? 0xffff : 0) | (lost(column + 1) ? 0xffff0000u : 0);
      else if (lost(column))
        bits = ~uint64_t(0) >> (64 - 8 * bytes);
      if (bits)
        warp.setShadow(slot, lane, bytes, bits);
    }
  }
  warp.block.counters.mmaFlops += 2ull * shape.m * 8 * shape.k;
  return Step::Done;
}

/// Takes ".m16n8k16" away.
static bool takeShape(Decoder &d, Shape &shape,
                      std::initializer_list<std::string_view> legal) {
  int found = d.takeOneOf(legal);
  if (found < 0) {
    std::string list;
    for (std::string_view each : legal)
      list += (list.empty() ? "." : ", .") + std::string(each);
    d.error("the shape is missing or not supported", "one of " + list);
    return false;
  }
  std::string_view text = *(legal.begin() + found);
  unsigned numbers[3] = {};
  int at = -1;
  for (char c : text)
    if (c >= '0' && c <= '9')
      numbers[at] = numbers[at] * 10 + (c - '0');
    else
      ++at;
  shape.m = numbers[0];
  shape.n = numbers[1];
  shape.k = numbers[2];
  return true;
}

/// Appends the registers of a {...} operand, or of a single one.
static void fragment(Decoder &d, const Operand &operand, Type type,
                     unsigned count, std::vector<Slot> &to, bool isResult) {
  auto one = [&](const Operand &each) {
    to.push_back(isResult ? d.result(each, type) : d.source(each, type));
  };
  if (operand.kind == Operand::Kind::Vector &&
      operand.elements.size() == count) {
    for (const Operand &each : operand.elements)
      one(each);
  } else if (count == 1 && operand.kind != Operand::Kind::Vector) {
    one(operand);
  } else {
    d.error("a fragment does not have " + std::to_string(count) + " registers");
  }
}

static void decodeMma(Decoder &d) {
  if (d.take("sp") || d.take("sp::ordered_metadata"))
    return d.error("sparse matrices are not supported");
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  Shape shape = {};
  if (!takeShape(
          d, shape,
          {"m16n8k16", "m16n8k8", "m16n8k4", "m8n8k4", "m16n8k32", "m8n8k16"}))
    return;
  // A is row-major and B column-major, in this order.
  if (d.needOneOf({"row", "col"}) != 0 || d.needOneOf({"row", "col"}) != 1)
    d.error("no such order of the matrices", ".row.col");
  shape.saturates = d.take("satfinite");
  d.take("kind::f8f6f4");
  shape.d = d.type({Type::F32, Type::F16, Type::F64, Type::S32});
  shape.a = d.type({Type::F16, Type::BF16, Type::TF32, Type::F64, Type::S8,
                    Type::U8, Type::E4M3, Type::E5M2});
  shape.b = d.type({Type::F16, Type::BF16, Type::TF32, Type::F64, Type::S8,
                    Type::U8, Type::E4M3, Type::E5M2});
  shape.c = d.type({Type::F32, Type::F16, Type::F64, Type::S32});
  d.finish(4);
  bool integer = shape.a == Type::S8 || shape.a == Type::U8;
  bool bytes = shape.a == Type::E4M3 || shape.a == Type::E5M2;
  bool bIsInteger = shape.b == Type::S8 || shape.b == Type::U8;
  bool bIsBytes = shape.b == Type::E4M3 || shape.b == Type::E5M2;
  bool half = shape.a == Type::F16, brain = shape.a == Type::BF16;
  bool sums =
      integer ? bIsInteger && shape.c == Type::S32 && shape.d == Type::S32
      : shape.a == Type::F64
          ? shape.b == Type::F64 && shape.c == Type::F64 && shape.d == Type::F64
      : bytes ? bIsBytes && shape.c == shape.d &&
                    (shape.c == Type::F32 || shape.c == Type::F16)
      : half
          ? shape.b == Type::F16 &&
                (shape.c == Type::F32 || shape.c == Type::F16) &&
                (shape.d == Type::F32 || shape.d == Type::F16)
          : shape.b == shape.a && shape.c == Type::F32 && shape.d == Type::F32;
  unsigned m = shape.m, k = shape.k;
  bool legal =
      integer         ? (m == 8 && k == 16) || (m == 16 && (k == 16 || k == 32))
      : bytes         ? m == 16 && (k == 32 || k == 16)
      : half || brain ? m == 16 && (k == 8 || k == 16)
      : shape.a == Type::TF32 ? m == 16 && (k == 4 || k == 8)
                              : (m == 8 && k == 4) || (m == 16 && k <= 16);
  if (!sums || !legal || (shape.saturates && !integer))
    return d.error("no such combination of shape and types");
  if (half && k == 8)
    d.require(65, 75);
  else if (bytes)
    d.require(84, 89);
  else if (shape.a == Type::F64 && m == 16)
    d.require(78, 90);
  else if (integer && m == 8)
    d.require(65, 75);
  else
    d.require(70, 80);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  unsigned width = shape.a == Type::F64 ? 8 : 4;
  unsigned bits = shape.a == Type::TF32 ? 32 : typeBits(shape.a);
  unsigned aCount = m * k * bits / (32 * 8 * width);
  unsigned bCount = 8 * k * bits / (32 * 8 * width);
  auto registers = [&](Type type) { return type == Type::F16 ? m / 8 : m / 4; };
  Type word = width == 8 ? Type::F64 : Type::B32;
  auto sumType = [](Type type) { return type == Type::F16 ? Type::B32 : type; };
  fragment(d, d.operand(0), sumType(shape.d), registers(shape.d), op.list,
           true);
  fragment(d, d.operand(1), word, aCount, op.list2, false);
  fragment(d, d.operand(2), word, bCount, op.list2, false);
  fragment(d, d.operand(3), sumType(shape.c), registers(shape.c), op.list2,
           false);
  op.variant = aCount;
  op.target = bCount;
  std::memcpy(&op.imm, &shape, 8);
  op.effect = shape.a == Type::F64 ? mma<double>
              : integer            ? mma<int64_t>
                                   : mma<float>;
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// ldmatrix, stmatrix, movmatrix: 8 x 8 matrices of 16-bit elements
//===----------------------------------------------------------------------===//

/// Matrix i has its rows at the addresses of lanes 8 i to 8 i + 7. Lane l gets,
/// in register i, elements 2 (l % 4) and the next of row l / 4; transposed,
/// element l / 4 of rows 2 (l % 4) and the next.
static Step loadMatrix(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  unsigned count = op.list.size();
  uint32_t used = count == 4 ? ~0u : (1u << (8 * count)) - 1;
  uint64_t address[laneCount];
  Pointers p;
  if (!addressesOf(warp, op, used, address) ||
      !locate(warp, op, used, op.access.space, address, 16, 16,
              Touch::CollectiveRead, p))
    return Step::Fault;
  if (p.sharedLanes != used)
    return warp.fail(op, __builtin_ctz(used & ~p.sharedLanes),
                     "the address is not in shared memory");
  uint64_t any = 0;
  forLanes(used, [&](unsigned lane) {
    uint64_t words[2];
    std::memcpy(words, p.state[lane], 16);
    any |= words[0] | words[1];
  });
  if ((any && !checkState(warp, op, used, 16, false, p)) ||
      !checkRaces(warp, op, 16, Touch::CollectiveRead, p))
    return Step::Fault;
  for (unsigned i = 0; i < count; ++i) {
    uint32_t *to = warp.at<uint32_t>(op.list[i]);
    auto place = [&](unsigned lane, unsigned half) {
      unsigned row = op.flag ? lane % 4 * 2 + half : lane / 4;
      unsigned column = op.flag ? lane / 4 : lane % 4 * 2 + half;
      return std::pair<unsigned, unsigned>{8 * i + row, 2 * column};
    };
    if (!op.flag) {
      for (unsigned lane = 0; lane < laneCount; ++lane)
        std::memcpy(&to[lane], p.data[8 * i + lane / 4] + lane % 4 * 4, 4);
    } else {
      for (unsigned lane = 0; lane < laneCount; ++lane) {
        uint16_t pair[2];
        for (unsigned half = 0; half < 2; ++half) {
          auto [row, byte] = place(lane, half);
          std::memcpy(&pair[half], p.data[row] + byte, 2);
        }
        std::memcpy(&to[lane], pair, 4);
      }
    }
    warp.define(op.list[i], ~0u);
    if (!any)
      continue;
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      uint64_t shadow = 0;
      for (unsigned half = 0; half < 2; ++half) {
        auto [row, byte] = place(lane, half);
        for (unsigned b = 0; b < 2; ++b)
          if (p.state[row][byte + b])
            shadow |= uint64_t(0xff) << (8 * (2 * half + b));
      }
      if (shadow)
        warp.setShadow(op.list[i], lane, 4, shadow);
    }
  }
  countAccess(warp, used, Space::Shared, false, address, p, 16);
  return Step::Done;
}

static Step storeMatrix(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  unsigned count = op.list.size();
  uint32_t used = count == 4 ? ~0u : (1u << (8 * count)) - 1;
  uint64_t address[laneCount];
  Pointers p;
  if (!addressesOf(warp, op, used, address) ||
      !locate(warp, op, used, op.access.space, address, 16, 16, Touch::Write,
              p))
    return Step::Fault;
  if (p.sharedLanes != used)
    return warp.fail(op, __builtin_ctz(used & ~p.sharedLanes),
                     "the address is not in shared memory");
  // The rows, as the lanes that name them would store them.
  uint64_t rows[2][laneCount] = {};
  uint8_t shadows[laneCount][16] = {};
  for (unsigned i = 0; i < count; ++i)
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      uint32_t word = warp.at<uint32_t>(op.list[i])[lane];
      uint64_t shadow = warp.shadow(op.list[i], lane, 4);
      for (unsigned half = 0; half < 2; ++half) {
        unsigned row = 8 * i + (op.flag ? lane % 4 * 2 + half : lane / 4);
        unsigned column = op.flag ? lane / 4 : lane % 4 * 2 + half;
        uint64_t value = word >> (16 * half) & 0xffff;
        rows[column / 4][row] |= value << (16 * (column % 4));
        for (unsigned b = 0; b < 2; ++b)
          shadows[row][2 * column + b] =
              shadow >> (8 * (2 * half + b)) & 0xff ? Undefined : Defined;
      }
    }
  StoredValues values;
  values.element[0] = rows[0];
  values.element[1] = rows[1];
  values.bytes = values.stride = 8;
  if (!checkRaces(warp, op, 16, Touch::Write, p, values) ||
      !checkState(warp, op, used, 16, false, p))
    return Step::Fault;
  forLanes(used, [&](unsigned lane) {
    std::memcpy(p.data[lane], &rows[0][lane], 8);
    std::memcpy(p.data[lane] + 8, &rows[1][lane], 8);
    std::memcpy(p.state[lane], shadows[lane], 16);
  });
  countAccess(warp, used, Space::Shared, true, address, p, 16);
  return Step::Done;
}

static void decodeMatrixAccess(Decoder &d) {
  bool isLoad = d.instruction().opcode == "ldmatrix";
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  if (d.has("m16n16") || d.has("m8n16") || d.has("m16n8"))
    return d.error("matrices of 8-bit elements are not supported", ".m8n8");
  d.needOneOf({"m8n8"});
  unsigned count = 1u << d.needOneOf({"x1", "x2", "x4"});
  bool transposed = d.take("trans");
  Space space = d.space();
  if (space != Space::Shared && space != Space::Generic)
    d.error("matrices lie in .shared");
  d.type({Type::B16});
  isLoad ? d.require(65, 75) : d.require(78, 90);
  d.finish(2);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  op.flag = transposed;
  d.address(d.operand(isLoad ? 1 : 0), op, space);
  fragment(d, d.operand(isLoad ? 0 : 1), Type::B32, count, op.list, isLoad);
  op.effect = isLoad ? loadMatrix : storeMatrix;
  d.emit(std::move(op));
}

static Step moveMatrix(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  const uint32_t *a = warp.at<uint32_t>(op.s[0]);
  uint32_t result[laneCount];
  uint64_t shadow[laneCount];
  for (unsigned lane = 0; lane < laneCount; ++lane) {
    result[lane] = 0;
    shadow[lane] = 0;
    for (unsigned half = 0; half < 2; ++half) {
      // Element (r, c) of the result is (c, r) of the source.
      unsigned r = lane / 4, c = lane % 4 * 2 + half;
      unsigned from = c * 4 + r / 2, shift = 16 * (r % 2);
      result[lane] |= (a[from] >> shift & 0xffff) << (16 * half);
      shadow[lane] |= (warp.shadow(op.s[0], from, 4) >> shift & 0xffff)
                      << (16 * half);
    }
  }
  std::memcpy(warp.at<uint32_t>(op.d), result, sizeof result);
  for (unsigned lane = 0; lane < laneCount; ++lane)
    warp.setShadow(op.d, lane, 4, shadow[lane]);
  return Step::Done;
}

static void decodeMoveMatrix(Decoder &d) {
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  d.needOneOf({"m8n8"});
  d.needOneOf({"trans"});
  d.type({Type::B16});
  d.require(78, 75);
  d.finish(2);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  op.d = d.result(0, Type::B32);
  op.s[0] = d.source(1, Type::B32);
  op.effect = moveMatrix;
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// wmma: fragments in a layout of our own, which the ISA allows
//===----------------------------------------------------------------------===//

namespace {
/// A matrix of a wmma: Op::imm.
struct Fragment {
  uint8_t rows, columns;
  Type type;
  bool columnMajor, isStore, hasStride;
  uint8_t perRegister;
};

/// Part `part` of register `r` in `lane` holds element e of the matrix, row
/// after row; there may be more parts than elements.
unsigned elementOf(const Fragment &f, unsigned r, unsigned lane,
                   unsigned part) {
  unsigned total = f.rows * f.columns;
  return ((r * f.perRegister + part) * laneCount + lane) % total;
}
} // namespace

static Step moveFragment(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  Fragment f;
  std::memcpy(&f, &op.imm, sizeof f);
  unsigned bytes = typeBytes(f.type);
  if (!warp.demand(op, op.s[0], lanes, "the address") ||
      !warp.demand(op, op.s[1], lanes, "the stride"))
    return Step::Fault;
  for (unsigned r = 0; r < op.list.size(); ++r)
    for (unsigned part = 0; part < f.perRegister; ++part) {
      uint64_t address[laneCount];
      for (unsigned lane = 0; lane < laneCount; ++lane) {
        unsigned e = elementOf(f, r, lane, part);
        unsigned row = e / f.columns, column = e % f.columns;
        uint64_t stride = f.hasStride     ? warp.at<uint32_t>(op.s[1])[lane]
                          : f.columnMajor ? f.rows
                                          : f.columns;
        uint64_t at =
            f.columnMajor ? column * stride + row : row * stride + column;
        uint64_t base = op.access.wideAddress
                            ? warp.at<uint64_t>(op.s[0])[lane]
                            : warp.at<uint32_t>(op.s[0])[lane];
        address[lane] = base + op.access.constantBase + at * bytes;
      }
      Pointers p;
      Touch touch = f.isStore ? Touch::Write : Touch::Read;
      Slot slot = op.list[r];
      uint8_t *words = warp.at<uint8_t>(slot);
      unsigned width = f.perRegister * bytes;
      StoredValues values;
      values.element[0] = words + part * bytes;
      values.bytes = bytes;
      values.stride = width;
      if (!locate(warp, op, lanes, op.access.space, address, bytes, bytes,
                  touch, p) ||
          !checkState(warp, op, lanes, bytes, false, p) ||
          !checkRaces(warp, op, bytes, touch, p, values))
        return Step::Fault;
      for (unsigned lane = 0; lane < laneCount; ++lane) {
        uint8_t *at = words + lane * width + part * bytes;
        uint64_t mask = ~uint64_t(0) >> (64 - 8 * bytes);
        uint64_t shadow = warp.shadow(slot, lane, width);
        unsigned shift = 8 * part * bytes;
        if (f.isStore) {
          bool lost = shadow >> shift & mask;
          if (lost && !(p.sharedLanes >> lane & 1))
            return warp.fail(op, lane,
                             "an undefined value is stored to global memory");
          std::memcpy(p.data[lane], at, bytes);
          if (p.state[lane])
            std::memset(p.state[lane], lost ? Undefined : Defined, bytes);
          continue;
        }
        std::memcpy(at, p.data[lane], bytes);
        bool lost = false;
        for (unsigned b = 0; b < bytes; ++b)
          lost |= p.state[lane] && p.state[lane][b];
        shadow &= ~(mask << shift);
        warp.setShadow(slot, lane, width, shadow | (lost ? mask << shift : 0));
      }
      countAccess(warp, lanes, op.access.space, f.isStore, address, p, bytes);
    }
  return Step::Done;
}

template <typename T>
static Step wmma(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes != ~0u)
    return warp.fail(op, __builtin_ctz(~lanes),
                     "a matrix instruction needs all 32 lanes of the warp");
  Shape shape = shapeOf(op);
  unsigned aCount = op.variant, bCount = op.target;
  Tile<T> tile;
  Accumulators<T> sums;
  uint32_t unknown = 0;
  for (Slot slot : op.list2)
    unknown |= warp.undefined(slot);
  auto visit = [&](const std::vector<Slot> &slots, unsigned first,
                   unsigned count, unsigned rows, unsigned columns, Type type,
                   auto f) {
    unsigned bits =
        type == Type::TF32 || type == Type::S32 ? 32 : typeBits(type);
    Fragment layout = {static_cast<uint8_t>(rows),
                       static_cast<uint8_t>(columns),
                       type,
                       false,
                       false,
                       false,
                       static_cast<uint8_t>(32 / bits)};
    for (unsigned r = 0; r < count; ++r)
      for (unsigned lane = 0; lane < laneCount; ++lane)
        for (unsigned part = 0; part < layout.perRegister; ++part) {
          unsigned e = elementOf(layout, r, lane, part);
          f(e / columns, e % columns, slots[first + r], lane, part, bits);
        }
  };
  visit(op.list2, 0, aCount, shape.m, shape.k, shape.a,
        [&](unsigned row, unsigned k, Slot slot, unsigned lane, unsigned part,
            unsigned bits) {
          tile.a[row][k] =
              element<T>(partOf(warp, slot, lane, 4, bits, part), shape.a);
        });
  visit(op.list2, aCount, bCount, shape.k, shape.n, shape.b,
        [&](unsigned k, unsigned column, Slot slot, unsigned lane,
            unsigned part, unsigned bits) {
          tile.b[k][column] =
              element<T>(partOf(warp, slot, lane, 4, bits, part), shape.b);
        });
  visit(op.list2, aCount + bCount, op.list2.size() - aCount - bCount, shape.m,
        shape.n, shape.c,
        [&](unsigned row, unsigned column, Slot slot, unsigned lane,
            unsigned part, unsigned bits) {
          uint64_t word = partOf(warp, slot, lane, 4, bits, part);
          sums.c[row][column] =
              shape.c == Type::F16
                  ? static_cast<T>(toFloat(Half{static_cast<uint16_t>(word)}))
              : shape.c == Type::F32
                  ? static_cast<T>(fromBits<float>(static_cast<uint32_t>(word)))
                  : static_cast<T>(static_cast<int32_t>(word));
        });
  sum(tile, sums, shape.m, shape.n, shape.k);
  visit(op.list, 0, op.list.size(), shape.m, shape.n, shape.d,
        [&](unsigned row, unsigned column, Slot slot, unsigned lane,
            unsigned part, unsigned bits) {
          T value = sums.c[row][column];
          uint8_t *at = warp.at<uint8_t>(slot) + lane * 4 + part * bits / 8;
          if (shape.d == Type::F16) {
            uint16_t half = convert<Half>(static_cast<float>(value)).bits;
            std::memcpy(at, &half, 2);
          } else if (shape.d == Type::F32) {
            float number = canonical(static_cast<float>(value));
            std::memcpy(at, &number, 4);
          } else {
            int32_t number =
                shape.saturates
                    ? clampInteger<int32_t>(static_cast<int64_t>(value))
                    : static_cast<int32_t>(static_cast<int64_t>(value));
            std::memcpy(at, &number, 4);
          }
        });
  for (Slot slot : op.list)
    if (unknown)
      warp.undefine(slot, 4, ~0u); // coarser than mma: fragments are opaque
    else
      warp.define(slot, ~0u);
  warp.block.counters.mmaFlops += 2ull * shape.m * shape.n * shape.k;
  return Step::Done;
}

/// Registers of a fragment (PTX ISA, tables of wmma).
static unsigned wmmaRegisters(char matrix, const Shape &shape, Type type) {
  unsigned elements = matrix == 'a'   ? shape.m * shape.k
                      : matrix == 'b' ? shape.k * shape.n
                                      : shape.m * shape.n;
  if (matrix != 'c' && type == Type::F16)
    return 8;
  unsigned bits = type == Type::TF32 || type == Type::S32 ? 32 : typeBits(type);
  return std::max(1u, elements * bits / 32 / laneCount);
}

static void decodeWmma(Decoder &d) {
  int what = d.needOneOf({"load", "store", "mma"});
  char matrix = 'd';
  if (what == 0)
    matrix = "abc"[d.needOneOf({"a", "b", "c"})];
  else if (what == 1)
    d.needOneOf({"d"});
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  d.require(60, 70);
  int first = d.needOneOf({"row", "col"});
  Shape shape = {};
  int second = what == 2 ? d.needOneOf({"row", "col"}) : 0;
  (void)second; // the layout counts where the matrix lies in memory
  if (!takeShape(d, shape, {"m16n16k16", "m32n8k16", "m8n32k16", "m16n16k8"}))
    return;
  if (what != 2) {
    Space space = d.space();
    Type type = d.type({Type::F16, Type::BF16, Type::TF32, Type::S8, Type::U8,
                        Type::F32, Type::S32});
    bool isStore = what == 1;
    d.finish(2, 3);
    Op op = d.start(OpKind::Sync, OpClass::Matrix);
    op.aligned = true;
    op.effect = moveFragment;
    d.address(d.operand(isStore ? 0 : 1), op, space);
    // moveFragment makes its own addresses.
    op.access.constantBase = static_cast<uint32_t>(op.imm);
    Fragment f = {};
    char kind = matrix == 'd' ? 'c' : matrix;
    f.rows = kind == 'b' ? shape.k : shape.m;
    f.columns = kind == 'a' ? shape.k : shape.n;
    f.type = type == Type::TF32 ? Type::B32 : type;
    f.columnMajor = first == 1;
    f.isStore = isStore;
    unsigned bits = typeBits(f.type);
    f.perRegister = 32 / bits;
    f.hasStride = d.operandCount() == 3;
    if (f.hasStride)
      op.s[1] = d.source(2, Type::U32);
    fragment(d, d.operand(isStore ? 1 : 0),
             f.type == Type::F32 || f.type == Type::S32 ? f.type : Type::B32,
             wmmaRegisters(kind, shape, type), op.list, !isStore);
    d.noteSharedAccess(typeBytes(f.type));
    std::memcpy(&op.imm, &f, sizeof f);
    return d.emit(std::move(op));
  }
  shape.saturates = d.take("satfinite");
  Type types[4];
  unsigned count = 0;
  while (d.peekType() != Type::None && count < 4)
    types[count++] = d.type({Type::F16, Type::F32, Type::BF16, Type::TF32,
                             Type::S8, Type::U8, Type::S32});
  if (count != 2 && count != 4)
    return d.error("two types (of f16) or four are expected");
  shape.d = types[0];
  shape.c = types[count - 1];
  shape.a = count == 2 ? Type::F16 : types[1];
  shape.b = count == 2 ? Type::F16 : types[2];
  d.finish(4);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  auto word = [](Type type) {
    return type == Type::F32 || type == Type::S32 ? type : Type::B32;
  };
  op.variant = wmmaRegisters('a', shape, shape.a);
  op.target = wmmaRegisters('b', shape, shape.b);
  fragment(d, d.operand(0), word(shape.d), wmmaRegisters('c', shape, shape.d),
           op.list, true);
  fragment(d, d.operand(1), Type::B32, op.variant, op.list2, false);
  fragment(d, d.operand(2), Type::B32, op.target, op.list2, false);
  fragment(d, d.operand(3), word(shape.c), wmmaRegisters('c', shape, shape.c),
           op.list2, false);
  std::memcpy(&op.imm, &shape, 8);
  op.effect = shape.d == Type::S32 ? wmma<int64_t> : wmma<float>;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::matrixTable() {
  static constexpr OpcodeRow rows[] = {{"mma", decodeMma},
                                       {"ldmatrix", decodeMatrixAccess},
                                       {"stmatrix", decodeMatrixAccess},
                                       {"movmatrix", decodeMoveMatrix},
                                       {"wmma", decodeWmma}};
  return {rows, std::size(rows)};
}
