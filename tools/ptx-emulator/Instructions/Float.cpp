//===- Float.cpp - floating-point arithmetic ------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.3 to 9.7.5. What a number becomes is in Numbers.h; here is which
// modifiers an instruction has, and how it is done over lanes.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Arithmetic.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

namespace {
/// Modifiers as bits of Op::variant.
enum ModifierBits : uint8_t { BitFtz = 1, BitSat = 2, BitRelu = 4, BitOob = 8 };

/// Those of an operation; M is 0 for none, 1 for .ftz alone, 2 for "look".
template <unsigned M>
NEST_PTX_INLINE Modifiers modifiersOf(const Op &op) {
  Modifiers m;
  if constexpr (M == 1) {
    m.ftz = true;
  } else if constexpr (M == 2) {
    m.ftz = op.variant & BitFtz;
    m.sat = op.variant & BitSat;
    m.relu = op.variant & BitRelu;
  }
  return m;
}

/// A function of Numbers.h, with modifiers where the type has them.
#define NUMBER_FUNCTION(Name, parameters, withModifiers, without)              \
  struct Name {                                                                \
    template <typename T>                                                      \
    NEST_PTX_INLINE T call parameters {                                        \
      if constexpr (std::is_same_v<T, double>)                                 \
        return without;                                                        \
      else                                                                     \
        return withModifiers;                                                  \
    }                                                                          \
  }
NUMBER_FUNCTION(AddFn, (T a, T b, Modifiers m), add(a, b, m), add(a, b));
NUMBER_FUNCTION(SubFn, (T a, T b, Modifiers m), sub(a, b, m), sub(a, b));
NUMBER_FUNCTION(MulFn, (T a, T b, Modifiers m), mul(a, b, m), mul(a, b));
NUMBER_FUNCTION(FmaFn, (T a, T b, T c, Modifiers m), fusedMulAdd(a, b, c, m),
                fusedMulAdd(a, b, c));
NUMBER_FUNCTION(DivFn, (T a, T b, Modifiers m), div(a, b, m), div(a, b));
NUMBER_FUNCTION(RcpFn, (T a, Modifiers m), rcp(a, m), rcp(a));
NUMBER_FUNCTION(SqrtFn, (T a, Modifiers m), squareRoot(a, m), squareRoot(a));
#undef NUMBER_FUNCTION

template <typename Fn, unsigned M>
struct Scalar {
  template <typename... T>
  NEST_PTX_INLINE auto apply(const Op &op, T... operands) {
    return Fn::call(operands..., modifiersOf<M>(op));
  }
};

/// fma.oob: +0 where an operand is the NaN with which tensor copies fill what
/// lies outside.
struct OobFmaFn {
  template <typename T>
  NEST_PTX_INLINE T call(T a, T b, T c, Modifiers m) {
    bool outside = a.bits == Layout<T>::nan || b.bits == Layout<T>::nan ||
                   c.bits == Layout<T>::nan;
    return outside ? T{} : FmaFn::call(a, b, c, m);
  }
};

/// Two halves T in 32 bits.
template <typename Fn, typename T, unsigned M>
struct Halves {
  template <typename... W>
  NEST_PTX_INLINE uint32_t apply(const Op &op, W... words) {
    Modifiers m = modifiersOf<M>(op);
    T low = Fn::call(T{static_cast<uint16_t>(words)}..., m);
    T high = Fn::call(T{static_cast<uint16_t>(words >> 16)}..., m);
    return low.bits | static_cast<uint32_t>(high.bits) << 16;
  }
};

/// Two floats in 64 bits.
template <typename Fn, unsigned M>
struct Floats {
  template <typename... W>
  NEST_PTX_INLINE uint64_t apply(const Op &op, W... words) {
    Modifiers m = modifiersOf<M>(op);
    float low = Fn::call(fromBits<float>(static_cast<uint32_t>(words))..., m);
    float high =
        Fn::call(fromBits<float>(static_cast<uint32_t>(words >> 32))..., m);
    return toBits(low) | static_cast<uint64_t>(toBits(high)) << 32;
  }
};

/// With a rounding mode other than to nearest: a call per lane.
/// `f(round, operands..., modifiers)` for f32, without modifiers for f64.
#define DIRECTED(Name, function)                                               \
  struct Name {                                                                \
    template <typename T, typename... Rest>                                    \
    NEST_PTX_INLINE T apply(const Op &op, T first, Rest... rest) {             \
      Round round = static_cast<Round>(op.imm);                                \
      if constexpr (std::is_same_v<T, double>)                                 \
        return function(round, first, rest...);                                \
      else                                                                     \
        return function(round, first, rest..., modifiersOf<2>(op));            \
    }                                                                          \
  }
DIRECTED(DirectedAdd, add);
DIRECTED(DirectedSub, sub);
DIRECTED(DirectedMul, mul);
DIRECTED(DirectedFma, fusedMulAdd);
DIRECTED(DirectedDiv, div);
DIRECTED(DirectedRcp, rcp);
DIRECTED(DirectedSqrt, squareRoot);
#undef DIRECTED

/// F of f32, whose operands but the last are halves.
template <typename F>
struct Widening {
  template <typename T>
  NEST_PTX_INLINE float apply(const Op &op, T a, float c) {
    return F::apply(op, toFloat(a), c);
  }
  template <typename T>
  NEST_PTX_INLINE float apply(const Op &op, T a, T b, float c) {
    return F::apply(op, toFloat(a), toFloat(b), c);
  }
};
} // namespace

