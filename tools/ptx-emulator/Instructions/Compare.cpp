//===- Compare.cpp - comparison and selection -----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.6 and 9.7.7: set, setp, selp, slct.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

namespace {
/// Comparisons; those from Equ on are true when an operand is NaN, or ask for
/// it.
enum class Relation : uint8_t {
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  Equ,
  Neu,
  Ltu,
  Leu,
  Gtu,
  Geu,
  Num,
  Nan
};

/// The number that a half or bf16 stands for; ordered as it is.
NEST_PTX_INLINE float comparable(Half value) { return toFloat(value); }
NEST_PTX_INLINE float comparable(Bf16 value) { return toFloat(value); }
template <typename T>
NEST_PTX_INLINE T comparable(T value) {
  return value;
}

template <Relation R, typename T>
NEST_PTX_INLINE bool holds(T x, T y) {
  auto a = comparable(x);
  auto b = comparable(y);
  bool ordered = true;
  if constexpr (std::is_floating_point_v<decltype(a)>)
    ordered = !isNaN(a) && !isNaN(b);
  switch (R) {
  case Relation::Eq:
    return a == b;
  case Relation::Ne:
    return a != b && ordered;
  case Relation::Lt:
    return a < b;
  case Relation::Le:
    return a <= b;
  case Relation::Gt:
    return a > b;
  case Relation::Ge:
    return a >= b;
  case Relation::Equ:
    return a == b || !ordered;
  case Relation::Neu:
    return a != b;
  case Relation::Ltu:
    return a < b || !ordered;
  case Relation::Leu:
    return a <= b || !ordered;
  case Relation::Gtu:
    return a > b || !ordered;
  case Relation::Geu:
    return a >= b || !ordered;
  case Relation::Num:
    return ordered;
  case Relation::Nan:
    return !ordered;
  }
}

template <Relation R, typename T>
struct Compare {
  NEST_PTX_INLINE bool apply(const Op &, T a, T b) { return holds<R>(a, b); }
};
template <Relation R, typename T>
struct CompareFlushed {
  NEST_PTX_INLINE bool apply(const Op &, T a, T b) {
    return holds<R>(flush(a), flush(b));
  }
};
/// The lower or upper half of a packed pair.
template <typename Comparison, typename T, unsigned Shift>
struct ComparePacked {
  NEST_PTX_INLINE bool apply(const Op &op, uint32_t a, uint32_t b) {
    return Comparison::apply(op, T{static_cast<uint16_t>(a >> Shift)},
                             T{static_cast<uint16_t>(b >> Shift)});
  }
};

/// Calls `f` with the relation as a constant.
template <typename Fn>
void byRelation(Relation relation, Fn f) {
#define CASE(R)                                                                \
  case Relation::R:                                                            \
    return f(std::integral_constant<Relation, Relation::R>())
  switch (relation) {
    CASE(Eq);
    CASE(Ne);
    CASE(Lt);
    CASE(Le);
    CASE(Gt);
    CASE(Ge);
    CASE(Equ);
    CASE(Neu);
    CASE(Ltu);
    CASE(Leu);
    CASE(Gtu);
    CASE(Geu);
    CASE(Num);
    CASE(Nan);
  }
#undef CASE
}

/// What follows a comparison: its predicate combined with another.
enum Combine : uint8_t { Alone, CombineAnd, CombineOr, CombineXor };

/// d = combine(comparison, c), e = combine(!comparison, c). The comparison is
/// in s[0], c in s[1].
void combineLane(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t t = warp.predicate(op.s[0]), c = warp.predicate(op.s[1]);
  auto combine = [&](uint32_t v) {
    switch (op.variant) {
    case CombineAnd:
      return v & c;
    case CombineOr:
      return v | c;
    case CombineXor:
      return v ^ c;
    default:
      return v;
    }
  };
  uint32_t first = combine(t), second = combine(~t);
  uint32_t &d = warp.predicate(op.d);
  d = (d & ~lanes) | (first & lanes);
  if (op.e.index) {
    uint32_t &e = warp.predicate(op.e);
    e = (e & ~lanes) | (second & lanes);
  }
}

/// A defined operand that decides makes the result defined.
void taintCombine(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t t = warp.predicate(op.s[0]), c = warp.predicate(op.s[1]);
  uint32_t ut = warp.undefined(op.s[0]), uc = warp.undefined(op.s[1]);
  auto combine = [&](uint32_t v) {
    switch (op.variant) {
    case CombineAnd:
      return (ut & uc) | (ut & c) | (uc & v);
    case CombineOr:
      return (ut & uc) | (ut & ~c) | (uc & ~v);
    default:
      return ut | uc;
    }
  };
  uint32_t first = combine(t), second = combine(~t);
  uint32_t &d = warp.undefined(op.d);
  d = (d & ~lanes) | (first & lanes);
  if (op.e.index) {
    uint32_t &e = warp.undefined(op.e);
    e = (e & ~lanes) | (second & lanes);
  }
}

/// A predicate as a number: all ones, or 1.0.
template <typename T>
struct AsNumber {
  NEST_PTX_INLINE T apply(const Op &op, bool p) {
    return p ? static_cast<T>(op.imm) : T(0);
  }
};
struct AsNumbers {
  NEST_PTX_INLINE uint32_t apply(const Op &op, bool low, bool high) {
    uint32_t one = static_cast<uint32_t>(op.imm);
    return (low ? one : 0) | (high ? one << 16 : 0);
  }
};

template <typename T>
struct Select {
  NEST_PTX_INLINE T apply(const Op &, T a, T b, bool p) { return p ? a : b; }
};
template <typename T>
struct SelectBySign {
  NEST_PTX_INLINE T apply(const Op &, T a, T b, int32_t c) {
    return c >= 0 ? a : b;
  }
};
template <typename T>
struct SelectByFloat {
  NEST_PTX_INLINE T apply(const Op &op, T a, T b, float c) {
    float x = op.flag ? flush(c) : c;
    return x >= 0 ? a : b;
  }
};
} // namespace

