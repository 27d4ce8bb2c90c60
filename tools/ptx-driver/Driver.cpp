//===- Driver.cpp - initialisation, devices, contexts, errors -------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-driver/Driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

using namespace nestc;
using namespace nestc::ptx;

static thread_local std::string message;
static thread_local CUctx_st *current = nullptr;

namespace {
struct State {
  bool initialized = false;
  std::unique_ptr<CUctx_st> primary;
  unsigned uses = 0;
};
} // namespace

static State &state() {
  static State instance;
  return instance;
}

std::mutex &nestc::ptx::driverLock() {
  static std::mutex lock;
  return lock;
}

bool nestc::ptx::initialized() { return state().initialized; }

CUctx_st *nestc::ptx::currentContext() {
  return current && current == state().primary.get() ? current : nullptr;
}

CUresult nestc::ptx::fail(CUresult result, std::string text) {
  message = std::move(text);
  return result;
}

NEST_PTX_EXPORT const char *nestPtxMessage() { return message.c_str(); }

//===----------------------------------------------------------------------===//
// Settings
//===----------------------------------------------------------------------===//

/// Digits only, below 2^60.
static std::optional<uint64_t> parseNumber(const std::string &text) {
  if (text.empty() || text.size() > 18 ||
      text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::strtoull(text.c_str(), nullptr, 10);
}

rt::Expected<Settings> Settings::read() {
  Settings settings;
  auto get = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  auto bad = [&](const char *name, const char *legal) {
    return rt::Error(name, "is '" + get(name) + "'", legal);
  };
  if (std::string text = get("NEST_PTX_SM"); !text.empty()) {
    if (text.compare(0, 3, "sm_") == 0)
      text.erase(0, 3);
    text.erase(std::remove(text.begin(), text.end(), '.'), text.end());
    std::optional<uint64_t> number = parseNumber(text);
    if (!number || *number < 50 || *number > 199)
      return bad("NEST_PTX_SM", "a compute capability such as 90");
    settings.sm = static_cast<unsigned>(*number);
  }
  if (std::string text = get("NEST_PTX_SCHEDULE"); !text.empty()) {
    std::optional<Schedule> schedule = scheduleFromText(text);
    if (!schedule)
      return bad("NEST_PTX_SCHEDULE", "round-robin, reverse or random:SEED");
    settings.schedule = *schedule;
  }
  if (std::string text = get("NEST_PTX_MEMORY"); !text.empty()) {
    std::optional<uint64_t> number = parseNumber(text);
    if (!number)
      return bad("NEST_PTX_MEMORY", "the bytes of the device's memory");
    settings.memory = *number;
  }
  settings.profile = get("NEST_PTX_PROFILE");
  return settings;
}

CUctx_st::CUctx_st(Settings given)
    : settings(std::move(given)), device(settings.memory) {}

CUctx_st::~CUctx_st() {
  if (profile)
    (void)std::fclose(profile);
}

bool CUctx_st::has(CUfunction function) {
  bool found = false;
  modules.each([&](CUmod_st &module) {
    for (const auto &[name, each] : module.functions)
      found |= each.get() == function;
  });
  return found;
}

unsigned CUctx_st::sm() const {
  return settings.sm ? settings.sm : lastSm ? lastSm : 80;
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

namespace {
struct ErrorText {
  CUresult error;
  const char *name, *text;
};
} // namespace

static const ErrorText *errorText(CUresult error) {
#define NEST_PTX_ERROR(name, text)                                             \
  {                                                                            \
    name, #name, text                                                          \
  }
  static const ErrorText table[] = {
      NEST_PTX_ERROR(CUDA_SUCCESS, "no error"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
      NEST_PTX_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
      NEST_PTX_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
      NEST_PTX_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_IMAGE, "invalid device image"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
      NEST_PTX_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU,
                     "no kernel image for execution on the device"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_PTX, "a PTX compilation failed"),
      NEST_PTX_ERROR(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                     "the PTX was made by a newer toolchain"),
      NEST_PTX_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
      NEST_PTX_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
      NEST_PTX_ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
      NEST_PTX_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
      NEST_PTX_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
      NEST_PTX_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                     "operation not permitted when stream is capturing"),
      NEST_PTX_ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                     "operation failed due to a previous error during capture"),
      NEST_PTX_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                     "capture was not initiated in this stream"),
      NEST_PTX_ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                     "operation would make the legacy stream depend on a "
                     "capturing blocking stream"),
      NEST_PTX_ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
  };
#undef NEST_PTX_ERROR
  for (const ErrorText &row : table)
    if (row.error == error)
      return &row;
  return nullptr;
}

