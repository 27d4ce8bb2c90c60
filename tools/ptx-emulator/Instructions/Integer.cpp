//===- Integer.cpp - integer arithmetic and bits --------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.1 (integer), 9.7.2 (extended precision) and 9.7.8 (logic and
// shift).
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Arithmetic.h"
#include "tools/ptx-emulator/Lanes.h"

#include <limits>

using namespace nestc::ptx;

namespace {
template <typename T>
using Unsigned = std::make_unsigned_t<T>;
/// Wide enough that no sum or product of T's overflows.
template <typename T>
using Wide = std::conditional_t<
    sizeof(T) == 8,
    std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
    std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

/// A scalar function of the operation and its operands.
#define LANE_OP(Name, parameters, expression)                                  \
  struct Name {                                                                \
    template <typename T>                                                      \
    struct Of {                                                                \
      using U = Unsigned<T>;                                                   \
      NEST_PTX_INLINE T apply parameters { return expression; }                \
    };                                                                         \
  };
LANE_OP(Add, (const Op &, T a, T b), static_cast<T>(U(a) + U(b)))
LANE_OP(Sub, (const Op &, T a, T b), static_cast<T>(U(a) - U(b)))
LANE_OP(MulLo, (const Op &, T a, T b), static_cast<T>(Wide<U>(U(a)) * U(b)))
LANE_OP(MulHi, (const Op &, T a, T b), mulHi(a, b))
LANE_OP(MadLo, (const Op &, T a, T b, T c),
        static_cast<T>(Wide<U>(U(a)) * U(b) + U(c)))
LANE_OP(MadHi, (const Op &, T a, T b, T c),
        static_cast<T>(U(mulHi(a, b)) + U(c)))
LANE_OP(Min, (const Op &, T a, T b), a < b ? a : b)
LANE_OP(Max, (const Op &, T a, T b), a < b ? b : a)
LANE_OP(MinRelu, (const Op &, T a, T b), std::max<T>(std::min(a, b), 0))
LANE_OP(MaxRelu, (const Op &, T a, T b), std::max<T>(std::max(a, b), 0))
LANE_OP(Abs, (const Op &, T a), static_cast<T>(a < 0 ? U(0) - U(a) : U(a)))
LANE_OP(Neg, (const Op &, T a), static_cast<T>(U(0) - U(a)))
LANE_OP(Not, (const Op &, T a), static_cast<T>(~a))
LANE_OP(CNot, (const Op &, T a), static_cast<T>(a == 0))
LANE_OP(And, (const Op &, T a, T b), static_cast<T>(a &b))
LANE_OP(Or, (const Op &, T a, T b), static_cast<T>(a | b))
LANE_OP(Xor, (const Op &, T a, T b), static_cast<T>(a ^ b))
LANE_OP(Sad, (const Op &, T a, T b, T c), sad(a, b, c))

template <typename T>
NEST_PTX_INLINE T divide(T a, T b) {
  // Division by zero gives what the hardware does: all ones (as unsigned).
  if (b == 0)
    return static_cast<T>(~T(0));
  if constexpr (std::is_signed_v<T>)
    if (b == -1)
      return static_cast<T>(Unsigned<T>(0) - Unsigned<T>(a));
  return static_cast<T>(a / b);
}
template <typename T>
NEST_PTX_INLINE T remainder(T a, T b) {
  if (b == 0)
    return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1)
      return 0;
  return static_cast<T>(a % b);
}
LANE_OP(Div, (const Op &, T a, T b), divide(a, b))
LANE_OP(Rem, (const Op &, T a, T b), remainder(a, b))

template <typename T>
NEST_PTX_INLINE T clampToType(Wide<T> value) {
  constexpr Wide<T> low = std::numeric_limits<T>::min(),
                    high = std::numeric_limits<T>::max();
  return static_cast<T>(value < low ? low : value > high ? high : value);
}
LANE_OP(AddSat, (const Op &, T a, T b), clampToType<T>(Wide<T>(a) + b))
LANE_OP(SubSat, (const Op &, T a, T b), clampToType<T>(Wide<T>(a) - b))
LANE_OP(MadHiSat, (const Op &, T a, T b, T c),
        clampToType<T>(Wide<T>(mulHi(a, b)) + c))

} // namespace

/// Sets the function of `op` for a type of 16, 32 or 64 bits; all operands have
/// that type.
template <typename F, unsigned Operands>
static void setInteger(Op &op, Type type) {
  byInteger(type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (Operands == 1)
      setLane<typename F::template Of<T>, T, T>(op);
    else if constexpr (Operands == 2)
      setLane<typename F::template Of<T>, T, T, T>(op);
    else
      setLane<typename F::template Of<T>, T, T, T, T>(op);
  });
}

