//===- Control.cpp - branches, calls, exits -------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Machine.h"

using namespace nestc::ptx;

static void decodeBranch(Decoder &d) {
  d.take("uni");
  d.finish(1);
  if (d.operand(0).kind != Operand::Kind::Label)
    return d.error("the target is not a label");
  Op op = d.start(OpKind::Branch, OpClass::Control);
  d.branchTo(op, d.operand(0).index);
  d.emit(std::move(op));
}

static void decodeBranchTable(Decoder &d) {
  d.needOneOf({"idx"});
  d.take("uni");
  d.finish(2);
  d.require(60, 30);
  if (d.operand(1).kind != Operand::Kind::Label)
    return d.error("the second operand is not a list of branch targets");
  if (!d.isTable(d.operand(1).index))
    return d.error("'" + std::string(d.operand(1).name) +
                       "' is no list of branch targets declared before",
                   "LABEL: .branchtargets ...;");
  Op op = d.start(OpKind::BranchTable, OpClass::Control);
  op.s[0] = d.source(0, Type::U32);
  d.tableOf(op, d.operand(1).index);
  d.emit(std::move(op));
}

static void decodeCall(Decoder &d) { d.call(); }

static void decodeReturn(Decoder &d) {
  d.take("uni");
  d.finish(0);
  d.leave(false);
}

static void decodeExit(Decoder &d) {
  d.finish(0);
  d.leave(true);
}

static Step trap(Warp &warp, const Op &op, uint32_t lanes) {
  return warp.fail(op, __builtin_ctz(lanes), "trap");
}

static void decodeTrap(Decoder &d) {
  d.finish(0);
  Op op = d.start(OpKind::Effect, OpClass::Control);
  op.effect = trap;
  d.emit(std::move(op));
}

static Step nothing(Warp &, const Op &, uint32_t) { return Step::Done; }

/// Hints to the scheduler, and breakpoints, which nobody waits at.
static void decodeHint(Decoder &d) {
  if (d.instruction().opcode == "setmaxnreg") {
    d.needNext({"inc", "dec"});
    d.needOneOf({"sync"});
    d.needOneOf({"aligned"});
    d.type({Type::U32});
    d.require(80, 90);
    if (d.loaded.module->sm == 90 && !d.loaded.module->suffix)
      d.error("needs sm_90a");
    d.finish(1);
    std::optional<int64_t> count = d.immediate(0);
    if (!count || *count < 24 || *count > 256 || *count % 8)
      d.error("the number of registers is not legal",
              "24 to 256, a multiple of 8");
  } else if (d.instruction().opcode == "griddepcontrol") {
    // There is no grid that another one waits for.
    d.needOneOf({"launch_dependents", "wait"});
    d.require(78, 90);
    d.finish(0);
  } else if (d.instruction().opcode == "pmevent") {
    int64_t most = d.take("mask") ? 0xffff : 15;
    d.finish(1);
    if (std::optional<int64_t> event = d.immediate(0);
        !event || *event < 0 || *event > most)
      d.error("the event is no constant", "0 to " + std::to_string(most));
  } else if (d.instruction().opcode == "nanosleep") {
    d.type({Type::U32});
    d.require(63, 70);
    d.finish(1);
    d.source(0, Type::U32);
  } else {
    d.finish(0);
  }
  Op op = d.start(OpKind::Effect, OpClass::Control);
  op.effect = nothing;
  d.emit(std::move(op));
}

/// Opcodes of PTX that are not there: better than calling them unknown.
static void decodeMissing(Decoder &d) {
  d.error("the emulator does not have this instruction");
}

OpcodeTable nestc::ptx::controlTable() {
  static constexpr OpcodeRow rows[] = {
      {"bra", decodeBranch},
      {"brx", decodeBranchTable},
      {"call", decodeCall},
      {"ret", decodeReturn},
      {"exit", decodeExit},
      {"trap", decodeTrap},
      {"brkpt", decodeHint},
      {"nanosleep", decodeHint},
      {"pmevent", decodeHint},
      {"setmaxnreg", decodeHint},
      {"griddepcontrol", decodeHint},
      {"tcgen05", decodeMissing},
      {"tensormap", decodeMissing},
      {"multimem", decodeMissing},
      {"clusterlaunchcontrol", decodeMissing},
      {"tex", decodeMissing},
      {"tld4", decodeMissing},
      {"txq", decodeMissing},
      {"suld", decodeMissing},
      {"sust", decodeMissing},
      {"sured", decodeMissing},
      {"suq", decodeMissing},
      {"istypep", decodeMissing},
      {"alloca", decodeMissing},
      {"stacksave", decodeMissing},
      {"stackrestore", decodeMissing},
      {"discard", decodeMissing},
      {"applypriority", decodeMissing},
      {"vadd", decodeMissing},
      {"vsub", decodeMissing},
      {"vabsdiff", decodeMissing},
      {"vmin", decodeMissing},
      {"vmax", decodeMissing},
      {"vshl", decodeMissing},
      {"vshr", decodeMissing},
      {"vmad", decodeMissing},
      {"vset", decodeMissing},
      {"vadd2", decodeMissing},
      {"vsub2", decodeMissing},
      {"vavrg2", decodeMissing},
      {"vabsdiff2", decodeMissing},
      {"vmin2", decodeMissing},
      {"vmax2", decodeMissing},
      {"vset2", decodeMissing},
      {"vadd4", decodeMissing},
      {"vsub4", decodeMissing},
      {"vavrg4", decodeMissing},
      {"vabsdiff4", decodeMissing},
      {"vmin4", decodeMissing},
      {"vmax4", decodeMissing},
      {"vset4", decodeMissing},
  };
  return {rows, std::size(rows)};
}
