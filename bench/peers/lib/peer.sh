# shellcheck shell=bash
# What the scripts of all peers share: options, processes of our own, waiting, the SMSC. Sourced by them.
#
# A process lives in $state/<name>: pid, log, and the environment's mark by which scripts/lib/private.sh
# knows it as ours.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
peers=$root/bench/peers
state='' reports='' callback='' report_after=0
name_of_peer=$(basename "$0")

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$name_of_peer: $*"
    exit 1
}
usage() {
    sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

# shellcheck source=scripts/lib/check.sh
source "$root/scripts/lib/check.sh"
# shellcheck source=scripts/lib/packages.sh
source "$root/scripts/lib/packages.sh"
# shellcheck source=scripts/lib/private.sh
source "$root/scripts/lib/private.sh"

# How long one process may take to end when asked, before it is killed; a peer to accept. In seconds.
# shellcheck disable=SC2034 # stop_part of scripts/lib/private.sh reads it
STOP_SECONDS=15
READY_SECONDS=60

# -------------------------------------------------------------------------------- Command line

# main NAMES -- ARGUMENTS…: runs start or stop. NAMES are the peer's processes, in the order in which
# they stop. Two functions are the peer's own: `start_peer` prints its line of JSON, `clean_up` removes
# what is left outside of the state folder once they have stopped.
main() {
    local -a names=()
    while [[ $1 != -- ]]; do
        names+=("$1")
        shift
    done
    shift
    read_options "$@"
    case $command in
        start)
            local name
            for name in "${names[@]}"; do
                ! is_running "$name" || die "$name runs already: $0 stop --state $state"
            done
            trap 'stop_all "${started[@]}"; clean_up' EXIT
            trap 'exit 130' INT
            trap 'exit 143' TERM
            start_peer
            trap - EXIT
            ;;
        stop)
            stop_all "${names[@]}"
            clean_up
            ;;
    esac
}

read_options() {
    command=${1:-}
    [[ $command == start || $command == stop ]] || usage
    shift
    while (($# > 0)); do
        [[ $# -ge 2 ]] || usage
        case $1 in
            --state) state=$2 ;;
            --reports) reports=$2 ;;
            --callback) callback=$2 ;;
            --report-after) report_after=$2 ;;
            *) usage ;;
        esac
        shift 2
    done
    [[ -n $state ]] || usage
    if [[ $command == start ]]; then
        [[ $reports == on || $reports == off ]] || usage
        [[ $reports == off || $callback == http://* ]] || usage
        [[ $report_after =~ ^[0-9]{1,6}$ ]] || usage
    fi
    mkdir -p "$state"
    state=$(cd "$state" && pwd)
    [[ $state != *[\"\\]* ]] || die 'the state folder has a quotation mark or a backslash in its name'
}

# ------------------------------------------------------------------------------------ Processes

# Names, in the order in which they would have to stop if the start failed.
started=()

# launch NAME COMMAND…: starts it in the folder $state/NAME, with an environment of its own.
launch() {
    local name=$1 folder=$state/$1
    shift
    mkdir -p "$folder"
    : >"$folder/log"
    started=("$name" "${started[@]}")
    detach "$folder" env -i "PATH=$PATH:/usr/sbin" "HOME=$folder" LANG=C.UTF-8 "PABAL_BACKEND=$folder" "$@"
    printf '%s\n' "$launched" >"$folder/pid"
}

# await WHAT CONDITION…: waits until the condition holds; fails if a process ends or time runs out.
await() {
    local what=$1 until=$((SECONDS + READY_SECONDS)) name
    shift
    until "$@"; do
        for name in "${started[@]}"; do
            ! has_ended "$(<"$state/$name/pid")" || {
                tail -n 20 "$state/$name/log" >&2
                die "$name ended instead of starting; its log is $state/$name/log"
            }
        done
        ((SECONDS < until)) || {
            for name in "${started[@]}"; do tail -n 5 "$state/$name/log" | sed "s/^/$name: /" >&2; done
            die "$what: not within $READY_SECONDS s"
        }
        sleep 0.1
    done
}

# One that ends by itself meanwhile is no reason to leave the others running.
stop_all() {
    local name
    for name in "$@"; do stop_part "$name" || true; done
}

# processes NAME…: their ids, as a JSON object.
processes() {
    local name list=
    for name in "$@"; do list+="${list:+, }\"$name\": $(<"$state/$name/pid")"; done
    printf '{%s}' "$list"
}

# free_ports N: that many different ones, in the array `ports`.
free_ports() {
    local port
    ports=()
    while ((${#ports[@]} < $1)); do
        port=$(free_port)
        [[ " ${ports[*]} " == *" $port "* ]] || ports+=("$port")
    done
}

# need PROGRAM PACKAGE: installs the package if the program is not there.
need() {
    program "$1" >/dev/null && return
    can_install || die "$1 is not installed: it is in the package $2 of Debian and Ubuntu, which only root can install"
    install_packages "$2"
    program "$1" >/dev/null || die "the package $2 was installed, but there is no $1"
}

# ----------------------------------------------------------------------------------------- HTTP

# fetch PORT PATH: the answer to a GET, with its head.
fetch() {
    # shellcheck disable=SC2016 # the inner shell expands these
    timeout -k 1 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$0"
        printf "GET %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n" "$1" "$0" >&3
        cat <&3' "$@" 2>/dev/null
}

# answers PORT PATH TEXT: whether the answer to a GET has the text in it.
answers() { [[ $(fetch "$1" "$2" | tr -d '\0') == *"$3"* ]]; }

# in_query TEXT: percent-encoded, to stand in a query; {names} stay, for whoever fills the template.
in_query() {
    local LC_ALL=C at byte
    for ((at = 0; at < ${#1}; at++)); do
        byte=${1:at:1}
        case $byte in
            [A-Za-z0-9._~{}-]) printf '%s' "$byte" ;;
            *) printf '%%%02X' "'$byte" ;;
        esac
    done
}

# callback_with QUERY: the callback with one more part in its query.
callback_with() {
    if [[ $callback == *\?* ]]; then printf '%s&%s' "$callback" "$1"; else printf '%s?%s' "$callback" "$1"; fi
}

# ----------------------------------------------------------------------------------------- SMSC

# Starts the SMSC; sets smsc_port, and counts, the URL of its counts.
start_smsc() {
    need node nodejs
    launch smsc "$(program node)" "$peers/smsc" --report-after "$report_after"
    await 'the SMSC listens' listens
    local line
    line=$(head -n 1 "$state/smsc/log")
    [[ $line =~ \"smpp\":\"127\.0\.0\.1:([0-9]+)\",\"counts\":\"([^\"]+)\" ]] || die "the SMSC said: $line"
    # shellcheck disable=SC2034 # for the peers
    smsc_port=${BASH_REMATCH[1]} counts=${BASH_REMATCH[2]}
}

listens() { grep -q '"smpp"' "$state/smsc/log"; }

# Whether the peer is bound to the SMSC.
is_bound() {
    local at=${counts#http://127.0.0.1:}
    answers "${at%%/*}" /counts '"sessions":1'
}