NEST_PTX_EXPORT CUresult cuGetErrorName(CUresult error, const char **text) {
  const ErrorText *row = errorText(error);
  if (text)
    *text = row ? row->name : nullptr;
  return text && row ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

NEST_PTX_EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
  const ErrorText *row = errorText(error);
  if (text)
    *text = row ? row->text : nullptr;
  return text && row ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

//===----------------------------------------------------------------------===//
// The device
//===----------------------------------------------------------------------===//

NEST_PTX_EXPORT CUresult cuInit(unsigned flags) {
  std::lock_guard<std::mutex> lock(driverLock());
  if (flags)
    return fail(CUDA_ERROR_INVALID_VALUE, "cuInit: flags are 0");
  state().initialized = true;
  return CUDA_SUCCESS;
}

NEST_PTX_EXPORT CUresult cuDriverGetVersion(int *version) {
  if (!version)
    return fail(CUDA_ERROR_INVALID_VALUE);
  *version = 13000;
  return CUDA_SUCCESS;
}

NEST_PTX_EXPORT CUresult cuDeviceGetCount(int *count) {
  return call([&] {
    if (!count)
      return fail(CUDA_ERROR_INVALID_VALUE);
    *count = 1;
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  return call([&] {
    if (!device)
      return fail(CUDA_ERROR_INVALID_VALUE);
    if (ordinal)
      return fail(CUDA_ERROR_INVALID_DEVICE);
    *device = 0;
    return CUDA_SUCCESS;
  });
}

/// `body(settings)` for the one device there is.
template <typename Body>
static CUresult callOnDevice(CUdevice device, Body body) {
  return call([&] {
    if (device)
      return fail(CUDA_ERROR_INVALID_DEVICE);
    rt::Expected<Settings> settings = Settings::read();
    if (!settings)
      return fail(CUDA_ERROR_INVALID_VALUE, settings.error().str());
    return body(*settings);
  });
}

NEST_PTX_EXPORT CUresult cuDeviceGetName(char *name, int size,
                                         CUdevice device) {
  return callOnDevice(device, [&](const Settings &) {
    if (!name || size < 1)
      return fail(CUDA_ERROR_INVALID_VALUE);
    std::snprintf(name, static_cast<size_t>(size), "nestc PTX emulator");
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  return callOnDevice(device, [&](const Settings &settings) {
    if (!bytes)
      return fail(CUDA_ERROR_INVALID_VALUE);
    *bytes = settings.memory;
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuDeviceGetAttribute(int *value,
                                              CUdevice_attribute attribute,
                                              CUdevice device) {
  return callOnDevice(device, [&](const Settings &settings) {
    if (!value)
      return fail(CUDA_ERROR_INVALID_VALUE);
    // Where no variable says what the device is, it is what its last module
    // was made for.
    unsigned sm = settings.sm       ? settings.sm
                  : state().primary ? state().primary->sm()
                                    : 80;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      *value = 1024;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      *value = 64;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      *value = 0x7fffffff;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      *value = 65535;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      *value = sharedDefault;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      *value = 32;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = 108; // as %smid counts them
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = static_cast<int>(sm / 10);
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = static_cast<int>(sm % 10);
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = static_cast<int>(maxSharedBytes(sm));
      return CUDA_SUCCESS;
    }
    return fail(CUDA_ERROR_INVALID_VALUE,
                "attribute " + std::to_string(attribute) + " is not known");
  });
}

//===----------------------------------------------------------------------===//
// Contexts
//===----------------------------------------------------------------------===//

NEST_PTX_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context,
                                                  CUdevice device) {
  return callOnDevice(device, [&](const Settings &settings) {
    if (!context)
      return fail(CUDA_ERROR_INVALID_VALUE);
    State &s = state();
    if (!s.primary) {
      auto made = std::make_unique<CUctx_st>(settings);
      if (!settings.profile.empty()) {
        made->profile = std::fopen(settings.profile.c_str(), "a");
        if (!made->profile)
          return fail(CUDA_ERROR_INVALID_VALUE,
                      "NEST_PTX_PROFILE: " + settings.profile +
                          " cannot be written: " + std::strerror(errno));
      }
      s.primary = std::move(made);
    }
    ++s.uses;
    *context = s.primary.get();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return callOnDevice(device, [&](const Settings &) {
    State &s = state();
    if (!s.uses)
      return fail(CUDA_ERROR_INVALID_CONTEXT);
    if (--s.uses == 0)
      s.primary.reset();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  return call([&] {
    if (context && context != state().primary.get())
      return fail(CUDA_ERROR_INVALID_CONTEXT);
    current = context;
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuCtxGetCurrent(CUcontext *context) {
  return call([&] {
    if (!context)
      return fail(CUDA_ERROR_INVALID_VALUE);
    *context = currentContext();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuCtxSynchronize() {
  return callInContext([](CUctx_st &context) {
    return refuseInCapture(context, "cuCtxSynchronize");
  });
}
