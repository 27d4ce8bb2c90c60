//===- Convert.cpp - conversions ------------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9.21: cvt and cvt.pack. A conversion of one number is a function
// from bits to bits; the common ones have loops over lanes of their own.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

namespace {
/// Op::variant: modifiers below, the rounding above.
enum : uint8_t { BitFtz = 1, BitSat = 2, BitRelu = 4, BitFinite = 8 };
constexpr unsigned roundShift = 4;

NEST_PTX_INLINE Modifiers modifiersOf(uint8_t variant) {
  Modifiers m;
  m.ftz = variant & BitFtz;
  m.sat = variant & BitSat;
  m.relu = variant & BitRelu;
  m.satfinite = variant & BitFinite;
  return m;
}
NEST_PTX_INLINE Round roundOf(uint8_t variant) {
  return static_cast<Round>(variant >> roundShift);
}

/// The value whose low bits these are.
template <typename T>
NEST_PTX_INLINE T valueOf(uint64_t bits) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(bits);
  else
    return fromBits<T>(static_cast<BitsOf<T>>(bits));
}
/// Its bits in a register, extended as its type says.
template <typename T>
NEST_PTX_INLINE uint64_t bitsOf(T value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<uint64_t>(static_cast<int64_t>(value)) &
           (std::is_signed_v<T> || sizeof(T) == 8
                ? ~uint64_t(0)
                : (uint64_t(1) << (8 * (sizeof(T) % 8))) - 1);
  else
    return toBits(value);
}

template <typename To, typename From>
NEST_PTX_INLINE To convertNumber(From value, uint8_t variant) {
  Modifiers m = modifiersOf(variant);
  if constexpr (std::is_integral_v<To> && std::is_integral_v<From>) {
    return m.sat ? clampInteger<To>(value) : static_cast<To>(value);
  } else if constexpr (std::is_integral_v<To>) {
    return toInteger<To>(roundOf(variant), value, m);
  } else if constexpr (std::is_same_v<To, From>) {
    // With an integer rounding; NearestAway stands for none.
    if (roundOf(variant) == Round::NearestAway)
      return convert<To>(value, m);
    return roundToInteger(roundOf(variant), value, m);
  } else {
    return convert<To>(roundOf(variant), value, m);
  }
}

using Conversion = uint64_t (*)(uint64_t bits, uint8_t variant);

template <typename To, typename From>
uint64_t convertBits(uint64_t bits, uint8_t variant) {
  return bitsOf(convertNumber<To>(valueOf<From>(bits), variant));
}

/// Any conversion between registers R and D, a call per lane.
template <typename D, typename R>
void convertLanes(Warp &warp, const Op &op, uint32_t lanes) {
  Conversion conversion;
  std::memcpy(static_cast<void *>(&conversion), &op.imm, sizeof conversion);
  const R *from = warp.at<R>(op.s[0]);
  D *to = warp.at<D>(op.d);
  uint8_t variant = op.variant;
  forLanes(lanes, [&](unsigned lane) {
    to[lane] = static_cast<D>(conversion(from[lane], variant));
  });
}

/// The rounding mode as a constant, so that the loop vectorises.
template <typename To, typename From, Round R>
struct Common {
  NEST_PTX_INLINE To apply(const Op &op, From value) {
    constexpr uint8_t round = static_cast<uint8_t>(R) << roundShift;
    return convertNumber<To>(value,
                             static_cast<uint8_t>((op.variant & 15) | round));
  }
};
template <typename To, typename From>
struct Plain {
  NEST_PTX_INLINE To apply(const Op &, From value) {
    return static_cast<To>(value);
  }
};

