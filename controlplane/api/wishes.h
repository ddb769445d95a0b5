// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Wishes: messages of the API as the model's own requests. Nothing is checked here: the model does.
#pragma once

#include "controlplane/api/rota.pb.h"
#include "controlplane/model/model.h"

namespace rota {

AddService wish_of(const api::AddServiceRequest& request);
SetService wish_of(const api::SetServiceRequest& request);
AddBackends wish_of(const api::AddBackendsRequest& request);
SetBackends wish_of(const api::SetBackendsRequest& request);
DeleteBackends wish_of(const api::DeleteBackendsRequest& request);

}  // namespace rota
