// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Explain: what would happen to a client's packet, by core's own code over the live tables, in
// words. To be called on the loop.
#pragma once

#include "controlplane/api/rota.pb.h"
#include "controlplane/reconciler.h"

namespace rota {

// Without `syn`, a TCP packet is the one that the client would send next: of its connection if the
// dataplane knows it, else a SYN.
Result<Done> answer_explain(const Reconciler& reconciler, const api::ExplainRequest& request,
                            api::Explanation& message);

}  // namespace rota
