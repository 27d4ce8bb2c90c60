//===- Parser.cpp - PTX text to syntax tree -------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Parser.h"
#include "tools/ptx-emulator/Lexer.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

using namespace nestc;
using namespace nestc::ptx;
using rt::Error;
using rt::Status;

namespace {

struct SpecialName {
  const char *name; ///< with its component
  Special special;
};

/// What a name stands for in a scope.
struct Entity {
  enum class Kind : uint8_t { Register, Vector, Variable, Label } kind;
  uint32_t index = 0; ///< register, first register, label
  uint32_t count = 0; ///< of a vector
  const Variable *variable = nullptr;
};

/// What `.reg .b32 %r<10>` declares: %r0 to %r9, but no %r.
struct Range {
  uint32_t first;
  uint32_t count;
};

struct Scope {
  int parent;
  std::unordered_map<std::string_view, Entity> names;
  std::unordered_map<std::string_view, Range> ranges;
};

/// A label named before it is known.
struct LabelUse {
  std::string_view name;
  int scope;
  unsigned line;
};

/// Bounds what a small text can ask for.
constexpr uint64_t maxRegisters = 1 << 20;
constexpr uint64_t maxVariableBytes = uint64_t(1) << 32;
constexpr unsigned maxNesting = 64;

class Parser {
public:
  Parser(Module &module) : module(module), lexer(module.text) {
    advance();
    advance();
  }
  Status run();

private:
  Status header();
  Status moduleItem();
  Status function(bool isEntry, bool isExtern);
  Status parameters(Function &f, std::vector<const Variable *> &list);
  Status directives(Function &f);
  Status body(Function &f);
  Status statement(Function &f);
  Status registers(Function &f);
  Status variable(Space space, bool isExtern, Function *f,
                  std::vector<const Variable *> *list);
  Status initializer(Variable &v);
  Status initialWord(Variable &v, uint64_t &offset, unsigned size);
  Status instruction(Function &f, int guard, bool negated);
  Status call(Function &f, Instruction &inst);
  Status operand(Function &f, Operand &op, unsigned depth = 0);
  Status memory(Function &f, Operand &op, unsigned depth);
  Status name(Function &f, Operand &op);
  Status constant(Operand &op, unsigned minPrecedence = 0, unsigned depth = 0);
  Status unary(Operand &op, unsigned depth);
  Status resolveLabels(Function &f);
  Status numbers(unsigned (&out)[3]);
  Status skipLine();
  Status skipPast(const char *punctuation);
  Status skipNested(const char *open, const char *close);

  void advance() {
    token = ahead;
    ahead = lexer.next();
  }
  Error error(unsigned line, std::string message, std::string legal = {}) {
    return Error(module.name + ":" + std::to_string(line), std::move(message),
                 std::move(legal));
  }
  Error unexpected(const char *wanted) {
    if (token.kind == Token::Kind::Bad)
      return error(token.line, std::string(token.text));
    std::string found = token.kind == Token::Kind::End ? "the end of the text"
                        : token.kind == Token::Kind::Dotted
                            ? "'." + std::string(token.text) + "'"
                            : "'" + std::string(token.text) + "'";
    return error(token.line, "found " + found,
                 "expected " + std::string(wanted));
  }
  Status expect(const char *punctuation) {
    if (!token.is(punctuation))
      return unexpected((std::string("'") + punctuation + "'").c_str());
    advance();
    return Status::success();
  }
  bool dotted(std::string_view text) const {
    return token.kind == Token::Kind::Dotted && token.text == text;
  }

  Status declare(std::string_view name, Entity entity, unsigned line) {
    if (!scopes[current].names.try_emplace(name, entity).second)
      return error(line, "'" + std::string(name) + "' is declared twice");
    return Status::success();
  }
  const Entity *lookup(std::string_view name, int scope) const {
    for (; scope >= 0; scope = scopes[scope].parent)
      if (auto it = scopes[scope].names.find(name);
          it != scopes[scope].names.end())
        return &it->second;
    return nullptr;
  }
  /// A register whose value nobody knows; Count when it is none.
  Special unknownRegister(std::string_view name) const;
  /// A register by name, declared alone or in a range `%r<10>`.
  int findRegister(std::string_view name) const;

  Module &module;
  Lexer lexer;
  Token token, ahead;
  std::vector<Scope> scopes{{-1, {}, {}}};
  int current = 0;
  std::vector<LabelUse> uses;
};

} // namespace

