# shellcheck shell=bash
# Servers of our own, each with a port and a data folder of its own. Sourced by scripts/backends.
#
# A part lives in $state/<part>: port, url, pid, data/, log. The port and the data stay over a stop or
# a kill, so that a start brings back the same server at the same address.

# The folder of all parts; scripts/backends sets it.
state=${state:-}

# shellcheck disable=SC2034 # used by scripts/backends
PARTS=(mysql rabbit redis)

# How long a server may take to answer after its start, and to end when asked, in seconds.
START_SECONDS=90
STOP_SECONDS=30

start_part() {
    local part=$1 folder=$state/$1
    if is_running "$part"; then
        [[ $(standing "$part") == running ]] || die "$part is stopped by a signal: $0 cont $part --state $state"
        return
    fi
    require_programs "$part"
    mkdir -p "$folder"
    [[ -s $folder/port ]] || free_port >"$folder/port"
    : >"$folder/log"
    rm -f "$folder/pid" "$folder/server.pid"
    "launch_$part" "$folder" "$(<"$folder/port")"
    await_answer "$part" || {
        tail -n 20 "$folder/log" >&2
        signal_part "$part" KILL || true
        die "$part did not answer within $START_SECONDS s; its log is $folder/log"
    }
}

await_answer() {
    local part=$1 folder=$state/$1 until=$((SECONDS + START_SECONDS)) url
    url=$(<"$folder/url")
    while ((SECONDS < until)); do
        # RabbitMQ writes the pid of its node, and removes it when it begins to stop.
        [[ -s $folder/pid || ! -s $folder/server.pid ]] || cp "$folder/server.pid" "$folder/pid"
        if [[ -s $folder/pid ]]; then
            # Not is_running: a process that has just been forked is not known as ours yet.
            ! has_ended "$(<"$folder/pid")" || return 1
            ! check "$part" "$url" >/dev/null || return 0
        fi
        sleep 0.1
    done
    return 1
}

# stop_part PART: asks it to end, and kills it if it does not in time.
stop_part() {
    local part=$1 until=$((SECONDS + STOP_SECONDS))
    is_running "$part" || { forget "$part" && return; }
    [[ $(standing "$part") == running ]] || signal_part "$part" CONT || true
    signal_part "$part" TERM || true # it may have ended meanwhile
    while is_running "$part"; do
        if ((SECONDS >= until)); then
            say "$part did not end within $STOP_SECONDS s and is killed"
            kill_part "$part"
            return
        fi
        sleep 0.1
    done
    forget "$part"
}

kill_part() {
    local until=$((SECONDS + STOP_SECONDS))
    signal_part "$1" KILL || true
    while is_running "$1" && ((SECONDS < until)); do sleep 0.05; done
    forget "$1"
}

signal_part() { is_running "$1" && kill -s "$2" "$(<"$state/$1/pid")"; }

# What a server left behind that is not its own process.
forget() {
    local folder=$state/$1
    if [[ $1 == rabbit && -s $folder/epmd ]]; then
        ERL_EPMD_PORT=$(<"$folder/epmd") timeout -k 1 5 epmd -kill >/dev/null 2>&1 || true
    fi
    rm -f "$folder/pid"
}

# Whether the process in the pid file lives and is ours: the number alone may be another's by now.
is_running() {
    local pid
    [[ -s $state/$1/pid ]] || return 1
    pid=$(<"$state/$1/pid")
    [[ -r /proc/$pid/environ ]] || return 1
    [[ $(process_state "$pid") != Z ]] || return 1
    grep -qzxF "PABAL_BACKEND=$state/$1" "/proc/$pid/environ" 2>/dev/null
}

has_ended() { [[ ! -d /proc/$1 || $(process_state "$1") == Z ]]; }

# R, S, T (stopped), Z (ended) …
process_state() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || { printf Z && return; }
    line=${line##*) }
    printf '%s' "${line%% *}"
}

# running, paused or stopped
standing() {
    is_running "$1" || { printf stopped && return; }
    case $(process_state "$(<"$state/$1/pid")") in
        T | t) printf paused ;;
        *) printf running ;;
    esac
}

# A port below those the system gives to clients, on which nobody answers.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die 'no free port was found between 20000 and 30000'
}

# detach FOLDER COMMAND…: starts it away from the terminal, marked as ours.
detach() {
    local folder=$1
    shift
    PABAL_BACKEND=$folder setsid "$@" >>"$folder/log" 2>&1 </dev/null &
    launched=$!
    disown "$launched"
    # Until it has replaced the shell, its environment does not say whose it is.
    until grep -qzxF "PABAL_BACKEND=$folder" "/proc/$launched/environ" 2>/dev/null || has_ended "$launched"; do
        sleep 0.01
    done
}

# ---------------------------------------------------------------------------------------- MySQL

