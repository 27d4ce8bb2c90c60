//===- Memory.cpp - loads and stores --------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9: ld, ldu, st, prefetch, and the fences of 9.7.13.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"
#include "tools/ptx-emulator/MemoryAccess.h"

using namespace nestc::ptx;

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

/// Undefined bytes of memory become undefined bits of the registers.
static void loadShadows(Warp &warp, const Op &op, uint32_t lanes,
                        const Pointers &p) {
  unsigned bytes = op.access.bytes, wide = op.access.registerBytes;
  for (unsigned e = 0; e < op.access.count; ++e) {
    Slot slot = op.list[e];
    warp.define(slot, lanes);
    forLanes(lanes, [&](unsigned lane) {
      if (!p.state[lane])
        return;
      const uint8_t *state = p.state[lane] + e * bytes;
      uint64_t shadow = 0;
      for (unsigned b = 0; b < bytes && b < 8; ++b)
        if (state[b])
          shadow |= uint64_t(0xff) << (8 * b);
      if (shadow && op.access.isSigned && state[bytes - 1])
        shadow |= ~uint64_t(0) << (8 * (bytes - 1));
      if (shadow)
        warp.setShadow(slot, lane, wide, shadow);
    });
  }
}

/// Four words of each lane, which go into four registers.
static void moveInFours(Warp &warp, const Op &op, const Pointers &p) {
  using Quad = uint32_t __attribute__((vector_size(16)));
  for (unsigned lane = 0; lane < laneCount; lane += 4) {
    Quad of[4], low[2], high[2];
    for (unsigned i = 0; i < 4; ++i)
      std::memcpy(&of[i], p.data[lane + i], sizeof(Quad));
    for (unsigned i = 0; i < 2; ++i) {
      low[i] = __builtin_shufflevector(of[2 * i], of[2 * i + 1], 0, 4, 1, 5);
      high[i] = __builtin_shufflevector(of[2 * i], of[2 * i + 1], 2, 6, 3, 7);
    }
    of[0] = __builtin_shufflevector(low[0], low[1], 0, 1, 4, 5);
    of[1] = __builtin_shufflevector(low[0], low[1], 2, 3, 6, 7);
    of[2] = __builtin_shufflevector(high[0], high[1], 0, 1, 4, 5);
    of[3] = __builtin_shufflevector(high[0], high[1], 2, 3, 6, 7);
    for (unsigned e = 0; e < 4; ++e)
      std::memcpy(warp.at<uint32_t>(op.list[e]) + lane, &of[e], sizeof(Quad));
  }
}

template <typename M, typename R>
static void moveIn(Warp &warp, const Op &op, uint32_t lanes,
                   const Pointers &p) {
  if (sizeof(M) == 4 && sizeof(R) == 4 && op.access.count == 4 && lanes == ~0u)
    return moveInFours(warp, op, p);
  for (unsigned e = 0; e < op.access.count; ++e) {
    R *to = warp.at<R>(op.list[e]);
    auto move = [&](unsigned lane) {
      M value;
      std::memcpy(&value, p.data[lane] + e * sizeof(M), sizeof(M));
      to[lane] = static_cast<R>(value);
    };
    if (lanes == ~0u)
      for (unsigned lane = 0; lane < laneCount; ++lane)
        move(lane);
    else
      forLanes(lanes, move);
  }
}

template <typename M, typename R>
static Step load(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Pointers p;
  unsigned bytes = op.access.bytes * op.access.count;
  Touch touch = op.access.isVolatile ? Touch::StrongRead : Touch::Read;
  if (!addressesOf(warp, op, lanes, address) ||
      !locate(warp, op, lanes, op.access.space, address, bytes, bytes, touch,
              p))
    return Step::Fault;
  bool undefined = anyUndefined(lanes, bytes, p);
  if ((undefined && !checkState(warp, op, lanes, bytes, false, p)) ||
      !checkRaces(warp, op, bytes, touch, p) ||
      !checkGlobalRaces(warp, op, lanes, op.access.space, address, bytes, touch,
                        p))
    return Step::Fault;
  if (op.access.isVolatile)
    synchronize(warp, lanes, address, p, op.access.space,
                op.access.acquires || warp.program.hasFences, false);
  moveIn<M, R>(warp, op, lanes, p);
  if (op.access.isVolatile)
    forLanes(lanes, [&](unsigned lane) {
      warp.observe(address[lane], p.data[lane], bytes);
    });
  if (undefined)
    loadShadows(warp, op, lanes, p);
  else
    for (unsigned e = 0; e < op.access.count; ++e)
      warp.define(op.list[e], lanes);
  countAccess(warp, lanes, op.access.space, false, address, p, bytes);
  return Step::Done;
}