static OpClass classOf(Type type) {
  return type == Type::F64                          ? OpClass::Double
         : type == Type::F32 || type == Type::F32x2 ? OpClass::Float
                                                    : OpClass::Half;
}

static bool isFloatOp(Type type) {
  return isFloat(type) || type == Type::F16x2 || type == Type::BF16x2 ||
         type == Type::F32x2;
}

/// d and `sources` operands, all of one type.
static Op same(Decoder &d, Type type, unsigned sources, OpClass opClass) {
  d.finish(sources + 1);
  Op op = d.start(OpKind::Lane, opClass);
  op.d = d.result(0, type);
  for (unsigned i = 0; i < sources; ++i)
    op.s[i] = d.source(i + 1, type);
  return op;
}

/// Sets a lane function F of `Sources` operands of type T and a result of T.
template <typename F, typename T, unsigned Sources>
static void setSame(Op &op) {
  if constexpr (Sources == 1)
    setLane<F, T, T>(op);
  else if constexpr (Sources == 2)
    setLane<F, T, T, T>(op);
  else
    setLane<F, T, T, T, T>(op);
}

/// The function Fn to nearest even, with the operation's modifiers.
template <typename Fn, unsigned Sources, unsigned M>
static void setNearest(Op &op, Type type) {
  switch (type) {
  case Type::F32:
    return setSame<Scalar<Fn, M>, float, Sources>(op);
  case Type::F64:
    return setSame<Scalar<Fn, 0>, double, Sources>(op);
  default:
    break;
  }
  if constexpr (std::is_same_v<Fn, AddFn> || std::is_same_v<Fn, SubFn> ||
                std::is_same_v<Fn, MulFn> || std::is_same_v<Fn, FmaFn>) {
    switch (type) {
    case Type::F16:
      return setSame<Scalar<Fn, M>, Half, Sources>(op);
    case Type::BF16:
      return setSame<Scalar<Fn, M>, Bf16, Sources>(op);
    case Type::F16x2:
      return setSame<Halves<Fn, Half, M>, uint32_t, Sources>(op);
    case Type::BF16x2:
      return setSame<Halves<Fn, Bf16, M>, uint32_t, Sources>(op);
    case Type::F32x2:
      return setSame<Floats<Fn, M>, uint64_t, Sources>(op);
    default:
      break;
    }
  }
}

template <typename Fn, typename Directed, unsigned Sources>
static void setRounded(Op &op, Type type, Round round) {
  op.imm = static_cast<int64_t>(round);
  if (round != Round::NearestEven) {
    if (type == Type::F64)
      return setSame<Directed, double, Sources>(op);
    return setSame<Directed, float, Sources>(op);
  }
  if (op.variant == 0)
    return setNearest<Fn, Sources, 0>(op, type);
  if (op.variant == BitFtz)
    return setNearest<Fn, Sources, 1>(op, type);
  return setNearest<Fn, Sources, 2>(op, type);
}

/// .rn .rz .rm .rp; -1 when there is none.
static int takeRound(Decoder &d) {
  return d.takeOneOf({"rn", "rz", "rm", "rp"});
}

static Round roundOf(int taken) {
  static constexpr Round rounds[] = {Round::NearestEven, Round::Zero,
                                     Round::Down, Round::Up};
  return taken < 0 ? Round::NearestEven : rounds[taken];
}