static constexpr std::initializer_list<Type> allIntegers = {
    Type::U16, Type::U32, Type::U64, Type::S16, Type::S32, Type::S64};
static constexpr std::initializer_list<Type> signedIntegers = {
    Type::S16, Type::S32, Type::S64};
static constexpr std::initializer_list<Type> allBits = {Type::B16, Type::B32,
                                                        Type::B64};

/// Operands of one type: d, then `sources`.
static Op same(Decoder &d, Type type, unsigned sources,
               OpClass opClass = OpClass::Integer) {
  d.finish(sources + 1);
  Op op = d.start(OpKind::Lane, opClass);
  op.d = d.result(0, type);
  for (unsigned i = 0; i < sources; ++i)
    op.s[i] = d.source(i + 1, type);
  return op;
}

//===----------------------------------------------------------------------===//
// Packed 16-bit integers
//===----------------------------------------------------------------------===//

namespace {
template <typename F, typename T>
struct Packed {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b) {
    auto half = [&](unsigned shift) __attribute__((always_inline)) {
      T r = F::template Of<T>::apply(op, static_cast<T>(a >> shift),
                                     static_cast<T>(b >> shift));
      return uint32_t(Unsigned<T>(r)) << shift;
    };
    return half(0) | half(16);
  }
};
} // namespace

template <typename F>
static void packed(Decoder &d, Type type) {
  d.require(80, 90);
  Op op = same(d, type, 2);
  if (type == Type::S16x2)
    setLane<Packed<F, int16_t>, uint32_t, uint32_t, uint32_t>(op);
  else
    setLane<Packed<F, uint16_t>, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// The carry: the flag of add.cc is a register that no text names
//===----------------------------------------------------------------------===//

namespace {
enum CarryKind : uint8_t { CarryAdd, CarrySub, CarryMadLo, CarryMadHi };
} // namespace

template <typename T>
static void carryLane(Warp &warp, const Op &op, uint32_t lanes) {
  using U = Unsigned<T>;
  T *d = warp.at<T>(op.d);
  const T *a = warp.at<T>(op.s[0]), *b = warp.at<T>(op.s[1]);
  const T *c = warp.at<T>(op.s[2]);
  uint32_t carry = op.flag ? warp.predicate(op.s[3]) : 0, out = 0;
  forLanes(lanes, [&](unsigned i) {
    unsigned in = carry >> i & 1;
    U x = a[i], y = b[i];
    if (op.variant == CarryMadLo || op.variant == CarryMadHi) {
      x = op.variant == CarryMadLo ? U(U(a[i]) * U(b[i]))
                                   : U(mulHi(a[i], b[i]));
      y = c[i];
    }
    U sum;
    bool overflow;
    if (op.variant == CarrySub) {
      // The flag is a borrow.
      U first = x - y;
      sum = first - in;
      overflow = x < y || first < in;
    } else {
      U first = x + y;
      sum = first + in;
      overflow = first < x || sum < first;
    }
    d[i] = static_cast<T>(sum);
    out |= uint32_t(overflow) << i;
  });
  if (op.e.index) {
    uint32_t &flag = warp.predicate(op.e);
    flag = (flag & ~lanes) | (out & lanes);
  }
}

/// {add,sub,mad}.cc and {add,sub,mad}c{.cc}: kind, whether the carry is read.
static void carry(Decoder &d, CarryKind kind, bool reads) {
  bool writes = d.take("cc");
  // 16 bits are not in the manual; ptxas has them where no carry comes out, and
  // of madc.hi makes other code.
  bool narrow = !writes && reads && kind != CarryMadHi;
  static constexpr std::initializer_list<Type> wide = {Type::U32, Type::S32,
                                                       Type::U64, Type::S64};
  Type type = d.type(narrow ? allIntegers : wide);
  unsigned sources = kind >= CarryMadLo ? 3 : 2;
  Op op = same(d, type, sources);
  op.variant = kind;
  op.flag = reads;
  if (reads)
    op.s[3] = d.carryFlag();
  if (writes)
    op.e = d.carryFlag();
  op.resultBytes = typeBytes(type);
  byInteger(type, [&](auto zero) { op.lane = carryLane<decltype(zero)>; });
  d.emit(std::move(op));
}

static void decodeAddC(Decoder &d) { carry(d, CarryAdd, true); }
static void decodeSubC(Decoder &d) { carry(d, CarrySub, true); }
static void decodeMadC(Decoder &d) {
  bool high = d.needNext({"lo", "hi"}) == 1;
  carry(d, high ? CarryMadHi : CarryMadLo, true);
}

//===----------------------------------------------------------------------===//
// add, sub, mul, mad
//===----------------------------------------------------------------------===//

template <typename F, typename FSat>
static void addOrSub(Decoder &d, CarryKind kind) {
  if (d.has("cc"))
    return carry(d, kind, false);
  bool sat = d.take("sat");
  if (!sat && (d.peekType() == Type::U16x2 || d.peekType() == Type::S16x2) &&
      kind == CarryAdd)
    return packed<F>(d, d.type({}));
  Type type =
      d.type(sat ? std::initializer_list<Type>{Type::S32} : allIntegers);
  Op op = same(d, type, 2);
  if (sat)
    setInteger<FSat, 2>(op, type);
  else
    setInteger<F, 2>(op, type);
  d.emit(std::move(op));
}

void nestc::ptx::decodeIntegerAdd(Decoder &d) {
  addOrSub<Add, AddSat>(d, CarryAdd);
}
void nestc::ptx::decodeIntegerSub(Decoder &d) {
  addOrSub<Sub, SubSat>(d, CarrySub);
}

namespace {
template <typename D, typename T>
struct MulWide {
  NEST_PTX_INLINE D apply(const Op &, T a, T b) {
    return static_cast<D>(static_cast<D>(a) * static_cast<D>(b));
  }
};
template <typename D, typename T>
struct MadWide {
  NEST_PTX_INLINE D apply(const Op &, T a, T b, D c) {
    using U = Unsigned<D>;
    return static_cast<D>(U(static_cast<D>(a) * static_cast<D>(b)) + U(c));
  }
};
} // namespace

static Type twice(Type type) {
  switch (type) {
  case Type::U16:
    return Type::U32;
  case Type::S16:
    return Type::S32;
  case Type::U32:
    return Type::U64;
  default:
    return Type::S64;
  }
}

template <typename Fn>
static void byNarrow(Type type, Fn f) {
  switch (type) {
  case Type::U16:
    return f(uint16_t(), uint32_t());
  case Type::S16:
    return f(int16_t(), int32_t());
  case Type::U32:
    return f(uint32_t(), uint64_t());
  default:
    return f(int32_t(), int64_t());
  }
}

void nestc::ptx::decodeIntegerMul(Decoder &d) {
  int part = d.needNext({"lo", "hi", "wide"});
  Type type =
      d.type(part == 2 ? std::initializer_list<Type>{Type::U16, Type::S16,
                                                     Type::U32, Type::S32}
                       : allIntegers);
  if (part != 2) {
    Op op = same(d, type, 2);
    if (part == 0)
      setInteger<MulLo, 2>(op, type);
    else
      setInteger<MulHi, 2>(op, type);
    return d.emit(std::move(op));
  }
  d.finish(3);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, twice(type));
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, type);
  byNarrow(type, [&](auto t, auto w) {
    using T = decltype(t);
    using W = decltype(w);
    setLane<MulWide<W, T>, W, T, T>(op);
  });
  d.emit(std::move(op));
}

