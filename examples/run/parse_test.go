package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"-it", "--stats", "--", "sh", "-c", "x"},
		{"-ti", "--stats=true", "sh", "-c", "x"},
		{"-i", "-t", "--stats", "sh", "-c", "x"},
		{"-i=true", "--tty=true", "--stats", "--rm", "--read-only", "sh", "-c", "x"},
	} {
		r, err := parse(args)
		require.NoError(t, err, args)
		assert.True(t, r.stdin && r.tty && r.stats, args)
		assert.Equal(t, []string{"sh", "-c", "x"}, r.command, args)
	}
	// Values: behind a blank, an equals sign, or the letter.
	for _, args := range [][]string{
		{"-e", "A=b=c", "-m", "50m"},
		{"-eA=b=c", "-m50m"},
		{"-e=A=b=c", "-m=50m"},
		{"--env=A=b=c", "--memory=50m"},
		{"--env", "A=b=c", "--memory", "50m"},
		{"-ieA=b=c", "-im50m"},
	} {
		r, err := parse(append(args, "p"))
		require.NoError(t, err, args)
		assert.Equal(t, map[string]string{"A": "b=c"}, r.env, args)
		assert.Equal(t, int64(50<<20), r.memory, args)
		assert.Equal(t, []string{"p"}, r.command, args)
	}
	// The program's flags are its own, -- included, and a lone hyphen is no flag.
	r, err := parse([]string{"cat", "-i", "--help", "--", "-m"})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "-i", "--help", "--", "-m"}, r.command)
	r, err = parse([]string{"-", "x"})
	require.NoError(t, err)
	assert.Equal(t, []string{"-", "x"}, r.command)
	r, err = parse([]string{"--", "--memory"})
	require.NoError(t, err)
	assert.Equal(t, []string{"--memory"}, r.command)
}