# Every commit is on disk before it is answered, as in earnest.
launch_mysql() {
    local folder=$1 port=$2
    printf 'mysql://root@127.0.0.1:%s/\n' "$port" >"$folder/url"
    # Servers that share a folder for temporary tables take each other's.
    mkdir -p "$folder/tmp"
    if [[ ! -d $folder/data/mysql ]]; then
        rm -rf "$folder/data"
        TMPDIR=$folder/tmp timeout -k 5 120 "$(program mariadb-install-db)" --no-defaults --user="$(id -un)" --datadir="$folder/data" \
            --auth-root-authentication-method=normal --skip-test-db >>"$folder/log" 2>&1 </dev/null ||
            { tail -n 20 "$folder/log" >&2 && die "mariadb-install-db failed; its log is $folder/log"; }
    fi
    detach "$folder" "$(program mariadbd)" --no-defaults --user="$(id -un)" --datadir="$folder/data" \
        --bind-address=127.0.0.1 --port="$port" --socket="$folder/socket" --tmpdir="$folder/tmp" \
        --pid-file="$folder/data/own.pid" --max-connections=500 \
        --innodb-flush-log-at-trx-commit=1 \
        --innodb-buffer-pool-size="${PABAL_BACKENDS_BUFFER_POOL:-128M}" --skip-log-bin
    printf '%s\n' "$launched" >"$folder/pid"
}

# ------------------------------------------------------------------------------------- RabbitMQ

# The node has an epmd of its own too, so that nothing is left running and nobody else's is used.
launch_rabbit() {
    local folder=$1 port=$2
    printf 'amqp://guest:guest@127.0.0.1:%s/%%2f\n' "$port" >"$folder/url"
    [[ -s $folder/epmd ]] || free_port >"$folder/epmd"
    [[ -s $folder/distribution ]] || free_port >"$folder/distribution"
    mkdir -p "$folder/home" "$folder/data" "$folder/logs"
    : >"$folder/environment"
    printf '[].\n' >"$folder/plugins"
    printf 'listeners.tcp.1 = 127.0.0.1:%s\n' "$port" >"$folder/rabbitmq.conf"
    rabbit_environment "$folder"
    detach "$folder" env "${rabbit_env[@]}" "$(rabbit_program rabbitmq-server)"
}

# rabbit_environment FOLDER: sets rabbit_env, the same for the server and for rabbitmqctl.
rabbit_environment() {
    local folder=$1
    rabbit_env=(
        "HOME=$folder/home"
        "RABBITMQ_CONF_ENV_FILE=$folder/environment"
        "RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf"
        "RABBITMQ_ENABLED_PLUGINS_FILE=$folder/plugins"
        "RABBITMQ_NODENAME=pabal-$(<"$folder/port")@localhost"
        "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1"
        "RABBITMQ_NODE_PORT=$(<"$folder/port")"
        "RABBITMQ_DIST_PORT=$(<"$folder/distribution")"
        "RABBITMQ_MNESIA_BASE=$folder/data"
        "RABBITMQ_LOG_BASE=$folder/logs"
        "RABBITMQ_PID_FILE=$folder/server.pid"
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
        "ERL_EPMD_PORT=$(<"$folder/epmd")"
        "ERL_EPMD_ADDRESS=127.0.0.1"
    )
}

# The package's programs in the path become the user `rabbitmq`; those behind them do not.
rabbit_program() {
    local found
    for found in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/"$1"; do
        [[ -x $found ]] && printf '%s' "$found" && return
    done
    program "$1"
}

# ---------------------------------------------------------------------------------------- Redis

# Redis would write its title over the environment that marks it as ours.
launch_redis() {
    local folder=$1 port=$2
    printf 'redis://127.0.0.1:%s/0\n' "$port" >"$folder/url"
    mkdir -p "$folder/data"
    detach "$folder" "$(program redis-server)" --bind 127.0.0.1 --port "$port" --dir "$folder/data" \
        --save '' --appendonly no --set-proc-title no
    printf '%s\n' "$launched" >"$folder/pid"
}

# ------------------------------------------------------------------------------------- Programs

# program NAME: where it is; Debian keeps servers where other users' PATH does not look.
program() {
    local found
    found=$(PATH=$PATH:/usr/sbin:/usr/local/sbin type -P "$1") && [[ -x $found ]] && printf '%s' "$found"
}

has_programs() {
    local one
    case $1 in
        mysql) set -- mariadbd mariadb-install-db ;;
        rabbit) set -- rabbitmq-server epmd ;;
        redis) set -- redis-server ;;
    esac
    for one in "$@"; do program "$one" >/dev/null || return 1; done
}

require_programs() { has_programs "$1" || die "the programs of $1 are not installed ($(package_of "$1") on Debian and Ubuntu)"; }

package_of() {
    case $1 in
        mysql) printf mariadb-server ;;
        rabbit) printf rabbitmq-server ;;
        redis) printf redis-server ;;
    esac
}