static Relation takeRelation(Decoder &d) {
  int at =
      d.needOneOf({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu",
                   "leu", "gtu", "geu", "num", "nan", "lo", "ls", "hi", "hs"});
  // lo, ls, hi, hs are the unsigned lt, le, gt, ge.
  static constexpr Relation unsignedOnes[] = {Relation::Lt, Relation::Le,
                                              Relation::Gt, Relation::Ge};
  if (at < 14)
    return static_cast<Relation>(at);
  Type compared = Type::None; // the last one: the first of set is the result's
  for (std::string_view each : d.instruction().modifiers)
    compared = typeFromName(each).value_or(compared);
  if (!isUnsignedInt(compared))
    d.error(".lo, .ls, .hi and .hs compare unsigned integers");
  return unsignedOnes[at - 14];
}

template <typename Comparison, typename T>
static void setPacked(Op &op, unsigned shift) {
  if (shift)
    return setLane<ComparePacked<Comparison, T, 16>, Bit, uint32_t, uint32_t>(
        op);
  setLane<ComparePacked<Comparison, T, 0>, Bit, uint32_t, uint32_t>(op);
}

/// An operation that compares operands `first` and `first + 1` into `d`; of a
/// packed type, the half at `shift`.
static Op comparison(Decoder &d, Relation relation, Type type, bool ftz,
                     unsigned first, unsigned shift) {
  Op op = d.start(OpKind::Lane, OpClass::Compare);
  op.s[0] = d.source(first, type);
  op.s[1] = d.source(first + 1, type);
  bool isFloatLike =
      isFloat(type) || type == Type::F16x2 || type == Type::BF16x2;
  if (!isFloatLike && relation >= Relation::Equ)
    d.error("this comparison is for floats");
  if (isBits(type) && relation > Relation::Ne)
    d.error(std::string("no order of ") + typeName(type), ".eq or .ne");
  byRelation(relation, [&](auto r) {
    constexpr Relation R = decltype(r)::value;
    switch (type) {
    case Type::F32:
      if (ftz)
        return setLane<CompareFlushed<R, float>, Bit, float, float>(op);
      return setLane<Compare<R, float>, Bit, float, float>(op);
    case Type::F64:
      return setLane<Compare<R, double>, Bit, double, double>(op);
    case Type::F16:
      if (ftz)
        return setLane<CompareFlushed<R, Half>, Bit, Half, Half>(op);
      return setLane<Compare<R, Half>, Bit, Half, Half>(op);
    case Type::BF16:
      return setLane<Compare<R, Bf16>, Bit, Bf16, Bf16>(op);
    case Type::F16x2:
      if (ftz)
        return setPacked<CompareFlushed<R, Half>, Half>(op, shift);
      return setPacked<Compare<R, Half>, Half>(op, shift);
    case Type::BF16x2:
      return setPacked<Compare<R, Bf16>, Bf16>(op, shift);
    default:
      if constexpr (R <= Relation::Ge)
        byInteger(type, [&](auto zero) {
          using T = decltype(zero);
          setLane<Compare<R, T>, Bit, T, T>(op);
        });
    }
  });
  return op;
}