static constexpr SpecialName specials[] = {
    {"%tid.x", Special::TidX},
    {"%tid.y", Special::TidY},
    {"%tid.z", Special::TidZ},
    {"%ntid.x", Special::NTidX},
    {"%ntid.y", Special::NTidY},
    {"%ntid.z", Special::NTidZ},
    {"%ctaid.x", Special::CtaIdX},
    {"%ctaid.y", Special::CtaIdY},
    {"%ctaid.z", Special::CtaIdZ},
    {"%nctaid.x", Special::NCtaIdX},
    {"%nctaid.y", Special::NCtaIdY},
    {"%nctaid.z", Special::NCtaIdZ},
    {"%laneid", Special::LaneId},
    {"%warpid", Special::WarpId},
    {"%nwarpid", Special::NWarpId},
    {"%smid", Special::SmId},
    {"%nsmid", Special::NSmId},
    {"%gridid", Special::GridId},
    {"%lanemask_eq", Special::LaneMaskEq},
    {"%lanemask_lt", Special::LaneMaskLt},
    {"%lanemask_le", Special::LaneMaskLe},
    {"%lanemask_gt", Special::LaneMaskGt},
    {"%lanemask_ge", Special::LaneMaskGe},
    {"WARP_SZ", Special::WarpSize},
    {"%dynamic_smem_size", Special::DynamicSmemSize},
    {"%total_smem_size", Special::TotalSmemSize},
    {"%clusterid.x", Special::ClusterIdX},
    {"%clusterid.y", Special::ClusterIdY},
    {"%clusterid.z", Special::ClusterIdZ},
    {"%nclusterid.x", Special::NClusterIdX},
    {"%nclusterid.y", Special::NClusterIdY},
    {"%nclusterid.z", Special::NClusterIdZ},
    {"%cluster_ctaid.x", Special::ClusterCtaIdX},
    {"%cluster_ctaid.y", Special::ClusterCtaIdY},
    {"%cluster_ctaid.z", Special::ClusterCtaIdZ},
    {"%cluster_nctaid.x", Special::ClusterNCtaIdX},
    {"%cluster_nctaid.y", Special::ClusterNCtaIdY},
    {"%cluster_nctaid.z", Special::ClusterNCtaIdZ},
    {"%cluster_ctarank", Special::ClusterCtaRank},
    {"%cluster_nctarank", Special::ClusterNCtaRank},
    {"%is_explicit_cluster", Special::IsExplicitCluster},
    {"%clock", Special::Clock},
    {"%clock_hi", Special::ClockHi},
    {"%clock64", Special::Clock64},
    {"%globaltimer", Special::GlobalTimer},
    {"%globaltimer_lo", Special::GlobalTimerLo},
    {"%globaltimer_hi", Special::GlobalTimerHi},
};

namespace {
/// Registers that depend on the driver or the machine: programs may read them,
/// and what they hold is undefined.
struct UnknownName {
  std::string_view name;
  unsigned count; ///< NAME0, NAME1, ...; 0 for NAME alone
  Special special;
  unsigned version, sm; ///< that have it
};
} // namespace

static constexpr UnknownName unknowns[] = {
    {"%envreg", 32, Special::Unknown32, 30, 20},
    {"%pm", 8, Special::Unknown32, 30, 20},
    {"%reserved_smem_offset_", 2, Special::Unknown32, 76, 80},
    {"%reserved_smem_offset_begin", 0, Special::Unknown32, 76, 80},
    {"%reserved_smem_offset_end", 0, Special::Unknown32, 76, 80},
    {"%reserved_smem_offset_cap", 0, Special::Unknown32, 76, 80},
    {"%aggr_smem_size", 0, Special::Unknown32, 81, 90},
    {"%current_graph_exec", 0, Special::Unknown64, 80, 50},
};

Special Parser::unknownRegister(std::string_view text) const {
  for (const UnknownName &entry : unknowns) {
    if (text.substr(0, entry.name.size()) != entry.name ||
        module.version < entry.version || module.sm < entry.sm)
      continue;
    std::string_view rest = text.substr(entry.name.size());
    // %pm0_64 is %pm0 with 64 bits.
    bool wide =
        entry.name == "%pm" && rest.size() == 4 && rest.substr(1) == "_64";
    if (wide)
      rest = rest.substr(0, 1);
    Special special = wide ? Special::Unknown64 : entry.special;
    if (!entry.count && rest.empty())
      return special;
    for (unsigned i = 0; i < entry.count; ++i)
      if (rest == std::to_string(i))
        return special;
  }
  return Special::Count;
}

Status Parser::run() {
  NEST_RT_TRY(header());
  while (token.kind != Token::Kind::End)
    NEST_RT_TRY(moduleItem());
  return Status::success();
}

Status Parser::header() {
  if (!dotted("version"))
    return unexpected(".version MAJOR.MINOR");
  advance();
  std::string_view text = token.text;
  size_t dot = text.find('.');
  if (token.kind != Token::Kind::Float64 || dot == std::string_view::npos)
    return unexpected("a version such as 8.0");
  unsigned major = 0, minor = 0;
  for (char c : text.substr(0, dot))
    major = std::min(major * 10 + (c - '0'), 100u);
  for (char c : text.substr(dot + 1))
    minor = std::min(minor * 10 + (c - '0'), 100u);
  if (major < 3 || major > 9 || minor > 9)
    return error(token.line, "PTX version " + std::string(text),
                 "versions 3.0 to 9.x are known");
  module.version = major * 10 + minor;
  advance();
  if (!dotted("target"))
    return unexpected(".target sm_NN");
  unsigned targetLine = token.line;
  advance();
  for (;;) {
    if (token.kind != Token::Kind::Identifier)
      return unexpected("a target such as sm_80");
    if (token.text.substr(0, 3) == "sm_") {
      unsigned sm = 0;
      std::string_view digits = token.text.substr(3);
      while (!digits.empty() && digits[0] >= '0' && digits[0] <= '9') {
        sm = std::min(sm * 10 + (digits[0] - '0'), 10000u);
        digits.remove_prefix(1);
      }
      bool legal = digits.empty() || (digits == "a" && sm >= 90) ||
                   (digits == "f" && sm >= 100);
      if (!legal || sm < 20 || sm > 200)
        return error(token.line, "target '" + std::string(token.text) + "'",
                     "a target such as sm_80 or sm_90a");
      module.sm = sm;
      module.suffix = digits.empty() ? 0 : digits[0];
    } else if (token.text != "debug" && token.text != "texmode_independent" &&
               token.text != "texmode_unified" &&
               token.text != "map_f64_to_f32") {
      return error(token.line, "target '" + std::string(token.text) + "'",
                   "sm_NN, debug, texmode_unified or texmode_independent");
    }
    advance();
    if (!token.is(","))
      break;
    advance();
  }
  if (!module.sm)
    return unexpected("a target such as sm_80");
  // The version that brought each target (PTX ISA, table of .target).
  static constexpr unsigned since[][2] = {
      {50, 40},  {52, 41},  {53, 42}, {60, 50},  {61, 50},  {62, 50},
      {70, 60},  {72, 61},  {75, 63}, {80, 70},  {86, 71},  {87, 74},
      {88, 90},  {89, 78},  {90, 78}, {100, 86}, {101, 86}, {103, 88},
      {110, 90}, {120, 87}, {121, 88}};
  for (auto [sm, plain] : since) {
    // Targets with a letter came later: sm_90a, and sm_100f and its kin.
    unsigned letter = module.suffix == 'f' ? 88 : module.suffix ? 80 : 0;
    unsigned version = std::max(plain, letter);
    if (sm == module.sm && module.version < version)
      return error(targetLine,
                   "sm_" + std::to_string(sm) +
                       (module.suffix ? std::string(1, module.suffix) : "") +
                       " is not in PTX " + std::to_string(module.version / 10) +
                       "." + std::to_string(module.version % 10),
                   "it came with " + std::to_string(version / 10) + "." +
                       std::to_string(version % 10));
  }
  if (dotted("address_size")) {
    advance();
    if (token.kind != Token::Kind::Int || token.bits != 64)
      return error(token.line, "address size " + std::string(token.text),
                   "64 is the only one that current targets have");
    advance();
  }
  return Status::success();
}

