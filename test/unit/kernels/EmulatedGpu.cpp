//===- EmulatedGpu.cpp - device code in the emulator ----------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatedGpu.h"

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Parser.h"

#include <cstring>
#include <malloc.h>

using namespace nestc;
using namespace nestc::test;

EmulatedGpu::EmulatedGpu(const std::string &ptx,
                         const std::vector<std::string> &kernels) {
  auto parsed = ptx::parse(ptx, "code.ptx");
  if (parsed.failed()) {
    problem = parsed.takeError().str();
    return;
  }
  auto loaded = ptx::load(device, std::move(*parsed));
  if (loaded.failed()) {
    problem = loaded.takeError().str();
    return;
  }
  module = std::move(*loaded);
  for (const std::string &name : kernels) {
    auto program = ptx::decode(module, name);
    if (program.failed()) {
      problem = program.takeError().str();
      return;
    }
    programs.push_back(std::move(*program));
    names.push_back(name);
  }
}

int32_t EmulatedGpu::launch(void *self, int64_t kernel, const int64_t *geometry,
                            const int64_t *arguments, int64_t count) {
  auto &gpu = *static_cast<EmulatedGpu *>(self);
  if (!gpu.problem.empty())
    return 1;
  const ptx::Program &program = gpu.programs.at(kernel);
  if (geometry[0] == 0 || geometry[1] == 0 || geometry[2] == 0)
    return 0;
  ptx::LaunchConfig config;
  for (unsigned i = 0; i < 3; ++i)
    config.grid[i] = static_cast<uint32_t>(geometry[i]);
  config.block[0] = static_cast<uint32_t>(geometry[3]);
  config.dynamicShared = static_cast<uint32_t>(geometry[4]);
  config.schedule = gpu.schedule;
  config.globalRaces = true;
  config.profile = gpu.profile;
  config.params.resize(count * 8);
  std::memcpy(config.params.data(), arguments, config.params.size());
  auto result = ptx::launch(gpu.device, program, config);
  if (result.failed())
    gpu.problem = result.takeError().str();
  else if (result->fault)
    gpu.problem = result->fault->str();
  else if (gpu.profile)
    gpu.profiles.push_back({gpu.names.at(kernel), std::move(result->profile)});
  return !gpu.problem.empty();
}

std::string EmulatedGpu::call(nest_entry entry, nest_call call,
                              const std::vector<void *> &buffers,
                              unsigned seed) {
  std::vector<void *> addresses;
  auto map = [&](void *data, const std::string &name) {
    uint64_t address = device.map(data, malloc_usable_size(data), name);
    addresses.push_back(reinterpret_cast<void *>(address));
  };
  for (size_t i = 0; i < buffers.size(); ++i)
    map(buffers[i], "buffer " + std::to_string(i));
  if (call.arena) {
    map(call.arena, "the arena");
    call.arena = addresses.back();
  }
  schedule.kind =
      seed ? ptx::Schedule::Kind::Random : ptx::Schedule::Kind::Reverse;
  schedule.seed = seed;
  call.buffers = addresses.data();
  call.runtime = this;
  call.parallel_for = nullptr;
  call.launch = &EmulatedGpu::launch;
  if (entry(&call) != 0 && problem.empty())
    problem = "the entry failed";
  for (void *address : addresses)
    device.release(reinterpret_cast<uint64_t>(address));
  std::string result;
  std::swap(result, problem);
  return result;
}
