/*===- nest/runtime.h - load and run packages -----------------------*- C
-*-===*\
|*                                                                            *|
|* Part of nestc, under the Apache License v2.0 with LLVM Exceptions.         *|
|* See LICENSE for details.                                                   *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* The C interface of libnestrt, C99. A package is what `nestc compile`       *|
|* writes. A session is a batch of sequences with their caches:               *|
|*                                                                            *|
|*   nest_package *package;                                                   *|
|*   if (nest_package_load("model.nest", &package) != NEST_OK)                *|
|*     die(nest_last_error());                                                *|
|*   nest_session *session;                                                   *|
|*   if (nest_session_create(package, NULL, &session) != NEST_OK) ...         *|
|*   nest_session_prefill(session, prompt, count, logits);                    *|
|*   nest_session_decode(session, &token, logits);                            *|
|*                                                                            *|
|* Errors. Every function that can fail returns a nest_status; the message of *|
|* the last failure in this thread is nest_last_error(). A failed call leaves *|
|* its session as it was. No function throws, prints or exits.                *|
|*                                                                            *|
|* Threads. A package is immutable and may be used from any number of         *|
|* threads. A session is used by one thread at a time; different sessions are *|
|* independent. A package must outlive its sessions.                          *|
|*                                                                            *|
|* Trust. Manifest and weights are validated when a package is loaded. Its    *|
|* code is checked against the hash in the manifest and then runs in this     *|
|* process: load packages of people you trust.                                *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NEST_RUNTIME_H
#define NEST_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(NEST_RT_BUILDING) || defined(__GNUC__)
#define NEST_API __attribute__((visibility("default")))
#else
#define NEST_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Counts incompatible changes of this header. nest_abi_version() gives that
 *  of the library that is loaded. */
#define NEST_ABI_VERSION 1

typedef enum nest_status {
  NEST_OK = 0,
  /** An argument is at fault: a null pointer, an unknown name, a wrong shape.
   */
  NEST_ERROR_ARGUMENT = 1,
  /** A file cannot be read, or what it says is wrong. */
  NEST_ERROR_PACKAGE = 2,
  /** The package needs a processor feature, a GPU or a driver that this host
   *  lacks, or has not what the call needs (an entry point, a tokenizer). */
  NEST_ERROR_UNSUPPORTED = 3,
  /** Memory is not there; the message has the figure. */
  NEST_ERROR_MEMORY = 4,
  /** A token outside the vocabulary. */
  NEST_ERROR_TOKEN = 5,
  /** More rows than the session's maximum length. */
  NEST_ERROR_LENGTH = 6,
  /** Generated code reported a failure, or a defect of this library. */
  NEST_ERROR_INTERNAL = 70
} nest_status;

typedef struct nest_package nest_package;
typedef struct nest_session nest_session;

/** NEST_ABI_VERSION of this library. */
NEST_API int32_t nest_abi_version(void);

/** "0.1.0". */
NEST_API const char *nest_version(void);

/** "PLACE: what is wrong; what is legal": the last failure in this thread, or
 *  "". Valid until the next call in this thread. */
NEST_API const char *nest_last_error(void);

/** Its three parts, each "" where nothing is said. */
NEST_API const char *nest_last_error_place(void);
NEST_API const char *nest_last_error_message(void);
NEST_API const char *nest_last_error_legal(void);

/** Frees what this library hands out (only where the function says so). NULL is
 *  allowed. */
NEST_API void nest_free(void *memory);

/*===-- Packages
 * -----------------------------------------------------------===*/

/** Loads the package in the directory `path`. On failure *package is NULL. */
NEST_API nest_status nest_package_load(const char *path,
                                       nest_package **package);

/** Zero-initialise, set `size`, then what differs from the default. */
typedef struct nest_load_options {
  /** sizeof(nest_load_options). */
  size_t size;
  /** 1: run a package for a GPU on the PTX emulator, libnest-ptx, on the CPU.
   *  Slow, for tests; a package for the CPU is then refused. */
  int32_t emulate;
  int32_t reserved;
} nest_load_options;

/** The same with options, which may be NULL. A package for a GPU needs the
 *  NVIDIA driver, which is looked for now, or the emulator. */
NEST_API nest_status nest_package_load_with(const char *path,
                                            const nest_load_options *options,
                                            nest_package **package);

