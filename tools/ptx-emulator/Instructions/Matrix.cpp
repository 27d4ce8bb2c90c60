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
// is made in f32 and rounded once at the end; f64 is fused in order, in the
// rounding of the instruction; integers are exact, and wrap or saturate once at
// the end. The ISA leaves the order open: hardware may differ in the last bits.
//
// What is undefined stays where it matters: a row of A spoils its row of the
// result, a column of B its column, an element of C itself.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Elements.h"
#include "tools/ptx-emulator/MemoryAccess.h"

using namespace nestc::ptx;

namespace {
/// A tile big enough for every shape. One-bit elements lie in words of 32.
template <typename T>
struct Tile {
  T a[32][64]; ///< [m][k]
  T b[64][32]; ///< [k][n]
  T c[32][32]; ///< [m][n]: the accumulators, then the sums
};

/// The shape and types of a product: Op::imm.
struct Shape {
  uint8_t m, n, k4; ///< k / 4
  Type a, b, c, d;
  enum Mode : uint8_t {
    Plain,
    Saturate, ///< of integers
    Xor,      ///< of bits
    And,
    RoundFirst ///< of f64: Round is what is above this
  };
  Mode mode;

  unsigned k() const { return 4u * k4; }
};
static_assert(sizeof(Shape) == 8);

Shape shapeOf(const Op &op) {
  Shape shape;
  std::memcpy(&shape, &op.imm, 8);
  return shape;
}
} // namespace

static bool needsAll(Warp &warp, const Op &op, uint32_t lanes) {
  if (lanes == ~0u)
    return true;
  warp.fail(op, __builtin_ctz(~lanes),
            "a matrix instruction needs all 32 lanes of the warp");
  return false;
}

/// Bits of element `j` of a register of `width` bytes.
static uint64_t partOf(const uint8_t *lane, unsigned width, unsigned bits,
                       unsigned j) {
  uint64_t word = 0;
  std::memcpy(&word, lane, width);
  return bits == 64 ? word : word >> (bits * j) & ((uint64_t(1) << bits) - 1);
}

/// Adds products in order of k.
template <typename T>
NEST_PTX_INLINE void sumFloat(Tile<T> &tile, const Shape &shape) {
  for (unsigned i = 0; i < shape.m; ++i)
    for (unsigned part = 0; part < shape.n; part += 8) {
      T row[8];
      for (unsigned j = 0; j < 8; ++j)
        row[j] = tile.c[i][part + j];
      for (unsigned x = 0; x < shape.k(); ++x) {
        T a = tile.a[i][x];
        for (unsigned j = 0; j < 8; ++j)
          row[j] = detail::hardwareFma(a, tile.b[x][part + j], row[j]);
      }
      for (unsigned j = 0; j < 8; ++j)
        tile.c[i][part + j] = row[j];
    }
}
NEST_PTX_FAST static void sumFast(Tile<float> &tile, const Shape &shape) {
  sumFloat(tile, shape);
}
NEST_PTX_FAST static void sumFast(Tile<double> &tile, const Shape &shape) {
  sumFloat(tile, shape);
}

template <typename T>
static void sum(Tile<T> &tile, const Shape &shape) {
  if (hasFastLanes())
    sumFast(tile, shape);
  else
    sumFloat(tile, shape);
}

static void sumRounded(Tile<double> &tile, const Shape &shape) {
  auto round = static_cast<Round>(shape.mode - Shape::RoundFirst);
  for (unsigned i = 0; i < shape.m; ++i)
    for (unsigned j = 0; j < shape.n; ++j)
      for (unsigned x = 0; x < shape.k(); ++x)
        tile.c[i][j] =
            fusedMulAdd(round, tile.a[i][x], tile.b[x][j], tile.c[i][j]);
}

/// Products of integers and of words of bits, which 32 bits hold.
static void sum(Tile<int32_t> &tile, const Shape &shape) {
  unsigned k = shape.a == Type::B1 ? shape.k() / 32 : shape.k();
  for (unsigned i = 0; i < shape.m; ++i) {
    int32_t row[32] = {};
    for (unsigned x = 0; x < k; ++x)
      for (unsigned j = 0; j < shape.n; ++j) {
        int32_t a = tile.a[i][x], b = tile.b[x][j];
        row[j] += shape.mode == Shape::Xor   ? __builtin_popcount(a ^ b)
                  : shape.mode == Shape::And ? __builtin_popcount(a & b)
                                             : a * b;
      }
    for (unsigned j = 0; j < shape.n; ++j) {
      int64_t total = int64_t(tile.c[i][j]) + row[j];
      tile.c[i][j] = shape.mode == Shape::Saturate
                         ? clampInteger<int32_t>(total)
                         : static_cast<int32_t>(total);
    }
  }
}

