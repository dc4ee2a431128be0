package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

// skip skips what this host cannot do, unless the environment says that it must.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal("not exercised: " + why)
	}
	t.Skip("not exercised: " + why)
}

// fakeRunner answers every compilation with a program, and runs cases by a function of their input.
type fakeRunner struct {
	mu      sync.Mutex
	jobs    []job
	running atomic.Int32
	most    atomic.Int32
	compile outcome
	err     error
	run1    func(input string) (outcome, string)
}

func (f *fakeRunner) run(_ context.Context, j job) (outcome, error) {
	f.mu.Lock()
	f.jobs = append(f.jobs, j)
	f.mu.Unlock()
	f.most.Store(max(f.most.Load(), f.running.Add(1)))
	defer f.running.Add(-1)
	if f.err != nil {
		return outcome{}, f.err
	}
	if len(j.keep) > 0 {
		return f.compile, nil
	}
	out, text := f.run1(string(j.stdin))
	_, err := j.stdout.Write([]byte(text))
	return out, err
}

func echoJudge(t *testing.T, f *fakeRunner, cases, slots int) (*judge, string) {
	t.Helper()
	p := &Problem{Limits: limits{time.Second, 2 * time.Second, 64 << 20, 1 << 10, 4}, check: checkTokens}
	for i := range cases {
		text := []byte(strconv.Itoa(i))
		p.Cases = append(p.Cases, problems.Case{Name: "c" + string(text), Input: text, Answer: text})
	}
	set := &toolset{tools: []*toolchain{compiled("c", []string{".c"}, "cc", "-std=c17")}}
	path := filepath.Join(t.TempDir(), "x.c")
	require.NoError(t, os.WriteFile(path, []byte("source"), 0o644))
	if f.compile.verdict == "" {
		f.compile = outcome{verdict: AC, files: []file{{"main", []byte("program"), 0o755}}}
	}
	return newJudge(p, set, f, slots), path
}

func TestJudgeRunsEveryCaseTwoAtATime(t *testing.T) {
	f := &fakeRunner{run1: func(in string) (outcome, string) {
		time.Sleep(time.Millisecond)
		return outcome{verdict: AC}, in
	}}
	j, path := echoJudge(t, f, 20, 2)
	j.factor = 3
	r := j.judge(t.Context(), path)
	assert.Equal(t, AC, r.Verdict, r.Detail)
	assert.Len(t, r.Cases, 20)
	assert.LessOrEqual(t, f.most.Load(), int32(2))
	require.Len(t, f.jobs, 21)
	assert.Equal(t, "source", string(f.jobs[0].files[0].data))
	assert.False(t, f.jobs[0].strict)
	for _, run := range f.jobs[1:] {
		assert.Equal(t, limits{3 * time.Second, 6 * time.Second, 64 << 20, 1 << 10, 4}, run.limits)
		assert.Equal(t, "program", string(run.files[0].data))
		assert.True(t, run.strict)
	}
}

func TestJudgeStopsAtTheFirstFailure(t *testing.T) {
	f := &fakeRunner{run1: func(in string) (outcome, string) {
		switch in {
		case "3":
			time.Sleep(20 * time.Millisecond) // ends after case 4, which fails too
			return outcome{verdict: TLE}, ""
		case "4":
			return outcome{verdict: RE}, ""
		}
		return outcome{verdict: AC}, in
	}}
	j, path := echoJudge(t, f, 20, 2)
	r := j.judge(t.Context(), path)
	assert.Equal(t, TLE, r.Verdict)
	assert.Equal(t, "c3", r.Case)
	assert.Len(t, r.Cases, 4)
	assert.Less(t, len(f.jobs), 20)

	j.all = true
	r = j.judge(t.Context(), path)
	assert.Equal(t, TLE, r.Verdict)
	assert.Len(t, r.Cases, 20)
}

