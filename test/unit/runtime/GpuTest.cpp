//===- GpuTest.cpp - packages on an emulated GPU ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The driver is libnest-ptx, which is as strict as a GPU about handles,
// contexts and captures, and stricter about memory. Between it and the runtime
// stands a table that writes down the calls, and lets them fail.
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "lowering/runtime/CudaDriver.h"
#include "lowering/runtime/CudaExecutor.h"
#include "lowering/runtime/Package.h"
#include "lowering/runtime/Session.h"
#include "lowering/runtime/Sha256.h"
#include "nest/runtime.h"

#include <algorithm>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <thread>

using namespace nestc::rt;

static constexpr int64_t V = 16;

//===----------------------------------------------------------------------===//
// A driver that writes down its calls
//===----------------------------------------------------------------------===//

namespace {
struct Recording {
  CudaFunctions real;
  std::mutex lock;
  std::vector<std::string> calls;
  /// Results instead of a call, by name.
  std::map<std::string, CUresult> failures;

  bool begin(const std::string &name, CUresult &result) {
    std::lock_guard<std::mutex> guard(lock);
    calls.push_back(name);
    auto it = failures.find(name);
    if (it == failures.end())
      return true;
    result = it->second;
    return false;
  }
  size_t count(const std::string &name) const {
    return static_cast<size_t>(std::count(calls.begin(), calls.end(), name));
  }
  size_t first(const std::string &name) const {
    return static_cast<size_t>(std::find(calls.begin(), calls.end(), name) -
                               calls.begin());
  }
};

Recording *recording = nullptr;

/// What stands in the table for a function of the driver.
template <typename Tag, typename Function>
struct Recorded;
template <typename Tag, typename... Args>
struct Recorded<Tag, CUresult (*)(Args...)> {
  static CUresult call(Args... args) {
    CUresult result = CUDA_SUCCESS;
    if (!recording->begin(Tag::name(), result))
      return result;
    return Tag::function(recording->real)(args...);
  }
};
#define NEST_TEST_TAG(symbol)                                                  \
  struct Tag##symbol {                                                         \
    static const char *name() { return #symbol; }                              \
    static auto function(const CudaFunctions &table) { return table.symbol; }  \
  };
NEST_CUDA_FUNCTIONS(NEST_TEST_TAG)
#undef NEST_TEST_TAG

/// A package of FakeGpu.c for the recording driver.
class GpuTest : public testing::Test {
protected:
  void SetUp() override {
    Expected<std::shared_ptr<const CudaDriver>> opened = CudaDriver::open(true);
    ASSERT_OK(opened);
    record.real = *(*opened).get()->operator->();
    recording = &record;
    table = record.real;
#define NEST_TEST_WRAP(symbol)                                                 \
  table.symbol = &Recorded<Tag##symbol, decltype(&::symbol)>::call;
    NEST_CUDA_FUNCTIONS(NEST_TEST_WRAP)
#undef NEST_TEST_WRAP
    options.emulate = true;
  }
  void TearDown() override {
    package.reset();
    for (const char *name : {"NEST_PTX_SM", "NEST_PTX_MEMORY"})
      ::unsetenv(name);
    recording = nullptr;
  }

