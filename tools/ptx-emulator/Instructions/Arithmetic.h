//===- Arithmetic.h - opcodes that integers and floats share ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// add, sub, mul, mad, div, abs, neg, min and max are one opcode for both: the
// table of floats has them and hands those of integers over.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ARITHMETIC_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ARITHMETIC_H

namespace nestc {
namespace ptx {

class Decoder;

void decodeIntegerAdd(Decoder &d);
void decodeIntegerSub(Decoder &d);
void decodeIntegerMul(Decoder &d);
void decodeIntegerDiv(Decoder &d);
void decodeIntegerAbs(Decoder &d);
void decodeIntegerNeg(Decoder &d);
void decodeIntegerMin(Decoder &d);
void decodeIntegerMax(Decoder &d);
/// mad.f32 and mad.f64, which are fma.
void decodeFloatMad(Decoder &d);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ARITHMETIC_H
