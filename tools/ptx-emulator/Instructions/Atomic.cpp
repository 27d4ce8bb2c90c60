//===- Atomic.cpp - atomics -----------------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.13: atom and red. Lanes of an instruction act in ascending order.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Instructions/Atomic.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"
#include "tools/ptx-emulator/MemoryAccess.h"

using namespace nestc::ptx;

namespace {
/// Two halves of one word.
template <typename T>
struct Pair {
  T low, high;
};

template <typename T>
struct IsPair : std::false_type {};
template <typename T>
struct IsPair<Pair<T>> : std::true_type {};

template <typename T>
T addFloats(T a, T b, bool global) {
  if constexpr (IsPair<T>::value)
    return {add(a.low, b.low), add(a.high, b.high)};
  else if constexpr (std::is_same_v<T, float>)
    return global ? addAtomicGlobal(a, b) : add(a, b);
  else
    return add(a, b);
}

template <typename T>
T extremum(T a, T b, bool max) {
  MinMax how;
  how.max = max;
  if constexpr (IsPair<T>::value)
    return {minMax(a.low, b.low, how), minMax(a.high, b.high, how)};
  else
    return minMax(a, b, how);
}

/// The new value.
template <typename T>
T update(AtomicKind kind, T old, T b, T c, bool global) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    switch (kind) {
    case AtomicAdd:
      return static_cast<T>(U(old) + U(b));
    case AtomicMin:
      return b < old ? b : old;
    case AtomicMax:
      return b > old ? b : old;
    case AtomicAnd:
      return static_cast<T>(old & b);
    case AtomicOr:
      return static_cast<T>(old | b);
    case AtomicXor:
      return static_cast<T>(old ^ b);
    case AtomicExch:
      return b;
    case AtomicCas:
      return old == b ? c : old;
    case AtomicInc:
      return old >= b ? T(0) : static_cast<T>(old + 1);
    case AtomicDec:
      return old == 0 || old > b ? b : static_cast<T>(old - 1);
    }
    return old;
  } else {
    return kind == AtomicAdd ? addFloats(old, b, global)
                             : extremum(old, b, kind == AtomicMax);
  }
}

template <unsigned bytes>
struct WordOf;
template <>
struct WordOf<2> {
  using Type = uint16_t;
};
template <>
struct WordOf<4> {
  using Type = uint32_t;
};
template <>
struct WordOf<8> {
  using Type = uint64_t;
};
} // namespace

/// Blocks on other cores may reduce into the same word.
template <typename T>
static T exchange(uint8_t *at, AtomicKind kind, T b, T c, bool global) {
  using Word = typename WordOf<sizeof(T)>::Type;
  Word *word = reinterpret_cast<Word *>(at);
  Word seen = __atomic_load_n(word, __ATOMIC_RELAXED);
  for (;;) {
    T old;
    std::memcpy(&old, &seen, sizeof(T));
    T next = update(kind, old, b, c, global);
    Word bits;
    std::memcpy(&bits, &next, sizeof(T));
    if (__atomic_compare_exchange_n(word, &seen, bits, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED))
      return old;
  }
}

template <typename T>
static void reduce(uint8_t *to, const uint8_t *from, uint32_t count,
                   AtomicKind kind, bool global) {
  for (uint32_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    exchange<T>(to + i * sizeof(T), kind, value, T(), global);
  }
}

ReduceFn nestc::ptx::reduction(Type type) {
  switch (type) {
  case Type::U32:
  case Type::B32:
    return reduce<uint32_t>;
  case Type::S32:
    return reduce<int32_t>;
  case Type::U64:
  case Type::B64:
    return reduce<uint64_t>;
  case Type::S64:
    return reduce<int64_t>;
  case Type::F16:
    return reduce<Half>;
  case Type::BF16:
    return reduce<Bf16>;
  case Type::F32:
    return reduce<float>;
  case Type::F64:
    return reduce<double>;
  default:
    return nullptr;
  }
}

