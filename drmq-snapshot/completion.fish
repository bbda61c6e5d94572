# SPDX-License-Identifier: Apache-2.0
#
# fish completion of drmq-snapshot; lib/cli/completion/common.fish comes before it.

complete -c drmq-snapshot -f
complete -c drmq-snapshot -n __fish_use_subcommand -a create -d 'make a snapshot: held by the node, or with --to an archive'
complete -c drmq-snapshot -n __fish_use_subcommand -a list -d 'the snapshots that the node holds'
complete -c drmq-snapshot -n __fish_use_subcommand -a delete -d 'give back what they hold'
complete -c drmq-snapshot -n __fish_use_subcommand -a inspect -d 'what an archive holds'
complete -c drmq-snapshot -n __fish_use_subcommand -a verify -d 'check all of an archive'
complete -c drmq-snapshot -n __fish_use_subcommand -a restore -d 'make a node\'s directory of an archive'
complete -c drmq-snapshot -n '__fish_seen_subcommand_from delete' -a '(__drmq_ask drmq-snapshot list)'
complete -c drmq-snapshot -n '__fish_seen_subcommand_from inspect' -F
complete -c drmq-snapshot -n '__fish_seen_subcommand_from verify' -F
complete -c drmq-snapshot -n '__fish_seen_subcommand_from restore' -F

complete -c drmq-snapshot -l to -r -F -d 'create: write an archive to FILE; - is stdout'
complete -c drmq-snapshot -l dir -x -a '(__fish_complete_directories)' -d 'create: of the directory of a node that is stopped'
complete -c drmq-snapshot -l name -x -d 'create: the name of the snapshot'
complete -c drmq-snapshot -l level -x -d 'create: compress so hard, 1 (default) to 19'
complete -c drmq-snapshot -l data-dir -x -a '(__fish_complete_directories)' -d 'restore: the directory to make'
complete -c drmq-snapshot -l progress -d 'create, restore, verify: show how far it is'
complete -c drmq-snapshot -l json -d 'answer in JSON, an object a line'
complete -c drmq-snapshot -s b -l brokers -x -a '(__drmq_brokers)' -d 'where the brokers are: host:port,unix:/path,...'
complete -c drmq-snapshot -l timeout -x -d 'give up after TIME (default 30s)'
complete -c drmq-snapshot -s h -l help -d 'show this help'
complete -c drmq-snapshot -l version -d 'show the version'
