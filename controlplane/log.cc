// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/log.h"

#include <cstdlib>
#include <memory>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <utility>

namespace rota {
namespace {

class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    static constexpr char kDigits[] = {'7', '7', '6', '4', '3', '2', '6'};
    const char prefix[] = {'<', kDigits[message.level], '>'};
    to.append(prefix, prefix + sizeof(prefix));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

}  // namespace

void log_to_stderr(const std::string& level) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (std::getenv("JOURNAL_STREAM") != nullptr)
    formatter->add_flag<Priority>('P').set_pattern("%P%v");
  else
    formatter->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
  auto logger = spdlog::stderr_logger_mt("rotad");
  logger->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_level(spdlog::level::from_str(level));
}

}  // namespace rota
