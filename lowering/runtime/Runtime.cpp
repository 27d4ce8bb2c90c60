//===- Runtime.cpp - the C interface ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nest/runtime.h"
#include "lowering/runtime/Package.h"
#include "lowering/runtime/Session.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

using namespace nestc::rt;

struct nest_package {
  std::unique_ptr<Package> package;
};

struct nest_session {
  std::unique_ptr<Session> session;
};

static thread_local Error lastError;
static thread_local std::string lastErrorText;

static nest_status report(const Error &error, nest_status otherwise) {
  lastError = error;
  lastErrorText = error.str();
  return error.code ? static_cast<nest_status>(error.code) : otherwise;
}

/// Runs `body`, which returns a Status, and turns whatever happens into a
/// status code and a message. Nothing is thrown beyond this point.
template <typename Body>
static nest_status guard(nest_status otherwise, Body body) {
  try {
    try {
      Status status = body();
      if (status.failed())
        return report(status.error(), otherwise);
      return NEST_OK;
    } catch (const std::bad_alloc &) {
      return report(Error("memory", "there is not enough"), NEST_ERROR_MEMORY);
    } catch (const std::length_error &) {
      return report(Error("memory", "there is not enough"), NEST_ERROR_MEMORY);
    } catch (const std::exception &problem) {
      return report(Error("libnestrt", problem.what()), NEST_ERROR_INTERNAL);
    }
  } catch (...) { // the message itself did not fit
    return NEST_ERROR_INTERNAL;
  }
}

static Error argument(const char *what) {
  return Error("argument", std::string(what) + " is NULL", "a pointer")
      .withCode(NEST_ERROR_ARGUMENT);
}