//===----------------------------------------------------------------------===//
// mma.sync: fragments as the ISA lays them out
//===----------------------------------------------------------------------===//

/// Operands: op.list is D; op.list2 is A, B and C, with op.variant and
/// op.target registers of A and B.
namespace {
/// Rows of A, columns of B and elements of C that are undefined.
class MmaTaint {
public:
  MmaTaint(const Warp &warp, const Op &op, const Shape &shape) {
    for (Slot slot : op.list2)
      any |= warp.undefined(slot);
    if (!any)
      return;
    unsigned first = 0;
    for (unsigned r = 0; r < op.variant; ++r)
      forLanes(warp.undefined(op.list2[first + r]), [&](unsigned lane) {
        rows |= 1u << (lane / 4 + (shape.m == 16 ? 8 * (r % 2) : 0));
      });
    first += op.variant;
    for (unsigned r = 0; r < op.target; ++r)
      forLanes(warp.undefined(op.list2[first + r]),
               [&](unsigned lane) { columns |= 1u << lane / 4; });
    first += op.target;
    for (unsigned r = 0; first + r < op.list2.size(); ++r)
      forLanes(warp.undefined(op.list2[first + r]), [&](unsigned lane) {
        if (shape.c == Type::F16)
          elements[lane / 4 + 8 * r] |= 3u << lane % 4 * 2;
        else
          elements[lane / 4 + 8 * (r / 2)] |= 1u << (lane % 4 * 2 + r % 2);
      });
  }
  /// Sets what is known of D.
  void apply(const Warp &warp, const Op &op, const Shape &shape) const {
    unsigned bytes = shape.d == Type::F64 ? 8 : 4;
    for (unsigned r = 0; r < op.list.size(); ++r) {
      warp.define(op.list[r], ~0u);
      for (unsigned lane = 0; any && lane < laneCount; ++lane) {
        uint64_t bits = 0;
        if (shape.d == Type::F16) {
          unsigned row = lane / 4 + 8 * r;
          bits = (lost(row, lane % 4 * 2) ? 0xffff : 0) |
                 (lost(row, lane % 4 * 2 + 1) ? 0xffff0000u : 0);
        } else if (lost(lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2)) {
          bits = ~uint64_t(0) >> (64 - 8 * bytes);
        }
        if (bits)
          warp.setShadow(op.list[r], lane, bytes, bits);
      }
    }
  }

private:
  bool lost(unsigned row, unsigned column) const {
    return (rows >> row & 1) || (columns >> column & 1) ||
           (elements[row] >> column & 1);
  }
  uint32_t any = 0, rows = 0, columns = 0;
  uint32_t elements[16] = {}; ///< [row]: bits of columns
};

} // namespace

/// The common products, m16n8k8 and m16n8k16 of f16 and bf16. A register of A
/// is 8 rows of 8 elements in the order of the lanes, one of B 8 columns.
template <bool fast, bool isHalf>
NEST_PTX_INLINE void multiplyPairs(Warp &warp, const Op &op,
                                   const Shape &shape) {
  alignas(32) float a[16][16], b[16][8], c[16][8];
  unsigned aCount = op.variant, bCount = op.target;
  for (unsigned r = 0; r < aCount; ++r) {
    const uint32_t *words = warp.at<uint32_t>(op.list2[r]);
    for (unsigned row = 0; row < 8; ++row)
      widen<fast, isHalf>(words + 4 * row, &a[row + 8 * (r % 2)][r / 2 * 8]);
  }
  for (unsigned r = 0; r < bCount; ++r) {
    Halves rows[8];
    transpose(warp.at<uint32_t>(op.list2[aCount + r]), rows);
    for (unsigned k = 0; k < 8; ++k)
      widen<fast, isHalf>(&rows[k], b[8 * r + k]);
  }
  const Slot *from = &op.list2[aCount + bCount];
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned row = 0; row < 8; ++row) {
      float *to = c[8 * half + row];
      if (shape.c == Type::F16) {
        widen<fast, true>(warp.at<uint32_t>(from[half]) + 4 * row, to);
        continue;
      }
      FourFloats even, odd;
      std::memcpy(&even, warp.at<float>(from[2 * half]) + 4 * row, 16);
      std::memcpy(&odd, warp.at<float>(from[2 * half + 1]) + 4 * row, 16);
      Floats both = __builtin_shufflevector(even, odd, 0, 4, 1, 5, 2, 6, 3, 7);
      std::memcpy(to, &both, sizeof both);
    }
  for (unsigned half = 0; half < 2; ++half) {
    float sums[8][8];
    std::memcpy(sums, c[8 * half], sizeof sums);
    for (unsigned k = 0; k < shape.k(); ++k)
      for (unsigned row = 0; row < 8; ++row)
        for (unsigned j = 0; j < 8; ++j)
          sums[row][j] =
              detail::hardwareFma(a[8 * half + row][k], b[k][j], sums[row][j]);
    for (unsigned row = 0; row < 8; ++row)
      for (unsigned j = 0; j < 8; ++j)
        c[8 * half + row][j] = canonical(sums[row][j]);
  }
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned row = 0; row < 8; ++row) {
      const float *sums = c[8 * half + row];
      if (shape.d == Type::F16) {
        uint16_t halves[8];
        for (unsigned j = 0; j < 8; ++j)
          halves[j] = convert<Half>(sums[j]).bits;
        std::memcpy(warp.at<uint32_t>(op.list[half]) + 4 * row, halves, 16);
        continue;
      }
      Floats both;
      std::memcpy(&both, sums, sizeof both);
      FourFloats even = __builtin_shufflevector(both, both, 0, 2, 4, 6);
      FourFloats odd = __builtin_shufflevector(both, both, 1, 3, 5, 7);
      std::memcpy(warp.at<float>(op.list[2 * half]) + 4 * row, &even, 16);
      std::memcpy(warp.at<float>(op.list[2 * half + 1]) + 4 * row, &odd, 16);
    }
}
template <bool isHalf>
NEST_PTX_FAST static void multiplyPairsFast(Warp &warp, const Op &op,
                                            const Shape &shape) {
  multiplyPairs<true, isHalf>(warp, op, shape);
}