/// Which versions know arithmetic of this type.
static void requireArithmetic(Decoder &d, Type type, bool isFma) {
  switch (type) {
  case Type::F16:
  case Type::F16x2:
    return d.require(42, 53);
  case Type::BF16:
  case Type::BF16x2:
    return isFma ? d.require(70, 80) : d.require(78, 90);
  case Type::F32x2:
    return d.require(86, 100);
  default:
    return;
  }
}

template <typename F, unsigned Sources, typename T>
static void setWidening(Op &op) {
  if constexpr (Sources == 2)
    setLane<Widening<F>, float, T, float>(op);
  else
    setLane<Widening<F>, float, T, T, float>(op);
}

/// add, sub and fma of .f32.f16 and .f32.bf16.
template <typename Fn, typename Directed, unsigned Sources>
static void mixed(Decoder &d, uint8_t bits, Round round) {
  Type type = d.type({Type::F16, Type::BF16});
  d.require(86, 100);
  if (bits & ~BitSat)
    d.error(".sat is the only modifier of mixed types");
  d.finish(Sources + 1);
  Op op = d.start(OpKind::Lane, OpClass::Float);
  op.d = d.result(0, Type::F32);
  for (unsigned i = 0; i + 1 < Sources; ++i)
    op.s[i] = d.source(i + 1, type);
  op.s[Sources - 1] = d.source(Sources, Type::F32);
  op.variant = bits;
  op.imm = static_cast<int64_t>(round);
  bool nearest = round == Round::NearestEven;
  if (type == Type::F16 && nearest)
    setWidening<Scalar<Fn, 2>, Sources, Half>(op);
  else if (type == Type::F16)
    setWidening<Directed, Sources, Half>(op);
  else if (nearest)
    setWidening<Scalar<Fn, 2>, Sources, Bf16>(op);
  else
    setWidening<Directed, Sources, Bf16>(op);
  d.emit(std::move(op));
}

/// fma.oob of halves.
static void setOob(Op &op, Type type) {
  switch (type) {
  case Type::F16:
    return setSame<Scalar<OobFmaFn, 2>, Half, 3>(op);
  case Type::BF16:
    return setSame<Scalar<OobFmaFn, 2>, Bf16, 3>(op);
  case Type::F16x2:
    return setSame<Halves<OobFmaFn, Half, 2>, uint32_t, 3>(op);
  default:
    return setSame<Halves<OobFmaFn, Bf16, 2>, uint32_t, 3>(op);
  }
}

/// add, sub, mul, fma and mad of floats.
template <typename Fn, typename Directed, unsigned Sources>
static void arithmetic(Decoder &d) {
  constexpr bool isFma = Sources == 3;
  bool isMad = d.instruction().opcode == "mad";
  int taken = takeRound(d);
  uint8_t bits = (d.take("ftz") ? BitFtz : 0) | (d.take("sat") ? BitSat : 0) |
                 (d.take("relu") ? BitRelu : 0) |
                 (isFma && d.take("oob") ? BitOob : 0);
  Type type = d.type({Type::F32, Type::F64, Type::F16, Type::F16x2, Type::BF16,
                      Type::BF16x2, Type::F32x2});
  bool half = type == Type::F16 || type == Type::F16x2;
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  if (isFma && taken < 0)
    d.error("the rounding is missing", ".rn, .rz, .rm or .rp");
  if constexpr (!std::is_same_v<Fn, MulFn>) {
    Type second = d.peekType();
    if (type == Type::F32 && !isMad &&
        (second == Type::F16 || second == Type::BF16))
      return mixed<Fn, Directed, Sources>(d, bits, roundOf(taken));
  }
  requireArithmetic(d, type, isFma);
  // ptxas takes other roundings of bf16 and computes with f16.
  if ((half || brain) && taken > 0)
    d.error("rounds to nearest only", ".rn");
  if ((bits & BitFtz) && (type == Type::F64 || brain))
    d.error(std::string(".ftz on ") + typeName(type));
  if ((bits & BitSat) && type != Type::F32 && !half)
    d.error(std::string(".sat on ") + typeName(type));
  if ((bits & BitRelu) && !(isFma && (half || brain) && !(bits & BitSat)))
    d.error(".relu is for fma of halves, without .sat");
  if (bits & BitOob) {
    d.require(81, 90);
    if (!(half || brain) || (bits & BitFtz))
      d.error(".oob is for fma of halves, without .ftz");
  }
  Op op = same(d, type, Sources, classOf(type));
  op.variant = bits;
  if (bits & BitOob)
    setOob(op, type);
  else
    setRounded<Fn, Directed, Sources>(op, type, roundOf(taken));
  d.emit(std::move(op));
}

