package seccomp

// programRun is a program that the tests run under presets; PRESETS.md lists them.
type programRun struct {
	name   string
	what   string   // for PRESETS.md
	needs  string   // a command without which it is skipped
	before string   // made without a filter, in the shell
	script string   // run under the filter, in the shell unless direct
	direct bool     // one process: the script's words are a command, executed as they stand
	want   string   // what it prints
	under  []string // presets by name
	slow   bool     // left out of a short run
}

var (
	everyPreset = []string{"default", "build", "network"}
	withNet     = []string{"default", "network"}
	onlyStrict  = []string{"strict"}
	onlyBuild   = []string{"build"}
)

// programsRun use what programs of their kind use: threads and children, files, clocks, and for strict what one process
// that computes has. Where a preset has no internet, they have another form.
var programsRun = []programRun{
	{
		name: "shell", what: "shell and core utilities", needs: "sh", want: "100\n", under: everyPreset,
		script: `d=$(mktemp -d) && cd $d && seq 100 | sort -n | while read a; do echo $a; done | tail -1; ls / >f && cp f g && rm -r $d`,
	},
	{
		name: "gcc", what: "gcc, a program of its with threads and children (glibc)", needs: "gcc", want: "42 3\n", under: everyPreset,
		script: `o=$(mktemp) && gcc -O1 -pthread -o $o fork.c && $o; rm $o`,
	},
	{
		name: "musl", what: "a program of musl's with threads and children", needs: "musl-gcc", want: "42 3\n", under: everyPreset,
		before: `musl-gcc -O1 -o musl-fork fork.c`, script: `./musl-fork`, slow: true,
	},
	{name: "python", what: "Python: threads, processes, loopback, asyncio", needs: "/usr/bin/python3", want: "30 ok\n", under: withNet, script: `/usr/bin/python3 net.py`},
	{name: "python-build", what: "Python: threads, processes, temporary files, asyncio", needs: "/usr/bin/python3", want: "30 ok\n", under: onlyBuild, script: `/usr/bin/python3 net.py offline`, slow: true},
	{name: "node", what: "Node: workers, children, loopback, files", needs: "node", want: "ok 7 net\n", under: withNet, script: `node net.js`, slow: true},
	{name: "node-build", what: "Node: workers, children, files", needs: "node", want: "ok 7 \n", under: onlyBuild, script: `node net.js offline`, slow: true},
	{name: "java", what: "Java: javac in memory, threads, children", needs: "java", want: "thread ok\n", under: everyPreset, script: `java -Xmx64m T.java`, slow: true},
	{name: "go", what: "Go: go run, goroutines, children, loopback", needs: "go", want: "28 ok\n", under: withNet, script: `go run net.go`, slow: true},
	{
		name: "go-build", what: "Go: go build and its program", needs: "go", want: "4950 7 refused\n", under: onlyBuild,
		script: `o=$(mktemp) && go build -o $o compute.go && echo 7 | (ulimit -f 0; trap '' XFSZ; $o); rm $o`, slow: true,
	},

	{
		name: "strict-glibc", what: "C, glibc, dynamic", needs: "gcc", want: computed, under: onlyStrict, direct: true,
		before: `gcc -O1 -pthread -o dynamic compute.c`, script: `./dynamic`,
	},
	{
		name: "strict-static", what: "C, glibc, static", needs: "gcc", want: computed, under: onlyStrict, direct: true,
		before: `gcc -O1 -static -pthread -o static compute.c`, script: `./static`, slow: true,
	},
	{
		name: "strict-musl", what: "C, musl, dynamic", needs: "musl-gcc", want: computed, under: onlyStrict, direct: true,
		before: `musl-gcc -O1 -o musl compute.c`, script: `./musl`, slow: true,
	},
	{
		name: "strict-musl-static", what: "C, musl, static", needs: "musl-gcc", want: computed, under: onlyStrict, direct: true,
		before: `musl-gcc -O1 -static -o musl-static compute.c`, script: `./musl-static`, slow: true,
	},
	{
		name: "strict-c++", what: "C++: streams, futures, exceptions", needs: "g++", want: "42 7\n", under: onlyStrict, direct: true,
		before: `g++ -O1 -pthread -o c++ compute.cc`, script: `./c++`, slow: true,
	},
	{
		name: "strict-go", what: "Go: goroutines, timers, files", needs: "go", want: "4950 7 refused\n", under: onlyStrict, direct: true,
		before: `go build -o compute compute.go`, script: `./compute`, slow: true,
	},
	{
		name: "strict-python", what: "Python: threads, asyncio, signals", needs: "/usr/bin/python3", want: "7 91 alarm refused\n", under: onlyStrict, direct: true,
		script: `/usr/bin/python3 compute.py`,
	},
	{
		name: "strict-java", what: "Java: threads, java.nio, streams", needs: "java", want: "8 499999500000 true refused\n", under: onlyStrict, direct: true,
		script: `java -Xmx96m Compute.java`, slow: true,
	},
	{
		name: "strict-node", what: "Node: workers, its pool of threads, files", needs: "node", want: "7 16 worker EPERM\n", under: onlyStrict, direct: true,
		script: `node compute.js`, slow: true,
	},
}

