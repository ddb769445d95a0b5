// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/health/check_state.h"

namespace rota {

void CheckState::turn(bool up, const std::string& reason, int64_t now_unix_s) {
  verdict_ = {up, true, reason, now_unix_s};
  against_ = 0;
}

bool CheckState::apply(const CheckResult& result, const CheckPolicy& policy, int64_t now_unix_s) {
  if (result.inconclusive) return false;
  const bool first_success = !verdict_.proven && result.success;
  const bool contradicts = result.success != verdict_.up;
  against_ = contradicts ? against_ + 1 : 0;
  const uint32_t needed = verdict_.up ? policy.fall : policy.rise;
  if (first_success || (contradicts && against_ >= needed)) {
    turn(result.success, result.reason, now_unix_s);
    return true;
  }
  if (verdict_.up || result.success || verdict_.reason == result.reason) return false;
  verdict_.reason = result.reason;
  return true;
}

}  // namespace rota
