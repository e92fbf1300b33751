"""Compiles the plugin and the toy guest of its test."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
WARN = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes",
        "-Wmissing-prototypes"]


def compile_c(sources, target, *flags):
    command = [os.environ.get("CC", "gcc"), *WARN, *flags, "-o", target,
               *(os.path.join(HERE, source) for source in sources)]
    subprocess.run(command, check=True)
    return target


def plugin(folder):
    return compile_c(["plugin.c", "blocks.c"], os.path.join(folder, "coherence.so"), "-shared",
                     "-fPIC", "-fvisibility=hidden")


def toy(folder):
    return compile_c(["toy.c"], os.path.join(folder, "toy.elf"), "-m32", "-march=i686",
                     "-ffreestanding", "-fno-pic", "-fno-pie", "-no-pie", "-nostdlib", "-static",
                     "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
                     "-fcf-protection=none", "-Wl,--build-id=none", "-Wl,-Ttext=0x101000",
                     "-Wl,--section-start=.start=0x100000", "-Wl,-z,max-page-size=4096")