  /// Writes a package; `change` edits its manifest, `ptx` its device code.
  void write(const std::string &path,
             const std::function<void(Manifest &)> &change = {},
             const std::function<void(std::string &)> &changePtx = {}) {
    std::string code = *readFile(NEST_FAKE_GPU), ptx = *readFile(ptxPath);
    if (changePtx)
      changePtx(ptx);
    makeFakePackage(path, [&](Manifest &m) {
      m.target = "sm_80";
      m.abi = 2;
      m.code.sha256 = sha256(code);
      m.device.emplace();
      m.device->ptx = {"code.ptx", sha256(ptx)};
      m.device->kernels = {"count", "append", "logits", "wide", "fault"};
      for (const char *name : {"unknown", "few", "huge", "fault"}) {
        m.entries.push_back(*m.findEntry("fail"));
        m.entries.back().name = name;
        m.entries.back().symbol = std::string("nest_entry_") + name;
      }
      for (Manifest::Entry &entry : m.entries) {
        entry.scratch = 0;
        entry.inputs.push_back(
            {"layers.0.length", DType::I32, {ManifestDim::dynamic(0)}, true});
      }
      if (change)
        change(m);
    });
    EXPECT_OK(writeFile(joinPath(path, "code.so"), code));
    EXPECT_OK(writeFile(joinPath(path, "code.ptx"), ptx));
  }
  Expected<std::unique_ptr<Package>> load(const std::string &path) {
    options.driver = std::make_shared<const CudaDriver>(table);
    return Package::load(path, options);
  }
  void make() {
    write(dir / "pkg");
    Expected<std::unique_ptr<Package>> loaded = load(dir / "pkg");
    ASSERT_OK(loaded);
    package = std::move(*loaded);
  }
  std::unique_ptr<Session> session(int64_t batch = 1) {
    Expected<std::unique_ptr<Session>> created =
        Session::create(*package, batch, 0, 1);
    EXPECT_FALSE(created.failed()) << created.error().str();
    return created ? std::move(*created) : nullptr;
  }
  /// Runs an entry on tokens; what follows the last row of sequence 0.
  int32_t run(Session &session, const char *entry,
              const std::vector<int32_t> &tokens) {
    std::vector<float> logits(static_cast<size_t>(session.batch() * V));
    EXPECT_OK(session.run(entry, false, tokens.data(),
                          static_cast<int64_t>(tokens.size()) / session.batch(),
                          logits.data()));
    return argmax(logits.data(), V);
  }
  /// `calls` that a body makes.
  template <typename Body>
  std::vector<std::string> callsOf(Body body) {
    record.calls.clear();
    body();
    return record.calls;
  }

  const std::string ptxPath = NEST_SOURCE_DIR "/test/unit/runtime/FakeGpu.ptx";
  ScratchDirectory dir;
  Recording record;
  CudaFunctions table;
  PackageOptions options;
  std::unique_ptr<Package> package;
};
} // namespace

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

TEST_F(GpuTest, SessionsComputeWhatTheCpuDoes) {
  make();
  std::unique_ptr<Session> s = session();
  EXPECT_EQ(run(*s, "prefill", {3, 4}), 8); // 3 + 4 + 1
  int32_t sum = 8;
  for (int32_t token : {8, 1, 2, 5}) {
    sum += token;
    EXPECT_EQ(run(*s, "decode", {token}), sum % V);
  }
  s->reset();
  EXPECT_EQ(run(*s, "prefill", {1, 1, 1}), 4);
  // All rows, of two sequences.
  std::unique_ptr<Session> two = session(2);
  std::vector<float> logits(2 * 3 * V);
  ASSERT_OK(two->run("verify", true,
                     std::vector<int32_t>{1, 2, 3, 4, 5, 6}.data(), 3,
                     logits.data()));
  std::vector<int32_t> next;
  for (int i = 0; i < 6; ++i)
    next.push_back(argmax(logits.data() + i * V, V));
  EXPECT_EQ(next, (std::vector<int32_t>{2, 4, 7, 5, 10, 0}));
}

TEST_F(GpuTest, OrderOfCalls) {
  make();
  EXPECT_EQ(record.first("cuInit"), 0u);
  std::vector<std::string> calls =
      callsOf([&] { (void)run(*session(), "prefill", {3, 4, 5}); });
  // Each weight once, before a kernel.
  EXPECT_EQ(record.count("cuMemcpyHtoD_v2"), 2u);
  EXPECT_LT(record.first("cuMemcpyHtoD_v2"), record.first("cuLaunchKernel"));
  // A context before anything in it.
  EXPECT_EQ(calls[0], "cuCtxGetCurrent");
  EXPECT_EQ(calls[1], "cuCtxSetCurrent");
  // Above 48 KiB once, before that launch; the empty grid is none.
  EXPECT_EQ(record.count("cuFuncSetAttribute"), 1u);
  EXPECT_EQ(record.count("cuLaunchKernel"), 4u);
  // One copy to the host, behind all kernels, and one wait for it.
  EXPECT_EQ(record.count("cuMemcpyDtoHAsync_v2"), 1u);
  auto launches = std::find(calls.rbegin(), calls.rend(), "cuLaunchKernel");
  auto copies = std::find(calls.rbegin(), calls.rend(), "cuMemcpyDtoHAsync_v2");
  EXPECT_LT(copies - calls.rbegin(), launches - calls.rbegin());
  // What was taken is given back: streams, memory, graphs.
  EXPECT_EQ(record.count("cuStreamCreate"), record.count("cuStreamDestroy_v2"));
  callsOf([&] { package.reset(); });
  EXPECT_EQ(record.count("cuMemFree_v2"), 2u); // the weights
  EXPECT_EQ(record.count("cuModuleUnload"), 1u);
  EXPECT_EQ(record.calls.back(), "cuDevicePrimaryCtxRelease_v2");
}

