//===- ptx.cpp - fuzzes the PTX emulator ----------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A libFuzzer target: a PTX text is parsed, every kernel of it is taken apart
// and run on a small grid with buffers as its pointers. Whatever it says, the
// emulator must end with a result, an error or a fault; never in a crash, and
// never without end (the number of operations is bounded).
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Launch.h"
#include "tools/ptx-emulator/Parser.h"
#include "tools/ptx-emulator/TensorMap.h"

#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

static constexpr uint64_t bufferBytes = 4096;

/// A map of a buffer of words; its kind depends on the size of the text.
static TensorMap mapOf(uint64_t address, size_t size) {
  TensorMap map;
  map.element = TensorMap::Element::U32;
  map.rank = 1 + size % 3;
  map.address = address;
  map.extent[0] = map.extent[1] = 16;
  map.stride[1] = 64;
  map.stride[2] = 1024;
  map.box[0] = size & 8 ? 16 : 8;
  map.box[1] = 4;
  map.step[1] = 1 + (size >> 4 & 1);
  map.swizzle = size & 32 ? map.box[0] / 8 : 0;
  return map;
}

/// Runs one kernel; half of the schedules, by the size of the text.
static void runKernel(Device &device, const Program &program, size_t size) {
  LaunchConfig config;
  config.grid[0] = 2;
  config.block[0] = size & 4 ? 128 : 64;
  for (unsigned i = 0; i < 3; ++i)
    if (program.kernel->required[0])
      config.block[i] = program.kernel->required[i];
  config.dynamicShared = 8192;
  config.params.resize(program.paramBytes);
  for (const ParamPlace &param : program.params) {
    uint64_t value = 3;
    bool isMap = param.variable->bytes == TensorMap::bytes;
    if (param.variable->bytes == 8 || isMap) {
      rt::Expected<uint64_t> buffer =
          device.allocate(bufferBytes, true, "buffer");
      if (buffer.failed())
        return;
      value = *buffer;
    }
    if (isMap) {
      mapOf(value, size).encode(config.params.data() + param.offset);
      continue;
    }
    std::memcpy(config.params.data() + param.offset, &value,
                std::min<uint64_t>(param.variable->bytes, 8));
  }
  config.maxSteps = 20000;
  config.threads = 1;
  config.profile = size & 1;
  config.schedule.kind = static_cast<Schedule::Kind>(size % 3);
  (void)launch(device, program, config);
}

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto parsed =
      parse(std::string(reinterpret_cast<const char *>(data), size), "fuzz");
  if (parsed.failed())
    return 0;
  Device device(uint64_t(64) << 20);
  auto loaded = load(device, std::move(*parsed));
  if (loaded.failed())
    return 0;
  for (const Function &f : loaded->module->functions) {
    if (!f.isEntry || !f.isDefined)
      continue;
    auto program = decode(*loaded, f.name);
    if (!program.failed())
      runKernel(device, *program, size);
  }
  return 0;
}
