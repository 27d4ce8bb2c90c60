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
  if constexpr (sizeof(T) == 16) { // exch and cas alone
    return kind == AtomicExch ? b : old == b ? c : old;
  } else if constexpr (std::is_integral_v<T>) {
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

/// Returns what was there; `changed` is set if it is another value now. Blocks
/// on other cores may reduce into the same word.
template <typename T>
static T exchange(uint8_t *at, AtomicKind kind, T b, T c, bool global,
                  bool &changed) {
  T old;
  if constexpr (sizeof(T) == 16) { // never a reduction: one core runs all
    std::memcpy(&old, at, 16);
    T next = update(kind, old, b, c, global);
    std::memcpy(at, &next, 16);
    changed |= next != old;
    return old;
  } else {
    using Word = typename WordOf<sizeof(T)>::Type;
    Word *word = reinterpret_cast<Word *>(at);
    Word seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    for (;;) {
      std::memcpy(&old, &seen, sizeof(T));
      T next = update(kind, old, b, c, global);
      Word bits;
      std::memcpy(&bits, &next, sizeof(T));
      if (__atomic_compare_exchange_n(word, &seen, bits, false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        changed |= bits != seen;
        return old;
      }
    }
  }
}

template <typename T>
static void reduce(uint8_t *to, const uint8_t *from, uint32_t count,
                   AtomicKind kind, bool global) {
  for (uint32_t i = 0; i < count; ++i) {
    T value;
    bool changed = false;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    exchange<T>(to + i * sizeof(T), kind, value, T(), global, changed);
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

/// Undefined bytes of memory, as bits of the register that takes the old value.
static uint64_t shadowOf(const uint8_t *state, unsigned bytes) {
  uint64_t shadow = 0;
  for (unsigned b = 0; state && b < bytes; ++b)
    if (state[b] != Defined)
      shadow |= uint64_t(0xff) << (8 * std::min(b, 7u));
  return shadow;
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
  if (count > 1 && p.sharedLanes)
    return warp.fail(op, __builtin_ctz(p.sharedLanes),
                     "an atomic on a vector is for global memory");
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
  for (Slot slot : op.list2)
    warp.define(slot, lanes);
  bool changed = false;
  forLanes(lanes, [&](unsigned lane) {
    bool global = !(p.sharedLanes >> lane & 1);
    // All operands before the first result: they may be the same registers.
    T b[8], c;
    for (unsigned e = 0; e < count; ++e)
      std::memcpy(&b[e], warp.at<R>(op.list[e]) + lane, sizeof(T));
    std::memcpy(&c, warp.at<R>(op.s[2]) + lane, sizeof(T));
    for (unsigned e = 0; e < count; ++e) {
      T old = exchange<T>(p.data[lane] + e * sizeof(T), kind, b[e], c, global,
                          changed);
      if (op.list2.empty())
        continue;
      R out = 0;
      std::memcpy(&out, &old, sizeof(T));
      warp.at<R>(op.list2[e])[lane] = out;
      // Only an exchange comes here with a state that is not defined.
      if (uint64_t shadow = shadowOf(p.state[lane], bytes))
        warp.setShadow(op.list2[e], lane, sizeof(R), shadow);
    }
    if (p.state[lane])
      std::memset(p.state[lane], Defined, bytes);
  });
  if (changed)
    warp.changed();
  else if (!op.list2.empty())
    forLanes(lanes, [&](unsigned lane) {
      warp.observe(address[lane], p.data[lane], bytes);
    });
  countAccess(warp, lanes, op.access.space, false, address, p, bytes);
  countAccess(warp, lanes, op.access.space, true, address, p, bytes);
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

namespace {
constexpr unsigned bit(AtomicKind kind) { return 1u << kind; }
constexpr unsigned sums = bit(AtomicAdd),
                   orders = bit(AtomicMin) | bit(AtomicMax),
                   bitwise = bit(AtomicAnd) | bit(AtomicOr) | bit(AtomicXor),
                   swaps = bit(AtomicExch) | bit(AtomicCas),
                   counters = bit(AtomicInc) | bit(AtomicDec);

/// What there is of a type: kinds, and lengths of vectors (1: no vector).
struct AtomicForm {
  Type type;
  unsigned kinds;
  unsigned lengths;
  unsigned version, sm;
};
} // namespace

static constexpr AtomicForm forms[] = {
    {Type::U32, sums | orders | counters, 1, 0, 0},
    {Type::S32, sums | orders, 1, 0, 0},
    {Type::U64, sums | orders, 1, 0, 0},
    {Type::S64, orders, 1, 0, 0},
    {Type::F32, sums, 1, 0, 0},
    {Type::F64, sums, 1, 50, 60},
    {Type::F16, sums, 1, 63, 70},
    {Type::F16x2, sums, 1, 62, 60},
    {Type::BF16, sums, 1, 78, 90},
    {Type::BF16x2, sums, 1, 78, 90},
    {Type::B16, bit(AtomicCas), 1, 63, 70},
    {Type::B32, bitwise | swaps, 1, 0, 0},
    {Type::B64, bitwise | swaps, 1, 0, 0},
    {Type::B128, swaps, 1, 83, 90},
    {Type::F32, sums, 2 | 4, 81, 90},
    {Type::F16, sums | orders, 2 | 4 | 8, 81, 90},
    {Type::BF16, sums | orders, 2 | 4 | 8, 81, 90},
    {Type::F16x2, sums | orders, 2 | 4, 81, 90},
    {Type::BF16x2, sums | orders, 2 | 4, 81, 90},
};

/// Takes the type; an error if the kind does not have it in such vectors.
static Type atomicType(Decoder &d, AtomicKind kind, unsigned count) {
  Type type = d.type({});
  std::string legal;
  for (const AtomicForm &form : forms) {
    if (!(form.kinds & bit(kind)) || !(form.lengths & count))
      continue;
    if (form.type == type) {
      d.require(form.version, form.sm);
      return type;
    }
    legal +=
        (legal.empty() ? "one of " : ", ") + std::string(typeName(form.type));
  }
  d.error(std::string("has no type ") + typeName(type) +
              (count > 1 ? " in vectors of " + std::to_string(count) : ""),
          legal);
  return type;
}

static void setEffect(Op &op, Type type) {
  switch (type) {
  case Type::B128:
    op.effect = atomic<unsigned __int128, unsigned __int128>;
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
  int scope = d.scope();
  op.access.isOfBlock = scope == 0 || scope == 1;
  Space space = d.space();
  if (d.take("shared::cluster")) {
    d.require(78, 90);
    space = Space::Shared;
  }
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
  unsigned count = vector < 0 ? 1 : 2u << vector;
  Type type = atomicType(d, kind, count);
  bool half = type == Type::F16 || type == Type::F16x2;
  bool brain = type == Type::BF16 || type == Type::BF16x2;
  if ((half || brain) != noftz)
    d.error(noftz ? ".noftz is for halves" : ".noftz is missing");
  if (count > 1 && space == Space::Shared)
    d.error("vectors are for global memory");
  if (hasHint && (space == Space::Shared || kind == AtomicCas))
    d.error("no .L2::cache_hint " +
            std::string(kind == AtomicCas ? "with .cas" : "in .shared"));
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
    } else if (isResult && operand.kind == Operand::Kind::Sink) {
      for (unsigned e = 0; e < count; ++e)
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
  if (hasHint)
    d.source(operands - 1, Type::B64);
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
