// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Verdict tally: whether random packets and rules (random_rules.h) have tried all that rules can
// say: each verdict often enough, and each of a rule's conditions as the only one that is not met.
#pragma once

#include <cstdio>
#include <gtest/gtest.h>
#include <map>
#include <string>

#include "tests/support/random_rules.h"

namespace rota::test {

class VerdictTally {
 public:
  void add(const std::vector<FirewallRule>& rules, const PlainFirewall::Verdict& verdict) {
    ++packets_;
    ++verdicts_[text_of(rules, verdict)];
  }
  void add_decisive(const PlainFirewall& firewall) {
    for (const auto& [condition, times] : firewall.decisive) decisive_[condition] += times;
  }
  // Prints it all; fails unless each verdict befell 1 % of the packets, and each condition was
  // decisive 1000 times.
  void expect_all_tried() const {
    for (const auto& [what, times] : verdicts_) {
      std::printf("%9llu packets: %s\n", static_cast<unsigned long long>(times), what.c_str());
      EXPECT_GE(times, packets_ / 100) << what;
    }
    EXPECT_EQ(verdicts_.size(), 5u);
    for (const auto& [condition, times] : decisive_) {
      std::printf("%9llu times a rule did not match by its %s alone\n",
                  static_cast<unsigned long long>(times), condition.c_str());
      EXPECT_GE(times, 1000u) << condition;
    }
    EXPECT_EQ(decisive_.size(), 6u);
  }

 private:
  static std::string text_of(const std::vector<FirewallRule>& rules,
                             const PlainFirewall::Verdict& verdict) {
    if (!verdict.decided) return "no rule decides";
    switch (rules[*verdict.decided].rule.action) {
      case ROTA_RULE_ALLOW:
        return "allowed";
      case ROTA_RULE_DENY:
        return "denied";
      case ROTA_RULE_LIMIT_PACKETS:
        return "beyond a limit of packets";
      default:
        return "beyond a limit of bytes";
    }
  }

  uint64_t packets_ = 0;
  std::map<std::string, uint64_t> verdicts_;
  std::map<std::string, uint64_t> decisive_;
};

}  // namespace rota::test