static void decodeMad(Decoder &d) {
  if (isFloat(d.peekType()))
    return decodeFloatMad(d);
  int part = d.needNext({"lo", "hi", "wide"});
  if (d.has("cc")) {
    if (part == 2)
      return d.error(".wide has no carry");
    return carry(d, part == 1 ? CarryMadHi : CarryMadLo, false);
  }
  bool sat = d.take("sat");
  if (sat && part != 1)
    return d.error(".sat needs .hi");
  if (part != 2) {
    Type type =
        d.type(sat ? std::initializer_list<Type>{Type::S32} : allIntegers);
    Op op = same(d, type, 3);
    if (sat)
      setInteger<MadHiSat, 3>(op, type);
    else if (part == 0)
      setInteger<MadLo, 3>(op, type);
    else
      setInteger<MadHi, 3>(op, type);
    return d.emit(std::move(op));
  }
  Type type = d.type({Type::U16, Type::S16, Type::U32, Type::S32});
  d.finish(4);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, twice(type));
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, type);
  op.s[2] = d.source(3, twice(type));
  byNarrow(type, [&](auto t, auto w) {
    using T = decltype(t);
    using W = decltype(w);
    setLane<MadWide<W, T>, W, T, T, W>(op);
  });
  d.emit(std::move(op));
}

