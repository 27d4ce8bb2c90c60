//===- Float.cpp - floating-point arithmetic ------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.3 to 9.7.5.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Arithmetic.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

static bool isFloatOp(Type type) {
  return isFloat(type) || type == Type::F16x2 || type == Type::BF16x2 ||
         type == Type::F32x2;
}

static void decodeAdd(Decoder &d) {
  if (!isFloatOp(d.peekType()))
    return decodeIntegerAdd(d);
  d.error("not supported");
}

void nestc::ptx::decodeFloatMad(Decoder &d) { d.error("not supported"); }

OpcodeTable nestc::ptx::floatTable() {
  static constexpr OpcodeRow rows[] = {
      {"add", decodeAdd},        {"sub", decodeIntegerSub},
      {"mul", decodeIntegerMul}, {"div", decodeIntegerDiv},
      {"abs", decodeIntegerAbs}, {"neg", decodeIntegerNeg},
      {"min", decodeIntegerMin}, {"max", decodeIntegerMax},
  };
  return {rows, std::size(rows)};
}
