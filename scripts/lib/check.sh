# shellcheck shell=bash
# Does a server really answer? Sourced by scripts/backends.
#
# Everything is asked over bash's own /dev/tcp, so that no client has to be installed: MySQL's greeting
# (and a query where a client is there), a whole AMQP login, and a PING that Redis has to answer.

# How long one answer may take, in seconds.
CHECK_SECONDS=5

# parse_url URL: sets u_scheme u_user u_password u_host u_port u_path, %-escapes resolved.
parse_url() {
    local rest authority userinfo=
    u_scheme=${1%%://*}
    rest=${1#*://}
    rest=${rest%%\?*}
    authority=${rest%%/*}
    u_path=
    [[ $rest == */* ]] && u_path=$(unescape "${rest#*/}")
    [[ $authority == *@* ]] && userinfo=${authority%@*}
    authority=${authority##*@}
    u_user=$(unescape "${userinfo%%:*}")
    u_password=
    [[ $userinfo == *:* ]] && u_password=$(unescape "${userinfo#*:}")
    u_host=${authority%:*}
    u_port=${authority##*:}
    if [[ $authority != *:* || $u_port == *]* ]]; then
        u_host=$authority
        case $u_scheme in
            mysql) u_port=3306 ;;
            amqp) u_port=5672 ;;
            amqps) u_port=5671 ;;
            *) u_port=6379 ;;
        esac
    fi
    u_host=${u_host#[}
    u_host=${u_host%]}
}

unescape() { printf '%b' "${1//%/\\x}"; }

# place URL: the URL without its password, to be shown.
place() {
    local u_scheme u_user u_password u_host u_port u_path
    parse_url "$1"
    printf '%s:%s' "$u_host" "$u_port"
}

# in_time FUNCTION ARGS…: runs a function of this file in a shell of its own, ended in time.
in_time() {
    # shellcheck disable=SC2016 # the inner shell expands these
    timeout -k 1 "$CHECK_SECONDS" bash -c \
        'set -euo pipefail; source "$0"; "$@"' "${BASH_SOURCE[0]}" "$@" 2>/dev/null
}

# check PART URL: prints what answers, such as `MariaDB 10.11.11`; fails if it does not.
check() {
    case $1 in
        mysql) check_mysql "$2" ;;
        rabbit) check_rabbit "$2" ;;
        redis) check_redis "$2" ;;
    esac
}

# ---------------------------------------------------------------------------------------- MySQL

check_mysql() {
    local u_scheme u_user u_password u_host u_port u_path version
    parse_url "$1"
    version=$(in_time mysql_greeting "$u_host" "$u_port") || return 1
    if mysql_client >/dev/null; then
        mysql_query "$1" 'SELECT 1' >/dev/null 2>&1 || return 1
    fi
    case $version in
        *MariaDB*) version=${version#5.5.5-} && printf 'MariaDB %s' "${version%%-*}" ;;
        *) printf 'MySQL %s' "${version%%-*}" ;;
    esac
}

# The version in the greeting: four bytes of header, protocol version 10, text, a zero.
mysql_greeting() {
    exec 3<>"/dev/tcp/$1/$2"
    local head
    head=$(head -c 5 <&3 | od -An -tx1 | tr -d ' \n')
    [[ ${head:8:2} == 0a ]]
    IFS= read -r -d '' -n 64 version <&3
    printf '%s' "$version"
}

mysql_client() { command -v mariadb || command -v mysql; }

# mysql_query URL SQL [CLIENT OPTIONS]: runs a statement with the client that is there.
mysql_query() {
    local u_scheme u_user u_password u_host u_port u_path url=$1 sql=$2
    shift 2
    parse_url "$url"
    MYSQL_PWD=$u_password timeout -k 1 30 "$(mysql_client)" --no-defaults \
        --connect-timeout="$CHECK_SECONDS" --host="$u_host" --port="$u_port" --user="${u_user:-root}" \
        --protocol=TCP --batch --skip-column-names "$@" --execute="$sql" </dev/null
}

# ------------------------------------------------------------------------------------- RabbitMQ

check_rabbit() {
    local u_scheme u_user u_password u_host u_port u_path
    parse_url "$1"
    if [[ $u_scheme == amqps ]]; then
        in_time tcp_answers "$u_host" "$u_port" && printf 'RabbitMQ over TLS (not logged in)'
        return
    fi
    in_time amqp_login "$u_host" "$u_port" "${u_user:-guest}" "${u_password:-guest}" "${u_path:-/}"
}