/** Frees a package; its sessions must be freed before. NULL is allowed. */
NEST_API void nest_package_free(nest_package *package);

/**
 * A JSON object, owned by the package: the manifest with path, without the
 * table of weights; "num_weights" and "tokenizer" (whether there is one) are
 * added. Every entry point is listed with names, types and shapes of inputs and
 * outputs.
 */
NEST_API const char *nest_package_info_json(const nest_package *package);

NEST_API int64_t nest_package_vocab_size(const nest_package *package);
/** Rows that a cache of this package can hold. */
NEST_API int64_t nest_package_max_length(const nest_package *package);

/*===-- Tokenizer
 * ----------------------------------------------------------===*/

/** 1 when the package has a tokenizer that this library can use, else 0;
 *  nest_tokenize() then says why. */
NEST_API int32_t nest_package_has_tokenizer(const nest_package *package);

/**
 * Tokens of a UTF-8 text of `size` bytes. `add_special` != 0 adds what the
 * tokenizer puts around a text (a begin token). *tokens is freed by
 * nest_free().
 */
NEST_API nest_status nest_tokenize(const nest_package *package,
                                   const char *text, size_t size,
                                   int32_t add_special, int32_t **tokens,
                                   size_t *count);

/** Leave special tokens (end of text) out. */
#define NEST_DETOKENIZE_SKIP_SPECIAL 1u
/** Give the very bytes, for text that is shown piece by piece; otherwise parts
 *  that are no UTF-8 become U+FFFD. */
#define NEST_DETOKENIZE_BYTES 2u

/** The text of tokens, freed by nest_free(). It has *size bytes and a NUL
 *  behind them. */
NEST_API nest_status nest_detokenize(const nest_package *package,
                                     const int32_t *tokens, size_t count,
                                     uint32_t flags, char **text, size_t *size);

/*===-- Sessions
 * -----------------------------------------------------------===*/

/** A prefill of a routed model chooses rows by its own rule, so that a row may
 *  depend on later ones, or by the rule of a decode, which equals decoding row
 *  by row. Of a model without routes both are the same. */
#define NEST_PREFILL_SELECT 0
#define NEST_PREFILL_DECODE 1

/** Zero-initialise, set `size`, then what differs from the default. */
typedef struct nest_session_options {
  /** sizeof(nest_session_options). */
  size_t size;
  /** Sequences; 0 means 1. */
  int64_t batch;
  /** Rows per sequence, at most nest_package_max_length(); 0 means that. */
  int64_t max_length;
  /** Threads; 0 means OpenMP's default (OMP_NUM_THREADS or the cores). */
  int32_t threads;
  /** NEST_PREFILL_*: of prefill, verify and generate. */
  int32_t prefill;
  /** The name of one of the package's submodels; NULL or "" for the first. */
  const char *submodel;
} nest_session_options;

/** Creates a session; `options` may be NULL. Caches take memory as they fill,
 *  but a session whose full caches would not fit is refused. */
NEST_API nest_status nest_session_create(const nest_package *package,
                                         const nest_session_options *options,
                                         nest_session **session);

NEST_API void nest_session_free(nest_session *session);

/** Rows in the caches of sequence `sequence`; -1 when there is none such. */
NEST_API int64_t nest_session_length(const nest_session *session,
                                     int64_t sequence);
NEST_API int64_t nest_session_batch(const nest_session *session);
NEST_API int64_t nest_session_max_length(const nest_session *session);

/** Forgets all rows, and modalities that no call has taken. */
NEST_API void nest_session_reset(nest_session *session);

/**
 * Binds a width that the submodel leaves open ("widths" of its "submodel" in
 * nest_package_info_json(): layers.0.ffn), from the next call on. At first the
 * largest one is bound. Caches stay as they are, so that the width may change
 * within a text. One that is fixed, or out of range, is NEST_ERROR_ARGUMENT.
 */
NEST_API nest_status nest_session_bind(nest_session *session, const char *axis,
                                       int64_t width);

/**
 * Gives the rows of the next prefill, verify, decode or generate their
 * modalities: `values` is [batch, count], copied, and that call must have
 * `count` rows (1 for a decode). Each is an index in "names" of
 * "model"."modalities" of nest_package_info_json(), and one of "accepted"
 * there. The call forgets them when it succeeds; a count of 0 forgets them at
 * once.
 *
 * Where a model accepts more than one modality and its entry points have the
 * input `modality`, every call needs this before it. Elsewhere it may be left
 * out; a model without modalities refuses it.
 */