template <typename T, bool Relu>
struct PackPair {
  NEST_PTX_INLINE uint32_t apply(const Op &, float a, float b) {
    Modifiers m;
    m.relu = Relu;
    return static_cast<uint32_t>(convert<T>(a, m).bits) << 16 |
           convert<T>(b, m).bits;
  }
};
/// A pair of any rounding and modifiers.
template <typename T>
struct PackPairSlow {
  NEST_PTX_INLINE uint32_t apply(const Op &op, float a, float b) {
    Modifiers m = modifiersOf(op.variant);
    Round round = roundOf(op.variant);
    return static_cast<uint32_t>(convert<T>(round, a, m).bits) << 16 |
           convert<T>(round, b, m).bits;
  }
};
template <bool E4m3>
struct PackBytes {
  NEST_PTX_INLINE uint16_t apply(const Op &op, float a, float b) {
    Modifiers m = modifiersOf(op.variant);
    uint8_t high = E4m3 ? toE4m3(a, m) : toE5m2(a, m);
    uint8_t low = E4m3 ? toE4m3(b, m) : toE5m2(b, m);
    return static_cast<uint16_t>(high << 8 | low);
  }
};
template <bool E4m3>
struct HalvesToBytes {
  NEST_PTX_INLINE uint16_t apply(const Op &op, uint32_t a) {
    return PackBytes<E4m3>::apply(op,
                                  toFloat(Half{static_cast<uint16_t>(a >> 16)}),
                                  toFloat(Half{static_cast<uint16_t>(a)}));
  }
};
template <bool E4m3>
struct BytesToHalves {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint16_t a) {
    Modifiers m = modifiersOf(op.variant);
    auto half = [&](unsigned shift) __attribute__((always_inline)) {
      uint8_t bits = static_cast<uint8_t>(a >> shift);
      Half h = E4m3 ? e4m3ToHalf(bits, m) : e5m2ToHalf(bits, m);
      return static_cast<uint32_t>(h.bits);
    };
    return half(8) << 16 | half(0);
  }
};
struct ToTf32 {
  NEST_PTX_INLINE float apply(const Op &op, float a) {
    return toTf32(roundOf(op.variant), a, modifiersOf(op.variant));
  }
};
/// cvt.pack: two saturated integers, above them what c has.
template <typename T>
struct PackIntegers {
  NEST_PTX_INLINE uint32_t apply(const Op &op, int32_t a, int32_t b,
                                 uint32_t c) {
    using U = std::make_unsigned_t<T>;
    constexpr unsigned bits = 8 * sizeof(T);
    uint32_t high = static_cast<U>(clampInteger<T>(a));
    uint32_t low = static_cast<U>(clampInteger<T>(b));
    uint32_t pair = high << bits | low;
    return op.flag ? c << (2 * bits % 32) | pair : pair;
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Choosing a conversion
//===----------------------------------------------------------------------===//

/// Calls `f(T())` with the C++ type of a scalar PTX type.
template <typename Fn>
static void byType(Type type, Fn f) {
  switch (type) {
  case Type::U8:
    return f(uint8_t());
  case Type::U16:
    return f(uint16_t());
  case Type::U32:
    return f(uint32_t());
  case Type::U64:
    return f(uint64_t());
  case Type::S8:
    return f(int8_t());
  case Type::S16:
    return f(int16_t());
  case Type::S32:
    return f(int32_t());
  case Type::S64:
    return f(int64_t());
  case Type::F16:
    return f(Half());
  case Type::BF16:
    return f(Bf16());
  case Type::F32:
    return f(float());
  default:
    return f(double());
  }
}

static void setGeneral(Op &op, Type to, Type from, unsigned toBytes,
                       unsigned fromBytes) {
  byType(to, [&](auto t) {
    using To = decltype(t);
    byType(from, [&](auto f) {
      using From = decltype(f);
      Conversion conversion = &convertBits<To, From>;
      std::memcpy(&op.imm, static_cast<const void *>(&conversion),
                  sizeof conversion);
    });
  });
  byWidth(toBytes, [&](auto d) {
    using D = decltype(d);
    byWidth(fromBytes, [&](auto r) {
      using R = decltype(r);
      op.lane = convertLanes<D, R>;
    });
  });
  op.resultBytes = toBytes;
}

template <typename To, typename From>
static bool setCommon(Op &op) {
  switch (roundOf(op.variant)) {
  case Round::NearestEven:
    setLane<Common<To, From, Round::NearestEven>, To, From>(op);
    return true;
  case Round::Zero:
    setLane<Common<To, From, Round::Zero>, To, From>(op);
    return std::is_integral_v<To>;
  case Round::NearestAway:
    setLane<Common<To, From, Round::NearestAway>, To, From>(op);
    return true;
  default:
    return false;
  }
}

/// The conversions that kernels are full of, where registers have the width of
/// the types. False when it is none of them.
static bool setFast(Op &op, Type to, Type from) {
  auto is = [&](Type t, Type f) { return to == t && from == f; };
  if (is(Type::F32, Type::S32))
    return setCommon<float, int32_t>(op);
  if (is(Type::F32, Type::U32))
    return setCommon<float, uint32_t>(op);
  if (is(Type::S32, Type::F32))
    return setCommon<int32_t, float>(op);
  if (is(Type::U32, Type::F32))
    return setCommon<uint32_t, float>(op);
  if (is(Type::F16, Type::F32))
    return setCommon<Half, float>(op);
  if (is(Type::BF16, Type::F32))
    return setCommon<Bf16, float>(op);
  if (is(Type::F32, Type::F16))
    return setCommon<float, Half>(op);
  if (is(Type::F32, Type::BF16))
    return setCommon<float, Bf16>(op);
  if (is(Type::F64, Type::F32))
    return setCommon<double, float>(op);
  if (is(Type::F32, Type::F64))
    return setCommon<float, double>(op);
  if (op.variant & BitSat || !isInt(to) || !isInt(from))
    return false;
  if (to == Type::U64 || to == Type::S64) {
    if (from == Type::U32)
      return setLane<Plain<uint64_t, uint32_t>, uint64_t, uint32_t>(op), true;
    if (from == Type::S32)
      return setLane<Plain<int64_t, int32_t>, int64_t, int32_t>(op), true;
    return false;
  }
  if (to == Type::U32 || to == Type::S32) {
    if (from == Type::U64 || from == Type::S64)
      return setLane<Plain<uint32_t, uint64_t>, uint32_t, uint64_t>(op), true;
    if (from == Type::U16)
      return setLane<Plain<uint32_t, uint16_t>, uint32_t, uint16_t>(op), true;
    if (from == Type::S16)
      return setLane<Plain<int32_t, int16_t>, int32_t, int16_t>(op), true;
    return false;
  }
  if ((to == Type::U16 || to == Type::S16) &&
      (from == Type::U32 || from == Type::S32))
    return setLane<Plain<uint16_t, uint32_t>, uint16_t, uint32_t>(op), true;
  return false;
}

/// Integers: bits that are cut off matter to nobody; an undefined sign is
/// copied. Op::list2 is not used; the types lie in Op::target and Op::flag.
static void taintInteger(Warp &warp, const Op &op, uint32_t lanes) {
  Type to = static_cast<Type>(op.target & 255);
  Type from = static_cast<Type>(op.target >> 8 & 255);
  unsigned sourceBytes = op.target >> 16;
  auto mask = [](unsigned bits) {
    return bits >= 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1;
  };
  forLanes(lanes, [&](unsigned lane) {
    unsigned bits = typeBits(from);
    uint64_t u = warp.shadow(op.s[0], lane, sourceBytes) & mask(bits);
    if (isSignedInt(from) && u >> (bits - 1) & 1)
      u |= ~mask(bits);
    unsigned kept = typeBits(to);
    u &= mask(kept);
    if (isSignedInt(to) && u >> (kept - 1) & 1)
      u |= ~mask(kept);
    warp.setShadow(op.d, lane, op.resultBytes, u & mask(8 * op.resultBytes));
  });
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

static void decodePack(Decoder &d) {
  d.needOneOf({"sat"});
  Type to = d.type({Type::U16, Type::S16, Type::U8, Type::S8});
  d.type({Type::S32});
  bool hasC = d.peekType() == Type::B32;
  if (hasC)
    d.take("b32");
  d.require(65, 72);
  if ((typeBits(to) == 8) != hasC)
    d.error("a third operand goes with results of 8 bits");
  d.finish(hasC ? 4 : 3);
  for (unsigned i = 1; i < d.operandCount(); ++i)
    if (d.operand(i).kind == Operand::Kind::Special &&
        d.operand(i).special != Special::WarpSize)
      d.error("a special register is no operand of cvt.pack");
  Op op = d.start(OpKind::Lane, OpClass::Convert);
  op.flag = hasC;
  op.d = d.result(0, Type::B32);
  op.s[0] = d.source(1, Type::S32);
  op.s[1] = d.source(2, Type::S32);
  if (hasC)
    op.s[2] = d.source(3, Type::B32);
  byType(to, [&](auto t) {
    using T = decltype(t);
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 2)
      setLane<PackIntegers<T>, uint32_t, int32_t, int32_t, uint32_t>(op);
  });
  d.emit(std::move(op));
}

/// f16x2, bf16x2, e4m3x2, e5m2x2 and tf32.
static void decodePacked(Decoder &d, Op op, Type to, Type from,
                         int floatRound) {
  bool bytesTo = to == Type::E4M3x2 || to == Type::E5M2x2;
  bool bytesFrom = from == Type::E4M3x2 || from == Type::E5M2x2;
  bool e4m3 = to == Type::E4M3x2 || from == Type::E4M3x2;
  bool finite = op.variant & BitFinite;
  if (op.variant & (BitFtz | BitSat))
    d.error(".ftz and .sat are not for packed types");
  if (to == Type::TF32) {
    if (from != Type::F32)
      d.error("tf32 is made of .f32");
    bool away = floatRound == 4;
    away ? d.require(70, 80) : d.require(78, 90);
    if (floatRound != 0 && floatRound != 1 && !away)
      d.error("the rounding is missing", ".rn, .rz or .rna");
    if (finite)
      away ? d.require(81, 80) : d.require(86, 100);
    if (away && (op.variant & BitRelu))
      d.error(".relu needs .rn or .rz");
    d.finish(2);
    op.d = d.result(0, to);
    op.s[0] = d.source(1, Type::F32);
    setLane<ToTf32, float, float>(op);
    return d.emit(std::move(op));
  }
  if (bytesTo || bytesFrom)
    d.require(78, 89);
  if (bytesTo && !finite)
    d.error(".satfinite is missing");
  if (finite && bytesFrom)
    d.error(".satfinite where nothing is out of range");
  if (floatRound != 0 && (bytesTo || bytesFrom || floatRound != 1))
    d.error("the rounding is not one that this conversion has", ".rn");
  if (bytesFrom) {
    if (to != Type::F16x2)
      d.error("8-bit floats become .f16x2");
    d.finish(2);
    op.d = d.result(0, to);
    op.s[0] = d.source(1, from);
    if (e4m3)
      setLane<BytesToHalves<true>, uint32_t, uint16_t>(op);
    else
      setLane<BytesToHalves<false>, uint32_t, uint16_t>(op);
    return d.emit(std::move(op));
  }
  if (bytesTo && from == Type::F16x2) {
    d.finish(2);
    op.d = d.result(0, to);
    op.s[0] = d.source(1, from);
    if (e4m3)
      setLane<HalvesToBytes<true>, uint16_t, uint32_t>(op);
    else
      setLane<HalvesToBytes<false>, uint16_t, uint32_t>(op);
    return d.emit(std::move(op));
  }
  if (from != Type::F32)
    return d.error("a pair is made of two .f32");
  d.finish(3);
  op.s[0] = d.source(1, Type::F32);
  op.s[1] = d.source(2, Type::F32);
  if (bytesTo) {
    op.d = d.result(0, to);
    if (e4m3)
      setLane<PackBytes<true>, uint16_t, float, float>(op);
    else
      setLane<PackBytes<false>, uint16_t, float, float>(op);
    return d.emit(std::move(op));
  }
  d.require(70, 80);
  op.d = d.result(0, to);
  if (finite)
    d.require(81, 80);
  bool brain = to == Type::BF16x2, relu = op.variant & BitRelu;
  bool slow = floatRound == 1 || finite;
  if (slow && brain)
    setLane<PackPairSlow<Bf16>, uint32_t, float, float>(op);
  else if (slow)
    setLane<PackPairSlow<Half>, uint32_t, float, float>(op);
  else if (brain && relu)
    setLane<PackPair<Bf16, true>, uint32_t, float, float>(op);
  else if (brain)
    setLane<PackPair<Bf16, false>, uint32_t, float, float>(op);
  else if (relu)
    setLane<PackPair<Half, true>, uint32_t, float, float>(op);
  else
    setLane<PackPair<Half, false>, uint32_t, float, float>(op);
  d.emit(std::move(op));
}

/// Whether all integers of one type are in another.
static bool isWithin(Type inner, Type outer) {
  unsigned have = typeBits(inner), room = typeBits(outer);
  if (isSignedInt(inner))
    return isSignedInt(outer) && have <= room;
  return isSignedInt(outer) ? have < room : have <= room;
}

static void decodeCvt(Decoder &d) {
  if (d.take("pack"))
    return decodePack(d);
  int floatRound = d.takeOneOf({"rn", "rz", "rm", "rp", "rna"});
  int intRound =
      floatRound < 0 ? d.takeOneOf({"rni", "rzi", "rmi", "rpi"}) : -1;
  Op op = d.start(OpKind::Lane, OpClass::Convert);
  op.variant = (d.take("ftz") ? BitFtz : 0) | (d.take("sat") ? BitSat : 0) |
               (d.take("relu") ? BitRelu : 0) |
               (d.take("satfinite") ? BitFinite : 0);
  static constexpr Round rounds[] = {Round::NearestEven, Round::Zero,
                                     Round::Down, Round::Up,
                                     Round::NearestAway};
  int taken = floatRound >= 0 ? floatRound : intRound;
  // NearestAway among equal types: no rounding at all.
  Round round = taken < 0 ? Round::NearestAway : rounds[taken];
  Type to = d.type({});
  Type from = d.type({});
  auto isPair = [](Type t) {
    return t == Type::F16x2 || t == Type::BF16x2 || t == Type::E4M3x2 ||
           t == Type::E5M2x2 || t == Type::TF32;
  };
  if (isPair(to) || isPair(from)) {
    op.variant |= static_cast<uint8_t>(round) << roundShift;
    return decodePacked(d, std::move(op), to, from, floatRound);
  }
  auto scalar = [](Type t) { return isInt(t) || isFloat(t); };
  if (!scalar(to) || !scalar(from))
    return d.error(std::string("no conversion from ") + typeName(from) +
                   " to " + typeName(to));
  bool toFloat = isFloat(to), fromFloat = isFloat(from);
  bool toHalf = typeBits(to) == 16 && toFloat;
  if (floatRound == 4)
    d.error(".rna is for tf32");
  // PTX ISA, table of cvt: which rounding a conversion needs.
  if (toFloat && fromFloat) {
    bool narrows = typeBits(to) < typeBits(from) ||
                   (typeBits(to) == typeBits(from) && to != from);
    // With bf16 on one side ptxas asks for none and takes all.
    bool isFree =
        from == Type::BF16 ? to != from : to == Type::BF16 && from == Type::F16;
    if (narrows && floatRound < 0 && !isFree)
      d.error("the rounding is missing", ".rn, .rz, .rm or .rp");
    if (!narrows && floatRound >= 0 && !isFree)
      d.error("a rounding where nothing is rounded");
    if (intRound >= 0 && to != from)
      d.error("integer rounding between different types");
  } else if (toFloat) {
    if (floatRound < 0)
      d.error("the rounding is missing", ".rn, .rz, .rm or .rp");
  } else if (fromFloat) {
    if (intRound < 0)
      d.error("the rounding is missing", ".rni, .rzi, .rmi or .rpi");
  } else if (taken >= 0) {
    d.error("a rounding between integers");
  }
  if ((op.variant & BitFtz) && to != Type::F32 && from != Type::F32)
    d.error(".ftz needs .f32 on one side");
  if ((op.variant & BitRelu) && !(toHalf && from == Type::F32))
    d.error(".relu is for halves made of .f32");
  if (op.variant & BitRelu) {
    d.require(70, 80);
    if (floatRound > 1)
      d.error("the rounding is not one that goes with .relu", ".rn or .rz");
  }
  if (op.variant & BitFinite) {
    d.require(81, 80);
    if (!(toHalf && from == Type::F32) || floatRound > 1 ||
        op.variant & (BitFtz | BitSat))
      d.error(".satfinite is for halves made of .f32 with .rn or .rz");
  }
  bool brain = to == Type::BF16 || from == Type::BF16;
  if (brain) {
    bool old = to == Type::F32 || from == Type::F32;
    old && !(op.variant & BitFtz) ? d.require(70, 80) : d.require(78, 90);
    if (typeBits(to) == 8 || typeBits(from) == 8)
      d.error("no conversion between .bf16 and 8 bits");
  }
  if ((op.variant & BitSat) &&
      (brain || (!toFloat && !fromFloat && isWithin(from, to))))
    d.error(".sat where nothing is out of range");
  d.finish(2);
  if (toFloat && d.operand(1).kind == Operand::Kind::Special &&
      d.operand(1).special != Special::WarpSize)
    d.error("a special register is not made a float");
  op.d = d.result(0, to, !brain);
  op.s[0] = d.source(1, from, !brain);
  if (d.failed())
    return;
  unsigned toBytes = d.registerBytes(0, to);
  unsigned fromBytes = d.registerBytes(1, from);
  if (!fromFloat && !toFloat)
    round = Round::NearestEven;
  op.variant |= static_cast<uint8_t>(round) << roundShift;
  // Widening conversions have no rounding; any will do.
  if (toFloat && fromFloat && to != from && taken < 0)
    op.variant &= (1 << roundShift) - 1;
  bool sameWidths = toBytes == storageBytes(to) &&
                    fromBytes == storageBytes(from) && typeBits(to) >= 16 &&
                    typeBits(from) >= 16;
  if (!sameWidths || !setFast(op, to, from))
    setGeneral(op, to, from, toBytes, fromBytes);
  if (!toFloat && !fromFloat && !(op.variant & BitSat)) {
    op.taint = taintInteger;
    op.target = static_cast<uint32_t>(to) | static_cast<uint32_t>(from) << 8 |
                fromBytes << 16;
  }
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::convertTable() {
  static constexpr OpcodeRow rows[] = {{"cvt", decodeCvt}};
  return {rows, std::size(rows)};
}
