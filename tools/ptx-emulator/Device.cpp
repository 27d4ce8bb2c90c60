//===- Device.cpp - global memory of the emulated device ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Device.h"

#include <algorithm>
#include <cstring>
#include <new>

using namespace nestc;
using namespace nestc::ptx;

uint64_t Device::place(Allocation allocation) {
  // A gap that no shifted pointer crosses by a small mistake.
  constexpr uint64_t gap = 1 << 20;
  uint64_t address = (next + 255) & ~uint64_t(255);
  next = address + allocation.bytes + gap;
  allocation.address = address;
  allocations.push_back(std::make_unique<Allocation>(std::move(allocation)));
  return address;
}

rt::Expected<uint64_t> Device::allocate(uint64_t bytes, bool defined,
                                        std::string name) {
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.name = std::move(name);
  // Pages of zeros cost nothing until they are touched.
  if (bytes <= free)
    allocation.owned.reset(static_cast<uint8_t *>(std::calloc(bytes + 64, 1)));
  if (allocation.owned && !defined) {
    allocation.undefined.reset(new (std::nothrow) uint8_t[bytes]);
    if (allocation.undefined)
      std::memset(allocation.undefined.get(), 1, bytes);
  }
  if (!allocation.owned || (!defined && !allocation.undefined))
    return rt::Error(allocation.name, "no memory for " + std::to_string(bytes) +
                                          " bytes of the device");
  allocation.data = allocation.owned.get();
  free -= bytes;
  return place(std::move(allocation));
}

uint64_t Device::map(void *data, uint64_t bytes, std::string name) {
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.data = static_cast<uint8_t *>(data);
  allocation.name = std::move(name);
  return place(std::move(allocation));
}

static auto firstAbove(const std::vector<std::unique_ptr<Allocation>> &all,
                       uint64_t address) {
  return std::upper_bound(all.begin(), all.end(), address,
                          [](uint64_t a, const std::unique_ptr<Allocation> &b) {
                            return a < b->address;
                          });
}

bool Device::release(uint64_t address) {
  auto it = firstAbove(allocations, address);
  if (it == allocations.begin())
    return false;
  --it;
  if ((*it)->address != address)
    return false;
  if ((*it)->owned)
    free += (*it)->bytes;
  allocations.erase(it);
  return true;
}

const Allocation *Device::below(uint64_t address) const {
  auto it = firstAbove(allocations, address);
  return it == allocations.begin() ? nullptr : std::prev(it)->get();
}

Allocation *Device::find(uint64_t address) {
  auto it = firstAbove(allocations, address);
  if (it == allocations.begin())
    return nullptr;
  Allocation *allocation = std::prev(it)->get();
  return address - allocation->address < allocation->bytes ? allocation
                                                           : nullptr;
}

rt::Expected<LoadedModule> nestc::ptx::load(Device &device,
                                            std::unique_ptr<Module> module) {
  LoadedModule loaded;
  for (const Variable &v : module->globals) {
    uint64_t address = 0;
    if (v.space == Space::Global || v.space == Space::Const) {
      if (v.isExtern)
        return rt::Error(module->name + ":" + std::to_string(v.line),
                         "variable '" + std::string(v.name) +
                             "' is defined elsewhere",
                         "one module is run alone; define it here");
      // Global memory without an initial value is zero (PTX ISA 5.4.3).
      NEST_RT_ASSIGN(address,
                     device.allocate(v.bytes, true,
                                     std::string(".") + spaceName(v.space) +
                                         " " + std::string(v.name)));
      device.find(address)->isConstant = v.space == Space::Const;
    }
    loaded.globals.push_back(address);
  }
  for (const Variable &v : module->globals)
    for (const Initializer &word : v.init) {
      uint64_t value = word.bits;
      if (word.variable) {
        if (!word.variable->isModuleLevel)
          return rt::Error(module->name + ":" + std::to_string(v.line),
                           "the address of a variable of a function as initial "
                           "value");
        value += loaded.globals[word.variable->id];
      }
      value >>= word.shift;
      std::memcpy(device.find(loaded.globals[v.id])->data + word.offset, &value,
                  std::min<size_t>(word.size, 8));
    }
  loaded.module = std::move(module);
  return loaded;
}
