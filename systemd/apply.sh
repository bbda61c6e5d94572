#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# apply.sh SYSUSERS TMPFILES — what `make install` does where it installs into the machine it runs on: its libraries and
# units are found at once, and the user and the folders that the units need are there.
set -eu

if [ "$(id -u)" -ne 0 ]; then
        echo "Not root: as root, ldconfig makes libdrmq known; the units need systemd-sysusers and systemd-tmpfiles." >&2
        exit 0
fi

ldconfig
[ -d /run/systemd/system ] || exit 0

systemd-sysusers "$1"
systemd-tmpfiles --create "$2"
journalctl --update-catalog
systemctl daemon-reload
