//===- DriverTest.cpp - the CUDA driver API over the emulator -------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Cuda.h"

#include "gtest/gtest.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

/// add(out, in, n): out[i] = in[i] + 1; its threads past n do nothing.
/// wide(out): touches the dynamic shared memory at its last word of 64 KiB.
constexpr const char *text = R"(
.version 8.0
.target sm_80
.address_size 64

.extern .shared .align 16 .b8 dynamic[];

.visible .entry add(.param .u64 out, .param .u64 in, .param .u32 n)
{
  .reg .pred %p;
  .reg .b32 %r<6>;
  .reg .b64 %a<5>;
  ld.param.u64 %a0, [out];
  ld.param.u64 %a1, [in];
  ld.param.u32 %r0, [n];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.u32 %r1, %r2, %r3, %r1;
  setp.ge.u32 %p, %r1, %r0;
  @%p bra done;
  mul.wide.u32 %a2, %r1, 4;
  add.u64 %a3, %a1, %a2;
  ld.global.u32 %r4, [%a3];
  add.u32 %r4, %r4, 1;
  add.u64 %a4, %a0, %a2;
  st.global.u32 [%a4], %r4;
done:
  ret;
}

.visible .entry wide(.param .u64 out)
{
  .reg .b32 %r<3>;
  .reg .b64 %a;
  mov.u32 %r0, dynamic;
  mov.u32 %r1, 7;
  st.shared.u32 [%r0+65532], %r1;
  ld.shared.u32 %r2, [%r0+65532];
  ld.param.u64 %a, [out];
  st.global.u32 [%a], %r2;
  ret;
}
)";

/// Sets variables of the environment, and takes them back.
class Environment {
public:
  void set(const char *name, const std::string &value) {
    ::setenv(name, value.c_str(), 1);
    names.emplace_back(name);
  }
  ~Environment() {
    for (const std::string &name : names)
      ::unsetenv(name.c_str());
  }

private:
  std::vector<std::string> names;
};

/// The context, current, and a stream.
class PtxDriver : public ::testing::Test {
protected:
  void start() {
    ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
    ASSERT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS)
        << nestPtxMessage();
    ASSERT_EQ(cuCtxSetCurrent(context), CUDA_SUCCESS);
    ASSERT_EQ(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  }
  void SetUp() override {
    if (!lateStart)
      start();
  }
  void TearDown() override {
    if (context)
      EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
  }
  void load() {
    ASSERT_EQ(cuModuleLoadData(&module, text), CUDA_SUCCESS)
        << nestPtxMessage();
    ASSERT_EQ(cuModuleGetFunction(&add, module, "add"), CUDA_SUCCESS);
    ASSERT_EQ(cuModuleGetFunction(&wide, module, "wide"), CUDA_SUCCESS);
  }
  CUdeviceptr allocate(size_t bytes) {
    CUdeviceptr address = 0;
    EXPECT_EQ(cuMemAlloc_v2(&address, bytes), CUDA_SUCCESS);
    return address;
  }
  CUresult launchAdd(CUdeviceptr out, CUdeviceptr in, unsigned n) {
    void *parameters[] = {&out, &in, &n};
    return cuLaunchKernel(add, (n + 31) / 32, 1, 1, 32, 1, 1, 0, stream,
                          parameters, nullptr);
  }
  std::vector<uint32_t> read(CUdeviceptr from, size_t count) {
    std::vector<uint32_t> values(count);
    EXPECT_EQ(cuMemcpyDtoH_v2(values.data(), from, count * 4), CUDA_SUCCESS)
        << nestPtxMessage();
    return values;
  }
  static bool says(const std::string &part) {
    return std::string(nestPtxMessage()).find(part) != std::string::npos;
  }

  bool lateStart = false;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUmodule module = nullptr;
  CUfunction add = nullptr, wide = nullptr;
};

/// Its tests set the environment first.
class PtxDriverLate : public PtxDriver {
protected:
  PtxDriverLate() { lateStart = true; }
  Environment environment;
};

} // namespace

TEST_F(PtxDriver, RunsAKernel) {
  load();
  std::vector<uint32_t> values(100);
  std::iota(values.begin(), values.end(), 5);
  CUdeviceptr in = allocate(400), out = allocate(400);
  ASSERT_EQ(cuMemcpyHtoDAsync_v2(in, values.data(), 400, stream), CUDA_SUCCESS);
  ASSERT_EQ(launchAdd(out, in, 100), CUDA_SUCCESS) << nestPtxMessage();
  ASSERT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS);
  for (uint32_t &value : values)
    ++value;
  EXPECT_EQ(read(out, 100), values);
}

