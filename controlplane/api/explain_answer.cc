// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/api/explain_answer.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <utility>

#include "controlplane/api/answers.h"
#include "controlplane/api/firewall_answer.h"
#include "controlplane/api/flow_query.h"
#include "controlplane/api/live_generation.h"
#include "controlplane/model/text.h"
#include "dataplane/core/explain.h"
#include "dataplane/core/route.h"

namespace rota {
namespace {

Result<ExplainQuestion> question_of(const api::ExplainRequest& request) {
  const auto protocol = parse_protocol(request.protocol());
  if (!protocol) return protocol.error();
  const auto client = parse_endpoint("client", request.client());
  if (!client) return client.error();
  const auto vip = parse_endpoint("VIP", request.vip());
  if (!vip) return vip.error();
  if (client->address.is_ipv4() != vip->address.is_ipv4())
    return Error{ErrorCode::invalid_argument,
                 fmt::format("client {} and VIP {}: expected addresses of one family",
                             request.client(), request.vip())};
  return ExplainQuestion{.protocol = *protocol,
                         .client = client->address,
                         .client_port = Be16::from_host(client->port),
                         .destination = vip->address,
                         .destination_port = Be16::from_host(vip->port),
                         .syn = request.syn()};
}

// Clients are expected where the route to them points.
uint16_t port_of_client(const Generation& generation, const Address& client) {
  const NextHop* next_hop = client.is_ipv4() ? find_route(generation, client.ipv4(), 0)
                                             : find_route(generation, client.ipv6(), 0);
  return next_hop == nullptr ? uint16_t{0} : next_hop->port;
}

const char* words(Orphan orphan) {
  switch (orphan) {
    case Orphan::never_seen:
      return "no record of the flow";
    case Orphan::expired:
      return "its record has expired";
    case Orphan::evicted:
      return "its record made room for others while it was unproven";
    case Orphan::unsynced:
      return "no record of the flow, and the peer cannot be asked";
    case Orphan::epoch_refused:
      return "a stale peer told of it and was not believed";
    case Orphan::backend_removed:
      return "its backend takes it no more";
    case Orphan::count:
      break;
  }
  return "unknown";
}

const char* words(FlowState state) {
  switch (state) {
    case FlowState::empty:
      break;
    case FlowState::unproven:
      return "unproven";
    case FlowState::established:
      return "established";
    case FlowState::closing:
      return "closing";
  }
  return "unknown";
}

const char* words(Verdict verdict) {
  switch (verdict) {
    case Verdict::send:
      return "send";
    case Verdict::punt:
      return "punt";
    case Verdict::drop:
      return "drop";
    default:
      return "none";
  }
}

// One explanation, told stage by stage.
class Teller {
 public:
  Teller(const Reconciler& reconciler, const ExplainQuestion& question,
         const Explanation& explanation, api::Explanation& message)
      : reconciler_(reconciler),
        question_(question),
        explained_(explanation),
        message_(message),
        service_(reconciler.model().find(explanation.service)) {}

  void tell() {
    tell_generation();
    tell_packet();
    tell_guard();
    if (explained_.drop != Drop::refused) tell_match();
    if (explained_.decided) {
      tell_find();
      tell_pick();
    }
    tell_way();
    message_.set_verdict(words(explained_.verdict));
    if (explained_.verdict == Verdict::drop) tell_drop();
  }

 private:
  void step(const char* stage, std::string text) {
    api::Explanation::Step& step = *message_.add_steps();
    step.set_stage(stage);
    step.set_text(std::move(text));
  }

  void tell_generation() {
    const uint64_t compiled = reconciler_.compiled().generation;
    const uint64_t in_force = reconciler_.link().generation_in_force();
    if (!reconciler_.link().connected())
      step("generation", fmt::format("{}, but the dataplane is not there", compiled));
    else if (in_force != compiled)
      step("generation", fmt::format("{}, while the dataplane still has {}", compiled, in_force));
    else
      step("generation", fmt::format("{}, in force", compiled));
  }

  void tell_packet() {
    const auto& ports = reconciler_.node().ports;
    const std::string port =
        question_.port < ports.size() ? ports[question_.port].name : std::string("no port");
    step("parse",
         fmt::format(
             "{}{} from {} to {}, arriving on {}",
             question_.protocol == Protocol::tcp ? "TCP" : "UDP", question_.syn ? " SYN" : "",
             format_endpoint({question_.client, question_.client_port.to_host()}),
             format_endpoint({question_.destination, question_.destination_port.to_host()}), port));
  }