Status Parser::skipLine() {
  unsigned line = token.line;
  while (token.kind != Token::Kind::End && token.line == line) {
    if (token.kind == Token::Kind::Bad)
      return unexpected("a debug directive");
    advance();
  }
  return Status::success();
}

/// Skips to behind the next punctuation of this kind.
Status Parser::skipPast(const char *punctuation) {
  while (!token.is(punctuation)) {
    if (token.kind == Token::Kind::End || token.kind == Token::Kind::Bad)
      return unexpected((std::string("'") + punctuation + "'").c_str());
    advance();
  }
  advance();
  return Status::success();
}

/// Skips to behind the bracket that closes the next one.
Status Parser::skipNested(const char *open, const char *close) {
  for (unsigned depth = 0;; advance()) {
    if (token.kind == Token::Kind::End || token.kind == Token::Kind::Bad)
      return unexpected((std::string("'") + close + "'").c_str());
    if (token.is(open))
      ++depth;
    if (!depth || !token.is(close))
      continue;
    if (--depth == 0)
      break;
  }
  advance();
  return Status::success();
}

Status Parser::moduleItem() {
  bool isExtern = false;
  while (dotted("visible") || dotted("extern") || dotted("weak") ||
         dotted("common")) {
    isExtern |= token.text == "extern";
    advance();
  }
  if (dotted("entry") || dotted("func")) {
    bool isEntry = token.text == "entry";
    advance();
    return function(isEntry, isExtern);
  }
  static constexpr std::pair<std::string_view, Space> spaces[] = {
      {"global", Space::Global},
      {"shared", Space::Shared},
      {"const", Space::Const}};
  for (auto [text, space] : spaces)
    if (dotted(text)) {
      advance();
      return variable(space, isExtern, nullptr, nullptr);
    }
  if (dotted("file") || dotted("loc"))
    return skipLine();
  if (dotted("section"))
    return skipNested("{", "}");
  if (dotted("pragma")) {
    NEST_RT_TRY(skipPast(";"));
    return Status::success();
  }
  if (dotted("tex") || dotted("alias"))
    return error(token.line,
                 "." + std::string(token.text) + " is not supported");
  return unexpected("a function, a variable or a directive");
}

Status Parser::numbers(unsigned (&out)[3]) {
  out[0] = out[1] = out[2] = 1;
  for (unsigned i = 0;; ++i) {
    if (token.kind != Token::Kind::Int || i == 3 || token.bits > 1 << 30)
      return unexpected("one to three counts");
    out[i] = token.bits;
    advance();
    if (!token.is(","))
      return Status::success();
    advance();
  }
}

Status Parser::directives(Function &f) {
  unsigned ignored[3];
  while (token.kind == Token::Kind::Dotted) {
    std::string_view text = token.text;
    if (text == "maxntid") {
      advance();
      NEST_RT_TRY(numbers(f.most));
    } else if (text == "reqntid") {
      advance();
      NEST_RT_TRY(numbers(f.required));
    } else if (text == "reqnctapercluster") {
      advance();
      NEST_RT_TRY(numbers(f.cluster));
    } else if (text == "maxnreg" || text == "minnctapersm" ||
               text == "maxnctapersm" || text == "maxclusterrank") {
      advance();
      NEST_RT_TRY(numbers(ignored));
    } else if (text == "noreturn" || text == "explicitcluster" ||
               text == "blocksareclusters") {
      advance();
    } else if (text == "pragma") {
      NEST_RT_TRY(skipPast(";"));
    } else if (text == "attribute" || text == "abi_preserve" ||
               text == "abi_preserve_control" || text == "unique" ||
               text == "noinline") {
      advance();
    } else {
      return error(token.line, "unknown directive ." + std::string(text));
    }
  }
  return Status::success();
}