TEST_F(GpuTest, MemoryIsGivenBack) {
  make();
  record.calls.clear();
  {
    std::unique_ptr<Session> a = session(), b = session(2);
    (void)run(*a, "prefill", {1, 2});
    (void)run(*a, "decode", {1});
    (void)run(*b, "prefill", {1, 2, 3, 4});
  }
  // All but the weights, which belong to the package.
  EXPECT_EQ(record.count("cuMemAlloc_v2"), record.count("cuMemFree_v2") + 2);
  package.reset();
  EXPECT_EQ(record.count("cuMemAlloc_v2"), record.count("cuMemFree_v2"));
}

TEST_F(GpuTest, WeightsAreSharedBySessions) {
  make();
  record.calls.clear();
  std::unique_ptr<Session> a = session(), b = session();
  EXPECT_EQ(run(*a, "prefill", {1}), 2);
  EXPECT_EQ(run(*b, "prefill", {2}), 3);
  EXPECT_EQ(record.count("cuMemcpyHtoD_v2"), 2u);
}

TEST_F(GpuTest, DecodesAreGraphs) {
  make();
  std::unique_ptr<Session> s = session();
  EXPECT_EQ(run(*s, "prefill", {1, 2}), 4);
  // The first is run, the second recorded, the rest are one launch each.
  callsOf([&] { EXPECT_EQ(run(*s, "decode", {4}), 8); });
  EXPECT_EQ(record.count("cuLaunchKernel"), 4u);
  EXPECT_EQ(record.count("cuGraphLaunch"), 0u);
  callsOf([&] { EXPECT_EQ(run(*s, "decode", {8}), 0); });
  EXPECT_EQ(record.count("cuStreamBeginCapture_v2"), 1u);
  EXPECT_EQ(record.count("cuLaunchKernel"), 4u);
  EXPECT_EQ(record.count("cuGraphInstantiateWithFlags"), 1u);
  EXPECT_EQ(record.count("cuGraphDestroy"), 1u);
  EXPECT_EQ(record.count("cuGraphLaunch"), 1u);
  int32_t sum = 16;
  for (int32_t token : {0, 3, 9}) {
    sum += token;
    std::vector<std::string> calls =
        callsOf([&] { EXPECT_EQ(run(*s, "decode", {token}), sum % V); });
    calls.erase(std::remove_if(calls.begin(), calls.end(),
                               [](const std::string &name) {
                                 return name.compare(0, 5, "cuCtx") == 0;
                               }),
                calls.end());
    // Counters are kept for a failure; tokens, positions and lengths brought.
    EXPECT_EQ(calls, (std::vector<std::string>{
                         "cuMemcpyDtoDAsync_v2", "cuMemcpyHtoDAsync_v2",
                         "cuMemcpyHtoDAsync_v2", "cuMemcpyHtoDAsync_v2",
                         "cuGraphLaunch", "cuMemcpyDtoHAsync_v2",
                         "cuStreamSynchronize"}));
  }
  // A prefill that makes the arena grow moves it: that is another call.
  s->reset();
  EXPECT_EQ(run(*s, "prefill", std::vector<int32_t>(20, 1)), 21 % V);
  callsOf([&] { EXPECT_EQ(run(*s, "decode", {1}), 22 % V); });
  EXPECT_EQ(record.count("cuGraphLaunch"), 0u);
  EXPECT_EQ(record.count("cuLaunchKernel"), 4u);
  callsOf([&] { s.reset(); });
  EXPECT_EQ(record.count("cuGraphExecDestroy"), 1u);
}

