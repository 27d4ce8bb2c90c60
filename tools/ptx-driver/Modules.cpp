//===- Modules.cpp - modules and functions --------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Manifest.h"
#include "tools/ptx-driver/Driver.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Parser.h"

#include <algorithm>
#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

/// Frees the variables of a module.
static void releaseVariables(CUctx_st &context, const LoadedModule &loaded) {
  for (uint64_t address : loaded.globals)
    if (address)
      context.device.release(address);
}

static CUresult load(CUctx_st &context, CUmodule *handle, const void *image) {
  if (!handle || !image)
    return fail(CUDA_ERROR_INVALID_VALUE);
  const char *text = static_cast<const char *>(image);
  if (std::memcmp(text,
                  "\x7f"
                  "ELF",
                  4) == 0)
    return fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                "a cubin cannot be emulated; load the PTX it was made of");
  auto parsed = parse(text, "ptx");
  if (!parsed)
    return fail(CUDA_ERROR_INVALID_PTX, parsed.error().str());
  const unsigned sm = (*parsed)->sm;
  rt::GpuTarget target;
  target.capability = static_cast<int>(sm);
  target.exact = (*parsed)->suffix == 'a';
  target.family = (*parsed)->suffix == 'f';
  if (context.settings.sm &&
      !target.runsOn(static_cast<int>(context.settings.sm)))
    return fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                "the PTX has the target sm_" + std::to_string(sm) +
                    (target.exact    ? "a"
                     : target.family ? "f"
                                     : "") +
                    ", the device is sm_" +
                    std::to_string(context.settings.sm));
  auto loaded = ptx::load(context.device, std::move(*parsed));
  if (!loaded)
    return fail(CUDA_ERROR_INVALID_PTX, loaded.error().str());
  auto module = std::make_unique<CUmod_st>();
  module->loaded = std::move(*loaded);
  // All at once, as a compiler of PTX would: what is wrong is told here.
  for (const Function &f : module->loaded.module->functions) {
    if (!f.isEntry || !f.isDefined)
      continue;
    auto program = decode(module->loaded, f.name);
    if (!program) {
      releaseVariables(context, module->loaded);
      return fail(CUDA_ERROR_INVALID_PTX, program.error().str());
    }
    auto function = std::make_unique<CUfunc_st>();
    function->program = std::move(*program);
    function->sm = context.settings.sm ? context.settings.sm : sm;
    function->dynamicShared =
        sharedDefault -
        std::min<uint64_t>(sharedDefault, function->program.sharedBytes);
    module->functions.emplace(std::string(f.name), std::move(function));
  }
  context.lastSm = sm;
  *handle = context.modules.add(std::move(module));
  return CUDA_SUCCESS;
}

NEST_PTX_EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return callInContext(
      [&](CUctx_st &context) { return load(context, module, image); });
}

NEST_PTX_EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image,
                                            unsigned numOptions,
                                            CUjit_option *options,
                                            void **values) {
  return callInContext([&](CUctx_st &context) {
    if (numOptions && (!options || !values))
      return fail(CUDA_ERROR_INVALID_VALUE);
    CUresult result = load(context, module, image);
    char *log = nullptr;
    void **size = nullptr; // the value is the size itself, and then the length
    for (unsigned i = 0; i < numOptions; ++i) {
      if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
        log = static_cast<char *>(values[i]);
      else if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
        size = &values[i];
    }
    if (!log || !size)
      return result;
    size_t room = reinterpret_cast<uintptr_t>(*size) & 0xffffffff;
    std::string text = result ? nestPtxMessage() : "";
    size_t length = room ? std::min(room - 1, text.size()) : 0;
    if (room) {
      std::memcpy(log, text.data(), length);
      log[length] = 0;
    }
    *size = reinterpret_cast<void *>(length); // NOLINT: a number in a pointer
    return result;
  });
}

NEST_PTX_EXPORT CUresult cuModuleUnload(CUmodule module) {
  return callInContext([&](CUctx_st &context) {
    if (!context.modules.has(module))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    releaseVariables(context, module->loaded);
    context.modules.remove(module);
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuModuleGetFunction(CUfunction *function,
                                             CUmodule module,
                                             const char *name) {
  return callInContext([&](CUctx_st &context) {
    if (!function || !name)
      return fail(CUDA_ERROR_INVALID_VALUE);
    if (!context.modules.has(module))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    auto it = module->functions.find(name);
    if (it == module->functions.end())
      return fail(CUDA_ERROR_NOT_FOUND,
                  std::string("there is no kernel ") + name);
    *function = it->second.get();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuFuncSetAttribute(CUfunction function,
                                            CUfunction_attribute attribute,
                                            int value) {
  return callInContext([&](CUctx_st &context) {
    if (!context.has(function))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
      return fail(CUDA_ERROR_INVALID_VALUE,
                  "attribute " + std::to_string(attribute) +
                      " is not known, or cannot be set");
    uint64_t most = maxSharedBytes(function->sm);
    uint64_t fixed = function->program.sharedBytes;
    if (value < 0 || fixed + static_cast<uint64_t>(value) > most)
      return fail(CUDA_ERROR_INVALID_VALUE,
                  function->program.name + ": " + std::to_string(value) +
                      " bytes of dynamic shared memory beside " +
                      std::to_string(fixed) + "; a block on sm_" +
                      std::to_string(function->sm) + " has at most " +
                      std::to_string(most));
    function->dynamicShared = static_cast<uint64_t>(value);
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuFuncGetAttribute(int *value,
                                            CUfunction_attribute attribute,
                                            CUfunction function) {
  return callInContext([&](CUctx_st &context) {
    if (!context.has(function))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    if (!value)
      return fail(CUDA_ERROR_INVALID_VALUE);
    const Program &program = function->program;
    const unsigned *most = program.kernel->required[0]
                               ? program.kernel->required
                               : program.kernel->most;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = most[0] ? static_cast<int>(most[0] * most[1] * most[2]) : 1024;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(program.sharedBytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = static_cast<int>(program.localBytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
      *value = static_cast<int>(program.module->sm);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = static_cast<int>(function->sm);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(function->dynamicShared);
      return CUDA_SUCCESS;
    }
    return fail(CUDA_ERROR_INVALID_VALUE,
                "attribute " + std::to_string(attribute) + " is not known");
  });
}