/// R is the register that holds a T.
template <typename T, typename R>
static Step atomic(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Pointers p;
  unsigned count = op.access.count, bytes = sizeof(T) * count;
  if (!addressesOf(warp, op, lanes, address) ||
      !locate(warp, op, lanes, op.access.space, address, bytes, bytes,
              Touch::Atomic, p))
    return Step::Fault;
  auto kind = static_cast<AtomicKind>(op.variant);
  // list: the operands b; list2: the results. A second operand is s[2].
  for (Slot slot : op.list)
    if (!warp.demand(op, slot, lanes, "the operand of the atomic"))
      return Step::Fault;
  if (!warp.demand(op, op.s[2], lanes, "the operand of the atomic") ||
      !checkState(warp, op, lanes, bytes, kind != AtomicExch, p) ||
      !checkRaces(warp, op, bytes, Touch::Atomic, p) ||
      !checkGlobalRaces(warp, op, lanes, op.access.space, address, bytes,
                        Touch::Atomic, p))
    return Step::Fault;
  bool fences = warp.program.hasFences;
  synchronize(warp, lanes, address, p, op.access.space,
              op.access.acquires || fences, op.access.releases || fences);
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    bool global = !(p.sharedLanes >> lane & 1);
    for (unsigned e = 0; e < count; ++e) {
      T b, c;
      std::memcpy(&b, warp.at<R>(op.list[e]) + lane, sizeof(T));
      std::memcpy(&c, warp.at<R>(op.s[2]) + lane, sizeof(T));
      T old = exchange<T>(p.data[lane] + e * sizeof(T), kind, b, c, global);
      if (op.list2.empty())
        continue;
      R out = 0;
      std::memcpy(&out, &old, sizeof(T));
      warp.at<R>(op.list2[e])[lane] = out;
    }
    if (p.state[lane])
      std::memset(p.state[lane], Defined, bytes);
  }
  for (Slot slot : op.list2)
    warp.define(slot, lanes);
  countAccess(warp, lanes, op.access.space, false, address, p, bytes);
  countAccess(warp, lanes, op.access.space, true, address, p, bytes);
  return Step::Done;
}

