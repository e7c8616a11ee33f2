# Runs a server that does not outlive the process that started it.
#
# $1 is the folder of its data, the rest its command line. A line on standard input
# names the signal to stop it with. When standard input closes without such a line, for
# whatever reason, the server is stopped and the folder removed.
exec 3<&0
server=$$
folder=$1
shift
{
    if read -r signal; then
        kill -s "$signal" "$server"
    else
        kill -s QUIT "$server"
        tries=0
        while [ -e "$folder/data/postmaster.pid" ] && [ "$tries" -lt 100 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        cd / && rm -rf "$folder"
    fi
} <&3 >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
