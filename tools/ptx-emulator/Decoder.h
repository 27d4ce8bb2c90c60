//===- Decoder.h - syntax tree to a program ---------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Instructions are taken apart by functions in tables, one file per group
// (Instructions/). Such a function takes the modifiers that it knows, asks for
// its operands by type, and emits an operation. What it did not take is an
// error, as it would be one of ptxas: no modifier is ever ignored silently.
// Errors are sticky: the first one is kept, and the functions need not look.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_DECODER_H
#define NESTC_TOOLS_PTX_EMULATOR_DECODER_H

#include "lowering/runtime/Error.h"
#include "tools/ptx-emulator/Device.h"
#include "tools/ptx-emulator/Program.h"

#include <initializer_list>
#include <map>
#include <optional>
#include <set>

namespace nestc {
namespace ptx {

/// Makes a kernel ready to run. An error names the line, what is wrong and what
/// is legal.
rt::Expected<Program> decode(const LoadedModule &loaded,
                             std::string_view kernel);

class Decoder;

/// An opcode and who takes it apart.
struct OpcodeRow {
  std::string_view opcode;
  void (*decode)(Decoder &d);
};

/// The tables, one of each file in Instructions/.
struct OpcodeTable {
  const OpcodeRow *rows;
  size_t count;
};
#define NEST_PTX_TABLE(name) OpcodeTable name()
NEST_PTX_TABLE(integerTable);
NEST_PTX_TABLE(floatTable);
NEST_PTX_TABLE(moveTable);
NEST_PTX_TABLE(convertTable);
NEST_PTX_TABLE(compareTable);
NEST_PTX_TABLE(memoryTable);
NEST_PTX_TABLE(controlTable);
NEST_PTX_TABLE(warpTable);
NEST_PTX_TABLE(atomicTable);
NEST_PTX_TABLE(matrixTable);
NEST_PTX_TABLE(asyncTable);
NEST_PTX_TABLE(mbarrierTable);
NEST_PTX_TABLE(warpGroupTable);
#undef NEST_PTX_TABLE

/// Where a variable lies.
struct Place {
  Space space = Space::Global;
  uint64_t address = 0; ///< in that space
  uint64_t bytes = 0;
};

class Decoder {
public:
  Decoder(const LoadedModule &loaded, Program &program)
      : loaded(loaded), program(program) {}
  rt::Status run(const Function &kernel);

  //===--------------------------------------------------------------------===//
  // Modifiers of the instruction at hand; names without the dot
  //===--------------------------------------------------------------------===//

  /// Takes a modifier away; false when it is not there.
  bool take(std::string_view modifier);
  /// Takes the first of these that is there; -1 when none is.
  int takeOneOf(std::initializer_list<std::string_view> choice);
  /// The same, and an error when none is there.
  int needOneOf(std::initializer_list<std::string_view> choice);
  /// The same of a modifier that is part of the opcode's name, as ptxas has it:
  /// of those that are left it has to be the first.
  int takeNext(std::initializer_list<std::string_view> choice);
  int needNext(std::initializer_list<std::string_view> choice);
  /// Takes the first modifier that is a type. An error when there is none or it
  /// is none of these (an empty list: any).
  Type type(std::initializer_list<Type> legal);
  /// The first type without taking it; None when there is none.
  Type peekType() const;
  /// Takes an explicit state space; Generic when there is none.
  Space space();
  /// Takes a scope: 0 .cta, 1 .cluster, 2 .gpu, 3 .sys; -1 when there is none.
  int scope();
  bool has(std::string_view modifier) const;
  /// All that is left, for messages.
  bool modifiersLeft() const { return !mods.empty(); }

  //===--------------------------------------------------------------------===//
  // Operands
  //===--------------------------------------------------------------------===//

  size_t operandCount() const { return inst->operands.size(); }
  const Operand &operand(unsigned i) const;
  /// An error unless there are so many operands and all modifiers were taken.
  void finish(unsigned least, unsigned most);
  void finish(unsigned count) { finish(count, count); }

