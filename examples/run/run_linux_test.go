package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// open is a folder that everybody may write to: the job's user is not this one.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	require.NoError(t, os.Chmod(path, mode)) // whatever the umask
}

func TestExitStatus(t *testing.T) {
	need(t)
	dir := open(t)
	write(t, filepath.Join(dir, "text"), "no program", 0o755)
	write(t, filepath.Join(dir, "closed"), "#!/bin/sh\n", 0o644)
	write(t, filepath.Join(dir, "orphan"), "#!/nosuch/interpreter\n", 0o755)
	vol := dir + ":/vol:ro"
	for _, c := range []struct {
		name   string
		args   []string
		want   int
		stderr string // its first line
	}{
		{"success", []string{"--", "true"}, 0, ""},
		{"failure", []string{"false"}, 1, ""},
		{"status", []string{"sh", "-c", "exit 42"}, 42, ""},
		{"status like a signal's", []string{"sh", "-c", "exit 137"}, 137, ""},
		{"status like run's own", []string{"sh", "-c", "exit 125"}, 125, ""},
		{"killed by itself", []string{"sh", "-c", "kill -9 $$"}, 137, ""},
		{"abort", []string{"sh", "-c", "kill -ABRT $$"}, 134, ""},
		{"terminated", []string{"sh", "-c", "kill $$"}, 143, ""},
		{"not found in PATH", []string{"nosuch"}, exitNotFound, "run: exec: execve nosuch: no such file or directory"},
		{"not found", []string{"/nosuch"}, exitNotFound, "run: exec: execve /nosuch: no such file or directory"},
		{"no interpreter", []string{"-v", vol, "/vol/orphan"}, exitNotFound, "run: exec: execve /vol/orphan: no such file or directory"},
		{"below a file", []string{"-v", vol, "/vol/text/x"}, exitNotFound, "run: exec: execve /vol/text/x: not a directory"},
		{"a directory", []string{"/usr"}, exitNotExecutable, "run: exec: execve /usr: permission denied"},
		{"not executable", []string{"-v", vol, "/vol/closed"}, exitNotExecutable, "run: exec: execve /vol/closed: permission denied"},
		{"no program", []string{"-v", vol, "/vol/text"}, exitNotExecutable, "run: exec: execve /vol/text: exec format error"},
		{"no such directory", []string{"-w", "/nosuch", "true"}, exitRun, "run: directory: chdir /nosuch: no such file or directory"},
		{"no such volume", []string{"-v", "/nosuch:/vol", "true"}, exitRun, "run: root: --volume /nosuch: no such file or directory"},
		{"no such root", []string{"--rootfs", "/nosuch", "true"}, exitRun, "run: root: --rootfs /nosuch: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := do(t, c.args...)
			first, _, _ := strings.Cut(r.stderr, "\n")
			assert.Equal(t, c.want, r.code, r.stderr)
			assert.Equal(t, c.stderr, first)
			assert.Empty(t, r.stdout)
		})
	}
}

func TestStreams(t *testing.T) {
	need(t)
	assert.Equal(t, ran{0, "out\n", "err\n"}, do(t, "sh", "-c", "echo out; echo err >&2"))
	assert.Equal(t, ran{0, "typed", ""}, doWith(t, "typed", "-i", "cat"))
	assert.Equal(t, ran{0, "", ""}, doWith(t, "typed", "cat"), "without -i the input is empty")

	// None of run's descriptors is inside, not even as a stream.
	cmd := program(t, "-i", "sh", "-c", "for n in 0 1 2; do readlink /proc/self/fd/$n; done; ls /proc/self/fd | wc -l")
	in, err := os.Open("main.go")
	require.NoError(t, err)
	defer in.Close()
	file := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(file)
	require.NoError(t, err)
	defer out.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	require.NoError(t, cmd.Run())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Regexp(t, regexp.MustCompile(`^(pipe:\[\d+\]\n){3}4\n$`), string(text)) // the fourth is what ls lists with

	// One destination for both streams keeps the order of the two.
	cmd = program(t, "sh", "-c", "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done")
	both, err := cmd.CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n", string(both))
}

