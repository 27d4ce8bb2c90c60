//===- Harness.cpp - compiles and runs kernels written by hand -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include "EmulatedGpu.h"
#include "dialect/Kernel.h"
#include "lowering/cpu/Pipeline.h"
#include "lowering/nvptx/Pipeline.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <thread>

using namespace nestc;
using namespace nestc::test;

static double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Compiled::Compiled(const std::string &text, const std::string &level) {
  mlir::DialectRegistry registry;
  registry
      .insert<nest::NestDialect, kernel::KernelDialect, mlir::func::FuncDialect,
              mlir::arith::ArithDialect, mlir::math::MathDialect,
              mlir::memref::MemRefDialect, mlir::LLVM::LLVMDialect>();
  mlir::MLIRContext context(registry);
  std::string messages;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    messages += d.str() + "\n";
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module) {
    error = "does not parse: " + messages;
    return;
  }
  bool isGpu = level.compare(0, 3, "sm_") == 0;
  auto gpuTarget = NvptxTarget::get(isGpu ? level : "sm_80");
  auto target = CpuTarget::get(isGpu ? "native" : level);
  if (!target) {
    error = llvm::toString(target.takeError());
    return;
  }
  double start = now();
  mlir::PassManager passes(&context);
  if (isGpu)
    buildNvptxPipeline(passes, *gpuTarget);
  else
    buildCpuPipeline(passes, target->vectorBits);
  if (failed(passes.run(*module))) {
    error = messages;
    return;
  }
  if (isGpu) {
    auto device = takeDeviceModule(*module);
    auto text = emitPtx(*device, *gpuTarget);
    if (!text) {
      error = llvm::toString(text.takeError()) + messages;
      return;
    }
    ptx = std::move(*text);
    if (const char *path = std::getenv("NEST_TEST_PTX"))
      std::ofstream(path) << ptx;
    gpu = std::make_unique<EmulatedGpu>(ptx, kernelNames(*device));
    error = gpu->error();
    if (!error.empty())
      return;
  }
  passSeconds = now() - start;
  for (auto function : module->getOps<mlir::LLVM::LLVMFuncOp>())
    if (auto bytes =
            function->getAttrOfType<mlir::IntegerAttr>("kernel.scratch"))
      scratch = std::max(scratch, bytes.getInt());
  start = now();
  auto object = emitObject(*module, *target);
  if (!object) {
    error = llvm::toString(object.takeError()) + messages;
    return;
  }
  codeSeconds = now() - start;
  objectBytes = object->size();
  std::string pattern =
      (std::filesystem::temp_directory_path() / "nest-cpu-XXXXXX").string();
  directory = mkdtemp(pattern.data());
  std::string path = directory + "/code.so";
  start = now();
  if (llvm::Error e = linkSharedObject(*object, path)) {
    error = llvm::toString(std::move(e));
    return;
  }
  linkSeconds = now() - start;
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error = dlerror();
    return;
  }
  entry = reinterpret_cast<nest_entry>(dlsym(library, "nest_entry_e"));
  if (!entry)
    error = "no nest_entry_e";
}

Compiled::~Compiled() {
  if (library)
    dlclose(library);
  if (!directory.empty())
    std::filesystem::remove_all(directory);
}

namespace {
struct Runtime {
  int threads;
  size_t scratch;
  std::vector<char *> areas;
};
} // namespace

static void parallelFor(void *opaque, nest_task task, void *context,
                        int64_t count) {
  auto &runtime = *static_cast<Runtime *>(opaque);
  if (runtime.threads == 0) {
    for (int64_t i = count; i-- > 0;) {
      // NaN wherever a task looks without having written.
      std::memset(runtime.areas[0], 0xff, runtime.scratch);
      task(context, i, runtime.areas[0]);
    }
    return;
  }
  std::atomic<int64_t> next{0};
  auto work = [&](int worker) {
    for (int64_t i; (i = next++) < count;)
      task(context, i, runtime.areas[worker]);
  };
  if (count == 1 || runtime.threads == 1) {
    work(0);
    return;
  }
  std::vector<std::thread> helpers;
  for (int worker = 1; worker < runtime.threads; ++worker)
    helpers.emplace_back(work, worker);
  work(0);
  for (std::thread &helper : helpers)
    helper.join();
}

void Compiled::run(const std::vector<void *> &buffers, int64_t b, int64_t t,
                   int threads, void *arena) {
  Runtime runtime{threads, static_cast<size_t>(scratch + 63) / 64 * 64, {}};
  for (int i = 0; i < std::max(threads, 1); ++i)
    runtime.areas.push_back(static_cast<char *>(
        std::aligned_alloc(64, std::max<size_t>(runtime.scratch, 64))));
  int64_t dims[2] = {b, t};
  nest_call call{buffers.data(), dims, arena, &runtime, parallelFor, nullptr};
  if (gpu) {
    error = gpu->call(entry, call, buffers, threads);
    EXPECT_EQ(error, "");
  } else if (entry(&call) != 0) {
    error = "the entry failed";
  }
  for (char *area : runtime.areas)
    std::free(area);
}

std::string test::oneKernel(const std::vector<std::string> &arguments,
                            const std::string &body) {
  std::string list, names, types;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string comma = i ? ", " : "", name = "%a" + std::to_string(i);
    list += comma + name + ": " + arguments[i];
    names += comma + name;
    types += comma + arguments[i];
  }
  return "kernel.def @k(" + list + ") {\n" + body + "\n}\nfunc.func @e(" +
         list + ") attributes {nest.entry = \"e\"} {\n  kernel.launch @k(" +
         names + ") : " + types + "\n  return\n}\n";
}

std::vector<std::string> test::levels() {
  std::vector<std::string> result;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    result.push_back("x86-64-v3");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
    result.push_back("x86-64-v4");
  if (!result.empty())
    for (const char *gpu : {"sm_80", "sm_90", "sm_120"})
      result.emplace_back(gpu);
  return result;
}

std::string test::gpuLevel() {
  const char *given = std::getenv("NEST_TEST_GPU");
  return given ? given : "sm_80";
}

float test::roundTo(float value, const std::string &type) {
  if (type == "f16")
    return static_cast<float>(static_cast<_Float16>(value));
  if (type == "bf16") {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits += 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    std::memcpy(&value, &bits, 4);
  }
  return value;
}

Stored::Stored(const std::vector<float> &from, const std::string &type) {
  size_t size = type == "f32" ? 4 : 2;
  bytes.resize(from.size() * size);
  for (size_t i = 0; i < from.size(); ++i) {
    float value = roundTo(from[i], type);
    values.push_back(value);
    char *to = bytes.data() + i * size;
    if (type == "f16") {
      _Float16 half = static_cast<_Float16>(value);
      std::memcpy(to, &half, 2);
    } else {
      // The upper half of an f32 is a bf16.
      std::memcpy(to, reinterpret_cast<char *>(&value) + 4 - size, size);
    }
  }
}

std::vector<float> test::widen(const std::vector<char> &bytes,
                               const std::string &type) {
  size_t size = type == "f32" ? 4 : 2;
  std::vector<float> values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) {
    const char *from = bytes.data() + i * size;
    if (type == "f16") {
      _Float16 half;
      std::memcpy(&half, from, 2);
      values[i] = static_cast<float>(half);
    } else {
      std::memcpy(reinterpret_cast<char *>(&values[i]) + 4 - size, from, size);
    }
  }
  return values;
}
