// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Desired state as messages to the peer, and back. What a message says is checked value by value
// here; whether it fits the model and this node's limits, check_edit() and Store::replace() say.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/model/model.h"
#include "controlplane/model/store.h"
#include "controlplane/peer/peer.pb.h"
#include "controlplane/result.h"

namespace rota {

peer::EditMark message_of(const EditMark& mark);
EditMark mark_of(const peer::EditMark& message);

// `base`: the mark of the model that the edit was planned against.
peer::DesiredEdit message_of(const Edit& edit, const EditMark& base, uint64_t unix_ms);
Result<Edit> edit_of(const peer::DesiredEdit& message);

peer::DesiredState message_of(const Model& model, const EditMark& base,
                              const std::vector<AuditEntry>& history);
// A model without limits of its own.
Result<Model> model_of(const peer::DesiredState& message);
std::vector<AuditEntry> history_of(const peer::DesiredState& message);

}  // namespace rota
