"""Reads what the plugin writes: a line for each batch, then for each place and block of a run."""

SUMS = ["windows", "interrupted", "insns", "loads", "stores", "cold_loads", "cold_stores",
        "outside_loads", "outside_stores",
        "ipis", "device", "unknown"]


class Record:
    """One run: the sums of each counted batch, and where the transfers came from."""

    def __init__(self):
        self.batches = []
        self.blocks = []  # with blocks=on: (how often it ran, [address of an instruction])
        self.places = []  # {"kind", "ip", "vaddr", "paddr", "count"}, the most frequent first
        self.lost = 0     # transfers whose place found no room
        self.ended = False

    def total(self, name):
        return sum(batch[name] for batch in self.batches)

    def per_operation(self, name):
        return self.total(name) / self.total("windows")


def read(path):
    """All runs by number."""
    runs = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            run = runs.setdefault(int(words[1]), Record())
            if words[0] == "batch" and words[2] == "counted":
                run.batches.append(dict(zip(SUMS, map(int, words[3:]))))
            elif words[0] == "site":
                run.places.append({"kind": words[2], "ip": int(words[3], 16),
                                   "vaddr": int(words[4], 16), "paddr": int(words[5], 16),
                                   "count": int(words[6])})
            elif words[0] == "block":
                run.blocks.append((int(words[2]), [int(word, 16) for word in words[3:]]))
            elif words[0] == "lost":
                run.lost = int(words[2])
            elif words[0] == "end":
                run.ended = True
    for run in runs.values():
        run.places.sort(key=lambda place: (-place["count"], place["ip"], place["paddr"]))
    return runs
