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
AddBackend wish_of(const api::AddBackendRequest& request);
SetBackend wish_of(const api::SetBackendRequest& request);

}  // namespace rota
