// TEST: smp=2 scheme=rcu linux=same
// Unix sockets in numbers: each abstract name of thousands is found, taken once and free again; and
// each socket is in /proc/net/unix once, also if many go meanwhile.
#define _GNU_SOURCE
#include "test.h"
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MANY 3000

static int fds[MANY];

static socklen_t name_of(int k, struct sockaddr_un *sa)
{
    memset(sa, 0, sizeof(*sa));
    sa->sun_family = AF_UNIX;
    int n = snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "unix_many-%d", k);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static void names(void)
{
    struct sockaddr_un sa, got;
    unsigned wrong = 0;
    for (int k = 0; k < MANY; k++) {
        fds[k] = socket(AF_UNIX, SOCK_DGRAM, 0);
        MUST(fds[k] >= 0);
        socklen_t n = name_of(k, &sa);
        wrong += bind(fds[k], (void *)&sa, n) != 0;
    }
    CHECK_EQ(wrong, 0);
    int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    for (int k = 0; k < MANY; k++) {
        socklen_t n = name_of(k, &sa), len = sizeof(got);
        wrong += bind(s, (void *)&sa, n) != -1 || errno != EADDRINUSE;
        wrong += sendto(s, &k, sizeof(k), 0, (void *)&sa, n) != sizeof(k);
        int came = -1;
        wrong += recv(fds[k], &came, sizeof(came), MSG_DONTWAIT) != sizeof(came) || came != k;
        wrong +=
            getsockname(fds[k], (void *)&got, &len) != 0 || len != n || memcmp(&got, &sa, n) != 0;
    }
    CHECK_EQ(wrong, 0);
    for (int k = 0; k < MANY; k += 2) {
        close(fds[k]);
    }
    for (int k = 0; k < MANY; k++) {
        socklen_t n = name_of(k, &sa);
        int r = connect(s, (void *)&sa, n);
        wrong += k % 2 ? r != 0 : r != -1 || errno != ECONNREFUSED;
    }
    CHECK_EQ(wrong, 0);
    close(s);
    group("names");
}

static char seen[MANY], closed[MANY];

// How many of our names are in the list, each once. closing: some are closed when they are met.
static int listed(int closing)
{
    char line[256];
    int nr = 0, twice = 0;
    FILE *f = fopen("/proc/net/unix", "r");
    MUST(f != NULL);
    setvbuf(f, NULL, _IOFBF, 1024); // in many pieces
    memset(seen, 0, sizeof(seen));
    while (fgets(line, sizeof(line), f)) {
        char *at = strstr(line, "@unix_many-");
        int k = at ? atoi(at + 11) : -1;
        if (k < 0 || k >= MANY) {
            continue;
        }
        nr++;
        twice += seen[k];
        seen[k] = 1;
        if (closing && k % 4 == 3 && !closed[k]) {
            closed[k] = close(fds[k]) == 0;
        }
    }
    fclose(f);
    CHECK_EQ(twice, 0);
    return nr;
}

static void list(void)
{
    int gone = 0, wrong = 0;
    CHECK_EQ(listed(0), MANY / 2);
    listed(1);
    for (int k = 0; k < MANY; k++) {
        gone += closed[k];
    }
    CHECK(gone > 100);
    CHECK_EQ(listed(0), MANY / 2 - gone);
    for (int k = 1; k < MANY; k += 2) {
        wrong += seen[k] == closed[k];
        if (!closed[k]) {
            close(fds[k]);
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(listed(0), 0);
    group("the list");
}

int main(void)
{
    struct rlimit r = {2 * MANY, 2 * MANY};
    MUST(setrlimit(RLIMIT_NOFILE, &r) == 0);
    names();
    list();
    return finish();
}
