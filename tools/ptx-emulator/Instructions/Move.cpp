//===- Move.cpp - moves, addresses, spaces --------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9: mov, cvta, isspacep.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"

#include <chrono>

using namespace nestc::ptx;

namespace {
template <typename T>
struct Copy {
  NEST_PTX_INLINE T apply(const Op &, T a) { return a; }
};
struct AddBase {
  NEST_PTX_INLINE uint64_t apply(const Op &op, uint64_t a) {
    return a + static_cast<uint64_t>(op.imm);
  }
};
struct InWindow {
  NEST_PTX_INLINE bool apply(const Op &op, uint64_t a) {
    return a - static_cast<uint64_t>(op.imm) < windowBytes;
  }
};
} // namespace

static void copyPredicate(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t &d = warp.predicate(op.d);
  d = (d & ~lanes) | (warp.predicate(op.s[0]) & lanes);
}

template <unsigned bytes>
static void taintCopy(Warp &warp, const Op &op, uint32_t lanes) {
  if (op.hasResultPredicate) {
    uint32_t &to = warp.undefined(op.d);
    to = (to & ~lanes) | (warp.undefined(op.s[0]) & lanes);
    return;
  }
  forLanes(lanes, [&](unsigned lane) {
    warp.setShadow(op.d, lane, bytes, warp.shadow(op.s[0], lane, bytes));
  });
}

/// Elements of `from` side by side become one register, or the other way.
template <bool pack>
static Step packOrUnpack(Warp &warp, const Op &op, uint32_t lanes) {
  unsigned part = op.variant, count = op.list.size();
  unsigned whole = part * count;
  uint32_t undefined = pack ? 0 : warp.undefined(op.s[0]);
  for (unsigned e = 0; e < count; ++e) {
    Slot outer = pack ? op.d : op.s[0], inner = op.list[e];
    undefined |= pack ? warp.undefined(inner) : 0;
    uint8_t *wide = warp.at<uint8_t>(outer), *narrow = warp.at<uint8_t>(inner);
    forLanes(lanes, [&](unsigned lane) {
      if (pack)
        std::memcpy(wide + lane * whole + e * part, narrow + lane * part, part);
      else
        std::memcpy(narrow + lane * part, wide + lane * whole + e * part, part);
    });
  }
  undefined &= lanes;
  if (pack) {
    warp.define(op.d, lanes & ~undefined);
    forLanes(undefined, [&](unsigned lane) {
      uint64_t bits = 0;
      for (unsigned e = 0; e < count; ++e)
        if (e * part < 8)
          bits |= warp.shadow(op.list[e], lane, part) << (8 * part * e);
      warp.setShadow(op.d, lane, whole, bits);
    });
  } else {
    for (unsigned e = 0; e < count; ++e) {
      warp.define(op.list[e], lanes & ~undefined);
      forLanes(undefined, [&](unsigned lane) {
        uint64_t bits = warp.shadow(op.s[0], lane, whole) >>
                        (8 * part * (e * part < 8 ? e : 0));
        uint64_t mask =
            part >= 8 ? ~uint64_t(0) : (uint64_t(1) << (8 * part)) - 1;
        warp.setShadow(op.list[e], lane, part, bits & mask);
      });
    }
  }
  return Step::Done;
}

/// Clocks count operations, so that runs repeat.
static Step readClock(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t now = warp.clock;
  forLanes(lanes, [&](unsigned lane) {
    if (op.variant == 8)
      warp.at<uint64_t>(op.d)[lane] = now;
    else
      warp.at<uint32_t>(op.d)[lane] =
          static_cast<uint32_t>(op.flag ? now >> 32 : now);
  });
  warp.define(op.d, lanes);
  return Step::Done;
}

