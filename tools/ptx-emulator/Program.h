//===- Program.h - a kernel that is ready to run ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the decoder makes of a function: operations with a function each, and
// operands that are places in a warp's register file. The file is a structure
// of arrays: a 32-bit register is 32 words, one per lane; a predicate is one
// word with a bit per lane. Constants and registers of the machine have places
// in it like all others, so that an operation need not ask what its operand is.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_PROGRAM_H
#define NESTC_TOOLS_PTX_EMULATOR_PROGRAM_H

#include "tools/ptx-emulator/Syntax.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nestc {
namespace ptx {

class Warp;
struct Op;

/// A value in the register file: where its lanes begin, and its number in the
/// table of undefined lanes. Place 0 is absent: it reads as a defined zero.
struct Slot {
  uint32_t offset = 0;
  uint32_t index = 0;
};

/// How an effect ended.
enum class Step : uint8_t {
  Done,    ///< go on behind it
  Blocked, ///< the lanes wait, at this operation
  Fault    ///< Warp::fault says what is wrong
};

/// Computes `lanes` of the results; cannot fail.
using LaneFn = void (*)(Warp &warp, const Op &op, uint32_t lanes);
/// Touches memory or other threads.
using EffectFn = Step (*)(Warp &warp, const Op &op, uint32_t lanes);

enum class OpKind : uint8_t {
  Lane,   ///< LaneFn; undefined sources make an undefined result
  Effect, ///< EffectFn
  Sync,   ///< EffectFn that needs other lanes to be there (see Op::aligned)
  Branch,
  BranchTable, ///< brx.idx
  Exit
};

/// Classes of instructions, as the profile sums them up.
enum class OpClass : uint8_t {
  Integer,
  Float,
  Half,
  Double,
  Convert,
  Move,
  Compare,
  Special, ///< ex2, rcp, sin...
  Load,
  Store,
  Atomic,
  AsyncCopy,
  Matrix, ///< mma, ldmatrix...
  Shuffle,
  Barrier,
  Control,
  Other,
  Count
};
const char *className(OpClass c);

/// Of loads, stores and atomics.
struct MemoryAccess {
  Space space = Space::Generic;
  uint8_t bytes = 4;         ///< of one element
  uint8_t count = 1;         ///< elements per thread
  uint8_t registerBytes = 4; ///< of a register that holds one
  bool isSigned = false;     ///< extend the sign into a wider register
  bool wideAddress = true;   ///< the base is a 64-bit register
  bool isVolatile = false;   ///< volatile, relaxed, acquire, release
  bool acquires = false;
  bool releases = false;
  bool isOfBlock = false;    ///< a strong access with the scope of a block
  uint32_t constantBase = 0; ///< offset added when there is no register
};

struct Op {
  union {
    LaneFn lane;
    EffectFn effect;
  };
  /// What an undefined source does to the result of a LaneFn: null for "all of
  /// it is undefined".
  LaneFn taint = nullptr;
  OpKind kind = OpKind::Lane;
  OpClass opClass = OpClass::Other;
  bool leader = false; ///< a branch may arrive here
  bool guarded = false;
  bool guardNegated = false;
  bool aligned = false;            ///< all lanes of the warp have to be there
  bool hasResultPredicate = false; ///< d is a predicate
  bool flag = false;               ///< for the instruction's own use
  bool hidden = false;     ///< not of the text: the profile leaves it out
  uint8_t variant = 0;     ///< for the instruction's own use
  uint8_t resultBytes = 0; ///< of a lane of d, for shadows
  uint8_t sourceBytes = 0; ///< of s[0] in an exchange; 0: a predicate
  Slot guard;
  Slot d;
  Slot e; ///< a second result: the predicate of shfl, the carry
  Slot s[4];
  uint32_t target = 0; ///< of a branch; of a table, its number
  uint32_t line = 0;
  uint32_t opcode = 0; ///< into Program::opcodes
  int64_t imm = 0;
  MemoryAccess access;
  std::vector<Slot> list; ///< more operands: vectors, fragments
  std::vector<Slot> list2;
};

struct ParamPlace {
  const Variable *variable;
  uint32_t offset;
};

/// Where lanes that wait at different instructions lay their operands side by
/// side. The fields are those of Op; `votes` and `verdict` are predicates.
struct Meeting {
  bool used = false;
  Slot s[4], votes;
  Slot d, verdict, e;
};

/// Dynamic shared memory begins behind the static part, at this alignment.
constexpr unsigned dynamicSharedAlign = 1024;

struct Program {
  const Module *module = nullptr;
  const Function *kernel = nullptr;
  std::string name;
  std::vector<Op> ops;
  std::vector<uint32_t> rank;                ///< of each operation (Order.h)
  std::vector<std::vector<uint32_t>> tables; ///< of brx.idx
  std::vector<std::string> opcodes;          ///< "ld.global.v4.f32"
  std::vector<OpClass> opcodeClasses;

  uint32_t fileBytes = 0; ///< of a warp
  uint32_t slots = 1;
  std::vector<uint8_t> constants; ///< the beginning of the file
  std::vector<std::pair<uint32_t, uint32_t>> definedSlots; ///< [first, last)
  struct SpecialPlace {
    ptx::Special special;
    Slot slot;
    unsigned bytes;
  };
  std::vector<SpecialPlace> specials;
  Meeting meeting;
  /// Registers of wgmma, numbered; and the numbers of its D and A, by
  /// Op::target.
  std::vector<Slot> groupRegisters;
  std::vector<std::vector<uint32_t>> groupNumbers;

  std::vector<ParamPlace> params;
  uint32_t paramBytes = 0;
  uint32_t localBytes = 0;    ///< of a thread
  uint32_t sharedBytes = 0;   ///< static
  uint32_t dynamicOffset = 0; ///< where dynamic shared memory begins
  /// Smallest access that may be to shared memory, at most 16.
  unsigned sharedGranule = 16;
  unsigned granule = 4; ///< the same to any memory
  /// Blocks may speak to each other: atomics with a result, acquire, volatile.
  bool communicates = false;
  /// It has bulk copies from or to global memory.
  bool copiesGlobal = false;
  /// It orders relaxed accesses by fences.
  bool hasFences = false;
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_PROGRAM_H
