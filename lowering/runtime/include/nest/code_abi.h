/*===- nest/code_abi.h - what generated code sees -------------------*- C
-*-===*\
|*                                                                            *|
|* Part of nestc, under the Apache License v2.0 with LLVM Exceptions.         *|
|* See LICENSE for details.                                                   *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* A package's code.so exports one function per entry point,                  *|
|*                                                                            *|
|*   int32_t nest_entry_NAME(const nest_call *call);                          *|
|*                                                                            *|
|* whose symbol the manifest gives. It returns 0 when all is well, and keeps  *|
|* no state: everything it may touch hangs on the call.                       *|
|*                                                                            *|
|* The code of a package for a GPU runs on the host and launches kernels. Its *|
|* buffers and arena are addresses of the device, for arithmetic only. What   *|
|* it launches depends on them and on the dims alone: a call that repeats     *|
|* both may be replayed from a recording of its launches.                     *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NEST_CODE_ABI_H
#define NEST_CODE_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The newest version of this ABI. `abi` of the manifest is 1 for packages that
 *  run on the CPU and 2 for those with device code, which need `launch`. */
#define NEST_CODE_ABI_VERSION 2

/**
 * One piece of parallel work. `scratch` is aligned to 64 bytes, has the
 * entry's "scratch" bytes of the manifest, holds anything, and belongs to this
 * worker until the task returns.
 */
typedef void (*nest_task)(void *context, int64_t index, void *scratch);

/** A call of an entry point. */
typedef struct nest_call {
  /** Inputs, outputs, weights, each in the order of the manifest. Dense and
   *  row-major; a weight of rank 2 may have a row stride. Inputs that are
   *  caches are updated in place. Inputs, outputs and caches are aligned to
   *  their element type at least, and do not overlap each other. */
  void *const *buffers;
  /** The values of the entry's dims, in the order of the manifest. */
  const int64_t *dims;
  /** per_row*B*T + per_sequence*B + fixed bytes, aligned to 64; holds anything;
   *  kept during this call only. Not null, even for 0 bytes. */
  void *arena;
  /** To be handed to parallel_for and launch. */
  void *runtime;
  /** Runs task for 0 .. count-1, in any order, on any number of threads, and
   *  waits for all. A call from inside a task runs serially. Null in a package
   *  for a GPU. */
  void (*parallel_for)(void *runtime, nest_task task, void *context,
                       int64_t count);
  /**
   * Runs a kernel of the package's device code, whose number is its place in
   * "kernels" of the manifest's "device"; null in a package for the CPU.
   *
   * `geometry` is grid x, y, z, threads of a block, bytes of dynamic shared
   * memory. `arguments` are `count` values of 8 bytes each, device pointers and
   * integers: the kernel's parameters in order. A grid with an extent of 0
   * runs nothing. Returns 0, or an error that the entry point returns at once.
   * Launches of one call run in order, each after the one before has ended.
   */
  int32_t (*launch)(void *runtime, int64_t kernel, const int64_t *geometry,
                    const int64_t *arguments, int64_t count);
} nest_call;

/** The type of an entry point. */
typedef int32_t (*nest_entry)(const nest_call *call);

#ifdef __cplusplus
}
#endif

#endif /* NEST_CODE_ABI_H */
