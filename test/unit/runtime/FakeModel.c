/*===- FakeModel.c - hand-written code of a package -----------------*- C
-*-===*\
|*                                                                            *|
|* Part of nestc, under the Apache License v2.0 with LLVM Exceptions.         *|
|* See LICENSE for details.                                                   *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* Row t of a sequence writes its token into the cache and says that the next *|
|* token is (sum of all tokens so far + 1) mod V, by adding 1 to that logit   *|
|* of a bias that comes from the weights. So it is wrong as soon as a cache,  *|
|* a position or a weight is.                                                 *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include <nest/code_abi.h>

enum { V = 16, C = 32, H = 2, D = 4 };

#define EXPORT __attribute__((visibility("default")))

/* Buffers: tokens, positions, lengths, layers.0.k; logits; bias [V], table
 * [V, 1] with row stride 2. */
typedef struct {
  const int32_t *tokens, *positions, *lengths;
  float *cache, *logits;
  const float *bias, *table;
  char *arena;
  int64_t batch, rows;
  int allRows;
} Model;

static void nested(void *context, int64_t index, void *scratch) {
  /* Nested tasks have scratch of their own. */
  ((char *)scratch)[index] = 99;
  (void)context;
}

typedef struct {
  const nest_call *call;
  Model model;
} Context;

static void sequence(void *context, int64_t b, void *scratch) {
  const Context *c = context;
  const Model *m = &c->model;
  char *mine = scratch;
  for (int i = 0; i < 256; ++i)
    mine[i] = (char)b;
  c->call->parallel_for(c->call->runtime, nested, context, 16);
  int wrong = 0;
  for (int i = 0; i < 256; ++i)
    wrong |= mine[i] != (char)b;
  float *cache = m->cache + b * H * C * D;
  int64_t outRows = m->allRows ? m->rows : 1;
  for (int64_t t = 0; t < m->rows; ++t) {
    int64_t at = m->lengths[b] + t;
    wrong |= m->positions[b * m->rows + t] != at;
    m->arena[(b * m->rows + t) * 64] = 1;
    for (int h = 0; h < H; ++h)
      for (int d = 0; d < D; ++d)
        cache[(h * C + at) * D + d] = (float)m->tokens[b * m->rows + t];
    if (!m->allRows && t + 1 < m->rows)
      continue;
    int64_t sum = 1;
    for (int64_t i = 0; i <= at; ++i)
      sum += (int64_t)cache[(1 * C + i) * D + 3];
    float *logits = m->logits + (b * outRows + (m->allRows ? t : 0)) * V;
    for (int v = 0; v < V; ++v)
      logits[v] = m->bias[v] + m->table[v * 2] +
                  ((wrong ? V - 1 : sum % V) == v ? 1.0f : 0.0f);
  }
}

static int32_t run(const nest_call *call, int64_t rows, int allRows) {
  Context context;
  void *const *b = call->buffers;
  Model *m = &context.model;
  context.call = call;
  m->tokens = b[0];
  m->positions = b[1];
  m->lengths = b[2];
  m->cache = b[3];
  m->logits = b[4];
  m->bias = b[5];
  m->table = b[6];
  m->arena = call->arena;
  m->batch = call->dims[0];
  m->rows = rows;
  m->allRows = allRows;
  call->parallel_for(call->runtime, sequence, &context, m->batch);
  return 0;
}

EXPORT int32_t nest_entry_prefill(const nest_call *call) {
  return run(call, call->dims[1], 0);
}
EXPORT int32_t nest_entry_verify(const nest_call *call) {
  return run(call, call->dims[1], 1);
}
EXPORT int32_t nest_entry_decode(const nest_call *call) {
  return run(call, 1, 0);
}

/* tokens [B, T]; logits. */
EXPORT int32_t nest_entry_fail(const nest_call *call) {
  (void)call;
  return 3;
}

/*===-- A routed layer, and modalities
--------------------------------------===*\
|*                                                                            *|
|* Rows with an odd token enter the layer, under the causal rule those with an
*|
|* even one. It keeps their positions and how many there are, and says that *|
|* the next token is (their number + the sum of their positions + 3 x the *|
|* row's modality) mod V. *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

/* Buffers: tokens, positions, lengths, modality, layers.0.length,
 * layers.0.positions; logits. */
static int32_t routed(const nest_call *call, int64_t rows, int allRows,
                      int parity) {
  void *const *b = call->buffers;
  const int32_t *tokens = b[0], *positions = b[1], *modality = b[3];
  int32_t *length = b[4], *kept = b[5];
  float *logits = b[6];
  for (int64_t s = 0; s < call->dims[0]; ++s)
    for (int64_t t = 0; t < rows; ++t) {
      int64_t row = s * rows + t;
      if (tokens[row] % 2 == parity)
        kept[s * C + length[s]++] = positions[row];
      if (!allRows && t + 1 < rows)
        continue;
      int32_t sum = length[s] + 3 * modality[row];
      for (int32_t i = 0; i < length[s]; ++i)
        sum += kept[s * C + i];
      for (int v = 0; v < V; ++v)
        *logits++ = sum % V == v ? 1.0f : 0.0f;
    }
  return 0;
}

EXPORT int32_t nest_entry_routed_prefill(const nest_call *call) {
  return routed(call, call->dims[1], 0, 1);
}
EXPORT int32_t nest_entry_routed_verify(const nest_call *call) {
  return routed(call, call->dims[1], 1, 1);
}
EXPORT int32_t nest_entry_routed_decode(const nest_call *call) {
  return routed(call, 1, 0, 0);
}
EXPORT int32_t nest_entry_routed_prefill_causal(const nest_call *call) {
  return routed(call, call->dims[1], 0, 0);
}
EXPORT int32_t nest_entry_routed_verify_causal(const nest_call *call) {
  return routed(call, call->dims[1], 1, 0);
}
/* Fails when it has counted its rows. */
EXPORT int32_t nest_entry_routed_fail(const nest_call *call) {
  routed(call, call->dims[1], 0, 1);
  return 3;
}
