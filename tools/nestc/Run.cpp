//===- Run.cpp - nestc run ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Json.h"
#include "lowering/runtime/Npy.h"
#include "passes/Submodel.h"
#include "tools/nestc/Chat.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Package.h"
#include "tools/nestc/Profile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>

using namespace nestc;

static const CommandSpec kSpec = {
    "run",
    "PKG",
    "run a package on tokens or text, or one entry on arrays",
    {{"--tokens", "IDS", "1,2,3, or a .npy of int32 or int64, [T] or [B,T]"},
     {"--prompt", "TEXT", "text, where the package holds a tokenizer"},
     {"--logits", "OUT.npy", "write f32 logits of every row, teacher-forced"},
     {"--stepwise", "N", "prefill N rows (default 0), then decode row by row",
      /*repeated=*/false, /*optionalValue=*/true},
     {"--generate", "N", "new tokens (default 64 without --logits)"},
     {"--temperature", "X", "sample; 0 is greedy"},
     {"--seed", "N", "of the sampling"},
     {"--threads", "N", "threads (default: all cores)"},
     {"--entry", "NAME", "run this entry as it is"},
     {"--in", "NAME=FILE.npy",
      "an input of the entry, or modality beside tokens",
      /*repeated=*/true},
     {"--out", "NAME=FILE.npy", "an output of the entry", /*repeated=*/true},
     {"--submodel", "NAME", "a submodel of the package (default: the first)"},
     {"--bind", "SPEC", "widths that are open: layers.all.ffn=1/4",
      /*repeated=*/true},
     {"--chat", "", "--prompt is what a user says to a chat model"},
     {"--prefill", "RULE",
      "how a prefill is routed: select (default) or decode"},
     {"--modality", "NAME", "of the new tokens (default: the prompt's last)"},
     {"--draft", "NAME", "", false, false, /*notYet=*/true},
     {"--switch", "N:NAME", "", false, false, /*notYet=*/true},
     {"--emulate", "", "a package for a GPU, on the PTX emulator (slow)"},
     {"--profile", "", "with --emulate: what its kernels did, on stderr"}}};

namespace {

/// Token ids, [batch, rows]; `batched` when they came with a batch dimension.
struct Tokens {
  std::vector<int32_t> ids;
  int64_t batch = 1, rows = 0;
  bool batched = false;
};

class Runner {
public:
  Runner(const Arguments &arguments, const Reporter &reporter)
      : arguments(arguments), reporter(reporter) {}
  int run();

private:
  int usage(const std::string &message, const std::string &legal) {
    return reporter.fail(ExitUsage, {"nestc run", message, legal});
  }
  /// Refuses an output that cannot be written, before long work.
  int checkOutput(const std::string &path) {
    rt::Expected<rt::AtomicFile> made = rt::AtomicFile::create(path);
    return made ? ExitDone : reporter.fail(ExitInput, made.error());
  }
  /// The name in the package of an entry of the submodel.
  std::string entryOf(const std::string &entry) const;
  /// A session for `tokens`, with these widths.
  SessionPtr makeBoundSession(const Tokens &tokens, int &code);
  /// Checks --submodel against what the package holds.
  int checkSubmodel();
  /// Makes of what a user says the text that the model is given.
  int applyChat(std::string &text);
  int readTokens(Tokens &tokens);
  /// Checks that the tokens are in the vocabulary and fit into the cache.
  int checkTokens(const Tokens &tokens, const std::string &place);
  int readTokenList(const std::string &text, Tokens &tokens);
  int readTokenFile(const std::string &path, Tokens &tokens);
  /// Reads --in modality=FILE and --modality, checked against the package.
  int readModality(const Tokens &tokens);
  int readModalityFile(const std::string &path, const Tokens &tokens);
  /// Splits NAME=FILE.npy; reports and returns false where it is none.
  bool splitFile(const char *option, const std::string &word, std::string &name,
                 std::string &path);
  int writeLogits(const Tokens &tokens);
  int generate(const Tokens &tokens);
  bool generates() const {
    return !arguments.has("--logits") || arguments.has("--generate");
  }
  /// What run() does once the command line is understood.
  int runPackage(bool emulate);
  int runEntry();
  /// Says how a package that takes no tokens is run.
  int refuseTokens();
  bool isInputOfType(const std::string &entry, const std::string &name,
                     const char *type) const;