// TestReaderGone: as in a pipeline whose end has seen enough, the program gets SIGPIPE.
func TestReaderGone(t *testing.T) {
	need(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := program(t, "yes")
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	_ = w.Close()
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	_ = r.Close()
	_ = cmd.Wait()
	assert.Equal(t, 128+13, exitCode(cmd.ProcessState))
}

func TestInside(t *testing.T) {
	need(t)
	t.Setenv("SECRET", "s")
	t.Setenv("SHARED", "s")
	r := do(t, "-e", "SHARED", "-e", "A=1", "-e", "A=2", "-e", "UNSET_HERE", "env")
	assert.ElementsMatch(t, []string{
		"A=2", "HOME=/box", "SHARED=s", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, strings.Fields(r.stdout), r.stderr)
	assert.Equal(t, ran{0, "belljar\n", ""}, do(t, "hostname"))
	assert.Equal(t, ran{0, "glass\n", ""}, do(t, "-h", "glass", "hostname"))
	assert.Equal(t, ran{0, "/box\n", ""}, do(t, "pwd"))
	assert.Equal(t, ran{0, "/tmp\n", ""}, do(t, "-w/tmp", "pwd"))
	assert.Equal(t, ran{0, "1000 1000\n", ""}, do(t, "sh", "-c", "echo $(id -u) $(id -g)"))
	r = do(t, "--add-host", "db:10.0.0.7", "cat", "/etc/hosts")
	assert.Regexp(t, `(?m)^10\.0\.0\.7\s+db$`, r.stdout, r.stderr)
	r = do(t, "--tmpfs", "/scratch:1m", "sh", "-c", "head -c 2000000 /dev/zero >/scratch/f; stat -c %s /scratch/f")
	assert.Equal(t, "1048576\n", r.stdout, r.stderr)
	assert.Contains(t, r.stderr, "No space left on device")
	r = do(t, "sh", "-c", "echo x >/f || echo x >/usr/f")
	assert.NotEqual(t, 0, r.code)
	assert.Equal(t, 2, strings.Count(r.stderr, "Read-only file system"), r.stderr)
	assert.Equal(t, ran{0, "7\n", ""}, do(t, "--ulimit", "nofile=7:9", "sh", "-c", "ulimit -n"))
	r = do(t, "grep", "CapEff", "/proc/self/status")
	assert.Equal(t, "CapEff:\t0000000000000000\n", r.stdout)
	r = do(t, "--cap-add", "net_raw,CAP_NET_BIND_SERVICE", "grep", "CapEff", "/proc/self/status")
	assert.Equal(t, "CapEff:\t0000000000002400\n", r.stdout, r.stderr)
}

func TestUser(t *testing.T) {
	need(t, "-u", "5:6")
	r := do(t, "-u", "5:6", "sh", "-c", "echo $(id -u) $(id -g)")
	assert.Equal(t, ran{0, "5 6\n", ""}, r)
	r = do(t, "-u", "0", "sh", "-c", "echo $(id -u) $(id -g); grep CapEff /proc/self/status")
	assert.Equal(t, ran{0, "0 0\nCapEff:\t0000000000000000\n", ""}, r, "root inside has no power")
}

func TestNet(t *testing.T) {
	need(t)
	count := []string{"sh", "-c", "tail -n +3 /proc/net/dev | wc -l"}
	assert.Equal(t, ran{0, "1\n", ""}, do(t, count...), "a loopback")
	assert.Equal(t, ran{0, "1\n", ""}, do(t, append([]string{"--net=none"}, count...)...))
	here, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	assert.Equal(t, ran{0, here + "\n", ""}, do(t, "--net", "host", "readlink", "/proc/self/ns/net"))
	r := do(t, "readlink", "/proc/self/ns/net")
	assert.Equal(t, 0, r.code)
	assert.NotEqual(t, here+"\n", r.stdout)
}

func TestVolume(t *testing.T) {
	need(t)
	dir := open(t)
	file := filepath.Join(dir, "f")
	put := []string{"sh", "-c", "echo inside >/vol/f"}
	content := func() string { b, _ := os.ReadFile(file); return string(b) }

	// The control: the same program where it may write.
	if r := do(t, "-v", dir+":/vol", "true"); r.code == exitRun && strings.Contains(r.stderr, "run: id map: ") {
		// This file system cannot map ids (tmpfs before Linux 6.3): root is told, before anything is written as nobody.
		assert.Contains(t, r.stderr, "run: hint: ")
		assert.Equal(t, ran{}, do(t, append([]string{"--tmpfs", "/vol"}, put...)...))
	} else {
		for _, flag := range []string{"", ":rw"} {
			assert.Equal(t, ran{}, do(t, append([]string{"-v", dir + ":/vol" + flag}, put...)...))
			assert.Equal(t, "inside\n", content())
			require.NoError(t, os.Remove(file))
		}
	}

	write(t, file, "host\n", 0o666)
	r := do(t, append([]string{"-v", dir + ":/vol:ro"}, put...)...)
	assert.NotEqual(t, 0, r.code)
	assert.Contains(t, r.stderr, "Read-only file system")
	assert.Equal(t, "host\n", content())
	assert.Equal(t, ran{0, "host\n", ""}, do(t, "-v", dir+":/vol:ro", "cat", "/vol/f"))
	assert.Equal(t, ran{0, "host\n", ""}, do(t, "-v", file+":/box/one:ro", "cat", "one"), "a file is a volume too")

	write(t, filepath.Join(dir, "x"), "#!/bin/sh\necho ran\n", 0o755)
	assert.Equal(t, ran{0, "ran\n", ""}, do(t, "-v", dir+":/vol:ro", "/vol/x"))
	assert.Equal(t, exitNotExecutable, do(t, "-v", dir+":/vol:ro,noexec", "/vol/x").code)
}

// TestRootfs has a root of its own that takes its programs from the host.
func TestRootfs(t *testing.T) {
	need(t)
	root := open(t)
	args := []string{"--rootfs", root, "-v", "/usr:/usr:ro"}
	for _, dir := range []string{"usr", "proc", "dev", "tmp", "etc"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + name); err == nil {
			require.NoError(t, os.Symlink(strings.TrimPrefix(to, "/"), filepath.Join(root, name)))
		} else if _, err := os.Stat("/" + name); err == nil {
			require.NoError(t, os.Mkdir(filepath.Join(root, name), 0o755))
			args = append(args, "-v", "/"+name+":/"+name+":ro")
		}
	}
	write(t, filepath.Join(root, "etc/motd"), "a root of its own\n", 0o644)
	r := do(t, append(args, "--tmpfs", "/tmp", "sh", "-c", "cat /etc/motd; pwd; echo $HOME; echo x >/tmp/x && cat /tmp/x; echo y >/etc/y")...)
	assert.Equal(t, "a root of its own\n/\n/\nx\n", r.stdout, r.stderr)
	assert.Contains(t, r.stderr, "Read-only file system")
	assert.NotEqual(t, 0, r.code)
	assert.NoFileExists(t, filepath.Join(root, "etc/y"))
}

// TestLimits: each with a control, the same program under a limit that it keeps.
func TestLimits(t *testing.T) {
	need(t)
	hog := []string{"sh", "-c", "head -c 40m /dev/zero | tail -c 40m >/dev/null"}
	spin := []string{"sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"}
	forks := []string{"sh", "-c", "sleep 1 & sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait"}
	self, err := os.Executable()
	require.NoError(t, err)
	unshare := []string{"-v", self + ":/victim:ro", "-e", playVictim + "=unshare", "/victim"}
	for _, c := range []struct {
		name    string
		control []string
		limit   []string
		command []string
		want    int // control's status is 0 unless said below
		verdict string
	}{
		{"memory", []string{"-m", "1g"}, []string{"-m", "16m"}, hog, 137, "memory exceeded"},
		{"pids", []string{"--pids", "50"}, []string{"--pids-limit=3"}, forks, 2, "pids exceeded"},
		{"CPU time", []string{"--cpu-time", "1h"}, []string{"--cpu-time", "20ms"}, spin, 152, "CPU time exceeded"},
		{"time", []string{"--time-limit", "1h"}, []string{"--time-limit", "2s"}, []string{"sleep", "4"}, 124, "wall time exceeded"},
		{"output", []string{"--output", "1m"}, []string{"--output", "1k"}, []string{"head", "-c", "2000", "/dev/zero"}, 153, "output exceeded"},
		{"system call", []string{"--seccomp", "default"}, []string{"--seccomp", "kill"}, unshare, 159, "system call denied: unshare(flags=CLONE_NEWUSER)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			r := do(t, append(c.control, c.command...)...)
			r.mayLack(t)
			want := 0
			if c.name == "system call" {
				want = 3 // it gets EPERM
			}
			require.Equal(t, want, r.code, r.stderr)
			assert.Empty(t, r.stderr)

			r = do(t, append(c.limit, c.command...)...)
			assert.Equal(t, c.want, r.code, r.stderr)
			lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
			last := lines[len(lines)-1]
			assert.Regexp(t, "^run: "+regexp.QuoteMeta(c.verdict)+"$", last)
		})
	}
}

