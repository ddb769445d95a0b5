// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include <array>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <stdio.h>
#include <vector>

#include "tests/support/run_rota.h"

namespace rota::test {
namespace {

// What a real bash offers at the end of `line` (its last word is being typed).
class BashCompletion : public testing::Test {
 protected:
  void SetUp() override {
    program = std::getenv("ROTA") ? std::getenv("ROTA") : "";
    ASSERT_FALSE(program.empty()) << "ROTA names the program rota";
    fill_with_example(rotad);
    script = rotad.directory() + "/completion.bash";
    std::ofstream(script) << run_rota("completion bash", "").out;
  }

  std::vector<std::string> offers(const std::string& line) {
    const std::string driver = rotad.directory() + "/driver.bash";
    std::ofstream(driver) << "source " << script << "\n"
                          << "COMP_LINE='" << program << " " << line << "'\n"
                          << "COMP_POINT=${#COMP_LINE}\n"
                          << "$(complete -p rota | sed 's/.*-F \\([^ ]*\\).*/\\1/') rota\n"
                          << "printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    return lines_of("ROTA_SOCKET=" + rotad.socket() + " bash --norc " + driver);
  }

  std::vector<std::string> lines_of(const std::string& command) {
    std::vector<std::string> lines;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    std::array<char, 4096> buffer;
    while (fgets(buffer.data(), buffer.size(), pipe)) {
      lines.emplace_back(buffer.data());
      if (lines.back().ends_with('\n')) lines.back().pop_back();
    }
    EXPECT_EQ(pclose(pipe), 0) << command;
    if (lines == std::vector<std::string>{""}) lines.clear();
    return lines;
  }

  using Words = std::vector<std::string>;

  FakeRotad rotad;
  std::string program;
  std::string script;
};

TEST_F(BashCompletion, TheScriptIsGoodBash) { EXPECT_EQ(lines_of("bash -n " + script), Words{}); }

TEST_F(BashCompletion, OffersCommandsAndTheirSubcommands) {
  EXPECT_EQ(offers(""), (Words{"service", "backend", "status", "stats", "flows", "explain", "ha",
                               "peer", "firewall", "completion", "version"}));
  EXPECT_EQ(offers("ha "), (Words{"status", "handover", "resume", "keepalived", "bird"}));
  EXPECT_EQ(offers("peer "), (Words{"status", "resolve", "init"}));
  EXPECT_EQ(offers("peer resolve --keep "), (Words{"here", "there"}));
  EXPECT_EQ(offers("st"), (Words{"status", "stats"}));
  EXPECT_EQ(offers("service "), (Words{"add", "set", "del", "list", "show"}));
  EXPECT_EQ(offers("-o json backend d"), (Words{"drain", "disable", "del"}));
  EXPECT_EQ(offers("completion "), (Words{"bash", "zsh", "fish"}));
}

TEST_F(BashCompletion, OffersOptionsOfTheCommandAndTheirChoices) {
  EXPECT_EQ(offers("service add web 203.0.113.10:443/tcp --check"),
            (Words{"--check", "--check-interval", "--check-timeout"}));
  EXPECT_EQ(offers("service add web 203.0.113.10:443/tcp --mode "), (Words{"dnat", "dsr"}));
  EXPECT_EQ(offers("service add web 203.0.113.10:443/tcp --scheduler=m"), (Words{"maglev"}));
  EXPECT_EQ(offers("status -o "), (Words{"table", "json", "yaml"}));
  EXPECT_EQ(offers("backend add web 10.0.0.11:8443 --w"), (Words{"--weight"}));
}

TEST_F(BashCompletion, OffersNamesThatRotadKnows) {
  EXPECT_EQ(offers("service show "), (Words{"web", "dns6"}));
  EXPECT_EQ(offers("stats w"), (Words{"web"}));
  EXPECT_EQ(offers("flows --service "), (Words{"web", "dns6"}));
  EXPECT_EQ(offers("backend drain web 10.0.0.11:8443 10.0.0.12"), (Words{"10.0.0.12:8443"}));
  EXPECT_EQ(offers("backend drain web 10.0.0.1"),
            (Words{"10.0.0.11:8443", "10.0.0.12:8443", "10.0.0.13:8443"}));
}

TEST_F(BashCompletion, AsksTheRotadNamedOnTheCommandLine) {
  EXPECT_EQ(offers("--socket /nonexistent service show "), Words{});
}

// Readline replaces only what follows the last colon.
TEST_F(BashCompletion, CompletesAnEndpointBehindItsColons) {
  EXPECT_EQ(offers("backend drain web 10.0.0.11:"), (Words{"8443"}));
  EXPECT_EQ(offers("backend drain dns6 [2001:db8::1"), (Words{"11]:53", "12]:53"}));
}

}  // namespace
}  // namespace rota::test
