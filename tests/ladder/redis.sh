# RUNG: packages="redis-server redis-tools" mem=1G timeout=240
# A server behind a unix socket; BGSAVE forks while clients go on writing.
cd /tmp
redis-server --port 0 --unixsocket /tmp/r.sock --save '' --dir /tmp --daemonize no \
    --loglevel warning > /tmp/log 2>&1 &
r="redis-cli -s /tmp/r.sock"
n=0
until [ "$($r ping 2>/dev/null)" = PONG ]; do
    sleep 0.2; n=$((n + 1)); [ $n -lt 200 ] || { echo "no server"; cat /tmp/log; exit 1; }
done
$r set answer 42; $r get answer; $r incrby answer 8
$r eval 'for i = 1, 20000 do redis.call("set", "k" .. i, string.rep("v", 100) .. i) end return 1' 0
$r dbsize
$r bgsave
i=0
while [ $i -lt 20 ]; do $r set "k$i" changed > /dev/null; i=$((i + 1)); done
until [ "$($r info persistence | grep -c 'rdb_bgsave_in_progress:0')" = 1 ]; do sleep 0.1; done
$r info persistence | grep -o 'rdb_last_bgsave_status:ok'
$r lpush list a b c; $r lrange list 0 -1
$r shutdown nosave
wait
redis-server --port 0 --unixsocket /tmp/r.sock --save '' --dir /tmp --loglevel warning > /tmp/log2 2>&1 &
n=0
until [ "$($r ping 2>/dev/null)" = PONG ]; do
    sleep 0.2; n=$((n + 1)); [ $n -lt 200 ] || { echo "no server"; cat /tmp/log2; exit 1; }
done
$r dbsize; $r get k20000 | wc -c; $r get k5 | wc -c | grep -c .
$r shutdown nosave; wait