namespace {
/// mul24 and mad24: the low or high 32 of the 48 bits of a product.
template <typename T, bool High>
struct Mul24 {
  NEST_PTX_INLINE T narrow(T v) {
    return static_cast<T>(static_cast<T>(Unsigned<T>(v) << 8) >> 8);
  }
  NEST_PTX_INLINE T apply(const Op &, T a, T b) {
    Wide<T> product = Wide<T>(narrow(a)) * narrow(b);
    return static_cast<T>(High ? product >> 16 : product);
  }
};
template <typename T, bool High>
struct Mad24 {
  NEST_PTX_INLINE T apply(const Op &op, T a, T b, T c) {
    T product = Mul24<T, High>::apply(op, a, b);
    if (High && op.flag)
      return clampToType<T>(Wide<T>(product) + c);
    return static_cast<T>(Unsigned<T>(product) + Unsigned<T>(c));
  }
};
} // namespace

static void decode24(Decoder &d) {
  bool isMad = d.instruction().opcode == "mad24";
  bool high = d.needNext({"lo", "hi"}) == 1;
  bool sat = isMad && high && d.take("sat");
  Type type = d.type({Type::U32, Type::S32});
  if (sat && type == Type::U32)
    d.error(".sat is for .s32");
  Op op = same(d, type, isMad ? 3 : 2);
  op.flag = sat;
  byInteger(type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (sizeof(T) == 4) {
      if (isMad && high)
        setLane<Mad24<T, true>, T, T, T, T>(op);
      else if (isMad)
        setLane<Mad24<T, false>, T, T, T, T>(op);
      else if (high)
        setLane<Mul24<T, true>, T, T, T>(op);
      else
        setLane<Mul24<T, false>, T, T, T>(op);
    }
  });
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// The rest of one type
//===----------------------------------------------------------------------===//

void nestc::ptx::decodeIntegerDiv(Decoder &d) {
  Type type = d.type(allIntegers);
  Op op = same(d, type, 2);
  setInteger<Div, 2>(op, type);
  d.emit(std::move(op));
}

static void decodeRem(Decoder &d) {
  Type type = d.type(allIntegers);
  Op op = same(d, type, 2);
  setInteger<Rem, 2>(op, type);
  d.emit(std::move(op));
}

void nestc::ptx::decodeIntegerAbs(Decoder &d) {
  Type type = d.type(signedIntegers);
  Op op = same(d, type, 1);
  setInteger<Abs, 1>(op, type);
  d.emit(std::move(op));
}

void nestc::ptx::decodeIntegerNeg(Decoder &d) {
  Type type = d.type(signedIntegers);
  Op op = same(d, type, 1);
  setInteger<Neg, 1>(op, type);
  d.emit(std::move(op));
}

template <typename F, typename FRelu>
static void minOrMax(Decoder &d) {
  bool relu = d.take("relu");
  if (relu) {
    Type type = d.type({Type::S32, Type::S16x2});
    if (type == Type::S16x2)
      return packed<FRelu>(d, type);
    d.require(80, 90);
    Op op = same(d, type, 2);
    setInteger<FRelu, 2>(op, type);
    return d.emit(std::move(op));
  }
  Type first = d.peekType();
  if (first == Type::U16x2 || first == Type::S16x2)
    return packed<F>(d, d.type({}));
  Type type = d.type(allIntegers);
  Op op = same(d, type, 2);
  setInteger<F, 2>(op, type);
  d.emit(std::move(op));
}
void nestc::ptx::decodeIntegerMin(Decoder &d) { minOrMax<Min, MinRelu>(d); }
void nestc::ptx::decodeIntegerMax(Decoder &d) { minOrMax<Max, MaxRelu>(d); }