TEST_F(GpuTest, TicketsAreClearedWithTheArena) {
  write(dir / "pkg", [](Manifest &m) {
    for (Manifest::Entry &entry : m.entries)
      entry.arena.tickets = 128;
  });
  Expected<std::unique_ptr<Package>> loaded = load(dir / "pkg");
  ASSERT_OK(loaded);
  package = std::move(*loaded);
  std::unique_ptr<Session> s = session();
  callsOf([&] { EXPECT_EQ(run(*s, "prefill", {1, 2}), 4); });
  EXPECT_EQ(record.count("cuMemsetD8Async"), 1u);
  EXPECT_LT(record.first("cuMemsetD8Async"), record.first("cuLaunchKernel"));
  // Kernels leave them as they were, whatever entry comes next.
  callsOf([&] {
    for (int32_t token : {4, 8, 0, 0})
      (void)run(*s, "decode", {token});
  });
  EXPECT_EQ(record.count("cuMemsetD8Async"), 0u);
  // Another arena.
  s->reset();
  callsOf([&] {
    EXPECT_EQ(run(*s, "prefill", std::vector<int32_t>(20, 1)), 21 % V);
  });
  EXPECT_EQ(record.count("cuMemsetD8Async"), 1u);
}

TEST_F(GpuTest, GraphsOfManyLengthsAreForgotten) {
  make();
  std::unique_ptr<Session> s = session();
  record.calls.clear();
  auto both = [&](int32_t length) {
    for (int i = 0; i < 2; ++i) {
      s->reset();
      EXPECT_EQ(run(*s, "prefill",
                    std::vector<int32_t>(static_cast<size_t>(length), 1)),
                (length + 1) % V);
    }
  };
  // From the longest: the arena stays, so that only the sizes differ. Buffers
  // that are moved (emulated ones are, with their sizes) are other calls.
  for (int32_t length = 32; length > 0; --length)
    both(length);
  for (int32_t length = 32; length > 0; --length)
    both(length);
  size_t made = record.count("cuGraphInstantiateWithFlags");
  EXPECT_GE(made, 33u);
  EXPECT_LE(made - record.count("cuGraphExecDestroy"), 32u);
  s.reset();
  EXPECT_EQ(made, record.count("cuGraphExecDestroy"));
}

