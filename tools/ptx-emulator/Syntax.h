//===- Syntax.h - what a PTX text says --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tree that the parser makes: names are resolved to registers, variables
// and labels; opcodes and modifiers are still text, which the decoder takes
// apart (Decoder.h). Text points into Module::text.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_SYNTAX_H
#define NESTC_TOOLS_PTX_EMULATOR_SYNTAX_H

#include "tools/ptx-emulator/Types.h"

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nestc {
namespace ptx {

struct Variable;

/// Registers that the machine defines, in the order of the table in Parser.cpp.
enum class Special : uint8_t {
  TidX,
  TidY,
  TidZ,
  NTidX,
  NTidY,
  NTidZ,
  CtaIdX,
  CtaIdY,
  CtaIdZ,
  NCtaIdX,
  NCtaIdY,
  NCtaIdZ,
  LaneId,
  WarpId,
  NWarpId,
  SmId,
  NSmId,
  GridId,
  LaneMaskEq,
  LaneMaskLt,
  LaneMaskLe,
  LaneMaskGt,
  LaneMaskGe,
  WarpSize,
  DynamicSmemSize,
  TotalSmemSize,
  ClusterIdX,
  ClusterIdY,
  ClusterIdZ,
  NClusterIdX,
  NClusterIdY,
  NClusterIdZ,
  ClusterCtaIdX,
  ClusterCtaIdY,
  ClusterCtaIdZ,
  ClusterNCtaIdX,
  ClusterNCtaIdY,
  ClusterNCtaIdZ,
  ClusterCtaRank,
  ClusterNCtaRank,
  IsExplicitCluster,
  Unknown32, ///< undefined, as no other text says what it holds
  Unknown64,
  Clock,
  ClockHi,
  Clock64,
  GlobalTimer,
  GlobalTimerLo,
  GlobalTimerHi,
  Count
};

struct Operand {
  enum class Kind : uint8_t {
    None,
    Register,  ///< `index`; `negated` after '!' or '-'
    Special,   ///< a register of the machine
    Int,       ///< `bits`
    Float32,   ///< 0f...: `bits`
    Float64,   ///< 0d... and decimals: `bits`
    Symbol,    ///< address of `variable` + `bits`
    Memory,    ///< [elements[0] + bits, elements[1...]]
    Vector,    ///< {elements}
    Pair,      ///< elements[0] | elements[1]
    Label,     ///< `index`
    Function,  ///< `name`
    Arguments, ///< (elements) of a call
    Sink       ///< _
  };
  Kind kind = Kind::None;
  bool negated = false;
  bool isUnsigned = false; ///< an integer with suffix U or above 2^63
  ptx::Special special = ptx::Special::Count;
  uint32_t index = 0;
  uint64_t bits = 0;
  const Variable *variable = nullptr;
  std::string_view name; ///< as it stands in the text
  std::vector<Operand> elements;
};

/// A word of an initialiser: a number, or the address of a variable.
struct Initializer {
  uint64_t offset = 0; ///< bytes from the start of the variable
  unsigned size = 0;
  uint64_t bits = 0;
  const Variable *variable = nullptr; ///< its generic or plain address is added
  bool generic = false;
  unsigned shift = 0; ///< of `mask() >> shift`: a byte of an address
};

struct Variable {
  std::string_view name;
  Space space = Space::Global;
  Type type = Type::B8;
  unsigned align = 1;
  uint64_t bytes = 0;
  bool isExtern =
      false; ///< an extern array without size: dynamic shared memory
  bool isPointer = false; ///< a parameter with .ptr
  unsigned line = 0;
  unsigned id = 0; ///< position in Module::globals or Function::variables
  bool isModuleLevel = false;
  std::vector<Initializer> init;
};

struct Register {
  std::string_view name;
  Type type;
};

struct Instruction {
  unsigned line = 0;
  int guard = -1; ///< a predicate register
  bool guardNegated = false;
  std::string_view opcode;                 ///< "ld"
  std::vector<std::string_view> modifiers; ///< "global", "v4", "b32"
  std::vector<Operand> operands;
};

struct Label {
  std::string_view name;
  unsigned line = 0;
  uint32_t position = 0; ///< index of the instruction that follows
  /// Of `.branchtargets`: the labels of a brx.idx.
  std::vector<uint32_t> targets;
  bool isTable = false;
};

struct Function {
  std::string_view name;
  unsigned line = 0;
  bool isEntry = false;
  bool isDefined = false;
  std::vector<const Variable *> params;
  std::vector<const Variable *> returns;
  std::vector<Register> registers;
  std::deque<Variable> variables; ///< parameters and those of the body
  std::vector<Label> labels;
  std::vector<Instruction> body;
  unsigned required[3] = {0, 0, 0}; ///< .reqntid
  unsigned most[3] = {0, 0, 0};     ///< .maxntid
  unsigned cluster[3] = {0, 0, 0};  ///< .reqnctapercluster
};

/// Not movable: its parts point into each other.
struct Module {
  Module() = default;
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  std::string text;
  std::string name;     ///< of the file, for messages
  unsigned version = 0; ///< 10 * major + minor
  unsigned sm = 0;      ///< 80
  char suffix = 0;      ///< 'a' of sm_90a, 'f' of sm_100f
  unsigned addressSize = 64;
  std::deque<Variable> globals;
  std::deque<Function> functions;

  const Function *find(std::string_view function) const {
    for (const Function &f : functions)
      if (f.name == function && f.isDefined)
        return &f;
    return nullptr;
  }
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_SYNTAX_H