static void decodeAdd(Decoder &d) {
  isFloatOp(d.peekType()) ? arithmetic<AddFn, DirectedAdd, 2>(d)
                          : decodeIntegerAdd(d);
}
static void decodeSub(Decoder &d) {
  isFloatOp(d.peekType()) ? arithmetic<SubFn, DirectedSub, 2>(d)
                          : decodeIntegerSub(d);
}
static void decodeMul(Decoder &d) {
  isFloatOp(d.peekType()) ? arithmetic<MulFn, DirectedMul, 2>(d)
                          : decodeIntegerMul(d);
}
static void decodeFma(Decoder &d) { arithmetic<FmaFn, DirectedFma, 3>(d); }

void nestc::ptx::decodeFloatMad(Decoder &d) {
  if (d.peekType() != Type::F32 && d.peekType() != Type::F64)
    return d.error("mad is for .f32 and .f64 among floats");
  arithmetic<FmaFn, DirectedFma, 3>(d);
}

//===----------------------------------------------------------------------===//
// Division, roots, functions
//===----------------------------------------------------------------------===//

namespace {
#define APPROX(Name, T, parameters, expression)                                \
  struct Name {                                                                \
    NEST_PTX_INLINE T apply parameters { return expression; }                  \
  }
APPROX(DivApprox, float, (const Op &op, float a, float b),
       divApprox(a, b, modifiersOf<2>(op)));
APPROX(DivFull, float, (const Op &op, float a, float b),
       divFull(a, b, modifiersOf<2>(op)));
APPROX(RcpApprox, float, (const Op &op, float a),
       rcpApprox(a, modifiersOf<2>(op)));
APPROX(SqrtApprox, float, (const Op &op, float a),
       sqrtApprox(a, modifiersOf<2>(op)));
APPROX(RsqrtApprox, float, (const Op &op, float a),
       rsqrtApprox(a, modifiersOf<2>(op)));
APPROX(SinApprox, float, (const Op &op, float a),
       sinApprox(a, modifiersOf<2>(op)));
APPROX(CosApprox, float, (const Op &op, float a),
       cosApprox(a, modifiersOf<2>(op)));
APPROX(Lg2Approx, float, (const Op &op, float a),
       lg2Approx(a, modifiersOf<2>(op)));
APPROX(RcpApproxFtz, double, (const Op &, double a), rcpApproxFtz(a));
APPROX(RsqrtApproxDouble, double, (const Op &, double a), rsqrtApprox(a));
APPROX(RsqrtApproxFtz, double, (const Op &, double a), rsqrtApproxFtz(a));
#undef APPROX

struct Ex2Fn {
  template <typename T>
  NEST_PTX_INLINE T call(T a, Modifiers m) {
    return ex2Approx(a, m);
  }
};
struct TanhFn {
  template <typename T>
  NEST_PTX_INLINE T call(T a, Modifiers) {
    return tanhApprox(a);
  }
};
} // namespace

static void decodeDiv(Decoder &d) {
  if (!isFloatOp(d.peekType()))
    return decodeIntegerDiv(d);
  int kind = d.takeNext({"full"}) == 0 ? 1 : d.takeOneOf({"approx"});
  int taken = kind < 0 ? takeRound(d) : -1;
  bool ftz = d.take("ftz");
  Type type = d.type({Type::F32, Type::F64});
  if (kind < 0 && taken < 0)
    d.error("the rounding is missing", ".rn, .rz, .rm, .rp, .approx or .full");
  if (type == Type::F64 && (kind >= 0 || ftz))
    d.error("f64 has a rounding mode and nothing else");
  Op op = same(d, type, 2, kind < 0 ? classOf(type) : OpClass::Special);
  op.variant = ftz ? BitFtz : 0;
  if (kind == 0)
    setSame<DivApprox, float, 2>(op);
  else if (kind == 1)
    setSame<DivFull, float, 2>(op);
  else
    setRounded<DivFn, DirectedDiv, 2>(op, type, roundOf(taken));
  d.emit(std::move(op));
}