#define NEST_CHECK_ARGUMENT(pointer)                                           \
  if (!(pointer))                                                              \
  return argument(#pointer)

/// Options of a caller built against another version of the header: what it
/// does not have is zero; what we do not know must be zero.
template <typename Options>
static Expected<Options> readOptions(const Options *given) {
  Options options = {};
  if (!given)
    return options;
  if (given->size < sizeof(size_t) || given->size > 4096)
    return Error("options.size", "is " + std::to_string(given->size),
                 "the size of the structure")
        .withCode(NEST_ERROR_ARGUMENT);
  const auto *bytes = reinterpret_cast<const char *>(given);
  for (size_t i = sizeof(Options); i < given->size; ++i)
    if (bytes[i])
      return Error("options", "has a field this library does not know",
                   "a newer libnestrt")
          .withCode(NEST_ERROR_ARGUMENT);
  std::memcpy(&options, given, std::min(given->size, sizeof(Options)));
  return options;
}

int32_t nest_abi_version(void) { return NEST_ABI_VERSION; }
const char *nest_version(void) { return NESTC_VERSION; }
const char *nest_last_error(void) { return lastErrorText.c_str(); }
const char *nest_last_error_place(void) { return lastError.place.c_str(); }
const char *nest_last_error_message(void) { return lastError.message.c_str(); }
const char *nest_last_error_legal(void) { return lastError.legal.c_str(); }
void nest_free(void *memory) { std::free(memory); }

//===----------------------------------------------------------------------===//
// Packages and tokenizer
//===----------------------------------------------------------------------===//

nest_status nest_package_load(const char *path, nest_package **package) {
  return nest_package_load_with(path, nullptr, package);
}

nest_status nest_package_load_with(const char *path,
                                   const nest_load_options *given,
                                   nest_package **package) {
  if (package)
    *package = nullptr;
  return guard(NEST_ERROR_PACKAGE, [&]() -> Status {
    NEST_CHECK_ARGUMENT(path);
    NEST_CHECK_ARGUMENT(package);
    NEST_RT_ASSIGN(nest_load_options options, readOptions(given));
    if ((options.emulate != 0 && options.emulate != 1) || options.reserved)
      return Error("options.emulate", "is " + std::to_string(options.emulate),
                   "0 or 1, and nothing in what is reserved")
          .withCode(NEST_ERROR_ARGUMENT);
    PackageOptions inner;
    inner.emulate = options.emulate != 0;
    NEST_RT_ASSIGN(std::unique_ptr<Package> loaded, Package::load(path, inner));
    auto result = std::make_unique<nest_package>();
    result->package = std::move(loaded);
    *package = result.release();
    return Status::success();
  });
}

void nest_package_free(nest_package *package) { delete package; }

const char *nest_package_info_json(const nest_package *package) {
  return package ? package->package->infoJson().c_str() : "{}";
}

int64_t nest_package_vocab_size(const nest_package *package) {
  return package ? package->package->manifest().model.vocabSize : 0;
}

int64_t nest_package_max_length(const nest_package *package) {
  return package ? package->package->manifest().model.maxLength : 0;
}

int32_t nest_package_has_tokenizer(const nest_package *package) {
  return package && package->package->tokenizer() ? 1 : 0;
}

/// A copy for the caller, with a NUL behind it; nest_free() frees it.
static void *duplicate(const void *data, size_t size) {
  void *copy = std::malloc(size + 1);
  if (!copy)
    throw std::bad_alloc();
  if (size)
    std::memcpy(copy, data, size);
  static_cast<char *>(copy)[size] = 0;
  return copy;
}

nest_status nest_tokenize(const nest_package *package, const char *text,
                          size_t size, int32_t addSpecial, int32_t **tokens,
                          size_t *count) {
  return guard(NEST_ERROR_ARGUMENT, [&]() -> Status {
    NEST_CHECK_ARGUMENT(package);
    NEST_CHECK_ARGUMENT(tokens);
    NEST_CHECK_ARGUMENT(count);
    *tokens = nullptr;
    *count = 0;
    if (size)
      NEST_CHECK_ARGUMENT(text);
    NEST_RT_ASSIGN(const Tokenizer *tokenizer, package->package->tokenizer());
    NEST_RT_ASSIGN(std::vector<int32_t> ids,
                   tokenizer->encode(std::string_view(text ? text : "", size),
                                     addSpecial != 0));
    *tokens = static_cast<int32_t *>(duplicate(ids.data(), ids.size() * 4));
    *count = ids.size();
    return Status::success();
  });
}

nest_status nest_detokenize(const nest_package *package, const int32_t *tokens,
                            size_t count, uint32_t flags, char **text,
                            size_t *size) {
  return guard(NEST_ERROR_TOKEN, [&]() -> Status {
    NEST_CHECK_ARGUMENT(package);
    NEST_CHECK_ARGUMENT(text);
    *text = nullptr;
    if (size)
      *size = 0;
    if (count)
      NEST_CHECK_ARGUMENT(tokens);
    if (flags & ~(NEST_DETOKENIZE_SKIP_SPECIAL | NEST_DETOKENIZE_BYTES))
      return Error("flags", "has unknown bits", "NEST_DETOKENIZE_*")
          .withCode(NEST_ERROR_ARGUMENT);
    NEST_RT_ASSIGN(const Tokenizer *tokenizer, package->package->tokenizer());
    std::vector<int32_t> ids(tokens, tokens + count);
    bool skip = flags & NEST_DETOKENIZE_SKIP_SPECIAL;
    Expected<std::string> result = flags & NEST_DETOKENIZE_BYTES
                                       ? tokenizer->decodeBytes(ids, skip)
                                       : tokenizer->decode(ids, skip);
    if (!result)
      return result.takeError();
    *text = static_cast<char *>(duplicate(result->data(), result->size()));
    if (size)
      *size = result->size();
    return Status::success();
  });
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

nest_status nest_session_create(const nest_package *package,
                                const nest_session_options *given,
                                nest_session **session) {
  if (session)
    *session = nullptr;
  return guard(NEST_ERROR_ARGUMENT, [&]() -> Status {
    NEST_CHECK_ARGUMENT(package);
    NEST_CHECK_ARGUMENT(session);
    NEST_RT_ASSIGN(nest_session_options options, readOptions(given));
    if (options.prefill != NEST_PREFILL_SELECT &&
        options.prefill != NEST_PREFILL_DECODE)
      return Error("options.prefill", "is " + std::to_string(options.prefill),
                   "NEST_PREFILL_SELECT or NEST_PREFILL_DECODE");
    NEST_RT_ASSIGN(std::unique_ptr<Session> created,
                   Session::create(*package->package, options.batch,
                                   options.max_length, options.threads,
                                   options.prefill == NEST_PREFILL_DECODE,
                                   options.submodel ? options.submodel : ""));
    auto result = std::make_unique<nest_session>();
    result->session = std::move(created);
    *session = result.release();
    return Status::success();
  });
}

void nest_session_free(nest_session *session) { delete session; }

int64_t nest_session_length(const nest_session *session, int64_t sequence) {
  if (!session || sequence < 0 || sequence >= session->session->batch())
    return -1;
  return session->session->length(sequence);
}

int64_t nest_session_batch(const nest_session *session) {
  return session ? session->session->batch() : 0;
}

int64_t nest_session_max_length(const nest_session *session) {
  return session ? session->session->maxLength() : 0;
}

nest_status nest_session_bind(nest_session *session, const char *axis,
                              int64_t width) {
  return guard(NEST_ERROR_ARGUMENT, [&]() -> Status {
    NEST_CHECK_ARGUMENT(session);
    NEST_CHECK_ARGUMENT(axis);
    return session->session->bind(axis, width);
  });
}

void nest_session_reset(nest_session *session) {
  if (session)
    session->session->reset();
}

nest_status nest_session_set_modality(nest_session *session,
                                      const int32_t *values, int64_t count) {
  return guard(NEST_ERROR_INTERNAL, [&]() -> Status {
    NEST_CHECK_ARGUMENT(session);
    if (count)
      NEST_CHECK_ARGUMENT(values);
    return session->session->setModality(values, count);
  });
}

static nest_status runSession(nest_session *session, const char *entry,
                              bool allRows, const int32_t *tokens,
                              int64_t count, float *logits) {
  return guard(NEST_ERROR_INTERNAL, [&]() -> Status {
    NEST_CHECK_ARGUMENT(session);
    NEST_CHECK_ARGUMENT(tokens);
    return session->session->run(entry, allRows, tokens, count, logits);
  });
}

nest_status nest_session_prefill(nest_session *session, const int32_t *tokens,
                                 int64_t count, float *logits) {
  return runSession(session, "prefill", false, tokens, count, logits);
}

nest_status nest_session_verify(nest_session *session, const int32_t *tokens,
                                int64_t count, float *logits) {
  return runSession(session, "verify", true, tokens, count, logits);
}

nest_status nest_session_decode(nest_session *session, const int32_t *tokens,
                                float *logits) {
  return runSession(session, "decode", false, tokens, 1, logits);
}

nest_status nest_session_next(nest_session *session, const int32_t *tokens,
                              int64_t count, int32_t *next) {
  return guard(NEST_ERROR_INTERNAL, [&]() -> Status {
    NEST_CHECK_ARGUMENT(session);
    NEST_CHECK_ARGUMENT(tokens);
    NEST_CHECK_ARGUMENT(next);
    return session->session->next(tokens, count, next);
  });
}

nest_status nest_session_generate(nest_session *session, const int32_t *tokens,
                                  int64_t count,
                                  const nest_generate_options *given,
                                  nest_token_callback callback, void *user) {
  return guard(NEST_ERROR_INTERNAL, [&]() -> Status {
    NEST_CHECK_ARGUMENT(session);
    NEST_CHECK_ARGUMENT(tokens);
    NEST_CHECK_ARGUMENT(given);
    NEST_CHECK_ARGUMENT(callback);
    NEST_RT_ASSIGN(nest_generate_options options, readOptions(given));
    Session::GenerateOptions inner;
    inner.count = options.count;
    inner.temperature = options.temperature;
    inner.seed = options.seed;
    inner.ignoreEos = options.ignore_eos != 0;
    if (options.has_modality)
      inner.modality = options.modality;
    return session->session->generate(
        tokens, count, inner, [&](int64_t sequence, int32_t token) {
          return callback(user, sequence, token) == 0;
        });
  });
}

//===----------------------------------------------------------------------===//
// Any entry point
//===----------------------------------------------------------------------===//

nest_status nest_call_entry(const nest_package *package, const char *entry,
                            int32_t threads, const nest_buffer *inputs,
                            size_t numInputs, nest_buffer *outputs,
                            size_t numOutputs) {
  std::vector<void *> mine; // allocated here, freed on failure
  nest_status result = guard(NEST_ERROR_ARGUMENT, [&]() -> Status {
    NEST_CHECK_ARGUMENT(package);
    NEST_CHECK_ARGUMENT(entry);
    if (numInputs)
      NEST_CHECK_ARGUMENT(inputs);
    if (numOutputs)
      NEST_CHECK_ARGUMENT(outputs);
    if (threads < 0 || threads > 4096)
      return Error("threads", "is " + std::to_string(threads),
                   "1 to 4096, or 0 for the default");
    std::vector<NamedBuffer> named;
    for (size_t i = 0; i < numInputs; ++i) {
      const nest_buffer &input = inputs[i];
      NEST_CHECK_ARGUMENT(input.name);
      NEST_CHECK_ARGUMENT(input.dtype);
      NamedBuffer buffer;
      buffer.name = input.name;
      std::optional<DType> dtype = parseDType(input.dtype);
      if (!dtype)
        return Error(buffer.name,
                     "has the unknown type \"" + std::string(input.dtype) +
                         "\"",
                     "one of " + allDTypeNames());
      buffer.dtype = *dtype;
      if (input.rank < 0 || input.rank > NEST_MAX_RANK)
        return Error(buffer.name, "has rank " + std::to_string(input.rank),
                     "0 to 8");
      buffer.shape.assign(input.shape, input.shape + input.rank);
      std::optional<uint64_t> bytes = byteCount(buffer.dtype, buffer.shape);
      if (!bytes || input.bytes != *bytes)
        return Error(buffer.name,
                     "has " + std::to_string(input.bytes) + " bytes for " +
                         input.dtype + " " + shapeString(buffer.shape),
                     bytes ? std::to_string(*bytes) : "a smaller shape");
      buffer.data = input.data;
      named.push_back(std::move(buffer));
    }
    std::vector<std::string> wanted;
    for (size_t i = 0; i < numOutputs; ++i) {
      NEST_CHECK_ARGUMENT(outputs[i].name);
      wanted.push_back(outputs[i].name);
    }
    mine.reserve(numOutputs);
    return callEntry(
        *package->package, entry, threads, named, wanted,
        [&](size_t i, DType dtype,
            const std::vector<int64_t> &shape) -> Expected<void *> {
          nest_buffer &output = outputs[i];
          size_t bytes = *byteCount(dtype, shape);
          if (output.data && output.bytes < bytes)
            return Error(wanted[i],
                         "has room for " + std::to_string(output.bytes) +
                             " bytes",
                         std::to_string(bytes));
          if (!output.data) {
            output.data = std::aligned_alloc(
                64, std::max<size_t>(bytes + 63, 64) / 64 * 64);
            if (!output.data)
              throw std::bad_alloc();
            mine.push_back(output.data);
          }
          output.dtype = name(dtype);
          output.rank = static_cast<int32_t>(shape.size());
          std::copy(shape.begin(), shape.end(), output.shape);
          output.bytes = bytes;
          return output.data;
        });
  });
  if (result != NEST_OK)
    for (void *memory : mine) {
      for (size_t i = 0; i < numOutputs; ++i)
        if (outputs[i].data == memory)
          outputs[i].data = nullptr;
      std::free(memory);
    }
  return result;
}
