# RUNG: packages="nodejs" mem=2G timeout=300
# Threads that compile and collect in parallel, memory shared between them, WebAssembly whose loads
# past the end are traps (a reservation of gigabytes and a SIGSEGV handler), streams, children, sockets.
mkdir -p /dev/shm /bin
[ -e /bin/sh ] || ln -s busybox /bin/sh
cat > /tmp/main.js <<'END'
const { Worker } = require('worker_threads');
const { execFileSync, fork, spawn } = require('child_process');
const crypto = require('crypto'), fs = require('fs'), net = require('net'), zlib = require('zlib');
const { once } = require('events');
const { pipeline } = require('stream/promises');

// Each worker keeps one object in ten, so that both collectors have work, and says what it saw.
async function workers(nr) {
    const shared = new SharedArrayBuffer(8), cell = new Int32Array(shared);
    const all = Array.from({ length: nr }, (_, i) =>
        new Worker('/tmp/worker.js', { workerData: { i, nr, shared } }));
    const sums = Promise.all(all.map(async w => (await once(w, 'message'))[0]));
    const gone = Promise.all(all.map(async w => (await once(w, 'exit'))[0]));
    console.log('sums', await sums, 'exits', await gone, 'turns', cell[0], 'adds', cell[1]);
}

// (memory 1) (func (export "get") (param i32) (result i32) local.get 0 i32.load)
function wasm() {
    const code = Buffer.from('0061736d0100000001060160017f017f030201000503010001070701036765740000' +
                             '0a0901070020002802000b', 'hex');
    const get = new WebAssembly.Instance(new WebAssembly.Module(code)).exports.get;
    let traps = 0;
    for (const at of [0, 65532, 65533, 65536, 0x7fffffff, -4]) {
        try { get(at); } catch (e) { traps += e instanceof WebAssembly.RuntimeError; }
    }
    console.log('traps', traps);
}

function deep(n) { return n ? deep(n - 1) + 1 : 0; }

async function main() {
    await workers(6);
    wasm();
    try { deep(1e7); } catch (e) { console.log(e.name, deep(5000)); }
    const keys = await Promise.all([...Array(8).keys()].map(i => new Promise(done =>
        crypto.pbkdf2('p', 's' + i, 500, 16, 'sha512', (e, k) => done(k.toString('hex'))))));
    console.log(crypto.createHash('sha256').update(keys.join()).digest('hex'));
    fs.writeFileSync('/tmp/data', Buffer.alloc(3 << 20, 'faultline'));
    await pipeline(fs.createReadStream('/tmp/data'), zlib.createGzip({ level: 1 }),
                   fs.createWriteStream('/tmp/data.gz'));
    console.log(zlib.gunzipSync(fs.readFileSync('/tmp/data.gz')).equals(fs.readFileSync('/tmp/data')));
    console.log(String(execFileSync('/bin/sh', ['-c', 'tr a-z A-Z'], { input: 'child' })));
    const killed = spawn('/bin/sleep', ['100']);
    killed.kill('SIGKILL');
    console.log(await once(killed, 'exit'));
    const child = fork('/tmp/child.js'), told = once(child, 'message'), left = once(child, 'exit');
    child.send({ n: 6 });
    console.log((await told)[0], (await left)[0]);
    const server = net.createServer(c => c.pipe(c)).listen('/tmp/sock');
    await once(server, 'listening');
    const client = net.connect('/tmp/sock');
    client.end(Buffer.alloc(1 << 18, 7));
    let bytes = 0;
    for await (const part of client) bytes += part.length;
    server.close();
    console.log('echoed', bytes);
    const timers = [];
    await Promise.all([30, 10, 20].map(ms => new Promise(done =>
        setTimeout(() => done(timers.push(ms)), ms))));
    console.log('timers', timers.length);
    fs.watch('/tmp/watched', (what, name) => { console.log(what, name); process.exit(3); });
    fs.writeFileSync('/tmp/watched/new', '');
}
fs.mkdirSync('/tmp/watched');
main();
END
cat > /tmp/worker.js <<'END'
const { parentPort, workerData: { i, nr, shared } } = require('worker_threads');
const cell = new Int32Array(shared), keep = [];
let sum = 0;
for (let n = 0; n < 100000; n++) {
    const made = { a: n, b: [n, n + i], c: 'x' + n };
    if (n % 10 === 0) keep.push(made);
    sum += made.b[1];
    Atomics.add(cell, 1, 1);
}
for (const made of keep) if (made.c !== 'x' + made.a) throw new Error('lost ' + made.a);
for (let round = 0; round < 20; round++) {
    for (let seen; (seen = Atomics.load(cell, 0)) !== round * nr + i;) Atomics.wait(cell, 0, seen);
    Atomics.add(cell, 0, 1);
    Atomics.notify(cell, 0);
}
parentPort.postMessage(sum + keep.length);
END
cat > /tmp/child.js <<'END'
process.once('message', m => { process.send(m.n * 7, () => process.exit(5)); });
END
ln -s busybox /bin/tr; ln -s busybox /bin/sleep
node /tmp/main.js 2>&1
echo "status $?"