/// rcp and sqrt: .approx or a rounding.
static void decodeRcpOrSqrt(Decoder &d) {
  bool isRcp = d.instruction().opcode == "rcp";
  bool approx = d.take("approx");
  int taken = approx ? -1 : takeRound(d);
  bool ftz = d.take("ftz");
  Type type = d.type({Type::F32, Type::F64});
  if (!approx && taken < 0)
    d.error("the rounding is missing", ".rn, .rz, .rm, .rp or .approx");
  // The .ftz of an exact reciprocal in f64 says nothing: ptxas makes the same
  // code with and without it.
  if (type == Type::F64 && (approx ? !(isRcp && ftz) : ftz && !isRcp))
    d.error("no such form for .f64");
  Op op = same(d, type, 1, OpClass::Special);
  op.variant = ftz ? BitFtz : 0;
  if (approx && type == Type::F64)
    setSame<RcpApproxFtz, double, 1>(op);
  else if (approx && isRcp)
    setSame<RcpApprox, float, 1>(op);
  else if (approx)
    setSame<SqrtApprox, float, 1>(op);
  else if (isRcp)
    setRounded<RcpFn, DirectedRcp, 1>(op, type, roundOf(taken));
  else
    setRounded<SqrtFn, DirectedSqrt, 1>(op, type, roundOf(taken));
  d.emit(std::move(op));
}

static void decodeRsqrt(Decoder &d) {
  d.needOneOf({"approx"});
  bool ftz = d.take("ftz");
  Type type = d.type({Type::F32, Type::F64});
  Op op = same(d, type, 1, OpClass::Special);
  op.variant = ftz ? BitFtz : 0;
  if (type == Type::F32)
    setSame<RsqrtApprox, float, 1>(op);
  else if (ftz)
    setSame<RsqrtApproxFtz, double, 1>(op);
  else
    setSame<RsqrtApproxDouble, double, 1>(op);
  d.emit(std::move(op));
}

template <typename F>
static void function32(Decoder &d) {
  d.needOneOf({"approx"});
  bool ftz = d.take("ftz");
  d.type({Type::F32});
  Op op = same(d, Type::F32, 1, OpClass::Special);
  op.variant = ftz ? BitFtz : 0;
  setSame<F, float, 1>(op);
  d.emit(std::move(op));
}
static void decodeSin(Decoder &d) { function32<SinApprox>(d); }
static void decodeCos(Decoder &d) { function32<CosApprox>(d); }
static void decodeLg2(Decoder &d) { function32<Lg2Approx>(d); }

/// ex2 and tanh, which halves have too.
template <typename Fn, bool isTanh>
static void functionOfAll(Decoder &d) {
  d.needOneOf({"approx"});
  bool ftz = !isTanh && d.take("ftz");
  Type type =
      d.type({Type::F32, Type::F16, Type::F16x2, Type::BF16, Type::BF16x2});
  bool half = type == Type::F16 || type == Type::F16x2;
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  if (half || (isTanh && type == Type::F32))
    d.require(70, 75);
  if (brain)
    d.require(78, 90);
  if (!isTanh && (half ? ftz : brain && !ftz))
    d.error(half ? ".ftz on halves" : ".ftz is missing");
  Op op = same(d, type, 1, OpClass::Special);
  op.variant = ftz ? BitFtz : 0;
  switch (type) {
  case Type::F16:
    setSame<Scalar<Fn, 2>, Half, 1>(op);
    break;
  case Type::BF16:
    setSame<Scalar<Fn, 2>, Bf16, 1>(op);
    break;
  case Type::F16x2:
    setSame<Halves<Fn, Half, 2>, uint32_t, 1>(op);
    break;
  case Type::BF16x2:
    setSame<Halves<Fn, Bf16, 2>, uint32_t, 1>(op);
    break;
  default:
    setSame<Scalar<Fn, 2>, float, 1>(op);
  }
  d.emit(std::move(op));
}
static void decodeEx2(Decoder &d) { functionOfAll<Ex2Fn, false>(d); }
static void decodeTanh(Decoder &d) { functionOfAll<TanhFn, true>(d); }

//===----------------------------------------------------------------------===//
// Signs, minimum and maximum, tests
//===----------------------------------------------------------------------===//