Status Parser::parameters(Function &f, std::vector<const Variable *> &list) {
  NEST_RT_TRY(expect("("));
  while (!token.is(")")) {
    if (dotted("reg"))
      return error(token.line, "a parameter in a register is not supported",
                   "declare it .param");
    if (!dotted("param"))
      return unexpected(".param");
    advance();
    NEST_RT_TRY(variable(Space::Param, false, &f, &list));
    if (token.is(","))
      advance();
    else if (!token.is(")"))
      return unexpected("',' or ')'");
  }
  advance();
  return Status::success();
}

Status Parser::function(bool isEntry, bool isExtern) {
  Function &f = module.functions.emplace_back();
  f.isEntry = isEntry;
  scopes.resize(1); // names of the module stay
  scopes.push_back({0, {}, {}});
  current = 1;
  uses.clear();
  while (dotted("attribute")) // .attribute(.unified(...))
    NEST_RT_TRY(skipNested("(", ")"));
  if (!isEntry && token.is("("))
    NEST_RT_TRY(parameters(f, f.returns));
  if (token.kind != Token::Kind::Identifier)
    return unexpected("the name of a function");
  f.name = token.text;
  f.line = token.line;
  advance();
  if (token.is("("))
    NEST_RT_TRY(parameters(f, f.params));
  NEST_RT_TRY(directives(f));
  if (token.is(";")) {
    if (isEntry && !isExtern)
      return error(f.line, "entry '" + std::string(f.name) + "' has no body");
    advance();
    current = 0;
    return Status::success();
  }
  if (isExtern)
    return error(token.line, "an extern function with a body");
  for (const Function &other : module.functions)
    if (&other != &f && other.isDefined && other.name == f.name)
      return error(f.line,
                   "function '" + std::string(f.name) + "' is defined twice");
  f.isDefined = true;
  NEST_RT_TRY(body(f));
  NEST_RT_TRY(resolveLabels(f));
  current = 0;
  return Status::success();
}

Status Parser::body(Function &f) {
  NEST_RT_TRY(expect("{"));
  unsigned open = 1;
  while (open) {
    if (token.is("{")) {
      if (++open > maxNesting)
        return error(token.line, "scopes nested deeper than 64");
      scopes.push_back({current, {}, {}});
      current = static_cast<int>(scopes.size()) - 1;
      advance();
    } else if (token.is("}")) {
      --open;
      if (open)
        current = scopes[current].parent;
      advance();
    } else {
      NEST_RT_TRY(statement(f));
    }
  }
  return Status::success();
}

Status Parser::statement(Function &f) {
  if (token.kind == Token::Kind::Dotted) {
    static constexpr std::pair<std::string_view, Space> spaces[] = {
        {"shared", Space::Shared},
        {"local", Space::Local},
        {"param", Space::Param},
        {"global", Space::Global},
        {"const", Space::Const}};
    if (token.text == "reg") {
      advance();
      return registers(f);
    }
    for (auto [text, space] : spaces)
      if (token.text == text) {
        advance();
        return variable(space, false, &f, nullptr);
      }
    if (token.text == "loc" || token.text == "file")
      return skipLine();
    if (token.text == "pragma") {
      NEST_RT_TRY(skipPast(";"));
      return Status::success();
    }
    return unexpected("an instruction or a declaration");
  }
  if (token.is("@")) {
    advance();
    bool negated = token.is("!");
    if (negated)
      advance();
    int guard =
        token.kind == Token::Kind::Identifier ? findRegister(token.text) : -1;
    if (guard < 0)
      return unexpected("a predicate register after '@'");
    if (f.registers[guard].type != Type::Pred)
      return error(token.line, "guard '" + std::string(token.text) +
                                   "' is not a predicate");
    advance();
    return instruction(f, guard, negated);
  }
  if (token.kind == Token::Kind::Identifier && ahead.is(":")) {
    Label label;
    label.name = token.text;
    label.line = token.line;
    label.position = f.body.size();
    Entity entity{Entity::Kind::Label, static_cast<uint32_t>(f.labels.size()),
                  0, nullptr};
    NEST_RT_TRY(declare(token.text, entity, token.line));
    advance();
    advance();
    if (dotted("branchtargets")) {
      advance();
      label.isTable = true;
      for (;;) {
        if (token.kind != Token::Kind::Identifier)
          return unexpected("a label");
        label.targets.push_back(uses.size());
        uses.push_back({token.text, current, token.line});
        advance();
        if (!token.is(","))
          break;
        advance();
      }
      NEST_RT_TRY(expect(";"));
    } else if (dotted("callprototype") || dotted("calltargets")) {
      // Only indirect calls use them; the decoder refuses those.
      NEST_RT_TRY(skipPast(";"));
    }
    f.labels.push_back(std::move(label));
    return Status::success();
  }
  return instruction(f, -1, false);
}

Status Parser::registers(Function &f) {
  unsigned lanes = 1;
  if (dotted("v2") || dotted("v4")) {
    lanes = token.text[1] - '0';
    advance();
  }
  std::optional<Type> type;
  if (token.kind == Token::Kind::Dotted)
    type = typeFromName(token.text);
  // Of the packed and tensor types none is a register's.
  if (!type || *type > Type::F64)
    return unexpected("the type of a register, such as .b32");
  advance();
  for (;;) {
    if (token.kind != Token::Kind::Identifier)
      return unexpected("the name of a register");
    std::string_view name = token.text;
    unsigned line = token.line;
    Entity entity{Entity::Kind::Register,
                  static_cast<uint32_t>(f.registers.size()), lanes, nullptr};
    advance();
    uint64_t count = 1;
    bool isRange = false;
    if (token.is("<")) {
      advance();
      if (token.kind != Token::Kind::Int || lanes != 1)
        return unexpected("a count of registers");
      count = token.bits;
      isRange = true;
      advance();
      NEST_RT_TRY(expect(">"));
    } else if (lanes > 1) {
      entity.kind = Entity::Kind::Vector;
      count = lanes;
    }
    if (count > maxRegisters || f.registers.size() + count > maxRegisters)
      return error(line, "more than a million registers");
    entity.count = count;
    if (!isRange)
      NEST_RT_TRY(declare(name, entity, line));
    else if (!scopes[current]
                  .ranges
                  .try_emplace(
                      name, Range{entity.index, static_cast<uint32_t>(count)})
                  .second)
      return error(line, "'" + std::string(name) + "<>' is declared twice");
    f.registers.resize(f.registers.size() + count, Register{name, *type});
    if (!token.is(","))
      break;
    advance();
  }
  return expect(";");
}