/// 128 bits: exch and cas alone.
static Step atomic128(Warp &warp, const Op &op, uint32_t lanes) {
  using Wide = unsigned __int128;
  uint64_t address[laneCount];
  Pointers p;
  if (!addressesOf(warp, op, lanes, address) ||
      !locate(warp, op, lanes, op.access.space, address, 16, 16, Touch::Atomic,
              p) ||
      !warp.demand(op, op.list[0], lanes, "the operand of the atomic") ||
      !warp.demand(op, op.s[2], lanes, "the operand of the atomic") ||
      !checkState(warp, op, lanes, 16, op.variant == AtomicCas, p) ||
      !checkRaces(warp, op, 16, Touch::Atomic, p))
    return Step::Fault;
  bool fences = warp.program.hasFences;
  synchronize(warp, lanes, address, p, op.access.space,
              op.access.acquires || fences, op.access.releases || fences);
  forLanes(lanes, [&](unsigned lane) {
    Wide old, b = warp.at<Wide>(op.list[0])[lane];
    std::memcpy(&old, p.data[lane], 16);
    Wide next = op.variant == AtomicExch ? b
                : old == b               ? warp.at<Wide>(op.s[2])[lane]
                                         : old;
    std::memcpy(p.data[lane], &next, 16);
    if (p.state[lane])
      std::memset(p.state[lane], Defined, 16);
    if (!op.list2.empty())
      warp.at<Wide>(op.list2[0])[lane] = old;
  });
  for (Slot slot : op.list2)
    warp.define(slot, lanes);
  countAccess(warp, lanes, op.access.space, true, address, p, 16);
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// Types that a kind of atomic has.
static Type atomicType(Decoder &d, AtomicKind kind, bool isVector) {
  if (isVector)
    return d.type(
        {Type::F32, Type::F16, Type::F16x2, Type::BF16, Type::BF16x2});
  switch (kind) {
  case AtomicAdd:
    return d.type({Type::U32, Type::S32, Type::U64, Type::F32, Type::F64,
                   Type::F16, Type::F16x2, Type::BF16, Type::BF16x2});
  case AtomicMin:
  case AtomicMax:
    return d.type({Type::U32, Type::S32, Type::U64, Type::S64});
  case AtomicAnd:
  case AtomicOr:
  case AtomicXor:
    return d.type({Type::B32, Type::B64});
  case AtomicExch:
    return d.type({Type::B32, Type::B64, Type::B128});
  case AtomicCas:
    return d.type({Type::B16, Type::B32, Type::B64, Type::B128});
  default:
    return d.type({Type::U32});
  }
}

static void setEffect(Op &op, Type type) {
  switch (type) {
  case Type::B128:
    op.effect = atomic128;
    return;
  case Type::B16:
    op.effect = atomic<uint16_t, uint16_t>;
    return;
  case Type::S32:
    op.effect = atomic<int32_t, uint32_t>;
    return;
  case Type::U64:
  case Type::B64:
    op.effect = atomic<uint64_t, uint64_t>;
    return;
  case Type::S64:
    op.effect = atomic<int64_t, uint64_t>;
    return;
  case Type::F32:
    op.effect = atomic<float, uint32_t>;
    return;
  case Type::F64:
    op.effect = atomic<double, uint64_t>;
    return;
  case Type::F16:
    op.effect = atomic<Half, uint16_t>;
    return;
  case Type::BF16:
    op.effect = atomic<Bf16, uint16_t>;
    return;
  case Type::F16x2:
    op.effect = atomic<Pair<Half>, uint32_t>;
    return;
  case Type::BF16x2:
    op.effect = atomic<Pair<Bf16>, uint32_t>;
    return;
  default:
    op.effect = atomic<uint32_t, uint32_t>;
  }
}

static void decodeAtomic(Decoder &d) {
  bool isRed = d.instruction().opcode == "red";
  Op op = d.start(OpKind::Effect, OpClass::Atomic);
  // Modifiers in any order: other compilers do not keep the manual's.
  int semantics = d.takeOneOf({"relaxed", "acquire", "release", "acq_rel"});
  op.access.acquires = semantics == 1 || semantics == 3;
  op.access.releases = semantics == 2 || semantics == 3;
  if (isRed && op.access.acquires)
    d.error("red has no .acquire", ".relaxed or .release");
  if (semantics >= 0)
    d.require(60, 70);
  d.takeOneOf({"cta", "cluster", "gpu", "sys"});
  Space space = d.space();
  if (d.take("shared::cluster"))
    space = Space::Shared;
  if (space == Space::Local || space == Space::Param || space == Space::Const)
    d.error(std::string("no atomics on .") + spaceName(space),
            ".global, .shared or generic");
  auto kind = static_cast<AtomicKind>(
      isRed ? d.needOneOf({"add", "min", "max", "and", "or", "xor", "-", "-",
                           "inc", "dec"})
            : d.needOneOf({"add", "min", "max", "and", "or", "xor", "exch",
                           "cas", "inc", "dec"}));
  bool noftz = d.take("noftz");
  bool hasHint = d.take("L2::cache_hint");
  int vector = d.takeOneOf({"v2", "v4", "v8"});
  bool isFloatMinMax = (kind == AtomicMin || kind == AtomicMax) &&
                       typeBits(d.peekType()) != 64 && !isInt(d.peekType());
  Type type = isFloatMinMax
                  ? d.type({Type::F16, Type::F16x2, Type::BF16, Type::BF16x2})
                  : atomicType(d, kind, vector >= 0);
  bool half = type == Type::F16 || type == Type::F16x2;
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  if ((half || brain) != noftz)
    d.error(noftz ? ".noftz is for halves" : ".noftz is missing");
  if (half)
    type == Type::F16 ? d.require(63, 70) : d.require(62, 60);
  if (brain)
    d.require(78, 90);
  if (type == Type::F64)
    d.require(50, 60);
  if (type == Type::B16)
    d.require(63, 70);
  if (type == Type::B128)
    d.require(83, 90);
  unsigned count = vector < 0 ? 1 : 2u << vector;
  if (vector >= 0) {
    d.require(81, 90);
    if (space != Space::Global || typeBytes(type) * count > 16)
      d.error("vectors are for .global, up to 16 bytes");
  }
  if (isFloatMinMax && vector < 0)
    d.error("min and max of halves are for vectors");
  unsigned operands = (isRed ? 2 : 3) + (kind == AtomicCas) + hasHint;
  d.finish(operands);
  unsigned at = isRed ? 0 : 1;
  d.address(d.operand(at), op, space);
  op.access.bytes = typeBytes(type);
  op.access.count = count;
  op.variant = kind;
  auto each = [&](const Operand &operand, bool isResult) {
    (isResult ? op.list2 : op.list)
        .push_back(isResult ? d.result(operand, type, false, true)
                            : d.source(operand, type));
  };
  for (bool isResult : {true, false}) {
    if (isResult && isRed)
      continue;
    const Operand &operand = d.operand(isResult ? 0 : at + 1);
    if (count == 1) {
      each(operand, isResult);
    } else if (operand.kind == Operand::Kind::Vector &&
               operand.elements.size() == count) {
      for (const Operand &element : operand.elements)
        each(element, isResult);
    } else {
      return d.error("an operand does not have " + std::to_string(count) +
                     " elements");
    }
  }
  if (kind == AtomicCas)
    op.s[2] = d.source(at + 2, type);
  d.noteAccess(std::min(4u, typeBytes(type)));
  if (space != Space::Global)
    d.noteSharedAccess(std::min(4u, typeBytes(type)));
  // What an atomic returns, and a sum of floats, depends on the order of
  // blocks.
  bool commutes =
      isRed && !isFloat(type) && !half && !brain && kind <= AtomicXor;
  if (space != Space::Shared && !commutes)
    d.program.communicates = true;
  setEffect(op, type);
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::atomicTable() {
  static constexpr OpcodeRow rows[] = {{"atom", decodeAtomic},
                                       {"red", decodeAtomic}};
  return {rows, std::size(rows)};
}