  /// A value to read. `relaxed`: a wider register does as well (ld, st, cvt).
  Slot source(unsigned i, Type type, bool relaxed = false);
  Slot source(const Operand &operand, Type type, bool relaxed = false);
  /// A register to write, or '_' where that is legal.
  Slot result(unsigned i, Type type, bool relaxed = false);
  Slot result(const Operand &operand, Type type, bool relaxed = false,
              bool sinkIsLegal = false);
  /// A predicate to read; negation is made an operation of its own.
  Slot predicate(const Operand &operand);
  /// An integer known when decoding.
  std::optional<int64_t> immediate(unsigned i) const;
  /// The bytes of the register of an operand (of an immediate: of `type`).
  unsigned registerBytes(const Operand &operand, Type type) const;
  unsigned registerBytes(unsigned i, Type type) const {
    return registerBytes(operand(i), type);
  }
  /// The type of the register that an operand is; nothing if it is none.
  std::optional<Type> registerType(const Operand &operand) const;
  /// Fills op.s[0], op.imm and op.access from a [address] operand. `space` may
  /// change: a parameter of a called function lies in local memory.
  void address(const Operand &operand, Op &op, Space space);
  /// Where a variable of the function at hand lies.
  Place place(const Variable &variable);

  /// A constant of `bytes` in every lane.
  Slot constant(uint64_t bits, unsigned bytes);
  /// A new register of `bytes` (0: a predicate).
  Slot temporary(unsigned bytes);
  /// Makes room for Warp::meet.
  void makeMeeting();
  /// The number of a register in Program::groupRegisters.
  uint32_t groupRegister(Slot slot);
  /// The flag of add.cc and its kin, a predicate that no text names.
  Slot carryFlag();

  //===--------------------------------------------------------------------===//
  // Output
  //===--------------------------------------------------------------------===//

  /// A new operation with line, guard and opcode of the instruction.
  Op start(OpKind kind, OpClass opClass);
  void emit(Op op);
  void lane(Op &op, LaneFn fn) { op.lane = fn; }

  /// Keeps the first error.
  void error(const std::string &what, std::string legal = {});
  bool failed() const { return first.has_value(); }
  /// The instruction needs this PTX version and architecture.
  void require(unsigned version, unsigned sm);

  const Instruction &instruction() const { return *inst; }
  /// Bytes of an access that may be to shared memory, which is to be said of
  /// all below 16, and of one to any.
  void noteSharedAccess(unsigned bytes) {
    program.sharedGranule = std::min(program.sharedGranule, bytes);
    noteAccess(bytes);
  }
  void noteAccess(unsigned bytes) {
    program.granule = std::min(program.granule, bytes);
  }

  //===--------------------------------------------------------------------===//
  // Control
  //===--------------------------------------------------------------------===//

  /// Sets op.target once labels are known.
  void branchTo(Op &op, uint32_t label);
  void tableOf(Op &op, uint32_t label);
  /// Whether a label is a list of targets that stands before here.
  bool isTable(uint32_t label) const {
    const Label &l = frame->function->labels[label];
    return l.isTable && l.position <= frame->opAt.size() - 1;
  }
  void call();
  /// ret and exit: leave the function at hand, or the kernel.
  void leave(bool exit);

  const LoadedModule &loaded;
  Program &program;

private:
  struct Frame {
    const Function *function = nullptr;
    std::vector<Slot> registers;
    std::map<const Variable *, Place> places;
    std::vector<uint32_t> opAt; ///< first operation of each instruction
    std::vector<std::pair<uint32_t, uint32_t>> branches; ///< op, label
    std::vector<std::pair<uint32_t, uint32_t>> tables;
    std::vector<uint32_t> returns; ///< ops that go to the end
  };

  void layout(const Function &kernel);
  /// Finds the registers of wgmma; says where others write them.
  void watch(const Function &f);
  void noteWrites();
  void function(Frame &frame);
  void finishSlots();
  Slot allocate(unsigned bytes);
  Slot special(const Operand &operand, Type type);
  bool accepts(Type registerType, Type type, bool relaxed) const;
  uint32_t allocateLocal(uint64_t bytes, uint64_t align);
  rt::Error make(unsigned line, std::string what, std::string legal) const;

  const Instruction *inst = nullptr;
  std::vector<std::string_view> mods;
  Frame *frame = nullptr;
  unsigned depth = 0;
  std::optional<rt::Error> first;

  std::map<std::pair<uint64_t, unsigned>, Slot> constants;
  std::map<std::pair<unsigned, unsigned>, Slot> specials;
  std::map<std::string, uint32_t> opcodeIds;
  std::map<uint32_t, uint32_t> groupNumbers;
  std::set<uint32_t> watched; ///< registers of wgmma, by Slot::index
  std::vector<Slot> written;  ///< those that the instruction at hand writes
  std::map<const Variable *, Place> modulePlaces;
  uint32_t registerBytesUsed = 0, registerCount = 0, constantCount = 0;
  uint64_t localUsed = 0;
  std::optional<Slot> carry;
};

/// Bytes of a register of this type in a lane; 0 for predicates.
inline unsigned storageBytes(Type type) {
  return type == Type::Pred ? 0 : std::max(2u, typeBytes(type));
}

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_DECODER_H
