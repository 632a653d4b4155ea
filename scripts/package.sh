#!/usr/bin/env bash
# Makes Debian packages of both programs, into target/packages.
# Usage: scripts/package.sh [ARCH]       (amd64, arm64, armhf; default: this machine's)
# VERSION sets another version than the workspace's, MAINTAINER who signs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/dist.sh
. scripts/dist.sh

need dpkg-deb dpkg-shlibdeps
arch=${1:-$(dpkg --print-architecture)}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}-1
maintainer=${MAINTAINER:-Alambic packagers <packagers@alambic.invalid>}
date=$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
[ -n "${SKIP_BUILD:-}" ] && say "SKIP_BUILD: what was built before is packed"

# $1 package, $2 program's configuration file, rest: units
pack() {
    local name=$1 config=$2 root unit
    shift 2
    root=$(mktemp -d)
    local doc=$root/usr/share/doc/$name
    install -D -m 0755 "$DIST_BIN/$name" "$root/usr/bin/$name"
    install -D -m 0644 "configs/$config" "$root/etc/alambic/$config"
    for unit in "$@"; do
        install -D -m 0644 "systemd/$unit" "$root/lib/systemd/system/$unit"
    done
    install -D -m 0644 "packaging/$name.sysusers" "$root/usr/lib/sysusers.d/$name.conf"
    documents "$name" "$root"
    install -d "$doc/examples"
    install -m 0644 configs/task-*.toml "$doc/examples/"
    control "$name" "$config" "$root"
    # The build's own umask must not show.
    find "$root" -type d -exec chmod 0755 {} +
    mkdir -p "$packages"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$packages/${name}_${version}_$arch.deb"
    rm -rf "$root"
}

# Manual pages and completions, from the program itself.
documents() {
    local name=$1 root=$2 doc=$2/usr/share/doc/$1 page
    local -a run=()
    [ -z "$DIST_RUN" ] || run=("$DIST_RUN")
    install -d "$root/usr/share/man/man1" "$doc"
    "${run[@]}" "$DIST_BIN/$name" manual "$root/usr/share/man/man1"
    for page in "$root"/usr/share/man/man1/*; do
        gzip -9n "$page"
    done
    local bash=usr/share/bash-completion/completions/$name
    local zsh=usr/share/zsh/vendor-completions/_$name
    local fish=usr/share/fish/vendor_completions.d/$name.fish
    install -d "$root/${bash%/*}" "$root/${zsh%/*}" "$root/${fish%/*}"
    "${run[@]}" "$DIST_BIN/$name" completions bash >"$root/$bash"
    "${run[@]}" "$DIST_BIN/$name" completions zsh >"$root/$zsh"
    "${run[@]}" "$DIST_BIN/$name" completions fish >"$root/$fish"
    chmod 0644 "$root/$bash" "$root/$zsh" "$root/$fish"
    install -m 0644 packaging/copyright README.md "$doc/"
    [ ! -f docs/operations.md ] || install -m 0644 docs/operations.md "$doc/"
    gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
    {
        printf 'alambic (%s) stable; urgency=medium\n\n  * See changelog.gz.\n\n' "$version"
        printf ' -- %s  %s\n' "$maintainer" "$date"
    } | gzip -9nc >"$doc/changelog.Debian.gz"
}

# The package's own description, its scripts, and which files are the
# operator's.
control() {
    local name=$1 config=$2 root=$3 script depends
    install -d "$root/DEBIAN"
    depends=$(libraries "$root/usr/bin/$name")
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\n' "$name" "$version" "$arch"
        printf 'Maintainer: %s\nSection: science\nPriority: optional\n' "$maintainer"
        printf 'Homepage: https://example.org/alambic\n'
        printf 'Installed-Size: %s\n' "$(du -sk --exclude=DEBIAN "$root" | cut -f1)"
        printf 'Depends: %s, init-system-helpers (>= 1.54), ' "$depends"
        printf 'systemd | systemd-standalone-sysusers | systemd-sysusers\n'
        printf 'Description: %s' "$(cat "packaging/$name.description")"
        printf '\n'
    } >"$root/DEBIAN/control"
    printf '/etc/alambic/%s\n' "$config" >"$root/DEBIAN/conffiles"
    for script in postinst prerm postrm; do
        install -m 0755 "packaging/$name.$script" "$root/DEBIAN/$script"
    done
    (cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    chmod 0644 "$root/DEBIAN/md5sums"
}

# The packages that hold the libraries a program is linked with.
libraries() {
    local folder
    folder=$(mktemp -d)
    mkdir "$folder/debian"
    printf 'Source: alambic\n\nPackage: alambic\nArchitecture: any\n' >"$folder/debian/control"
    cp "$1" "$folder/program"
    (cd "$folder" && DEB_HOST_ARCH=$arch dpkg-shlibdeps -O program 2>/dev/null) |
        sed -n 's/^shlibs:Depends=//p'
    rm -rf "$folder"
}

packages=${CARGO_TARGET_DIR:-target}/packages
if [ -z "${SKIP_BUILD:-}" ]; then
    dist_build "$arch"
else
    DIST_RUN='' DIST_BIN=${DIST_BIN:-${CARGO_TARGET_DIR:-target}/dist}
fi
pack alambic-coordinator coordinator.toml alambic-coordinator.service
pack alambic-agent agent.toml alambic-agent.service alambic-agent-pull.service alambic-agent-pull.timer
