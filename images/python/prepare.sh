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

# The one locale beside C.UTF-8 that programs ask for by name; what it is compiled from has served then.
localedef --no-archive --inputfile=en_US --charmap=UTF-8 en_US.UTF-8
while read -r path; do
    rm -rf "$path"
done <"$recipe/excludes"
rm -rf /usr/share/i18n
mkdir -p /var/cache /var/log /workspace

# Nobody becomes root in a sandbox: no file changes its caller's uid or gid.
find / -xdev -type f -perm /6000 -exec chmod u-s,g-s {} +
# What differs from one build to the next and serves nobody.
rm -f /etc/machine-id /var/lib/dbus/machine-id
find /tmp /var/tmp -mindepth 1 -delete

# Docker keeps the image from changing, so no import has to read the source to see whether the bytecode is stale.
python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.[0-9]*
# Every Python loads its codecs first. In the archive that stands first on its path they are one file to open; in
# their folder they are several, and a directory of 200 names to read, which a fresh container does slowly.
python3 - <<'CODECS'
import sys, zipfile
from pathlib import Path
(archive,) = (entry for entry in sys.path if entry.endswith(".zip"))
with zipfile.ZipFile(archive, "w") as file:
    for path in sorted(Path(sys.prefix, "lib", f"python3.{sys.version_info[1]}", "encodings").glob("*.py")):
        compiled = Path(path.parent, "__pycache__", f"{path.stem}.{sys.implementation.cache_tag}.pyc")
        file.writestr(zipfile.ZipInfo(f"encodings/{path.stem}.pyc"), compiled.read_bytes())
CODECS

python3 -c 'import sys, pytest; print("python", sys.version.split()[0], "pytest", pytest.__version__)'
git --version
rg --version | head -n 1
# Without a network Docker leaves /etc/hosts empty, and tests do listen on localhost.
grep -q '^hosts:.*myhostname' /etc/nsswitch.conf
rm -rf "$recipe"
