//===- Streams.cpp - launches, streams, events, graphs --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-driver/Driver.h"
#include "tools/ptx-emulator/LaunchFile.h"

#include <cstring>

using namespace nestc;
using namespace nestc::ptx;

//===----------------------------------------------------------------------===//
// Capture
//===----------------------------------------------------------------------===//

CUresult nestc::ptx::submit(CUctx_st &context, CUstream stream, Work work) {
  if (!stream) {
    CUresult result = CUDA_SUCCESS;
    context.streams.each([&](CUstream_st &each) {
      if (each.capture && !(each.flags & CU_STREAM_NON_BLOCKING)) {
        each.capture = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
        result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    });
    return result ? fail(result) : work(context);
  }
  if (!context.streams.has(stream))
    return fail(CUDA_ERROR_INVALID_HANDLE, "there is no such stream");
  switch (stream->capture) {
  case CU_STREAM_CAPTURE_STATUS_NONE:
    return work(context);
  case CU_STREAM_CAPTURE_STATUS_ACTIVE:
    stream->captured.push_back(std::move(work));
    return CUDA_SUCCESS;
  case CU_STREAM_CAPTURE_STATUS_INVALIDATED:
    break;
  }
  return fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

CUresult nestc::ptx::refuseInCapture(CUctx_st &context, const char *function) {
  bool refused = false;
  context.streams.each([&](CUstream_st &stream) {
    bool mine = stream.capturer == std::this_thread::get_id();
    if (stream.capture &&
        (stream.mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
         (stream.mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && mine))) {
      stream.capture = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
      refused = true;
    }
  });
  if (!refused)
    return CUDA_SUCCESS;
  return fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
              std::string(function) + " while a stream is captured");
}

static CUresult runAll(CUctx_st &context, const std::vector<Work> &all) {
  for (const Work &work : all)
    if (CUresult result = work(context))
      return result;
  return CUDA_SUCCESS;
}

NEST_PTX_EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream,
                                                 CUstreamCaptureMode mode) {
  return callInContext([&](CUctx_st &context) {
    if (!stream) // the legacy stream cannot be captured
      return fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (!context.streams.has(stream))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    if (stream->capture || mode < CU_STREAM_CAPTURE_MODE_GLOBAL ||
        mode > CU_STREAM_CAPTURE_MODE_RELAXED)
      return fail(CUDA_ERROR_INVALID_VALUE);
    stream->capture = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    stream->mode = mode;
    stream->capturer = std::this_thread::get_id();
    stream->captured.clear();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  return callInContext([&](CUctx_st &context) {
    if (!graph)
      return fail(CUDA_ERROR_INVALID_VALUE);
    *graph = nullptr;
    if (!context.streams.has(stream))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    CUstreamCaptureStatus status = stream->capture;
    if (!status)
      return fail(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    stream->capture = CU_STREAM_CAPTURE_STATUS_NONE;
    std::vector<Work> work = std::move(stream->captured);
    stream->captured.clear();
    if (status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
      return fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    auto made = std::make_unique<CUgraph_st>();
    made->work = std::move(work);
    *graph = context.graphs.add(std::move(made));
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuStreamIsCapturing(CUstream stream,
                                             CUstreamCaptureStatus *status) {
  return callInContext([&](CUctx_st &context) {
    if (!status)
      return fail(CUDA_ERROR_INVALID_VALUE);
    if (stream && !context.streams.has(stream))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    *status = stream ? stream->capture : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  });
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

NEST_PTX_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec,
                                                     CUgraph graph,
                                                     unsigned long long flags) {
  return callInContext([&](CUctx_st &context) {
    if (!exec || flags)
      return fail(CUDA_ERROR_INVALID_VALUE);
    if (!context.graphs.has(graph))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    auto made = std::make_unique<CUgraphExec_st>();
    made->work = graph->work;
    *exec = context.execs.add(std::move(made));
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    if (!context.execs.has(exec))
      return fail(CUDA_ERROR_INVALID_HANDLE, "there is no such graph");
    return submit(context, stream, [exec](CUctx_st &c) {
      return c.execs.has(exec) ? runAll(c, exec->work)
                               : fail(CUDA_ERROR_INVALID_HANDLE);
    });
  });
}

NEST_PTX_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
  return callInContext([&](CUctx_st &context) {
    return context.execs.remove(exec) ? CUDA_SUCCESS
                                      : fail(CUDA_ERROR_INVALID_HANDLE);
  });
}

NEST_PTX_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  return callInContext([&](CUctx_st &context) {
    return context.graphs.remove(graph) ? CUDA_SUCCESS
                                        : fail(CUDA_ERROR_INVALID_HANDLE);
  });
}

//===----------------------------------------------------------------------===//
// Streams and events
//===----------------------------------------------------------------------===//

NEST_PTX_EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  return callInContext([&](CUctx_st &context) {
    if (!stream || flags > CU_STREAM_NON_BLOCKING)
      return fail(CUDA_ERROR_INVALID_VALUE);
    auto made = std::make_unique<CUstream_st>();
    made->flags = flags;
    *stream = context.streams.add(std::move(made));
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    return context.streams.remove(stream) ? CUDA_SUCCESS
                                          : fail(CUDA_ERROR_INVALID_HANDLE);
  });
}

NEST_PTX_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    if (stream && !context.streams.has(stream))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    return refuseInCapture(context, "cuStreamSynchronize");
  });
}

NEST_PTX_EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags) {
  return callInContext([&](CUctx_st &context) {
    if (!event)
      return fail(CUDA_ERROR_INVALID_VALUE);
    *event = context.events.add(std::make_unique<CUevent_st>());
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  return callInContext([&](CUctx_st &context) {
    if (!context.events.has(event))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    return submit(context, stream, [event](CUctx_st &c) {
      if (!c.events.has(event))
        return fail(CUDA_ERROR_INVALID_HANDLE);
      event->recorded = true;
      event->time = std::chrono::steady_clock::now();
      return CUDA_SUCCESS;
    });
  });
}

NEST_PTX_EXPORT CUresult cuEventSynchronize(CUevent event) {
  return callInContext([&](CUctx_st &context) {
    if (!context.events.has(event))
      return fail(CUDA_ERROR_INVALID_HANDLE);
    return refuseInCapture(context, "cuEventSynchronize");
  });
}

NEST_PTX_EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent start,
                                            CUevent end) {
  return callInContext([&](CUctx_st &context) {
    if (!milliseconds)
      return fail(CUDA_ERROR_INVALID_VALUE);
    if (!context.events.has(start) || !context.events.has(end) ||
        !start->recorded || !end->recorded)
      return fail(CUDA_ERROR_INVALID_HANDLE);
    *milliseconds =
        std::chrono::duration<float, std::milli>(end->time - start->time)
            .count();
    return CUDA_SUCCESS;
  });
}

NEST_PTX_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  return callInContext([&](CUctx_st &context) {
    return context.events.remove(event) ? CUDA_SUCCESS
                                        : fail(CUDA_ERROR_INVALID_HANDLE);
  });
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static CUresult run(CUctx_st &context, CUfunction function,
                    const LaunchConfig &config) {
  if (!context.has(function))
    return fail(CUDA_ERROR_INVALID_HANDLE, "the module has been unloaded");
  const Program &program = function->program;
  rt::Expected<LaunchResult> result = launch(context.device, program, config);
  if (!result)
    return fail(CUDA_ERROR_INVALID_VALUE, result.error().str());
  if (result->fault) {
    context.sticky = CUDA_ERROR_LAUNCH_FAILED;
    context.stickyMessage = result->fault->str();
    return fail(context.sticky, context.stickyMessage);
  }
  if (context.profile) {
    std::string line = profileJson(program.name, result->profile, 0) + "\n";
    if (std::fwrite(line.data(), 1, line.size(), context.profile) !=
            line.size() ||
        std::fflush(context.profile))
      return fail(CUDA_ERROR_UNKNOWN,
                  "NEST_PTX_PROFILE: " + context.settings.profile +
                      " cannot be written");
  }
  return CUDA_SUCCESS;
}

NEST_PTX_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gridX,
                                        unsigned gridY, unsigned gridZ,
                                        unsigned blockX, unsigned blockY,
                                        unsigned blockZ, unsigned sharedBytes,
                                        CUstream stream, void **parameters,
                                        void **extra) {
  return callInContext([&](CUctx_st &context) {
    if (!context.has(function))
      return fail(CUDA_ERROR_INVALID_HANDLE, "there is no such kernel");
    const Program &program = function->program;
    if (extra)
      return fail(CUDA_ERROR_NOT_SUPPORTED,
                  program.name + ": `extra` cannot be emulated");
    if (sharedBytes > function->dynamicShared)
      return fail(CUDA_ERROR_INVALID_VALUE,
                  program.name + ": " + std::to_string(sharedBytes) +
                      " bytes of dynamic shared memory, and " +
                      std::to_string(function->dynamicShared) +
                      " are allowed (cuFuncSetAttribute)");
    LaunchConfig config;
    config.grid[0] = gridX;
    config.grid[1] = gridY;
    config.grid[2] = gridZ;
    config.block[0] = blockX;
    config.block[1] = blockY;
    config.block[2] = blockZ;
    config.dynamicShared = sharedBytes;
    config.schedule = context.settings.schedule;
    config.profile = context.profile != nullptr;
    config.params.assign(program.paramBytes, 0);
    for (size_t i = 0; i < program.params.size(); ++i) {
      if (!parameters || !parameters[i])
        return fail(
            CUDA_ERROR_INVALID_VALUE,
            program.name + ": has " + std::to_string(program.params.size()) +
                " parameters, and number " + std::to_string(i) + " is missing");
      std::memcpy(config.params.data() + program.params[i].offset,
                  parameters[i], program.params[i].variable->bytes);
    }
    // Before it is recorded, not when it is replayed.
    if (rt::Status status = checkLaunch(program, config); status.failed())
      return fail(CUDA_ERROR_INVALID_VALUE, status.error().str());
    return submit(context, stream,
                  [function, config = std::move(config)](CUctx_st &c) {
                    return run(c, function, config);
                  });
  });
}
