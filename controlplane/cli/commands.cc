// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/commands.h"

#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <ostream>
#include <thread>

#include "controlplane/cli/backend_list.h"
#include "controlplane/cli/completion.h"
#include "controlplane/cli/failure.h"
#include "controlplane/cli/print.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"
#include "controlplane/cli/words.h"

namespace rota::cli {
namespace {

using Stub = api::Rota::Stub;

uint32_t seconds_of(const std::string& text) {
  return text.empty() ? 0 : static_cast<uint32_t>(duration_ms_of(text) / 1000);
}

api::Timeouts timeouts_of(const Arguments& arguments) {
  api::Timeouts timeouts;
  timeouts.set_established_s(seconds_of(arguments.established_timeout));
  timeouts.set_closing_s(seconds_of(arguments.closing_timeout));
  timeouts.set_unproven_s(seconds_of(arguments.unproven_timeout));
  return timeouts;
}
bool any_timeout(const Arguments& arguments) {
  return !arguments.established_timeout.empty() || !arguments.closing_timeout.empty() ||
         !arguments.unproven_timeout.empty();
}

bool any_check(const Arguments& arguments) {
  return !arguments.check.empty() || !arguments.check_interval.empty() ||
         !arguments.check_timeout.empty() || !arguments.rise.empty() || !arguments.fall.empty();
}

// Puts the --check options into `check`; what is not given stays.
void apply_check(const Arguments& arguments, api::HealthCheck& check) {
  const std::pair<const char*, const std::string*> details[] = {
      {"--check-interval", &arguments.check_interval},
      {"--check-timeout", &arguments.check_timeout},
      {"--rise", &arguments.rise},
      {"--fall", &arguments.fall}};
  for (const auto& [option, value] : details)
    if (arguments.check == "none" && !value->empty())
      throw Failure(
          ExitCode::wrong_usage,
          fmt::format("{} \"{}\": expected no such option with --check none", option, *value));
  if (!arguments.check.empty()) check.set_enabled(arguments.check == "tcp");
  if (!arguments.check_interval.empty())
    check.set_interval_ms(static_cast<uint32_t>(duration_ms_of(arguments.check_interval)));
  if (!arguments.check_timeout.empty())
    check.set_timeout_ms(static_cast<uint32_t>(duration_ms_of(arguments.check_timeout)));
  if (!arguments.rise.empty()) check.set_rise(static_cast<uint32_t>(number_of(arguments.rise)));
  if (!arguments.fall.empty()) check.set_fall(static_cast<uint32_t>(number_of(arguments.fall)));
}

api::ServiceList services_of(const Arguments& arguments, Session& session) {
  api::ListServicesRequest request;
  request.set_name(arguments.service);
  return session.call(&Stub::ListServices, request);
}

api::Service service_of(const Arguments& arguments, Session& session) {
  const api::ServiceList list = services_of(arguments, session);
  if (list.services_size() == 1) return list.services(0);
  throw Failure(ExitCode::refused,
                fmt::format("service \"{}\": there is none of that name", arguments.service));
}

std::string policy_text(const api::Service& service) {
  return fmt::format("{} ({}/{}, {}, {})", service.name(), service.vip(), service.protocol(),
                     service.mode(), service.scheduler());
}

std::string backend_text(const Arguments& arguments, const api::Backend& backend) {
  return fmt::format("backend {} of {}: weight {}, {}{}\n", backend.endpoint(), arguments.service,
                     backend.weight(), backend.state(),
                     backend.reason().empty() ? "" : ", " + backend.reason());
}

// Of one backend as it is now, of several that it is done. `verb`: "added ", or nothing.
void print_backends(const Arguments& arguments, Session& session, const std::string& verb,
                    const api::BackendList& list) {
  if (list.backends_size() == 1) {
    const api::Backend& backend = list.backends(0);
    return print(arguments, session, backend, verb + backend_text(arguments, backend));
  }
  print(arguments, session, list,
        fmt::format("{}{} backends of {}\n", verb.empty() ? "changed " : verb, list.backends_size(),
                    arguments.service));
}

void fill(const std::vector<NamedBackend>& backends,
          google::protobuf::RepeatedPtrField<api::BackendWish>& wishes) {
  for (const NamedBackend& backend : backends) {
    api::BackendWish& wish = *wishes.Add();
    wish.set_endpoint(backend.endpoint);
    if (backend.weight) wish.set_weight(*backend.weight);
  }
}

void administer(const Arguments& arguments, Session& session,
                api::SetBackendsRequest::Admin admin) {
  api::SetBackendsRequest request;
  request.set_service(arguments.service);
  for (const NamedBackend& backend : named_backends(arguments))
    request.add_backends()->set_endpoint(backend.endpoint);
  request.set_admin(admin);
  request.set_deadline_s(seconds_of(arguments.deadline));
  print_backends(arguments, session, "", session.call(&Stub::SetBackends, request));
}

}  // namespace

void add_service(const Arguments& arguments, Session& session) {
  const Vip vip = vip_of(arguments.vip);
  api::AddServiceRequest request;
  request.set_name(arguments.service);
  request.set_vip(vip.endpoint);
  request.set_protocol(vip.protocol);
  request.set_mode(arguments.mode);
  request.set_scheduler(arguments.scheduler);
  request.set_sync(arguments.sync);
  if (any_timeout(arguments)) *request.mutable_timeouts() = timeouts_of(arguments);
  if (any_check(arguments)) {
    request.mutable_health()->set_enabled(true);
    apply_check(arguments, *request.mutable_health());
  }
  request.set_slow_start_s(seconds_of(arguments.slow_start));
  const api::Service service = session.call(&Stub::AddService, request);
  print(arguments, session, service, fmt::format("added service {}\n", policy_text(service)));
}

void set_service(const Arguments& arguments, Session& session) {
  if (arguments.scheduler.empty() && arguments.sync.empty() && !any_timeout(arguments) &&
      !any_check(arguments) && arguments.slow_start.empty())
    throw Failure(ExitCode::wrong_usage,
                  "expected something to change (--scheduler, --sync, a timeout, --check, "
                  "--slow-start), got nothing\n"
                  "try: rota service set --help");
  api::SetServiceRequest request;
  request.set_name(arguments.service);
  if (!arguments.scheduler.empty()) request.set_scheduler(arguments.scheduler);
  if (!arguments.sync.empty()) request.set_sync(arguments.sync);
  if (any_timeout(arguments)) *request.mutable_timeouts() = timeouts_of(arguments);
  if (any_check(arguments)) apply_check(arguments, *request.mutable_health());
  if (!arguments.slow_start.empty()) request.set_slow_start_s(seconds_of(arguments.slow_start));
  const api::Service service = session.call(&Stub::SetService, request);
  print(arguments, session, service, fmt::format("changed service {}\n", policy_text(service)));
}

void delete_service(const Arguments& arguments, Session& session) {
  api::ServiceName request;
  request.set_name(arguments.service);
  print(arguments, session, session.call(&Stub::DeleteService, request),
        fmt::format("deleted service {}\n", arguments.service));
}

void list_services(const Arguments& arguments, Session& session) {
  const api::ServiceList list = services_of(arguments, session);
  print(arguments, session, list, view_services(list, view_of(session)));
}

void show_service(const Arguments& arguments, Session& session) {
  const api::Service service = service_of(arguments, session);
  print(arguments, session, service, view_service(service, view_of(session)));
}

void add_backends(const Arguments& arguments, Session& session) {
  api::AddBackendsRequest request;
  request.set_service(arguments.service);
  fill(named_backends(arguments), *request.mutable_backends());
  print_backends(arguments, session, "added ", session.call(&Stub::AddBackends, request));
}

void set_backends(const Arguments& arguments, Session& session) {
  const auto backends = named_backends(arguments);
  for (const NamedBackend& backend : backends)
    if (!backend.weight)
      throw Failure(ExitCode::wrong_usage, arguments.from.empty()
                                               ? "--weight: expected a value, got none"
                                               : fmt::format("{}: backend {}: expected weight=N, "
                                                             "or --weight for all without",
                                                             arguments.from, backend.endpoint));
  api::SetBackendsRequest request;
  request.set_service(arguments.service);
  fill(backends, *request.mutable_backends());
  print_backends(arguments, session, "changed ", session.call(&Stub::SetBackends, request));
}

void drain_backends(const Arguments& arguments, Session& session) {
  administer(arguments, session, api::SetBackendsRequest::DRAINING);
}
void flush_backends(const Arguments& arguments, Session& session) {
  administer(arguments, session, api::SetBackendsRequest::FLUSHING);
}
void disable_backends(const Arguments& arguments, Session& session) {
  administer(arguments, session, api::SetBackendsRequest::DISABLED);
}
void enable_backends(const Arguments& arguments, Session& session) {
  administer(arguments, session, api::SetBackendsRequest::ENABLED);
}

void delete_backends(const Arguments& arguments, Session& session) {
  api::DeleteBackendsRequest request;
  request.set_service(arguments.service);
  for (const NamedBackend& backend : named_backends(arguments))
    request.add_endpoints(backend.endpoint);
  const auto count = request.endpoints_size();
  print(arguments, session, session.call(&Stub::DeleteBackends, request),
        count == 1
            ? fmt::format("deleted backend {} of {}\n", request.endpoints(0), arguments.service)
            : fmt::format("deleted {} backends of {}\n", count, arguments.service));
}

void list_backends(const Arguments& arguments, Session& session) {
  const api::ServiceList list = services_of(arguments, session);
  if (arguments.format() == Format::table) {
    session.out() << view_backends(list, view_of(session));
    return;
  }
  auto document = Document::make(arguments.format(), session.out());
  document->begin_map();
  document->key("backends");
  document->begin_list();
  for (const auto& service : list.services())
    for (const auto& backend : service.backends()) {
      document->begin_map();
      document->key("service");
      document->text(service.name());
      document->fields(backend);
      document->end_map();
    }
  document->end_list();
  document->end_map();
  document->finish();
}

void show_status(const Arguments& arguments, Session& session) {
  const api::Status status = session.call(&Stub::GetStatus, api::StatusRequest());
  print(arguments, session, status, view_status(status, view_of(session)));
}

namespace {

// Of one service only its own numbers, not the node's.
std::string stats_text(const Arguments& arguments, const Session& session,
                       const api::StatsRequest& request, const api::Stats& stats,
                       const api::Stats* before) {
  if (request.service().empty())
    return view_stats(stats, before, arguments.verbose, view_of(session));
  api::Stats own = stats;
  own.clear_workers();
  own.clear_steering();
  return view_stats(own, before, arguments.verbose, view_of(session));
}

// Draws until --count pictures are drawn, or for ever.
void watch_stats(const Arguments& arguments, Session& session, const api::StatsRequest& request,
                 double seconds) {
  const std::chrono::duration<double> pause(seconds);
  uint64_t left = arguments.count.empty() ? UINT64_MAX : number_of(arguments.count);
  api::Stats before = session.call(&Stub::GetStats, request);
  for (; left > 0; --left) {
    std::this_thread::sleep_for(pause);
    const api::Stats now = session.call(&Stub::GetStats, request);
    if (arguments.format() == Format::table) {
      session.out() << (session.terminal() ? "\033[H\033[2J" : "")
                    << stats_text(arguments, session, request, now, &before)
                    << (session.terminal() || left == 1 ? "" : "\n");
    } else {  // a stream of documents, each with totals
      const bool yaml = arguments.format() == Format::yaml;
      if (yaml) session.out() << "---\n";
      write_document(session.out(), now, yaml ? Format::yaml : Format::json_line);
    }
    session.out().flush();
    before = now;
  }
}

}  // namespace

void show_stats(const Arguments& arguments, Session& session) {
  api::StatsRequest request;
  request.set_service(arguments.service);
  if (arguments.watch.empty()) {
    const api::Stats stats = session.call(&Stub::GetStats, request);
    print(arguments, session, stats, stats_text(arguments, session, request, stats, nullptr));
    return;
  }
  char* end = nullptr;
  double seconds = std::strtod(arguments.watch.c_str(), &end);
  if (*end != '\0') {  // `--watch web`: the service, and no seconds
    request.set_service(arguments.watch);
    seconds = 1;
  }
  watch_stats(arguments, session, request, seconds);
}

namespace {

constexpr size_t kTablePart = 1000;  // rows printed together: millions need no memory

api::FlowsRequest flows_request(const Arguments& arguments, uint64_t limit) {
  api::FlowsRequest request;
  request.set_service(arguments.service);
  request.set_backend(arguments.backend);
  request.set_client(arguments.client);
  request.set_limit(limit == 0 ? 0 : static_cast<uint32_t>(limit + 1));  // one more: are there?
  return request;
}

// Hands out at most `limit` flows (0: all) and answers whether there are more.
bool each_flow(const Arguments& arguments, Session& session,
               const std::function<void(const api::Flow&)>& take) {
  const uint64_t limit = number_of(arguments.limit);
  uint64_t taken = 0;
  bool more = false;
  session.flows(flows_request(arguments, limit), [&](const api::Flow& flow) {
    more = limit != 0 && taken == limit;
    if (more) return false;
    take(flow);
    ++taken;
    return true;
  });
  return more;
}

void print_flow_table(const Arguments& arguments, Session& session) {
  Table table = flow_table();
  const bool more = each_flow(arguments, session, [&](const api::Flow& flow) {
    add_flow(table, flow);
    if (table.waiting() == kTablePart) session.out() << table.take(session.coloured());
  });
  session.out() << table.take(session.coloured());
  session.out().flush();
  if (more)
    session.err() << "rota: there are more flows than " << arguments.limit
                  << "; raise --limit (0: all), or choose by --service, --backend or --client\n";
}

}  // namespace

void list_flows(const Arguments& arguments, Session& session) {
  if (arguments.format() == Format::table) return print_flow_table(arguments, session);
  std::unique_ptr<Document> document;
  const auto begin = [&] {
    document = Document::make(arguments.format(), session.out());
    document->begin_map();
    document->key("flows");
    document->begin_list();
  };
  const bool more = each_flow(arguments, session, [&](const api::Flow& flow) {
    if (!document) begin();
    document->message(flow);
  });
  if (!document) begin();
  document->end_list();
  document->key("more");
  document->literal(more ? "true" : "false");
  document->end_map();
  document->finish();
}

void explain(const Arguments& arguments, Session& session) {
  if (arguments.syn && arguments.protocol != "tcp")
    throw Failure(
        ExitCode::wrong_usage,
        fmt::format("--syn: expected PROTOCOL tcp with it, got \"{}\"", arguments.protocol));
  if (is_ipv6_endpoint(arguments.client) != is_ipv6_endpoint(arguments.vip))
    throw Failure(ExitCode::wrong_usage,
                  fmt::format("VIP \"{}\": expected the address family of CLIENT \"{}\"",
                              arguments.vip, arguments.client));
  api::ExplainRequest request;
  request.set_protocol(arguments.protocol);
  request.set_client(arguments.client);
  request.set_vip(arguments.vip);
  request.set_syn(arguments.syn);
  const api::Explanation explanation = session.call(&Stub::Explain, request);
  print(arguments, session, explanation, view_explanation(explanation, view_of(session)));
}

namespace {

void set_handover(const Arguments& arguments, Session& session, bool aside) {
  api::HandoverRequest request;
  request.set_aside(aside);
  const api::Ha ha = session.call(&Stub::SetHandover, request);
  print(arguments, session, ha,
        aside ? "this node stands aside; its peer takes the traffic\n"
              : "this node no longer stands aside\n");
}

// For people the file itself; -o json has it as one text.
void print_engine(const Arguments& arguments, Session& session, const char* engine) {
  api::EngineConfigurationRequest request;
  request.set_engine(engine);
  const api::EngineConfiguration configuration =
      session.call(&Stub::GetEngineConfiguration, request);
  print(arguments, session, configuration, configuration.text());
}

}  // namespace

void show_ha(const Arguments& arguments, Session& session) {
  const api::Ha ha = session.call(&Stub::GetHa, api::HaRequest());
  print(arguments, session, ha, view_ha(ha, view_of(session)));
}

void hand_over(const Arguments& arguments, Session& session) {
  set_handover(arguments, session, true);
}
void resume(const Arguments& arguments, Session& session) {
  set_handover(arguments, session, false);
}

void print_keepalived(const Arguments& arguments, Session& session) {
  print_engine(arguments, session, "keepalived");
}
void print_bird(const Arguments& arguments, Session& session) {
  print_engine(arguments, session, "bird");
}

void print_completion(const Arguments& arguments, Session& session) {
  Arguments unused;
  session.out() << completion_script(*make_command_line(unused), arguments.shell);
}

void print_version(const Arguments& arguments, Session& session) {
  if (arguments.format() == Format::table) {
    session.out() << "rota " ROTA_VERSION "\n";
    return;
  }
  auto document = Document::make(arguments.format(), session.out());
  document->begin_map();
  document->key("version");
  document->text(ROTA_VERSION);
  document->end_map();
  document->finish();
}

}  // namespace rota::cli
