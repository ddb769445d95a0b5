// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// The certificates of a pair: a small authority of its own, and one certificate per node whose
// subject and alternative name are the node's name. EC P-256, valid for ten years.
#pragma once

#include <array>
#include <string>

#include "controlplane/result.h"

namespace rota {

// Writes ca.pem, ca.key, and NODE.pem and NODE.key of both nodes into `directory`, which is made if
// it is not there. Keys get mode 0600. Overwrites nothing: if one of the files is there already,
// none is written.
Result<Done> make_certificates(const std::string& directory,
                               const std::array<std::string, 2>& nodes);

}  // namespace rota
