//===- Atomic.cpp - atomics -----------------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

OpcodeTable nestc::ptx::atomicTable() { return {nullptr, 0}; }
