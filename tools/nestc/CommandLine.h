//===- CommandLine.h - options, errors, progress ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_COMMANDLINE_H
#define NESTC_TOOLS_NESTC_COMMANDLINE_H

#include "lowering/runtime/Error.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nestc {

/// Exit codes of every command (docs/Nestc.md).
enum ExitCode { ExitDone = 0, ExitInput = 1, ExitUsage = 2, ExitDefect = 70 };

/// Whether messages are text or JSON objects, and how much is said.
struct Reporter {
  bool json = false;
  bool quiet = false;
  bool verbose = false;

  /// One line on stderr: `error: PLACE: what is wrong; what is legal`.
  void error(const rt::Error &error) const { message("error", error); }
  /// This line, or the object that --error-format=json makes of it.
  std::string line(const char *severity, const rt::Error &error) const;
  void warning(const rt::Error &warning) const;
  /// Said with -v only.
  void note(const std::string &text) const;
  /// Reports and returns the code, so that a command can end on it.
  int fail(ExitCode code, const rt::Error &failure) const {
    error(failure);
    return code;
  }

private:
  void message(const char *severity, const rt::Error &error) const;
};

/// A line on stderr that is rewritten, on a terminal only.
class Progress {
public:
  Progress(const Reporter &reporter, std::string what);
  ~Progress();
  /// `done` of `total` bytes, tokens or phases.
  void update(uint64_t done, uint64_t total);

private:
  std::string what;
  bool shown;
  int lastPercent = -1;
};

/// One option of a command.
struct OptionSpec {
  std::string name;  ///< with its dashes: "--tokens", "-o"
  std::string value; ///< what the help calls its value; empty for a flag
  std::string help;
  bool repeated = false;
  /// The value may be left out, and is then given as `--name=VALUE` only.
  bool optionalValue = false;
  /// Known from the contract and not built yet: refused with exit 1.
  bool notYet = false;
};

/// A command: what it takes and does, for parsing and for --help.
struct CommandSpec {
  std::string name, positional, summary;
  std::vector<OptionSpec> options;
};

/// The words of a command line, sorted out.
struct Arguments {
  std::vector<std::string> positional;
  std::map<std::string, std::vector<std::string>> options;

  bool has(const std::string &name) const { return options.count(name) != 0; }
  /// The last value given, or `fallback`.
  std::string get(const std::string &name,
                  const std::string &fallback = "") const;
  std::vector<std::string> getAll(const std::string &name) const;
};

/// Parses `words` by `spec`. On failure reports and sets `code`.
std::optional<Arguments> parseArguments(const CommandSpec &spec,
                                        const std::vector<std::string> &words,
                                        const Reporter &reporter, int &code);

/// A whole number of an option within [low, high]; reports and sets `code`
/// when it is none.
std::optional<int64_t> parseInteger(const std::string &option,
                                    const std::string &text, int64_t low,
                                    int64_t high, const Reporter &reporter,
                                    int &code);

/// Reports and returns the exit code unless there is just one positional word.
int checkOnePositional(const CommandSpec &spec, const Arguments &arguments,
                       const Reporter &reporter);

/// Prints the screen of `nestc COMMAND --help`.
void printCommandHelp(const CommandSpec &spec);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_COMMANDLINE_H