int Parser::findRegister(std::string_view name) const {
  size_t digits = name.size();
  while (digits && name[digits - 1] >= '0' && name[digits - 1] <= '9')
    --digits;
  for (int scope = current; scope >= 0; scope = scopes[scope].parent) {
    const Scope &here = scopes[scope];
    if (auto it = here.names.find(name); it != here.names.end())
      return it->second.kind == Entity::Kind::Register
                 ? static_cast<int>(it->second.index)
                 : -1;
    // "%r07" is not a name of %r<10>, but "%r17" may be the 7th of "%r1<9>".
    for (size_t split = digits; split < name.size(); ++split) {
      std::string_view number = name.substr(split);
      auto it = here.ranges.find(name.substr(0, split));
      if (it == here.ranges.end() || number.size() > 7 ||
          (number.size() > 1 && number[0] == '0'))
        continue;
      uint32_t value = 0;
      for (char c : number)
        value = value * 10 + (c - '0');
      if (value < it->second.count)
        return static_cast<int>(it->second.first + value);
    }
  }
  return -1;
}

Status Parser::variable(Space space, bool isExtern, Function *f,
                        std::vector<const Variable *> *list) {
  unsigned align = 0, lanes = 1;
  bool isPointer = false;
  std::optional<Type> type;
  for (;;) {
    if (dotted("align")) {
      advance();
      if (token.kind != Token::Kind::Int || !token.bits ||
          (token.bits & (token.bits - 1)) || token.bits > 1 << 20)
        return unexpected("an alignment that is a power of two");
      align = token.bits;
      advance();
    } else if (dotted("v2") || dotted("v4")) {
      lanes = token.text[1] - '0';
      advance();
    } else if (dotted("attribute")) {
      advance();
      NEST_RT_TRY(skipPast(")"));
    } else if (token.kind == Token::Kind::Dotted && !type &&
               typeFromName(token.text)) {
      type = typeFromName(token.text);
      if (*type == Type::Pred || *type > Type::F64)
        return error(token.line,
                     "a variable of type ." + std::string(token.text));
      advance();
    } else if (dotted("ptr") && space == Space::Param) {
      isPointer = true;
      advance();
      if (dotted("global") || dotted("shared") || dotted("const") ||
          dotted("local") || dotted("generic"))
        advance();
      if (dotted("align")) {
        advance();
        if (token.kind != Token::Kind::Int)
          return unexpected("an alignment");
        advance();
      }
    } else {
      break;
    }
  }
  if (!type)
    return unexpected("the type of a variable, such as .b8");
  for (;;) {
    if (token.kind != Token::Kind::Identifier)
      return unexpected("the name of a variable");
    Variable &v =
        f ? f->variables.emplace_back() : module.globals.emplace_back();
    v.isModuleLevel = !f;
    v.id = f ? f->variables.size() - 1 : module.globals.size() - 1;
    v.name = token.text;
    v.line = token.line;
    v.space = space;
    v.type = *type;
    v.isPointer = isPointer;
    v.bytes = static_cast<uint64_t>(typeBytes(*type)) * lanes;
    v.align = align ? align : v.bytes;
    advance();
    bool sized = true;
    while (token.is("[")) {
      advance();
      if (token.is("]")) {
        if (!sized)
          return unexpected("a size");
        sized = false;
        advance();
        continue;
      }
      Operand size;
      NEST_RT_TRY(constant(size));
      if (size.kind != Operand::Kind::Int)
        return unexpected("a number of elements");
      if (size.bits && v.bytes > maxVariableBytes / size.bits)
        return error(v.line,
                     "'" + std::string(v.name) + "' is larger than 4 GiB");
      v.bytes *= size.bits;
      NEST_RT_TRY(expect("]"));
    }
    bool inFunctionList = list != nullptr;
    if (token.is("=")) {
      if (space != Space::Global && space != Space::Const)
        return error(token.line,
                     std::string("an initial value in space .") +
                         spaceName(space),
                     "only .global and .const have one");
      advance();
      if (!sized)
        v.bytes = ~uint64_t(0); // as many as there are words
      NEST_RT_TRY(initializer(v));
    } else if (!sized) {
      if (!isExtern && !(space == Space::Param && f && !f->isEntry))
        return error(v.line, "array '" + std::string(v.name) + "' has no size",
                     "give one, or declare it .extern");
      v.bytes = 0;
    }
    v.isExtern = isExtern;
    // A declaration of the same extern array may stand twice.
    Entity entity{Entity::Kind::Variable, 0, 0, &v};
    const Entity *known = scopes[current].names.count(v.name)
                              ? &scopes[current].names.at(v.name)
                              : nullptr;
    if (known && !(isExtern && known->variable && known->variable->isExtern))
      return error(v.line, "'" + std::string(v.name) + "' is declared twice");
    scopes[current].names[v.name] = entity;
    if (inFunctionList) {
      list->push_back(&v);
      return Status::success();
    }
    if (!token.is(","))
      break;
    advance();
  }
  return expect(";");
}

