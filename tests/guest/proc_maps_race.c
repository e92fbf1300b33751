// TEST: smp=1,2,4 scheme=rcu,mmap_lock timeout=120
// R35: /proc/self/maps while VMAs split and merge. What is mapped all the time is shown at every
// reading: no gap that never existed, no address twice, none going down.
//
//     room    | none | ............ NR_PAGES pages, always mapped ............ | none |
//
// Chasers change the protection of random stretches, so that borders come and go, and map stretches
// anew over what is there. The driver reads the file in pieces of several sizes and checks that its
// lines cover the room from end to end. The room has enough borders that its text takes many pieces
// of the kernel's buffer: between two of them VMAs that were shown join VMAs that were not.
#include "race_test.h"
#include <sys/random.h>

#define NR_PAGES 1536u

static char *room;
static unsigned seed0;

static void chaser(unsigned id)
{
    static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    unsigned state = seed0 + id * 7919u;
    while (racing()) {
        unsigned at = next_random(&state) % NR_PAGES, n = 1 + next_random(&state) % 4;
        int prot = prots[next_random(&state) % 3];
        n = at + n > NR_PAGES ? NR_PAGES - at : n;
        if (next_random(&state) % 4) {
            CHECK_EQ(mprotect(room + at * PAGE, n * PAGE, prot), 0);
        } else {
            CHECK(mmap(room + at * PAGE, n * PAGE, prot, ANON | MAP_FIXED, -1, 0) ==
                  room + at * PAGE);
        }
    }
}

// As many borders as can be: every second page other rights.
static void cut_up(void)
{
    for (unsigned i = 0; i < NR_PAGES; i += 2) {
        CHECK_EQ(mprotect(room + i * PAGE, PAGE, PROT_READ), 0);
    }
}

struct reading {
    unsigned long at;    // everything below has been accounted for
    unsigned long lines; // in the room
};

static int take_line(struct reading *r, const char *line)
{
    unsigned long start, end, lo = (unsigned long)room, hi = lo + NR_PAGES * PAGE;
    if (!CHECK(sscanf(line, "%lx-%lx ", &start, &end) == 2 && start < end)) {
        fprintf(stderr, "the line: %s\n", line);
        return 0;
    }
    if (end <= lo || start >= hi) {
        return 1;
    }
    if (start != r->at && !(r->lines == 0 && start <= lo)) {
        fprintf(stderr, "%s: [%lx, %lx) comes after %lx, seed %u\n",
                start > r->at ? "a gap that never was" : "shown twice", start, end, r->at, seed0);
        checks_failed++;
        return 0;
    }
    r->at = end;
    r->lines++;
    return 1;
}

// One reading in pieces of `piece` bytes. The lines of the room; 0: it failed.
static unsigned long read_maps(size_t piece)
{
    static char text[1 << 16];
    struct reading r = {(unsigned long)room, 0};
    size_t have = 0;
    int fd = open("/proc/self/maps", O_RDONLY), good = 1;
    ssize_t n;
    MUST(fd >= 0);
    while (good && (n = read(fd, text + have, piece)) > 0) {
        char *line = text, *end;
        text[have += (size_t)n] = '\0';
        while (good && (end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            good = take_line(&r, line);
            line = end + 1;
        }
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
    close(fd);
    return CHECK(good && r.at >= (unsigned long)room + NR_PAGES * PAGE) ? r.lines : 0;
}

static void reader(void)
{
    static const size_t pieces[] = {100, 1000, 4096, 30000};
    unsigned long most = 0;
    for (unsigned i = 0, n = rounds(48); i < n && !checks_failed; i++) {
        if (i % 2 == 0) {
            cut_up();
        }
        unsigned long lines = read_maps(pieces[i % 4]);
        most = lines > most ? lines : most;
    }
    CHECK(race_rehearsal || nr_cpus == 1 ||
          most > 340); // or the text was one piece and nothing was tried
}

static void run(void)
{
    MUST(getrandom(&seed0, sizeof(seed0), 0) == sizeof(seed0));
    fprintf(stderr, "seed %u\n", seed0);
    room = race_room(1);
    MUST(mmap(room, NR_PAGES * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == room);
    cut_up();
    race(chaser, nr_chasers, reader);
    CHECK_EQ(munmap(room, NR_PAGES * PAGE), 0);
}

static const struct race_test tests[] = {{"R35", "no gap that never was", run}};

int main(int argc, char **argv)
{
    return race_main(tests, 1, argc, argv);
}
