//===- Session.cpp - sequences, caches, generation --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Session.h"
#include "nest/runtime.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace nestc::rt;

static Error fail(int code, std::string place, std::string message,
                  std::string legal = {}) {
  return Error(std::move(place), std::move(message), std::move(legal))
      .withCode(code);
}

//===----------------------------------------------------------------------===//
// Sampling
//===----------------------------------------------------------------------===//

Random::Random(uint64_t seed) {
  for (uint64_t &word : state) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t Random::next() {
  auto rotate = [](uint64_t value, int by) {
    return value << by | value >> (64 - by);
  };
  uint64_t result = rotate(state[1] * 5, 7) * 9;
  uint64_t shifted = state[1] << 17;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotate(state[3], 45);
  return result;
}

int32_t nestc::rt::argmax(const float *logits, int64_t count) {
  int64_t best = -1;
  for (int64_t i = 0; i < count; ++i)
    if (!std::isnan(logits[i]) && (best < 0 || logits[i] > logits[best]))
      best = i;
  return static_cast<int32_t>(std::max<int64_t>(best, 0));
}

int32_t nestc::rt::sample(const float *logits, int64_t count,
                          double temperature, Random &random) {
  int32_t best = argmax(logits, count);
  double largest = logits[best];
  if (!(temperature > 0) || !std::isfinite(largest))
    return best;
  auto weight = [&](int64_t i) {
    double w = std::exp((logits[i] - largest) / temperature);
    return std::isnan(w) ? 0.0 : w;
  };
  double total = 0;
  for (int64_t i = 0; i < count; ++i)
    total += weight(i);
  double left = random.uniform() * total;
  int64_t last = best;
  for (int64_t i = 0; i < count; ++i) {
    double w = weight(i);
    if (w > 0) {
      last = i;
      if (left < w)
        return static_cast<int32_t>(i);
      left -= w;
    }
  }
  return static_cast<int32_t>(last); // rounding at the end of the sum
}

//===----------------------------------------------------------------------===//
// Creation
//===----------------------------------------------------------------------===//

/// The values of an entry's dims; an error for a dim that is neither B nor T.
static Expected<std::vector<int64_t>> dimValues(const Package &package,
                                                const Manifest::Entry &entry,
                                                int64_t batch, int64_t rows) {
  std::vector<int64_t> values;
  for (const std::string &dim : entry.dims) {
    if (dim != "B" && dim != "T")
      return fail(NEST_ERROR_UNSUPPORTED, package.path() + ": " + entry.name,
                  "has the dim " + dim + ", which a session does not know",
                  "B and T");
    values.push_back(dim == "B" ? batch : rows);
  }
  return values;
}

Expected<std::unique_ptr<Session>>
Session::create(const Package &package, int64_t batch, int64_t maxLength,
                int threads, bool causal, const std::string &name) {
  const Manifest &manifest = package.manifest();
  const std::string &place = package.path();
  int64_t most = manifest.model.maxLength;
  if (most == 0)
    return fail(NEST_ERROR_UNSUPPORTED, place,
                "takes no tokens, so that there is no session of it",
                "an entry point by name, with its inputs: " +
                    manifest.entries.front().name);
  if (batch < 0 || batch > INT32_MAX)
    return fail(NEST_ERROR_ARGUMENT, place,
                "a session cannot have a batch of " + std::to_string(batch),
                "1 or more");
  if (maxLength < 0 || maxLength > most)
    return fail(NEST_ERROR_LENGTH, place,
                "a session cannot have a maximum length of " +
                    std::to_string(maxLength),
                "1 to " + std::to_string(most) + ", the package's");
  if (threads < 0 || threads > 4096)
    return fail(NEST_ERROR_ARGUMENT, place,
                "a session cannot have " + std::to_string(threads) + " threads",
                "1 to 4096, or 0 for the default");
  NEST_RT_ASSIGN(size_t submodel, manifest.findSubmodel(name, place));
  NEST_RT_ASSIGN(std::unique_ptr<Executor> executor,
                 Executor::create(package, threads));
  std::unique_ptr<Session> session(new Session(package, std::move(executor)));
  session->sequences = batch ? batch : 1;
  session->limit = maxLength ? maxLength : most;
  session->causal = causal;
  session->submodel = submodel;
  for (const Manifest::Width &width : manifest.submodelAt(submodel).widths)
    session->bound.push_back(static_cast<int32_t>(width.high));

  // All caches of all its entry points, each once.
  struct Wanted {
    std::string name;
    uint64_t bytes;
    bool counts; // rows: [B]
  };
  std::vector<Wanted> wanted;
  std::unordered_map<std::string, bool> seen;
  uint64_t touched = 0;
  for (const Manifest::Entry &entry : manifest.entries) {
    bool hasCache = std::any_of(entry.inputs.begin(), entry.inputs.end(),
                                [](const auto &b) { return b.cache; });
    if (!hasCache || manifest.submodelOf(entry.name) != submodel)
      continue;
    NEST_RT_ASSIGN(std::vector<int64_t> dims,
                   dimValues(package, entry, session->sequences, 1));
    for (const Manifest::Buffer &buffer : entry.inputs) {
      if (!buffer.cache || !seen.emplace(buffer.name, true).second)
        continue;
      std::vector<int64_t> shape = Manifest::Entry::shapeOf(buffer, dims);
      std::optional<uint64_t> bytes = byteCount(buffer.dtype, shape);
      // Only the rows below the session's length are ever touched.
      for (size_t i = 0; i < shape.size(); ++i)
        if (!buffer.shape[i].isDynamic() && shape[i] == most) {
          shape[i] = session->limit;
          break;
        }
      std::optional<uint64_t> used = byteCount(buffer.dtype, shape);
      if (!bytes || !used || __builtin_add_overflow(touched, *used, &touched))
        return fail(NEST_ERROR_MEMORY, place,
                    "the caches of " + std::to_string(session->sequences) +
                        " sequences are larger than can be counted",
                    "a shorter --max-length or a smaller batch");
      wanted.push_back({buffer.name, *bytes, shape.size() == 1});
    }
  }
  NEST_RT_TRY(session->executor->checkRoom(
      touched, place + ": a session of " + std::to_string(session->sequences) +
                   " x " + std::to_string(session->limit) + " rows"));
  // Counters first, each at the alignment of an allocation.
  for (const Wanted &cache : wanted)
    if (cache.counts)
      session->counterBytes += (cache.bytes + 255) / 256 * 256;
  if (session->counterBytes) {
    NEST_RT_ASSIGN(session->counters,
                   session->executor->allocate(session->counterBytes,
                                               place + ": counters"));
    NEST_RT_ASSIGN(session->savedCounters,
                   session->executor->allocate(session->counterBytes,
                                               place + ": counters"));
  }
  char *counter = static_cast<char *>(session->counters.get());
  for (const Wanted &cache : wanted) {
    if (cache.counts) {
      session->caches.emplace(cache.name, Resident(session->counters, counter));
      counter += (cache.bytes + 255) / 256 * 256;
      continue;
    }
    NEST_RT_ASSIGN(
        Resident memory,
        session->executor->allocate(cache.bytes, place + ": " + cache.name));
    session->caches.emplace(cache.name, std::move(memory));
  }
  session->lengths.resize(static_cast<size_t>(session->sequences));
  session->reset();
  return session;
}

void Session::reset() {
  std::fill(lengths.begin(), lengths.end(), 0);
  // What fails here fails again in the next call, which says so.
  if (counters)
    (void)executor->zero(counters.get(), counterBytes);
  modality.clear();
}

Status Session::bind(const std::string &axis, int64_t value) {
  const std::vector<Manifest::Width> &widths =
      package.manifest().submodelAt(submodel).widths;
  std::vector<std::string> names;
  for (size_t i = 0; i < widths.size(); ++i) {
    if (widths[i].axis == axis) {
      NEST_RT_TRY(widths[i].check(value));
      bound[i] = static_cast<int32_t>(value);
      return Status::success();
    }
    names.push_back(widths[i].axis);
  }
  return fail(NEST_ERROR_ARGUMENT, axis, "is no width that a call binds",
              names.empty() ? "none: all widths were fixed at compile time"
                            : legalNames(axis, names));
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

/// The place of row i of [batch, count], for messages.
static std::string rowPlace(const char *name, int64_t sequences, int64_t count,
                            int64_t i) {
  std::string place = name;
  if (sequences > 1)
    place += "[" + std::to_string(i / count) + "]";
  return place + "[" + std::to_string(i % count) + "]";
}

static Status checkModality(const Package &package, size_t submodel,
                            int64_t value, const std::string &place) {
  const Manifest::Modalities &modalities =
      package.manifest().modalitiesOf(submodel);
  if (modalities.empty())
    return fail(NEST_ERROR_UNSUPPORTED, package.path(), "has no modalities",
                "none given");
  Status status = modalities.check(value, place);
  if (status.failed())
    return status.takeError().withCode(NEST_ERROR_ARGUMENT);
  return status;
}

Status Session::setModality(const int32_t *values, int64_t count) {
  if (count < 0 || count > limit)
    return fail(NEST_ERROR_ARGUMENT, "modality",
                "has " + std::to_string(count) + " rows",
                "0 to " + std::to_string(limit));
  int64_t rows = sequences * count;
  for (int64_t i = 0; i < rows; ++i)
    NEST_RT_TRY(checkModality(package, submodel, values[i],
                              rowPlace("modality", sequences, count, i)));
  modality.assign(values, values + rows);
  return Status::success();
}

Expected<int32_t *> Session::modalityOf(const Plan &plan, int64_t count) {
  auto rows = static_cast<size_t>(sequences * count);
  if (!modality.empty() && modality.size() != rows)
    return fail(
        NEST_ERROR_ARGUMENT, "modality",
        "has " +
            std::to_string(static_cast<int64_t>(modality.size()) / sequences) +
            " rows for a call of " + std::to_string(count),
        "one for each token");
  bool wanted = std::find(plan.roles.begin(), plan.roles.end(),
                          Plan::Modality) != plan.roles.end();
  if (!wanted || !modality.empty())
    return modality.data();
  const Manifest::Modalities &known = package.manifest().modalitiesOf(submodel);
  if (known.accepted.size() > 1)
    return fail(NEST_ERROR_ARGUMENT, "modality", "is missing",
                "for each token one of " + known.legal());
  onlyModality.assign(rows, static_cast<int32_t>(known.accepted.front()));
  return onlyModality.data();
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

Expected<const Session::Plan *> Session::plan(const char *name, bool allRows) {
  auto known = plans.find(name);
  if (known != plans.end())
    return &known->second;
  const Manifest &manifest = package.manifest();
  Plan result;
  NEST_RT_ASSIGN(result.entry, package.entry(manifest.entryOf(submodel, name)));
  const Manifest::Entry &entry = manifest.entries[result.entry];
  std::string place = package.path() + ": " + entry.name;
  // Two sizes tell B and T from constants.
  const int64_t someB = 3, someT = 5;
  bool hasT = entry.dim("T") >= 0;
  int64_t rows = hasT ? someT : 1;
  NEST_RT_ASSIGN(std::vector<int64_t> dims,
                 dimValues(package, entry, someB, someT));
  auto has = [&](const Manifest::Buffer &buffer, DType dtype,
                 const std::vector<int64_t> &shape) {
    return buffer.dtype == dtype &&
           Manifest::Entry::shapeOf(buffer, dims) == shape;
  };
  const std::vector<Manifest::Width> &widths =
      manifest.submodelAt(submodel).widths;
  for (const Manifest::Buffer &buffer : entry.inputs) {
    bool good = true;
    void *cache = nullptr;
    auto width = std::find_if(
        widths.begin(), widths.end(),
        [&](const Manifest::Width &w) { return w.axis == buffer.name; });
    result.widths.push_back(width == widths.end()
                                ? 0
                                : static_cast<size_t>(width - widths.begin()));
    if (buffer.cache) {
      result.roles.push_back(Plan::Cache);
      cache = caches.find(buffer.name)->second.get();
      good = !buffer.shape.empty() && buffer.shape[0].isDynamic();
    } else if (width != widths.end()) {
      result.roles.push_back(Plan::Width);
    } else if (buffer.name == "tokens") {
      result.roles.push_back(Plan::Tokens);
      good = has(buffer, DType::I32, {someB, rows});
    } else if (buffer.name == "positions") {
      result.roles.push_back(Plan::Positions);
      good = has(buffer, DType::I32, {someB, rows});
    } else if (buffer.name == "lengths") {
      result.roles.push_back(Plan::Lengths);
      good = has(buffer, DType::I32, {someB});
    } else if (buffer.name == "modality") {
      result.roles.push_back(Plan::Modality);
      good = has(buffer, DType::I32, {someB, rows});
    } else {
      return fail(NEST_ERROR_UNSUPPORTED, place,
                  "has the input " + buffer.name +
                      ", which a session does not know",
                  "tokens, positions, lengths, modality and caches");
    }
    if (!good)
      return fail(NEST_ERROR_UNSUPPORTED, place,
                  "the input " + buffer.name +
                      " has not the type or shape of a session's",
                  "i32 tokens, positions and modality [B, T], lengths [B]; "
                  "caches [B, ...]");
    result.caches.push_back(cache);
  }
  result.choosesToken = !allRows && entry.outputs.size() == 2 &&
                        entry.outputs[1].name == "token" &&
                        has(entry.outputs[1], DType::I32, {someB, 1});
  bool good = entry.outputs.size() == (result.choosesToken ? 2 : 1) &&
              entry.outputs[0].name == "logits" &&
              has(entry.outputs[0], DType::F32,
                  {someB, allRows ? rows : 1, manifest.model.vocabSize});
  if (!good)
    return fail(NEST_ERROR_UNSUPPORTED, place,
                "has not the outputs of a session's entry point",
                allRows ? "f32 logits [B, T, vocabulary]"
                        : "f32 logits [B, 1, vocabulary], and maybe i32 token "
                          "[B, 1]");
  return &plans.emplace(name, std::move(result)).first->second;
}

Status Session::run(const char *name, bool allRows, const int32_t *tokens,
                    int64_t count, float *logits, int32_t *chosen) {
  std::string causalName = std::string(name) + "_causal";
  if (causal && package.manifest().findEntry(
                    package.manifest().entryOf(submodel, causalName)))
    name = causalName.c_str();
  NEST_RT_ASSIGN(const Plan *plan, this->plan(name, allRows));
  const Manifest &manifest = package.manifest();
  const Manifest::Entry &entry = manifest.entries[plan->entry];
  int64_t vocabulary = manifest.model.vocabSize;
  if (count < 1)
    return fail(NEST_ERROR_ARGUMENT, "tokens",
                "there are " + std::to_string(count), "1 or more");
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (count > limit - longest)
    return fail(NEST_ERROR_LENGTH, "tokens",
                std::to_string(count) + " rows behind " +
                    std::to_string(longest) +
                    " are more than the maximum "
                    "length",
                "at most " + std::to_string(limit) + " rows");
  if (count > 1 && entry.dim("T") < 0)
    return fail(NEST_ERROR_ARGUMENT, "tokens",
                std::to_string(count) + " rows for " + entry.name, "1");
  // Below 2^31 each: the product fits.
  int64_t rows = sequences * count;
  for (int64_t i = 0; i < rows; ++i)
    if (tokens[i] < 0 || tokens[i] >= vocabulary)
      return fail(NEST_ERROR_TOKEN, rowPlace("tokens", sequences, count, i),
                  "is " + std::to_string(tokens[i]) +
                      ", outside the vocabulary",
                  "0 to " + std::to_string(vocabulary - 1));
  NEST_RT_ASSIGN(int32_t *modalities, modalityOf(*plan, count));

  positions.resize(static_cast<size_t>(rows));
  for (int64_t b = 0; b < sequences; ++b)
    for (int64_t t = 0; t < count; ++t)
      positions[static_cast<size_t>(b * count + t)] =
          lengths[static_cast<size_t>(b)] + static_cast<int32_t>(t);
  std::optional<uint64_t> logitBytes =
      byteCount(DType::F32, {sequences, allRows ? count : 1, vocabulary});
  if (!logitBytes)
    return fail(NEST_ERROR_MEMORY, package.path() + ": logits",
                "are larger than can be counted",
                "a shorter prompt or a smaller batch");
  bool isHostChoosing = chosen && !plan->choosesToken;
  if (!logits && isHostChoosing) {
    if (ownLogits.size() < *logitBytes / 4) {
      NEST_RT_TRY(checkMemory(*logitBytes, package.path() + ": logits"));
      ownLogits.resize(*logitBytes / 4);
    }
    logits = ownLogits.data();
  }

  std::vector<Argument> inputs;
  uint64_t rowBytes = static_cast<uint64_t>(rows) * 4;
  for (size_t i = 0; i < plan->roles.size(); ++i) {
    switch (plan->roles[i]) {
    case Plan::Tokens:
      inputs.push_back(
          Argument::onHost(const_cast<int32_t *>(tokens), rowBytes));
      break;
    case Plan::Positions:
      inputs.push_back(Argument::onHost(positions.data(), rowBytes));
      break;
    case Plan::Lengths:
      inputs.push_back(Argument::onHost(lengths.data(), lengths.size() * 4));
      break;
    case Plan::Modality:
      inputs.push_back(Argument::onHost(modalities, rowBytes));
      break;
    case Plan::Width:
      inputs.push_back(Argument::onHost(&bound[plan->widths[i]], 4));
      break;
    case Plan::Cache:
      inputs.push_back(Argument::of(plan->caches[i]));
      break;
    }
  }
  NEST_RT_ASSIGN(std::vector<int64_t> dims,
                 dimValues(package, entry, sequences, count));
  // What is null is not wanted.
  std::vector<Argument> outputs = {Argument::onHost(logits, *logitBytes)};
  if (plan->choosesToken)
    outputs.push_back(
        Argument::onHost(chosen, static_cast<uint64_t>(sequences) * 4));
  NEST_RT_TRY(call(*plan, inputs, outputs, dims));
  for (int64_t b = 0; isHostChoosing && b < sequences; ++b)
    chosen[b] = argmax(logits + b * vocabulary, vocabulary);
  for (int32_t &length : lengths)
    length += static_cast<int32_t>(count);
  modality.clear();
  return Status::success();
}

Status Session::next(const int32_t *tokens, int64_t count, int32_t *chosen) {
  bool isFirst = *std::max_element(lengths.begin(), lengths.end()) == 0;
  return run(count == 1 && !isFirst ? "decode" : "prefill", false, tokens,
             count, nullptr, chosen);
}

Status Session::call(const Plan &plan, const std::vector<Argument> &inputs,
                     const std::vector<Argument> &outputs,
                     const std::vector<int64_t> &dims) {
  if (counters)
    NEST_RT_TRY(
        executor->copy(savedCounters.get(), counters.get(), counterBytes));
  Status status = executor->call(plan.entry, inputs, outputs, dims);
  // Rows above what is counted are never visible: with the counts as they were,
  // so is the session. The first error is the one to tell.
  if (status.failed() && counters)
    (void)executor->copy(counters.get(), savedCounters.get(), counterBytes);
  return status;
}

Status
Session::generate(const int32_t *tokens, int64_t count,
                  const GenerateOptions &options,
                  const std::function<bool(int64_t, int32_t)> &callback) {
  if (options.count < 0)
    return fail(NEST_ERROR_ARGUMENT, "count", "is negative", "0 or more");
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    return fail(NEST_ERROR_ARGUMENT, "temperature",
                "is " + std::to_string(options.temperature),
                "0 (greedy) or a finite number above it");
  const Manifest &manifest = package.manifest();
  int64_t vocabulary = manifest.model.vocabSize;
  std::vector<int32_t> modalities;
  if (options.modality) {
    NEST_RT_TRY(
        checkModality(package, submodel, *options.modality, "modality"));
    modalities.assign(static_cast<size_t>(sequences), *options.modality);
  } else if (!modality.empty()) {
    int64_t each = static_cast<int64_t>(modality.size()) / sequences;
    for (int64_t b = 1; b <= sequences; ++b)
      modalities.push_back(modality[static_cast<size_t>(b * each - 1)]);
  }
  // Greedy generation needs no logits here.
  bool isGreedy = options.temperature == 0;
  std::vector<float> logits;
  std::vector<int32_t> chosen(static_cast<size_t>(isGreedy ? sequences : 0));
  if (!isGreedy)
    logits.resize(static_cast<size_t>(sequences * vocabulary));
  auto step = [&](const char *name, const int32_t *tokens, int64_t count) {
    return isGreedy ? run(name, false, tokens, count, nullptr, chosen.data())
                    : run(name, false, tokens, count, logits.data());
  };
  NEST_RT_TRY(step("prefill", tokens, count));

  // A stream of numbers per sequence: its tokens do not depend on the others.
  std::vector<Random> random;
  random.reserve(static_cast<size_t>(sequences));
  for (int64_t b = 0; b < sequences; ++b)
    random.emplace_back(options.seed +
                        static_cast<uint64_t>(b) * 0xd1342543de82ef95);
  const std::vector<int64_t> &eos = manifest.model.eosTokenIds;
  std::vector<bool> done(static_cast<size_t>(sequences));
  std::vector<int32_t> next(static_cast<size_t>(sequences));
  for (int64_t made = 0; made < options.count; ++made) {
    if (made > 0) {
      modality = modalities;
      Status status = step("decode", next.data(), 1);
      modality.clear();
      NEST_RT_TRY(std::move(status));
    }
    bool allDone = true;
    for (int64_t b = 0; b < sequences; ++b) {
      size_t i = static_cast<size_t>(b);
      if (done[i])
        continue; // goes on with its last token, unheard
      next[i] = isGreedy ? chosen[i]
                         : sample(logits.data() + b * vocabulary, vocabulary,
                                  options.temperature, random[i]);
      if (!options.ignoreEos &&
          std::find(eos.begin(), eos.end(), next[i]) != eos.end())
        done[i] = true;
      else if (!callback(b, next[i]))
        return Status::success();
      allDone &= done[i];
    }
    if (allDone)
      break;
  }
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Any entry point
//===----------------------------------------------------------------------===//

/// Values that generated code uses as indices.
static Status checkIndices(const Manifest &manifest,
                           const Manifest::Entry &entry,
                           const NamedBuffer &buffer, bool isCache,
                           int64_t rows) {
  if (buffer.dtype != DType::I32)
    return Status::success();
  const auto *values = static_cast<const int32_t *>(buffer.data);
  int64_t count = elementCount(buffer.shape).value_or(0);
  if (buffer.name == "modality") {
    for (int64_t i = 0; i < count; ++i)
      if (Status status =
              manifest.modalitiesOf(manifest.submodelOf(entry.name))
                  .check(values[i], "modality[" + std::to_string(i) + "]");
          status.failed())
        return status.takeError().withCode(NEST_ERROR_ARGUMENT);
    return Status::success();
  }
  if (const Manifest::Width *width =
          manifest.submodelAt(manifest.submodelOf(entry.name))
              .findWidth(buffer.name))
    return width->check(values[0]);
  int64_t limit;
  int code = NEST_ERROR_LENGTH;
  if (buffer.name == "tokens") {
    limit = manifest.model.vocabSize;
    code = NEST_ERROR_TOKEN;
  } else if (buffer.name == "lengths" ||
             (isCache && buffer.shape.size() == 1)) {
    limit = manifest.model.maxLength - rows + 1;
  } else if (buffer.name == "positions" || isCache) {
    limit = manifest.model.maxLength;
  } else {
    return Status::success();
  }
  for (int64_t i = 0; i < count; ++i)
    if (values[i] < 0 || values[i] >= limit)
      return fail(code, buffer.name + "[" + std::to_string(i) + "]",
                  "is " + std::to_string(values[i]),
                  limit > 0 ? "0 to " + std::to_string(limit - 1)
                            : "fewer rows in a call");
  return Status::success();
}

Status
nestc::rt::callEntry(const Package &package, const std::string &entryName,
                     int threads, const std::vector<NamedBuffer> &inputs,
                     const std::vector<std::string> &wanted,
                     const std::function<Expected<void *>(
                         size_t, DType, const std::vector<int64_t> &)> &place) {
  NEST_RT_ASSIGN(size_t index, package.entry(entryName));
  const Manifest &manifest = package.manifest();
  const Manifest::Entry &entry = manifest.entries[index];
  std::string where = package.path() + ": " + entry.name;

  std::unordered_map<std::string, const NamedBuffer *> given;
  std::vector<std::string> inputNames, outputNames;
  for (const Manifest::Buffer &buffer : entry.inputs)
    inputNames.push_back(buffer.name);
  // Widths that are not given are the largest.
  const std::vector<Manifest::Width> &widths =
      manifest.submodelAt(manifest.submodelOf(entry.name)).widths;
  std::vector<int32_t> most(widths.size());
  std::vector<NamedBuffer> defaults(widths.size());
  for (size_t i = 0; i < widths.size(); ++i) {
    most[i] = static_cast<int32_t>(widths[i].high);
    defaults[i] = {widths[i].axis, DType::I32, {1}, &most[i]};
  }
  for (const NamedBuffer &buffer : inputs) {
    if (!entry.findInput(buffer.name))
      return fail(NEST_ERROR_ARGUMENT, where,
                  "has no input \"" + buffer.name + "\"",
                  legalNames(buffer.name, inputNames));
    if (!given.emplace(buffer.name, &buffer).second)
      return fail(NEST_ERROR_ARGUMENT, where,
                  "the input " + buffer.name + " is given twice", "once");
  }

  for (const NamedBuffer &buffer : defaults)
    if (entry.findInput(buffer.name))
      given.emplace(buffer.name, &buffer);

  // Dims take their values from the inputs that have them.
  std::vector<int64_t> dims(entry.dims.size(), -1);
  for (const Manifest::Buffer &buffer : entry.inputs) {
    auto it = given.find(buffer.name);
    if (it == given.end()) {
      if (!buffer.cache)
        return fail(NEST_ERROR_ARGUMENT, where,
                    "the input " + buffer.name + " is missing",
                    "all inputs but caches");
      continue;
    }
    const NamedBuffer &value = *it->second;
    std::string text = "[";
    for (const ManifestDim &dim : buffer.shape)
      text += (text.size() > 1 ? ", " : "") +
              (dim.isDynamic() ? entry.dims[static_cast<size_t>(dim.symbol)]
                               : std::to_string(dim.size));
    text += "]";
    bool good = value.dtype == buffer.dtype &&
                value.shape.size() == buffer.shape.size();
    for (size_t i = 0; good && i < value.shape.size(); ++i) {
      const ManifestDim &dim = buffer.shape[i];
      if (!dim.isDynamic()) {
        good = value.shape[i] == dim.size;
        continue;
      }
      int64_t &bound = dims[static_cast<size_t>(dim.symbol)];
      if (bound < 0)
        bound = value.shape[i];
      good = bound == value.shape[i] && bound >= 1;
    }
    if (!good)
      return fail(NEST_ERROR_ARGUMENT, where,
                  "the input " + buffer.name + " is " + name(value.dtype) +
                      " " + shapeString(value.shape),
                  std::string(name(buffer.dtype)) + " " + text +
                      ", every dim the same in all inputs");
    if (!byteCount(value.dtype, value.shape) || !value.data ||
        reinterpret_cast<uintptr_t>(value.data) % byteSize(value.dtype))
      return fail(NEST_ERROR_ARGUMENT, where,
                  "the input " + buffer.name +
                      " has no data, or not where its type wants it",
                  "data aligned to its elements");
  }
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] < 0)
      return fail(NEST_ERROR_ARGUMENT, where,
                  "no input gives the dim " + entry.dims[i],
                  "an input that has it");
  int rowDim = entry.dim("T");
  int64_t rows = rowDim < 0 ? 1 : dims[static_cast<size_t>(rowDim)];
  for (const NamedBuffer &buffer : inputs)
    NEST_RT_TRY(checkIndices(manifest, entry, buffer,
                             entry.findInput(buffer.name)->cache, rows));

  for (const Manifest::Buffer &buffer : entry.outputs)
    outputNames.push_back(buffer.name);
  for (const Manifest::Buffer &buffer : entry.inputs)
    if (buffer.cache)
      outputNames.push_back(buffer.name);
  for (const std::string &name : wanted)
    if (std::find(outputNames.begin(), outputNames.end(), name) ==
        outputNames.end())
      return fail(NEST_ERROR_ARGUMENT, where, "has no output \"" + name + "\"",
                  legalNames(name, outputNames));

  // Caches and outputs get memory of our own; results are copied to where they
  // are wanted.
  NEST_RT_ASSIGN(std::unique_ptr<Executor> executor,
                 Executor::create(package, threads));
  std::vector<Resident> residents;
  std::unordered_map<std::string, Argument> results;
  uint64_t total = 0;
  auto bytesOf = [&](const Manifest::Buffer &buffer) {
    return byteCount(buffer.dtype, Manifest::Entry::shapeOf(buffer, dims));
  };
  auto reserve = [&](const Manifest::Buffer &buffer) -> Status {
    std::optional<uint64_t> bytes = bytesOf(buffer);
    if (!bytes || __builtin_add_overflow(total, *bytes, &total))
      return fail(NEST_ERROR_MEMORY, where,
                  buffer.name + " is larger than can be counted",
                  "smaller inputs");
    return Status::success();
  };
  std::vector<Argument> inputData, outputData;
  for (const Manifest::Buffer &buffer : entry.inputs) {
    auto it = given.find(buffer.name);
    if (!buffer.cache) {
      inputData.push_back(Argument::onHost(it->second->data, *bytesOf(buffer)));
      continue;
    }
    NEST_RT_TRY(reserve(buffer));
    NEST_RT_TRY(executor->checkRoom(total, where));
    NEST_RT_ASSIGN(Resident data, executor->allocate(*bytesOf(buffer), where));
    if (it != given.end())
      NEST_RT_TRY(
          executor->upload(data.get(), it->second->data, *bytesOf(buffer)));
    inputData.push_back(Argument::of(data.get()));
    results[buffer.name] = inputData.back();
    residents.push_back(std::move(data));
  }
  std::vector<Memory> memory;
  for (const Manifest::Buffer &buffer : entry.outputs) {
    NEST_RT_TRY(reserve(buffer));
    NEST_RT_TRY(checkMemory(total, where));
    NEST_RT_ASSIGN(Memory block,
                   Memory::allocate(*bytesOf(buffer), false, where));
    memory.push_back(std::move(block));
    outputData.push_back(
        Argument::onHost(memory.back().data(), *bytesOf(buffer)));
    results[buffer.name] = outputData.back();
  }
  NEST_RT_TRY(executor->call(index, inputData, outputData, dims));
  for (size_t i = 0; i < wanted.size(); ++i) {
    const Manifest::Buffer *buffer = entry.findOutput(wanted[i]);
    if (!buffer)
      buffer = entry.findInput(wanted[i]);
    std::vector<int64_t> shape = Manifest::Entry::shapeOf(*buffer, dims);
    NEST_RT_ASSIGN(void *target, place(i, buffer->dtype, shape));
    const Argument &result = results[wanted[i]];
    uint64_t bytes = *byteCount(buffer->dtype, shape);
    if (result.resident)
      NEST_RT_TRY(executor->download(target, result.data, bytes));
    else
      std::memcpy(target, result.data, bytes);
  }
  return Status::success();
}