Status Parser::initialWord(Variable &v, uint64_t &offset, unsigned size) {
  if (v.bytes - offset < size)
    return error(token.line, "more initial values than '" +
                                 std::string(v.name) + "' has elements");
  Initializer word;
  word.offset = offset;
  word.size = size;
  bool generic = token.kind == Token::Kind::Identifier &&
                 token.text == "generic" && ahead.is("(");
  bool masked = token.kind == Token::Kind::Int && ahead.is("(");
  if (generic || masked) {
    word.generic = generic;
    uint64_t mask = token.bits;
    if (masked)
      while (mask && !(mask & 0xff)) {
        mask >>= 8;
        word.shift += 8;
      }
    advance();
    advance();
  }
  if (token.kind == Token::Kind::Identifier && token.text == "generic" &&
      ahead.is("(")) {
    word.generic = generic = true;
    advance();
    advance();
  }
  if (token.kind == Token::Kind::Identifier) {
    const Entity *e = lookup(token.text, current);
    if (!e || e->kind != Entity::Kind::Variable)
      return error(token.line, "initial value '" + std::string(token.text) +
                                   "' is not a variable declared before");
    word.variable = e->variable;
    advance();
    if (token.is("+") || token.is("-")) {
      Operand offsetValue;
      bool minus = token.is("-");
      advance();
      NEST_RT_TRY(constant(offsetValue));
      word.bits = minus ? -offsetValue.bits : offsetValue.bits;
    }
  } else {
    Operand value;
    NEST_RT_TRY(constant(value));
    word.bits = value.bits;
    if (value.kind == Operand::Kind::Float64 && v.type == Type::F32) {
      double wide;
      std::memcpy(&wide, &value.bits, 8);
      float narrow = static_cast<float>(wide);
      uint32_t bits;
      std::memcpy(&bits, &narrow, 4);
      word.bits = bits;
    }
  }
  if (generic) {
    NEST_RT_TRY(expect(")"));
    // generic(variable)+offset
    if (token.is("+") || token.is("-")) {
      bool minus = token.is("-");
      advance();
      Operand offsetValue;
      NEST_RT_TRY(constant(offsetValue));
      word.bits += minus ? -offsetValue.bits : offsetValue.bits;
    }
  }
  if (masked)
    NEST_RT_TRY(expect(")"));
  v.init.push_back(word);
  offset += size;
  return Status::success();
}

Status Parser::initializer(Variable &v) {
  uint64_t offset = 0;
  unsigned size = typeBytes(v.type);
  if (!token.is("{")) {
    NEST_RT_TRY(initialWord(v, offset, size));
  } else {
    unsigned depth = 0;
    do {
      if (token.is("{")) {
        ++depth;
        advance();
        if (depth > maxNesting)
          return unexpected("fewer braces");
        continue;
      }
      if (token.is("}")) {
        --depth;
        advance();
      } else {
        NEST_RT_TRY(initialWord(v, offset, size));
      }
      if (depth && token.is(","))
        advance();
      else if (depth && !token.is("}"))
        return unexpected("',' or '}'");
    } while (depth);
  }
  if (v.bytes == ~uint64_t(0))
    v.bytes = offset;
  return Status::success();
}

Status Parser::instruction(Function &f, int guard, bool negated) {
  if (token.kind != Token::Kind::Identifier)
    return unexpected("an instruction");
  Instruction inst;
  inst.line = token.line;
  inst.guard = guard;
  inst.guardNegated = negated;
  inst.opcode = token.text;
  advance();
  while (token.kind == Token::Kind::Dotted) {
    inst.modifiers.push_back(token.text);
    advance();
  }
  if (inst.opcode == "call") {
    NEST_RT_TRY(call(f, inst));
  } else {
    while (!token.is(";")) {
      NEST_RT_TRY(operand(f, inst.operands.emplace_back()));
      if (token.is(","))
        advance();
      else if (!token.is(";"))
        return unexpected("',' or ';'");
    }
  }
  NEST_RT_TRY(expect(";"));
  f.body.push_back(std::move(inst));
  return Status::success();
}

/// call{.uni} (returns), name, (arguments); each list may be missing. The
/// operands are always the returns, the name, the arguments.
Status Parser::call(Function &f, Instruction &inst) {
  Operand returns, callee, arguments;
  returns.kind = arguments.kind = Operand::Kind::Arguments;
  auto list = [&](Operand &out) -> Status {
    NEST_RT_TRY(expect("("));
    while (!token.is(")")) {
      NEST_RT_TRY(operand(f, out.elements.emplace_back()));
      if (token.is(","))
        advance();
      else if (!token.is(")"))
        return unexpected("',' or ')'");
    }
    advance();
    return Status::success();
  };
  if (token.is("(")) {
    NEST_RT_TRY(list(returns));
    NEST_RT_TRY(expect(","));
  }
  if (token.kind != Token::Kind::Identifier)
    return unexpected("the name of a function");
  callee.kind = Operand::Kind::Function;
  callee.name = token.text;
  if (int reg = findRegister(token.text); reg >= 0) {
    callee.kind = Operand::Kind::Register;
    callee.index = reg;
  }
  advance();
  if (token.is(",")) {
    advance();
    if (token.is("("))
      NEST_RT_TRY(list(arguments));
    if (token.is(",")) {
      advance();
      if (token.kind != Token::Kind::Identifier)
        return unexpected("a prototype");
      advance();
    }
  }
  inst.operands = {std::move(returns), std::move(callee), std::move(arguments)};
  return Status::success();
}

