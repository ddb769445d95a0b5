// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/steering/steering.h"

#include <algorithm>
#include <array>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <map>
#include <optional>
#include <steer_bpf.skel.h>
#include <sys/stat.h>
#include <system_error>
#include <utility>

#include "controlplane/steering/endpoint_map.h"
#include "controlplane/steering/kernel.h"
#include "controlplane/steering/rule_maps.h"
#include "controlplane/steering/sample_ring.h"
#include "dataplane/host/port_name.h"

namespace rota {
namespace {

using kernel::Descriptor;

struct CloseObject {
  void operator()(steer_bpf* object) const { steer_bpf__destroy(object); }
};
using Object = std::unique_ptr<steer_bpf, CloseObject>;

// What is pinned of one port or guarded interface.
struct PortPins {
  std::string directory;
  std::string link;
  std::string xsks_map;
};

Error failure(ErrorCode code, std::string message) { return {code, std::move(message)}; }

// A port or interface, as messages begin.
std::string said(const std::string& name, XdpProgram program) {
  return fmt::format("{} {}", program == XdpProgram::steer ? "port" : "interface", name);
}

bpf_program* program_in(const steer_bpf& object, XdpProgram program) {
  return program == XdpProgram::steer ? object.progs.xsk_def_prog : object.progs.guard;
}

// Loading it loads the maps, and the one program, if any.
Object open_object(uint32_t capacity, std::optional<XdpProgram> wanted) {
  Object object(steer_bpf__open());
  if (object == nullptr) return object;
  bpf_map__set_max_entries(object->maps.endpoints, capacity);
  bpf_map__set_autocreate(object->maps.xsks_map, wanted == XdpProgram::steer);
  for (const XdpProgram program : {XdpProgram::steer, XdpProgram::guard})
    bpf_program__set_autoload(program_in(*object, program), program == wanted);
  return object;
}

// Can a map of an earlier run serve as `map`? It may have more room than is needed.
bool fits(int fd, const bpf_map* map) {
  const auto info = kernel::map_info(fd);
  return info && info->type == bpf_map__type(map) && info->key_size == bpf_map__key_size(map) &&
         info->value_size == bpf_map__value_size(map) &&
         info->max_entries >= bpf_map__max_entries(map);
}

// True when the pinned map is used; false: loading makes a new one.
bool reuse_pinned(bpf_map* map, const std::string& path) {
  const Descriptor pinned = kernel::open_pin(path);
  return pinned && fits(pinned.get(), map) && bpf_map__reuse_fd(map, pinned.get()) == 0;
}

// Those that all share, and that outlive a run.
std::array<bpf_map*, 7> shared_maps(const steer_bpf& object) {
  const auto& maps = object.maps;
  return {maps.endpoints, maps.counters, maps.rules,   maps.buckets,
          maps.hits,      maps.samples,  maps.samplers};
}

// The maps that all share, of the earlier run where they are of this ABI version.
class SharedMaps {
 public:
  explicit SharedMaps(std::string directory) : directory_(std::move(directory)) {}

  Result<Object> open(uint32_t capacity) {
    const kernel::Words words;
    Object object = open_object(capacity, std::nullopt);
    if (object == nullptr) return failed("cannot read the XDP object", words);
    const std::vector<bpf_map*> made = reuse(*object);
    if (steer_bpf__load(object.get()) != 0) return failed("cannot make the maps", words);
    if (made.empty()) return object;
    // Without abi the other pins count for nothing: it goes first and comes last.
    unlink(path("abi").c_str());
    for (bpf_map* map : made)
      if (!kernel::pin(bpf_map__fd(map), path(bpf_map__name(map))))
        return failed("cannot pin the maps", words);
    if (!pin_abi(bpf_map__fd(object->maps.abi))) return failed("cannot pin the maps", words);
    return object;
  }

 private:
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  bool same_abi() const {
    const Descriptor abi = kernel::open_pin(path("abi"));
    uint32_t key = 0, version = 0;
    return abi && bpf_map_lookup_elem(abi.get(), &key, &version) == 0 &&
           version == ROTA_ABI_VERSION;
  }

  // Those that could not be reused.
  std::vector<bpf_map*> reuse(steer_bpf& object) const {
    std::vector<bpf_map*> made;
    const bool same = same_abi();
    for (bpf_map* map : shared_maps(object))
      if (!same || !reuse_pinned(map, path(bpf_map__name(map)))) made.push_back(map);
    return made;
  }

