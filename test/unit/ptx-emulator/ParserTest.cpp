//===- ParserTest.cpp - PTX text to syntax tree ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Parser.h"

#include "gtest/gtest.h"

using namespace nestc;
using namespace nestc::ptx;

static constexpr const char *header =
    ".version 8.0\n.target sm_80\n.address_size 64\n";

static std::unique_ptr<Module> parsed(const std::string &text) {
  auto module = parse(header + text, "t.ptx");
  EXPECT_FALSE(module.failed())
      << (module.failed() ? module.error().str() : "");
  return module.failed() ? nullptr : std::move(*module);
}

static std::string refused(const std::string &text) {
  auto module = parse(text, "t.ptx");
  return module.failed() ? module.error().str() : "accepted";
}

static std::string bodyRefused(const std::string &body) {
  return refused(std::string(header) + ".entry k() {\n" + body + "\n}\n");
}

TEST(PtxParser, Header) {
  auto module = parsed("");
  ASSERT_TRUE(module);
  EXPECT_EQ(module->version, 80u);
  EXPECT_EQ(module->sm, 80u);
  EXPECT_EQ(refused(""), "t.ptx:1: found the end of the text; expected "
                         ".version MAJOR.MINOR");
  EXPECT_EQ(refused(".version 8.0\n.target sm_80x\n"),
            "t.ptx:2: target 'sm_80x'; a target such as sm_80 or sm_90a");
  EXPECT_EQ(refused(".version 8.0\n.target sm_80\n.address_size 32\n"),
            "t.ptx:3: address size 32; 64 is the only one that current targets "
            "have");
}

TEST(PtxParser, Targets) {
  auto suffix = [](const char *version, const char *target) {
    auto module =
        parse(std::string(".version ") + version + "\n.target " + target + "\n",
              "t.ptx");
    return module.failed() ? module.error().str()
                           : std::to_string((*module)->sm) + "," +
                                 std::to_string((*module)->suffix);
  };
  EXPECT_EQ(suffix("8.0", "sm_90a"), "90,97");
  EXPECT_EQ(suffix("8.8", "sm_120f"), "120,102");
  EXPECT_EQ(suffix("8.8", "sm_103"), "103,0");
  EXPECT_EQ(suffix("7.8", "sm_90a"),
            "t.ptx:2: sm_90a is not in PTX 7.8; it came with 8.0");
  EXPECT_EQ(suffix("8.7", "sm_100f"),
            "t.ptx:2: sm_100f is not in PTX 8.7; it came with 8.8");
  EXPECT_EQ(suffix("8.7", "sm_88"),
            "t.ptx:2: sm_88 is not in PTX 8.7; it came with 9.0");
  for (const char *target : {"sm_80a", "sm_90f", "sm_90b", "sm_100af"})
    EXPECT_EQ(suffix("9.0", target), "t.ptx:2: target '" + std::string(target) +
                                         "'; a target such as sm_80 or sm_90a");
}

TEST(PtxParser, RegistersThatNobodyKnows) {
  auto special = [](const char *name) {
    auto module = parse(".version 8.1\n.target sm_90\n.entry k() {\n.reg .b32 "
                        "%x;\nmov.b32 %x, " +
                            std::string(name) + ";\n}\n",
                        "t.ptx");
    return module.failed()
               ? Special::Count
               : (*module)->functions.front().body[0].operands[1].special;
  };
  for (const char *name :
       {"%envreg0", "%envreg31", "%pm0", "%pm7", "%reserved_smem_offset_1",
        "%reserved_smem_offset_end", "%aggr_smem_size"})
    EXPECT_EQ(special(name), Special::Unknown32) << name;
  for (const char *name : {"%pm0_64", "%pm7_64", "%current_graph_exec"})
    EXPECT_EQ(special(name), Special::Unknown64) << name;
  for (const char *name : {"%envreg32", "%envreg", "%envreg00", "%pm8", "%pm",
                           "%pm8_64", "%pm_64", "%reserved_smem_offset_2"})
    EXPECT_EQ(special(name), Special::Count) << name;
}

TEST(PtxParser, RegistersOfRangesAndScopes) {
  auto module = parsed(R"(.entry k() {
  .reg .b32 %r<3>, %x;
  .reg .b64 %r1x;
  mov.b32 %r2, %x;
  {
    .reg .pred %r2, %r;
    setp.eq.u32 %r2, %x, %x;
    mov.b32 %r1, %x;
  }
  mov.b32 %r2, %x;
})");
  ASSERT_TRUE(module);
  const Function &f = module->functions.front();
  ASSERT_EQ(f.registers.size(), 7u);
  EXPECT_EQ(f.body[0].operands[0].index, 2u);
  EXPECT_EQ(f.registers[f.body[1].operands[0].index].type, Type::Pred);
  EXPECT_EQ(f.body[2].operands[0].index, 1u);
  EXPECT_EQ(f.body[3].operands[0].index, 2u);
  EXPECT_EQ(bodyRefused(".reg .b32 %r<2>;\nmov.b32 %r2, 0;"),
            "t.ptx:6: register '%r2' is not declared");
  EXPECT_EQ(bodyRefused(".reg .b32 %a;\n.reg .b64 %a;"),
            "t.ptx:6: '%a' is declared twice");
}