/// Whether what a lane points to is its local memory.
static bool isLocal(const Warp &warp, const Pointers &p, unsigned lane) {
  const uint8_t *state = p.state[lane], *all = warp.localState.data();
  return state && state >= all && state < all + warp.localState.size();
}

template <typename M, typename R>
static Step storeTo(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Pointers p;
  unsigned count = op.access.count, bytes = sizeof(M) * count;
  Touch touch = op.access.isVolatile ? Touch::Atomic : Touch::Write;
  if (!addressesOf(warp, op, lanes, address) ||
      !locate(warp, op, lanes, op.access.space, address, bytes, bytes, touch,
              p))
    return Step::Fault;
  uint32_t undefined = 0;
  for (unsigned e = 0; e < count; ++e)
    undefined |= warp.undefined(op.list[e]);
  undefined &= lanes;
  if (undefined) {
    // What leaves the block has to be known; the rest may travel on.
    for (unsigned e = 0; e < count; ++e)
      for (uint32_t rest = undefined; rest; rest &= rest - 1) {
        unsigned lane = __builtin_ctz(rest);
        bool stays = p.sharedLanes >> lane & 1 || isLocal(warp, p, lane);
        uint64_t mask = sizeof(M) >= 8 ? ~uint64_t(0)
                                       : (uint64_t(1) << (8 * sizeof(M))) - 1;
        if (!stays && (warp.shadow(op.list[e], lane, sizeof(R)) & mask))
          return warp.fail(op, lane,
                           "an undefined value is stored to global "
                           "memory");
      }
  }
  StoredValues values;
  if (p.sharedLanes || warp.block.globalRaces) {
    for (unsigned e = 0; e < count; ++e)
      values.element[e] = warp.at<R>(op.list[e]);
    values.bytes = sizeof(M);
    values.stride = sizeof(R);
  }
  if (!checkRaces(warp, op, bytes, touch, p, values) ||
      !checkGlobalRaces(warp, op, lanes, op.access.space, address, bytes, touch,
                        p, values))
    return Step::Fault;
  if (p.sharedLanes && !checkState(warp, op, p.sharedLanes, bytes, false, p))
    return Step::Fault;
  if (op.access.isVolatile)
    synchronize(warp, lanes, address, p, op.access.space, false,
                op.access.releases || warp.program.hasFences);
  for (unsigned e = 0; e < count; ++e) {
    const R *from = warp.at<R>(op.list[e]);
    forLanes(lanes, [&](unsigned lane) {
      M value = static_cast<M>(from[lane]);
      std::memcpy(p.data[lane] + e * sizeof(M), &value, sizeof(M));
      uint8_t *state = p.state[lane];
      if (!state)
        return;
      std::memset(state + e * sizeof(M), Defined, sizeof(M));
      if (undefined >> lane & 1) {
        uint64_t shadow = warp.shadow(op.list[e], lane, sizeof(R));
        for (unsigned b = 0; b < std::min<size_t>(sizeof(M), 8); ++b)
          if (shadow >> (8 * b) & 0xff)
            state[e * sizeof(M) + b] = Undefined;
      }
    });
  }
  // A loop that polls may count its turns on the stack.
  if (!isLocal(warp, p, __builtin_ctz(lanes)))
    warp.changed();
  countAccess(warp, lanes, op.access.space, true, address, p, bytes);
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

/// Calls `f(M(), R())` for the memory type and the register's.
template <typename Fn>
static void byAccess(Type type, unsigned registerBytes, Fn f) {
  auto withRegister = [&](auto m) {
    using M = decltype(m);
    switch (registerBytes) {
    case 2:
      if constexpr (sizeof(M) <= 2)
        return f(m, uint16_t());
      break;
    case 4:
      if constexpr (sizeof(M) <= 4)
        return f(m, uint32_t());
      break;
    case 8:
      if constexpr (sizeof(M) <= 8)
        return f(m, uint64_t());
      break;
    default:
      return f(m, (unsigned __int128)(0));
    }
  };
  switch (type) {
  case Type::S8:
    return withRegister(int8_t());
  case Type::S16:
    return withRegister(int16_t());
  case Type::S32:
    return withRegister(int32_t());
  case Type::S64:
    return withRegister(int64_t());
  default:
    break;
  }
  switch (typeBytes(type)) {
  case 1:
    return withRegister(uint8_t());
  case 2:
    return withRegister(uint16_t());
  case 4:
    return withRegister(uint32_t());
  case 8:
    return withRegister(uint64_t());
  default:
    return withRegister((unsigned __int128)(0));
  }
}

/// One of .weak, .volatile, .mmio.relaxed.sys, .relaxed.gpu, .acquire.gpu,
/// .release.gpu, and what caches are told: legal together as ptxas has it, and
/// without effect on results. Returns the space.
static Space takeSemantics(Decoder &d, Op &op, bool isLoad) {
  bool mmio = d.take("mmio");
  int kind = d.takeOneOf(
      {"weak", "volatile", "relaxed", isLoad ? "acquire" : "release"});
  int scope = d.scope();
  if ((kind >= 2) != (scope >= 0))
    d.error(scope < 0 ? "the scope is missing" : "a scope without semantics",
            ".relaxed.gpu and the like");
  if (mmio && (kind != 2 || scope != 3))
    d.error(".mmio needs .relaxed.sys");
  if (mmio)
    d.require(82, 70);
  if (kind >= 2)
    d.require(60, 70);
  bool strong = op.access.isVolatile = kind >= 1;
  op.access.isOfBlock = scope == 0 || scope == 1;
  op.access.acquires = isLoad && kind == 3;
  op.access.releases = !isLoad && kind == 3;
  Space space = d.space();
  if (d.take("shared::cluster")) {
    d.require(78, 90);
    space = Space::Shared;
  }
  bool global = space == Space::Global || space == Space::Generic;
  if (strong && !global && space != Space::Shared)
    d.error(std::string("strong accesses of .") + spaceName(space));
  if (mmio && !global)
    d.error(".mmio is for .global");
  bool nc = isLoad && d.take("nc");
  if (nc && (space != Space::Global || kind >= 0))
    d.error(".nc is for weak loads of .global");
  int cache = !isLoad ? d.takeOneOf({"cg", "cs", "wb", "wt"})
              : nc    ? d.takeOneOf({"ca", "cg", "cs"})
                      : d.takeOneOf({"ca", "cg", "cs", "lu", "cv"});
  if (cache >= 0 && strong)
    d.error("a cache operator on a strong access");
  int first =
      d.takeOneOf({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                   "L1::evict_last", "L1::no_allocate"});
  if (first >= 0 && (!global || cache >= 0 || kind == 1 || mmio))
    d.error("no eviction priority goes with that");
  bool fetches =
      isLoad && d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"}) >= 0;
  if (fetches && (!global || mmio))
    d.error("no prefetch goes with that");
  if (d.has("L2::cache_hint") && (!global || kind == 1 || mmio))
    d.error("no .L2::cache_hint goes with that");
  return space;
}

static const std::initializer_list<Type> memoryTypes = {
    Type::B8,  Type::B16, Type::B32, Type::B64, Type::B128,
    Type::U8,  Type::U16, Type::U32, Type::U64, Type::S8,
    Type::S16, Type::S32, Type::S64, Type::F32, Type::F64};

static void loadOrStore(Decoder &d, bool isLoad) {
  Op op = d.start(OpKind::Effect, isLoad ? OpClass::Load : OpClass::Store);
  Space space = Space::Generic;
  if (d.instruction().opcode != "ldu") {
    space = takeSemantics(d, op, isLoad);
    if (!isLoad && space == Space::Const)
      d.error("constants are not stored to");
  } else if (d.take("global")) {
    space = Space::Global;
  }
  bool hasHint = d.take("L2::cache_hint");
  int eviction =
      d.takeOneOf({"L2::evict_last", "L2::evict_first", "L2::evict_normal"});
  int vector = d.takeOneOf({"v2", "v4", "v8"});
  Type type = d.type(memoryTypes);
  unsigned count = vector < 0 ? 1 : 2u << vector;
  if (typeBytes(type) * count > 16 &&
      !(typeBytes(type) * count == 32 && space == Space::Global &&
        d.loaded.module->sm >= 100))
    d.error("more than 16 bytes");
  if (eviction >= 0 && typeBytes(type) * count != 32)
    d.error(".L2::evict is for 32 bytes");
  d.finish(hasHint ? 3 : 2);
  unsigned where = isLoad ? 1 : 0, value = isLoad ? 0 : 1;
  d.address(d.operand(where), op, space);
  if (hasHint)
    d.source(2, Type::B64);
  bool isParam = op.access.space == Space::Param && !op.s[0].index;
  if (!isLoad && isParam)
    d.error("a parameter of the kernel is not stored to");
  op.access.bytes = typeBytes(type);
  op.access.count = count;
  op.access.isSigned = isSignedInt(type);
  if (op.access.space == Space::Shared || op.access.space == Space::Generic)
    d.noteSharedAccess(op.access.bytes * count);
  d.noteAccess(op.access.bytes);
  if (op.access.isVolatile && op.access.space != Space::Shared &&
      op.access.space != Space::Local && op.access.space != Space::Param)
    d.program.communicates = true;
  const Operand &values = d.operand(value);
  auto one = [&](const Operand &each) {
    op.list.push_back(isLoad ? d.result(each, type, true, true)
                             : d.source(each, type, true));
    unsigned bytes = d.registerBytes(each, type);
    if (op.list.size() > 1 && bytes != op.access.registerBytes)
      d.error("elements of a vector in registers of different sizes");
    op.access.registerBytes = bytes;
  };
  if (count == 1 && values.kind != Operand::Kind::Vector) {
    one(values);
  } else if (values.kind == Operand::Kind::Vector &&
             values.elements.size() == count) {
    for (const Operand &each : values.elements)
      one(each);
  } else {
    d.error("the value does not have " + std::to_string(count) + " elements");
  }
  if (d.failed())
    return;
  byAccess(type, op.access.registerBytes, [&](auto m, auto r) {
    using M = decltype(m);
    using R = decltype(r);
    op.effect = isLoad ? load<M, R> : storeTo<M, R>;
  });
  d.emit(std::move(op));
}

static void decodeLoad(Decoder &d) { loadOrStore(d, true); }
static void decodeStore(Decoder &d) { loadOrStore(d, false); }

static Step noEffect(Warp &, const Op &, uint32_t) { return Step::Done; }

/// prefetch and prefetchu are hints.
static void decodePrefetch(Decoder &d) {
  bool uniform = d.instruction().opcode == "prefetchu";
  Space space = uniform ? Space::Generic : d.space();
  int level = uniform ? d.takeOneOf({"L1"})
                      : d.takeOneOf({"L1", "L2", "L2::evict_last",
                                     "L2::evict_normal", "tensormap"});
  if (level < 0)
    d.error("the level is missing", uniform ? ".L1" : ".L1, .L2 or .tensormap");
  bool legal = level == 4 ? space == Space::Generic || space == Space::Const ||
                                space == Space::Param
                          : space == Space::Generic || space == Space::Global ||
                                (space == Space::Local && level < 2);
  if (!legal)
    d.error(std::string("the space .") + spaceName(space) +
            " does not go with that");
  d.finish(1);
  Op op = d.start(OpKind::Effect, OpClass::Other);
  d.address(d.operand(0), op, space);
  op.effect = noEffect;
  d.emit(std::move(op));
}

/// Cache policies are opaque, and hints all the same.
static void decodeCreatePolicy(Decoder &d) {
  int kind = d.needNext({"fractional", "range", "cvt"});
  if (kind == 1)
    d.take("global");
  d.take("L2");
  d.takeOneOf({"L2::evict_last", "L2::evict_normal", "L2::evict_first",
               "L2::evict_unchanged"});
  d.takeOneOf({"L2::evict_first", "L2::evict_unchanged"});
  Type type = d.type({Type::B64});
  d.require(74, 80);
  d.finish(kind == 0 ? 1 : 2, kind == 1 ? 4 : 2);
  Op op = d.start(OpKind::Lane, OpClass::Other);
  op.d = d.result(0, type);
  op.resultBytes = 8;
  op.lane = [](Warp &warp, const Op &op, uint32_t lanes) {
    forLanes(lanes, [&](unsigned lane) { warp.at<uint64_t>(op.d)[lane] = 0; });
  };
  d.emit(std::move(op));
}

namespace {
/// Op::variant of fence.proxy.async.
enum : uint8_t { FencesShared = 1, FencesGlobal = 2 };
} // namespace

/// fence.proxy.async: what the lanes know may be read by the asynchronous
/// proxy.
static Step fenceProxy(Warp &warp, const Op &op, uint32_t lanes) {
  Block &block = warp.block;
  if (op.variant & FencesShared)
    block.races.release(block.fenced, warp.id, lanes);
  if (op.variant & FencesGlobal)
    block.races.release(block.fencedGlobal, warp.id, lanes);
  return Step::Done;
}

static Step fence(Warp &warp, const Op &, uint32_t) {
  if (GlobalRaces *races = warp.block.globalRaces)
    races->fence(warp.block.index);
  return Step::Done;
}

/// membar and fence order the accesses of a thread; with flags in memory they
/// pass on what it knows.
static void decodeFence(Decoder &d) {
  uint8_t proxy = 0;
  bool orders = true; // accesses of several blocks
  if (d.instruction().opcode == "membar") {
    if (d.take("proxy"))
      orders = d.needOneOf({"alias"}) != 0;
    else
      orders = d.needOneOf({"cta", "gl", "sys", "gpu"}) > 0;
    d.program.hasFences = true;
  } else if (d.takeNext({"proxy"}) == 0) {
    if (d.has("async")) {
      d.require(80, 90);
      bool shared = d.has("shared::cta") || d.has("shared::cluster");
      proxy =
          (d.has("global") ? 0 : FencesShared) | (shared ? 0 : FencesGlobal);
    }
    d.needOneOf({"alias", "async", "async.global", "async::generic",
                 "tensormap::generic"});
    for (std::string_view each :
         {"global", "shared::cta", "shared::cluster", "acquire", "release",
          "sync_restrict::shared::cta", "sync_restrict::shared::cluster",
          "cluster", "cta", "gpu", "sys"})
      d.take(each);
    orders = false;
  } else if (d.take("mbarrier_init")) {
    orders = false;
    d.require(80, 90);
    d.needOneOf({"release"});
    d.needOneOf({"cluster"});
  } else {
    d.takeOneOf({"sc", "acq_rel", "acquire", "release"});
    int scope = d.scope();
    orders = scope > 1;
    if (scope < 0)
      d.error("the scope is missing", "one of .cta, .cluster, .gpu, .sys");
    d.program.hasFences = true;
  }
  d.finish(0, 2);
  Op op = d.start(OpKind::Effect, OpClass::Barrier);
  op.variant = proxy;
  op.effect = proxy ? fenceProxy : orders ? fence : noEffect;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::memoryTable() {
  static constexpr OpcodeRow rows[] = {
      {"ld", decodeLoad},
      {"ldu", decodeLoad},
      {"st", decodeStore},
      {"prefetch", decodePrefetch},
      {"prefetchu", decodePrefetch},
      {"membar", decodeFence},
      {"fence", decodeFence},
      {"createpolicy", decodeCreatePolicy},
  };
  return {rows, std::size(rows)};
}