static void moveVector(Decoder &d, Type type) {
  bool pack = d.operand(1).kind == Operand::Kind::Vector;
  const Operand &vector = d.operand(pack ? 1 : 0);
  unsigned count = vector.elements.size(), bits = typeBits(type);
  if (!isBits(type) || (count != 2 && count != 4) || bits / count < 16) {
    // .b16 of two .b8 and .b32 of four are legal too, but need 8-bit registers.
    return d.error("a vector of " + std::to_string(count) + " elements in " +
                   typeName(type));
  }
  unsigned part = bits / count;
  Type element = part == 16 ? Type::B16 : part == 32 ? Type::B32 : Type::B64;
  Op op = d.start(OpKind::Effect, OpClass::Move);
  op.variant = part / 8;
  if (pack)
    op.d = d.result(0, type);
  else
    op.s[0] = d.source(1, type);
  for (const Operand &each : vector.elements) {
    if (each.kind == Operand::Kind::Special &&
        each.special != Special::WarpSize && element != Type::B32)
      return d.error("a special register has 32 bits");
    op.list.push_back(pack ? d.source(each, element)
                           : d.result(each, element, false, true));
  }
  op.effect = pack ? packOrUnpack<true> : packOrUnpack<false>;
  d.emit(std::move(op));
}

static void decodeMove(Decoder &d) {
  Type type = d.type({Type::Pred, Type::B16, Type::B32, Type::B64, Type::B128,
                      Type::U16, Type::U32, Type::U64, Type::S16, Type::S32,
                      Type::S64, Type::F32, Type::F64});
  d.finish(2);
  const Operand &from = d.operand(1);
  if (from.kind == Operand::Kind::Vector ||
      d.operand(0).kind == Operand::Kind::Vector)
    return moveVector(d, type);
  if (from.kind == Operand::Kind::Special && from.special >= Special::Clock) {
    Op op = d.start(OpKind::Effect, OpClass::Move);
    bool wide = from.special == Special::Clock64 ||
                from.special == Special::GlobalTimer;
    if (typeBytes(type) != (wide ? 8 : 4) || isFloat(type))
      return d.error("'" + std::string(from.name) + "' has other bits than " +
                     typeName(type));
    op.variant = wide ? 8 : 4;
    op.flag = from.special == Special::ClockHi ||
              from.special == Special::GlobalTimerHi;
    op.d = d.result(0, type);
    op.effect = readClock;
    return d.emit(std::move(op));
  }
  Op op = d.start(OpKind::Lane, OpClass::Move);
  op.d = d.result(0, type);
  if (from.kind == Operand::Kind::Symbol) {
    if (typeBytes(type) != 8 && typeBytes(type) != 4)
      return d.error("an address does not fit");
    Place at = d.place(*from.variable);
    uint64_t address = at.address + from.bits;
    op.s[0] = d.constant(address, typeBytes(type));
  } else {
    op.s[0] = d.source(1, type);
  }
  switch (storageBytes(type)) {
  case 0:
    op.lane = copyPredicate;
    op.hasResultPredicate = true;
    op.taint = taintCopy<4>;
    break;
  case 16:
    setLane<Copy<unsigned __int128>, unsigned __int128, unsigned __int128>(op);
    break;
  default:
    byWidth(typeBytes(type), [&](auto zero) {
      using T = decltype(zero);
      setLane<Copy<T>, T, T>(op);
      op.taint = taintCopy<sizeof(T)>;
    });
  }
  d.emit(std::move(op));
}

static uint64_t windowOf(Space space) {
  switch (space) {
  case Space::Shared:
    return sharedWindow;
  case Space::Local:
    return localWindow;
  case Space::Param:
    return paramWindow;
  default:
    return 0;
  }
}

static void decodeCvta(Decoder &d) {
  bool to = d.takeNext({"to"}) == 0;
  Space space = d.space();
  if (d.take("shared::cluster")) {
    d.require(78, 90);
    space = Space::Shared;
  }
  if (space == Space::Generic)
    return d.error("the space is missing",
                   ".global, .shared, .local, .const or .param");
  Type type = d.type({Type::U64, Type::U32});
  d.finish(2);
  if (type == Type::U32)
    return d.error("addresses have 64 bits");
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, type);
  uint64_t window = windowOf(space);
  if (!to && d.operand(1).kind == Operand::Kind::Symbol) {
    const Variable &variable = *d.operand(1).variable;
    Place at = d.place(variable);
    if (variable.space != space)
      d.error("variable '" + std::string(variable.name) + "' is in ." +
              spaceName(variable.space));
    op.s[0] = d.constant(at.address + d.operand(1).bits, 8);
    window = windowOf(at.space);
  } else {
    op.s[0] = d.source(1, type);
  }
  op.imm = static_cast<int64_t>(to ? 0 - window : window);
  op.taint = taintCopy<8>;
  setLane<AddBase, uint64_t, uint64_t>(op);
  d.emit(std::move(op));
}

