// TEST: smp=1,4 scheme=rcu,mmap_lock timeout=60
// Files that are no programs: execve must refuse every one, and this program lives on. (Linux looks
// at some of these numbers only after it has thrown the old program away, and kills: no
// comparison.)
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

static char image[4 << 20], copy[4 << 20];
static size_t image_len;
static ElfW(Ehdr) *const eh = (void *)copy;
static ElfW(Phdr) * ph; // the first PT_LOAD in copy, after again()

static void again(void)
{
    memcpy(copy, image, image_len);
    ph = (void *)(copy + eh->e_phoff);
    while (ph->p_type != PT_LOAD) {
        ph++;
    }
}

static void refused(const char *what, const void *data, size_t len)
{
    char *argv[] = {"bad", NULL};
    int fd;

    unlink("/tmp/bad");
    fd = open("/tmp/bad", O_RDWR | O_CREAT | O_TRUNC, 0755);
    CHECK(fd >= 0);
    CHECK(write(fd, data, len) == (ssize_t)len);
    close(fd);
    errno = 0;
    CHECK(execve("/tmp/bad", argv, argv) == -1);
    CHECK(errno == ENOEXEC || errno == ENOMEM || errno == EINVAL || errno == ENOENT);
    ok(what);
}

static void headers(void)
{
    refused("an empty file", "", 0);
    refused("text", "hello, world\n", 13);
    refused("half a header", image, 40);
    refused("a header alone", image, 64);
    again();
    eh->e_machine = 999;
    refused("another machine", copy, image_len);
    again();
    eh->e_type = ET_REL;
    refused("an object file", copy, image_len);
    again();
    eh->e_phentsize = 1;
    refused("odd header size", copy, image_len);
    again();
    eh->e_phnum = 0;
    refused("no headers", copy, image_len);
    again();
    eh->e_phnum = 0xffff;
    refused("too many headers", copy, image_len);
    again();
    eh->e_phoff = UINT64_MAX - 20;
    refused("headers that wrap", copy, image_len);
    again();
    eh->e_entry = UINT64_MAX - 4096;
    refused("an entry in the kernel", copy, image_len);
}

static void segments(void)
{
    again();
    ph->p_type = PT_INTERP;
    refused("an interpreter", copy, image_len);
    again();
    ph->p_vaddr = UINT64_MAX & ~4095ull;
    refused("a segment at the top of everything", copy, image_len);
    again();
    ph->p_vaddr = 0;
    refused("a segment at address 0", copy, image_len);
    again();
    ph->p_vaddr += 8;
    refused("a segment that does not fit its file offset", copy, image_len);
    again();
    ph->p_memsz = UINT64_MAX - 4096;
    refused("a segment that wraps", copy, image_len);
    again();
    ph->p_filesz = ph->p_memsz + 4096;
    refused("more file than memory", copy, image_len);
    again();
    ph->p_filesz = ph->p_memsz = 1ull << 40;
    refused("a segment larger than the file", copy, image_len);
    again();
    ph->p_offset = UINT64_MAX & ~4095ull;
    refused("a file offset that wraps", copy, image_len);
    again();
    ph->p_vaddr = 1ull << 46;
    ph->p_memsz = 1ull << 47;
    refused("a segment beyond user memory", copy, image_len);
    again();
    ph->p_vaddr = 0x7ffffffef000;
    refused("a segment over the stack", copy, image_len);
    again();
    ph[1] = ph[0];
    refused("two segments at one place", copy, image_len);
}

int main(int argc, char **argv)
{
    int fd = argc > 0 ? open(argv[0], O_RDONLY) : -1;

    CHECK(fd >= 0);
    image_len = (size_t)read(fd, image, sizeof(image));
    CHECK(image_len > 100000 && image_len < sizeof(image));
    close(fd);
    // A truncated program is refused as it is: its segments reach beyond the end of the file.
    refused("a truncated program", image, image_len / 3);
    headers();
    segments();
    return 0;
}
