# Owns one PostgreSQL cluster for as long as standard input stays open: that ends with the caller, however the
# caller ends, so neither an interrupt nor a crash leaves a server or a folder behind.
# Arguments: the folder of PostgreSQL's programs, the folder for the cluster, and the ports to try in turn.
# Prints the port once the server takes connections, or nothing; what went wrong is in the file "log".

trap '' HUP INT PIPE TERM
programs=$1 folder=$2
shift 2
cd "$folder" || exit 1

initialise() {
    "$programs/initdb" --pgdata="$folder/data" --username=signalbox --auth=trust \
        --encoding=UTF8 --locale=C --no-sync &&
        cat >>data/postgresql.conf <<'SETTINGS'
listen_addresses = '127.0.0.1'
unix_socket_directories = '.'
max_connections = 400
fsync = off
full_page_writes = off
SETTINGS
}

start() {
    "$programs/pg_ctl" start --pgdata="$folder/data" --log="$folder/log" --wait --timeout=60 --options="-p $1"
}

if initialise >>log 2>&1; then
    for port; do
        if start "$port" >>log 2>&1; then
            echo "$port"
            break
        fi
    done
fi

exec >/dev/null 2>&1
read -r _
"$programs/pg_ctl" stop --pgdata="$folder/data" --mode=immediate
cd /
rm -rf "$folder"
