//===- main.cpp - the nestc command --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Files.h"
#include "passes/Submodel.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Model.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"

#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

using namespace nestc;

namespace {

const Command *const kCommands[] = {
    &importCommand, &infoCommand,   &planCommand, &compileCommand,
    &runCommand,    &exportCommand, &benchCommand};

void printHelp() {
  std::printf("usage: nestc COMMAND ...\n\n"
              "Compiles the chosen submodel of a universal transformer "
              "checkpoint to native code.\n\ncommands:\n");
  for (const Command *command : kCommands)
    std::printf("  %-8s %s\n", command->spec.name.c_str(),
                command->spec.summary.c_str());
  std::printf("\n`nestc COMMAND --help` lists its options.\n"
              "everywhere: --help, --version, -v, -q, --error-format=json\n"
              "exit codes: 0 done, 1 the input is at fault, 2 usage, 70 a "
              "defect of nestc\n");
}

void printVersion() {
  std::printf("nestc %s (LLVM %s)\n", NESTC_VERSION, LLVM_VERSION_STRING);
}

/// What a crash says.
std::string crashLine;

/// Runs in a signal handler: nothing here allocates or locks.
void reportCrash(int) {
  rt::removeLiveTemporaries();
  writeCrashReproducer();
  (void)!::write(STDERR_FILENO, crashLine.data(), crashLine.size());
  ::_exit(ExitDefect);
}

/// A crash is a defect, too. The handler has a stack of its own, since a stack
/// that is full is one of the reasons.
void installCrashHandler(const Reporter &reporter) {
  crashLine = reporter.line(
      "error", {"nestc", "crashed",
                "a defect of nestc: please report it with the command, and "
                "with nestc-reproducer.mlir if it was written"});
  static char stack[1 << 16];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_handler = reportCrash;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    ::sigaction(signal, &action, nullptr);
}

/// What was printed must have arrived.
int finish(int code, const Reporter &reporter) {
  bool failed = std::fflush(stdout) != 0 || std::ferror(stdout);
  if (code == ExitDone && failed)
    return reporter.fail(ExitInput, {"stdout", "cannot be written",
                                     "free space, or a reader that stays"});
  return code;
}

} // namespace

int main(int argc, char **argv) {
  // Without stderr, a file that is opened would take its number, and messages.
  // Read-only, so that writing to what was closed still fails.
  for (int fd = 0; fd >= 0 && fd <= STDERR_FILENO;)
    if (fd = ::open("/dev/null", O_RDONLY); fd > STDERR_FILENO)
      ::close(fd);
  rt::installCleanupSignalHandlers();
  Reporter reporter;
  std::vector<std::string> words;
  bool help = false, version = false;
  std::string badFormat;
  // These are legal anywhere on the line; --error-format counts even for
  // errors in words before it.
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--") {
      words.insert(words.end(), argv + i, argv + argc);
      break;
    }
    if (word == "--error-format" && i + 1 < argc)
      word += std::string("=") + argv[++i];
    if (word == "--error-format=json")
      reporter.json = true;
    else if (word == "--error-format=text")
      reporter.json = false;
    else if (word.rfind("--error-format", 0) == 0)
      badFormat = word;
    else if (word == "-v")
      reporter.verbose = true;
    else if (word == "-q")
      reporter.quiet = true;
    else if (word == "--help" || word == "-h")
      help = true;
    else if (word == "--version")
      version = true;
    else
      words.push_back(word);
  }
  installCrashHandler(reporter);
  if (!badFormat.empty())
    return reporter.fail(ExitUsage, {"nestc", "bad option " + badFormat,
                                     "--error-format is text or json"});
  if (version) {
    printVersion();
    return finish(ExitDone, reporter);
  }
  if (words.empty()) {
    if (help) {
      printHelp();
      return finish(ExitDone, reporter);
    }
    return reporter.fail(ExitUsage,
                         {"nestc", "no command given",
                          "commands are import, info, plan, compile, run, "
                          "export, bench; nestc --help explains them"});
  }

  std::string name = words.front();
  words.erase(words.begin());
  std::vector<std::string> names;
  for (const Command *command : kCommands) {
    names.push_back(command->spec.name);
    if (command->spec.name != name)
      continue;
    if (help) {
      printCommandHelp(command->spec);
      return finish(ExitDone, reporter);
    }
    int code = ExitUsage;
    std::optional<Arguments> arguments =
        parseArguments(command->spec, words, reporter, code);
    return arguments ? finish(command->run(*arguments, reporter), reporter)
                     : code;
  }
  std::string near = nearestName(name, names);
  return reporter.fail(
      ExitUsage, {"nestc",
                  "unknown command '" + name + "'" +
                      (near.empty() ? "" : " (did you mean " + near + "?)"),
                  "commands are " + llvm::join(names, ", ")});
}