namespace {
/// Operations on the bits of a number: the sign cleared, or flipped.
template <typename T, bool Negate>
struct Sign {
  NEST_PTX_INLINE T apply(const Op &op, T a) {
    T value = op.flag ? flush(a) : a;
    BitsOf<T> sign = Layout<T>::sign;
    BitsOf<T> bits = toBits(value);
    return fromBits<T>(Negate ? bits ^ sign
                              : bits & static_cast<BitsOf<T>>(~sign));
  }
};
template <typename T, bool Negate>
struct SignPacked {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a) {
    T low = Sign<T, Negate>::apply(op, T{static_cast<uint16_t>(a)});
    T high = Sign<T, Negate>::apply(op, T{static_cast<uint16_t>(a >> 16)});
    return low.bits | static_cast<uint32_t>(high.bits) << 16;
  }
};

enum MinMaxBits : uint8_t {
  MinMaxMax = 1,
  MinMaxFtz = 2,
  MinMaxNaN = 4,
  MinMaxAbs = 8,
  MinMaxXor = 16
};
NEST_PTX_INLINE MinMax minMaxOf(const Op &op) {
  MinMax how;
  how.max = op.variant & MinMaxMax;
  how.ftz = op.variant & MinMaxFtz;
  how.nan = op.variant & MinMaxNaN;
  how.abs = op.variant & MinMaxAbs;
  how.xorsign = op.variant & MinMaxXor;
  return how;
}
struct MinMaxScalar {
  template <typename T>
  NEST_PTX_INLINE T apply(const Op &op, T a, T b) {
    return minMax(a, b, minMaxOf(op));
  }
  template <typename T>
  NEST_PTX_INLINE T apply(const Op &op, T a, T b, T c) {
    return minMax(a, b, c, minMaxOf(op));
  }
};
template <typename T>
struct MinMaxPacked {
  NEST_PTX_INLINE uint32_t apply(const Op &op, uint32_t a, uint32_t b) {
    auto half = [&](unsigned shift) __attribute__((always_inline)) {
      T r = minMax(T{static_cast<uint16_t>(a >> shift)},
                   T{static_cast<uint16_t>(b >> shift)}, minMaxOf(op));
      return static_cast<uint32_t>(r.bits) << shift;
    };
    return half(0) | half(16);
  }
};

template <typename T>
struct CopySign {
  NEST_PTX_INLINE T apply(const Op &, T a, T b) {
    return fromBits<T>(magnitudeBits(b) | (toBits(a) & Layout<T>::sign));
  }
};

enum TestKind : uint8_t {
  TestFinite,
  TestInfinite,
  TestNumber,
  TestNotANumber,
  TestNormal,
  TestSubnormal
};
template <typename T>
struct Test {
  NEST_PTX_INLINE bool apply(const Op &op, T a) {
    BitsOf<T> m = magnitudeBits(a), infinity = Layout<T>::infinity;
    bool hasExponent = (m & infinity) != 0;
    switch (op.variant) {
    case TestFinite:
      return m < infinity;
    case TestInfinite:
      return m == infinity;
    case TestNumber:
      return m <= infinity;
    case TestNotANumber:
      return m > infinity;
    case TestNormal:
      return hasExponent && m < infinity;
    default:
      return !hasExponent && m != 0;
    }
  }
};
} // namespace

template <bool Negate>
static void sign(Decoder &d) {
  bool ftz = d.take("ftz");
  Type type = d.type(
      {Type::F32, Type::F64, Type::F16, Type::F16x2, Type::BF16, Type::BF16x2});
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  if (type == Type::F16 || type == Type::F16x2)
    Negate ? d.require(60, 53) : d.require(65, 53);
  if (brain)
    d.require(70, 80);
  if (ftz && (type == Type::F64 || brain))
    d.error(std::string(".ftz on ") + typeName(type));
  Op op = same(d, type, 1, classOf(type));
  op.flag = ftz;
  switch (type) {
  case Type::F32:
    setSame<Sign<float, Negate>, float, 1>(op);
    break;
  case Type::F64:
    setSame<Sign<double, Negate>, double, 1>(op);
    break;
  case Type::F16:
    setSame<Sign<Half, Negate>, Half, 1>(op);
    break;
  case Type::BF16:
    setSame<Sign<Bf16, Negate>, Bf16, 1>(op);
    break;
  case Type::F16x2:
    setSame<SignPacked<Half, Negate>, uint32_t, 1>(op);
    break;
  default:
    setSame<SignPacked<Bf16, Negate>, uint32_t, 1>(op);
  }
  d.emit(std::move(op));
}
static void decodeAbs(Decoder &d) {
  isFloatOp(d.peekType()) ? sign<false>(d) : decodeIntegerAbs(d);
}
static void decodeNeg(Decoder &d) {
  isFloatOp(d.peekType()) ? sign<true>(d) : decodeIntegerNeg(d);
}