NEST_API nest_status nest_session_set_modality(nest_session *session,
                                               const int32_t *values,
                                               int64_t count);

/**
 * Appends `count` tokens to every sequence. `tokens` is [batch, count].
 * `logits` is [batch, vocabulary]: what follows the last row. It may be NULL.
 */
NEST_API nest_status nest_session_prefill(nest_session *session,
                                          const int32_t *tokens, int64_t count,
                                          float *logits);

/** As prefill, but `logits` is [batch, count, vocabulary]: what follows every
 *  row. */
NEST_API nest_status nest_session_verify(nest_session *session,
                                         const int32_t *tokens, int64_t count,
                                         float *logits);

/** Appends one token to every sequence. `tokens` is [batch], `logits` [batch,
 *  vocabulary] or NULL. */
NEST_API nest_status nest_session_decode(nest_session *session,
                                         const int32_t *tokens, float *logits);

/**
 * Appends `count` tokens to every sequence, by a decode where that is one
 * behind others, else by a prefill. `next` is [batch]: the most likely token
 * that follows, the lowest on ties. A GPU chooses it itself, and the logits
 * stay there.
 */
NEST_API nest_status nest_session_next(nest_session *session,
                                       const int32_t *tokens, int64_t count,
                                       int32_t *next);

/** Called with every new token. A value other than 0 ends the generation. */
typedef int32_t (*nest_token_callback)(void *user, int64_t sequence,
                                       int32_t token);

/** Zero-initialise, set `size`, then what differs from the default. */
typedef struct nest_generate_options {
  /** sizeof(nest_generate_options). */
  size_t size;
  /** New tokens per sequence at most. */
  int64_t count;
  /** 0 is greedy: the largest logit, the lowest token on ties. */
  double temperature;
  /** For a temperature above 0: the same seed gives the same tokens. */
  uint64_t seed;
  /** 1: go on behind an end token. */
  int32_t ignore_eos;
  /** 1: the new tokens have the modality below; 0: that of the last row of
   *  their prompt. */
  int32_t has_modality;
  int32_t modality;
  int32_t reserved;
} nest_generate_options;

/**
 * Appends the prompt [batch, count] (count >= 1) and generates. A sequence ends
 * with one of the package's end tokens, which is not handed to the callback.
 * When the maximum length is reached before `count` tokens, those so far have
 * been handed out and NEST_ERROR_LENGTH is returned. The last token handed out
 * is not in the caches.
 */
NEST_API nest_status nest_session_generate(nest_session *session,
                                           const int32_t *tokens, int64_t count,
                                           const nest_generate_options *options,
                                           nest_token_callback callback,
                                           void *user);

/*===-- Any entry point
 * ----------------------------------------------------===*/

#define NEST_MAX_RANK 8

typedef struct nest_buffer {
  /** As in the manifest. */
  const char *name;
  /** "f32", "i32", ...; as in the manifest. */
  const char *dtype;
  int32_t rank;
  int32_t reserved;
  int64_t shape[NEST_MAX_RANK];
  /** Dense and row-major. */
  void *data;
  /** Size of data. */
  size_t bytes;
} nest_buffer;

/**
 * Calls an entry point by name on named buffers, without a session.
 *
 * Inputs: name, dtype, rank, shape, data and bytes are given and must be those
 * of the manifest; they are not changed. A cache that is not given is all zero.
 *
 * Outputs: only the name is given (of an output, or of a cache, for its state
 * after the call). With data NULL the library allocates, and the caller frees
 * data with nest_free(); else `bytes` must be enough. The rest is filled in.
 * dtype then belongs to the package.
 *
 * Inputs named tokens, lengths, positions and modality are checked, and caches
 * of i32: inside the vocabulary, rows inside the caches, not negative, an
 * accepted modality.
 */
NEST_API nest_status nest_call_entry(const nest_package *package,
                                     const char *entry, int32_t threads,
                                     const nest_buffer *inputs,
                                     size_t num_inputs, nest_buffer *outputs,
                                     size_t num_outputs);

#ifdef __cplusplus
}
#endif

#endif /* NEST_RUNTIME_H */
