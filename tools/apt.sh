#!/bin/sh
# Install Debian packages that are missing, when we may: apt.sh [--optional WHY] PACKAGE...
# Without the right to install, says what to run; fails unless --optional.
set -eu
why=""
if [ "${1:-}" = --optional ]; then why=$2; shift 2; fi
missing=""
for package in "$@"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo -n"; fi
if command -v apt-get >/dev/null && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
  echo "installing$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  if { $sudo apt-get -q update && $sudo apt-get -q install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -n 5 "$log" >&2
fi
if [ -n "$why" ]; then
  echo "spedge: without these packages $why: sudo apt-get install$missing" >&2
else
  echo "spedge: error: packages are missing: sudo apt-get install$missing" >&2
  exit 1
fi