template <bool isHalf>
static Step mmaPairs(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
  Shape shape = shapeOf(op);
  MmaTaint taint(warp, op, shape);
  if (hasFastLanes())
    multiplyPairsFast<isHalf>(warp, op, shape);
  else
    multiplyPairs<false, isHalf>(warp, op, shape);
  taint.apply(warp, op, shape);
  warp.block.counters.mmaFlops += 2ull * shape.m * 8 * shape.k();
  return Step::Done;
}

/// All others. T: float, double or int32_t for the sum.
template <typename T>
static Step mma(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
  Shape shape = shapeOf(op);
  unsigned aCount = op.variant, bCount = op.target;
  unsigned rows8 = shape.m / 8, bits = elementBits(shape.a);
  unsigned width = sizeof(T) == 8 ? 8 : 4, perRegister = 8 * width / bits;
  Tile<T> tile;
  MmaTaint taint(warp, op, shape);
  byElement<T>(shape.a, [&](auto number) {
    for (unsigned r = 0; r < aCount; ++r) {
      const uint8_t *words = warp.at<uint8_t>(op.list2[r]);
      for (unsigned lane = 0; lane < laneCount; ++lane)
        for (unsigned j = 0; j < perRegister; ++j)
          tile.a[lane / 4 + 8 * (r % rows8)]
                [(r / rows8 * 4 + lane % 4) * perRegister + j] =
              number(partOf(words + lane * width, width, bits, j));
    }
  });
  byElement<T>(shape.b, [&](auto number) {
    for (unsigned r = 0; r < bCount; ++r) {
      const uint8_t *words = warp.at<uint8_t>(op.list2[aCount + r]);
      for (unsigned lane = 0; lane < laneCount; ++lane)
        for (unsigned j = 0; j < perRegister; ++j)
          tile.b[(r * 4 + lane % 4) * perRegister + j][lane / 4] =
              number(partOf(words + lane * width, width, bits, j));
    }
  });
  const Slot *from = &op.list2[aCount + bCount];
  for (unsigned r = 0; r < op.list2.size() - aCount - bCount; ++r)
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      if constexpr (std::is_same_v<T, float>)
        if (shape.c == Type::F16) {
          uint32_t word = warp.at<uint32_t>(from[r])[lane];
          T *to = &tile.c[row + 8 * r][column];
          to[0] = toFloat(Half{static_cast<uint16_t>(word)});
          to[1] = toFloat(Half{static_cast<uint16_t>(word >> 16)});
          continue;
        }
      tile.c[row + 8 * (r / 2)][column + r % 2] = warp.at<T>(from[r])[lane];
    }
  if constexpr (std::is_same_v<T, double>) {
    if (shape.mode > Shape::RoundFirst)
      sumRounded(tile, shape);
    else
      sum(tile, shape);
  } else {
    sum(tile, shape);
  }
  for (unsigned r = 0; r < op.list.size(); ++r)
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      if constexpr (std::is_same_v<T, float>)
        if (shape.d == Type::F16) {
          const T *sums = &tile.c[row + 8 * r][column];
          uint32_t low = convert<Half>(sums[0]).bits;
          uint32_t high = convert<Half>(sums[1]).bits;
          warp.at<uint32_t>(op.list[r])[lane] = high << 16 | low;
          continue;
        }
      T value = tile.c[row + 8 * (r / 2)][column + r % 2];
      if constexpr (!std::is_same_v<T, int32_t>)
        value = canonical(value);
      warp.at<T>(op.list[r])[lane] = value;
    }
  taint.apply(warp, op, shape);
  warp.block.counters.mmaFlops += 2ull * shape.m * 8 * shape.k();
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

