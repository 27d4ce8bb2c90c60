//===- Launch.h - running a kernel over a grid ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_LAUNCH_H
#define NESTC_TOOLS_PTX_EMULATOR_LAUNCH_H

#include "lowering/runtime/Error.h"
#include "tools/ptx-emulator/Device.h"
#include "tools/ptx-emulator/Program.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nestc {
namespace ptx {

/// The order in which blocks, and warps of a block, run. Results of a kernel
/// without races do not depend on it.
struct Schedule {
  enum class Kind : uint8_t { RoundRobin, Reverse, Random };
  Kind kind = Kind::RoundRobin;
  uint64_t seed = 0;
};

/// "round-robin", "reverse", "random:SEED".
std::optional<Schedule> scheduleFromText(std::string_view text);

struct LaunchConfig {
  uint32_t grid[3] = {1, 1, 1};
  uint32_t block[3] = {1, 1, 1};
  uint32_t dynamicShared = 0;
  std::vector<uint8_t> params; ///< as the kernel's parameters lie in memory
  Schedule schedule;
  bool profile = false;     ///< count sectors and bank conflicts as well
  bool globalRaces = false; ///< look for races in global memory (one core)
  unsigned threads = 0;     ///< of the host; 0: all cores
  uint64_t maxSteps = 0;    ///< operations of warps, per block; 0: no limit
};

/// What a kernel did that it must not.
struct Fault {
  std::string kernel;
  unsigned line = 0;
  uint32_t block[3] = {};
  uint32_t thread[3] = {};
  std::string what;
  uint64_t order = 0; ///< of the block in the schedule

  /// "KERNEL:LINE: block (x,y,z) thread (x,y,z): what"
  std::string str() const;
};

struct Profile {
  struct PerOpcode {
    OpClass opClass;
    uint64_t warps = 0;   ///< times a warp executed it
    uint64_t threads = 0; ///< of threads whose guard was true
  };
  std::map<std::string, PerOpcode> opcodes;
  uint64_t globalBytes[2] = {};   ///< loaded, stored (atomics: both)
  uint64_t globalSectors[2] = {}; ///< of 32 bytes, per request of a warp
  uint64_t localBytes[2] = {};
  uint64_t localSectors[2] = {};
  uint64_t sharedBytes[2] = {};
  uint64_t sharedPasses = 0;
  uint64_t bankConflicts = 0; ///< passes beyond those that are needed
  uint64_t mmaFlops = 0;
  uint64_t barriers = 0; ///< times a warp arrived at one
  uint64_t warpInstructions = 0;
  uint64_t threadInstructions = 0;
};

/// Runs a kernel. An Error is about the launch itself (too many threads, no
/// such size); a Fault about what the kernel does.
struct LaunchResult {
  std::optional<Fault> fault;
  Profile profile;
};
/// Only about the launch itself.
rt::Status checkLaunch(const Program &program, const LaunchConfig &config);
/// Bytes of shared memory that a block of this architecture may have at most
/// (CUDA C++ Programming Guide, table of compute capabilities).
uint64_t maxSharedBytes(unsigned sm);
rt::Expected<LaunchResult> launch(Device &device, const Program &program,
                                  const LaunchConfig &config);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_LAUNCH_H
