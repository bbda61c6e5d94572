#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh [--only-check] SET... — installs the Debian packages of the sets that are missing; says nothing where all are there.
#   build   what compiles the tree        check   what `make check` runs        more   fuzzing, lint, valgrind, crash tests
set -euo pipefail

build=(gcc libc6-dev make pkg-config libsystemd-dev libprotobuf-c-dev protobuf-c-compiler libzstd-dev liblz4-dev libsnappy-dev
        zlib1g-dev libjansson-dev)
check=(bats jq perl systemd strace)
more=(clang libclang-rt-14-dev clang-format shellcheck mandoc groff-base valgrind e2fsprogs xfsprogs zsh fish)

only_check=
packages=()
for arg in "$@"; do
        case $arg in
        --only-check) only_check=1 ;;
        build) packages+=("${build[@]}") ;;
        check) packages+=("${check[@]}") ;;
        more) packages+=("${more[@]}") ;;
        *)
                echo "usage: deps.sh [--only-check] build|check|more..." >&2
                exit 2
                ;;
        esac
done

# Elsewhere than on Debian the packages have other names: the compiler says what is missing.
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        exit 0
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
        grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ -n "$only_check" ]; then
        echo "Packages are missing. Install them with: sudo ${install[*]}" >&2
        exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
                echo "Packages are missing and there is no sudo. As root: ${install[*]}" >&2
                exit 1
        fi
        as_root=(sudo)
fi

echo "Installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -q >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -o DPkg::Lock::Timeout=600 >&2 </dev/null
