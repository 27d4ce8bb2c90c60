//===- Device.h - global memory of the emulated device ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Allocations with gaps between them, so that an access past the end of one
// never falls into another. Addresses are those of a 64-bit device; the spaces
// of a block (shared, local, parameters) have windows of generic addresses that
// no allocation reaches.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_DEVICE_H
#define NESTC_TOOLS_PTX_EMULATOR_DEVICE_H

#include "lowering/runtime/Error.h"
#include "tools/ptx-emulator/Syntax.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace nestc {
namespace ptx {

/// Generic addresses: what is not in a window is global.
constexpr uint64_t windowBytes = uint64_t(1) << 40;
constexpr uint64_t sharedWindow = 0x7d0000000000;
constexpr uint64_t localWindow = 0x7e0000000000;
constexpr uint64_t paramWindow = 0x7f0000000000;
constexpr uint64_t firstGlobal = 0x700000000000;

struct Allocation {
  uint64_t address = 0;
  uint64_t bytes = 0;
  uint8_t *data = nullptr;
  /// One byte per byte, nonzero where nothing was stored yet; null when all is
  /// defined.
  std::unique_ptr<uint8_t[]> undefined;
  bool isConstant = false;
  std::string name; ///< for messages: "buffer 2", ".global table"
  struct Free {
    void operator()(uint8_t *memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t[], Free> owned;
};

class Device {
public:
  /// `capacity`: bytes that all allocations together may have.
  explicit Device(uint64_t capacity = uint64_t(1) << 40) : free(capacity) {}

  /// Address of `bytes` of memory, aligned to 256; or an error when the host
  /// has no memory. Contents are zero; `defined` says whether a kernel may read
  /// them before it stores them.
  rt::Expected<uint64_t> allocate(uint64_t bytes, bool defined,
                                  std::string name);
  /// The same over memory of the caller, which has to outlive the allocation.
  uint64_t map(void *data, uint64_t bytes, std::string name);
  /// False when there is no allocation at this address.
  bool release(uint64_t address);

  /// The allocation that holds this address, or null.
  Allocation *find(uint64_t address);
  /// The nearest one at or below, for messages.
  const Allocation *below(uint64_t address) const;

private:
  uint64_t place(Allocation allocation);

  std::vector<std::unique_ptr<Allocation>> allocations; // ascending
  uint64_t next = firstGlobal;
  uint64_t free;
};

/// A module whose variables have memory.
struct LoadedModule {
  std::unique_ptr<Module> module;
  std::vector<uint64_t> globals; ///< address of each of module->globals, or 0
};

/// Gives .global and .const variables memory and their initial values.
rt::Expected<LoadedModule> load(Device &device, std::unique_ptr<Module> module);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_DEVICE_H
