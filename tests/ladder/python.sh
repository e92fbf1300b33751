# RUNG: packages="python3" mem=2G timeout=300
mkdir -p /dev/shm
python3 -u - <<'END' 2>&1
import ctypes, hashlib, json, mmap, os, queue, re, select, signal, socket, sqlite3, subprocess
import struct, sys, tempfile, threading, time, zlib
print(sys.version_info[0], sys.platform)
print(json.dumps({"a": [1, 2.5, None]}, sort_keys=True), re.sub(r"(\w+)", r"<\1>", "a b"))
print(hashlib.sha256(b"faultline" * 1000).hexdigest()[:16], zlib.crc32(b"x" * 99999))
q, total = queue.Queue(), []
def work():
    while (n := q.get()) is not None:
        total.append(n * n)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for n in range(1000): q.put(n)
for t in threads: q.put(None)
for t in threads: t.join()
print(sum(total))
print(subprocess.run(["/bin/busybox", "tr", "a-z", "A-Z"], input=b"pipe", capture_output=True).stdout)
r = subprocess.run(["/bin/busybox", "sh", "-c", "kill -9 $$"]); print(r.returncode)
with tempfile.TemporaryFile() as f:
    f.write(b"\0" * 8192); f.flush()
    with mmap.mmap(f.fileno(), 8192) as m:
        m[4096:4100] = b"mmap"; m.flush()
    f.seek(4096); print(f.read(4))
pid = os.fork()
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
a, b = socket.socketpair()
a.sendall(b"hello"); print(b.recv(5), select.select([b], [], [], 0)[0])
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/s"); s.listen(1)
c = socket.socket(socket.AF_UNIX); c.connect("/tmp/s"); d, _ = s.accept()
socket.send_fds(c, [b"fd"], [1]); m, fds, *_ = socket.recv_fds(d, 10, 1); print(m, len(fds))
signal.signal(signal.SIGALRM, lambda *x: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.pause()
print(os.sched_getaffinity(0) == set(range(os.cpu_count())), os.sysconf("SC_PAGE_SIZE"))
ctypes.CDLL(None).puts(b"from libc") ; sys.stdout.flush(); ctypes.CDLL(None).fflush(None)
db = sqlite3.connect(":memory:"); print(db.execute("select 6 * 7").fetchone())
from multiprocessing import Pool
def square(n): return n * n
with Pool(3) as pool:
    print(pool.map(square, range(5)))
END
echo "status $?"
