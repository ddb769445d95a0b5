// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The command tree of rota: its words, its help, and the form of every argument.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/cli/machine.h"

namespace rota::cli {

class Session;
struct Arguments;
using Command = void (*)(const Arguments&, Session&);

// As given, each checked for its form. Empty: not given.
struct Arguments {
  Command command = nullptr;

  std::string socket;
  std::string node;
  std::string output = "table";

  std::string service;
  std::string backend;
  std::vector<std::string> backends;
  std::string from;
  std::string client;
  std::string vip;
  std::string protocol;
  std::string mode;
  std::string scheduler;
  std::string sync;
  std::string established_timeout;
  std::string closing_timeout;
  std::string unproven_timeout;
  std::string check;
  std::string check_interval;
  std::string check_timeout;
  std::string rise;
  std::string fall;
  std::string weight;
  std::string deadline;
  std::string slow_start;
  std::string limit = "100";
  std::string watch;  // seconds between two pictures
  std::string count;  // pictures until the end
  std::string shell;
  std::string keep;
  std::string nodes;
  std::string directory;
  std::vector<std::string> sources;
  std::vector<std::string> rule_ids;
  std::string destination;
  std::string ports;
  std::string interface;
  std::string unit;
  std::string rate;
  std::string burst;
  std::string lifetime;
  std::string comment;
  std::string confirm;
  bool first = false;
  bool dry_run = false;
  bool only_check = false;
  bool force = false;
  bool syn = false;
  bool verbose = false;

  Format format() const;
};

// A parse fills `arguments`, which must outlive the tree. In the tree, an option's or positional's
// type name says what it takes: SERVICE, BACKEND, PATH, or its choices as in "dnat|dsr". A last
// positional may be given any number of times.
std::unique_ptr<CLI::App> make_command_line(Arguments& arguments);

// Parses. False: help or version was asked for and is in `help`. Throws Failure (wrong_usage).
bool parse_command_line(CLI::App& tree, const std::vector<std::string>& words, std::string& help);

}  // namespace rota::cli
