# RUNG: packages="sqlite3"
# A database in WAL mode, with several processes that read and write it at once.
db=/tmp/test.db
sqlite3 $db 'PRAGMA journal_mode=WAL; CREATE TABLE t(i INTEGER PRIMARY KEY, s TEXT);'
for w in 1 2 3 4; do
    (n=0
    while [ $n -lt 25 ]; do
        sqlite3 -cmd '.timeout 60000' $db "INSERT INTO t(s) VALUES('$w-$n');" || echo "insert: $?"
        n=$((n + 1))
    done) &
done
for r in 1 2 3; do
    sqlite3 -cmd '.timeout 60000' $db 'SELECT COUNT(*) >= 0 FROM t;'
done
wait
sqlite3 $db 'SELECT COUNT(*), COUNT(DISTINCT s) FROM t; SELECT s FROM t ORDER BY s LIMIT 3;' \
    'PRAGMA integrity_check; PRAGMA wal_checkpoint(TRUNCATE);'
sqlite3 $db <<'END'
CREATE TABLE big AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 50000)
    SELECT x, hex(x * 7919) AS h FROM c;
CREATE INDEX h ON big(h);
SELECT COUNT(*), SUM(x), MAX(h) FROM big;
BEGIN; DELETE FROM big WHERE x % 2; ROLLBACK;
SELECT COUNT(*) FROM big WHERE h LIKE '3%';
VACUUM;
PRAGMA integrity_check;
END
sqlite3 $db 'PRAGMA mmap_size=67108864; SELECT COUNT(*) FROM big;'
ls /tmp | grep -c test.db
