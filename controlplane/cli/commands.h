// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// One function per command of rota: request, answer, output. Each throws Failure.
#pragma once

#include "controlplane/cli/command_line.h"

namespace rota::cli {

void add_service(const Arguments&, Session&);
void set_service(const Arguments&, Session&);
void delete_service(const Arguments&, Session&);
void list_services(const Arguments&, Session&);
void show_service(const Arguments&, Session&);

void add_backends(const Arguments&, Session&);
void set_backends(const Arguments&, Session&);
void drain_backends(const Arguments&, Session&);
void flush_backends(const Arguments&, Session&);
void disable_backends(const Arguments&, Session&);
void enable_backends(const Arguments&, Session&);
void delete_backends(const Arguments&, Session&);
void list_backends(const Arguments&, Session&);

void show_status(const Arguments&, Session&);
void show_stats(const Arguments&, Session&);
void list_flows(const Arguments&, Session&);
void explain(const Arguments&, Session&);

void show_ha(const Arguments&, Session&);
void hand_over(const Arguments&, Session&);
void resume(const Arguments&, Session&);
void print_keepalived(const Arguments&, Session&);
void print_bird(const Arguments&, Session&);

void show_peer(const Arguments&, Session&);
void resolve_peer(const Arguments&, Session&);
void init_peer(const Arguments&, Session&);

void apply_firewall(const Arguments&, Session&);
void allow_sources(const Arguments&, Session&);
void deny_sources(const Arguments&, Session&);
void limit_sources(const Arguments&, Session&);
void delete_rules(const Arguments&, Session&);
void turn_firewall_off(const Arguments&, Session&);
void confirm_firewall(const Arguments&, Session&);
void list_firewall(const Arguments&, Session&);
void watch_firewall(const Arguments&, Session&);
void show_heaviest_sources(const Arguments&, Session&);

void print_completion(const Arguments&, Session&);
void print_version(const Arguments&, Session&);

}  // namespace rota::cli