TEST_F(PtxDriver, MemoryIsUndefinedUntilWritten) {
  load();
  CUdeviceptr in = allocate(400), out = allocate(400);
  ASSERT_EQ(cuMemsetD32_v2(in, 3, 99), CUDA_SUCCESS);
  // Word 99 was never written: to the host, and to a kernel that stores it.
  std::vector<uint32_t> values(100);
  EXPECT_EQ(cuMemcpyDtoH_v2(values.data(), in, 400), CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("byte 396 of allocation 0 of 400 bytes was never written"))
      << nestPtxMessage();
  // It goes along with copies on the device.
  CUdeviceptr copy = allocate(800);
  ASSERT_EQ(cuMemsetD8_v2(copy, 0, 800), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoD_v2(copy + 400, in, 400), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyDtoH_v2(values.data(), copy + 400, 400),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("byte 796 of allocation 2")) << nestPtxMessage();
  EXPECT_EQ(read(copy + 400, 99), std::vector<uint32_t>(99, 3));
  EXPECT_EQ(launchAdd(out, in, 99), CUDA_SUCCESS) << nestPtxMessage();
  EXPECT_EQ(launchAdd(out, in, 100), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_TRUE(says("block (3,0,0) thread (3,0,0)")) << nestPtxMessage();
}

TEST_F(PtxDriver, FaultsStick) {
  load();
  CUdeviceptr in = allocate(128), out = allocate(64);
  ASSERT_EQ(cuMemsetD32_v2(in, 0, 32), CUDA_SUCCESS);
  EXPECT_EQ(launchAdd(out, in, 32), CUDA_ERROR_LAUNCH_FAILED);
  std::string message = nestPtxMessage();
  EXPECT_EQ(message.substr(0, 4), "add:") << message;
  EXPECT_NE(message.find("thread (16,0,0)"), std::string::npos) << message;
  EXPECT_EQ(cuMemFree_v2(in), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(nestPtxMessage(), message);
  // The next context is a new one.
  ASSERT_EQ(cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
  start();
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS);
}

TEST_F(PtxDriver, SharedMemoryHasToBeAllowed) {
  load();
  CUdeviceptr out = allocate(4);
  void *parameters[] = {&out};
  auto launch = [&](unsigned bytes) {
    return cuLaunchKernel(wide, 1, 1, 1, 1, 1, 1, bytes, stream, parameters,
                          nullptr);
  };
  const CUfunction_attribute most =
      CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  int value = 0;
  EXPECT_EQ(cuFuncGetAttribute(&value, most, wide), CUDA_SUCCESS);
  EXPECT_EQ(value, 48 << 10);
  EXPECT_EQ(launch(64 << 10), CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("49152 are allowed")) << nestPtxMessage();
  EXPECT_EQ(cuFuncSetAttribute(wide, most, 164 << 10),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("sm_80 has at most 166912")) << nestPtxMessage();
  ASSERT_EQ(cuFuncSetAttribute(wide, most, 64 << 10), CUDA_SUCCESS);
  EXPECT_EQ(launch(64 << 10), CUDA_SUCCESS) << nestPtxMessage();
  EXPECT_EQ(read(out, 1), std::vector<uint32_t>{7});
}

TEST_F(PtxDriver, LaunchesThatAreRefused) {
  load();
  CUdeviceptr out = allocate(4);
  void *one[] = {&out, nullptr};
  EXPECT_EQ(cuLaunchKernel(add, 1, 1, 1, 32, 1, 1, 0, stream, one, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("add: has 3 parameters, and number 1 is missing"))
      << nestPtxMessage();
  EXPECT_EQ(cuLaunchKernel(wide, 0, 1, 1, 32, 1, 1, 0, stream, one, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuLaunchKernel(wide, 1, 1, 1, 2048, 1, 1, 0, stream, one, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, stream, one, nullptr),
            CUDA_ERROR_INVALID_HANDLE);
  // None of these is a fault: the context lives.
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleUnload(module), CUDA_SUCCESS);
  EXPECT_EQ(cuLaunchKernel(wide, 1, 1, 1, 1, 1, 1, 0, stream, one, nullptr),
            CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(PtxDriver, MemoryThatIsNotThere) {
  CUdeviceptr a = allocate(64);
  char bytes[128] = {};
  EXPECT_EQ(cuMemcpyHtoD_v2(a + 1, bytes, 64), CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("64 bytes 1 bytes into allocation 0 of 64"))
      << nestPtxMessage();
  EXPECT_EQ(cuMemsetD32_v2(a + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFree_v2(a + 8), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFree_v2(a), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFree_v2(a), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyHtoD_v2(a, bytes, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemAlloc_v2(&a, 0), CUDA_ERROR_INVALID_VALUE);
  // Use after free by a kernel.
  load();
  CUdeviceptr in = allocate(128), out = allocate(128);
  ASSERT_EQ(cuMemsetD8_v2(in, 0, 128), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFree_v2(out), CUDA_SUCCESS);
  EXPECT_EQ(launchAdd(out, in, 1), CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(PtxDriver, GraphsRunWhenTheyAreLaunched) {
  load();
  CUdeviceptr a = allocate(4), b = allocate(4);
  uint32_t one = 1;
  ASSERT_EQ(cuMemcpyHtoD_v2(a, &one, 4), CUDA_SUCCESS);
  ASSERT_EQ(
      cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
      CUDA_SUCCESS);
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  EXPECT_EQ(cuStreamIsCapturing(stream, &status), CUDA_SUCCESS);
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_EQ(launchAdd(b, a, 1), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyDtoDAsync_v2(a, b, 4, stream), CUDA_SUCCESS);
  CUgraph graph = nullptr;
  ASSERT_EQ(cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
  CUgraphExec exec = nullptr;
  ASSERT_EQ(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);
  EXPECT_EQ(read(a, 1), std::vector<uint32_t>{1}); // nothing has run
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(cuGraphLaunch(exec, stream), CUDA_SUCCESS) << nestPtxMessage();
  EXPECT_EQ(read(a, 1), std::vector<uint32_t>{4});
  EXPECT_EQ(cuGraphExecDestroy(exec), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphLaunch(exec, stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(PtxDriver, WhatSpoilsACapture) {
  CUgraph graph = nullptr;
  EXPECT_EQ(cuStreamEndCapture(stream, &graph),
            CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  auto begin = [&](CUstreamCaptureMode mode) {
    ASSERT_EQ(cuStreamBeginCapture_v2(stream, mode), CUDA_SUCCESS);
  };
  CUdeviceptr a = allocate(4);
  begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  EXPECT_EQ(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(cuMemsetD8Async(a, 0, 4, stream),
            CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(cuStreamEndCapture(stream, &graph),
            CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(graph, nullptr);
  begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  EXPECT_EQ(cuMemAlloc_v2(&a, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(cuStreamEndCapture(stream, &graph),
            CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  begin(CU_STREAM_CAPTURE_MODE_RELAXED);
  EXPECT_EQ(cuMemAlloc_v2(&a, 4), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
  // Another thread's capture is no matter of this one.
  begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  std::thread([&] {
    EXPECT_EQ(cuCtxSetCurrent(context), CUDA_SUCCESS);
    EXPECT_EQ(cuMemAlloc_v2(&a, 4), CUDA_SUCCESS);
  }).join();
  EXPECT_EQ(cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
}

TEST_F(PtxDriver, ContextsAreOfAThread) {
  std::thread([&] {
    CUdeviceptr a = 0;
    EXPECT_EQ(cuMemAlloc_v2(&a, 4), CUDA_ERROR_INVALID_CONTEXT);
    CUcontext found = context;
    EXPECT_EQ(cuCtxGetCurrent(&found), CUDA_SUCCESS);
    EXPECT_EQ(found, nullptr);
    EXPECT_EQ(cuCtxSetCurrent(context), CUDA_SUCCESS);
    EXPECT_EQ(cuMemAlloc_v2(&a, 4), CUDA_SUCCESS);
  }).join();
  ASSERT_EQ(cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(nullptr), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(0), CUDA_ERROR_INVALID_CONTEXT);
  context = nullptr;
}

TEST_F(PtxDriver, BrokenModules) {
  char log[200] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER,
                            CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  std::string broken = text;
  broken.replace(broken.find("add.u32"), 7, "adx.u32");
  EXPECT_EQ(cuModuleLoadDataEx(&module, broken.c_str(), 2, options, values),
            CUDA_ERROR_INVALID_PTX);
  EXPECT_NE(std::string(log).find("ptx:25: "), std::string::npos) << log;
  EXPECT_NE(std::string(log).find("adx"), std::string::npos) << log;
  EXPECT_EQ(cuModuleLoadData(&module, "no ptx"), CUDA_ERROR_INVALID_PTX);
  EXPECT_EQ(cuModuleLoadData(&module, "\177ELF..."),
            CUDA_ERROR_NO_BINARY_FOR_GPU);
  load();
  EXPECT_EQ(cuModuleGetFunction(&add, module, "sub"), CUDA_ERROR_NOT_FOUND);
}

TEST_F(PtxDriver, Events) {
  CUevent start = nullptr, end = nullptr;
  float time = -1;
  ASSERT_EQ(cuEventCreate(&start, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuEventCreate(&end, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuEventElapsedTime(&time, start, end), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuEventRecord(start, stream), CUDA_SUCCESS);
  EXPECT_EQ(cuEventRecord(end, stream), CUDA_SUCCESS);
  EXPECT_EQ(cuEventSynchronize(end), CUDA_SUCCESS);
  EXPECT_EQ(cuEventElapsedTime(&time, start, end), CUDA_SUCCESS);
  EXPECT_GE(time, 0);
  EXPECT_EQ(cuEventDestroy_v2(start), CUDA_SUCCESS);
  EXPECT_EQ(cuEventDestroy_v2(start), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(PtxDriver, DeviceAndErrors) {
  int value = 0;
  char name[64] = "";
  EXPECT_EQ(cuDeviceGetCount(&value), CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(cuDeviceGet(&value, 1), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_EQ(cuDeviceGetName(name, sizeof name, 0), CUDA_SUCCESS);
  EXPECT_STREQ(name, "nestc PTX emulator");
  load();
  EXPECT_EQ(cuDeviceGetAttribute(
                &value, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 8);
  const char *shown = nullptr;
  EXPECT_EQ(cuGetErrorName(CUDA_ERROR_LAUNCH_FAILED, &shown), CUDA_SUCCESS);
  EXPECT_STREQ(shown, "CUDA_ERROR_LAUNCH_FAILED");
  EXPECT_EQ(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &shown), CUDA_SUCCESS);
  EXPECT_STREQ(shown, "out of memory");
  EXPECT_EQ(cuGetErrorName(static_cast<CUresult>(12345), &shown),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(PtxDriverLate, TheDeviceOfTheEnvironment) {
  environment.set("NEST_PTX_SM", "7.5");
  environment.set("NEST_PTX_MEMORY", "1000");
  start();
  EXPECT_EQ(cuModuleLoadData(&module, text), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_TRUE(says("target sm_80, the device is sm_75")) << nestPtxMessage();
  CUdeviceptr a = allocate(900), b = 0;
  EXPECT_EQ(cuMemAlloc_v2(&b, 101), CUDA_ERROR_OUT_OF_MEMORY);
  size_t free = 0, total = 0;
  EXPECT_EQ(cuMemGetInfo_v2(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(free, 100u);
  EXPECT_EQ(total, 1000u);
  EXPECT_EQ(cuMemFree_v2(a), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc_v2(&b, 1000), CUDA_SUCCESS);
}

TEST_F(PtxDriverLate, TargetsOfAFamily) {
  environment.set("NEST_PTX_SM", "103");
  start();
  auto loads = [&](const char *version, const char *target) {
    std::string other = std::string(".version ") + version + "\n.target " +
                        target + "\n.entry k() { ret; }\n";
    return cuModuleLoadData(&module, other.c_str());
  };
  EXPECT_EQ(loads("8.6", "sm_100"), CUDA_SUCCESS);
  EXPECT_EQ(loads("8.8", "sm_100f"), CUDA_SUCCESS);
  EXPECT_EQ(loads("8.8", "sm_103a"), CUDA_SUCCESS);
  EXPECT_EQ(loads("8.6", "sm_100a"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_TRUE(says("target sm_100a, the device is sm_103")) << nestPtxMessage();
  EXPECT_EQ(loads("8.8", "sm_120f"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_TRUE(says("target sm_120f, the device is sm_103")) << nestPtxMessage();
}

TEST_F(PtxDriverLate, BadEnvironment) {
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
  for (const char *name :
       {"NEST_PTX_SM", "NEST_PTX_SCHEDULE", "NEST_PTX_MEMORY"}) {
    Environment bad;
    bad.set(name, "often");
    EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT_TRUE(says(std::string(name) + ": is 'often'; ")) << nestPtxMessage();
  }
  environment.set("NEST_PTX_PROFILE", "/nonexistent/profile");
  EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_TRUE(says("/nonexistent/profile cannot be written"));
  context = nullptr;
}

TEST_F(PtxDriverLate, ProfileHasALineForEachLaunch) {
  std::string path = testing::TempDir() + "/nest-ptx-profile";
  std::remove(path.c_str());
  environment.set("NEST_PTX_PROFILE", path);
  environment.set("NEST_PTX_SCHEDULE", "reverse");
  start();
  load();
  CUdeviceptr in = allocate(400), out = allocate(400);
  ASSERT_EQ(cuMemsetD8_v2(in, 0, 400), CUDA_SUCCESS);
  ASSERT_EQ(launchAdd(out, in, 100), CUDA_SUCCESS);
  ASSERT_EQ(launchAdd(out, in, 64), CUDA_SUCCESS);
  std::ifstream file(path);
  std::string line;
  std::vector<std::string> lines;
  while (std::getline(file, line))
    lines.push_back(line);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("\"kernel\":\"add\""), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("\"global_bytes\":800"), std::string::npos);
  EXPECT_NE(lines[1].find("\"global_bytes\":512"), std::string::npos);
  std::remove(path.c_str());
}
