#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# promtool.sh [--fetch] — prints where promtool is: on the PATH, or in build/tools. Status 1: nowhere.
# --fetch gets it there out of Debian's package, which is not installed: that would start a service.
set -euo pipefail
cd "$(dirname "$0")/../.."

if command -v promtool; then
        exit 0
fi
tool=$PWD/build/tools/promtool
if [ ! -x "$tool" ] && [ "${1:-}" = --fetch ]; then
        mkdir -p build/tools
        folder=$(mktemp -d build/tools/fetch-XXXXXX)
        trap 'rm -rf "$folder"' EXIT
        # apt fetches as a user of its own.
        chmod 755 "$folder"
        (cd "$folder" && apt-get -q download prometheus >&2)
        dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool
        mv "$folder/usr/bin/promtool" "$tool"
fi
[ -x "$tool" ] && echo "$tool"