# Whether somebody listens.
tcp_answers() { exec 3<>"/dev/tcp/$1/$2"; }

# The opening of AMQP 0-9-1: greeting, PLAIN, tuning, vhost, and a polite end. Frames are type 1,
# channel 0, length, payload, 0xCE; payloads are built and read as hex.
amqp_login() {
    local host=$1 port=$2 user=$3 password=$4 vhost=$5 start
    exec 3<>"/dev/tcp/$host/$port"
    printf 'AMQP\x00\x00\x09\x01' >&3
    start=$(amqp_frame)
    [[ ${start:0:8} == 000a000a ]]
    amqp_send "000a000b00000000$(short_string PLAIN)$(sasl_plain "$user" "$password")$(short_string en_US)"
    [[ $(amqp_frame) == 000a001e* ]]
    amqp_send "000a001f0001000200000000"
    amqp_send "000a0028$(short_string "$vhost")0000"
    [[ $(amqp_frame) == 000a0029* ]]
    amqp_send "000a003200c80000000000"
    amqp_frame >/dev/null || true
    printf 'RabbitMQ %s' "$(amqp_version "$start")"
}

amqp_frame() {
    local head length
    head=$(head -c 7 <&3 | od -An -v -tx1 | tr -d ' \n')
    [[ ${#head} == 14 ]]
    length=$((16#${head:6:8}))
    ((length < 65536))
    head -c $((length + 1)) <&3 | od -An -v -tx1 | tr -d ' \n'
}

amqp_send() {
    local payload=$1
    bytes "01""0000""$(printf '%08x' $((${#payload} / 2)))${payload}ce" >&3
}

short_string() { printf '%02x%s' "$(byte_length "$1")" "$(hex "$1")"; }

# A long string: zero, user, zero, password.
sasl_plain() {
    local length=$(($(byte_length "$1") + $(byte_length "$2") + 2))
    printf '%08x00%s00%s' "$length" "$(hex "$1")" "$(hex "$2")"
}

# `version` among the server's properties: its name, the type S, a length of four bytes, the text.
amqp_version() {
    local after length
    after=${1#*0776657273696f6e53}
    [[ $after != "$1" ]] || return 0
    length=$((16#${after:0:8}))
    bytes "${after:8:length * 2}"
}

hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }
byte_length() { printf '%s' "$1" | wc -c; }
bytes() {
    local escaped=
    for ((at = 0; at < ${#1}; at += 2)); do escaped+="\\x${1:at:2}"; done
    printf '%b' "$escaped"
}

# ---------------------------------------------------------------------------------------- Redis

check_redis() {
    local u_scheme u_user u_password u_host u_port u_path
    parse_url "$1"
    if [[ $u_scheme == rediss ]]; then
        in_time tcp_answers "$u_host" "$u_port" && printf 'Redis over TLS (not logged in)'
        return
    fi
    in_time redis_ping "$u_host" "$u_port" "$u_user" "$u_password"
}

redis_ping() {
    local host=$1 port=$2 user=$3 password=$4 line version=
    exec 3<>"/dev/tcp/$host/$port"
    if [[ -n $password ]]; then
        # Without a user's name the password is that of `default`.
        redis_command AUTH "${user:-default}" "$password" >&3
        IFS= read -r line <&3
        [[ $line == +OK* ]]
    fi
    redis_command PING >&3
    IFS= read -r line <&3
    [[ $line == +PONG* ]]
    redis_command INFO server >&3
    while IFS= read -r line <&3; do
        case $line in
            redis_version:*) version=${line#*:} && break ;;
            -*) break ;;
        esac
    done
    printf 'Redis %s' "${version%$'\r'}"
}

redis_command() {
    printf '*%d\r\n' $#
    local word
    for word in "$@"; do printf '$%d\r\n%s\r\n' "$(byte_length "$word")" "$word"; done
}

# ----------------------------------------------------------------------------------------- HTTP

# http_status HOST PORT PATH: the status code of a GET.
http_status() { in_time http_get "$@"; }

http_get() {
    local line
    exec 3<>"/dev/tcp/$1/$2"
    printf 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n' "$3" "$1" "$2" >&3
    IFS= read -r line <&3
    [[ $line == HTTP/1.* ]]
    line=${line#* }
    printf '%s' "${line%% *}"
}
