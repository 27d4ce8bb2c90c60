//===- Memory.cpp - memory of the emulated device -------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-driver/Driver.h"

#include <algorithm>
#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

namespace {
/// Bytes of an allocation, between two kernels.
struct Range {
  Allocation *allocation = nullptr;
  uint64_t offset = 0;

  uint8_t *data() const { return allocation->data + offset; }
  uint8_t *undefined() const {
    return allocation->undefined ? allocation->undefined.get() + offset
                                 : nullptr;
  }
  void define(uint64_t bytes) const {
    if (bytes == allocation->bytes)
      allocation->undefined.reset();
    else if (uint8_t *flags = undefined())
      std::memset(flags, 0, bytes);
  }
};
} // namespace

/// Sets `range`, or fails when the bytes are not all in one allocation.
static CUresult find(CUctx_st &context, const char *function,
                     CUdeviceptr address, uint64_t bytes, Range &range) {
  Allocation *allocation = context.device.find(address);
  if (allocation &&
      bytes <= allocation->bytes - (address - allocation->address)) {
    range = {allocation, address - allocation->address};
    return CUDA_SUCCESS;
  }
  std::string where = "in no allocation";
  if (allocation)
    where = std::to_string(address - allocation->address) + " bytes into " +
            allocation->name + " of " + std::to_string(allocation->bytes);
  return fail(CUDA_ERROR_INVALID_VALUE, std::string(function) + ": " +
                                            std::to_string(bytes) + " bytes " +
                                            where);
}

static CUresult copyIn(CUctx_st &context, const char *function, CUdeviceptr to,
                       const void *from, size_t bytes) {
  Range range;
  if (!bytes)
    return CUDA_SUCCESS;
  if (!from)
    return fail(CUDA_ERROR_INVALID_VALUE, std::string(function) + ": null");
  if (CUresult result = find(context, function, to, bytes, range))
    return result;
  std::memcpy(range.data(), from, bytes);
  range.define(bytes);
  return CUDA_SUCCESS;
}

static CUresult copyOut(CUctx_st &context, const char *function, void *to,
                        CUdeviceptr from, size_t bytes) {
  Range range;
  if (!bytes)
    return CUDA_SUCCESS;
  if (!to)
    return fail(CUDA_ERROR_INVALID_VALUE, std::string(function) + ": null");
  if (CUresult result = find(context, function, from, bytes, range))
    return result;
  // The hardware would give whatever lies there.
  if (const uint8_t *flags = range.undefined())
    if (const uint8_t *first = std::find_if(flags, flags + bytes,
                                            [](uint8_t f) { return f != 0; });
        first != flags + bytes)
      return fail(CUDA_ERROR_INVALID_VALUE,
                  std::string(function) + ": byte " +
                      std::to_string(range.offset +
                                     static_cast<uint64_t>(first - flags)) +
                      " of " + range.allocation->name + " of " +
                      std::to_string(range.allocation->bytes) +
                      " bytes was never written");
  std::memcpy(to, range.data(), bytes);
  return CUDA_SUCCESS;
}

static CUresult copyWithin(CUctx_st &context, const char *function,
                           CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  Range source, target;
  if (!bytes)
    return CUDA_SUCCESS;
  if (CUresult result = find(context, function, from, bytes, source))
    return result;
  if (CUresult result = find(context, function, to, bytes, target))
    return result;
  std::memmove(target.data(), source.data(), bytes);
  const uint8_t *flags = source.undefined();
  if (!flags) {
    target.define(bytes);
    return CUDA_SUCCESS;
  }
  if (!target.undefined())
    target.allocation->undefined =
        std::make_unique<uint8_t[]>(target.allocation->bytes);
  std::memmove(target.undefined(), flags, bytes);
  return CUDA_SUCCESS;
}

