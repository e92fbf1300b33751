// TEST: linux=same
/*
 * What tests/run's own checks of tools/run start: a program that ends, writes and reads as told.
 * Without arguments it shows its arguments and environment, and copies standard input.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int copy(int from)
{
    char buf[1000];
    ssize_t n;

    while ((n = read(from, buf, sizeof(buf))) > 0) {
        if (write(1, buf, (size_t)n) != n) {
            return 1;
        }
    }
    return n == 0 ? 0 : 1;
}

static int show(char **argv)
{
    for (char **p = argv; *p != NULL; p++) {
        printf("arg [%s]\n", *p);
    }
    for (char **p = environ; *p != NULL; p++) {
        printf("env [%s]\n", *p);
    }
    fflush(stdout);
    return 0;
}

static int copy_file(const char *path)
{
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        perror(path);
        return 1;
    }
    return copy(fileno(file));
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    const char *what = argc > 2 ? argv[2] : "";

    if (strcmp(verb, "exit") == 0) {
        return atoi(what);
    }
    if (strcmp(verb, "kill") == 0) {
        kill(getpid(), atoi(what));
    }
    if (strcmp(verb, "touch") == 0) {
        *(volatile char *)strtoul(what, NULL, 0) = 1;
    }
    if (strcmp(verb, "cat") == 0) {
        return copy(0);
    }
    if (strcmp(verb, "file") == 0) {
        return copy_file(what);
    }
    if (strcmp(verb, "both") == 0) {
        fprintf(stderr, "to stderr\n");
        printf("to stdout\n");
        return 0;
    }
    if (strcmp(verb, "hang") == 0) {
        for (;;) {
            pause();
        }
    }
    return show(argv) + copy(0);
}