/// Operators of constants as in C, from weak to strong; 0 for none.
static unsigned precedence(const Token &token) {
  static constexpr std::pair<std::string_view, unsigned> levels[] = {
      {"||", 1}, {"&&", 2}, {"|", 3}, {"^", 4},  {"&", 5},  {"==", 6},
      {"!=", 6}, {"<", 7},  {">", 7}, {"<=", 7}, {">=", 7}, {"<<", 8},
      {">>", 8}, {"+", 9},  {"-", 9}, {"*", 10}, {"/", 10}, {"%", 10}};
  if (token.kind == Token::Kind::Punctuation)
    for (auto [text, level] : levels)
      if (token.text == text)
        return level;
  return 0;
}

/// a OP b; nothing for a division by zero.
static std::optional<uint64_t> fold(std::string_view op, uint64_t a, uint64_t b,
                                    bool isUnsigned) {
  int64_t x = static_cast<int64_t>(a), y = static_cast<int64_t>(b);
  bool less = isUnsigned ? a < b : x < y;
  bool more = isUnsigned ? a > b : x > y;
  if (op == "||")
    return a || b;
  if (op == "&&")
    return a && b;
  if (op == "|")
    return a | b;
  if (op == "^")
    return a ^ b;
  if (op == "&")
    return a & b;
  if (op == "==")
    return a == b;
  if (op == "!=")
    return a != b;
  if (op == "<")
    return less;
  if (op == ">")
    return more;
  if (op == "<=")
    return !more;
  if (op == ">=")
    return !less;
  if (op == "<<")
    return b < 64 ? a << b : 0;
  if (op == ">>")
    return b < 64 ? (isUnsigned ? a >> b : static_cast<uint64_t>(x >> b)) : 0;
  if (op == "+")
    return a + b;
  if (op == "-")
    return a - b;
  if (op == "*")
    return a * b;
  bool quotient = op == "/";
  if (!b)
    return std::nullopt;
  if (isUnsigned)
    return quotient ? a / b : a % b;
  if (y == -1)
    return quotient ? -a : 0;
  return static_cast<uint64_t>(quotient ? x / y : x % y);
}

Status Parser::unary(Operand &op, unsigned depth) {
  if (depth > maxNesting)
    return error(token.line, "an expression nested deeper than 64");
  if (token.is("-") || token.is("~") || token.is("!") || token.is("+")) {
    char sign = token.text[0];
    unsigned line = token.line;
    advance();
    NEST_RT_TRY(unary(op, depth + 1));
    if (op.kind == Operand::Kind::Int) {
      op.bits = sign == '-'   ? -op.bits
                : sign == '~' ? ~op.bits
                : sign == '!' ? !op.bits
                              : op.bits;
    } else if (sign == '-') {
      op.bits ^= op.kind == Operand::Kind::Float32 ? uint64_t(1) << 31
                                                   : uint64_t(1) << 63;
    } else if (sign != '+') {
      return error(line, "this operator takes integers");
    }
    return Status::success();
  }
  if (token.is("(")) {
    advance();
    NEST_RT_TRY(constant(op, 0, depth + 1));
    return expect(")");
  }
  op.bits = token.bits;
  op.isUnsigned = token.isUnsigned;
  switch (token.kind) {
  case Token::Kind::Int:
    op.kind = Operand::Kind::Int;
    break;
  case Token::Kind::Float32:
    op.kind = Operand::Kind::Float32;
    break;
  case Token::Kind::Float64:
    op.kind = Operand::Kind::Float64;
    break;
  default:
    return unexpected("a constant");
  }
  advance();
  return Status::success();
}

Status Parser::constant(Operand &op, unsigned minPrecedence, unsigned depth) {
  NEST_RT_TRY(unary(op, depth));
  for (;;) {
    unsigned level = precedence(token);
    if (!level || level <= minPrecedence)
      break;
    std::string_view sign = token.text;
    unsigned line = token.line;
    advance();
    Operand right;
    NEST_RT_TRY(constant(right, level, depth + 1));
    if (op.kind != Operand::Kind::Int || right.kind != Operand::Kind::Int)
      return error(line, "a constant expression of other than integers");
    bool isUnsigned = op.isUnsigned || right.isUnsigned;
    std::optional<uint64_t> value = fold(sign, op.bits, right.bits, isUnsigned);
    if (!value)
      return error(line, "a constant is divided by zero");
    op.bits = *value;
    op.isUnsigned = isUnsigned && level > 7;
  }
  if (minPrecedence || !token.is("?"))
    return Status::success();
  unsigned line = token.line;
  advance();
  Operand yes, no;
  NEST_RT_TRY(constant(yes, 0, depth + 1));
  NEST_RT_TRY(expect(":"));
  NEST_RT_TRY(constant(no, 0, depth + 1));
  if (op.kind != Operand::Kind::Int)
    return error(line, "a choice by other than an integer");
  op = op.bits ? yes : no;
  return Status::success();
}