  bool pin_abi(int fd) const {
    const uint32_t key = 0, version = ROTA_ABI_VERSION;
    return bpf_map_update_elem(fd, &key, &version, BPF_ANY) == 0 && kernel::pin(fd, path("abi"));
  }

  Error failed(const char* what, const kernel::Words& words) const {
    const int error = errno;
    return failure(ErrorCode::internal,
                   fmt::format("{}: {}: {}{}", directory_, what, kernel::why(error), words.text()));
  }

  std::string directory_;
};

bool is_xdp_link_on(int link, uint32_t ifindex, uint32_t program_id) {
  const auto info = kernel::link_info(link);
  return info && info->type == BPF_LINK_TYPE_XDP && info->xdp.ifindex == ifindex &&
         info->prog_id == program_id;
}

// The same instructions on the same maps.
bool same_program(const kernel::ProgramInfo& a, const kernel::ProgramInfo& b) {
  return a.tag == b.tag && a.map_ids == b.map_ids;
}

// 0: attached; else an errno.
int attach_in_mode(int program, uint32_t ifindex, uint32_t mode, Descriptor& link) {
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = mode;
  const int fd = bpf_link_create(program, static_cast<int>(ifindex), BPF_XDP, &options);
  if (fd < 0) return -fd;
  link = Descriptor(fd);
  return 0;
}

}  // namespace

struct Steering::State {
  struct Attached {
    XdpProgram program;
    Descriptor link;
  };

  std::string directory;
  uint32_t capacity;
  Object shared;
  EndpointMap endpoints;
  SampleRing samples;
  // Where the program is known to be ours and up to date.
  std::map<std::string, Attached> attached;

  PortPins pins(const std::string& name) const {
    const std::string own = directory + "/" + name;
    return {.directory = own, .link = own + "/link", .xsks_map = own + "/xsks_map"};
  }
  bool runs(const std::string& name, XdpProgram program) const {
    const auto known = attached.find(name);
    return known != attached.end() && known->second.program == program;
  }