static void decodeSad(Decoder &d) {
  Type type = d.type(allIntegers);
  Op op = same(d, type, 3);
  setInteger<Sad, 3>(op, type);
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// Logic; what undefined bits become is known bit by bit
//===----------------------------------------------------------------------===//

namespace {
enum LogicKind : uint8_t { LogicAnd, LogicOr, LogicXor, LogicNot };
} // namespace

/// A bit of the result is undefined unless a defined operand decides it.
static void taintLogic(Warp &warp, const Op &op, uint32_t lanes) {
  unsigned bytes = op.resultBytes;
  auto shadowOf = [&](uint64_t a, uint64_t b, uint64_t ua, uint64_t ub) {
    switch (op.variant) {
    case LogicAnd:
      return (ua & ub) | (ua & b) | (ub & a);
    case LogicOr:
      return (ua & ub) | (ua & ~b) | (ub & ~a);
    default:
      return ua | ub;
    }
  };
  if (op.hasResultPredicate) {
    uint32_t u = shadowOf(warp.predicate(op.s[0]), warp.predicate(op.s[1]),
                          warp.undefined(op.s[0]), warp.undefined(op.s[1]));
    uint32_t &to = warp.undefined(op.d);
    to = (to & ~lanes) | (u & lanes);
    return;
  }
  forLanes(lanes, [&](unsigned lane) {
    uint64_t a = 0, b = 0;
    std::memcpy(&a, warp.at<uint8_t>(op.s[0]) + lane * bytes, bytes);
    std::memcpy(&b, warp.at<uint8_t>(op.s[1]) + lane * bytes, bytes);
    uint64_t u = shadowOf(a, b, warp.shadow(op.s[0], lane, bytes),
                          warp.shadow(op.s[1], lane, bytes));
    warp.setShadow(op.d, lane, bytes, u);
  });
}

template <LogicKind kind>
static void predicateLogic(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t a = warp.predicate(op.s[0]), b = warp.predicate(op.s[1]);
  uint32_t r = kind == LogicAnd   ? a & b
               : kind == LogicOr  ? a | b
               : kind == LogicXor ? a ^ b
                                  : ~a;
  uint32_t &d = warp.predicate(op.d);
  d = (d & ~lanes) | (r & lanes);
}

template <typename F, LogicKind kind>
static void logic(Decoder &d) {
  constexpr unsigned sources = kind == LogicNot ? 1 : 2;
  Type type = d.type({Type::Pred, Type::B16, Type::B32, Type::B64});
  Op op = same(d, type, sources,
               type == Type::Pred ? OpClass::Compare : OpClass::Integer);
  op.variant = kind;
  op.taint = taintLogic;
  if (type == Type::Pred) {
    op.hasResultPredicate = true;
    op.lane = predicateLogic<kind>;
  } else {
    setInteger<F, sources>(op, type);
  }
  d.emit(std::move(op));
}

static void decodeAnd(Decoder &d) { logic<And, LogicAnd>(d); }
static void decodeOr(Decoder &d) { logic<Or, LogicOr>(d); }
static void decodeXor(Decoder &d) { logic<Xor, LogicXor>(d); }
static void decodeNot(Decoder &d) { logic<Not, LogicNot>(d); }

static void decodeCNot(Decoder &d) {
  Type type = d.type(allBits);
  Op op = same(d, type, 1);
  setInteger<CNot, 1>(op, type);
  d.emit(std::move(op));
}

namespace {
struct Lop3 {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b,
                                 uint32_t c) {
    return lop3(a, b, c, op.variant);
  }
};
} // namespace

static void taintLop3(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *s[3];
  for (unsigned i = 0; i < 3; ++i)
    s[i] = warp.at<uint32_t>(op.s[i]);
  forLanes(lanes, [&](unsigned lane) {
    uint32_t u[3];
    for (unsigned i = 0; i < 3; ++i)
      u[i] = warp.shadow(op.s[i], lane, 4);
    // Undefined where some choice of the undefined bits changes the result.
    uint32_t low = ~0u, high = 0;
    for (unsigned choice = 0; choice < 8; ++choice) {
      auto pick = [&](unsigned i) {
        return choice >> i & 1 ? s[i][lane] | u[i] : s[i][lane] & ~u[i];
      };
      uint32_t r = lop3(pick(0), pick(1), pick(2), op.variant);
      low &= r;
      high |= r;
    }
    warp.setShadow(op.d, lane, 4, low ^ high);
  });
}

/// The predicate of lop3.or and lop3.and: whether the result, s[0], is not
/// zero, combined with s[1].
static void lop3Predicate(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *word = warp.at<uint32_t>(op.s[0]);
  uint32_t some = 0, other = warp.predicate(op.s[1]);
  forLanes(lanes,
           [&](unsigned lane) { some |= uint32_t(word[lane] != 0) << lane; });
  uint32_t result = op.variant == LogicAnd ? some & other : some | other;
  uint32_t &d = warp.predicate(op.d);
  d = (d & ~lanes) | (result & lanes);
}

/// A defined bit that is set decides, and so may the other predicate.
static void taintLop3Predicate(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *word = warp.at<uint32_t>(op.s[0]);
  uint32_t some = 0, unknown = 0;
  forLanes(lanes, [&](unsigned lane) {
    uint32_t shadow = warp.shadow(op.s[0], lane, 4);
    bool isSet = word[lane] & ~shadow;
    some |= uint32_t(isSet) << lane;
    unknown |= uint32_t(!isSet && shadow) << lane;
  });
  uint32_t other = warp.predicate(op.s[1]), open = warp.undefined(op.s[1]);
  // Where it would not matter what one of the two is.
  bool isAnd = op.variant == LogicAnd;
  uint32_t decided = isAnd ? ~(some | unknown) | ~(other | open)
                           : (some & ~unknown) | (other & ~open);
  uint32_t &d = warp.undefined(op.d);
  d = (d & ~lanes) | ((unknown | open) & ~decided & lanes);
}

