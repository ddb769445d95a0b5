// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The pair, as messages of the API. To be called on the loop.
#pragma once

#include "controlplane/api/rota.pb.h"
#include "controlplane/reconciler.h"

namespace rota {

void answer_ha(const Reconciler& reconciler, api::Ha& message);

Result<Done> answer_engine_configuration(const Reconciler& reconciler, const std::string& engine,
                                         api::EngineConfiguration& message);

}  // namespace rota