Status Parser::name(Function &f, Operand &op) {
  std::string_view text = token.text;
  unsigned line = token.line;
  op.name = text;
  advance();
  if (text == "_") {
    op.kind = Operand::Kind::Sink;
    return Status::success();
  }
  if (int reg = findRegister(text); reg >= 0) {
    op.kind = Operand::Kind::Register;
    op.index = reg;
    return Status::success();
  }
  if (const Entity *e = lookup(text, current)) {
    if (e->kind == Entity::Kind::Variable) {
      op.kind = Operand::Kind::Symbol;
      op.variable = e->variable;
      if (token.is("+") || token.is("-")) {
        bool minus = token.is("-");
        advance();
        Operand offset;
        NEST_RT_TRY(constant(offset));
        op.bits = minus ? -offset.bits : offset.bits;
      }
      return Status::success();
    }
    if (e->kind == Entity::Kind::Vector) {
      if (token.kind == Token::Kind::Dotted && token.text.size() == 1) {
        size_t lane = std::string_view("xyzw").find(token.text[0]);
        if (lane == std::string_view::npos)
          lane = std::string_view("rgba").find(token.text[0]);
        if (lane >= e->count)
          return unexpected("a component of the vector");
        op.kind = Operand::Kind::Register;
        op.index = e->index + lane;
        advance();
        return Status::success();
      }
      op.kind = Operand::Kind::Vector;
      for (uint32_t i = 0; i < e->count; ++i) {
        Operand &element = op.elements.emplace_back();
        element.kind = Operand::Kind::Register;
        element.name = text;
        element.index = e->index + i;
      }
      return Status::success();
    }
  }
  for (const SpecialName &entry : specials) {
    std::string_view full = entry.name;
    size_t dot = full.find('.');
    bool has = dot != std::string_view::npos;
    if (text != full.substr(0, dot))
      continue;
    if (has && (token.kind != Token::Kind::Dotted ||
                token.text != full.substr(dot + 1)))
      continue;
    if (has)
      advance();
    op.kind = Operand::Kind::Special;
    op.special = entry.special;
    op.name = full;
    return Status::success();
  }
  if (Special unknown = unknownRegister(text); unknown != Special::Count) {
    op.kind = Operand::Kind::Special;
    op.special = unknown;
    op.name = text;
    return Status::success();
  }
  if (text[0] == '%')
    return error(line, "register '" + std::string(text) + "' is not declared");
  // What is left has to be a label; those may be declared later.
  op.kind = Operand::Kind::Label;
  op.index = uses.size();
  uses.push_back({text, current, line});
  return Status::success();
}

Status Parser::memory(Function &f, Operand &op, unsigned depth) {
  op.kind = Operand::Kind::Memory;
  Operand base;
  NEST_RT_TRY(operand(f, base, depth + 1));
  if (base.kind == Operand::Kind::Symbol) {
    op.bits = base.bits;
    base.bits = 0;
  } else if (base.kind != Operand::Kind::Register &&
             base.kind != Operand::Kind::Int) {
    return error(token.line,
                 "an address that is no register, variable or number");
  }
  if (token.is("+")) {
    advance();
    Operand offset;
    NEST_RT_TRY(constant(offset));
    if (offset.kind != Operand::Kind::Int)
      return unexpected("an integer offset");
    op.bits += offset.bits;
  }
  op.elements.push_back(std::move(base));
  while (token.is(",")) {
    advance();
    NEST_RT_TRY(operand(f, op.elements.emplace_back(), depth + 1));
  }
  return expect("]");
}

Status Parser::operand(Function &f, Operand &op, unsigned depth) {
  if (depth > 4)
    return error(token.line, "an operand nested deeper than 4");
  if (token.is("[")) {
    advance();
    return memory(f, op, depth);
  }
  if (token.is("{")) {
    advance();
    op.kind = Operand::Kind::Vector;
    while (!token.is("}")) {
      NEST_RT_TRY(operand(f, op.elements.emplace_back(), depth + 1));
      if (token.is(","))
        advance();
      else if (!token.is("}"))
        return unexpected("',' or '}'");
    }
    advance();
    return Status::success();
  }
  if (token.is("!") && ahead.kind == Token::Kind::Identifier) {
    advance();
    NEST_RT_TRY(name(f, op));
    if (op.kind != Operand::Kind::Register)
      return unexpected("a predicate after '!'");
    op.negated = true;
    return Status::success();
  }
  if (token.kind == Token::Kind::Identifier) {
    NEST_RT_TRY(name(f, op));
    if (token.is("|")) {
      advance();
      Operand second;
      NEST_RT_TRY(operand(f, second, depth + 1));
      Operand pair;
      pair.kind = Operand::Kind::Pair;
      pair.elements.push_back(std::move(op));
      pair.elements.push_back(std::move(second));
      op = std::move(pair);
    }
    return Status::success();
  }
  return constant(op);
}

static void patchLabels(Operand &op, const std::vector<uint32_t> &resolved) {
  if (op.kind == Operand::Kind::Label)
    op.index = resolved[op.index];
  for (Operand &element : op.elements)
    patchLabels(element, resolved);
}

Status Parser::resolveLabels(Function &f) {
  std::vector<uint32_t> resolved;
  for (const LabelUse &use : uses) {
    const Entity *e = lookup(use.name, use.scope);
    if (!e || e->kind != Entity::Kind::Label)
      return error(use.line, "'" + std::string(use.name) + "' is not declared");
    resolved.push_back(e->index);
  }
  for (Instruction &inst : f.body)
    for (Operand &op : inst.operands)
      patchLabels(op, resolved);
  for (Label &label : f.labels)
    for (uint32_t &target : label.targets)
      target = resolved[target];
  return Status::success();
}

rt::Expected<std::unique_ptr<Module>> nestc::ptx::parse(std::string text,
                                                        std::string name) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  module->name = std::move(name);
  // nvcc ends texts with a zero byte in some containers.
  while (!module->text.empty() && module->text.back() == '\0')
    module->text.pop_back();
  if (Status status = Parser(*module).run(); status.failed())
    return status.takeError();
  return module;
}