  void tell_guard() {
    if (!reconciler_.firewall().is_on()) return;
    if (!question_.interface) return step("guard", "no rules are asked on this port");
    step("guard", explained_.rule ? describe_rule(reconciler_, *explained_.rule)
                                  : "no rule decides, so it may pass, within the limits");
  }

  void tell_match() {
    if (service_ == nullptr) return step("match", "no service there: it is the kernel's");
    message_.set_service(service_->name);
    if (!explained_.decided)
      return step("match", fmt::format("a reply of a backend of service {}", service_->name));
    step("match", fmt::format("service {}, {} {}", service_->name, name_of(service_->mode),
                              name_of(service_->scheduler)));
  }

  std::string name_of_backend(uint32_t id) const {
    for (const Backend& backend : service_->backends)
      if (backend.id == id) return format_endpoint(backend.endpoint);
    return fmt::format("removed backend {}", id);
  }

  void tell_find() {
    if (!explained_.recorded) return step("find", "no record of the flow");
    step("find", fmt::format("{} with {}, idle {} s, on worker {}", words(explained_.state),
                             name_of_backend(explained_.recorded_backend_id), explained_.idle_s,
                             explained_.worker));
  }

  void tell_pick() {
    if (explained_.choice == Choice::follow) {
      if (explained_.reset)
        step("pick", "its backend is being flushed: the packet is answered with a reset");
      return;
    }
    const std::string backend =
        explained_.backend ? name_of_backend(explained_.backend->id) : "no backend";
    if (explained_.choice == Choice::orphan)
      return step("pick", fmt::format("{} and it opens none: the consistent fallback gives {}",
                                      words(explained_.orphan), backend));
    if (service_->scheduler == Scheduler::maglev)
      return step("pick", fmt::format("a new flow: by its hash {}", backend));
    step("pick",
         fmt::format("a new flow: ticket {} is the turn of {}", explained_.ticket, backend));
  }

  void tell_way() {
    if (explained_.backend != nullptr) {
      message_.set_backend(name_of_backend(explained_.backend->id));
      tell_rewrite();
    }
    if (explained_.next_hop != nullptr)
      step("route", describe_next_hop(*explained_.next_hop, reconciler_.facts().ports));
  }

  void tell_rewrite() {
    if (!explained_.decided)
      return step("rewrite", fmt::format("source becomes {}", format_endpoint(service_->vip)));
    if (service_->mode == Mode::dsr) return step("rewrite", "addresses stay, only the MAC is new");
    step("rewrite", fmt::format("destination becomes {}", message_.backend()));
  }

  void tell_drop() {
    const DropInfo& drop = drop_info(explained_.drop);
    message_.set_drop(std::string(drop.name));
    step("drop", fmt::format("{}: {}", drop.name, drop.why));
  }

  const Reconciler& reconciler_;
  const ExplainQuestion& question_;
  const Explanation& explained_;
  api::Explanation& message_;
  const Service* service_;
};

}  // namespace

Result<Done> answer_explain(const Reconciler& reconciler, const api::ExplainRequest& request,
                            api::Explanation& message) {
  auto question = question_of(request);
  if (!question) return question.error();
  if (reconciler.compiled().root == nullptr)
    return Error{ErrorCode::failed_precondition, "rotad has just started: nothing is compiled yet"};
  const auto memory = reconciler.link().memory();
  const LiveGeneration live(reconciler.compiled(), reconciler.firewall().cells(), memory.get());
  const FlowMemoryView* flows = memory ? &memory->flows() : nullptr;
  const uint16_t now = flows ? tick_now(*flows) : uint16_t{0};

  question->port = port_of_client(live.get(), question->client);
  if (const auto& ports = reconciler.node().ports; question->port < ports.size())
    question->interface = reconciler.firewall_names().find_interface(ports[question->port].name);
  Explanation explanation = explain(*question, live.get(), flows, now);
  const bool no_connection = explanation.decided && explanation.choice != Choice::follow;
  if (question->protocol == Protocol::tcp && !question->syn && no_connection) {
    question->syn = true;
    explanation = explain(*question, live.get(), flows, now);
  }
  Teller(reconciler, *question, explanation, message).tell();
  return Done{};
}

}  // namespace rota