namespace {
/// Types of elements that go together.
enum class Family : uint8_t {
  Half,
  Brain,
  Tf32,
  Double,
  Bytes,
  Nibbles,
  Bits,
  Fp8,
  None
};

/// A legal product, and which version and architecture it needs.
struct Product {
  std::string_view shape;
  Family family;
  uint8_t version, sm;
};
} // namespace

static Family familyOf(Type type) {
  switch (type) {
  case Type::F16:
    return Family::Half;
  case Type::BF16:
    return Family::Brain;
  case Type::TF32:
    return Family::Tf32;
  case Type::F64:
    return Family::Double;
  case Type::S8:
  case Type::U8:
    return Family::Bytes;
  case Type::S4:
  case Type::U4:
    return Family::Nibbles;
  case Type::B1:
    return Family::Bits;
  case Type::E4M3:
  case Type::E5M2:
    return Family::Fp8;
  default:
    return Family::None;
  }
}

/// Sets the shape that ".m16n8k16" and the types name; an error unless it is in
/// the table.
template <size_t n>
static bool chooseProduct(Decoder &d, std::string_view shapeName, Family family,
                          const Product (&table)[n], Shape &shape) {
  std::string legal;
  for (const Product &row : table) {
    if (row.family != family)
      continue;
    if (row.shape != shapeName) {
      legal += (legal.empty() ? "." : ", .") + std::string(row.shape);
      continue;
    }
    unsigned numbers[3] = {};
    int at = -1;
    for (char c : shapeName)
      if (c >= '0' && c <= '9')
        numbers[at] = numbers[at] * 10 + (c - '0');
      else
        ++at;
    shape.m = numbers[0];
    shape.n = numbers[1];
    shape.k4 = numbers[2] / 4;
    d.require(row.version, row.sm);
    return true;
  }
  d.error("no such combination of shape and types",
          legal.empty() ? std::string() : "these types go with " + legal);
  return false;
}

/// Takes a modifier like ".m16n8k16" away.
static std::string_view takeShapeName(Decoder &d) {
  for (std::string_view each : d.instruction().modifiers)
    if (each.size() > 4 && each[0] == 'm' && each[1] >= '0' && each[1] <= '9' &&
        each.find('k') != std::string_view::npos && d.take(each))
      return each;
  d.error("the shape is missing", ".m16n8k16 and the like");
  return {};
}

/// Whether a fragment of such elements may lie in a register, as ptxas says.
static bool mayHold(Type have, Type element, bool isWmma) {
  if (have == Type::B32)
    return element != Type::F64;
  switch (familyOf(element)) {
  case Family::Half:
    return have == Type::F16x2;
  case Family::Brain:
  case Family::Tf32:
    return false;
  case Family::Double:
    return typeBits(have) == 64;
  case Family::None: // .f32 and .s32
    return element == Type::F32   ? have == Type::F32
           : element == Type::S32 ? isInt(have) && typeBits(have) == 32
                                  : typeBits(have) == 32;
  default:
    return isWmma ? isInt(have) && typeBits(have) == 32 : typeBits(have) == 32;
  }
}

/// Appends the registers of a {...} operand. Type::None: a matrix of ldmatrix
/// and the like.
static void fragment(Decoder &d, const Operand &operand, Type element,
                     unsigned count, std::vector<Slot> &to, bool isResult,
                     bool isWmma = false) {
  if (operand.kind != Operand::Kind::Vector || operand.elements.size() != count)
    return d.error("a fragment does not have " + std::to_string(count) +
                       " registers",
                   "{" + std::to_string(count) + " registers}");
  // Constants of these types have a type themselves.
  bool sums =
      element == Type::F64 || element == Type::F32 || element == Type::S32;
  bool typed = false;
  for (const Operand &each : operand.elements) {
    Type word = element == Type::F64 ? Type::B64 : Type::B32;
    if (std::optional<Type> have = d.registerType(each)) {
      typed = true;
      if (!mayHold(*have, element, isWmma))
        d.error("register '" + std::string(each.name) + "' is " +
                    typeName(*have),
                word == Type::B64 ? "64 bits are expected" : ".b32 is legal");
    } else if (sums && each.kind != Operand::Kind::Sink) {
      typed = true;
      word = element;
    }
    to.push_back(isResult ? d.result(each, word, false, true)
                          : d.source(each, word));
  }
  if (!typed)
    d.error("a fragment without a register");
}