static const std::initializer_list<Type> compared = {
    Type::B16, Type::B32, Type::B64,  Type::U16,   Type::U32,
    Type::U64, Type::S16, Type::S32,  Type::S64,   Type::F32,
    Type::F64, Type::F16, Type::BF16, Type::F16x2, Type::BF16x2};

static void requireType(Decoder &d, Type type, bool ftz) {
  if (ftz && type != Type::F32 && type != Type::F16 && type != Type::F16x2)
    d.error(".ftz is for .f32 and .f16");
  if (type == Type::F16 || type == Type::F16x2)
    d.require(42, 53);
  if (type == Type::BF16 || type == Type::BF16x2)
    d.require(78, 90);
}

/// Reads .and/.or/.xor and says how many operands that adds.
static Combine takeCombine(Decoder &d) {
  return static_cast<Combine>(d.takeOneOf({"and", "or", "xor"}) + 1);
}

/// Combines the comparison with operand `at`.
static void combineInto(Decoder &d, Op &op, Slot comparison, Combine combine,
                        unsigned at) {
  op.s[0] = comparison;
  op.variant = combine;
  op.lane = combineLane;
  op.taint = taintCombine;
  op.hasResultPredicate = true;
  if (combine != Alone)
    op.s[1] = d.predicate(d.operand(at));
}

static void decodeSetp(Decoder &d) {
  Relation relation = takeRelation(d);
  Combine combine = takeCombine(d);
  bool ftz = d.take("ftz");
  Type type = d.type(compared);
  requireType(d, type, ftz);
  d.finish(combine == Alone ? 3 : 4);
  bool packed = type == Type::F16x2 || type == Type::BF16x2;
  const Operand &results = d.operand(0);
  bool pair = results.kind == Operand::Kind::Pair;
  if (pair && (type == Type::F16 || type == Type::BF16))
    return d.error("a comparison of halves has one result");
  const Operand &p = pair ? results.elements[0] : results;
  if (!pair && combine == Alone) {
    Op op = comparison(d, relation, type, ftz, 1, 0);
    op.d = d.result(p, Type::Pred, false, true);
    return d.emit(std::move(op));
  }
  Slot low = d.temporary(0), high;
  Op first = comparison(d, relation, type, ftz, 1, 0);
  first.d = low;
  Op final = d.start(OpKind::Lane, OpClass::Compare);
  combineInto(d, final, low, combine, 3);
  d.emit(std::move(first));
  // A single result is that of the lower halves.
  if (packed && pair) {
    high = d.temporary(0);
    Op second = comparison(d, relation, type, ftz, 1, 16);
    second.d = high;
    d.emit(std::move(second));
    Op upper = d.start(OpKind::Lane, OpClass::Compare);
    combineInto(d, upper, high, combine, 3);
    upper.d = d.result(results.elements[1], Type::Pred, false, true);
    final.d = d.result(p, Type::Pred, false, true);
    d.emit(std::move(final));
    return d.emit(std::move(upper));
  }
  final.d = d.result(p, Type::Pred, false, true);
  if (pair)
    final.e = d.result(results.elements[1], Type::Pred, false, true);
  d.emit(std::move(final));
}