// TestBadFlags: each mistake has a line of its own, names the flag as it was written, and exits with 125. None needs a sandbox.
func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", `no program to run`},
		{"--stats", `no program to run`},
		{"--", `no program to run`},
		{"--nonsense p", `unknown flag: --nonsense`},
		{"--nonsense=1 p", `unknown flag: --nonsense`},
		{"-x p", `unknown flag: -x in -x`},
		{"-itx p", `unknown flag: -x in -itx`},
		{"--=1 p", `unknown flag: --`},
		{"--memory", `--memory needs a value: SIZE`},
		{"-m", `-m needs a value: SIZE`},
		{"-im", `-m needs a value: SIZE`},
		{"--tty=maybe p", `--tty "maybe": is a switch: true or false`},
		{"-t=1 p", `-t "1": is a switch: true or false`},
		{"-m 50x p", `--memory "50x": is no size such as 512k, 50m or 1.5g`},
		{"-m -5 p", `--memory "-5": is negative`},
		{"-m 1k p", `--memory "1k": is less than the 512k that loading any program takes`},
		{"-m 5m -m 6m p", `--memory "6m": was given before with another value, "5m"`},
		{"--memory-swap 5m p", `--memory-swap "5m": needs --memory`},
		{"--memory-swap 5m -m 6m p", `--memory-swap "5m": is less than --memory, which it includes`},
		{"--memory-swap x -m 6m p", `--memory-swap: size "x" is no size such as 512k, 50m or 1.5g`},
		{"--cpus half p", `--cpus "half": is no number of CPUs`},
		{"--cpus 0 p", `--cpus "0": is not positive`},
		{"--cpus NaN p", `--cpus "NaN": is no number of CPUs`},
		{"--pids many p", `--pids "many": is no number of processes`},
		{"--pids-limit 0 p", `--pids "0": is not positive`},
		{"--time-limit 10 p", `--time-limit "10": is no time such as 500ms, 2s or 1m30s`},
		{"--cpu-time -1s p", `--cpu-time "-1s": is not positive`},
		{"--output none p", `--output "none": is no size such as 512k, 50m or 1.5g`},
		{"--ulimit nofile p", `--ulimit "nofile": is not of the form NAME=SOFT or NAME=SOFT:HARD, with numbers or unlimited`},
		{"--ulimit files=1 p", `--ulimit "files 1 1": names no resource`},
		{"-v /a p", `-v "/a": is not of the form SRC:DST or SRC:DST:ro`},
		{"-v :/a p", `-v ":/a": is not of the form SRC:DST or SRC:DST:ro`},
		{"-v /a:/b:c:d p", `-v "/a:/b:c:d": is not of the form SRC:DST or SRC:DST:ro`},
		{"--volume /a:/b:wr p", `--volume "/a:/b:wr": "wr" is none of ro, rw and noexec`},
		{"-v /a:b p", `--volume "b": `},
		{"-v /usr:/proc/x p", `--volume "/proc/x": is in /proc, which has to be the kernel's`},
		{"--tmpfs x p", `--tmpfs "x": `},
		{"--tmpfs /x:big p", `--tmpfs "big": has an unknown unit: b, k, m, g, t or p`},
		{"--rootfs= p", `--rootfs: is empty`},
		{"-h - p", `--hostname "-": begins or ends with a dot or a hyphen`},
		{"--net bridge p", `--net "bridge": is neither none nor host`},
		{"--read-only=false p", `--read-only "false": the root is always read-only: give room to write with -v or --tmpfs`},
		{"--rm=false p", `--rm "false": nothing of a sandbox is ever kept: keep files in a volume`},
		{"-e =x p", `-e "=x": has no name`},
		{"-w x p", `--workdir "x": `},
		{"-u root p", `-u "root": is not of the form UID or UID:GID, with numbers`},
		{"-u 1:2:3 p", `-u "1:2:3": is not of the form UID or UID:GID, with numbers`},
		{"-u -1 p", `--user "-1 -1": has an id that is not between 0 and 2147483647`},
		{"-u 4294967296 p", `--user "4294967296 4294967296": has an id that is not between 0 and 2147483647`},
		{"--group-add wheel p", `--group-add "wheel": is no number of a group`},
		{"--cap-add FLY p", `--cap-add "FLY": "FLY" is no capability`},
		{"--add-host db p", `--add-host "db": is not of the form NAME:IP`},
		{"--add-host db:x p", `--add-host "x": is no IP address`},
		{"--seccomp /nosuch p", `--seccomp "/nosuch": no such file or directory`},
		{"--name a/b p", `--name "a/b": has a character that is no letter, digit, dot, hyphen or underscore, or does not begin with a letter or digit`},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := capture(t, strings.Fields(c.args)...)
			assert.Equal(t, exitRun, code)
			assert.Empty(t, stdout)
			assert.True(t, strings.HasPrefix(stderr, "run: "+c.want), stderr)
			assert.LessOrEqual(t, strings.Count(stderr, "\n"), 2, stderr)
		})
	}
}

func TestHelp(t *testing.T) {
	code, help, stderr := capture(t, "--help")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Contains(t, help, "-m, --memory SIZE")
	assert.Contains(t, help, "run -it -- /bin/sh")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, f := range flags {
		for _, name := range slices.DeleteFunc([]string{f.long, f.short, f.also}, func(s string) bool { return s == "" }) {
			assert.False(t, seen[name], "%s stands for two flags", name)
			seen[name] = true
		}
		assert.Contains(t, help, "--"+f.long)
		assert.Contains(t, string(readme), "`--"+f.long, "README.md has every flag")
		assert.True(t, (f.value == "") == (f.set == nil) && (f.value == "") == (f.turn != nil), f.long)
	}
	code, text, _ := capture(t, "--version")
	assert.Equal(t, 0, code)
	assert.Regexp(t, `^run \S`, text)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"-it -- sh", "-m50m --cpus=0.5 --pids 20 -v a:b:ro x -y", "--ulimit nofile=1:2 -u 1:2 -- -", "-e=A --tmpfs /x:size=1m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "seccomp") {
			t.Skip() // opens files
		}
		args := strings.Fields(line)
		r, err := parse(args)
		if err != nil {
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		// The program's words are the last ones, unchanged.
		assert.Equal(t, append([]string{}, args[len(args)-len(r.command):]...), append([]string{}, r.command...))
		_ = r.sandboxOptions("xterm")
	})
}

// capture runs the command within the test's own process, which is safe as long as no sandbox is made.
func capture(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	in, out, errs := open("in"), open("out"), open("err")
	code = command(args, in, out, errs)
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		return string(bytes.ToValidUTF8(b, []byte("?")))
	}
	return code, read(out), read(errs)
}