func TestBestEffort(t *testing.T) {
	need(t)
	r := do(t, "--best-effort", "-m", "64m", "--pids", "10", "--cpus", "0.5", "echo", "ran")
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Equal(t, "ran\n", r.stdout)
	for line := range strings.Lines(r.stderr) {
		assert.Regexp(t, `^run: given up: --(memory|pids|cpus): `, line)
	}
	if do(t, "-m", "64m", "true").code == 0 {
		assert.Empty(t, r.stderr, "what can be had is not given up")
	} else {
		assert.Contains(t, r.stderr, "given up: --memory")
	}
	r = do(t, "--best-effort", "-v", "/nosuch:/vol", "true")
	assert.Equal(t, exitRun, r.code, "a volume is no limit")
}

func TestStats(t *testing.T) {
	need(t)
	r := do(t, "--stats", "sh", "-c", "echo out; exit 3")
	assert.Equal(t, 3, r.code)
	assert.Equal(t, "out\n", r.stdout)
	for _, row := range []string{
		`verdict +non-zero exit`, `exit status +3`, `time +[0-9.]+(µs|ms|s)`, `CPU +[0-9.]+(µs|ms|s) \(user .*, system .*, throttled .*\)`,
		`memory +[0-9.]+[KM] at most \(anonymous .*, files .*\)`, `OOM kills +0`,
	} {
		assert.Regexp(t, "(?m)^"+row+"$", r.stderr)
	}
	r = do(t, "--stats", "sh", "-c", "kill -9 $$")
	assert.Regexp(t, `(?m)^signal +9 \(killed\)$`, r.stderr)
}

