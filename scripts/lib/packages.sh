# shellcheck shell=bash
# Packages of Debian and Ubuntu. Sourced by scripts/backends and by bench/peers/lib/peer.sh, which have
# `say`, `die` and the folder `state`.

# Where apt-get's words are kept.
state=${state:-}

can_install() { [[ $EUID == 0 && -e /etc/debian_version ]] && command -v apt-get >/dev/null; }

# The packages would start servers of the whole machine; those are not wanted.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=
    say "installing $* with apt-get"
    if [[ ! -e $policy ]]; then
        ours=$policy
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local done=0
    {
        timeout -k 5 300 apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive timeout -k 5 900 apt-get install -y -qq --no-install-recommends "$@"
    } >"$state/apt.log" 2>&1 </dev/null || done=$?
    [[ -z $ours ]] || rm -f "$ours"
    ((done == 0)) || {
        tail -n 20 "$state/apt.log" >&2
        die "apt-get could not install $*; see $state/apt.log"
    }
}
