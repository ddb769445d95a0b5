// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Random numbers for tests: a fresh seed each run, printed, and set again by ROTA_SEED=N.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace rota::test {

inline uint64_t seed() {
  static const uint64_t value = [] {
    const char* given = std::getenv("ROTA_SEED");
    const uint64_t chosen =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("ROTA_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    std::fflush(stdout);
    return chosen;
  }();
  return value;
}

// A generator of its own for each test, so that a test repeats alone as it ran among others.
inline std::mt19937_64 random_source() { return std::mt19937_64{seed()}; }

// Evenly from 0..limit-1.
template <typename Random>
uint64_t below(Random& random, uint64_t limit) {
  return std::uniform_int_distribution<uint64_t>{0, limit - 1}(random);
}

}  // namespace rota::test
