// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Flow query: which flows an operator asks for, and reading them from flow memory. It is made on
// the loop, from model and link; it is run on any thread and keeps alive what it reads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "controlplane/api/rota.pb.h"
#include "controlplane/link/dataplane_memory.h"
#include "controlplane/model/model.h"

namespace rota {

class FlowQuery {
 public:
  // Refuses unknown services and backends, and addresses that are none.
  static Result<FlowQuery> make(const api::FlowsRequest& request, const Model& model,
                                std::shared_ptr<const DataplaneMemory> memory);

  // Calls `show` for each live flow that matches, in no order, until it returns false or the limit
  // is reached. Cost: one pass over the flow tables.
  void run(const std::function<bool(const api::Flow&)>& show) const;

 private:
  struct NamedService {
    std::string name;
    ServiceTimeouts timeouts;
  };

  template <typename Reader>
  bool read(const Reader& reader, uint32_t worker, uint16_t now,
            const std::function<bool(const api::Flow&)>& show) const;
  template <typename Entry>
  bool matches(const Entry& entry) const;
  template <typename Entry>
  bool fill(const Entry& entry, uint16_t now, api::Flow& flow) const;

  std::shared_ptr<const DataplaneMemory> memory_;
  std::unordered_map<uint16_t, NamedService> services_;
  std::unordered_map<uint32_t, AddressPort> backends_;
  std::optional<uint16_t> service_;
  std::optional<std::unordered_set<uint32_t>> wanted_backends_;
  std::optional<Address> client_;
  std::optional<uint16_t> client_port_;
  uint32_t limit_ = 0;
};

}  // namespace rota
