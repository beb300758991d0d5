#!/usr/bin/env bash
# Installs what the service tests need beside the Python packages: Redis, Prometheus and a PostgreSQL with contrib
# extensions and TLS from apt, Alertmanager and the Kubernetes control plane built from the Go modules that tests/services/go pins. What is there already is left alone,
# so every run but the first ends at once. Exits 1, with a list, when something cannot be had.
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/hdr-responder/bin"
readonly PROGRESS_SECONDS=15

missing=()
build_pid=""
trap '[ -z "$build_pid" ] || kill "$build_pid" 2>/dev/null || true' EXIT

say() { printf 'test-tools: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$1"
}

# from_apt PROGRAM PACKAGE
from_apt() {
    local program=$1 package=$2
    if PATH="$PATH:/usr/sbin:/usr/bin" command -v "$program" >/dev/null; then return; fi
    if ! can_install; then
        missing+=("$program: install the package $package (no apt-get, or neither root nor password-less sudo)")
        return
    fi
    say "installing $package"
    if ! apt_install "$package" && ! { as_root apt-get update --quiet && apt_install "$package"; }; then
        missing+=("$program: apt-get could not install $package")
    fi
}

# postgres_from_apt: the packages make and start a cluster of the system unless told otherwise while they are installed
postgres_from_apt() {
    if compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null &&
        compgen -G "/usr/share/postgresql/*/extension/pg_stat_statements.control" >/dev/null; then return; fi
    if ! can_install; then
        missing+=("postgres: install postgresql and postgresql-contrib (no apt-get, or neither root nor password-less sudo)")
        return
    fi
    local folder=/etc/postgresql-common/createcluster.d package
    as_root mkdir -p "$folder"
    echo 'create_main_cluster = false' | as_root tee "$folder/hdr-responder-tests.conf" >/dev/null
    for package in postgresql postgresql-contrib openssl; do
        say "installing $package"
        if ! apt_install "$package" && ! { as_root apt-get update --quiet && apt_install "$package"; }; then
            missing+=("postgres: apt-get could not install $package")
        fi
    done
    as_root rm -f "$folder/hdr-responder-tests.conf"
}

# key MODULE: the name of the module's folder in the cache; tests/services/tools.py computes the same
key() {
    local source="$ROOT/tests/services/go/$1"
    printf '%s-%s' "$1" "$(cat "$source/go.mod" "$source/go.sum" | sha256sum | cut -c1-12)"
}

# pinned MODULE PATH: the version of PATH that the module requires
pinned() {
    awk -v path="$2" '$1 == path && $2 ~ /^v/ { print $2; exit }' "$ROOT/tests/services/go/$1/go.mod"
}

# from_go MODULE PROGRAM PACKAGE [LDFLAGS]
from_go() {
    local module=$1 program=$2 package=$3 ldflags="-s -w ${4:-}"
    local folder target temporary log
    folder="$CACHE/$(key "$module")"
    target="$folder/$program"
    if [ -x "$target" ]; then return; fi
    if ! command -v go >/dev/null; then
        missing+=("$program: install Go 1.24 or newer, it is built from source")
        return
    fi
    mkdir -p "$folder"
    temporary="$folder/.$program.$$"
    log="$folder/.$program.log"
    say "building $program"
    (cd "$ROOT/tests/services/go/$module" &&
        CGO_ENABLED=0 exec go build -v -mod=readonly -buildvcs=false -trimpath -ldflags "$ldflags" \
            -o "$temporary" "$package"
    ) >"$log" 2>&1 &
    build_pid=$!
    if watch_build "$program" "$log"; then
        mv "$temporary" "$target"
        rm -f "$log"
    else
        rm -f "$temporary"
        tail -n 20 "$log"
        missing+=("$program: go build failed, see $log")
    fi
}

# watch_build PROGRAM LOG: waits for the build and tells how far it is; its status is the build's
watch_build() {
    local program=$1 log=$2 started=$SECONDS shown=$SECONDS status=0
    while kill -0 "$build_pid" 2>/dev/null; do
        if [ $((SECONDS - shown)) -ge "$PROGRESS_SECONDS" ]; then
            shown=$SECONDS
            say "  $program: $(wc -l <"$log") modules and packages so far, $((SECONDS - started)) s"
        fi
        sleep 0.5
    done
    wait "$build_pid" || status=$?
    build_pid=""
    [ "$status" != 0 ] || say "  $program: done after $((SECONDS - started)) s"
    return "$status"
}

main() {
    from_apt redis-server redis-server
    from_apt openssl openssl
    from_apt prometheus prometheus
    postgres_from_apt

    mkdir -p "$CACHE"
    exec 9>"$CACHE/.lock"
    flock --nonblock 9 || { say "waiting for another run"; flock 9; }
    local version
    version="$(pinned alertmanager github.com/prometheus/alertmanager)"
    version="-X github.com/prometheus/common/version.Version=${version#v}"
    from_go alertmanager alertmanager github.com/prometheus/alertmanager/cmd/alertmanager "$version"
    from_go alertmanager amtool github.com/prometheus/alertmanager/cmd/amtool "$version"
    version="-X k8s.io/component-base/version.gitVersion=$(pinned kubernetes k8s.io/kubernetes)"
    from_go kwok kwok sigs.k8s.io/kwok/cmd/kwok
    from_go kubernetes etcd go.etcd.io/etcd/server/v3
    from_go kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$version"
    from_go kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$version"
    from_go kubernetes kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler "$version"

    if [ "${#missing[@]}" != 0 ]; then
        say "missing:"
        printf '  %s\n' "${missing[@]}"
        exit 1
    fi
}

main "$@"
