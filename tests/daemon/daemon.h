// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// A rota-dataplane under test in a folder of its own: software ports, no huge pages, no root.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sched.h>
#include <string>

#include "tests/daemon/program.h"
#include "tests/daemon/rotad_end.h"
#include "tests/daemon/wire.h"

namespace rota::test {

struct Settings {
  uint32_t workers = 1;
  std::string flows = "{ipv4: 8192, ipv6: 8192, unproven: 8192}";
  std::string more = {};  // further lines of the node file
  bool kernel_side = false;
  bool without_net_admin = false;
  std::string out_device = {};    // instead of a wire
  std::string in_interface = {};  // instead of a wire: an AF_XDP port, which never opens
};

class Daemon {
 public:
  explicit Daemon(const Settings& settings = {}) {
    static int serial = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("rota-" + std::to_string(::getpid()) + "-" + std::to_string(serial++));
    std::filesystem::create_directories(path_);
    write_node_file(settings);
  }
  ~Daemon() {
    in_.reset();
    out_.reset();
    program_.reset();
    if (testing::Test::HasFailure()) std::fprintf(stderr, "%s", log().c_str());
    std::filesystem::remove_all(path_);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  void write_node_file(const Settings& settings) {
    settings_ = settings;
    const char* kernel_side = settings.kernel_side ? "true" : "false";
    const std::string out =
        settings.out_device.empty() ? Wire::device(0, socket("out")) : settings.out_device;
    std::ofstream file(node_file());
    file << "node: test\nrun_dir: " << run_dir() << "\nports:\n"
         << "  - {name: out0, kernel_side: " << kernel_side << ", vdev: \"" << out << "\"}\n"
         << "  - {name: in0, ";
    if (settings.in_interface.empty())
      file << "kernel_side: " << kernel_side << ", vdev: \"" << Wire::device(1, socket("in"))
           << "\"}\n";
    else
      file << "interface: " << settings.in_interface << "}\n";
    file << "workers: [";
    for (uint32_t i = 0; i < settings.workers; ++i)
      file << (i ? ", " : "") << "{core: " << first_core() << ", shared: true}";
    file << "]\nmain_core: " << first_core() << "\nflows: " << settings.flows
         << "\nservices: 512\nbackends: 4096\nhugepages: off\n"
         << settings.more;
  }

  void start() {
    program_ =
        std::make_unique<Program>(std::vector<std::string>{executable(), "--node", node_file()},
                                  log_file(), settings_.without_net_admin);
  }
  // Starts it, and waits until its wires are connected.
  void start_connected() {
    for (const std::string& left : {link(), socket("out"), socket("in")})
      std::filesystem::remove(left);  // by one that was killed
    start();
    if (!wait_until([&] { return std::filesystem::exists(link()); }))
      throw std::runtime_error("rota-dataplane does not start:\n" + log());
    connect();
  }
  void connect() {
    in_.reset();
    out_.reset();
    out_ = std::make_unique<Wire>(socket("out"), workers());
    if (settings_.in_interface.empty()) in_ = std::make_unique<Wire>(socket("in"), workers());
  }
  int end(int signal) {
    in_.reset();
    out_.reset();
    return program_->kill(signal);
  }

  Program& program() { return *program_; }
  Wire& out() { return *out_; }
  Wire& in() { return *in_; }
  std::string link() const { return run_dir() + "/dataplane.sock"; }
  std::string run_dir() const { return path_ / "run"; }
  std::string node_file() const { return path_ / "node.yaml"; }
  std::string log_file() const { return path_ / "log"; }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_file()).rdbuf();
    return text.str();
  }
  static std::string executable() {
    const char* path = std::getenv("ROTA_DATAPLANE");
    if (path == nullptr) throw std::runtime_error("ROTA_DATAPLANE is not set");
    return path;
  }
  static int first_core() {
    cpu_set_t allowed;
    ::sched_getaffinity(0, sizeof(allowed), &allowed);
    int core = 0;
    while (!CPU_ISSET(core, &allowed)) ++core;
    return core;
  }

 private:
  uint16_t workers() const { return static_cast<uint16_t>(settings_.workers); }
  std::string socket(const std::string& name) const { return path_ / name; }

  std::filesystem::path path_;
  Settings settings_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Wire> out_;
  std::unique_ptr<Wire> in_;
};

}  // namespace rota::test
