#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What bash, zsh and fish complete, with the topics of a node that runs.

load lib/drmq

setup_file() {
        start_drmqd
        drmqctl topics create unicorns universe numbers
}
teardown_file() { stop_drmqd; }

completions=$DRMQ_BUILD/completions

# bash_completes LINE — what COMPREPLY gets, in a line each, sorted.
bash_completes() {
        # shellcheck disable=SC2016 # for that shell
        timeout 20 bash --norc --noprofile -c '
                line=$1 tool=${1%% *}
                . "$2/bash/$tool" || exit
                COMP_LINE=$line COMP_POINT=${#line}
                "$(complete -p "$tool" | sed "s/.* -F \([^ ]*\) .*/\1/")" "$tool"
                printf "%s\n" "${COMPREPLY[@]}" | sort' bash "$1" "$completions"
}

# zsh_completes LINE — the line after a TAB, in a shell of its own.
zsh_completes() {
        # shellcheck disable=SC2016 # for those shells
        timeout 20 zsh -f -c '
                zmodload zsh/zpty
                zpty shell "PS1= zsh -f -i"
                zpty -w shell "fpath=($2/zsh \$fpath); autoload -U compinit; compinit -u -D; PS1=; unsetopt beep zle_bracketed_paste"
                zpty -w shell "show() { print -r -- \"<<\$BUFFER>>\"; zle kill-buffer }; zle -N show; bindkey \"^X\" show; print re\"\"ady"
                zpty -r shell text "*ready*"
                zpty -w -n shell "$1"$'\''\t\x18'\''
                zpty -r shell text "*<<*>>*"
                print -r -- ${${text##*<<}%%>>*}' zsh "$1" "$completions" | tr -d '\r'
}

fish_completes() {
        timeout 20 fish --no-config -c "source $completions/fish/${1%% *}.fish; complete -C '$1'" | cut -f 1 | sort
}

has() { # LINES... — are what there is on standard input
        diff <(printf '%s\n' "$@") -
}

@test "bash: topics that there are" {
        bash_completes 'drmq-recv uni' | has unicorns universe
        bash_completes 'drmq-send ' | has numbers unicorns universe
        bash_completes 'drmqctl topics describe nu' | has numbers
        bash_completes 'drmqctl --json topics delete unicorns univ' | has universe
        local brokers=$DRMQ_BROKERS
        unset DRMQ_BROKERS
        bash_completes "drmq-recv -b $brokers nu" | has numbers
}

@test "bash: verbs, options and their values" {
        bash_completes 'drmqctl to' | has topics
        bash_completes 'drmqctl topics de' | has delete describe
        bash_completes 'drmq-recv --exit' | has --exit-at-end
        bash_completes 'drmq-send --compress=z' | has zstd
        bash_completes 'drmq-send t -z l' | has lz4
        bash_completes 'drmq-send --par' | has --partition= --partitioner=
        bash_completes 'drmqctl config show topics.p' | has topics.partitions
        bash_completes 'drmqd --set limits.i' | has limits.idle=
        # what has any value offers none
        bash_completes 'drmq-send -k ' | has ''
        cd "$BATS_TEST_TMPDIR" && touch 'snapshot.tar.zst'
        bash_completes 'drmq-snapshot verify sn' | has snapshot.tar.zst
}

@test "bash: behind a colon only what is missing" {
        bash_completes 'drmq-recv -b 127.0.0.1:9' | has 9092
}

@test "bash: nobody there is no topics, at once, and without a word" {
        local begin=$SECONDS
        export DRMQ_BROKERS=unix:$BATS_TEST_TMPDIR/none
        run --separate-stderr bash_completes 'drmq-recv uni'
        expect 0 && silent && prints ""
        [ $((SECONDS - begin)) -lt 10 ]
}

@test "zsh: topics, verbs, options" {
        command -v zsh >/dev/null || skip "zsh is not installed"
        [ "$(zsh_completes 'drmq-recv unic')" = 'drmq-recv unicorns ' ]
        [ "$(zsh_completes 'drmq-send nu')" = 'drmq-send numbers ' ]
        [ "$(zsh_completes 'drmqctl topics describe univ')" = 'drmqctl topics describe universe ' ]
        [ "$(zsh_completes 'drmqctl sta')" = 'drmqctl status ' ]
        [ "$(zsh_completes 'drmqctl config sh')" = 'drmqctl config show ' ]
        [ "$(zsh_completes 'drmqctl config show topics.par')" = 'drmqctl config show topics.partitions ' ]
        [ "$(zsh_completes 'drmq-recv --exit')" = 'drmq-recv --exit-at-end ' ]
        [ "$(zsh_completes 'drmq-send --partitioner=mur')" = 'drmq-send --partitioner=murmur2 ' ]
        [ "$(zsh_completes 'drmqd --check')" = 'drmqd --check-config ' ]
        [ "$(zsh_completes 'drmq-snapshot ins')" = 'drmq-snapshot inspect ' ]
}

@test "fish: topics, verbs, options" {
        command -v fish >/dev/null || skip "fish is not installed"
        fish_completes 'drmq-recv uni' | has unicorns universe
        fish_completes 'drmq-send nu' | has numbers
        fish_completes 'drmqctl topics describe univ' | has universe
        fish_completes 'drmqctl to' | has topics
        fish_completes 'drmqctl topics de' | has delete describe
        fish_completes 'drmqctl config show topics.p' | has topics.partitions
        fish_completes 'drmq-recv --exit' | has --exit-at-end
        fish_completes 'drmq-send -z l' | has lz4
        fish_completes 'drmqd --check' | has --check-config
        fish_completes 'drmq-snapshot ins' | has inspect
}