  Result<Object> load_program(const std::string& name, XdpProgram wanted) const;
  Result<Attachment> adopt(const std::string& name, XdpProgram wanted, Descriptor link,
                           const kernel::ProgramInfo& running);
  Result<Attachment> attach_new(const std::string& name, XdpProgram wanted, uint32_t ifindex);
};

// An instance of the program: on the shared maps, and on the port's xsks_map.
Result<Object> Steering::State::load_program(const std::string& name, XdpProgram wanted) const {
  const kernel::Words words;
  const auto failed = [&](const char* what) {
    const int error = errno;
    return failure(ErrorCode::internal, fmt::format("{}: {}: {}{}", said(name, wanted), what,
                                                    kernel::why(error), words.text()));
  };
  const PortPins own = pins(name);
  if (mkdir(own.directory.c_str(), 0700) != 0 && errno != EEXIST)
    return failed("cannot make its directory in the bpffs");
  Object object = open_object(capacity, wanted);
  if (object == nullptr) return failed("cannot read the XDP object");
  bpf_map__set_autocreate(object->maps.abi, false);
  const auto maps = shared_maps(*object), made = shared_maps(*shared);
  for (size_t i = 0; i < maps.size(); ++i)
    if (bpf_map__reuse_fd(maps[i], bpf_map__fd(made[i])) != 0)
      return failed("cannot use the shared maps");
  const bool has_sockets = wanted == XdpProgram::steer;
  const bool reused = has_sockets && reuse_pinned(object->maps.xsks_map, own.xsks_map);
  if (steer_bpf__load(object.get()) != 0) return failed("the kernel refused the XDP program");
  if (has_sockets && !reused && !kernel::pin(bpf_map__fd(object->maps.xsks_map), own.xsks_map))
    return failed("cannot pin xsks_map");
  return object;
}

// There is a link of an earlier run: keeps or replaces the program on it.
Result<Attachment> Steering::State::adopt(const std::string& name, XdpProgram wanted,
                                          Descriptor link, const kernel::ProgramInfo& running) {
  auto object = load_program(name, wanted);
  if (!object) return object.error();
  const int program = bpf_program__fd(program_in(**object, wanted));
  const auto loaded = kernel::program_info(program);
  Attachment attachment{.how = Attachment::How::kept, .program_id = running.id};
  if (!loaded || !same_program(running, *loaded)) {
    if (const int result = bpf_link_update(link.get(), program, nullptr); result != 0)
      return failure(ErrorCode::internal,
                     fmt::format("{}: cannot replace XDP program {}: {}", said(name, wanted),
                                 running.id, kernel::why(-result)));
    attachment.how = Attachment::How::replaced;
    attachment.program_id = loaded ? loaded->id : 0;
  }
  if (wanted == XdpProgram::guard) unlink(pins(name).xsks_map.c_str());  // it was a port
  attached[name] = {wanted, std::move(link)};
  return attachment;
}

Result<Attachment> Steering::State::attach_new(const std::string& name, XdpProgram wanted,
                                               uint32_t ifindex) {
  auto object = load_program(name, wanted);
  if (!object) return object.error();
  const int program = bpf_program__fd(program_in(**object, wanted));
  Attachment attachment;
  Descriptor link;
  if (const int in_driver = attach_in_mode(program, ifindex, XDP_FLAGS_DRV_MODE, link);
      in_driver != 0) {
    const int in_generic = attach_in_mode(program, ifindex, XDP_FLAGS_SKB_MODE, link);
    if (in_generic != 0)
      return failure(ErrorCode::internal,
                     fmt::format("{}: {} takes no XDP program: driver mode: {}; generic mode: {}",
                                 said(name, wanted), kernel::interface_name(ifindex),
                                 kernel::why(in_driver), kernel::why(in_generic)));
    attachment.driver_mode = false;
    attachment.warning = fmt::format(
        "{}: {} refused XDP in driver mode ({}; too large an MTU, or too few queues?); "
        "attached in generic mode, which is slower",
        said(name, wanted), kernel::interface_name(ifindex), kernel::why(in_driver));
  }
  if (!kernel::pin(link.get(), pins(name).link))
    return failure(ErrorCode::internal,
                   fmt::format("{}: cannot pin: {}", pins(name).link, kernel::why(errno)));
  if (const auto info = kernel::link_info(link.get())) attachment.program_id = info->prog_id;
  attached[name] = {wanted, std::move(link)};
  return attachment;
}

namespace {

std::optional<Error> check_name(const std::string& name, XdpProgram program) {
  if (is_af_xdp_port_name(name)) return std::nullopt;
  return failure(ErrorCode::invalid_argument,
                 fmt::format("{}: expected {}", said(name, program), kAfXdpPortNameExpected));
}

Error taken_by_other(const std::string& who, uint32_t ifindex, const kernel::OnInterface& present) {
  const auto program = kernel::program_info_of_id(present.program_id);
  const std::string interface = kernel::interface_name(ifindex);
  return failure(
      ErrorCode::failed_precondition,
      fmt::format("{}: XDP program of another owner is attached (id {}, name {}, {} mode): "
                  "expected none on {}; end its owner or remove it (ip link set dev {} xdp off)",
                  who, present.program_id, program ? program->name : "unknown",
                  present.driver_mode ? "driver" : "generic", interface, interface));
}

void warn_if_generic(const std::string& who, const kernel::OnInterface& present,
                     Attachment& attachment) {
  attachment.driver_mode = present.driver_mode;
  if (!present.driver_mode)
    attachment.warning = fmt::format("{}: XDP is attached in generic mode, which is slower", who);
}

}  // namespace

Steering::Steering(std::unique_ptr<State> state) : state_(std::move(state)) {}
Steering::Steering(Steering&&) noexcept = default;
Steering& Steering::operator=(Steering&&) noexcept = default;
Steering::~Steering() = default;

Result<Steering> Steering::open(const std::string& directory, uint32_t endpoint_count_max) {
  if (const std::string wrong = kernel::mount_bpffs(directory); !wrong.empty())
    return failure(ErrorCode::failed_precondition, wrong);
  const uint32_t capacity = std::max(2 * endpoint_count_max, 2u);
  auto shared = SharedMaps(directory).open(capacity);
  if (!shared) return shared.error();
  const int fd = bpf_map__fd((*shared)->maps.endpoints);
  auto endpoints = EndpointMap::open(fd, bpf_map__max_entries((*shared)->maps.endpoints));
  if (!endpoints) return endpoints.error();
  auto samples = SampleRing::open(bpf_map__fd((*shared)->maps.samples));
  if (!samples) return samples.error();
  return Steering(std::make_unique<State>(State{.directory = directory,
                                                .capacity = capacity,
                                                .shared = std::move(*shared),
                                                .endpoints = std::move(*endpoints),
                                                .samples = std::move(*samples),
                                                .attached = {}}));
}

Result<Attachment> Steering::attach(const std::string& name, uint32_t ifindex, XdpProgram program) {
  if (auto wrong = check_name(name, program)) return *wrong;
  const std::string who = said(name, program);
  const auto present = kernel::program_on(ifindex);
  if (!present || kernel::interface_name(ifindex).empty())
    return failure(
        ErrorCode::not_found,
        fmt::format("{}: expected an interface with index {}, there is none", who, ifindex));

  Descriptor pinned = kernel::open_pin(state_->pins(name).link);
  if (!pinned || !is_xdp_link_on(pinned.get(), ifindex, present->program_id)) {
    // What is pinned belongs to an interface that is gone, or that is no longer meant.
    if (auto detached = detach(name); !detached) return detached.error();
    if (present->program_id != 0) return taken_by_other(who, ifindex, *present);
    auto attachment = state_->attach_new(name, program, ifindex);
    if (!attachment) (void)detach(name);  // no pins without a program
    return attachment;
  }

  const auto running = kernel::program_info_of_id(present->program_id);
  if (!running)
    return failure(ErrorCode::internal,
                   fmt::format("{}: cannot ask the kernel about XDP program {}: {}", who,
                               present->program_id, kernel::why(errno)));
  auto attachment =
      state_->runs(name, program)
          ? Result<Attachment>(Attachment{.how = Attachment::How::kept, .program_id = running->id})
          : state_->adopt(name, program, std::move(pinned), *running);
  if (attachment) warn_if_generic(who, *present, *attachment);
  return attachment;
}

Result<Done> Steering::detach(const std::string& name) {
  if (auto wrong = check_name(name, XdpProgram::steer)) return *wrong;
  const PortPins pins = state_->pins(name);
  state_->attached.erase(name);
  // Closing and unpinning would do it too, but some time later.
  if (const Descriptor link = kernel::open_pin(pins.link)) bpf_link_detach(link.get());
  std::error_code error;
  std::filesystem::remove(pins.link, error);
  if (!error) std::filesystem::remove(pins.xsks_map, error);
  if (!error) std::filesystem::remove(pins.directory, error);
  if (!error) return Done{};
  return failure(ErrorCode::internal,
                 fmt::format("{}: cannot remove: {}", pins.directory, error.message()));
}

std::vector<std::string> Steering::ports() const { return ports_at(state_->directory); }

std::vector<std::string> Steering::ports_at(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.is_directory(error)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

Result<Done> Steering::put_endpoints(std::span<const rota_endpoint_entry> entries) {
  return state_->endpoints.put(entries);
}

Result<Done> Steering::remove_endpoints(std::span<const rota_endpoint_key> keys) {
  return state_->endpoints.remove(keys);
}

Result<Done> Steering::set_endpoints(std::span<const rota_endpoint_entry> entries) {
  return state_->endpoints.set(entries);
}

Result<Done> Steering::set_rules(std::span<const rota_cell> cells) {
  return put_rules(bpf_map__fd(state_->shared->maps.rules), cells);
}

Result<std::vector<rota_rule_hits>> Steering::rule_hits(uint32_t count) const {
  return read_hits(bpf_map__fd(state_->shared->maps.hits), count);
}

Result<Done> Steering::zero_hits(uint32_t counter) {
  return rota::zero_hits(bpf_map__fd(state_->shared->maps.hits), counter);
}

size_t Steering::take_samples(std::vector<rota_sample>& samples) {
  return state_->samples.take(samples);
}

int Steering::buckets_fd() const { return bpf_map__fd(state_->shared->maps.buckets); }

Result<SteeringCounters> Steering::counters() const {
  const int fd = bpf_map__fd(state_->shared->maps.counters);
  const int cpus = libbpf_num_possible_cpus();
  std::vector<uint64_t> per_cpu(static_cast<size_t>(std::max(cpus, 1)));
  const auto sum = [&](uint32_t counter) -> std::optional<uint64_t> {
    if (cpus < 0 || bpf_map_lookup_elem(fd, &counter, per_cpu.data()) != 0) return std::nullopt;
    uint64_t total = 0;
    for (const uint64_t value : per_cpu) total += value;
    return total;
  };
  const auto kernel = sum(ROTA_STEER_COUNTER_KERNEL);
  const auto served = sum(ROTA_STEER_COUNTER_SERVED);
  const auto unserved = sum(ROTA_STEER_COUNTER_UNSERVED);
  const auto refused = sum(ROTA_STEER_COUNTER_REFUSED);
  if (!kernel || !served || !unserved || !refused)
    return failure(ErrorCode::internal, "steering: cannot read the counters map");
  return SteeringCounters{
      .kernel = *kernel, .served = *served, .unserved = *unserved, .refused = *refused};
}

}  // namespace rota
