# RUNG: packages="musl libc6" prepare=threads smp=4
# Threads, thread-local storage and futexes of musl and of glibc, static and dynamic.
for program in /threads/*; do
    echo "== ${program#/threads/}"
    $program || echo "status $?"
done
