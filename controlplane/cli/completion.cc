// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
#include "controlplane/cli/completion.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <string_view>
#include <vector>

namespace rota::cli {
namespace {

struct Word {
  std::string text;
  std::string help;
};

struct Option {
  std::vector<std::string> names;  // with their dashes
  std::string takes;               // type name; empty: takes no value
  std::string help;
};

// One command, or the root.
struct Limb {
  std::string path;  // "service add"; "" is the root
  std::vector<Word> commands;
  std::vector<Option> options;
  std::vector<std::string> places;  // what each positional takes
  bool repeats = false;             // the last one, any number of times
};

Option option_of(const CLI::Option& option) {
  Option result{
      {}, option.get_expected_max() > 0 ? option.get_type_name() : "", option.get_description()};
  for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
  return result;
}

void collect(const CLI::App& app, const std::string& path, std::vector<Limb>& limbs) {
  Limb limb{path, {}, {}, {}, false};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      limb.places.push_back(option->get_type_name());
      limb.repeats = option->get_expected_max() > 1;
    } else {
      limb.options.push_back(option_of(*option));
    }
  }
  const auto subs = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subs)
    limb.commands.push_back({sub->get_name(), sub->get_description()});
  limbs.push_back(limb);
  for (const CLI::App* sub : subs)
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), limbs);
}

bool is_choice(const std::string& takes) { return takes.find('|') != std::string::npos; }
bool is_completable(const std::string& takes) {
  return is_choice(takes) || takes == "SERVICE" || takes == "BACKEND" || takes == "PATH";
}

std::string in_quotes(std::string_view text) { return fmt::format("'{}'", text); }

std::string replaced(std::string text, std::string_view mark, const std::string& by) {
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += by.size())
    text.replace(at, mark.size(), by);
  return text;
}

// What the scripts for bash and zsh have in common; each %MARK% is filled from the tree.
constexpr std::string_view kPosixPart = R"sh(
# The one value of each field $1 in what `rota $2...` answers.
_rota_ask() {
  local field=$1
  shift
  "$program" "${to[@]}" "$@" -o json 2>/dev/null |
    sed -n "s/^ *\"$field\": \"\([][A-Za-z0-9:._-]*\)\",\{0,1\}\$/\1/p"
}

# Choices for the word $1, which follows the words $2... of the command line, one a line.
# Nothing: files, if $files is set.
_rota_choices() {
  local cur=$1 word='' command='' option='' takes='' options='' service='' place=0
  local -a to
  to=()
  shift
  for word in "$@"; do
    if [[ -n $option ]]; then
      case $option in
        --socket|--node) to=("$option" "$word") ;;
        --service) service=$word ;;
      esac
      option=''
    elif [[ $word == -* ]]; then
      case $word in
        %VALUE_OPTIONS%) option=$word ;;
        --socket=*|--node=*) to=("$word") ;;
      esac
    else
      case ${command:+$command }$word in
        %COMMANDS%)
          command=${command:+$command }$word ;;
        *)
          place=$((place + 1))
          [[ $place == 1 ]] && service=$word ;;
      esac
    fi
  done

  if [[ $cur == --*=* ]]; then
    option=${cur%%=*}
  fi
  if [[ -n $option ]]; then
    case $option in
%OPTION_VALUES%
    esac
  else
    case $command in
%OPTIONS%
    esac
    case $command:$place in
%PLACES%
    esac
    if [[ $cur == -* || -z $takes ]]; then
      takes=$options
    fi
  fi

  case $takes in
    SERVICE) _rota_ask name service list ;;
    BACKEND) _rota_ask endpoint backend list ${service:+"$service"} ;;
    PATH) files=1 ;;
    *) printf '%s\n' "$takes" | tr '|' '\n' ;;
  esac
}
)sh";