func TestJudgeTellsItsOwnFailures(t *testing.T) {
	f := &fakeRunner{err: errors.New("mount /proc: \x1b")}
	j, path := echoJudge(t, f, 2, 1)
	r := j.judge(t.Context(), path)
	assert.Equal(t, JE, r.Verdict)
	assert.Equal(t, `mount /proc: \x1b`, r.Detail)

	r = j.judge(t.Context(), "none.c")
	assert.Equal(t, JE, r.Verdict)
	r = j.judge(t.Context(), t.TempDir())
	assert.Equal(t, JE, r.Verdict)

	ctx, cancel := context.WithCancel(t.Context())
	f.err, f.run1 = nil, func(in string) (outcome, string) { cancel(); return outcome{verdict: AC}, in }
	r = j.judge(ctx, path)
	assert.Equal(t, JE, r.Verdict)
	assert.Equal(t, "interrupted", r.Detail)
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		out  outcome
		want Verdict
		text string
	}{
		{outcome{verdict: RE, detail: "exit status 1"}, CE, "compiler: RE: exit status 1"},
		{outcome{verdict: MLE, detail: "512M"}, CE, "compiler: MLE: 512M"},
		{outcome{verdict: AC}, CE, "compiler: no program, or one larger than 32M"},
		{outcome{verdict: JE, detail: "canceled"}, JE, "canceled"},
	} {
		j, path := echoJudge(t, &fakeRunner{compile: c.out}, 2, 1)
		r := j.judge(t.Context(), path)
		assert.Equal(t, c.want, r.Verdict)
		assert.Equal(t, c.text, r.Detail)
		assert.Empty(t, r.Cases)
	}
	assert.Equal(t, "main.c:1: no", compileError(outcome{verdict: RE}, "main.c:1: no"))
}

func TestFindToolchain(t *testing.T) {
	set := &toolset{tools: []*toolchain{
		compiled("c++", []string{".cpp", ".cc"}, "cc", ""),
		{name: "java", suffixes: []string{".java"}, missing: "/usr/bin/javac"},
	}}
	tool, err := set.find("a/b.cc", "")
	require.NoError(t, err)
	assert.Equal(t, "c++", tool.name)
	tool, err = set.find("a/b.txt", "c++")
	require.NoError(t, err)
	assert.Equal(t, "c++", tool.name)
	for args, want := range map[[2]string]string{
		{"x.java", ""}:  "java: missing on this host: /usr/bin/javac",
		{"x.rb", ""}:    `x.rb: no language has files named "*.rb"`,
		{"x.cc", "bcp"}: `unknown language "bcp"`,
	} {
		_, err := set.find(args[0], args[1])
		assert.EqualError(t, err, want)
	}
	var b bytes.Buffer
	printLanguages(&b, set)
	assert.Equal(t, "c++   .cpp .cc  ready\njava  .java     missing: /usr/bin/javac\n", b.String())
}

func TestLanguagesGetWhatTheyNeed(t *testing.T) {
	l := limits{CPU: 2 * time.Second, Wall: 5 * time.Second, Memory: 10, Output: 20, Pids: 3}
	tool := &toolchain{time: 1.5, memory: 7, pids: 4}
	assert.Equal(t, limits{3 * time.Second, 6 * time.Second, 17, 20, 7}, tool.allow(l))
	assert.Equal(t, l, (&toolchain{time: 1}).allow(l))
}

func TestCommandLine(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var out, err bytes.Buffer
		return command(t.Context(), args, &out, &err), out.String(), err.String()
	}
	for _, args := range [][]string{
		{},
		{"-nonsense"},
		{"-problem", "problems/roads"},
		{"x.c"},
		{"-problem", "problems/roads", "-j", "0", "x.c"},
		{"-problem", "problems/roads", "-time-factor", "-1", "x.c"},
		{"-problem", "problems/roads", "-time-factor", "nan", "x.c"},
	} {
		code, _, stderr := run(args...)
		assert.Equal(t, exitUsage, code, args)
		assert.Contains(t, stderr, "judge: ", args)
	}
	t.Setenv("JUDGE_TIME_FACTOR", "fast")
	code, _, _ := run("-problem", "problems/roads", "x.c")
	assert.Equal(t, exitUsage, code)
	t.Setenv("JUDGE_TIME_FACTOR", "2.5")
	o, err := parse([]string{"-problem", "p", "x.c"}, &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, 2.5, o.factor)

	code, _, stderr := run("-problem", "problems/none", "x.c")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "problems/none/problem.json")
	code, out, _ := run("-languages")
	assert.Equal(t, exitJudged, code)
	assert.Contains(t, out, "python")

	dir := filepath.Join(t.TempDir(), "cases")
	code, _, stderr = run("-problem", "problems/edits", "-generate", dir)
	assert.Equal(t, exitJudged, code, stderr)
	cases, err := readCases(dir)
	require.NoError(t, err)
	assert.Len(t, cases, 28)

	code, out, stderr = run("-problem", "problems/roads", "-json", "none.c")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, out, `"verdict": "JE"`)
	assert.Contains(t, stderr, "judge: none.c: ")
}
