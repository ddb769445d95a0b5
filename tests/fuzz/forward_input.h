// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The control byte before each frame of an input of forward_fuzz.
#pragma once

#include <cstdint>

namespace rota::test::forward_input {

inline constexpr uint8_t kInside = 1;            // arrived on port 1, else on port 0
inline constexpr uint8_t kVerified = 2;          // its IPv4 checksum counts as right
inline constexpr uint8_t kWorkerShift = 2;       // two bits: the worker of the burst (last frame's)
inline constexpr uint8_t kLastOfBurst = 16;      // the burst ends here
inline constexpr uint8_t kOtherGeneration = 32;  // after the burst
inline constexpr uint8_t kTimePasses = 64;       // after the burst, seven seconds

}  // namespace rota::test::forward_input
