//===- CudaExecutor.cpp - packages and calls on a GPU -----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/CudaExecutor.h"
#include "nest/runtime.h"

#include <algorithm>
#include <map>
#include <utility>

using namespace nestc::rt;

/// Calls that are remembered: a prefill of every length takes a place.
static constexpr size_t maxReplays = 32;

static CUdeviceptr toDevice(const void *address) {
  return static_cast<CUdeviceptr>(reinterpret_cast<uintptr_t>(address));
}
static void *fromDevice(CUdeviceptr address) {
  // An address of the device in the type of the ABI. NOLINTNEXTLINE
  return reinterpret_cast<void *>(static_cast<uintptr_t>(address));
}

//===----------------------------------------------------------------------===//
// CudaPackage
//===----------------------------------------------------------------------===//

CudaPackage::Scope::Scope(const CudaPackage &package) : cuda(*package.cuda) {
  // What fails here, fails in the calls that follow as well.
  (void)cuda->cuCtxGetCurrent(&before);
  (void)cuda->cuCtxSetCurrent(package.context);
}

CudaPackage::Scope::~Scope() { (void)cuda->cuCtxSetCurrent(before); }

CudaPackage::~CudaPackage() {
  if (!context)
    return;
  {
    Scope scope(*this);
    for (CUdeviceptr memory : weightMemory)
      (void)driver()->cuMemFree_v2(memory);
    if (module)
      (void)driver()->cuModuleUnload(module);
  }
  (void)driver()->cuDevicePrimaryCtxRelease_v2(device);
}

Expected<std::shared_ptr<CudaPackage>>
CudaPackage::load(std::shared_ptr<const CudaDriver> driver,
                  const Manifest &manifest, const std::string &path,
                  const DeviceCode &code) {
  std::shared_ptr<CudaPackage> package(new CudaPackage(std::move(driver)));
  package->place = path;
  NEST_RT_TRY(package->findDevice(manifest));
  Scope scope(*package);
  NEST_RT_TRY(package->loadModule(manifest, path, code));
  return package;
}

static int attribute(const CudaDriver &cuda, CUdevice device,
                     CUdevice_attribute which) {
  int value = 0;
  (void)cuda->cuDeviceGetAttribute(&value, which, device);
  return value;
}

