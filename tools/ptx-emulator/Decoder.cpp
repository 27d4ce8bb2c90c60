//===- Decoder.cpp - syntax tree to a program -----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/WarpGroup.h"
#include "tools/ptx-emulator/Machine.h"
#include "tools/ptx-emulator/Order.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

using namespace nestc;
using namespace nestc::ptx;
using rt::Error;
using rt::Status;

/// Constants are numbered apart until their count is known.
static constexpr uint32_t constantBit = 1u << 31;
/// Bounds what inlined functions may grow to.
static constexpr size_t maxOps = 1 << 21;
static constexpr uint64_t maxLocal = 512 << 10; // as the device has
static constexpr uint32_t maxFile = 64 << 20;

static const std::unordered_map<std::string_view, void (*)(Decoder &)> &
opcodes() {
  static const auto *map = [] {
    auto *all = new std::unordered_map<std::string_view, void (*)(Decoder &)>;
    for (OpcodeTable table :
         {integerTable(), floatTable(), moveTable(), convertTable(),
          compareTable(), memoryTable(), controlTable(), warpTable(),
          atomicTable(), matrixTable(), asyncTable(), mbarrierTable(),
          warpGroupTable()})
      for (size_t i = 0; i < table.count; ++i)
        all->emplace(table.rows[i].opcode, table.rows[i].decode);
    return all;
  }();
  return *map;
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

Error Decoder::make(unsigned line, std::string what, std::string legal) const {
  return {loaded.module->name + ":" + std::to_string(line), std::move(what),
          std::move(legal)};
}

void Decoder::error(const std::string &what, std::string legal) {
  if (first)
    return;
  std::string opcode(inst->opcode);
  for (std::string_view modifier : inst->modifiers)
    opcode += "." + std::string(modifier);
  first = make(inst->line, opcode + ": " + what, std::move(legal));
}

void Decoder::require(unsigned version, unsigned sm) {
  const Module &module = *loaded.module;
  auto text = [](unsigned v) {
    return std::to_string(v / 10) + "." + std::to_string(v % 10);
  };
  if (module.version < version)
    error("needs PTX version " + text(version),
          "the text says .version " + text(module.version));
  if (module.sm < sm)
    error("needs sm_" + std::to_string(sm),
          "the text says .target sm_" + std::to_string(module.sm));
}

//===----------------------------------------------------------------------===//
// Modifiers
//===----------------------------------------------------------------------===//

bool Decoder::has(std::string_view modifier) const {
  return std::find(mods.begin(), mods.end(), modifier) != mods.end();
}

bool Decoder::take(std::string_view modifier) {
  auto it = std::find(mods.begin(), mods.end(), modifier);
  if (it == mods.end())
    return false;
  mods.erase(it);
  return true;
}

int Decoder::takeOneOf(std::initializer_list<std::string_view> choice) {
  for (auto it = mods.begin(); it != mods.end(); ++it)
    if (const auto *found = std::find(choice.begin(), choice.end(), *it);
        found != choice.end()) {
      mods.erase(it);
      return static_cast<int>(found - choice.begin());
    }
  return -1;
}

int Decoder::needOneOf(std::initializer_list<std::string_view> choice) {
  int found = takeOneOf(choice);
  if (found >= 0)
    return found;
  std::string legal;
  for (std::string_view each : choice)
    legal += (legal.empty() ? "." : ", .") + std::string(each);
  error("a modifier is missing", "one of " + legal);
  return 0;
}

int Decoder::takeNext(std::initializer_list<std::string_view> choice) {
  bool isNext = !mods.empty() && std::find(choice.begin(), choice.end(),
                                           mods.front()) != choice.end();
  return isNext ? takeOneOf(choice) : -1;
}

int Decoder::needNext(std::initializer_list<std::string_view> choice) {
  int found = takeNext(choice);
  if (found >= 0)
    return found;
  if (takeOneOf(choice) >= 0)
    error("a modifier that is part of the opcode's name stands too late");
  return needOneOf(choice);
}

Type Decoder::peekType() const {
  for (std::string_view modifier : mods)
    if (std::optional<Type> type = typeFromName(modifier))
      return *type;
  return Type::None;
}

Type Decoder::type(std::initializer_list<Type> legal) {
  auto list = [&] {
    std::string text;
    for (Type each : legal)
      text += (text.empty() ? "" : ", ") + std::string(typeName(each));
    return text.empty() ? "a type" : "one of " + text;
  };
  for (auto it = mods.begin(); it != mods.end(); ++it)
    if (std::optional<Type> type = typeFromName(*it)) {
      mods.erase(it);
      if (legal.size() &&
          std::find(legal.begin(), legal.end(), *type) == legal.end())
        error(std::string("has no type ") + typeName(*type), list());
      return *type;
    }
  error("the type is missing", list());
  return legal.size() ? *legal.begin() : Type::B32;
}

Space Decoder::space() {
  static constexpr std::pair<std::string_view, Space> names[] = {
      {"global", Space::Global},      {"shared", Space::Shared},
      {"shared::cta", Space::Shared}, {"local", Space::Local},
      {"param", Space::Param},        {"param::entry", Space::Param},
      {"param::func", Space::Param},  {"const", Space::Const}};
  for (auto [name, space] : names)
    if (take(name))
      return space;
  return Space::Generic;
}

int Decoder::scope() {
  int scope = takeOneOf({"cta", "cluster", "gpu", "sys"});
  if (scope == 1)
    require(78, 90);
  return scope;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

const Operand &Decoder::operand(unsigned i) const {
  static const Operand none;
  return i < inst->operands.size() ? inst->operands[i] : none;
}

void Decoder::finish(unsigned least, unsigned most) {
  if (!mods.empty())
    error("unknown modifier '." + std::string(mods.front()) + "'");
  size_t count = inst->operands.size();
  if (count < least || count > most)
    error(std::to_string(count) + " operands",
          least == most ? std::to_string(least) + " are expected"
                        : std::to_string(least) + " to " +
                              std::to_string(most) + " are expected");
}

/// PTX ISA 6.4 and 9.4: .bX takes any type of that size, integers those of
/// their size, floats themselves. Packed and tensor types lie in .bX.
bool Decoder::accepts(Type registerType, Type type, bool relaxed) const {
  unsigned have = typeBits(registerType), want = typeBits(type);
  if (registerType == Type::Pred || type == Type::Pred)
    return registerType == type;
  if (relaxed && have >= want) {
    // Tables 27 and 28 of the ISA: floats only in their own size or wider bits.
    if (isFloat(type))
      return registerType == type || isBits(registerType);
    return !isFloat(registerType) || isBits(type);
  }
  if (have != want)
    return false;
  if (isBits(registerType) || isBits(type))
    return true;
  if (isInt(type))
    return isInt(registerType);
  return registerType == type;
}

unsigned Decoder::registerBytes(const Operand &operand, Type type) const {
  if (operand.kind == Operand::Kind::Register)
    return storageBytes(frame->function->registers[operand.index].type);
  if (operand.kind == Operand::Kind::Special)
    return operand.special == Special::Unknown64 ||
                   (operand.special >= Special::Clock64 &&
                    operand.special <= Special::GlobalTimer)
               ? 8
               : 4;
  return storageBytes(type);
}

std::optional<Type> Decoder::registerType(const Operand &operand) const {
  if (operand.kind != Operand::Kind::Register)
    return std::nullopt;
  return frame->function->registers[operand.index].type;
}

Slot Decoder::allocate(unsigned bytes) {
  uint32_t size = bytes ? bytes * 32 : 4;
  uint32_t align = std::min(size, 64u);
  registerBytesUsed = (registerBytesUsed + align - 1) & ~(align - 1);
  Slot slot{registerBytesUsed, registerCount++};
  registerBytesUsed += size;
  if (registerBytesUsed > maxFile)
    error("registers and temporaries take more than 64 MiB of a warp");
  return slot;
}

Slot Decoder::temporary(unsigned bytes) { return allocate(bytes); }

void Decoder::makeMeeting() {
  Meeting &m = program.meeting;
  if (m.used)
    return;
  m.used = true;
  for (Slot &slot : m.s)
    slot = allocate(&slot == m.s ? 8 : 4);
  m.d = allocate(4);
  for (Slot *flag : {&m.votes, &m.verdict, &m.e})
    *flag = allocate(0);
}

uint32_t Decoder::groupRegister(Slot slot) {
  auto [it, isNew] =
      groupNumbers.try_emplace(slot.index, program.groupRegisters.size());
  if (isNew)
    program.groupRegisters.push_back(slot);
  return it->second;
}

Slot Decoder::carryFlag() {
  if (!carry)
    carry = allocate(0);
  return *carry;
}

Slot Decoder::constant(uint64_t bits, unsigned bytes) {
  if (bytes && bytes < 8)
    bits &= (uint64_t(1) << (8 * bytes)) - 1;
  auto [it, isNew] = constants.try_emplace({bits, bytes});
  if (!isNew)
    return it->second;
  std::vector<uint8_t> &image = program.constants;
  size_t align = bytes ? 64 : 4;
  image.resize((image.size() + align - 1) & ~(align - 1));
  it->second = {static_cast<uint32_t>(image.size()) | constantBit,
                constantCount++ | constantBit};
  if (!bytes) {
    uint32_t mask = bits ? ~0u : 0;
    image.resize(image.size() + 4);
    std::memcpy(image.data() + image.size() - 4, &mask, 4);
    return it->second;
  }
  size_t start = image.size();
  image.resize(start + size_t(bytes) * 32);
  for (unsigned lane = 0; lane < 32; ++lane)
    std::memcpy(image.data() + start + lane * bytes, &bits,
                std::min(bytes, 8u));
  return it->second;
}

Slot Decoder::special(const Operand &operand, Type type) {
  bool isPredicate = operand.special == Special::IsExplicitCluster;
  bool isWide = operand.special == Special::Unknown64;
  unsigned bytes = isPredicate ? 0 : isWide ? 8 : 4;
  if (operand.special >= Special::Clock) {
    error("'" + std::string(operand.name) + "' is read by mov alone");
    return {};
  }
  unsigned want = storageBytes(type);
  // mov reads %tid and its kin as .u16 too, cvt all of them, and %gridid has
  // all widths, for old texts.
  bool isGrid = operand.special == Special::GridId;
  bool isOld =
      operand.special <= Special::NCtaIdZ || isGrid || inst->opcode == "cvt";
  if (want != bytes && !(want == 2 && isOld) && !(want == 8 && isGrid)) {
    error("'" + std::string(operand.name) + "' has other bits than " +
          typeName(type));
    return {};
  }
  auto [it, isNew] =
      specials.try_emplace({static_cast<unsigned>(operand.special), want});
  if (isNew) {
    it->second = allocate(want);
    program.specials.push_back({operand.special, it->second, want});
  }
  return it->second;
}

Slot Decoder::source(unsigned i, Type type, bool relaxed) {
  return source(operand(i), type, relaxed);
}

Slot Decoder::source(const Operand &operand, Type type, bool relaxed) {
  bool isPacked = type == Type::F16x2 || type == Type::BF16x2;
  switch (operand.kind) {
  case Operand::Kind::Register: {
    Type have = frame->function->registers[operand.index].type;
    if (!accepts(have, type, relaxed))
      error("register '" + std::string(operand.name) + "' is " + typeName(have),
            std::string(typeName(type)) + " is expected");
    if (operand.negated) {
      if (have != Type::Pred) {
        error("'!' before a register that is no predicate");
        return {};
      }
      return predicate(operand);
    }
    return frame->registers[operand.index];
  }
  case Operand::Kind::Special:
    if (isFloat(type) || isPacked) {
      error("'" + std::string(operand.name) + "' where a float is expected");
      return {};
    }
    if (operand.special == Special::WarpSize)
      return constant(laneCount, storageBytes(type));
    if (inst->opcode != "mov" && inst->opcode != "cvt")
      error("'" + std::string(operand.name) + "' is read by mov and cvt alone");
    return special(operand, type);
  case Operand::Kind::Int: {
    if (isFloat(type) || type == Type::TF32 || isPacked) {
      error("an integer where a float is expected");
      return {};
    }
    if (type == Type::Pred)
      return constant(operand.bits != 0, 0);
    return constant(operand.bits, storageBytes(type));
  }
  case Operand::Kind::Float32:
    if (typeBits(type) == 32 && !isInt(type) && !isPacked)
      return constant(operand.bits, 4);
    if (type == Type::F64) {
      float narrow;
      uint32_t bits = operand.bits;
      std::memcpy(&narrow, &bits, 4);
      double wide = narrow;
      uint64_t out;
      std::memcpy(&out, &wide, 8);
      return constant(out, 8);
    }
    break;
  case Operand::Kind::Float64:
    if (type == Type::F64 || type == Type::B64)
      return constant(operand.bits, 8);
    if (type == Type::F32) {
      double wide;
      std::memcpy(&wide, &operand.bits, 8);
      float narrow = static_cast<float>(wide);
      uint32_t bits;
      std::memcpy(&bits, &narrow, 4);
      return constant(bits, 4);
    }
    break;
  default:
    break;
  }
  error("an operand is not a value of type " + std::string(typeName(type)),
        "a register or a constant of that type");
  return {};
}

Slot Decoder::result(unsigned i, Type type, bool relaxed) {
  return result(operand(i), type, relaxed);
}

Slot Decoder::result(const Operand &operand, Type type, bool relaxed,
                     bool sinkIsLegal) {
  if (operand.kind == Operand::Kind::Sink && sinkIsLegal)
    return temporary(storageBytes(type));
  if (operand.kind != Operand::Kind::Register || operand.negated) {
    error("the result is not a register",
          "a register of type " + std::string(typeName(type)));
    return {};
  }
  Type have = frame->function->registers[operand.index].type;
  if (!accepts(have, type, relaxed))
    error("register '" + std::string(operand.name) + "' is " + typeName(have),
          std::string(typeName(type)) + " is expected");
  Slot slot = frame->registers[operand.index];
  if (watched.count(slot.index))
    written.push_back(slot);
  return slot;
}

static void notPredicate(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t &d = warp.predicate(op.d);
  d = (d & ~lanes) | (~warp.predicate(op.s[0]) & lanes);
}

Slot Decoder::predicate(const Operand &operand) {
  Operand plain = operand;
  plain.negated = false;
  Slot slot = source(plain, Type::Pred);
  if (!operand.negated)
    return slot;
  Op op = start(OpKind::Lane, OpClass::Compare);
  op.guarded = false;
  op.hidden = true;
  op.hasResultPredicate = true;
  op.s[0] = slot;
  op.d = slot = temporary(0);
  op.lane = notPredicate;
  emit(std::move(op));
  return slot;
}

std::optional<int64_t> Decoder::immediate(unsigned i) const {
  const Operand &op = operand(i);
  if (op.kind != Operand::Kind::Int)
    return std::nullopt;
  return static_cast<int64_t>(op.bits);
}

Place Decoder::place(const Variable &variable) {
  if (variable.isModuleLevel) {
    if (auto it = modulePlaces.find(&variable); it != modulePlaces.end())
      return it->second;
    return {variable.space, loaded.globals[variable.id], variable.bytes};
  }
  if (auto it = frame->places.find(&variable); it != frame->places.end())
    return it->second;
  error("variable '" + std::string(variable.name) + "' has no place");
  return {};
}

void Decoder::address(const Operand &operand, Op &op, Space space) {
  op.access.space = space;
  if (operand.kind != Operand::Kind::Memory || operand.elements.size() != 1) {
    error("an operand is not an address", "[register + offset] or [variable]");
    return;
  }
  const Operand &base = operand.elements[0];
  op.imm = static_cast<int64_t>(operand.bits);
  switch (base.kind) {
  case Operand::Kind::Register: {
    Type have = frame->function->registers[base.index].type;
    unsigned bytes = typeBytes(have);
    bool narrowIsLegal = space != Space::Global && space != Space::Generic;
    if (have == Type::Pred || isFloat(have) ||
        !(bytes == 8 || (bytes == 4 && narrowIsLegal)))
      error("address register '" + std::string(base.name) + "' is " +
                typeName(have),
            narrowIsLegal ? "32 or 64 bits are expected"
                          : "64 bits are expected");
    op.s[0] = frame->registers[base.index];
    op.access.wideAddress = bytes == 8;
    if (space == Space::Param && depth > 1)
      error("an address in .param in a function is not supported",
            "name the parameter");
    return;
  }
  case Operand::Kind::Symbol: {
    Place at = place(*base.variable);
    Space have = at.space;
    bool isParamVariable = base.variable->space == Space::Param;
    if (space == Space::Generic) {
      // A variable named without its space: its address as a generic one.
      if (have == Space::Const || isParamVariable)
        error("variable '" + std::string(base.variable->name) +
              "' has no generic address here");
      op.access.space = have;
    } else if (space == Space::Param && isParamVariable) {
      op.access.space = have; // local, when it is a function's
    } else if (space != have || isParamVariable) {
      error("variable '" + std::string(base.variable->name) + "' is in ." +
                spaceName(base.variable->space),
            std::string("a variable in .") + spaceName(space));
    }
    if (op.access.space == Space::Const)
      op.access.space = Space::Global;
    op.imm += static_cast<int64_t>(at.address);
    op.s[0] = {};
    return;
  }
  case Operand::Kind::Int:
    if (space != Space::Local)
      error(std::string("a number as an address in .") + spaceName(space),
            "a register or a variable");
    op.imm += static_cast<int64_t>(base.bits);
    return;
  default:
    error("an address is neither register, variable nor number");
  }
}

//===----------------------------------------------------------------------===//
// Output
//===----------------------------------------------------------------------===//

Op Decoder::start(OpKind kind, OpClass opClass) {
  Op op;
  op.lane = nullptr;
  op.kind = kind;
  op.opClass = opClass;
  op.line = inst->line;
  if (inst->guard >= 0) {
    op.guarded = true;
    op.guardNegated = inst->guardNegated;
    op.guard = frame->registers[inst->guard];
  }
  std::string name(inst->opcode);
  for (std::string_view modifier : inst->modifiers) {
    name += "." + std::string(modifier);
    if (modifier == "shared::cta")
      require(78, 30);
  }
  auto [it, isNew] = opcodeIds.try_emplace(std::move(name), opcodeIds.size());
  if (isNew) {
    program.opcodes.push_back(it->first);
    program.opcodeClasses.push_back(opClass);
  }
  op.opcode = it->second;
  return op;
}

void Decoder::emit(Op op) {
  if (program.ops.size() >= maxOps)
    error("the kernel with its functions has more than 2 million operations");
  else
    program.ops.push_back(std::move(op));
}

void Decoder::branchTo(Op &op, uint32_t label) {
  frame->branches.emplace_back(program.ops.size(), label);
}

void Decoder::tableOf(Op &op, uint32_t label) {
  frame->tables.emplace_back(program.ops.size(), label);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

uint32_t Decoder::allocateLocal(uint64_t bytes, uint64_t align) {
  align = std::max<uint64_t>(align, 1);
  localUsed = (localUsed + align - 1) / align * align;
  uint64_t at = localUsed;
  localUsed += bytes;
  if (localUsed > maxLocal) {
    error("more than 512 KiB of local memory per thread");
    localUsed = 0;
  }
  program.localBytes =
      std::max<uint32_t>(program.localBytes, (localUsed + 15) & ~uint64_t(15));
  return at;
}

void Decoder::leave(bool exit) {
  bool isKernel = depth == 1;
  if (exit || isKernel) {
    Op op = start(OpKind::Exit, OpClass::Control);
    emit(std::move(op));
    return;
  }
  Op op = start(OpKind::Branch, OpClass::Control);
  frame->returns.push_back(program.ops.size());
  emit(std::move(op));
}

void Decoder::watch(const Function &f) {
  for (const Instruction &each : f.body)
    if (each.opcode == "wgmma")
      for (const Operand &operand : each.operands)
        for (const Operand &element : operand.elements)
          if (element.kind == Operand::Kind::Register)
            watched.insert(frame->registers[element.index].index);
}

void Decoder::noteWrites() {
  if (inst->opcode != "wgmma")
    for (Slot slot : written) {
      Op op = start(OpKind::Effect, OpClass::Other);
      op.hidden = true;
      op.target = groupRegister(slot);
      op.effect = noteGroupWrite;
      emit(std::move(op));
    }
  written.clear();
}

void Decoder::function(Frame &callee) {
  Frame *caller = frame;
  const Instruction *callInst = inst;
  frame = &callee;
  ++depth;
  const Function &f = *callee.function;
  for (const Register &reg : f.registers) {
    if (failed())
      break;
    callee.registers.push_back(allocate(storageBytes(reg.type)));
  }
  if (!failed())
    watch(f);
  for (const Variable &v : f.variables) {
    if (callee.places.count(&v))
      continue;
    switch (v.space) {
    case Space::Local:
    case Space::Param:
      callee.places[&v] = {Space::Local, allocateLocal(v.bytes, v.align),
                           v.bytes};
      break;
    case Space::Shared:
      // One place for all calls of the function.
      callee.places[&v] = modulePlaces.at(&v);
      break;
    default:
      if (!first)
        first = make(v.line,
                     "variable '" + std::string(v.name) + "' of space ." +
                         spaceName(v.space) + " inside a function",
                     "declare it in the module");
    }
  }
  for (const Instruction &each : f.body) {
    if (failed())
      break;
    callee.opAt.push_back(program.ops.size());
    inst = &each;
    mods = each.modifiers;
    auto it = opcodes().find(each.opcode);
    if (it == opcodes().end()) {
      first = make(each.line,
                   "unknown opcode '" + std::string(each.opcode) + "'", "");
      break;
    }
    it->second(*this);
    noteWrites();
  }
  // What runs off the end returns.
  if (!failed()) {
    callee.opAt.push_back(program.ops.size());
    static const Instruction ret = [] {
      Instruction i;
      i.opcode = "ret";
      return i;
    }();
    if (depth == 1) {
      Instruction last = ret;
      last.line = f.body.empty() ? f.line : f.body.back().line;
      inst = &last;
      leave(false);
    }
    uint32_t end = program.ops.size();
    auto target = [&](uint32_t label) {
      return callee.opAt[f.labels[label].position];
    };
    for (auto [op, label] : callee.branches) {
      program.ops[op].target = target(label);
      program.ops[target(label)].leader |= target(label) < end;
    }
    for (auto [op, label] : callee.tables) {
      std::vector<uint32_t> table;
      for (uint32_t each : f.labels[label].targets)
        table.push_back(target(each));
      program.ops[op].target = program.tables.size();
      program.tables.push_back(std::move(table));
    }
    for (uint32_t op : callee.returns)
      program.ops[op].target = end;
  }
  --depth;
  frame = caller;
  inst = callInst;
}

void Decoder::call() {
  take("uni");
  if (!mods.empty())
    error("unknown modifier '." + std::string(mods.front()) + "'");
  const Operand &returns = operand(0), &callee = operand(1),
                &arguments = operand(2);
  if (callee.kind != Operand::Kind::Function) {
    error("an indirect call is not supported", "the name of a function");
    return;
  }
  const Function *f = loaded.module->find(callee.name);
  if (!f) {
    // What the CUDA runtime would define.
    if (callee.name == "__assertfail") {
      Op op = start(OpKind::Effect, OpClass::Control);
      op.effect = [](Warp &warp, const Op &op, uint32_t lanes) {
        return warp.fail(op, __builtin_ctz(lanes), "an assertion failed");
      };
      emit(std::move(op));
      return;
    }
    error("function '" + std::string(callee.name) + "' is not defined",
          "one module is run alone");
    return;
  }
  if (f->isEntry)
    error("'" + std::string(callee.name) + "' is a kernel");
  if (depth > 32)
    error("calls nested deeper than 32", "recursion is not supported");
  if (arguments.elements.size() != f->params.size() ||
      returns.elements.size() != f->returns.size())
    error("'" + std::string(callee.name) + "' is called with " +
              std::to_string(arguments.elements.size()) + " arguments and " +
              std::to_string(returns.elements.size()) + " results",
          "it has " + std::to_string(f->params.size()) + " and " +
              std::to_string(f->returns.size()));
  if (failed())
    return;
  // Parameters are the caller's variables: nobody stores to them afterwards.
  Frame inner;
  inner.function = f;
  auto bind = [&](const Operand &value, const Variable *param) {
    if (value.kind == Operand::Kind::Symbol &&
        value.variable->space == Space::Param &&
        value.variable->bytes == param->bytes) {
      inner.places[param] = place(*value.variable);
      return;
    }
    error("an argument of a call is not a variable in .param of " +
          std::to_string(param->bytes) + " bytes");
  };
  for (size_t i = 0; i < f->params.size(); ++i)
    bind(arguments.elements[i], f->params[i]);
  for (size_t i = 0; i < f->returns.size(); ++i)
    bind(returns.elements[i], f->returns[i]);
  if (failed())
    return;
  // Lanes whose guard is false go around.
  uint32_t around = program.ops.size();
  if (inst->guard >= 0) {
    Op op = start(OpKind::Branch, OpClass::Control);
    op.guardNegated = !op.guardNegated;
    emit(std::move(op));
  }
  uint64_t mark = localUsed;
  bool guarded = inst->guard >= 0;
  function(inner);
  localUsed = mark;
  if (guarded && !failed())
    program.ops[around].target = program.ops.size();
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

void Decoder::layout(const Function &kernel) {
  uint64_t offset = 0;
  for (const Variable *param : kernel.params) {
    offset = (offset + param->align - 1) / param->align * param->align;
    program.params.push_back({param, static_cast<uint32_t>(offset)});
    offset += param->bytes;
    if (offset > 32764) {
      first = make(param->line, "more than 32764 bytes of parameters", "");
      return;
    }
  }
  program.paramBytes = offset;
  // Shared variables of the module that this kernel, or what it calls, names.
  // Placing all of them would ask for memory that other kernels need.
  std::vector<const Function *> todo = {&kernel};
  std::vector<const Variable *> named;
  auto visit = [&](auto &&self, const Operand &operand) -> void {
    if (operand.variable && operand.variable->isModuleLevel &&
        operand.variable->space == Space::Shared &&
        std::find(named.begin(), named.end(), operand.variable) == named.end())
      named.push_back(operand.variable);
    if (operand.kind == Operand::Kind::Function)
      if (const Function *f = loaded.module->find(operand.name);
          f && std::find(todo.begin(), todo.end(), f) == todo.end())
        todo.push_back(f);
    for (const Operand &element : operand.elements)
      self(self, element);
  };
  for (size_t i = 0; i < todo.size(); ++i)
    for (const Instruction &each : todo[i]->body)
      for (const Operand &operand : each.operands)
        visit(visit, operand);
  std::sort(named.begin(), named.end(),
            [](const Variable *a, const Variable *b) { return a->id < b->id; });
  for (const Function *f : todo)
    for (const Variable &v : f->variables)
      if (v.space == Space::Shared)
        named.push_back(&v);
  uint64_t shared = 0, dynamicAlign = 16;
  for (const Variable *v : named) {
    if (v->isExtern && !v->bytes) {
      dynamicAlign = std::max<uint64_t>(dynamicAlign, v->align);
      continue;
    }
    shared = (shared + v->align - 1) / v->align * v->align;
    modulePlaces[v] = {Space::Shared, shared, v->bytes};
    shared += v->bytes;
    if (shared > (48 << 10)) {
      first = make(v->line, "more than 48 KiB of static shared memory",
                   "declare it extern and give the size at launch");
      return;
    }
  }
  program.sharedBytes = shared;
  program.dynamicOffset = (shared + dynamicAlign - 1) & ~(dynamicAlign - 1);
  for (const Variable *v : named)
    if (v->isExtern && !v->bytes)
      modulePlaces[v] = {Space::Shared, program.dynamicOffset, 0};
}

/// Constants come first in the file; registers follow.
void Decoder::finishSlots() {
  uint32_t base = (program.constants.size() + 63) & ~size_t(63);
  program.constants.resize(base);
  auto fix = [&](Slot &slot) {
    if (slot.offset & constantBit) {
      slot.offset &= ~constantBit;
      slot.index &= ~constantBit;
    } else if (slot.index) {
      slot.offset += base;
      slot.index += constantCount - 1;
    }
  };
  for (Op &op : program.ops) {
    for (Slot &slot : op.s)
      fix(slot);
    for (Slot &slot : op.list)
      fix(slot);
    for (Slot &slot : op.list2)
      fix(slot);
    fix(op.guard);
    fix(op.d);
    fix(op.e);
  }
  for (Program::SpecialPlace &place : program.specials)
    fix(place.slot);
  Meeting &m = program.meeting;
  for (Slot *slot :
       {&m.s[0], &m.s[1], &m.s[2], &m.s[3], &m.votes, &m.d, &m.verdict, &m.e})
    fix(*slot);
  for (Slot &slot : program.groupRegisters)
    fix(slot);
  program.definedSlots.push_back({0, constantCount});
  program.slots = constantCount + registerCount - 1;
  program.fileBytes = (base + registerBytesUsed + 63) & ~63u;
}

Status Decoder::run(const Function &kernel) {
  program.module = loaded.module.get();
  program.kernel = &kernel;
  program.name = kernel.name;
  // Place 0 of the constants is the absent operand: a zero of any width.
  // Registers are numbered from 1, so that {0, 0} is always that one.
  constant(0, 16);
  registerCount = 1;
  layout(kernel);
  Frame outer;
  outer.function = &kernel;
  if (!failed()) {
    for (const ParamPlace &param : program.params)
      outer.places[param.variable] = {Space::Param, param.offset,
                                      param.variable->bytes};
    function(outer);
  }
  if (failed())
    return *first;
  // Lanes that wait for each other meet where they wait.
  for (Op &op : program.ops)
    op.leader |= op.kind == OpKind::Sync;
  for (const std::vector<uint32_t> &table : program.tables)
    for (uint32_t target : table)
      program.ops[target].leader = true;
  for (const Op &op : program.ops)
    if (op.kind == OpKind::Branch)
      program.ops[op.target].leader = true;
  finishSlots();
  program.rank = rankOps(program);
  return Status::success();
}

rt::Expected<Program> nestc::ptx::decode(const LoadedModule &loaded,
                                         std::string_view kernel) {
  const Function *f = loaded.module->find(kernel);
  if (!f || !f->isEntry) {
    std::string legal;
    for (const Function &each : loaded.module->functions)
      if (each.isEntry && each.isDefined)
        legal += (legal.empty() ? "" : ", ") + std::string(each.name);
    return Error(loaded.module->name,
                 "has no kernel '" + std::string(kernel) + "'",
                 legal.empty() ? "it has none at all" : "it has " + legal);
  }
  Program program;
  if (Status status = Decoder(loaded, program).run(*f); status.failed())
    return status.takeError();
  return program;
}
