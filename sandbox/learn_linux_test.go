package sandbox

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// lesson is a program with two inputs, of which one is learnt from.
type lesson struct {
	tool         string // of which the test depends
	argv         []string
	file         string // that the inputs are in
	first, other string
	out          string // what the other one prints
	stop         string // a program that does something else, for the same command
	stopped      string // in what that prints
}

var lessons = map[string]lesson{
	"gcc": {
		"/usr/bin/gcc",
		[]string{"/bin/sh", "-c", "gcc -O1 -o /box/a /in/a.c && /box/a"},
		"a.c",
		"int main(void) { return 0; }",
		"#include <stdio.h>\n#include <math.h>\nstatic int f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\nint main(void) { printf(\"%d\\n\", f(20)); return 0; }",
		"6765",
		"#include <stdio.h>\n#include <errno.h>\n#include <sys/socket.h>\nint main(void) { int s = socket(AF_INET, SOCK_STREAM, 0); printf(\"%d %d\\n\", s, errno); return 0; }",
		"-1 1",
	},
	"python3": {
		"/usr/bin/python3",
		[]string{"/usr/bin/python3", "-c", "exec(open('/in/a.py').read())"},
		"a.py",
		"print(sum(range(10)))",
		"d = {}\nfor i in range(100000): d[str(i)] = [i]\nprint(len(d), max(d))",
		"100000 99999",
		"import os\ntry:\n    os.mkdir('/box/d'); print('made')\nexcept PermissionError as e: print('refused', e.errno)",
		"refused 1",
	},
	"node": {
		"/usr/bin/node",
		[]string{"/usr/bin/node", "/in/a.js"},
		"a.js",
		"console.log(1 + 1)",
		"let a = []; for (let i = 0; i < 100000; i++) a.push(i * i); console.log(a.filter(x => x % 2).length)",
		"50000",
		"try { require('child_process').execFileSync('/bin/true'); console.log('ran') } catch (e) { console.log('refused', e.code) }",
		"refused EPERM",
	},
	"sqlite3": {
		"/usr/bin/sqlite3",
		[]string{"/bin/sh", "-c", "exec sqlite3 /box/db </in/a.sql"},
		"a.sql",
		"create table t (a); insert into t values (1); select * from t;",
		"create table u (a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) insert into u select x, hex(x) from c; create index i on u (b); delete from u where a % 2; select count(*) from u; vacuum;",
		"10000",
		".shell echo ran",
		"",
	},
}

func TestLearn(t *testing.T) {
	t.Parallel()
	answered(t)
	if testing.Short() {
		t.Skip("slow: every call of the programs is asked about")
	}
	for name, l := range lessons {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needsTool(t, l.tool)
			dir := t.TempDir()
			require.NoError(t, os.Chmod(dir, 0o755))
			put := func(text string) { require.NoError(t, os.WriteFile(filepath.Join(dir, l.file), []byte(text), 0o644)) }
			bind := WithBind(dir, "/in", rootfs.BindReadOnly)

			put(l.first)
			learned, err := seccomp.Learn(inTime(t), Trial(l.argv, bind))
			require.NoError(t, err, learned.Report())
			text, err := learned.Policy().Marshal()
			require.NoError(t, err)
			policy, err := seccomp.Parse(bytes.NewReader(text))
			require.NoError(t, err)
			t.Logf("%s", learned.Report())

			run := func(input string) (string, *Result) {
				put(input)
				var b bytes.Buffer
				c := standing(t, bind, WithSeccomp(policy)).Command(l.argv[0], l.argv[1:]...)
				c.Stdout, c.Stderr = &b, &b
				res, err := c.Run(inTime(t))
				require.NoError(t, err)
				return strings.TrimSpace(b.String()), res
			}
			out, res := run(l.other)
			assert.Equal(t, l.out, out)
			assert.Equal(t, OK, res.Verdict)
			// The control: what it was not seen to do it cannot.
			out, _ = run(l.stop)
			assert.Contains(t, out, l.stopped)
			assert.NotContains(t, out, "ran")
			put(l.stop)
			c := standing(t, bind).Command(l.argv[0], l.argv[1:]...)
			free, err := c.Output(inTime(t))
			require.NoError(t, err)
			assert.NotContains(t, string(free), "refused")
			assert.NotContains(t, string(free), "-1")
		})
	}
}

// What the base refuses is noted and not executed.
func TestLearnIsNoMoreThanRunning(t *testing.T) {
	t.Parallel()
	answered(t)
	learned, err := seccomp.Learn(inTime(t), TrialFunc(func(ctx context.Context, sb *Sandbox) error {
		assert.Equal(t, "EPERM", values(play(t, sb, "calls"))["unshare"])
		return nil
	}, asVictim(t)))
	require.NoError(t, err)
	uses := map[string]seccomp.Use{}
	for _, u := range learned.Uses() {
		uses[u.String()] = u
	}
	u, ok := uses["unshare(CLONE_NEWUSER)"]
	require.True(t, ok, "%v", learned.Report())
	assert.False(t, u.Allowed())
	assert.Contains(t, learned.Report(), "unshare(CLONE_NEWUSER): 1 time, refused. A new user namespace")
	prog, err := learned.Policy().Compile()
	require.NoError(t, err)
	assert.Equal(t, seccomp.Errno(syscall.EPERM), prog.Decide(u.First))

	// A run that fails says which.
	_, err = seccomp.Learn(inTime(t), Trial([]string{"/bin/true"}), Trial([]string{"/bin/false"}))
	assert.ErrorContains(t, err, "trial 2: exit status 1")
	var e *ExitError
	assert.ErrorAs(t, err, &e)
	// A filter beside the learner's is a contradiction.
	_, err = seccomp.Learn(inTime(t), Trial([]string{"/bin/true"}, killing()))
	assert.ErrorIs(t, err, ErrInvalid)
	// What dies under observation reads as it does otherwise.
	_, err = seccomp.Learn(inTime(t), Trial([]string{"/bin/sh", "-c", "kill -SEGV $$"}))
	require.ErrorAs(t, err, &e)
	assert.Equal(t, unix.SIGSEGV, e.Signal)
}
