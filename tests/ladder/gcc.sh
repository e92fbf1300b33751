# RUNG: packages="gcc libc6-dev" mem=3G timeout=400
# The compiler: a driver that starts cc1, as, collect2 and ld, and the program they make.
cat > /tmp/hello.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *run(void *arg) { return (void *)((long)arg * 2); }
int main(int argc, char **argv)
{
    pthread_t t;
    void *r;
    if (pthread_create(&t, NULL, run, (void *)21L) || pthread_join(t, &r)) { return 1; }
    printf("hello, %ld, %d, %s\n", (long)r, argc, argv[1]);
    return 0;
}
END
cd /tmp
gcc -O2 -Wall -pthread -o hello hello.c && ./hello dynamic
gcc -O0 -g -static -pthread -o hello.static hello.c && ./hello.static static
gcc -c -O2 hello.c && ls hello.o
echo 'int main(void) { return x; }' | gcc -x c - 2>&1 | head -1 | sed 's/.*main/main/'
