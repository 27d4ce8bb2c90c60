//===- CommandLine.cpp - options, errors, progress -------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/CommandLine.h"

#include "lowering/runtime/Json.h"
#include "passes/Submodel.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdio>
#include <unistd.h>

using namespace nestc;

//===----------------------------------------------------------------------===//
// Reporter and Progress
//===----------------------------------------------------------------------===//

std::string Reporter::line(const char *severity, const rt::Error &error) const {
  if (!json)
    return std::string(severity) + ": " + error.str() + "\n";
  rt::Json object = rt::Json::object();
  object.set("severity", severity);
  object.set("place", error.place);
  object.set("message", error.message);
  object.set("legal", error.legal);
  return object.str() + "\n";
}

void Reporter::message(const char *severity, const rt::Error &error) const {
  std::fputs(line(severity, error).c_str(), stderr);
}

void Reporter::warning(const rt::Error &warning) const {
  if (!quiet)
    message("warning", warning);
}

void Reporter::note(const std::string &text) const {
  if (verbose && !quiet)
    std::fprintf(stderr, "%s\n", text.c_str());
}

Progress::Progress(const Reporter &reporter, std::string what)
    : what(std::move(what)),
      shown(!reporter.quiet && !reporter.json && isatty(STDERR_FILENO)) {}

Progress::~Progress() {
  if (shown && lastPercent >= 0)
    std::fprintf(stderr, "\r\033[K");
}

void Progress::update(uint64_t done, uint64_t total) {
  if (!shown)
    return;
  int percent = total == 0 ? 100 : static_cast<int>(done * 100.0 / total);
  if (percent == lastPercent)
    return;
  lastPercent = percent;
  std::fprintf(stderr, "\r\033[K%s %3d%%", what.c_str(), percent);
  std::fflush(stderr);
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

std::string Arguments::get(const std::string &name,
                           const std::string &fallback) const {
  auto found = options.find(name);
  return found == options.end() ? fallback : found->second.back();
}

std::vector<std::string> Arguments::getAll(const std::string &name) const {
  auto found = options.find(name);
  return found == options.end() ? std::vector<std::string>() : found->second;
}

std::optional<Arguments>
nestc::parseArguments(const CommandSpec &spec,
                      const std::vector<std::string> &words,
                      const Reporter &reporter, int &code) {
  Arguments arguments;
  bool onlyPositional = false;
  auto refuse = [&](ExitCode exit, std::string place, std::string message,
                    std::string legal) {
    code = reporter.fail(
        exit, {std::move(place), std::move(message), std::move(legal)});
    return std::nullopt;
  };
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string &word = words[i];
    if (onlyPositional || word.size() < 2 || word[0] != '-') {
      arguments.positional.push_back(word);
      continue;
    }
    if (word == "--") {
      onlyPositional = true;
      continue;
    }
    size_t equal = word.find('=');
    std::string name = word.substr(0, equal);
    const OptionSpec *option = nullptr;
    std::vector<std::string> names;
    for (const OptionSpec &candidate : spec.options) {
      if (!candidate.notYet)
        names.push_back(candidate.name);
      if (candidate.name == name)
        option = &candidate;
    }
    if (!option) {
      std::string near = nearestName(name, names);
      return refuse(ExitUsage, "nestc " + spec.name,
                    "unknown option " + name +
                        (near.empty() ? "" : " (did you mean " + near + "?)"),
                    "options are " + llvm::join(names, ", "));
    }
    if (option->notYet)
      return refuse(ExitInput, "nestc " + spec.name,
                    name + " is not supported yet", "leave it out");
    std::string value;
    if (equal != std::string::npos) {
      if (option->value.empty())
        return refuse(ExitUsage, "nestc " + spec.name, name + " takes no value",
                      "write " + name);
      value = word.substr(equal + 1);
    } else if (!option->value.empty() && !option->optionalValue) {
      if (i + 1 == words.size())
        return refuse(ExitUsage, "nestc " + spec.name, name + " has no value",
                      "write " + name + " " + option->value);
      value = words[++i];
    }
    // Only a prompt may be empty text (a tokenizer may add its own tokens).
    bool given = equal != std::string::npos || !option->optionalValue;
    if (!option->value.empty() && given && value.empty() && name != "--prompt")
      return refuse(ExitUsage, name, "is empty",
                    "write " + name + (option->optionalValue ? "=" : " ") +
                        option->value);
    auto &values = arguments.options[name];
    if (!values.empty() && !option->repeated)
      return refuse(ExitUsage, "nestc " + spec.name, name + " is given twice",
                    "give it once");
    values.push_back(value);
  }
  return arguments;
}

std::optional<int64_t> nestc::parseInteger(const std::string &option,
                                           const std::string &text, int64_t low,
                                           int64_t high,
                                           const Reporter &reporter,
                                           int &code) {
  std::string legal = "legal are whole numbers from " + std::to_string(low) +
                      " to " + std::to_string(high);
  llvm::StringRef digits = text;
  digits.consume_front("-");
  if (digits.empty() || !llvm::all_of(digits, llvm::isDigit)) {
    code = reporter.fail(ExitUsage,
                         {option, "'" + text + "' is no number", legal});
    return std::nullopt;
  }
  int64_t value;
  if (llvm::StringRef(text).getAsInteger(10, value)) {
    code = reporter.fail(
        ExitInput, {option, "the number " + text + " is too large", legal});
    return std::nullopt;
  }
  if (value < low || value > high) {
    // Too small is no value of the option; too large may be the input's limit.
    code = reporter.fail(value < low ? ExitUsage : ExitInput,
                         {option, text + " is out of range", legal});
    return std::nullopt;
  }
  return value;
}

int nestc::checkOnePositional(const CommandSpec &spec,
                              const Arguments &arguments,
                              const Reporter &reporter) {
  std::string usage =
      "usage: nestc " + spec.name + " " + spec.positional + " [options]";
  const std::vector<std::string> &words = arguments.positional;
  if (words.empty() || words[0].empty())
    return reporter.fail(ExitUsage, {"nestc " + spec.name,
                                     "there is no " + spec.positional, usage});
  if (words.size() > 1)
    return reporter.fail(ExitUsage,
                         {"nestc " + spec.name,
                          "'" + words[1] + "' is one word too many", usage});
  return ExitDone;
}

/// Prints `text` from column 27 on, wrapped to 79 columns.
static void printWrapped(llvm::StringRef text) {
  constexpr size_t kIndent = 27, kWidth = 79 - kIndent;
  while (text.size() > kWidth) {
    size_t space = text.take_front(kWidth + 1).rfind(' ');
    if (space == llvm::StringRef::npos)
      break;
    std::printf("%s\n%*s", text.take_front(space).str().c_str(),
                static_cast<int>(kIndent), "");
    text = text.drop_front(space + 1);
  }
  std::printf("%s\n", text.str().c_str());
}

void nestc::printCommandHelp(const CommandSpec &spec) {
  std::printf("usage: nestc %s %s [options]\n%s\n\noptions:\n",
              spec.name.c_str(), spec.positional.c_str(), spec.summary.c_str());
  for (const OptionSpec &option : spec.options) {
    if (option.notYet)
      continue;
    std::string left = option.name;
    if (!option.value.empty())
      left +=
          option.optionalValue ? "[=" + option.value + "]" : " " + option.value;
    std::printf("  %-24s ", left.c_str());
    printWrapped(option.help);
  }
  std::printf("\neverywhere: --help, --version, -v, -q, --error-format=json\n");
}
