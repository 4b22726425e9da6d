#!/bin/sh
# Turns a Debian root into the sandbox's: what the steps need, nothing that waits for a privilege, nothing to read.
set -eu
recipe=$(dirname "$0")
packages=$(cat "$recipe/packages")

# A base made from Debian's packages has them already; only a base from a registry needs the network.
if ! dpkg --status $packages >/dev/null 2>&1; then
    if ! command -v apt-get >/dev/null; then
        echo "the base image has no apt-get and lacks some of: $packages" >&2
        exit 1
    fi
    apt-get update --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends $packages
fi

while read -r path; do
    rm -rf "$path"
done <"$recipe/excludes"
mkdir -p /var/cache /var/log /workspace

# Nobody becomes root in a sandbox: no file changes its caller's uid or gid.
find / -xdev -type f -perm /6000 -exec chmod u-s,g-s {} +
# What differs from one build to the next and serves nobody.
rm -f /etc/machine-id /var/lib/dbus/machine-id
find /tmp /var/tmp -mindepth 1 -delete

python3 -c 'import sys, pytest; print("python", sys.version.split()[0], "pytest", pytest.__version__)'
git --version
rg --version | head -n 1
# Without a network Docker leaves /etc/hosts empty, and tests do listen on localhost.
grep -q '^hosts:.*myhostname' /etc/nsswitch.conf
rm -rf "$recipe"