static void decodeLop3(Decoder &d) {
  int combine = d.takeOneOf({"and", "or"});
  d.type({Type::B32});
  bool hasPredicate = combine >= 0;
  d.finish(hasPredicate ? 6 : 5);
  hasPredicate ? d.require(82, 70) : d.require(43, 50);
  std::optional<int64_t> table = d.immediate(4);
  if (!table || *table < 0 || *table > 255)
    return d.error("the table is not a constant of 0 to 255");
  const Operand &results = d.operand(0);
  if (hasPredicate != (results.kind == Operand::Kind::Pair))
    return d.error("the results are not what the operation has",
                   hasPredicate ? "d|p" : "d");
  Op second = d.start(OpKind::Lane, OpClass::Compare);
  if (hasPredicate) {
    second.hidden = true;
    second.hasResultPredicate = true;
    second.variant = combine == 0 ? LogicAnd : LogicOr;
    second.s[1] = d.predicate(d.operand(5));
    second.d = d.result(results.elements[1], Type::Pred);
    second.lane = lop3Predicate;
    second.taint = taintLop3Predicate;
  }
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = hasPredicate ? d.result(results.elements[0], Type::B32, false, true)
                      : d.result(0, Type::B32);
  for (unsigned i = 0; i < 3; ++i)
    op.s[i] = d.source(i + 1, Type::B32);
  op.variant = *table;
  op.taint = taintLop3;
  setLane<Lop3, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  second.s[0] = op.d;
  d.emit(std::move(op));
  if (hasPredicate)
    d.emit(std::move(second));
}

//===----------------------------------------------------------------------===//
// Shifts, fields, permutation
//===----------------------------------------------------------------------===//

namespace {
template <typename T>
struct Shl {
  NEST_PTX_INLINE T apply(const Op &, T a, uint32_t n) { return shl(a, n); }
};
template <typename T>
struct Shr {
  NEST_PTX_INLINE T apply(const Op &, T a, uint32_t n) { return shr(a, n); }
};
template <typename T>
struct Bfe {
  NEST_PTX_INLINE T apply(const Op &, T a, uint32_t b, uint32_t c) {
    return bfe(a, b, c);
  }
};
template <typename T>
struct Bfi {
  NEST_PTX_INLINE T apply(const Op &, T a, T b, uint32_t c, uint32_t e) {
    return bfi(a, b, c, e);
  }
};
template <typename T>
struct Bfind {
  NEST_PTX_INLINE uint32_t apply(const Op &op, T a) {
    return bfind(a, op.flag);
  }
};
template <typename T>
struct Popc {
  NEST_PTX_INLINE uint32_t apply(const Op &, T a) { return popc(a); }
};
template <typename T>
struct Clz {
  NEST_PTX_INLINE uint32_t apply(const Op &, T a) { return clz(a); }
};
template <typename T>
struct Brev {
  NEST_PTX_INLINE T apply(const Op &, T a) { return brev(a); }
};
template <bool Left>
struct Funnel {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b,
                                 uint32_t c) {
    return Left ? shfLeft(a, b, c, op.flag) : shfRight(a, b, c, op.flag);
  }
};
struct Permute {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b,
                                 uint32_t c) {
    return prmt(a, b, permuteSelector(static_cast<PermuteMode>(op.variant), c));
  }
};
struct Szext {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b) {
    return szext(a, b, op.flag, op.variant);
  }
};
struct Bmsk {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b) {
    return bmsk(a, b, op.flag);
  }
};
struct Dp4a {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b,
                                 uint32_t c) {
    return dp4a(a, b, c, op.variant & 1, op.variant & 2);
  }
};
struct Dp2a {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b,
                                 uint32_t c) {
    return dp2a(a, b, c, op.variant & 1, op.variant & 2, op.flag);
  }
};
/// fns: the n-th set bit from a base on, upwards or downwards.
struct Fns {
  NEST_PTX_INLINE uint32_t apply(const Op &, uint32_t mask, uint32_t base,
                                 uint32_t offset) {
    int32_t n = static_cast<int32_t>(offset);
    int32_t at = static_cast<int32_t>(base & 31);
    if (n == 0)
      return mask >> at & 1 ? static_cast<uint32_t>(at) : ~0u;
    int32_t step = n > 0 ? 1 : -1;
    int64_t left = n > 0 ? n : -static_cast<int64_t>(n);
    for (; at >= 0 && at < 32; at += step)
      if (mask >> at & 1 && --left == 0)
        return static_cast<uint32_t>(at);
    return ~0u;
  }
};
} // namespace

