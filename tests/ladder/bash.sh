# RUNG: packages="bash coreutils diffutils grep sed"
# bash and the tools that scripts use, dynamically linked.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
bash -c '
set -o pipefail
echo "bash ${BASH_VERSINFO[0]}"
declare -A colour=([apple]=red [pear]=green)
for k in apple pear; do echo "$k ${colour[$k]}"; done
list=(c a b)
printf "%s\n" "${list[@]}" | sort | tr "\n" " "; echo
[[ "fault-42" =~ ^([a-z]+)-([0-9]+)$ ]] && echo "${BASH_REMATCH[2]} ${BASH_REMATCH[1]}"
cat <<HERE
here $((6 * 7))
HERE
diff <(seq 1 5) <(seq 1 6); echo "diff $?"
seq 1 20000 | sed "s/^/n/" | grep -c 7
(exit 3); echo "status $?"
sleep 100 & kill -TERM $!; wait $!; echo "killed $?"
trap "echo usr1" USR1; kill -USR1 $$
coproc cat; echo to-coproc >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo "$line"
eval "exec ${COPROC[1]}>&-"; wait $COPROC_PID; echo "coproc $?"
set -m; sleep 100 & jobs %1 | grep -o Running; kill %1; wait %1; echo "job $?"; set +m
mkdir -p /tmp/d/e; cd /tmp/d/e; pwd; echo x > f; ln -s f l; readlink l; cd ..; rm -r e; ls -A | wc -l
mkfifo p; (echo through >p) & read -r line <p; echo "$line"; wait
for i in $(seq 50); do echo "$i" & done | sort -n | md5sum
ulimit -c; umask
time_it() { local start=$SECONDS; sleep 0.1; (( SECONDS - start <= 5 )) && echo slept; }; time_it
exec 3<>/tmp/rw; echo abc >&3; exec 3<&-; head -c 2 /tmp/rw; echo
' 2>&1