// computed is what compute.c prints.
const computed = "42 -1048575 7 limit refused refused\n"

// programSources are the texts, by file.
var programSources = map[string]string{
	"fork.c": `#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
static void *f(void *p) { *(int *)p = 42; return 0; }
int main(void) { pthread_t t; int v = 0; pthread_create(&t, 0, f, &v); pthread_join(t, 0);
	if (!fork()) _exit(3); int s; wait(&s); printf("%d %d\n", v, WEXITSTATUS(s)); }
`,
	"compute.c": `#include <dirent.h>
#include <locale.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/time.h>
static sem_t s;
static int v;
static void *f(void *p) { v = 42; sem_post(&s); return 0; }
static int less(const void *a, const void *b) { return *(int *)a - *(int *)b; }
int main(void) {
	setlocale(LC_ALL, "");
	FILE *g = fopen("compute.c", "r"); char line[80]; if (!g || !fgets(line, 80, g)) return 2; fclose(g);
	time_t now = time(0); localtime(&now); clock();
	DIR *d = opendir("."); if (!d || !readdir(d)) return 3; closedir(d);
	sem_init(&s, 0, 0); pthread_t t[8];
	for (int i = 0; i < 8; i++) if (pthread_create(t + i, 0, f, 0)) return 4;
	for (int i = 0; i < 8; i++) { sem_wait(&s); pthread_join(t[i], 0); }
	signal(SIGALRM, SIG_IGN); struct itimerval soon = {{0}, {0, 1000}}; setitimer(ITIMER_REAL, &soon, 0); usleep(3000);
	int *a = malloc(4 << 20); for (int i = 0; i < 1 << 20; i++) a[i] = -i;
	qsort(a, 1 << 20, 4, less); int first = a[0]; free(realloc(a, 64 << 20));
	int x = 0; if (scanf("%d", &x) != 1) return 5;
	struct rlimit r; getrlimit(RLIMIT_STACK, &r);
	printf("%d %d %d", v, first, x); printf(setrlimit(RLIMIT_STACK, &r) ? " no" : " limit");
	printf(fopen("out", "w") ? " made" : " refused"); fflush(stdout);
	pid_t child = fork(); if (!child) _exit(0);
	puts(child < 0 ? " refused" : " forked"); }
`,
	"compute.cc": `#include <chrono>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <thread>
#include <vector>
int main() {
	std::random_device device; std::mt19937 g(device()); std::map<int, int> m; for (int i = 0; i < 1000; i++) m[g() % 100]++;
	auto f = std::async(std::launch::async, [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); return 41; });
	std::vector<std::thread> v; for (int i = 0; i < 4; i++) v.emplace_back([] {}); for (auto &t : v) t.join();
	int n; std::cin >> n; try { throw 1; } catch (int e) { std::cout << f.get() + e << " " << n << std::endl; } }
`,
	"net.py": `import asyncio, concurrent.futures as f, multiprocessing, socket, subprocess, sys, tempfile
def sq(x): return x * x
if __name__ == "__main__":
    with f.ThreadPoolExecutor(4) as e: n = sum(e.map(sq, range(4)))
    with multiprocessing.Pool(2) as p: n += sum(p.map(sq, range(4)))
    a, b = socket.socketpair(); a.send(b"x"); n += len(b.recv(1))
    if len(sys.argv) < 2:
        s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
        socket.create_connection(s.getsockname()).close()
    async def wait(): await asyncio.sleep(0.001); return 1
    n += asyncio.run(wait())
    with tempfile.TemporaryFile() as t: t.write(b"x")
    print(n, subprocess.check_output(["echo", "ok"]).decode().strip())
`,
	"compute.py": `import asyncio, concurrent.futures as cf, decimal, glob, hashlib, os, random, signal, sys, threading, time
n = int(input())
async def later(): await asyncio.sleep(0.001); return await asyncio.to_thread(lambda: n)
print(asyncio.run(later()), end=" ")
with cf.ThreadPoolExecutor(4) as e: print(sum(e.map(lambda x: x * x, range(n))), end=" ")
assert glob.glob("*.py") and os.cpu_count() and hashlib.sha256(b"a").digest() and random.random() < 1 and decimal.Decimal(1) / 3
signal.signal(signal.SIGALRM, lambda *a: print("alarm", end=" ")); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
try: open("out", "w"); print("made")
except PermissionError: print("refused")
`,
	"net.js": `const cp = require('child_process'), fs = require('fs'), net = require('net'), os = require('os'), path = require('path');
const { Worker } = require('worker_threads');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'belljar-')); fs.writeFileSync(dir + '/f', 'x'); fs.rmSync(dir, { recursive: true });
const ok = cp.execFileSync('echo', ['ok']).toString().trim();
new Worker("require('worker_threads').parentPort.postMessage(7)", { eval: true }).on('message', (seven) => {
	if (process.argv[2]) return console.log(ok, seven, '');
	const server = net.createServer((c) => c.end('net')).listen(0, '127.0.0.1', () =>
		net.connect(server.address().port, '127.0.0.1').on('data', (d) => console.log(ok, seven, d.toString())).on('close', () => server.close()));
});
`,
	"compute.js": `const fs = require('fs'), crypto = require('crypto'), { Worker } = require('worker_threads');
const out = [];
require('readline').createInterface({ input: process.stdin }).on('line', (l) => { out[0] = +l; });
crypto.pbkdf2('a', 'b', 1000, 16, 'sha1', (e, k) => { out[1] = k.length; });
new Worker("require('worker_threads').parentPort.postMessage('worker')", { eval: true }).on('message', (m) => { out[2] = m; });
fs.promises.readFile('compute.js').then(() => { try { fs.writeFileSync('out', 'x'); out[3] = 'made'; } catch (e) { out[3] = e.code; } });
process.on('exit', () => console.log(out.join(' ')));
`,
	"T.java": `public class T { public static void main(String[] a) throws Exception {
	var p = new ProcessBuilder("echo", "ok").start(); var t = new Thread(() -> System.out.print("thread "));
	t.start(); t.join(); System.out.print(new String(p.getInputStream().readAllBytes())); } }
`,
	"Compute.java": `import java.io.*; import java.nio.file.*; import java.util.concurrent.*; import java.util.stream.*;
public class Compute { public static void main(String[] a) throws Exception {
	int n = Integer.parseInt(new BufferedReader(new InputStreamReader(System.in)).readLine().trim());
	var pool = Executors.newFixedThreadPool(4); System.out.print(pool.submit(() -> n + 1).get()); pool.shutdown();
	System.out.print(" " + IntStream.range(0, 1000000).parallel().mapToLong(x -> x).sum());
	System.out.print(" " + (Files.readAllLines(Path.of("Compute.java")).size() > 3)); System.gc(); Thread.sleep(2);
	try { Files.writeString(Path.of("out"), "x"); System.out.println(" made"); } catch (IOException e) { System.out.println(" refused"); } } }
`,
	"net.go": `package main
import ("fmt"; "os/exec"; "net"; "time")
func main() { c := make(chan int); for i := range 8 { go func() { time.Sleep(time.Millisecond); c <- i }() }
	n := 0; for range 8 { n += <-c }
	l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
	k, err := net.Dial("tcp", l.Addr().String()); if err != nil { panic(err) }; k.Close()
	out, err := exec.Command("echo", "ok").Output(); if err != nil { panic(err) }
	fmt.Print(n, " ", string(out)) }
`,
	"compute.go": `package main
import ("context"; "fmt"; "io"; "os"; "os/signal"; "runtime"; "runtime/debug"; "sync"; "time")
func main() { var n int; fmt.Scan(&n)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	var group sync.WaitGroup; c := make(chan int, 100)
	for i := range 100 { group.Add(1); go func() { defer group.Done(); time.Sleep(time.Millisecond); c <- i }() }
	group.Wait(); close(c); sum := 0; for v := range c { sum += v }
	runtime.GC(); debug.FreeOSMemory()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond); defer cancel(); <-ctx.Done()
	if _, err := os.ReadDir("."); err != nil { panic(err) }
	r, w, err := os.Pipe(); if err != nil { panic(err) }
	go func() { w.Write([]byte("x")); w.Close() }(); if b, _ := io.ReadAll(r); len(b) != 1 { panic("pipe") }
	made := "refused"; if f, err := os.Create("out"); err == nil { if _, err = f.Write([]byte("x")); err == nil { made = "made" } }
	fmt.Println(sum, n, made) }
`,
}