/// A shift by a defined amount moves the undefined bits along.
template <typename T, bool Left>
static void taintShift(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *amount = warp.at<uint32_t>(op.s[1]);
  uint32_t unknown = warp.undefined(op.s[1]);
  forLanes(lanes, [&](unsigned lane) {
    T u = static_cast<T>(warp.shadow(op.s[0], lane, sizeof(T)));
    T r = unknown >> lane & 1 ? static_cast<T>(~T(0))
          : Left              ? shl(u, amount[lane])
                              : shr(u, amount[lane]);
    warp.setShadow(op.d, lane, sizeof(T), Unsigned<T>(r));
  });
}

static void decodeShl(Decoder &d) {
  Type type = d.type(allBits);
  d.finish(3);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, Type::U32);
  byWidth(typeBytes(type), [&](auto zero) {
    using T = decltype(zero);
    setLane<Shl<T>, T, T, uint32_t>(op);
    op.taint = taintShift<T, true>;
  });
  d.emit(std::move(op));
}

static void decodeShr(Decoder &d) {
  Type type = d.type({Type::B16, Type::B32, Type::B64, Type::U16, Type::U32,
                      Type::U64, Type::S16, Type::S32, Type::S64});
  d.finish(3);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, Type::U32);
  byInteger(type, [&](auto zero) {
    using T = decltype(zero);
    setLane<Shr<T>, T, T, uint32_t>(op);
    op.taint = taintShift<T, false>;
  });
  d.emit(std::move(op));
}

static void decodeShf(Decoder &d) {
  bool left = d.needNext({"l", "r"}) == 0;
  bool clamp = d.needOneOf({"wrap", "clamp"}) == 1;
  d.type({Type::B32});
  d.require(31, 32);
  Op op = same(d, Type::B32, 3);
  op.s[2] = d.source(3, Type::U32);
  op.flag = clamp;
  if (left)
    setLane<Funnel<true>, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  else
    setLane<Funnel<false>, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

/// Where a field begins, or how long it is.
static Slot field(Decoder &d, unsigned i) {
  if (std::optional<int64_t> bits = d.immediate(i);
      bits && (*bits < 0 || *bits > 255))
    d.error("the bits of a field are out of range", "0 to 255");
  return d.source(i, Type::U32);
}

static void decodeBfe(Decoder &d) {
  Type type = d.type({Type::U32, Type::U64, Type::S32, Type::S64});
  d.finish(4);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = field(d, 2);
  op.s[2] = field(d, 3);
  byInteger(type, [&](auto zero) {
    using T = decltype(zero);
    setLane<Bfe<T>, T, T, uint32_t, uint32_t>(op);
  });
  d.emit(std::move(op));
}

static void decodeBfi(Decoder &d) {
  Type type = d.type({Type::B32, Type::B64});
  d.finish(5);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[1] = d.source(2, type);
  op.s[2] = field(d, 3);
  op.s[3] = field(d, 4);
  byWidth(typeBytes(type), [&](auto zero) {
    using T = decltype(zero);
    setLane<Bfi<T>, T, T, T, uint32_t, uint32_t>(op);
  });
  d.emit(std::move(op));
}

/// d is .u32 whatever the type: bfind, popc, clz.
template <template <typename> class F>
static void toCount(Decoder &d, std::initializer_list<Type> legal, bool flag) {
  Type type = d.type(legal);
  d.finish(2);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.flag = flag;
  op.d = d.result(0, Type::U32);
  op.s[0] = d.source(1, type);
  byInteger(type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (sizeof(T) > 2)
      setLane<F<T>, uint32_t, T>(op);
  });
  d.emit(std::move(op));
}
static void decodeBfind(Decoder &d) {
  bool shift = d.take("shiftamt");
  toCount<Bfind>(d, {Type::U32, Type::U64, Type::S32, Type::S64}, shift);
}
static void decodePopc(Decoder &d) {
  Type type = d.type({Type::B32, Type::B64});
  d.finish(2);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, Type::U32);
  op.s[0] = d.source(1, type);
  if (type == Type::B32)
    setLane<Popc<uint32_t>, uint32_t, uint32_t>(op);
  else
    setLane<Popc<uint64_t>, uint32_t, uint64_t>(op);
  d.emit(std::move(op));
}
static void decodeClz(Decoder &d) {
  Type type = d.type({Type::B32, Type::B64});
  d.finish(2);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, Type::U32);
  op.s[0] = d.source(1, type);
  if (type == Type::B32)
    setLane<Clz<uint32_t>, uint32_t, uint32_t>(op);
  else
    setLane<Clz<uint64_t>, uint32_t, uint64_t>(op);
  d.emit(std::move(op));
}