static constexpr Product mmaProducts[] = {
    {"m16n8k8", Family::Half, 65, 75},
    {"m16n8k16", Family::Half, 70, 80},
    {"m16n8k8", Family::Brain, 70, 80},
    {"m16n8k16", Family::Brain, 70, 80},
    {"m16n8k4", Family::Tf32, 70, 80},
    {"m16n8k8", Family::Tf32, 70, 80},
    {"m8n8k4", Family::Double, 70, 80},
    {"m16n8k4", Family::Double, 78, 90},
    {"m16n8k8", Family::Double, 78, 90},
    {"m16n8k16", Family::Double, 78, 90},
    {"m8n8k16", Family::Bytes, 65, 75},
    {"m16n8k16", Family::Bytes, 70, 80},
    {"m16n8k32", Family::Bytes, 70, 80},
    {"m8n8k32", Family::Nibbles, 65, 75},
    {"m16n8k32", Family::Nibbles, 70, 80},
    {"m16n8k64", Family::Nibbles, 70, 80},
    {"m8n8k128", Family::Bits, 70, 75},
    {"m16n8k128", Family::Bits, 70, 80},
    {"m16n8k256", Family::Bits, 70, 80},
    {"m16n8k16", Family::Fp8, 87, 89},
    {"m16n8k32", Family::Fp8, 84, 89},
};

/// .satfinite, .xor.popc and the rounding of .f64.
static void takeMode(Decoder &d, Family family, Shape &shape) {
  shape.mode = Shape::Plain;
  if (family == Family::Double) {
    int round = d.takeOneOf({"rn", "rz", "rm", "rp"});
    Round rounds[] = {Round::NearestEven, Round::Zero, Round::Down, Round::Up};
    if (round > 0)
      shape.mode = static_cast<Shape::Mode>(
          Shape::RoundFirst + static_cast<unsigned>(rounds[round]));
  } else if (family == Family::Bits) {
    bool both = d.needOneOf({"xor", "and"}) == 1;
    shape.mode = both ? Shape::And : Shape::Xor;
    d.needOneOf({"popc"});
    if (both)
      d.require(71, 80);
  } else if ((family == Family::Bytes || family == Family::Nibbles) &&
             d.take("satfinite")) {
    shape.mode = Shape::Saturate;
  }
}

static void decodeMma(Decoder &d) {
  if (d.has("sp") || d.has("sp::ordered_metadata"))
    return d.error("sparse matrices are not supported",
                   "the dense mma of the whole matrix");
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  std::string_view shapeName = takeShapeName(d);
  // A is row-major and B column-major, in this order.
  if (d.needOneOf({"row", "col"}) != 0 || d.needOneOf({"row", "col"}) != 1)
    d.error("no such order of the matrices", ".row.col");
  if (d.take("kind::f8f6f4") && d.loaded.module->sm < 120)
    d.error(".kind::f8f6f4 needs sm_120a");
  Shape shape = {};
  shape.d = d.type({Type::F32, Type::F16, Type::F64, Type::S32});
  static const std::initializer_list<Type> elements = {
      Type::F16, Type::BF16, Type::TF32, Type::F64,  Type::S8,  Type::U8,
      Type::S4,  Type::U4,   Type::B1,   Type::E4M3, Type::E5M2};
  shape.a = d.type(elements);
  shape.b = d.type(elements);
  shape.c = d.type({Type::F32, Type::F16, Type::F64, Type::S32});
  Family family = familyOf(shape.a);
  if (family == Family::Half && shapeName == "m8n8k4")
    return d.error(".m8n8k4 of .f16, made for sm_70, is not supported",
                   ".m16n8k8 and .m16n8k16");
  if (!chooseProduct(d, shapeName, family, mmaProducts, shape))
    return;
  takeMode(d, family, shape);
  d.finish(4);
  bool isInteger = family == Family::Bytes || family == Family::Nibbles ||
                   family == Family::Bits;
  bool halfIsLegal = family == Family::Half || family == Family::Fp8;
  Type sum = isInteger                  ? Type::S32
             : family == Family::Double ? Type::F64
                                        : Type::F32;
  if (familyOf(shape.b) != family || shape.c != shape.d ||
      (shape.d != sum && !(shape.d == Type::F16 && halfIsLegal)))
    return d.error("no such combination of types");
  if (family == Family::Fp8 && shape.d == Type::F16)
    d.require(87, 89);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  unsigned k = shape.k(), bits = typeBits(shape.a);
  if (shape.a == Type::TF32)
    bits = 32;
  unsigned registerBits = 32 * (family == Family::Double ? 64 : 32);
  op.variant = shape.m * k * bits / registerBits;
  op.target = 8 * k * bits / registerBits;
  unsigned sums = shape.d == Type::F16 ? shape.m / 8 : shape.m / 4;
  fragment(d, d.operand(0), shape.d, sums, op.list, true);
  fragment(d, d.operand(1), shape.a, op.variant, op.list2, false);
  fragment(d, d.operand(2), shape.b, op.target, op.list2, false);
  fragment(d, d.operand(3), shape.c, sums, op.list2, false);
  std::memcpy(&op.imm, &shape, 8);
  op.effect = family == Family::Half     ? mmaPairs<true>
              : family == Family::Brain  ? mmaPairs<false>
              : family == Family::Double ? mma<double>
              : isInteger                ? mma<int32_t>
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
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
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
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
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
  fragment(d, d.operand(isLoad ? 0 : 1), Type::None, count, op.list, isLoad);
  op.effect = isLoad ? loadMatrix : storeMatrix;
  d.emit(std::move(op));
}