template <typename T>
static CUresult fill(CUctx_st &context, const char *function, CUdeviceptr to,
                     T value, size_t count) {
  Range range;
  if (!count)
    return CUDA_SUCCESS;
  uint64_t bytes;
  if (to % sizeof(T) || __builtin_mul_overflow(count, sizeof(T), &bytes))
    return fail(CUDA_ERROR_INVALID_VALUE,
                std::string(function) + ": misaligned or too large");
  if (CUresult result = find(context, function, to, bytes, range))
    return result;
  // Aligned: allocations are, and so is the address.
  std::fill_n(reinterpret_cast<T *>(range.data()), count, value);
  range.define(bytes);
  return CUDA_SUCCESS;
}

/// A call that is done when it returns.
template <typename Body>
static CUresult callNow(const char *function, Body body) {
  return callInContext([&](CUctx_st &context) {
    if (CUresult result = refuseInCapture(context, function))
      return result;
    return body(context);
  });
}

NEST_PTX_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  return callNow("cuMemAlloc", [&](CUctx_st &context) {
    if (!address || !bytes)
      return fail(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of 0 bytes, or null");
    if (bytes > context.settings.memory - context.used)
      return fail(CUDA_ERROR_OUT_OF_MEMORY,
                  std::to_string(bytes) + " bytes, and " +
                      std::to_string(context.settings.memory - context.used) +
                      " are free");
    rt::Expected<uint64_t> made = context.device.allocate(
        bytes, false, "allocation " + std::to_string(context.named));
    if (!made)
      return fail(CUDA_ERROR_OUT_OF_MEMORY, made.error().str());
    ++context.named;
    context.used += bytes;
    context.memory.emplace(*made, bytes);
    *address = *made;
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  return callNow("cuMemFree", [&](CUctx_st &context) {
    if (!address)
      return CUDA_SUCCESS;
    auto it = context.memory.find(address);
    if (it == context.memory.end())
      return fail(CUDA_ERROR_INVALID_VALUE,
                  "cuMemFree: no allocation begins there");
    context.used -= it->second;
    context.device.release(address);
    context.memory.erase(it);
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  return callInContext([&](CUctx_st &context) {
    if (free)
      *free = context.settings.memory - context.used;
    if (total)
      *total = context.settings.memory;
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from,
                                         size_t bytes) {
  return callNow("cuMemcpyHtoD", [&](CUctx_st &context) {
    return copyIn(context, "cuMemcpyHtoD", to, from, bytes);
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from,
                                         size_t bytes) {
  return callNow("cuMemcpyDtoH", [&](CUctx_st &context) {
    return copyOut(context, "cuMemcpyDtoH", to, from, bytes);
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from,
                                         size_t bytes) {
  return callNow("cuMemcpyDtoD", [&](CUctx_st &context) {
    return copyWithin(context, "cuMemcpyDtoD", to, from, bytes);
  });
}

NEST_PTX_EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value,
                                       size_t count) {
  return callNow("cuMemsetD8", [&](CUctx_st &context) {
    return fill(context, "cuMemsetD8", to, value, count);
  });
}

NEST_PTX_EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value,
                                        size_t count) {
  return callNow("cuMemsetD32", [&](CUctx_st &context) {
    return fill(context, "cuMemsetD32", to, value, count);
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from,
                                              size_t bytes, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return submit(context, stream, [=](CUctx_st &c) {
      return copyIn(c, "cuMemcpyHtoDAsync", to, from, bytes);
    });
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from,
                                              size_t bytes, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return submit(context, stream, [=](CUctx_st &c) {
      return copyOut(c, "cuMemcpyDtoHAsync", to, from, bytes);
    });
  });
}

NEST_PTX_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from,
                                              size_t bytes, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return submit(context, stream, [=](CUctx_st &c) {
      return copyWithin(c, "cuMemcpyDtoDAsync", to, from, bytes);
    });
  });
}

NEST_PTX_EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value,
                                         size_t count, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return submit(context, stream, [=](CUctx_st &c) {
      return fill(c, "cuMemsetD8Async", to, value, count);
    });
  });
}

NEST_PTX_EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value,
                                          size_t count, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return submit(context, stream, [=](CUctx_st &c) {
      return fill(c, "cuMemsetD32Async", to, value, count);
    });
  });
}
