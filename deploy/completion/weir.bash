# Bash completion for weir, weirctl, weir-broker and weir-controller. It knows no verb or option by itself: it reads
# them in --help of the program that is being typed, and so is never out of date.

# The words that may follow those typed so far, by the usage lines: "weirctl key disable|enable|delete ID".
_weir_words() {
    "$1" --help 2>/dev/null | awk -v typed="${*:2}" -v program="${1##*/}" '
        BEGIN { count = split(typed, words, " ") }
        $1 == program {
            for (i = 1; i <= count; i++) {
                if ($(i + 1) ~ /^[[:upper:]]/ || $(i + 1) ~ /^\[/) break
                n = split($(i + 1), choices, "|"); found = 0
                for (j = 1; j <= n; j++) if (choices[j] == words[i]) found = 1
                if (!found) next
            }
            if (i > count && $(count + 2) ~ /^[a-z][a-z|-]*$/) { gsub(/\|/, "\n", $(count + 2)); print $(count + 2) }
        }' | sort -u
}

_weir_options() { "$1" --help 2>/dev/null | grep -oE -- '(^|[[:space:][])--[a-z][a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u; }

_weir() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} word words=()
    COMPREPLY=()
    case $before in
    --ca | --cert | --*file | --config | --ack-log | --data-dir)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
        return ;;
    --from) mapfile -t COMPREPLY < <(compgen -W "trim-horizon latest at-timestamp at-sequence after-sequence" -- "$current"); return ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_weir_options "$1")" -- "$current")
        return
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == -* ]] || words+=("$word"); done
    mapfile -t COMPREPLY < <(compgen -W "$(_weir_words "$1" "${words[@]}")" -- "$current")
}

complete -F _weir weir weirctl weir-broker weir-controller