TEST_F(GpuTest, SessionsOfSeveralThreads) {
  make();
  std::vector<std::thread> threads;
  for (int32_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      std::unique_ptr<Session> s = session();
      int32_t sum = i + 2;
      EXPECT_EQ(run(*s, "prefill", {i, 1}), sum);
      for (int32_t step = 0; step < 6; ++step) {
        sum += step;
        EXPECT_EQ(run(*s, "decode", {step}), sum % V);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(record.count("cuMemcpyHtoD_v2"), 2u);
}

TEST_F(GpuTest, EntriesWithoutASession) {
  make();
  std::vector<int32_t> tokens = {5, 6}, positions = {2, 3}, lengths = {2},
                       counter = {2};
  std::vector<float> cache(2 * 32 * 4, 0);
  cache[(1 * 32 + 0) * 4 + 3] = 1; // two rows that are there already
  cache[(1 * 32 + 1) * 4 + 3] = 2;
  std::vector<NamedBuffer> inputs = {
      {"tokens", DType::I32, {1, 2}, tokens.data()},
      {"positions", DType::I32, {1, 2}, positions.data()},
      {"lengths", DType::I32, {1}, lengths.data()},
      {"layers.0.k", DType::F32, {1, 2, 32, 4}, cache.data()},
      {"layers.0.length", DType::I32, {1}, counter.data()}};
  std::vector<std::vector<char>> results(3);
  ASSERT_OK(
      callEntry(*package, "prefill", 1, inputs,
                {"layers.0.k", "logits", "layers.0.length"},
                [&](size_t i, DType dtype,
                    const std::vector<int64_t> &shape) -> Expected<void *> {
                  results[i].resize(*byteCount(dtype, shape));
                  return results[i].data();
                }));
  const auto *after = reinterpret_cast<const float *>(results[0].data());
  EXPECT_EQ(after[(1 * 32 + 1) * 4 + 3], 2);
  EXPECT_EQ(after[(1 * 32 + 3) * 4 + 3], 6);
  EXPECT_EQ(argmax(reinterpret_cast<const float *>(results[1].data()), V), 15);
  EXPECT_EQ(*reinterpret_cast<const int32_t *>(results[2].data()), 4);
  // A cache that is not given is all zero.
  inputs.erase(inputs.begin() + 3);
  ASSERT_OK(
      callEntry(*package, "prefill", 1, inputs, {"layers.0.k"},
                [&](size_t i, DType dtype,
                    const std::vector<int64_t> &shape) -> Expected<void *> {
                  results[i].resize(*byteCount(dtype, shape));
                  return results[i].data();
                }));
  after = reinterpret_cast<const float *>(results[0].data());
  EXPECT_EQ(after[(1 * 32 + 1) * 4 + 3], 0);
  EXPECT_EQ(after[(1 * 32 + 2) * 4 + 3], 5);
  EXPECT_EQ(after[(1 * 32 + 31) * 4 + 3], 0);
  // What was given is as it was.
  EXPECT_EQ(cache[(1 * 32 + 3) * 4 + 3], 0);
  EXPECT_EQ(counter[0], 2);
}

//===----------------------------------------------------------------------===//
// Calls that fail
//===----------------------------------------------------------------------===//

TEST_F(GpuTest, FailuresLeaveTheSessionAsItWas) {
  make();
  std::unique_ptr<Session> s = session();
  EXPECT_EQ(run(*s, "prefill", {1, 2}), 4);
  int32_t token = 4, sum = 4;
  float logits[V];
  auto expectFailure = [&](const char *entry, const std::string &text) {
    Status status = s->run(entry, false, &token, 1, logits);
    expectError(status, text);
    EXPECT_EQ(status.error().code, NEST_ERROR_INTERNAL);
    EXPECT_EQ(s->length(0), sum == 4 ? 2 : s->length(0));
    // The counter was counted up by the kernel before; a wrong one would show.
    sum += 1;
    EXPECT_EQ(run(*s, "decode", {1}), sum % V) << entry;
  };
  expectFailure("fail", "fail: the code failed with 7");
  expectFailure("unknown",
                "unknown: the code launches kernel 99; the 5 kernels");
  expectFailure("few", "the kernel wide: CUDA_ERROR_INVALID_VALUE (invalid "
                       "argument): wide: has 2 parameters, and number 1 is "
                       "missing");
  expectFailure("huge", "the kernel wide needs 1048576 bytes of shared memory");
  // While it is recorded, too: nothing of it has run then.
  record.failures["cuGraphInstantiateWithFlags"] = CUDA_ERROR_OUT_OF_MEMORY;
  std::unique_ptr<Session> other = session();
  EXPECT_EQ(run(*other, "prefill", {1, 2}), 4);
  EXPECT_EQ(run(*other, "decode", {1}), 5);
  expectError(other->run("decode", false, &token, 1, logits),
              "decode: recording the call: CUDA_ERROR_OUT_OF_MEMORY");
  record.failures.clear();
  EXPECT_EQ(run(*other, "decode", {1}), 6);
  EXPECT_EQ(run(*other, "decode", {1}), 7);
}

TEST_F(GpuTest, FaultsNameTheKernelAndTheLine) {
  make();
  std::unique_ptr<Session> s = session();
  EXPECT_EQ(run(*s, "prefill", {1, 2}), 4);
  int32_t token = 4;
  float logits[V];
  Status status = s->run("fault", false, &token, 1, logits);
  expectError(status, "fault: the kernel fault: CUDA_ERROR_LAUNCH_FAILED "
                      "(unspecified launch failure): fault:");
  expectError(status, "block (0,0,0) thread (0,0,0): ");
  EXPECT_EQ(status.error().code, NEST_ERROR_INTERNAL);
  // As on a GPU, all that follows fails, and says why; another load is new.
  expectError(s->run("decode", false, &token, 1, logits), "thread (0,0,0)");
  s.reset();
  package.reset();
  Expected<std::unique_ptr<Package>> again = load(dir / "pkg");
  ASSERT_OK(again);
  package = std::move(*again);
  EXPECT_EQ(run(*session(), "prefill", {1, 2}), 4);
}

TEST_F(GpuTest, FaultsThatShowLater) {
  // On a GPU a launch returns before its kernel has run.
  make();
  std::unique_ptr<Session> s = session();
  record.failures["cuStreamSynchronize"] = CUDA_ERROR_LAUNCH_FAILED;
  int32_t token = 4;
  expectError(s->run("prefill", false, &token, 1, nullptr),
              "prefill: a kernel failed: CUDA_ERROR_LAUNCH_FAILED");
  record.failures.clear();
}

TEST_F(GpuTest, OutOfMemory) {
  ::setenv("NEST_PTX_MEMORY", "1000", 1);
  make();
  // Weights of 64 and 124 bytes, counters of 256 each.
  Expected<std::unique_ptr<Session>> s = Session::create(*package, 1, 0, 1);
  expectError(s, "layers.0.k: needs 1.0 KiB of the GPU's memory, but 300 bytes "
                 "of 1000 bytes are free");
  EXPECT_EQ(s.error().code, NEST_ERROR_MEMORY);
  package.reset();
  ::setenv("NEST_PTX_MEMORY", "100", 1);
  Expected<std::unique_ptr<Package>> small = load(dir / "pkg");
  ASSERT_OK(small);
  expectError(Session::create(**small, 1, 0, 1),
              "the weight table: needs 124 bytes of the GPU's memory, but 36 "
              "bytes of 100 bytes are free");
  // What had been brought is given back.
  EXPECT_EQ(record.count("cuMemAlloc_v2") - 1 /* refused */ -
                record.count("cuMemFree_v2"),
            1u /* refused above */);
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

TEST_F(GpuTest, DevicesThatDoNotFit) {
  write(dir / "pkg");
  const std::string both = "is for sm_80, and nestc PTX emulator is sm_75; "
                           "compile it with --target=sm_75";
  ::setenv("NEST_PTX_SM", "75", 1);
  expectError(load(dir / "pkg"), both);
  // As a GPU, which is asked first.
  table.nestPtxMessage = nullptr;
  options.emulate = false;
  Expected<std::unique_ptr<Package>> loaded = load(dir / "pkg");
  expectError(loaded, both);
  EXPECT_EQ(loaded.error().code, NEST_ERROR_UNSUPPORTED);
  // A later one compiles the PTX.
  ::setenv("NEST_PTX_SM", "90", 1);
  EXPECT_OK(load(dir / "pkg"));
  write(dir / "exact", [](Manifest &m) { m.target = "sm_90a"; });
  EXPECT_OK(load(dir / "exact"));
  ::setenv("NEST_PTX_SM", "100", 1);
  expectError(load(dir / "exact"), "is for sm_90a, and nestc PTX emulator is "
                                   "sm_100");
}

TEST_F(GpuTest, CubinsAreForTheirMajorVersion) {
  const std::string cubin = "\177ELF...";
  write(dir / "pkg",
        [&](Manifest &m) { m.device->cubin = {"code.cubin", sha256(cubin)}; });
  ASSERT_OK(writeFile(dir / "pkg/code.cubin", cubin));
  // The emulator takes PTX, and refuses a cubin: so it tells what it was given.
  EXPECT_OK(load(dir / "pkg"));
  table.nestPtxMessage = nullptr;
  ::setenv("NEST_PTX_SM", "90", 1);
  EXPECT_OK(load(dir / "pkg"));
  ::setenv("NEST_PTX_SM", "86", 1);
  expectError(load(dir / "pkg"), "is for sm_80");
  ASSERT_OK(writeFile(dir / "pkg/code.cubin", cubin + "!"));
  expectError(load(dir / "pkg"), "code.cubin: its SHA-256 is not the one");
}

TEST_F(GpuTest, CodeThatIsRefused) {
  auto expectLoadError = [&](const std::function<void(Manifest &)> &change,
                             const std::function<void(std::string &)> &ptx,
                             const std::string &text) {
    ScratchDirectory other;
    write(other / "pkg", change, ptx);
    Expected<std::unique_ptr<Package>> loaded = load(other / "pkg");
    expectError(loaded, text);
  };
  expectLoadError(
      {}, [](std::string &ptx) { ptx.replace(ptx.find("cvta."), 5, "cvtb."); },
      "code.ptx: the driver refuses the code: CUDA_ERROR_INVALID_PTX (a PTX "
      "compilation failed): ptx:");
  expectLoadError(
      {}, [](std::string &ptx) { ptx = "hello"; },
      "code.ptx: the driver refuses the code");
  expectLoadError([](Manifest &m) { m.device->kernels[1] = "none"; }, {},
                  "code.ptx: has no kernel none: CUDA_ERROR_NOT_FOUND");
  expectLoadError(
      [](Manifest &m) { m.device->ptx.sha256 = std::string(64, '0'); }, {},
      "code.ptx: its SHA-256 is not the one of the manifest");
  expectLoadError([](Manifest &m) { m.device->ptx.file = "none.ptx"; }, {},
                  "none.ptx");
  record.failures["cuModuleLoadDataEx"] = CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  expectLoadError({}, {}, "a newer driver");
}

TEST_F(GpuTest, NoDevice) {
  write(dir / "pkg");
  record.failures["cuInit"] = CUDA_ERROR_NO_DEVICE;
  Expected<std::unique_ptr<Package>> loaded = load(dir / "pkg");
  expectError(loaded, "is for a GPU, and there is none: CUDA_ERROR_NO_DEVICE");
  expectError(loaded, "emulate the GPU (nestc run --emulate)");
  EXPECT_EQ(loaded.error().code, NEST_ERROR_UNSUPPORTED);
  record.failures.clear();
  record.failures["cuDevicePrimaryCtxRetain"] = CUDA_ERROR_OUT_OF_MEMORY;
  expectError(load(dir / "pkg"), "the GPU cannot be used");
}

TEST(CudaDriver, LibrariesThatAreNone) {
  ::setenv("NEST_PTX_DRIVER", "/nonexistent/libnest-ptx.so", 1);
  expectError(CudaDriver::open(true),
              "/nonexistent/libnest-ptx.so: the PTX emulator cannot be loaded");
  ::setenv("NEST_PTX_DRIVER", NEST_FAKE_MODEL, 1);
  expectError(CudaDriver::open(true), "it lacks cuInit");
  ::unsetenv("NEST_PTX_DRIVER");
  if (void *real = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(real);
    GTEST_SKIP() << "there is a driver";
  }
  expectError(CudaDriver::open(false),
              "libcuda.so.1: there is no NVIDIA driver");
}

TEST_F(GpuTest, CpuPackagesHaveNothingToEmulate) {
  makeFakePackage(dir / "cpu");
  expectError(load(dir / "cpu"), "is for the CPU: there is no GPU to emulate");
}

TEST_F(GpuTest, CInterface) {
  write(dir / "pkg");
  nest_package *loaded = nullptr;
  nest_load_options options = {};
  options.size = sizeof options;
  options.emulate = 2;
  EXPECT_EQ(nest_package_load_with((dir / "pkg").c_str(), &options, &loaded),
            NEST_ERROR_ARGUMENT);
  options.emulate = 1;
  ASSERT_EQ(nest_package_load_with((dir / "pkg").c_str(), &options, &loaded),
            NEST_OK)
      << nest_last_error();
  nest_session *session = nullptr;
  ASSERT_EQ(nest_session_create(loaded, nullptr, &session), NEST_OK)
      << nest_last_error();
  int32_t tokens[] = {3, 4};
  float logits[V];
  ASSERT_EQ(nest_session_prefill(session, tokens, 2, logits), NEST_OK)
      << nest_last_error();
  EXPECT_EQ(argmax(logits, V), 8);
  nest_session_free(session);
  nest_package_free(loaded);
  makeFakePackage(dir / "cpu");
  EXPECT_EQ(nest_package_load_with((dir / "cpu").c_str(), &options, &loaded),
            NEST_ERROR_UNSUPPORTED);
  EXPECT_EQ(loaded, nullptr);
}