/// Whether addresses are global, or constant: both have no window of their own.
static Step isGlobal(Warp &warp, const Op &op, uint32_t lanes) {
  const uint64_t *address = warp.at<uint64_t>(op.s[0]);
  uint32_t &d = warp.predicate(op.d);
  forLanes(lanes, [&](unsigned lane) {
    uint64_t at = address[lane];
    const Allocation *allocation = warp.block.device.find(at);
    bool constant = allocation && allocation->isConstant;
    bool global = at - sharedWindow >= 3 * windowBytes && !constant;
    bool is = op.flag ? constant : global;
    d = (d & ~(1u << lane)) | uint32_t(is) << lane;
  });
  warp.define(op.d, lanes);
  if (uint32_t unknown = warp.undefined(op.s[0]) & lanes)
    warp.undefined(op.d) |= unknown;
  return Step::Done;
}

static void decodeIsSpace(Decoder &d) {
  Space space = d.space();
  if (d.take("shared::cluster")) {
    d.require(78, 90);
    space = Space::Shared;
  }
  if (space == Space::Generic)
    return d.error("the space is missing");
  d.finish(2);
  bool windowed = windowOf(space) != 0;
  Op op = d.start(windowed ? OpKind::Lane : OpKind::Effect, OpClass::Compare);
  op.d = d.result(0, Type::Pred);
  op.s[0] = d.source(1, Type::U64);
  op.imm = static_cast<int64_t>(windowOf(space));
  op.flag = space == Space::Const;
  if (windowed)
    setLane<InWindow, Bit, uint64_t>(op);
  else
    op.effect = isGlobal;
  d.emit(std::move(op));
}

/// The address of a variable of another block of the cluster, which has this
/// one alone.
template <typename T>
static Step mapAddress(Warp &warp, const Op &op, uint32_t lanes) {
  if (!warp.demand(op, op.s[1], lanes, "the rank of the block"))
    return Step::Fault;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (uint32_t rank = warp.at<uint32_t>(op.s[1])[lane])
      return warp.fail(op, lane,
                       "there is no block " + std::to_string(rank) +
                           " in a cluster of one");
    warp.at<T>(op.d)[lane] = warp.at<T>(op.s[0])[lane];
    warp.setShadow(op.d, lane, sizeof(T),
                   warp.shadow(op.s[0], lane, sizeof(T)));
  }
  return Step::Done;
}

static void decodeMapAddress(Decoder &d) {
  bool shared = d.take("shared::cluster");
  Type type = d.type({Type::U32, Type::U64});
  d.require(78, 90);
  d.finish(3);
  if (!shared && type == Type::U32)
    return d.error("generic addresses have 64 bits");
  Op op = d.start(OpKind::Effect, OpClass::Integer);
  op.d = d.result(0, type);
  const Operand &from = d.operand(1);
  if (from.kind == Operand::Kind::Symbol) {
    Place at = d.place(*from.variable);
    if (at.space != Space::Shared)
      d.error("the variable is not in .shared");
    op.s[0] = d.constant(at.address + from.bits + (shared ? 0 : sharedWindow),
                         typeBytes(type));
  } else {
    op.s[0] = d.source(1, type);
  }
  op.s[1] = d.source(2, Type::U32);
  op.effect = type == Type::U32 ? mapAddress<uint32_t> : mapAddress<uint64_t>;
  d.emit(std::move(op));
}

static void decodeBlockRank(Decoder &d) {
  d.take("shared::cluster");
  Type type = d.type({Type::U32, Type::U64});
  d.require(78, 90);
  d.finish(2);
  Op op = d.start(OpKind::Lane, OpClass::Integer);
  op.d = d.result(0, Type::U32);
  op.resultBytes = 4;
  if (d.operand(1).kind != Operand::Kind::Symbol)
    op.s[0] = d.source(1, type);
  op.lane = [](Warp &warp, const Op &op, uint32_t lanes) {
    forLanes(lanes, [&](unsigned lane) { warp.at<uint32_t>(op.d)[lane] = 0; });
  };
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::moveTable() {
  static constexpr OpcodeRow rows[] = {{"mov", decodeMove},
                                       {"cvta", decodeCvta},
                                       {"isspacep", decodeIsSpace},
                                       {"mapa", decodeMapAddress},
                                       {"getctarank", decodeBlockRank}};
  return {rows, std::size(rows)};
}