static void decodeBrev(Decoder &d) {
  Type type = d.type({Type::B32, Type::B64});
  Op op = same(d, type, 1);
  if (type == Type::B32)
    setLane<Brev<uint32_t>, uint32_t, uint32_t>(op);
  else
    setLane<Brev<uint64_t>, uint64_t, uint64_t>(op);
  d.emit(std::move(op));
}

/// Bytes of the result are undefined where those that they come from are.
static void taintPermute(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *control = warp.at<uint32_t>(op.s[2]);
  uint32_t unknown = warp.undefined(op.s[2]);
  forLanes(lanes, [&](unsigned lane) {
    uint32_t selector =
        permuteSelector(static_cast<PermuteMode>(op.variant), control[lane]);
    // A copied sign is as undefined as the top bit of its byte.
    uint32_t u = prmt(warp.shadow(op.s[0], lane, 4),
                      warp.shadow(op.s[1], lane, 4), selector);
    warp.setShadow(op.d, lane, 4, unknown >> lane & 1 ? ~0u : u);
  });
}

static void decodePrmt(Decoder &d) {
  d.type({Type::B32});
  int mode = d.takeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  Op op = same(d, Type::B32, 3);
  op.variant = mode + 1;
  op.taint = taintPermute;
  setLane<Permute, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

static void decodeSzext(Decoder &d) {
  bool clamp = d.needOneOf({"wrap", "clamp"}) == 1;
  Type type = d.type({Type::U32, Type::S32});
  d.require(76, 70);
  Op op = same(d, type, 2);
  op.flag = clamp;
  op.variant = type == Type::S32;
  setLane<Szext, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

static void decodeBmsk(Decoder &d) {
  bool clamp = d.needOneOf({"wrap", "clamp"}) == 1;
  d.type({Type::B32});
  d.require(76, 70);
  Op op = same(d, Type::U32, 2);
  op.flag = clamp;
  setLane<Bmsk, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

static void decodeDot(Decoder &d) {
  bool two = d.instruction().opcode == "dp2a";
  bool high = two && d.needNext({"lo", "hi"}) == 1;
  Type a = d.type({Type::U32, Type::S32}), b = d.type({Type::U32, Type::S32});
  d.require(50, 61);
  d.finish(4);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  Type sum = a == Type::S32 || b == Type::S32 ? Type::S32 : Type::U32;
  op.d = d.result(0, sum);
  op.s[0] = d.source(1, a);
  op.s[1] = d.source(2, b);
  op.s[2] = d.source(3, sum);
  op.variant = (a == Type::S32) | (b == Type::S32) << 1;
  op.flag = high;
  if (two)
    setLane<Dp2a, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  else
    setLane<Dp4a, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

static void decodeFns(Decoder &d) {
  d.type({Type::B32});
  d.require(60, 30);
  d.finish(4);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, Type::B32);
  op.s[0] = d.source(1, Type::B32);
  op.s[1] = d.source(2, Type::B32);
  op.s[2] = d.source(3, Type::S32);
  setLane<Fns, uint32_t, uint32_t, uint32_t, uint32_t>(op);
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::integerTable() {
  static constexpr OpcodeRow rows[] = {
      {"addc", decodeAddC},   {"subc", decodeSubC},   {"madc", decodeMadC},
      {"mad", decodeMad},     {"mul24", decode24},    {"mad24", decode24},
      {"rem", decodeRem},     {"sad", decodeSad},     {"and", decodeAnd},
      {"or", decodeOr},       {"xor", decodeXor},     {"not", decodeNot},
      {"cnot", decodeCNot},   {"lop3", decodeLop3},   {"shl", decodeShl},
      {"shr", decodeShr},     {"shf", decodeShf},     {"bfe", decodeBfe},
      {"bfi", decodeBfi},     {"bfind", decodeBfind}, {"popc", decodePopc},
      {"clz", decodeClz},     {"brev", decodeBrev},   {"prmt", decodePrmt},
      {"szext", decodeSzext}, {"bmsk", decodeBmsk},   {"dp4a", decodeDot},
      {"dp2a", decodeDot},    {"fns", decodeFns},
  };
  return {rows, std::size(rows)};
}