func TestStatsOfPids(t *testing.T) {
	need(t, "--pids", "3")
	r := do(t, "--stats", "--pids", "3", "sh", "-c", "sleep 1 & sleep 1 & sleep 1 & wait")
	assert.Regexp(t, `(?m)^verdict +pids exceeded$`, r.stderr)
	if strings.Contains(r.stderr, "processes") { // the peak is counted since Linux 6.1, on some hierarchies
		assert.Regexp(t, `(?m)^processes +3 at most, [1-9][0-9]* refused$`, r.stderr)
	}
}

func TestPlan(t *testing.T) {
	need(t)
	dir := open(t)
	r := do(t, "--plan", "--hostname", "glass", "-v", dir+":/vol:ro")
	require.Equal(t, 0, r.code, r.stderr)
	assert.Empty(t, r.stderr)
	rest := r.stdout
	for _, step := range []string{ // in this order, among others
		`mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)`,
		`pivot_root(".", ".")`,
		`umount2(".", MNT_DETACH)`,
		`openat2(AT_FDCWD, "vol", {O_PATH, `,
		`move_mount(`,
		`mnt:/proc`,
		`sethostname("glass", 5)`,
		`PR_SET_NO_NEW_PRIVS, 1`,
		`execveat(`,
	} {
		_, after, ok := strings.Cut(rest, step)
		require.True(t, ok, "%s is missing, or too early, in\n%s", step, r.stdout)
		rest = after
	}

	with := do(t, "--plan", "--hostname", "glass", "-v", dir+":/vol:ro", "echo", "ran")
	assert.Equal(t, 0, with.code)
	assert.Equal(t, "ran\n", with.stdout, "the program's output is its own")
	assert.Contains(t, with.stderr, `sethostname("glass", 5)`)
}

func TestReport(t *testing.T) {
	need(t)
	r := do(t, "--report")
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, r.stdout, "enforced: namespaces: user,pid,mount,uts,ipc,net,cgroup\n")
	r = do(t, "--report", "echo", "ran")
	assert.Equal(t, "ran\n", r.stdout)
	assert.Contains(t, r.stderr, "enforced: seccomp: filter of ")
}

func TestSeccompFile(t *testing.T) {
	need(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "profile.json")
	profile := `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]}`
	write(t, file, profile, 0o644)
	assert.Equal(t, 0, do(t, "mkdir", "/tmp/x").code, "the control")
	r := do(t, "--seccomp", file, "mkdir", "/tmp/x")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "quota exceeded") // EDQUOT, which nothing else here gives

	write(t, file, strings.Replace(profile, "mkdirat", "mkdirta", 1), 0o644)
	r = do(t, "--seccomp", file, "true")
	assert.Equal(t, exitRun, r.code)
	assert.Contains(t, r.stderr, "mkdirta")
	r = do(t, "--seccomp", filepath.Join(dir, "none"), "true")
	assert.Equal(t, exitRun, r.code)
	assert.Contains(t, r.stderr, `no such file or directory`)
}

// A policy learnt from one run lets another through, and not a program that does something else.
func TestLearn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.json")
	r := do(t, "--learn", file, "ls", "/usr")
	require.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, r.stderr, "Learnt from 1 run")
	r = do(t, "--seccomp", file, "ls", "/usr/lib")
	assert.Equal(t, 0, r.code, r.stderr)
	r = do(t, "--seccomp", file, "mkdir", "/tmp/x")
	assert.NotEqual(t, 0, r.code)
	assert.Contains(t, r.stderr, "Operation not permitted")
	assert.Equal(t, 0, do(t, "mkdir", "/tmp/x").code, "the control")
	r = do(t, "--learn", "/nonexistent/policy", "true")
	assert.Equal(t, exitRun, r.code)
	assert.Contains(t, r.stderr, "--learn")
}
