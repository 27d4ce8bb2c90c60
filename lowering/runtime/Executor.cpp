//===- Executor.cpp - memory and threads of a call --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Executor.h"
#include "lowering/runtime/CudaExecutor.h"
#include "nest/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <omp.h>
#include <sys/mman.h>

using namespace nestc::rt;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Memory::~Memory() {
  if (base)
    ::munmap(base, bytes);
}

Expected<Memory> Memory::allocate(uint64_t bytes, bool hugePages,
                                  const std::string &what) {
  Memory memory;
  // Never empty: a buffer of no elements still has an address.
  uint64_t rounded = (std::max<uint64_t>(bytes, 1) + 4095) / 4096 * 4096;
  void *base = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return Error(what, "needs " + bytesText(bytes) + ", which cannot be mapped",
                 "a shorter --max-length or a smaller batch")
        .withCode(NEST_ERROR_MEMORY);
  if (hugePages && rounded >= uint64_t(1) << 21)
    (void)::madvise(base, rounded, MADV_HUGEPAGE);
  memory.base = base;
  memory.bytes = rounded;
  return memory;
}

/// The first number in a file; false when there is none ("max").
static bool readNumber(const std::string &path, uint64_t &value) {
  std::ifstream file(path);
  return static_cast<bool>(file >> value);
}

/// The value behind `key` in a file of "key value" lines.
static bool readKey(const std::string &path, const std::string &key,
                    uint64_t &value) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word == key)
      return static_cast<bool>(file >> value);
    std::getline(file, word);
  }
  return false;
}

uint64_t nestc::rt::availableMemory() {
  uint64_t available = UINT64_MAX, value;
  if (readKey("/proc/meminfo", "MemAvailable:", value))
    available = value * 1024;
  auto limit = [&](const std::string &directory, const char *max,
                   const char *current, const char *fileKey) {
    uint64_t most, used, cached = 0;
    if (!readNumber(directory + max, most) ||
        !readNumber(directory + current, used))
      return;
    // Cached file pages go when memory is needed.
    readKey(directory + "/memory.stat", fileKey, cached);
    used -= std::min(used, cached);
    available = std::min(available, most - std::min(most, used));
  };
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    if (line.compare(0, 3, "0::") == 0) {
      // Version 2: every group up to the root may have a limit.
      std::string group = line.substr(3);
      for (;;) {
        if (group == "/")
          group.clear();
        limit("/sys/fs/cgroup" + group, "/memory.max", "/memory.current",
              "inactive_file");
        size_t slash = group.rfind('/');
        if (slash == std::string::npos)
          break;
        group.resize(slash);
      }
    } else if (line.find(":memory:") != std::string::npos) {
      limit("/sys/fs/cgroup/memory", "/memory.limit_in_bytes",
            "/memory.usage_in_bytes", "total_inactive_file");
    }
  }
  return available;
}

std::string nestc::rt::bytesText(uint64_t bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB",
                                      "TiB",   "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  unsigned unit = 0;
  while (value >= 1024 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", value,
                units[unit]);
  return text;
}

