// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/model/text.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <netinet/in.h>
#include <optional>

namespace rota {
namespace {

template <typename T>
struct Word {
  std::string_view text;
  T value;
};

constexpr Word<Protocol> kProtocols[] = {{"tcp", Protocol::tcp}, {"udp", Protocol::udp}};
constexpr Word<Mode> kModes[] = {{"dnat", Mode::dnat}, {"dsr", Mode::dsr}};
constexpr Word<Scheduler> kSchedulers[] = {{"rr", Scheduler::round_robin},
                                           {"maglev", Scheduler::maglev}};
constexpr Word<Sync> kSyncs[] = {
    {"off", Sync::off}, {"async", Sync::async}, {"strict", Sync::strict}};
constexpr Word<BackendState> kStates[] = {{"up", BackendState::up},
                                          {"down", BackendState::down},
                                          {"draining", BackendState::draining},
                                          {"disabled", BackendState::disabled},
                                          {"flushing", BackendState::flushing}};

template <typename T, size_t N>
Result<T> parse_word(std::string_view what, std::string_view text, const Word<T> (&words)[N]) {
  std::string expected;
  for (const Word<T>& word : words) {
    if (word.text == text) return word.value;
    expected += expected.empty() ? "" : ", ";
    expected += word.text;
  }
  return Error{ErrorCode::invalid_argument,
               fmt::format("{} \"{}\": expected one of {}", what, text, expected)};
}

template <typename T, size_t N>
std::string_view word_of(T value, const Word<T> (&words)[N]) {
  const auto* found = std::ranges::find(words, value, &Word<T>::value);
  return found == std::end(words) ? "unknown" : found->text;
}

template <typename... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error{ErrorCode::invalid_argument, fmt::format(format, std::forward<Args>(args)...)};
}

std::optional<Address> address_from(std::string_view text) {
  const std::string terminated(text);
  in_addr ipv4{};
  if (inet_pton(AF_INET, terminated.c_str(), &ipv4) == 1)
    return Address::from_ipv4(Be32{ipv4.s_addr});
  Ipv6Address ipv6;
  if (inet_pton(AF_INET6, terminated.c_str(), ipv6.bytes.data()) == 1)
    return Address::from_ipv6(ipv6);
  return std::nullopt;
}

// Why nothing can be served on that address; empty: it can.
std::string_view unservable_ipv4(uint32_t address) {
  const uint32_t first = address >> 24;
  if (first == 0) return "is unspecified";
  if (first == 127) return "is a loopback address";
  if (first >= 224 && first < 240) return "is a multicast address";
  if (address == 0xffffffff) return "is the broadcast address";
  if (first >= 240) return "is reserved";
  return {};
}

std::string_view unservable_ipv6(const std::array<uint8_t, 16>& bytes) {
  const bool zeros = std::all_of(bytes.begin(), bytes.end() - 1, [](uint8_t b) { return b == 0; });
  if (zeros && bytes[15] == 0) return "is unspecified";
  if (zeros && bytes[15] == 1) return "is a loopback address";
  if (bytes[0] == 0xff) return "is a multicast address";
  if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80)
    return "is link-local, which means nothing without an interface";
  return {};
}

std::string_view unservable(const Address& address) {
  return address.is_ipv4() ? unservable_ipv4(address.ipv4().to_host())
                           : unservable_ipv6(address.bytes);
}

Result<uint16_t> parse_port(std::string_view what, std::string_view whole, std::string_view text) {
  uint64_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || stop != end || error == std::errc::invalid_argument)
    return invalid("{} \"{}\": port \"{}\": expected a number, 1..65535", what, whole, text);
  if (error != std::errc{} || port < 1 || port > 65535)
    return invalid("{} \"{}\": port {}: expected 1..65535", what, whole, text);
  return static_cast<uint16_t>(port);
}

struct EndpointParts {
  std::string_view address;
  std::string_view port;
};

Result<EndpointParts> split_endpoint(std::string_view what, std::string_view text) {
  if (text.starts_with('[')) {
    const size_t close = text.find("]:");
    if (close == std::string_view::npos)
      return invalid("{} \"{}\": expected a port after the bracket, as in [2001:db8::1]:443", what,
                     text);
    const EndpointParts parts{text.substr(1, close - 1), text.substr(close + 2)};
    if (parts.address.find(':') == std::string_view::npos)
      return invalid("{} \"{}\": brackets are for IPv6 addresses; IPv4 is written 203.0.113.10:443",
                     what, text);
    return parts;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return invalid("{} \"{}\": expected ADDRESS:PORT, as in 203.0.113.10:443 or [2001:db8::1]:443",
                   what, text);
  const EndpointParts parts{text.substr(0, colon), text.substr(colon + 1)};
  if (parts.address.find(':') == std::string_view::npos) return parts;
  const bool last_is_port = address_from(parts.address).has_value();
  return invalid("{} \"{}\": IPv6 needs brackets, as in [{}]:{}", what, text,
                 last_is_port ? parts.address : "2001:db8::1", last_is_port ? parts.port : "443");
}

}  // namespace

Result<Address> parse_address(std::string_view what, std::string_view text) {
  const auto address = address_from(text);
  if (!address)
    return invalid("{} \"{}\": expected an address, as in 203.0.113.10 or 2001:db8::1", what, text);
  if (address->is_ipv4() && text.find(':') != std::string_view::npos)
    return invalid("{} \"{}\": is an IPv4 address in IPv6 form; write {}", what, text,
                   format_address(*address));
  return *address;
}

Result<AddressPort> parse_endpoint(std::string_view what, std::string_view text) {
  const auto parts = split_endpoint(what, text);
  if (!parts) return parts.error();
  const auto address = parse_address(fmt::format("{} \"{}\": address", what, text), parts->address);
  if (!address) return address.error();
  const auto port = parse_port(what, text, parts->port);
  if (!port) return port.error();
  if (const auto why = unservable(*address); !why.empty())
    return invalid("{} \"{}\": {} {}: expected the address of a host", what, text,
                   format_address(*address), why);
  return AddressPort{*address, *port};
}

Result<std::string> parse_name(std::string_view what, std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (text.empty() || text.size() > 63 || !std::ranges::all_of(text, allowed))
    return invalid("{} \"{}\": expected 1 to 63 letters, digits, - _ .", what, text);
  return std::string(text);
}

Result<Protocol> parse_protocol(std::string_view text) {
  return parse_word("protocol", text, kProtocols);
}
Result<Mode> parse_mode(std::string_view text) { return parse_word("mode", text, kModes); }
Result<Scheduler> parse_scheduler(std::string_view text) {
  return parse_word("scheduler", text, kSchedulers);
}

Result<Sync> parse_sync(std::string_view text) { return parse_word("sync", text, kSyncs); }

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.is_ipv4())
    inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof(text));
  else
    inet_ntop(AF_INET6, address.bytes.data(), text, sizeof(text));
  return text;
}

std::string format_endpoint(const AddressPort& endpoint) {
  const std::string address = format_address(endpoint.address);
  return endpoint.address.is_ipv4() ? fmt::format("{}:{}", address, endpoint.port)
                                    : fmt::format("[{}]:{}", address, endpoint.port);
}

std::string_view name_of(Protocol protocol) { return word_of(protocol, kProtocols); }
std::string_view name_of(Mode mode) { return word_of(mode, kModes); }
std::string_view name_of(Scheduler scheduler) { return word_of(scheduler, kSchedulers); }
std::string_view name_of(Sync sync) { return word_of(sync, kSyncs); }
std::string_view name_of(BackendState state) { return word_of(state, kStates); }

}  // namespace rota