constexpr std::string_view kBashPart = R"sh(
_rota() {
  local line=${COMP_LINE:0:COMP_POINT} cur='' program files='' choices
  local -a words
  read -ra words <<<"$line"
  program=${words[0]}
  if [[ $line != *[[:space:]] ]]; then
    cur=${words[${#words[@]}-1]}
    unset "words[${#words[@]}-1]"
  fi
  choices=$(_rota_choices "$cur" "${words[@]:1}"; printf '%s' "${files:+ files}")
  cur=${cur#--*=}
  if [[ $choices == *' files' ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
  # Readline takes what stands before a colon as a word of its own.
  if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
  fi
}
complete -F _rota rota
)sh";

constexpr std::string_view kZshPart = R"sh(
_rota() {
  local program=${words[1]} files='' answer
  local -a choices
  answer=$(_rota_choices "${words[CURRENT]}" "${(@)words[2,CURRENT-1]}"
           printf '%s' "${files:+ files}")
  [[ $PREFIX == --*=* ]] && compset -P '*='
  if [[ $answer == *' files' ]]; then
    _files
    return
  fi
  choices=(${(f)answer})
  compadd -a -- choices
}
if [[ $funcstack[1] == _rota ]]; then
  _rota "$@"
else
  compdef _rota rota
fi
)sh";

constexpr std::string_view kFishPart = R"sh(
# Reads the command line up to the cursor: command and place, and where rotad is.
function __rota_read
    set -g __rota_command ''
    set -g __rota_place 0
    set -g __rota_service
    set -g __rota_to
    set -l option ''
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$option"
            switch $option
                case --socket --node
                    set __rota_to $option $word
            end
            set option ''
            continue
        end
        set -l longer (string trim -- "$__rota_command $word")
        switch $word
            case %VALUE_OPTIONS%
                set option $word
            case '-*'
            case '*'
                switch $longer
                    case %COMMANDS%
                        set __rota_command $longer
                    case '*'
                        set __rota_place (math $__rota_place + 1)
                        test $__rota_place = 1; and set __rota_service $word
                end
        end
    end
end

function __rota_in
    __rota_read
    test "$__rota_command" = "$argv[1]"
end

function __rota_at
    __rota_read
    test "$__rota_command:$__rota_place" = "$argv[1]"
end

function __rota_from
    __rota_read
    test "$__rota_command" = "$argv[1]" -a $__rota_place -ge $argv[2]
end

function __rota_ask
    __rota_read
    rota $__rota_to $argv[2..-1] -o json 2>/dev/null |
        sed -n 's/^ *"'$argv[1]'": "\([][A-Za-z0-9:._-]*\)",\{0,1\}$/\1/p'
end

function __rota_backends
    __rota_read
    __rota_ask endpoint backend list $__rota_service
end

complete -c rota -f
)sh";

// Every option that takes a value, by name. An option takes the same wherever it stands.
std::map<std::string, std::string> values_by_option(const std::vector<Limb>& limbs) {
  std::map<std::string, std::string> values;
  for (const Limb& limb : limbs)
    for (const Option& option : limb.options)
      for (const std::string& name : option.names)
        if (!option.takes.empty()) values[name] = option.takes;
  return values;
}

std::vector<std::string> option_names(const Limb& root, const Limb& limb) {
  std::vector<std::string> names;
  for (const Limb* from : {&limb, &root}) {
    for (const Option& option : from->options)
      if (std::find(names.begin(), names.end(), option.names.front()) == names.end())
        names.push_back(option.names.front());
    if (&limb == &root) break;
  }
  return names;
}

std::string option_value_cases(const std::vector<Limb>& limbs) {
  std::vector<std::string> cases;
  for (const auto& [name, takes] : values_by_option(limbs))
    if (is_completable(takes))
      cases.push_back(fmt::format("      {}) takes={} ;;", name, in_quotes(takes)));
  return fmt::format("{}", fmt::join(cases, "\n"));
}

std::string option_cases(const std::vector<Limb>& limbs) {
  std::vector<std::string> cases;
  cases.reserve(limbs.size());
  for (const Limb& limb : limbs)
    cases.push_back(fmt::format("      {}) options='{}' ;;", in_quotes(limb.path),
                                fmt::join(option_names(limbs.front(), limb), "|")));
  return fmt::format("{}", fmt::join(cases, "\n"));
}

std::string place_cases(const std::vector<Limb>& limbs) {
  std::vector<std::string> cases;
  for (const Limb& limb : limbs) {
    std::vector<std::string> words;
    for (const Word& word : limb.commands) words.push_back(word.text);
    if (!words.empty())
      cases.push_back(fmt::format("      {}) takes='{}' ;;", in_quotes(limb.path + ":0"),
                                  fmt::join(words, "|")));
    for (size_t i = 0; i < limb.places.size(); ++i) {
      if (!is_completable(limb.places[i])) continue;
      // The cases before are the places before it.
      const bool repeats = limb.repeats && i + 1 == limb.places.size();
      cases.push_back(fmt::format("      {}) takes={} ;;",
                                  repeats ? in_quotes(limb.path + ":") + "*"
                                          : in_quotes(fmt::format("{}:{}", limb.path, i)),
                                  in_quotes(limb.places[i])));
    }
  }
  return fmt::format("{}", fmt::join(cases, "\n"));
}

// "a<separator>'b c'": every option with a value, and every command.
std::string filled(std::string_view part, const std::vector<Limb>& limbs,
                   std::string_view separator) {
  std::vector<std::string> options, commands;
  for (const auto& [name, takes] : values_by_option(limbs)) options.push_back(name);
  for (const Limb& limb : limbs)
    if (!limb.path.empty()) commands.push_back(in_quotes(limb.path));
  std::string text(part);
  text = replaced(text, "%VALUE_OPTIONS%", fmt::format("{}", fmt::join(options, separator)));
  return replaced(text, "%COMMANDS%", fmt::format("{}", fmt::join(commands, separator)));
}

std::string posix_part(const std::vector<Limb>& limbs) {
  std::string text = filled(kPosixPart, limbs, "|");
  text = replaced(text, "%OPTION_VALUES%", option_value_cases(limbs));
  text = replaced(text, "%OPTIONS%", option_cases(limbs));
  return replaced(text, "%PLACES%", place_cases(limbs));
}

// The -a argument of fish's complete for what is taken; empty: nothing to offer.
std::string fish_choices(const std::string& takes) {
  if (takes == "SERVICE") return " -a '(__rota_ask name service list)'";
  if (takes == "BACKEND") return " -a '(__rota_backends)'";
  if (is_choice(takes)) return fmt::format(" -a '{}'", replaced(takes, "|", " "));
  return "";
}

std::string fish_help(const std::string& help) {
  return fmt::format(" -d '{}'", replaced(help, "'", "\\'"));
}

std::string fish_option(const std::string& condition, const Option& option) {
  std::string line = "complete -c rota" + condition;
  for (const std::string& name : option.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (option.takes == "PATH")
    line += " -r -F";
  else if (!option.takes.empty())
    line += " -x" + fish_choices(option.takes);
  return line + fish_help(option.help) + "\n";
}

std::string fish_script(const std::vector<Limb>& limbs) {
  std::string text = filled(kFishPart, limbs, " ");
  for (const Limb& limb : limbs) {
    const bool root = limb.path.empty();
    const std::string in = root ? "" : fmt::format(" -n '__rota_in \"{}\"'", limb.path);
    for (const Word& word : limb.commands)
      text += fmt::format("complete -c rota -n '__rota_at \"{}:0\"' -a {}{}\n", limb.path,
                          word.text, fish_help(word.help));
    for (size_t i = 0; i < limb.places.size(); ++i)
      if (is_completable(limb.places[i]))
        text += fmt::format("complete -c rota -n '{}'{}\n",
                            limb.repeats && i + 1 == limb.places.size()
                                ? fmt::format("__rota_from \"{}\" {}", limb.path, i)
                                : fmt::format("__rota_at \"{}:{}\"", limb.path, i),
                            fish_choices(limb.places[i]));
    for (const Option& option : limb.options)
      if (root || option.names.front() != "--help") text += fish_option(in, option);
  }
  return text;
}

}  // namespace

std::string completion_script(const CLI::App& tree, const std::string& shell) {
  std::vector<Limb> limbs;
  collect(tree, "", limbs);
  if (shell == "fish")
    return "# fish completion for rota. Load it: rota completion fish | source\n" +
           fish_script(limbs);
  if (shell == "zsh")
    return "#compdef rota\n# Load it: source <(rota completion zsh)\n" + posix_part(limbs) +
           std::string(kZshPart);
  return "# bash completion for rota. Load it: source <(rota completion bash)\n" +
         posix_part(limbs) + std::string(kBashPart);
}

}  // namespace rota::cli