  const Arguments &arguments;
  const Reporter &reporter;
  PackagePtr package;
  rt::Json info;
  const rt::Json *submodel =
      nullptr;   ///< in info, of a further submodel                 ///< the
                 ///< package's, see nest_package_info_json
  Widths widths; ///< of --bind
  std::vector<int32_t> modality; ///< of the tokens; empty when not given
  std::optional<int32_t> newModality;
  int32_t prefill = NEST_PREFILL_SELECT;
  int64_t threads = 0, stepwise = -1, count = 64, seed = 0;
  double temperature = 0;
};

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

int Runner::readTokenList(const std::string &text, Tokens &tokens) {
  static const char *legal = "give ids such as 1,2,3, or a .npy file";
  llvm::SmallVector<llvm::StringRef> words;
  llvm::StringRef(text).split(words, ',');
  for (llvm::StringRef word : words) {
    word = word.trim();
    llvm::StringRef digits = word;
    bool negative = digits.consume_front("-");
    if (digits.empty() || !llvm::all_of(digits, llvm::isDigit))
      return reporter.fail(
          ExitUsage, {"--tokens", "'" + word.str() + "' is no token", legal});
    int32_t id;
    if (negative || digits.getAsInteger(10, id))
      return reporter.fail(
          ExitInput,
          {"--tokens", "the token " + word.str() + " is out of range",
           "tokens are 0 to " +
               std::to_string(nest_package_vocab_size(package.get()) - 1)});
    tokens.ids.push_back(id);
  }
  tokens.rows = tokens.ids.size();
  return ExitDone;
}

int Runner::readTokenFile(const std::string &path, Tokens &tokens) {
  rt::Expected<rt::NpyArray> array = rt::readNpy(path);
  if (!array)
    return reporter.fail(ExitInput, array.error());
  bool known = array->dtype == rt::DType::I32 || array->dtype == rt::DType::I64;
  if (!known || array->shape.empty() || array->shape.size() > 2)
    return reporter.fail(ExitInput,
                         {path,
                          std::string("is ") + rt::name(array->dtype) + " " +
                              rt::shapeString(array->shape),
                          "tokens are i32 or i64, [T] or [B,T]"});
  tokens.batched = array->shape.size() == 2;
  tokens.batch = tokens.batched ? array->shape[0] : 1;
  tokens.rows = array->shape.back();
  if (array->count() == 0)
    return reporter.fail(ExitInput,
                         {path, "holds no token", "give at least one row"});
  for (int64_t i = 0; i < array->count(); ++i) {
    int64_t id = array->dtype == rt::DType::I32 ? array->as<int32_t>()[i]
                                                : array->as<int64_t>()[i];
    if (id < 0 || id > INT32_MAX)
      return reporter.fail(
          ExitInput,
          {path, "the token " + std::to_string(id) + " is out of range",
           "tokens are 0 to " +
               std::to_string(nest_package_vocab_size(package.get()) - 1)});
    tokens.ids.push_back(static_cast<int32_t>(id));
  }
  return ExitDone;
}

int Runner::applyChat(std::string &text) {
  auto isToken = [&](const std::string &mark) {
    int32_t *ids = nullptr;
    size_t size = 0;
    bool known = nest_tokenize(package.get(), mark.data(), mark.size(), 0, &ids,
                               &size) == NEST_OK;
    nest_free(ids);
    return known && size == 1;
  };
  const rt::Json *model = info.find("model");
  const rt::Json *family = model ? model->find("family") : nullptr;
  rt::Expected<std::string> prompt = chatPrompt(
      family && family->isString() ? family->asString() : "", text, isToken);
  if (!prompt)
    return reporter.fail(ExitInput, prompt.error());
  text = std::move(*prompt);
  return ExitDone;
}

int Runner::readTokens(Tokens &tokens) {
  int code = ExitDone;
  std::string place = "--tokens";
  if (arguments.has("--prompt")) {
    place = "--prompt";
    std::string text = arguments.get("--prompt");
    if (arguments.has("--chat"))
      if (int failed = applyChat(text))
        return failed;
    int32_t *ids = nullptr;
    size_t size = 0;
    if (nest_status status = nest_tokenize(package.get(), text.data(),
                                           text.size(), 1, &ids, &size))
      return failRuntime(status, reporter,
                         status == NEST_ERROR_ARGUMENT ? "--prompt" : "");
    tokens.ids.assign(ids, ids + size);
    nest_free(ids);
    tokens.rows = size;
    if (size == 0)
      return reporter.fail(ExitInput, {"--prompt", "the text has no token",
                                       "give at least one character"});
  } else {
    std::string text = arguments.get("--tokens");
    if (llvm::StringRef(text).ends_with(".npy")) {
      place = text;
      code = readTokenFile(text, tokens);
    } else {
      code = readTokenList(text, tokens);
    }
  }
  return code ? code : checkTokens(tokens, place);
}

int Runner::checkTokens(const Tokens &tokens, const std::string &place) {
  int64_t vocab = nest_package_vocab_size(package.get());
  int64_t room = nest_package_max_length(package.get());
  for (int32_t id : tokens.ids)
    if (id >= vocab)
      return reporter.fail(
          ExitInput,
          {place,
           "the token " + std::to_string(id) + " is outside the vocabulary",
           "tokens are 0 to " + std::to_string(vocab - 1)});
  if (tokens.rows > room)
    return reporter.fail(
        ExitInput, {place, "has " + std::to_string(tokens.rows) + " tokens",
                    "the package has room for " + std::to_string(room) +
                        " (nestc compile --max-length sets it)"});
  // The last new token is not run, so it needs no row.
  int64_t most = room - tokens.rows + 1;
  if (!arguments.has("--generate"))
    count = std::min(count, most);
  else if (count > most)
    return reporter.fail(ExitInput,
                         {"--generate",
                          std::to_string(count) + " tokens behind " +
                              std::to_string(tokens.rows) + " are too many",
                          "the package has room for " + std::to_string(most) +
                              " more; nestc compile --max-length sets it"});
  return ExitDone;
}

int Runner::checkSubmodel() {
  rt::Expected<rt::Json> read =
      rt::parseJson(nest_package_info_json(package.get()), "package");
  if (!read)
    return reporter.fail(ExitDefect, read.error());
  info = std::move(*read);
  int code = ExitDone;
  submodel = findSubmodel(info, arguments.get("--submodel"), reporter, code);
  return code;
}

SessionPtr Runner::makeBoundSession(const Tokens &tokens, int &code) {
  SessionPtr session =
      makeSession(package.get(), arguments.get("--submodel"), tokens.batch, 0,
                  threads, prefill, reporter, code);
  if (!session)
    return nullptr;
  if (int failed = bindWidths(session.get(), widths, reporter)) {
    code = failed;
    return nullptr;
  }
  return session;
}

std::string Runner::entryOf(const std::string &entry) const {
  return submodel ? arguments.get("--submodel") + ":" + entry : entry;
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

int Runner::readModalityFile(const std::string &path, const Tokens &tokens) {
  rt::Expected<rt::NpyArray> array = rt::readNpy(path);
  if (!array)
    return reporter.fail(ExitInput, array.error());
  std::vector<int64_t> shape = {tokens.rows};
  if (tokens.batched)
    shape.insert(shape.begin(), tokens.batch);
  if (array->dtype != rt::DType::I32 || array->shape != shape)
    return reporter.fail(
        ExitInput,
        {path,
         std::string("is ") + rt::name(array->dtype) + " " +
             rt::shapeString(array->shape),
         "modalities are i32 of the tokens' shape " + rt::shapeString(shape)});
  rt::Manifest::Modalities known =
      readModalities(submodel ? submodel : info.find("model"));
  for (int64_t i = 0; i < array->count(); ++i) {
    int32_t value = array->as<int32_t>()[i];
    if (rt::Status status =
            known.check(value, path + "[" + std::to_string(i) + "]");
        status.failed())
      return reporter.fail(ExitInput, status.error());
    modality.push_back(value);
  }
  return ExitDone;
}

int Runner::readModality(const Tokens &tokens) {
  rt::Manifest::Modalities known =
      readModalities(submodel ? submodel : info.find("model"));
  auto refuse = [&](const std::string &option) {
    return reporter.fail(
        ExitInput, {option, "the model has no modalities", "leave it out"});
  };
  for (const std::string &word : arguments.getAll("--in")) {
    std::string name, path;
    if (!splitFile("--in", word, name, path))
      return ExitUsage;
    if (name != "modality" || !modality.empty())
      return reporter.fail(
          ExitInput,
          {"--in",
           modality.empty() ? "'" + name + "' is no input beside tokens"
                            : std::string("modality is given twice"),
           "legal is modality=FILE.npy, or --entry NAME for one entry"});
    if (known.empty())
      return refuse("--in");
    if (int code = readModalityFile(path, tokens))
      return code;
  }
  if (modality.empty() && known.accepted.size() > 1 &&
      isInputOfType(entryOf("decode"), "modality", "i32"))
    return reporter.fail(ExitInput, {"--in",
                                     "the model takes a modality with each "
                                     "token, and none is given",
                                     "give --in modality=FILE.npy, i32 of the "
                                     "tokens' shape, of " +
                                         known.legal()});
  if (!arguments.has("--modality"))
    return ExitDone;
  if (known.empty())
    return refuse("--modality");
  std::string name = arguments.get("--modality");
  std::vector<std::string> legal;
  for (int64_t value : known.accepted) {
    legal.push_back(known.names[value]);
    if (legal.back() == name)
      newModality = static_cast<int32_t>(value);
  }
  if (!newModality)
    return reporter.fail(ExitInput,
                         {"--modality", "'" + name + "' is not accepted",
                          rt::legalNames(name, legal)});
  return ExitDone;
}

//===----------------------------------------------------------------------===//
// Logits and generation
//===----------------------------------------------------------------------===//

int Runner::writeLogits(const Tokens &tokens) {
  int code = checkOutput(arguments.get("--logits"));
  if (code)
    return code;
  int64_t vocab = nest_package_vocab_size(package.get());
  int64_t first = stepwise < 0 ? tokens.rows : std::min(stepwise, tokens.rows);
  SessionPtr session = makeBoundSession(tokens, code);
  if (!session)
    return code;
  // Not touched before the first call has found its memory.
  std::unique_ptr<float[]> logits(
      new (std::nothrow) float[tokens.batch * tokens.rows * vocab]);
  if (!logits)
    return reporter.fail(
        ExitInput,
        {"--logits", "there is not enough memory for them", "fewer tokens"});
  // Calls take [batch, rows of the call]; logits are gathered by sequence.
  std::vector<int32_t> ids, modalities;
  std::vector<float> part;
  auto call = [&](int64_t from, int64_t rows, bool decode) {
    auto cut = [&](const std::vector<int32_t> &all,
                   std::vector<int32_t> &rowsOf) {
      rowsOf.clear();
      for (int64_t b = 0; b < tokens.batch; ++b)
        for (int64_t t = from; t < from + rows; ++t)
          rowsOf.push_back(all[b * tokens.rows + t]);
    };
    cut(tokens.ids, ids);
    if (!modality.empty()) {
      cut(modality, modalities);
      if (nest_status status =
              nest_session_set_modality(session.get(), modalities.data(), rows))
        return status;
    }
    bool whole = tokens.batch == 1 || rows == tokens.rows;
    if (!whole)
      part.resize(tokens.batch * rows * vocab);
    float *target = whole ? logits.get() + from * vocab : part.data();
    nest_status status =
        decode ? nest_session_decode(session.get(), ids.data(), target)
               : nest_session_verify(session.get(), ids.data(), rows, target);
    if (status || whole)
      return status;
    for (int64_t b = 0; b < tokens.batch; ++b)
      std::copy_n(part.begin() + b * rows * vocab, rows * vocab,
                  logits.get() + (b * tokens.rows + from) * vocab);
    return NEST_OK;
  };
  if (first > 0)
    if (nest_status status = call(0, first, false))
      return failRuntime(status, reporter);
  Progress progress(reporter, "decoding");
  for (int64_t t = first; t < tokens.rows; ++t) {
    if (nest_status status = call(t, 1, true))
      return failRuntime(status, reporter);
    progress.update(t + 1, tokens.rows);
  }
  std::vector<int64_t> shape = {tokens.rows, vocab};
  if (tokens.batched)
    shape.insert(shape.begin(), tokens.batch);
  rt::Status status = rt::writeNpy(arguments.get("--logits"), rt::DType::F32,
                                   shape, logits.get());
  return status.ok() ? ExitDone : reporter.fail(ExitInput, status.error());
}

/// What the callback of a generation fills: a line for each sequence. One alone
/// is printed as it comes.
struct Generated {
  const nest_package *package;
  std::vector<std::string> lines;
  bool any = false;
};

/// The text of a token, its very bytes; empty when the tokenizer lacks it.
static std::string detokenize(const nest_package *package, int32_t token) {
  char *text = nullptr;
  size_t size = 0;
  if (nest_detokenize(package, &token, 1,
                      NEST_DETOKENIZE_SKIP_SPECIAL | NEST_DETOKENIZE_BYTES,
                      &text, &size))
    return "";
  std::string result(text, size);
  nest_free(text);
  return result;
}

int Runner::generate(const Tokens &tokens) {
  int code = ExitDone;
  SessionPtr session = makeBoundSession(tokens, code);
  if (!session)
    return code;
  nest_generate_options options = {};
  options.size = sizeof(options);
  options.count = count;
  options.temperature = temperature;
  options.seed = static_cast<uint64_t>(seed);
  if (newModality) {
    options.has_modality = 1;
    options.modality = *newModality;
  }
  if (!modality.empty())
    if (nest_status status = nest_session_set_modality(
            session.get(), modality.data(), tokens.rows))
      return failRuntime(status, reporter);
  Generated generated = {package.get(), {}};
  generated.lines.resize(tokens.batch);
  auto callback = [](void *user, int64_t sequence, int32_t token) -> int32_t {
    auto &generated = *static_cast<Generated *>(user);
    generated.any = true;
    std::string &line = generated.lines[sequence];
    std::string piece = nest_package_has_tokenizer(generated.package)
                            ? detokenize(generated.package, token)
                            : (line.empty() ? "" : " ") + std::to_string(token);
    line += piece;
    if (generated.lines.size() > 1)
      return 0;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
    return std::ferror(stdout); // nobody reads it any more
  };
  nest_status status =
      nest_session_generate(session.get(), tokens.ids.data(), tokens.rows,
                            &options, callback, &generated);
  if (status && !generated.any)
    return failRuntime(status, reporter);
  for (const std::string &line : generated.lines) {
    if (tokens.batch > 1)
      std::fwrite(line.data(), 1, line.size(), stdout);
    std::printf("\n");
  }
  return status ? failRuntime(status, reporter) : ExitDone;
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

bool Runner::isInputOfType(const std::string &entry, const std::string &name,
                           const char *type) const {
  auto is = [](const rt::Json &json, const char *key, const std::string &text) {
    const rt::Json *value = json.find(key);
    return value && value->isString() && value->asString() == text;
  };
  const rt::Json *entries = info.find("entries");
  for (const rt::Json &item : entries ? entries->elements() : info.elements())
    if (const rt::Json *inputs = item.find("inputs"); is(item, "name", entry))
      for (const rt::Json &input : inputs->elements())
        if (is(input, "name", name) && is(input, "dtype", type))
          return true;
  return false;
}

bool Runner::splitFile(const char *option, const std::string &word,
                       std::string &name, std::string &path) {
  size_t equal = word.find('=');
  if (equal == std::string::npos || equal == 0 || equal + 1 == word.size()) {
    usage(std::string(option) + " '" + word + "' is no NAME=FILE",
          "write NAME=FILE.npy");
    return false;
  }
  name = word.substr(0, equal);
  path = word.substr(equal + 1);
  return true;
}

int Runner::refuseTokens() {
  auto list = [](const rt::Json &entry, const char *key, const char *option) {
    std::string text;
    if (const rt::Json *buffers = entry.find(key))
      for (const rt::Json &buffer : buffers->elements())
        if (const rt::Json *name = buffer.find("name"))
          text +=
              std::string(" ") + option + " " + name->asString() + "=FILE.npy";
    return text;
  };
  std::string legal;
  if (const rt::Json *entries = info.find("entries"))
    for (const rt::Json &entry : entries->elements())
      if (const rt::Json *name = entry.find("name"))
        legal += (legal.empty() ? "--entry " : ", or --entry ") +
                 name->asString() + list(entry, "inputs", "--in") +
                 list(entry, "outputs", "--out");
  return reporter.fail(ExitInput,
                       {arguments.has("--prompt") ? "--prompt" : "--tokens",
                        "the model takes no tokens", legal});
}

int Runner::runEntry() {
  struct Named {
    std::string name, path;
  };
  std::vector<Named> ins, outs;
  for (auto [option, list] : {std::pair("--in", &ins), {"--out", &outs}}) {
    for (const std::string &word : arguments.getAll(option)) {
      Named named;
      if (!splitFile(option, word, named.name, named.path))
        return ExitUsage;
      list->push_back(named);
    }
  }
  for (const Named &out : outs)
    if (int failed = checkOutput(out.path))
      return failed;
  std::vector<rt::NpyArray> arrays;
  std::vector<nest_buffer> inputs, outputs;
  for (const Named &in : ins) {
    rt::Expected<rt::NpyArray> array = rt::readNpy(in.path);
    if (!array)
      return reporter.fail(ExitInput, array.error());
    if (array->shape.size() > NEST_MAX_RANK)
      return reporter.fail(ExitInput,
                           {in.path, "has too many dimensions", "at most 8"});
    nest_buffer buffer = {};
    buffer.name = in.name.c_str();
    buffer.dtype = rt::name(array->dtype);
    // As --out writes it: the bits of bf16.
    if (array->dtype == rt::DType::U16 &&
        isInputOfType(entryOf(arguments.get("--entry")), in.name, "bf16"))
      buffer.dtype = rt::name(rt::DType::BF16);
    buffer.rank = static_cast<int32_t>(array->shape.size());
    std::copy(array->shape.begin(), array->shape.end(), buffer.shape);
    buffer.data = const_cast<void *>(array->data());
    buffer.bytes = array->count() * rt::byteSize(array->dtype);
    arrays.push_back(std::move(*array));
    inputs.push_back(buffer);
  }
  // An open width is an input of the entry.
  std::vector<int32_t> bound;
  bound.reserve(widths.size());
  for (const auto &[axis, width] : widths) {
    bound.push_back(static_cast<int32_t>(width));
    nest_buffer buffer = {};
    buffer.name = axis.c_str();
    buffer.dtype = rt::name(rt::DType::I32);
    buffer.rank = 1;
    buffer.shape[0] = 1;
    buffer.data = &bound.back();
    buffer.bytes = sizeof(int32_t);
    inputs.push_back(buffer);
  }
  for (const Named &out : outs) {
    nest_buffer buffer = {};
    buffer.name = out.name.c_str();
    outputs.push_back(buffer);
  }
  nest_status called =
      nest_call_entry(package.get(), entryOf(arguments.get("--entry")).c_str(),
                      static_cast<int32_t>(threads), inputs.data(),
                      inputs.size(), outputs.data(), outputs.size());
  if (called)
    return failRuntime(called, reporter);
  int code = ExitDone;
  for (auto [out, buffer] : llvm::zip(outs, outputs)) {
    // NumPy has no bf16: such a cache is written as its bits.
    rt::DType type = rt::parseDType(buffer.dtype).value_or(rt::DType::F32);
    if (type == rt::DType::BF16)
      type = rt::DType::U16;
    rt::Status status =
        rt::writeNpy(out.path, type, {buffer.shape, buffer.shape + buffer.rank},
                     buffer.data);
    if (status.failed() && code == ExitDone)
      code = reporter.fail(ExitInput, status.error());
    nest_free(buffer.data);
  }
  return code;
}

int Runner::run() {
  int code = ExitUsage;
  if (int failed = checkOnePositional(kSpec, arguments, reporter))
    return failed;
  auto number = [&](const char *option, int64_t low, int64_t high,
                    int64_t &value) {
    if (!arguments.has(option))
      return true;
    std::optional<int64_t> parsed =
        parseInteger(option, arguments.get(option), low, high, reporter, code);
    if (parsed)
      value = *parsed;
    return parsed.has_value();
  };
  if (!number("--threads", 1, 1024, threads) ||
      !number("--generate", 0, INT32_MAX, count) ||
      !number("--seed", 0, INT64_MAX, seed))
    return code;
  if (arguments.has("--stepwise")) {
    stepwise = 0;
    bool given = !arguments.get("--stepwise").empty();
    if (given && !number("--stepwise", 0, INT32_MAX, stepwise))
      return code;
  }
  if (arguments.has("--temperature")) {
    std::string text = arguments.get("--temperature");
    char *end = nullptr;
    temperature = std::strtod(text.c_str(), &end);
    bool number = text.find_first_not_of("0123456789.eE+-") == text.npos &&
                  !*end && temperature >= 0;
    if (!number || temperature > 1e6)
      return reporter.fail(number ? ExitInput : ExitUsage,
                           {"--temperature", "'" + text + "' is no temperature",
                            "legal are numbers from 0 (greedy) to 1e6"});
  }
  bool entry = arguments.has("--entry");
  bool tokens = arguments.has("--tokens"), prompt = arguments.has("--prompt");
  if (entry ? tokens || prompt : tokens == prompt)
    return usage(entry    ? "--entry takes its inputs by --in"
                 : tokens ? "--tokens and --prompt are both given"
                          : "there is no input",
                 "give --tokens, --prompt, or --entry with --in");
  if (arguments.has("--chat") && !prompt)
    return usage("--chat goes with --prompt", "give what the user says");
  if (!entry && arguments.has("--out"))
    return usage("--out goes with --entry", "name an entry");
  if (entry)
    for (const char *option :
         {"--logits", "--stepwise", "--generate", "--temperature", "--seed",
          "--prefill", "--modality"})
      if (arguments.has(option))
        return usage(std::string(option) + " goes with tokens, not --entry",
                     "give --in and --out with --entry");
  if (arguments.has("--prefill")) {
    std::string rule = arguments.get("--prefill");
    if (rule != "select" && rule != "decode")
      return usage("--prefill '" + rule + "' is no rule",
                   "legal are select and decode");
    if (rule == "decode")
      prefill = NEST_PREFILL_DECODE;
  }
  if (arguments.has("--modality") && !generates())
    return usage("--modality goes with --generate",
                 "give --generate N, or --in modality=FILE.npy for the tokens");
  if (arguments.has("--stepwise") && !arguments.has("--logits"))
    return usage("--stepwise goes with --logits", "give --logits OUT.npy");

  bool emulate = arguments.has("--emulate");
  if (!arguments.has("--profile"))
    return runPackage(emulate);
  if (!emulate)
    return usage("--profile goes with --emulate", "give both");
  rt::Expected<LaunchProfile> profile = LaunchProfile::start();
  if (!profile)
    return reporter.fail(ExitInput, profile.error());
  if (int failed = runPackage(emulate))
    return failed;
  rt::Expected<std::string> table = profile->table();
  if (!table)
    return reporter.fail(ExitInput, table.error());
  std::fflush(stdout);
  std::fputs(table->c_str(), stderr);
  return ExitDone;
}

int Runner::runPackage(bool emulate) {
  int code = ExitUsage;
  package = loadPackage(arguments.positional[0], emulate, reporter, code);
  if (!package)
    return code;
  if (int failed = checkSubmodel())
    return failed;
  if (int failed = readWidths(info, submodel, arguments.getAll("--bind"),
                              reporter, widths))
    return failed;
  if (arguments.has("--entry"))
    return runEntry();
  if (nest_package_max_length(package.get()) == 0)
    return refuseTokens();
  Tokens input;
  if (int failed = readTokens(input))
    return failed;
  if (int failed = readModality(input))
    return failed;
  if (arguments.has("--logits"))
    if (int failed = writeLogits(input))
      return failed;
  if (generates())
    return generate(input);
  return ExitDone;
}

} // namespace

static int run(const Arguments &arguments, const Reporter &reporter) {
  return Runner(arguments, reporter).run();
}

const Command nestc::runCommand = {kSpec, run};