static void decodeSet(Decoder &d) {
  Relation relation = takeRelation(d);
  Combine combine = takeCombine(d);
  bool ftz = d.take("ftz");
  Type to = d.type({Type::U32, Type::S32, Type::F32, Type::F16, Type::BF16,
                    Type::U16, Type::S16, Type::F16x2, Type::BF16x2});
  Type type = d.type(compared);
  requireType(d, type, ftz);
  d.finish(combine == Alone ? 3 : 4);
  bool packed = type == Type::F16x2 || type == Type::BF16x2;
  bool halfSource = packed || type == Type::F16 || type == Type::BF16;
  bool legal = to == Type::U32 || to == Type::S32;
  if (packed)
    legal |= to == type;
  else if (halfSource)
    legal |=
        to == Type::U16 || to == Type::S16 || to == Type::BF16 || to == type;
  else
    legal |= to == Type::F32 || to == Type::F16 || to == Type::BF16;
  if (to == Type::BF16) {
    d.require(78, 90);
    legal &= !ftz;
  }
  if (!legal)
    return d.error(std::string("no result ") + typeName(to) + " of " +
                   typeName(type));
  int64_t one = -1;
  if (to == Type::F32)
    one = 0x3f800000;
  else if (to == Type::F16 || to == Type::F16x2)
    one = 0x3c00;
  else if (to == Type::BF16 || to == Type::BF16x2)
    one = 0x3f80;
  else if (packed)
    one = 0xffff;
  Slot bits[2];
  for (unsigned half = 0; half < (packed ? 2 : 1); ++half) {
    bits[half] = d.temporary(0);
    Op op = comparison(d, relation, type, ftz, 1, 16 * half);
    op.d = bits[half];
    d.emit(std::move(op));
    if (combine == Alone)
      continue;
    Op combined = d.start(OpKind::Lane, OpClass::Compare);
    combineInto(d, combined, bits[half], combine, 3);
    combined.d = bits[half] = d.temporary(0);
    d.emit(std::move(combined));
  }
  Op op = d.start(OpKind::Lane, OpClass::Compare);
  op.imm = one;
  op.d = d.result(0, to);
  op.s[0] = bits[0];
  op.s[1] = bits[1];
  if (packed)
    setLane<AsNumbers, uint32_t, BitOperand, BitOperand>(op);
  else
    byWidth(typeBytes(to), [&](auto zero) {
      using T = decltype(zero);
      setLane<AsNumber<T>, T, BitOperand>(op);
    });
  d.emit(std::move(op));
}

/// Only the chosen operand matters, if the choice is known.
template <typename T>
static void taintSelect(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t p = warp.predicate(op.s[2]), unknown = warp.undefined(op.s[2]);
  forLanes(lanes, [&](unsigned lane) {
    uint64_t u = warp.shadow(op.s[p >> lane & 1 ? 0 : 1], lane, sizeof(T));
    warp.setShadow(op.d, lane, sizeof(T),
                   unknown >> lane & 1 ? ~uint64_t(0) : u);
  });
}

static const std::initializer_list<Type> selected = {
    Type::B16, Type::B32, Type::B64, Type::U16, Type::U32, Type::U64,
    Type::S16, Type::S32, Type::S64, Type::F32, Type::F64};

static void decodeSelp(Decoder &d) {
  Type type = d.type(selected);
  d.finish(4);
  Op op = d.start(OpKind::Lane, OpClass::Move);
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, type);
  op.s[2] = d.predicate(d.operand(3));
  byWidth(typeBytes(type), [&](auto zero) {
    using T = decltype(zero);
    setLane<Select<T>, T, T, T, BitOperand>(op);
    op.taint = taintSelect<T>;
  });
  d.emit(std::move(op));
}

static void decodeSlct(Decoder &d) {
  bool ftz = d.take("ftz");
  Type type = d.type(selected);
  Type by = d.type({Type::S32, Type::F32});
  d.finish(4);
  if (ftz && by != Type::F32)
    return d.error(".ftz is for .f32");
  Op op = d.start(OpKind::Lane, OpClass::Move);
  op.flag = ftz;
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, type);
  op.s[2] = d.source(3, by);
  byWidth(typeBytes(type), [&](auto zero) {
    using T = decltype(zero);
    if (by == Type::S32)
      setLane<SelectBySign<T>, T, T, T, int32_t>(op);
    else
      setLane<SelectByFloat<T>, T, T, T, float>(op);
  });
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::compareTable() {
  static constexpr OpcodeRow rows[] = {{"setp", decodeSetp},
                                       {"set", decodeSet},
                                       {"selp", decodeSelp},
                                       {"slct", decodeSlct}};
  return {rows, std::size(rows)};
}
