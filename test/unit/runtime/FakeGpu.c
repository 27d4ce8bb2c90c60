/*===- FakeGpu.c - hand-written host code of a package for a GPU ----*- C
-*-===*\
|*                                                                            *|
|* Part of nestc, under the Apache License v2.0 with LLVM Exceptions.         *|
|* See LICENSE for details.                                                   *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* Launches the kernels of FakeGpu.cu, which compute what FakeModel.c does.   *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include <nest/code_abi.h>
#include <stddef.h>

enum { V = 16 };
/* In the order of "kernels" in the manifest. */
enum { Count, Append, Logits, Wide, Fault };

#define EXPORT __attribute__((visibility("default")))
#define ADDRESS(pointer) ((int64_t)(intptr_t)(pointer))
#define LAUNCH(kernel, x, y, threads, shared, ...)                             \
  do {                                                                         \
    const int64_t geometry[] = {x, y, 1, threads, shared};                     \
    const int64_t arguments[] = {__VA_ARGS__};                                 \
    int32_t failed = call->launch(call->runtime, kernel, geometry, arguments,  \
                                  sizeof arguments / sizeof *arguments);       \
    if (failed)                                                                \
      return failed;                                                           \
  } while (0)

/* Buffers: tokens, positions, lengths, layers.0.k, layers.0.length; logits;
 * bias, table. */
static int32_t run(const nest_call *call, int64_t rows, int64_t outRows) {
  int64_t b[8], batch = call->dims[0];
  if (call->parallel_for || !call->launch)
    return 1;
  for (int i = 0; i < 8; ++i)
    b[i] = ADDRESS(call->buffers[i]);
  LAUNCH(Count, batch, 1, 1, 0, b[4], rows);
  LAUNCH(Append, batch, 1, rows, 0, b[0], b[1], b[2], b[4], b[3], rows);
  /* Nothing, and more shared memory than a kernel has unasked. */
  LAUNCH(Fault, batch, 0, 1, 0, 0, 0);
  LAUNCH(Wide, 1, 1, 1, 65536, ADDRESS(call->arena), 16384);
  LAUNCH(Logits, batch, outRows, V, 0, b[2], b[3], b[6], b[7], b[5], rows,
         outRows);
  return 0;
}

EXPORT int32_t nest_entry_prefill(const nest_call *call) {
  return run(call, call->dims[1], 1);
}
EXPORT int32_t nest_entry_verify(const nest_call *call) {
  return run(call, call->dims[1], call->dims[1]);
}
EXPORT int32_t nest_entry_decode(const nest_call *call) {
  return run(call, 1, 1);
}

/* Each counts the rows, and then goes wrong in its way. */
static int32_t countRows(const nest_call *call) {
  LAUNCH(Count, call->dims[0], 1, 1, 0, ADDRESS(call->buffers[4]), 1);
  return 0;
}
EXPORT int32_t nest_entry_fail(const nest_call *call) {
  return countRows(call) ? 1 : 7;
}
EXPORT int32_t nest_entry_unknown(const nest_call *call) {
  if (countRows(call))
    return 1;
  LAUNCH(99, 1, 1, 1, 0, 0);
  return 0;
}
EXPORT int32_t nest_entry_few(const nest_call *call) {
  if (countRows(call))
    return 1;
  LAUNCH(Wide, 1, 1, 1, 0, ADDRESS(call->arena));
  return 0;
}
EXPORT int32_t nest_entry_huge(const nest_call *call) {
  if (countRows(call))
    return 1;
  LAUNCH(Wide, 1, 1, 1, 1 << 20, ADDRESS(call->arena), 1 << 18);
  return 0;
}
EXPORT int32_t nest_entry_fault(const nest_call *call) {
  if (countRows(call))
    return 1;
  LAUNCH(Fault, 1, 1, 1, 0, ADDRESS(call->arena), 1 << 16);
  return 0;
}
