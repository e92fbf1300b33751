# RUNG: packages="gron"
# A program of Go's runtime: its own threads, signals and scheduler.
echo '{"b": [1, {"c": null}], "a": "x", "n": 1.5}' > /tmp/j
gron /tmp/j; echo "status $?"
gron /tmp/j | gron --ungron; echo "status $?"
i=0
while [ $i -lt 2000 ]; do echo "{\"i\": $i}"; i=$((i + 1)); done | gron --stream | md5sum
for n in 1 2 3 4; do gron /tmp/j > /tmp/out.$n & done; wait; cat /tmp/out.* | md5sum
GOMAXPROCS=8 gron /tmp/j | wc -l
