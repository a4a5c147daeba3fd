#!/usr/bin/env bash
# Installs what some tests drive: Chromium, PostgreSQL and strace. Only where that is possible
# without asking (Debian, as root); elsewhere these tests say that they are skipped.
set -euo pipefail

missing=()
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v strace > /dev/null || missing+=(strace)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "Not installed, so their tests are skipped: ${missing[*]}"
  exit 0
fi
echo "Installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