static void minOrMax(Decoder &d, bool isMax) {
  uint8_t bits = isMax ? MinMaxMax : 0;
  if (d.take("ftz"))
    bits |= MinMaxFtz;
  if (d.take("NaN"))
    bits |= MinMaxNaN;
  if (d.take("xorsign"))
    bits |= MinMaxXor;
  if (d.take("abs"))
    bits |= MinMaxAbs;
  Type type = d.type(
      {Type::F32, Type::F64, Type::F16, Type::F16x2, Type::BF16, Type::BF16x2});
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  bool three = d.operandCount() == 4;
  if (type != Type::F32 && type != Type::F64)
    d.require(70, 80);
  if (bits & MinMaxNaN)
    d.require(70, 80);
  if (bits & MinMaxXor)
    d.require(72, 86);
  if (three)
    d.require(88, 100);
  if (type == Type::F64 && bits > 1)
    d.error("f64 has no modifiers");
  if ((bits & MinMaxFtz) && brain)
    d.error(".ftz on bf16");
  if (!three && !(bits & MinMaxXor) != !(bits & MinMaxAbs))
    d.error(".xorsign and .abs go together");
  if (three && (type != Type::F32 || (bits & MinMaxXor)))
    d.error("three operands are for .f32, without .xorsign");
  Op op = same(d, type, three ? 3 : 2, classOf(type));
  op.variant = bits;
  switch (type) {
  case Type::F32:
    if (three)
      setSame<MinMaxScalar, float, 3>(op);
    else
      setSame<MinMaxScalar, float, 2>(op);
    break;
  case Type::F64:
    setSame<MinMaxScalar, double, 2>(op);
    break;
  case Type::F16:
    setSame<MinMaxScalar, Half, 2>(op);
    break;
  case Type::BF16:
    setSame<MinMaxScalar, Bf16, 2>(op);
    break;
  case Type::F16x2:
    setSame<MinMaxPacked<Half>, uint32_t, 2>(op);
    break;
  default:
    setSame<MinMaxPacked<Bf16>, uint32_t, 2>(op);
  }
  d.emit(std::move(op));
}
static void decodeMin(Decoder &d) {
  isFloatOp(d.peekType()) ? minOrMax(d, false) : decodeIntegerMin(d);
}
static void decodeMax(Decoder &d) {
  isFloatOp(d.peekType()) ? minOrMax(d, true) : decodeIntegerMax(d);
}

static void decodeCopySign(Decoder &d) {
  Type type = d.type({Type::F32, Type::F64});
  Op op = same(d, type, 2, classOf(type));
  if (type == Type::F32)
    setSame<CopySign<float>, float, 2>(op);
  else
    setSame<CopySign<double>, double, 2>(op);
  d.emit(std::move(op));
}

static void decodeTestp(Decoder &d) {
  int kind = d.needOneOf(
      {"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  Type type = d.type({Type::F32, Type::F64});
  d.finish(2);
  Op op = d.start(OpKind::Lane, OpClass::Compare);
  op.variant = kind;
  op.d = d.result(0, Type::Pred);
  op.s[0] = d.source(1, type);
  if (type == Type::F32)
    setLane<Test<float>, Bit, float>(op);
  else
    setLane<Test<double>, Bit, double>(op);
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::floatTable() {
  static constexpr OpcodeRow rows[] = {
      {"add", decodeAdd},        {"sub", decodeSub},
      {"mul", decodeMul},        {"fma", decodeFma},
      {"div", decodeDiv},        {"abs", decodeAbs},
      {"neg", decodeNeg},        {"min", decodeMin},
      {"max", decodeMax},        {"rcp", decodeRcpOrSqrt},
      {"sqrt", decodeRcpOrSqrt}, {"rsqrt", decodeRsqrt},
      {"sin", decodeSin},        {"cos", decodeCos},
      {"lg2", decodeLg2},        {"ex2", decodeEx2},
      {"tanh", decodeTanh},      {"copysign", decodeCopySign},
      {"testp", decodeTestp},
  };
  return {rows, std::size(rows)};
}
