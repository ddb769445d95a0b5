// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The API's answers as text for people. Pure: the same answer gives the same text.
#pragma once

#include <cstdint>
#include <string>

#include "controlplane/api/rota.pb.h"
#include "controlplane/cli/table.h"

namespace rota::cli {

struct View {
  bool coloured = false;
  uint64_t now_s = 0;  // unix time, for "since"
};

std::string view_services(const api::ServiceList& list, const View& view);
std::string view_backends(const api::ServiceList& list, const View& view);
std::string view_service(const api::Service& service, const View& view);
// First line: "healthy", or all that is wrong.
std::string view_status(const api::Status& status, const View& view);
// First line: the role, and whether the node may have traffic.
std::string view_ha(const api::Ha& ha, const View& view);
std::string view_peer(const api::Peer& peer, const View& view);
// The change line by line, then what became of it.
std::string view_firewall_change(const api::FirewallChange& change, const View& view);
std::string view_firewall(const api::Firewall& firewall, const View& view);
std::string view_refused_packet(const api::RefusedPacket& packet);  // a line, in local time
std::string view_heaviest_sources(const api::HeaviestSources& sources, const View& view);
std::string view_explanation(const api::Explanation& explanation, const View& view);

// Totals since the dataplane started; with `before`, rates per second, and latency, since then.
// Counters that are zero and each worker's own columns only if verbose, or where there are few
// workers.
std::string view_stats(const api::Stats& stats, const api::Stats* before, bool verbose,
                       const View& view);

Table flow_table();
void add_flow(Table& table, const api::Flow& flow);

}  // namespace rota::cli