static int capabilityOf(const CudaDriver &cuda, CUdevice device) {
  return 10 * attribute(cuda, device,
                        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
         attribute(cuda, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

Error CudaPackage::otherTarget(const std::string &target) const {
  int capability = capabilityOf(*cuda, device);
  char name[128] = "the GPU";
  (void)driver()->cuDeviceGetName(name, sizeof name, device);
  return Error(place,
               "is for " + target + ", and " + name + " is sm_" +
                   std::to_string(capability),
               "compile it with --target=sm_" + std::to_string(capability) +
                   ", or emulate the GPU (nestc run --emulate)")
      .withCode(NEST_ERROR_UNSUPPORTED);
}

Status CudaPackage::findDevice(const Manifest &manifest) {
  const CudaDriver &cuda = driver();
  auto noDevice = [&](const std::string &why) {
    return Error(place, "is for a GPU, and there is none: " + why,
                 "a machine with an NVIDIA GPU that CUDA_VISIBLE_DEVICES does "
                 "not hide; or emulate the GPU (nestc run --emulate)")
        .withCode(NEST_ERROR_UNSUPPORTED);
  };
  if (CUresult result = cuda->cuInit(0))
    return noDevice(cuda.text(result));
  int count = 0;
  if (CUresult result = cuda->cuDeviceGetCount(&count))
    return noDevice(cuda.text(result));
  if (!count)
    return noDevice("the driver shows no device");
  NEST_RT_TRY(cuda.check(cuda->cuDeviceGet(&device, 0), place, "the GPU"));
  // An emulated device is what the code is for, unless NEST_PTX_SM says else:
  // it then refuses the code itself.
  std::optional<GpuTarget> target = parseGpuTarget(manifest.target);
  if (!cuda.emulated() && target && !target->runsOn(capabilityOf(cuda, device)))
    return otherTarget(manifest.target);
  CUcontext made = nullptr;
  if (CUresult result = cuda->cuDevicePrimaryCtxRetain(&made, device))
    return Error(place, "the GPU cannot be used: " + cuda.text(result),
                 "a GPU that is not exclusively taken, and has free memory")
        .withCode(NEST_ERROR_UNSUPPORTED);
  context = made;
  return Status::success();
}

Status CudaPackage::loadModule(const Manifest &manifest,
                               const std::string &path,
                               const DeviceCode &code) {
  const CudaDriver &cuda = driver();
  // A cubin runs on its own major version only; PTX is compiled by the driver.
  std::optional<GpuTarget> target = parseGpuTarget(manifest.target);
  int capability = cuda.emulated() ? 0 : capabilityOf(cuda, device);
  bool useCubin = !code.cubin.empty() && target && capability &&
                  capability / 10 == target->capability / 10 &&
                  capability >= target->capability;
  const std::string &image = useCubin ? code.cubin : code.ptx;
  const Manifest::Code &file =
      useCubin ? *manifest.device->cubin : manifest.device->ptx;
  std::string where = joinPath(path, file.file);
  std::vector<char> log(size_t(1) << 14);
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER,
                            CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  // The size is given in the pointer itself. NOLINTNEXTLINE
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  CUresult result =
      cuda->cuModuleLoadDataEx(&module, image.c_str(), 2, options, values);
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU)
    return otherTarget(manifest.target);
  if (result) {
    module = nullptr;
    std::string said = cuda.text(result);
    log.back() = 0;
    if (*log.data() && said.find(log.data()) == std::string::npos)
      said += std::string(": ") + log.data();
    return Error(where, "the driver refuses the code: " + said,
                 result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION
                     ? "a newer driver"
                     : "an unchanged package; compile it again")
        .withCode(result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION
                      ? NEST_ERROR_UNSUPPORTED
                      : NEST_ERROR_PACKAGE);
  }
  for (const std::string &name : manifest.device->kernels) {
    Kernel kernel;
    kernel.name = name;
    int allowed = 0;
    if (CUresult found =
            cuda->cuModuleGetFunction(&kernel.function, module, name.c_str()))
      return Error(where, "has no kernel " + name + ": " + cuda.text(found),
                   "the kernels of the manifest; compile the package again")
          .withCode(NEST_ERROR_PACKAGE);
    NEST_RT_TRY(cuda.check(cuda->cuFuncGetAttribute(
                               &allowed,
                               CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                               kernel.function),
                           where, name));
    kernel.allowed = allowed;
    kernels.push_back(std::move(kernel));
  }
  return Status::success();
}

CUresult CudaPackage::allowShared(size_t index, int64_t bytes) {
  std::lock_guard<std::mutex> guard(lock);
  Kernel &kernel = kernels[index];
  if (bytes <= kernel.allowed)
    return CUDA_SUCCESS;
  CUresult result = driver()->cuFuncSetAttribute(
      kernel.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
      static_cast<int>(bytes));
  if (!result)
    kernel.allowed = bytes;
  return result;
}

Expected<CUdeviceptr> CudaPackage::allocate(uint64_t bytes,
                                            const std::string &what) const {
  CUdeviceptr address = 0;
  // Never empty: a buffer of no elements still has an address.
  CUresult result =
      driver()->cuMemAlloc_v2(&address, std::max<uint64_t>(bytes, 1));
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t free = 0, total = 0;
    (void)driver()->cuMemGetInfo_v2(&free, &total);
    return Error(what,
                 "needs " + bytesText(bytes) + " of the GPU's memory, but " +
                     bytesText(free) + " of " + bytesText(total) + " are free",
                 "a shorter --max-length, a shorter prompt, a smaller batch or "
                 "a larger GPU")
        .withCode(NEST_ERROR_MEMORY);
  }
  NEST_RT_TRY(driver().check(result, what, "memory of the GPU"));
  return address;
}

Expected<const std::vector<void *> *>
CudaPackage::weights(const Package &package) {
  std::lock_guard<std::mutex> guard(lock);
  const std::vector<Manifest::Weight> &all = package.manifest().weights;
  if (weightAddresses.size() == all.size())
    return &weightAddresses;
  // Weights may be one range of a file, under several names; those of a narrow
  // submodel are the beginning of a wide one's.
  struct Range {
    uint64_t bytes = 0;
    CUdeviceptr memory = 0;
  };
  std::map<std::pair<int64_t, int64_t>, Range> ranges;
  for (const Manifest::Weight &weight : all) {
    Range &range = ranges[{weight.file, weight.offset}];
    range.bytes = std::max(range.bytes, weight.extent());
  }
  std::vector<void *> addresses;
  Status status;
  for (size_t i = 0; i < all.size() && status.ok(); ++i) {
    const Manifest::Weight &weight = all[i];
    Range &range = ranges[{weight.file, weight.offset}];
    if (!range.memory) {
      std::string what = place + ": the weight " + weight.name;
      Expected<CUdeviceptr> memory = allocate(range.bytes, what);
      if (!memory) {
        status = memory.takeError();
        break;
      }
      range.memory = *memory;
      weightMemory.push_back(*memory);
      status = driver().check(
          driver()->cuMemcpyHtoD_v2(*memory, package.weight(i), range.bytes),
          what, "cannot be copied to the GPU");
    }
    addresses.push_back(fromDevice(range.memory));
  }
  // A copy from pageable memory may return before it has arrived, and streams
  // of sessions do not wait for the one that it is in.
  if (status.ok())
    status = driver().check(driver()->cuStreamSynchronize(nullptr), place,
                            "copying weights to the GPU");
  if (status.failed()) {
    for (CUdeviceptr memory : weightMemory)
      (void)driver()->cuMemFree_v2(memory);
    weightMemory.clear();
    return status.takeError();
  }
  weightAddresses = std::move(addresses);
  return &weightAddresses;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

CudaExecutor::CudaExecutor(const Package &package)
    : package(package), device(package.device()),
      staging(package.manifest().entries.size()), place(package.path()) {}

Expected<std::unique_ptr<Executor>>
CudaExecutor::create(const Package &package) {
  std::unique_ptr<CudaExecutor> executor(new CudaExecutor(package));
  CudaPackage::Scope scope(*executor->device);
  // What a session needs longest comes first, before its caches.
  if (auto weights = executor->device->weights(package); !weights)
    return weights.takeError();
  NEST_RT_TRY(executor->check(executor->device->driver()->cuStreamCreate(
                                  &executor->stream, CU_STREAM_NON_BLOCKING),
                              "a stream"));
  return std::unique_ptr<Executor>(std::move(executor));
}

CudaExecutor::~CudaExecutor() {
  CudaPackage::Scope scope(*device);
  const CudaDriver &cuda = device->driver();
  if (stream)
    (void)cuda->cuStreamSynchronize(stream);
  for (Replay &replay : replays)
    if (replay.graph)
      (void)cuda->cuGraphExecDestroy(replay.graph);
  if (stream)
    (void)cuda->cuStreamDestroy_v2(stream);
}

Status CudaExecutor::check(CUresult result, const char *what) const {
  return device->driver().check(result, place, what);
}

Status CudaExecutor::checkRoom(uint64_t, const std::string &) {
  return Status::success(); // allocate() knows
}

Expected<Resident> CudaExecutor::allocateRaw(uint64_t bytes,
                                             const std::string &what) {
  NEST_RT_ASSIGN(CUdeviceptr address, device->allocate(bytes, what));
  return Resident(fromDevice(address), [owner = device](void *memory) {
    CudaPackage::Scope scope(*owner);
    (void)owner->driver()->cuMemFree_v2(toDevice(memory));
  });
}

Expected<Resident> CudaExecutor::allocate(uint64_t bytes,
                                          const std::string &what) {
  CudaPackage::Scope scope(*device);
  NEST_RT_ASSIGN(Resident memory, allocateRaw(bytes, what));
  NEST_RT_TRY(zero(memory.get(), bytes));
  return memory;
}

Status CudaExecutor::zero(void *to, uint64_t bytes) {
  CudaPackage::Scope scope(*device);
  return check(
      device->driver()->cuMemsetD8Async(toDevice(to), 0, bytes, stream),
      "clearing memory of the GPU");
}

Status CudaExecutor::upload(void *to, const void *from, uint64_t bytes) {
  CudaPackage::Scope scope(*device);
  return check(
      device->driver()->cuMemcpyHtoDAsync_v2(toDevice(to), from, bytes, stream),
      "copying to the GPU");
}

Status CudaExecutor::download(void *to, const void *from, uint64_t bytes) {
  CudaPackage::Scope scope(*device);
  NEST_RT_TRY(check(
      device->driver()->cuMemcpyDtoHAsync_v2(to, toDevice(from), bytes, stream),
      "copying from the GPU"));
  return check(device->driver()->cuStreamSynchronize(stream),
               "copying from the GPU");
}

Status CudaExecutor::copy(void *to, const void *from, uint64_t bytes) {
  CudaPackage::Scope scope(*device);
  return check(device->driver()->cuMemcpyDtoDAsync_v2(
                   toDevice(to), toDevice(from), bytes, stream),
               "copying on the GPU");
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

int32_t CudaExecutor::launchFailed(std::string message, std::string legal,
                                   int32_t result) {
  if (!launchError)
    launchError = Error(place, std::move(message), std::move(legal))
                      .withCode(NEST_ERROR_INTERNAL);
  return result;
}

int32_t CudaExecutor::launch(void *runtime, int64_t kernel,
                             const int64_t *geometry, const int64_t *arguments,
                             int64_t count) {
  auto &self = *static_cast<CudaExecutor *>(runtime);
  CudaPackage &device = *self.device;
  const CudaDriver &cuda = device.driver();
  if (kernel < 0 || static_cast<size_t>(kernel) >= device.kernelCount())
    return self.launchFailed(
        "the code launches kernel " + std::to_string(kernel),
        "the " + std::to_string(device.kernelCount()) + " kernels it has");
  auto index = static_cast<size_t>(kernel);
  const std::string &name = device.kernelName(index);
  unsigned extents[5];
  bool empty = false;
  for (int i = 0; i < 5; ++i) {
    if (geometry[i] < 0 || geometry[i] > INT32_MAX)
      return self.launchFailed("the kernel " + name + " is launched with " +
                                   std::to_string(geometry[i]),
                               "a grid of fewer than 2^31 blocks");
    extents[i] = static_cast<unsigned>(geometry[i]);
    empty |= i < 3 && geometry[i] == 0;
  }
  if (empty)
    return 0;
  if (CUresult result = device.allowShared(index, geometry[4]))
    return self.launchFailed(
        "the kernel " + name + " needs " + std::to_string(geometry[4]) +
            " bytes of shared memory: " + cuda.text(result),
        {}, result);
  // The driver knows how many there have to be, and we do not: a null at the
  // end keeps it from reading on when they are too few.
  std::vector<void *> parameters;
  parameters.reserve(static_cast<size_t>(std::max<int64_t>(count, 0)) + 1);
  for (int64_t i = 0; i < count; ++i)
    parameters.push_back(const_cast<int64_t *>(arguments + i));
  parameters.push_back(nullptr);
  CUresult result = cuda->cuLaunchKernel(
      device.kernel(index), extents[0], extents[1], extents[2], extents[3], 1,
      1, extents[4], self.stream, parameters.data(), nullptr);
  if (result)
    return self.launchFailed("the kernel " + name + ": " + cuda.text(result),
                             {}, result);
  return 0;
}

Status CudaExecutor::runCode(size_t index, const std::vector<int64_t> &dims) {
  nest_call call = {};
  call.buffers = buffers.data();
  call.dims = dims.data();
  call.arena = arena.memory.get();
  call.runtime = this;
  call.launch = &CudaExecutor::launch;
  launchError.reset();
  int32_t result = package.function(index)(&call);
  if (launchError)
    return std::move(*launchError);
  if (result != 0)
    return codeFailed(place, result);
  return Status::success();
}

Status CudaExecutor::capture(size_t index, const std::vector<int64_t> &dims,
                             CUgraphExec &graph) {
  const CudaDriver &cuda = device->driver();
  // Other threads may do with their sessions what they want.
  NEST_RT_TRY(check(cuda->cuStreamBeginCapture_v2(
                        stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                    "recording the call"));
  Status status = runCode(index, dims);
  CUgraph recorded = nullptr;
  Status ended =
      check(cuda->cuStreamEndCapture(stream, &recorded), "recording the call");
  if (status.ok())
    status = std::move(ended);
  if (status.ok())
    status = check(cuda->cuGraphInstantiateWithFlags(&graph, recorded, 0),
                   "recording the call");
  if (recorded)
    (void)cuda->cuGraphDestroy(recorded);
  return status;
}

Status CudaExecutor::runOrReplay(size_t index,
                                 const std::vector<int64_t> &dims) {
  std::vector<uint64_t> key = {index, toDevice(arena.memory.get())};
  for (int64_t dim : dims)
    key.push_back(static_cast<uint64_t>(dim));
  for (const void *buffer : buffers)
    key.push_back(toDevice(buffer));
  auto known = std::find_if(replays.begin(), replays.end(),
                            [&](const Replay &r) { return r.key == key; });
  if (known == replays.end()) {
    NEST_RT_TRY(runCode(index, dims));
    if (replays.size() == maxReplays) {
      auto oldest = std::min_element(replays.begin(), replays.end(),
                                     [](const Replay &a, const Replay &b) {
                                       return a.lastUse < b.lastUse;
                                     });
      if (oldest->graph)
        (void)device->driver()->cuGraphExecDestroy(oldest->graph);
      replays.erase(oldest);
    }
    replays.push_back({std::move(key), nullptr, ++calls});
    return Status::success();
  }
  known->lastUse = ++calls;
  if (!known->graph)
    NEST_RT_TRY(capture(index, dims, known->graph));
  return check(device->driver()->cuGraphLaunch(known->graph, stream),
               "the kernels of the call");
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

Status CudaExecutor::stage(size_t index, size_t first,
                           const std::vector<Argument> &all, bool bring) {
  std::vector<Staging> &places = staging[index];
  if (places.size() < first + all.size())
    places.resize(first + all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const Argument &argument = all[i];
    if (argument.resident) {
      buffers.push_back(argument.data);
      continue;
    }
    Staging &slot = places[first + i];
    // Emulated, a buffer has just its bytes: what reads behind it is found out.
    if (!slot.memory || argument.bytes > slot.bytes ||
        (argument.bytes != slot.bytes && device->driver().emulated())) {
      slot = {};
      NEST_RT_ASSIGN(slot.memory, allocateRaw(argument.bytes, place));
      slot.bytes = argument.bytes;
    }
    if (bring)
      NEST_RT_TRY(upload(slot.memory.get(), argument.data, argument.bytes));
    buffers.push_back(slot.memory.get());
  }
  return Status::success();
}

Status CudaExecutor::call(size_t index, const std::vector<Argument> &inputs,
                          const std::vector<Argument> &outputs,
                          const std::vector<int64_t> &dims) {
  const Manifest::Entry &entry = package.manifest().entries[index];
  place = package.path() + ": " + entry.name;
  CudaPackage::Scope scope(*device);
  const CudaDriver &cuda = device->driver();

  std::optional<uint64_t> arenaBytes = entry.arenaBytes(dims);
  if (!arenaBytes)
    return arenaTooLarge(place);
  if (!arena.memory || *arenaBytes > arena.bytes) {
    // The old one goes first, nothing in it is kept.
    arena = {};
    NEST_RT_ASSIGN(arena.memory, allocateRaw(*arenaBytes, place));
    if (entry.arena.tickets)
      NEST_RT_TRY(
          zero(arena.memory.get(), static_cast<uint64_t>(entry.arena.tickets)));
    arena.bytes = *arenaBytes;
  }
  NEST_RT_ASSIGN(const std::vector<void *> *weights, device->weights(package));
  buffers.clear();
  NEST_RT_TRY(stage(index, 0, inputs, true));
  NEST_RT_TRY(stage(index, inputs.size(), outputs, false));
  for (int64_t weight : entry.weights)
    buffers.push_back((*weights)[static_cast<size_t>(weight)]);

  NEST_RT_TRY(runOrReplay(index, dims));
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!outputs[i].resident && outputs[i].data)
      NEST_RT_TRY(
          check(cuda->cuMemcpyDtoHAsync_v2(outputs[i].data,
                                           toDevice(buffers[inputs.size() + i]),
                                           outputs[i].bytes, stream),
                "copying from the GPU"));
  // Kernels run while the host goes on: here is where their faults show.
  CUresult result = cuda->cuStreamSynchronize(stream);
  if (result)
    return Error(place, "a kernel failed: " + cuda.text(result),
                 "the emulator says where (nestc run --emulate)")
        .withCode(NEST_ERROR_INTERNAL);
  return Status::success();
}