TEST(PtxParser, Labels) {
  auto module = parsed(R"(.entry k() {
  .reg .b32 %i;
  bra $end;
$table: .branchtargets $a, $end;
  {
    bra $a;
$a:
  }
  brx.idx %i, $table;
$end:
  ret;
$a:
  ret;
})");
  ASSERT_TRUE(module);
  const Function &f = module->functions.front();
  EXPECT_EQ(f.labels[f.body[0].operands[0].index].name, "$end");
  // The inner $a hides the outer one.
  EXPECT_EQ(f.labels[f.body[1].operands[0].index].position, 2u);
  const Label &table = f.labels[f.body[2].operands[1].index];
  ASSERT_EQ(table.targets.size(), 2u);
  EXPECT_EQ(f.labels[table.targets[0]].position, 4u);
  EXPECT_EQ(bodyRefused("bra $none;"), "t.ptx:5: '$none' is not declared");
}

TEST(PtxParser, Operands) {
  auto module = parsed(R"(.shared .align 16 .b8 tile[64];
.entry k(.param .u64 p) {
  .reg .b32 %r<9>;
  .reg .b64 %a;
  .reg .pred %p, %q;
  ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%a+-16];
  ld.param.u64 %a, [p];
  mov.u32 %r0, tile+4;
  shfl.sync.idx.b32 %r0|%p, %r1, 0x1f, 31, -1;
  setp.lt.and.s32 %p|%q, %r0, (1 << 4) | 3, !%q;
  mov.u32 %r0, %tid.x;
  mov.b64 {%r0, _}, %a;
  mov.f32 %r0, 0f3f800000;
  cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%a, {%r1, %r2}], [%r3];
})");
  ASSERT_TRUE(module);
  const std::vector<Instruction> &body = module->functions.front().body;
  EXPECT_EQ(body[0].operands[0].kind, Operand::Kind::Vector);
  EXPECT_EQ(body[0].operands[1].kind, Operand::Kind::Memory);
  EXPECT_EQ(static_cast<int64_t>(body[0].operands[1].bits), -16);
  EXPECT_EQ(body[1].operands[1].elements[0].kind, Operand::Kind::Symbol);
  EXPECT_EQ(body[2].operands[1].bits, 4u);
  EXPECT_EQ(body[3].operands[0].kind, Operand::Kind::Pair);
  EXPECT_EQ(body[3].operands[4].bits, ~uint64_t(0));
  EXPECT_EQ(body[4].operands[2].bits, 19u);
  EXPECT_TRUE(body[4].operands[3].negated);
  EXPECT_EQ(body[5].operands[1].special, Special::TidX);
  EXPECT_EQ(body[6].operands[0].elements[1].kind, Operand::Kind::Sink);
  EXPECT_EQ(body[7].operands[1].bits, 0x3f800000u);
  EXPECT_EQ(body[8].modifiers.back(), "mbarrier::complete_tx::bytes");
  EXPECT_EQ(body[8].operands[1].elements.size(), 2u);
}

TEST(PtxParser, Variables) {
  auto module = parsed(R"(
.global .align 4 .b8 bytes[3] = {1, 2};
.global .f32 halves[2] = {0.5, 0f3e800000};
.global .u64 pointer = generic(bytes)+2;
.const .u32 table[] = {7, 8, 9};
.extern .shared .align 128 .b8 dynamic[];
)");
  ASSERT_TRUE(module);
  EXPECT_EQ(module->globals[0].bytes, 3u);
  EXPECT_EQ(module->globals[1].init[0].bits, 0x3f000000u);
  EXPECT_EQ(module->globals[2].init[0].variable, &module->globals[0]);
  EXPECT_EQ(module->globals[2].init[0].bits, 2u);
  EXPECT_EQ(module->globals[3].bytes, 12u);
  EXPECT_TRUE(module->globals[4].isExtern);
  std::string start = header;
  EXPECT_EQ(refused(start + ".global .b8 x[1] = {1, 2};"),
            "t.ptx:4: more initial values than 'x' has elements");
  EXPECT_EQ(refused(start + ".shared .b32 x = 1;"),
            "t.ptx:4: an initial value in space .shared; only .global and "
            ".const have one");
  EXPECT_EQ(refused(start + ".global .b8 x[];"),
            "t.ptx:4: array 'x' has no size; give one, or declare it .extern");
  EXPECT_EQ(refused(start + ".global .b8 x[4294967296][2];"),
            "t.ptx:4: 'x' is larger than 4 GiB");
}

TEST(PtxParser, DebugTextAndComments) {
  auto module = parsed(R"(.file 1 "a.cu"
.entry k() /* a
comment */ {
  .loc 1 3 5, function_name $L__info, inlined_at 1 2 3
  ret; // the end
}
.section .debug_str { .b8 1, 2
 $L__info: .b8 0 }
)");
  ASSERT_TRUE(module);
  EXPECT_EQ(module->functions.front().body.size(), 1u);
  EXPECT_EQ(module->functions.front().body[0].line, 8u);
}

TEST(PtxParser, NeverEndingThings) {
  EXPECT_EQ(bodyRefused("/* "), "t.ptx:5: a comment that does not end");
  EXPECT_EQ(bodyRefused(".pragma \"x"), "t.ptx:5: a string that does not end");
  std::string deep(100, '{');
  EXPECT_EQ(bodyRefused(deep), "t.ptx:5: scopes nested deeper than 64");
  std::string sum = "mov.b32 %x, " + std::string(100, '(') + "1;";
  EXPECT_EQ(bodyRefused(".reg .b32 %x;\n" + sum),
            "t.ptx:6: an expression nested deeper than 64");
  EXPECT_EQ(bodyRefused(".reg .b32 %r<9999999>;"),
            "t.ptx:5: more than a million registers");
  EXPECT_EQ(bodyRefused(".reg .b32 %x;\nmov.b32 %x, 1/0;"),
            "t.ptx:6: a constant is divided by zero");
  EXPECT_EQ(bodyRefused(".reg .b32 %x;\nmov.b32 %x, 18446744073709551616;"),
            "t.ptx:6: an integer above 64 bits");
}