Status nestc::rt::checkMemory(uint64_t bytes, const std::string &what) {
  uint64_t available = availableMemory();
  if (bytes <= available)
    return Status::success();
  return Error(what,
               "needs " + bytesText(bytes) + " of memory, but " +
                   bytesText(available) + " are available",
               "a shorter --max-length, a shorter prompt or a smaller batch")
      .withCode(NEST_ERROR_MEMORY);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Expected<std::unique_ptr<Executor>> Executor::create(const Package &package,
                                                     int threads) {
  if (package.device())
    return CudaExecutor::create(package);
  return std::unique_ptr<Executor>(
      std::make_unique<CpuExecutor>(package, threads));
}

Error nestc::rt::codeFailed(const std::string &place, int32_t result) {
  return Error(place, "the code failed with " + std::to_string(result))
      .withCode(NEST_ERROR_INTERNAL);
}

Error nestc::rt::arenaTooLarge(const std::string &place) {
  return Error(place, "needs more memory than can be counted",
               "a shorter prompt or a smaller batch")
      .withCode(NEST_ERROR_MEMORY);
}

CpuExecutor::CpuExecutor(const Package &package, int threads)
    : package(package),
      workers(std::max(1, threads > 0 ? threads : omp_get_max_threads())) {}

namespace {
/// What parallel_for gets as `runtime`.
struct Team {
  int threads;
  char *scratch;
  uint64_t stride;
};
} // namespace

/// Whether this thread runs a task: then a further parallel_for is serial.
static thread_local bool insideTask = false;

Status CpuExecutor::checkRoom(uint64_t bytes, const std::string &what) {
  return checkMemory(bytes, what);
}

Expected<Resident> CpuExecutor::allocate(uint64_t bytes,
                                         const std::string &what) {
  NEST_RT_ASSIGN(Memory memory, Memory::allocate(bytes, false, what));
  auto owner = std::make_shared<Memory>(std::move(memory));
  return Resident(owner, owner->data());
}

Status CpuExecutor::zero(void *to, uint64_t bytes) {
  std::memset(to, 0, bytes);
  return Status::success();
}

Status CpuExecutor::copy(void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return Status::success();
}

Status CpuExecutor::upload(void *to, const void *from, uint64_t bytes) {
  return copy(to, from, bytes);
}

Status CpuExecutor::download(void *to, const void *from, uint64_t bytes) {
  return copy(to, from, bytes);
}

void CpuExecutor::parallelFor(void *runtime, nest_task task, void *context,
                              int64_t count) {
  const Team &team = *static_cast<const Team *>(runtime);
  if (insideTask) {
    // The worker's scratch is in use by the task that calls. Out of memory
    // here has no way back: it ends the process, as the stack's end would.
    void *scratch = std::aligned_alloc(64, std::max<uint64_t>(64, team.stride));
    if (!scratch)
      std::abort();
    for (int64_t i = 0; i < count; ++i)
      task(context, i, scratch);
    std::free(scratch);
    return;
  }
  if (count <= 1 || team.threads == 1) {
    insideTask = true;
    for (int64_t i = 0; i < count; ++i)
      task(context, i, team.scratch);
    insideTask = false;
    return;
  }
  // Always the same number of threads: a team that changes its size is dear.
#pragma omp parallel num_threads(team.threads)
  {
    insideTask = true;
    char *scratch = team.scratch +
                    static_cast<uint64_t>(omp_get_thread_num()) * team.stride;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i)
      task(context, i, scratch);
    insideTask = false;
  }
}

Status CpuExecutor::call(size_t index, const std::vector<Argument> &inputs,
                         const std::vector<Argument> &outputs,
                         const std::vector<int64_t> &dims) {
  const Manifest::Entry &entry = package.manifest().entries[index];
  std::string place = package.path() + ": " + entry.name;

  std::optional<uint64_t> arenaBytes = entry.arenaBytes(dims);
  // Strides that are no power of two keep workers off each other's cache sets.
  uint64_t stride = (static_cast<uint64_t>(entry.scratch) + 63) / 64 * 64 + 64;
  uint64_t scratchBytes;
  if (!arenaBytes || __builtin_mul_overflow(
                         stride, static_cast<uint64_t>(workers), &scratchBytes))
    return arenaTooLarge(place);
  if (!arena.data() || *arenaBytes > arena.size()) {
    // The old one goes first, nothing in it is kept.
    arena = Memory();
    NEST_RT_TRY(checkMemory(*arenaBytes, place));
    NEST_RT_ASSIGN(arena, Memory::allocate(*arenaBytes, true, place));
  }
  if (!scratch.data() || scratchBytes > scratch.size()) {
    scratch = Memory();
    NEST_RT_TRY(checkMemory(scratchBytes, place));
    NEST_RT_ASSIGN(scratch, Memory::allocate(scratchBytes, true, place));
  }

  buffers.clear();
  for (const Argument &argument : inputs)
    buffers.push_back(argument.data);
  unwanted.resize(std::max(unwanted.size(), outputs.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    Memory &own = unwanted[i];
    if (!outputs[i].data && (!own.data() || own.size() < outputs[i].bytes)) {
      own = Memory();
      NEST_RT_TRY(checkMemory(outputs[i].bytes, place));
      NEST_RT_ASSIGN(own, Memory::allocate(outputs[i].bytes, false, place));
    }
    buffers.push_back(outputs[i].data ? outputs[i].data : own.data());
  }
  for (int64_t weight : entry.weights) // mapped read-only; code only reads
    buffers.push_back(
        const_cast<void *>(package.weight(static_cast<size_t>(weight))));

  Team team = {workers, static_cast<char *>(scratch.data()), stride};
  nest_call call = {};
  call.buffers = buffers.data();
  call.dims = dims.data();
  call.arena = arena.data();
  call.runtime = &team;
  call.parallel_for = &CpuExecutor::parallelFor;
  int32_t result = package.function(index)(&call);
  if (result != 0)
    return codeFailed(place, result);
  return Status::success();
}
