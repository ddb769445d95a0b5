// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The text forms of arguments, checked before anything is sent. Endpoints, names and addresses are
// read by the very functions that rotad uses, so both say the same words. rotad checks again, and
// it alone knows what is there already.
//
// A check_*() answers "" when the text is good, otherwise a sentence: what (the argument), what
// came, what was expected.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace rota::cli {

std::string check_name(std::string_view what, std::string_view text);
std::string check_endpoint(std::string_view what, std::string_view text);  // ADDRESS:PORT
std::string check_vip(std::string_view what, std::string_view text);       // ADDRESS:PORT/PROTOCOL
std::string check_client(std::string_view what, std::string_view text);    // ADDRESS[:PORT]
std::string check_number(std::string_view what, std::string_view text, uint64_t least,
                         uint64_t most);
// 500ms, 2s, 15m, 1h; a bare number is seconds.
std::string check_seconds(std::string_view what, std::string_view text, uint64_t least_s,
                          uint64_t most_s);
std::string check_duration(std::string_view what, std::string_view text, uint64_t least_ms,
                           uint64_t most_ms);
std::string check_rate(std::string_view what, std::string_view text);  // 100/s, 10k/s, 30/m
std::string check_pair(std::string_view what, std::string_view text);  // NAME,NAME
// `choices` as in "dnat|dsr".
std::string check_choice(std::string_view what, std::string_view text, std::string_view choices);

// REQUIRES: the text passed its check.
uint64_t number_of(std::string_view text);
uint64_t duration_ms_of(std::string_view text);
bool is_ipv6_endpoint(std::string_view text);
struct Vip {
  std::string endpoint;
  std::string protocol;
};
Vip vip_of(std::string_view text);
std::array<std::string, 2> pair_of(std::string_view text);

// "500ms", "2s", "1h": exact, in the largest unit that is.
std::string show_ms(uint64_t ms);
// "45s", "3m12s", "2h05m", "4d03h".
std::string show_duration(uint64_t seconds);

}  // namespace rota::cli