static Step moveMatrix(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
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
  if (!d.registerType(d.operand(1)))
    d.error("the matrix is not a register", "a register of 32 bits");
  op.d = d.result(0, Type::B32);
  op.s[0] = d.source(1, Type::B32);
  op.effect = moveMatrix;
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// wmma: fragments in a layout of our own, which the ISA allows
//===----------------------------------------------------------------------===//

namespace {
/// A matrix of wmma.load and wmma.store: Op::target.
struct Fragment {
  uint8_t rows, columns;
  Type type;
  bool columnMajor : 1, isStore : 1, hasStride : 1;
};
static_assert(sizeof(Fragment) == 4);

/// How elements of a type lie in registers.
struct Packing {
  explicit Packing(Type type)
      : bits(elementBits(type)), width(bits == 64 ? 8 : 4),
        perRegister(8 * width / bits) {}
  /// The element of a matrix, row after row, that part `part` of register `r`
  /// in `lane` holds; there may be more parts than elements.
  unsigned elementOf(unsigned total, unsigned r, unsigned lane,
                     unsigned part) const {
    return ((r * perRegister + part) * laneCount + lane) % total;
  }
  unsigned bits, width, perRegister;
};

const Product wmmaProducts[] = {
    {"m16n16k16", Family::Half, 60, 70},  {"m32n8k16", Family::Half, 61, 70},
    {"m8n32k16", Family::Half, 61, 70},   {"m16n16k16", Family::Brain, 70, 80},
    {"m32n8k16", Family::Brain, 70, 80},  {"m8n32k16", Family::Brain, 70, 80},
    {"m16n16k8", Family::Tf32, 70, 80},   {"m8n8k4", Family::Double, 70, 80},
    {"m16n16k16", Family::Bytes, 63, 72}, {"m32n8k16", Family::Bytes, 63, 72},
    {"m8n32k16", Family::Bytes, 63, 72},
};
} // namespace

static Step moveFragment(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
  Fragment f;
  std::memcpy(&f, &op.target, sizeof f);
  Packing packing(f.type);
  unsigned bytes = packing.bits / 8;
  uint64_t base[laneCount];
  if (!addressesOf(warp, op, lanes, base) ||
      !warp.demand(op, op.s[1], lanes, "the stride"))
    return Step::Fault;
  uint64_t stride = f.hasStride     ? warp.at<uint32_t>(op.s[1])[0]
                    : f.columnMajor ? f.rows
                                    : f.columns;
  for (unsigned lane = 1; lane < laneCount; ++lane)
    if (base[lane] != base[0] ||
        (f.hasStride && warp.at<uint32_t>(op.s[1])[lane] != stride))
      return warp.fail(op, lane,
                       "the lanes differ in the address or the stride of the "
                       "matrix");
  // PTX asks for rows aligned to the bytes of the fragment, CUDA C++ for 16.
  uint64_t align = std::min<uint64_t>(16, op.list.size() * packing.width);
  if ((base[0] | stride * bytes) % align)
    return warp.fail(op, 0,
                     "the address and the stride of the matrix are not "
                     "multiples of " +
                         std::to_string(align) + " bytes");
  for (unsigned r = 0; r < op.list.size(); ++r)
    for (unsigned part = 0; part < packing.perRegister; ++part) {
      uint64_t address[laneCount];
      for (unsigned lane = 0; lane < laneCount; ++lane) {
        unsigned e = packing.elementOf(f.rows * f.columns, r, lane, part);
        unsigned row = e / f.columns, column = e % f.columns;
        address[lane] =
            base[0] + bytes * (f.columnMajor ? column * stride + row
                                             : row * stride + column);
      }
      Pointers p;
      Touch touch = f.isStore ? Touch::Write : Touch::Read;
      Slot slot = op.list[r];
      uint8_t *words = warp.at<uint8_t>(slot);
      unsigned width = packing.width;
      StoredValues values;
      values.element[0] = words + part * bytes;
      values.bytes = bytes;
      values.stride = width;
      if (!locate(warp, op, lanes, op.access.space, address, bytes, bytes,
                  touch, p) ||
          !checkState(warp, op, lanes, bytes, false, p) ||
          !checkRaces(warp, op, bytes, touch, p, values) ||
          !checkGlobalRaces(warp, op, lanes, op.access.space, address, bytes,
                            touch, p, values))
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

/// T: float, double or int32_t for the sum.
template <typename T>
static Step wmma(Warp &warp, const Op &op, uint32_t lanes) {
  if (!needsAll(warp, op, lanes))
    return Step::Fault;
  Shape shape = shapeOf(op);
  unsigned aCount = op.variant, bCount = op.target;
  Tile<T> tile;
  uint32_t unknown = 0;
  for (Slot slot : op.list2)
    unknown |= warp.undefined(slot);
  /// Calls `f(to, lane's bytes, packing, part)` for each element of a matrix.
  auto visit = [&](const Slot *slots, unsigned count, unsigned rows,
                   unsigned columns, Type type, auto *matrix, auto f) {
    Packing packing(type);
    for (unsigned r = 0; r < count; ++r)
      for (unsigned lane = 0; lane < laneCount; ++lane)
        for (unsigned part = 0; part < packing.perRegister; ++part) {
          unsigned e = packing.elementOf(rows * columns, r, lane, part);
          f(matrix[e / columns][e % columns],
            warp.at<uint8_t>(slots[r]) + lane * packing.width, packing, part);
        }
  };
  auto gather = [&](const Slot *slots, unsigned count, unsigned rows,
                    unsigned columns, Type type, auto *matrix) {
    byElement<T>(type, [&](auto number) {
      visit(
          slots, count, rows, columns, type, matrix,
          [&](T &to, const uint8_t *at, const Packing &packing, unsigned part) {
            to = number(partOf(at, packing.width, packing.bits, part));
          });
    });
  };
  const Slot *from = op.list2.data();
  gather(from, aCount, shape.m, shape.k(), shape.a, tile.a);
  gather(from + aCount, bCount, shape.k(), shape.n, shape.b, tile.b);
  gather(from + aCount + bCount, op.list2.size() - aCount - bCount, shape.m,
         shape.n, shape.c, tile.c);
  if constexpr (std::is_same_v<T, double>) {
    if (shape.mode > Shape::RoundFirst)
      sumRounded(tile, shape);
    else
      sum(tile, shape);
  } else {
    sum(tile, shape);
  }
  visit(op.list.data(), op.list.size(), shape.m, shape.n, shape.d, tile.c,
        [&](T sum, uint8_t *at, const Packing &, unsigned part) {
          if constexpr (std::is_same_v<T, float>)
            if (shape.d == Type::F16) {
              uint16_t half = convert<Half>(sum).bits;
              std::memcpy(at + 2 * part, &half, 2);
              return;
            }
          if constexpr (!std::is_same_v<T, int32_t>)
            sum = canonical(sum);
          std::memcpy(at, &sum, sizeof sum);
        });
  for (Slot slot : op.list)
    if (unknown) // coarser than mma: fragments are opaque
      warp.undefine(slot, sizeof(T), ~0u);
    else
      warp.define(slot, ~0u);
  warp.block.counters.mmaFlops += 2ull * shape.m * shape.n * shape.k();
  return Step::Done;
}

/// Registers of a fragment (PTX ISA, tables of wmma).
static unsigned wmmaRegisters(char matrix, const Shape &shape, Type type) {
  unsigned elements = matrix == 'a'   ? shape.m * shape.k()
                      : matrix == 'b' ? shape.k() * shape.n
                                      : shape.m * shape.n;
  if (matrix != 'c' && type == Type::F16)
    return 8;
  Packing packing(type);
  return elements / packing.perRegister / laneCount;
}

/// wmma.load and wmma.store; `matrix`: 'a', 'b', or 'c' for 'd' too.
static void decodeMoveFragment(Decoder &d, char matrix, bool isStore) {
  bool columnMajor = d.needOneOf({"row", "col"}) == 1;
  std::string_view shapeName = takeShapeName(d);
  Space space = d.space();
  if (space != Space::Generic && space != Space::Global &&
      space != Space::Shared)
    d.error("matrices lie in .global and .shared");
  Type type = matrix == 'c'
                  ? d.type({Type::F16, Type::F32, Type::S32, Type::F64})
                  : d.type({Type::F16, Type::BF16, Type::TF32, Type::S8,
                            Type::U8, Type::F64});
  // Accumulators are those of the products with such a shape.
  Family family = type == Type::S32         ? Family::Bytes
                  : type != Type::F32       ? familyOf(type)
                  : shapeName == "m16n16k8" ? Family::Tf32
                                            : Family::Half;
  Shape shape = {};
  if (!chooseProduct(d, shapeName, family, wmmaProducts, shape))
    return;
  d.finish(2, 3);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  op.effect = moveFragment;
  d.address(d.operand(isStore ? 0 : 1), op, space);
  Fragment f = {};
  f.rows = matrix == 'b' ? shape.k() : shape.m;
  f.columns = matrix == 'a' ? shape.k() : shape.n;
  f.type = type;
  f.columnMajor = columnMajor;
  f.isStore = isStore;
  f.hasStride = d.operandCount() == 3;
  if (f.hasStride)
    op.s[1] = d.source(2, Type::U32);
  fragment(d, d.operand(isStore ? 1 : 0), type,
           wmmaRegisters(matrix, shape, type), op.list, !isStore, true);
  unsigned bytes = elementBits(type) / 8;
  if (space != Space::Global)
    d.noteSharedAccess(std::min(bytes, 4u));
  d.noteAccess(std::min(bytes, 4u));
  std::memcpy(&op.target, &f, sizeof f);
  d.emit(std::move(op));
}

static void decodeWmma(Decoder &d) {
  int what = d.needOneOf({"load", "store", "mma"});
  char matrix = 'c';
  if (what == 0)
    matrix = "abc"[d.needOneOf({"a", "b", "c"})];
  else if (what == 1)
    d.needOneOf({"d"});
  d.needOneOf({"sync"});
  d.needOneOf({"aligned"});
  if (what != 2)
    return decodeMoveFragment(d, matrix, what == 1);
  // Fragments are opaque: how the matrices lay in memory is past.
  d.needOneOf({"row", "col"});
  d.needOneOf({"row", "col"});
  std::string_view shapeName = takeShapeName(d);
  Type types[4];
  unsigned count = 0;
  while (d.peekType() != Type::None && count < 4)
    types[count++] = d.type({});
  // Of .f16 only the accumulators' types are written.
  bool isHalf = count == 2;
  if (!isHalf && (count != 4 || types[1] == Type::F16))
    return d.error("the types are not legal",
                   "two, of the accumulators of .f16, or four");
  Shape shape = {};
  shape.d = types[0];
  shape.c = types[count - 1];
  shape.a = isHalf ? Type::F16 : types[1];
  shape.b = isHalf ? Type::F16 : types[2];
  Family family = familyOf(shape.a);
  if (family == Family::Nibbles || family == Family::Bits)
    return d.error("wmma of less than 8 bits is not supported", "mma.sync");
  auto isSum = [&](Type type) {
    return isHalf                     ? type == Type::F16 || type == Type::F32
           : family == Family::Bytes  ? type == Type::S32
           : family == Family::Double ? type == Type::F64
                                      : type == Type::F32;
  };
  if (shape.b != shape.a || !isSum(shape.c) || !isSum(shape.d))
    return d.error("no such combination of types");
  if (!chooseProduct(d, shapeName, family, wmmaProducts, shape))
    return;
  takeMode(d, family, shape);
  d.finish(4);
  Op op = d.start(OpKind::Sync, OpClass::Matrix);
  op.aligned = true;
  op.variant = wmmaRegisters('a', shape, shape.a);
  op.target = wmmaRegisters('b', shape, shape.b);
  fragment(d, d.operand(0), shape.d, wmmaRegisters('c', shape, shape.d),
           op.list, true, true);
  fragment(d, d.operand(1), shape.a, op.variant, op.list2, false, true);
  fragment(d, d.operand(2), shape.b, op.target, op.list2, false, true);
  fragment(d, d.operand(3), shape.c, wmmaRegisters('c', shape, shape.c),
           op.list2, false, true);
  std::memcpy(&op.imm, &shape, 8);
  op.effect = family == Family::Double  ? wmma<double>
              : family == Family::Bytes ? wmma<int32_t>
                                        : wmma<float>;
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
