package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSubmissions judges every submission of every problem and holds the verdicts against expected.json. What the
// hostile ones print when they get what they are after is in hostileMarks; that they would get it without a sandbox is
// shown by TestHostileSubmissionsWorkOutside.
func TestSubmissions(t *testing.T) {
	needSandbox(t)
	set, err := newToolset()
	require.NoError(t, err)
	t.Cleanup(func() { set.close() })
	factor := timeFactor(t)
	small := testing.Short() || factor > 4
	if small {
		// A loop tells little of an emulated machine, whose processors also wait for the host's and count that as work.
		factor = max(factor, 10)
	}
	t.Logf("time factor %.1f, small: %v", factor, small)

	world := newOutside(t)
	slots := make(chan struct{}, 2)
	for _, name := range problemNames(t) {
		p, err := loadProblem(filepath.Join("problems", name))
		require.NoError(t, err)
		for file, want := range expected(t, name) {
			t.Run(name+"/"+file, func(t *testing.T) {
				if small && !inSmall(file) {
					t.Skip("the small run judges C and Python, without what needs the large cases to fail")
				}
				t.Parallel()
				run := &spy{runner: sandboxRunner{}}
				j := newJudge(p, set, run, 2)
				j.slots, j.factor = slots, factor
				switch {
				case small:
					j.problem = firstCases(p, 14)
				case slowToRun(file) && os.Getenv("BELLJAR_PROOFS") == "":
					j.problem = everyThird(p)
				}
				if strings.HasPrefix(file, "hostile_") && slices.Contains(want, TLE) {
					// It reaches any limit of time, so nobody has to wait for it longer on a slow machine.
					j.problem = impatient(j.problem, factor)
				}
				j.all = file == "hostile_keep.py" // has to meet its own traces
				judgeAndCompare(t, j, world, filepath.Join("problems", name, "submissions", file), want)
				run.noMarks(t)
			})
		}
	}
}

func judgeAndCompare(t *testing.T, j *judge, world *outside, path string, want []Verdict) {
	t.Helper()
	source := world.fill(t, path)
	tool, err := j.tools.find(source, "")
	if err != nil {
		skip(t, err.Error())
	}
	start := time.Now()
	r := j.judge(t.Context(), source)
	log := func() {
		t.Logf("%s %s %s (%s, %v)", r.Verdict, r.Case, strings.ReplaceAll(r.Detail, "\n", " | "), tool.name, time.Since(start).Round(time.Millisecond))
	}
	log()
	// A machine that does much else at the same time makes a program slower than it was when the factor was found.
	for j.factor < 50 && (r.Verdict == TLE || strings.HasPrefix(r.Detail, "compiler: TLE")) && !slices.Contains(want, r.Verdict) {
		j.factor *= 4
		r = j.judge(t.Context(), source)
		log()
	}
	assert.Contains(t, want, r.Verdict, "%s", r.Detail)
	world.unharmed(t)
	world.unseen(t, r)
}

// inSmall picks what a slow machine can judge: no slow compilers, and nothing that only a large case shows.
func inSmall(file string) bool {
	if ext := filepath.Ext(file); ext != ".c" && ext != ".py" {
		return false
	}
	return !strings.HasPrefix(file, "slow_") && !strings.HasPrefix(file, "hog_")
}

func firstCases(p *Problem, n int) *Problem {
	few := *p
	few.Cases = p.Cases[:min(n, len(p.Cases))]
	return &few
}

// slowToRun picks solutions that take a second and more for all cases together, of which most is the start of their programs.
func slowToRun(file string) bool { return file == "ok.java" || file == "ok.py" || file == "ok.go" }

// everyThird is of all sizes, the largest too, which come last.
func everyThird(p *Problem) *Problem {
	few := *p
	few.Cases = nil
	for i := len(p.Cases) - 1; i >= 0; i -= 3 {
		few.Cases = append(few.Cases, p.Cases[i])
	}
	slices.Reverse(few.Cases)
	return &few
}

func impatient(p *Problem, factor float64) *Problem {
	quick := *p
	quick.Limits = p.Limits.scale(1 / factor)
	return &quick
}

// expected reads a problem's expected.json and makes sure that it and the folder name the same submissions.
func expected(t *testing.T, problem string) map[string][]Verdict {
	t.Helper()
	dir := filepath.Join("problems", problem)
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	require.NoError(t, err)
	var all map[string][]Verdict
	require.NoError(t, json.Unmarshal(data, &all))
	entries, err := os.ReadDir(filepath.Join(dir, "submissions"))
	require.NoError(t, err)
	var files, named []string
	for _, e := range entries {
		files = append(files, e.Name())
	}
	for name, verdicts := range all {
		require.NotEmpty(t, verdicts, name)
		named = append(named, name)
	}
	slices.Sort(named)
	require.Equal(t, files, named, "%s: submissions and expected.json", problem)
	return all
}

// spy keeps what the jobs printed.
type spy struct {
	runner
	mu     sync.Mutex
	output bytes.Buffer
}

func (s *spy) run(ctx context.Context, j job) (outcome, error) {
	out, err := s.runner.run(ctx, j)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.output.Write(j.stdout.buf.Bytes())
	s.output.Write(j.stderr.buf.Bytes())
	return out, err
}

func (s *spy) noMarks(t *testing.T) {
	t.Helper()
	for line := range bytes.Lines(s.output.Bytes()) {
		for _, mark := range hostileMarks {
			if bytes.HasPrefix(line, []byte(mark)) {
				assert.Fail(t, "a hostile submission succeeded", "%.200q", line)
			}
		}
	}
}

// timeFactor is how much slower than the machine the limits were made for this one is: all time limits are multiplied by
// it. It is rounded up, so that a busy machine gets some room.
func timeFactor(t *testing.T) float64 {
	if text := os.Getenv("JUDGE_TIME_FACTOR"); text != "" {
		var f float64
		_, err := fmt.Sscan(text, &f)
		require.NoError(t, err)
		return f
	}
	const reference = 120 * time.Millisecond
	best := time.Hour
	for range 3 {
		start := time.Now()
		x := uint64(start.UnixNano())
		for range 100_000_000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		if best = min(best, time.Since(start)); x == 0 {
			t.Log(x) // keeps the loop
		}
	}
	return max(1, float64(2*best/reference)/2)
}

// needSandbox skips where no sandbox can be made at all, and says why.
func needSandbox(t *testing.T) {
	t.Helper()
	j := job{
		argv: []string{"/bin/true"}, limits: limits{time.Minute, time.Minute, 64 << 20, 1 << 20, 8},
		stdout: &capped{}, stderr: &capped{},
	}
	if _, err := (sandboxRunner{}).run(t.Context(), j); err != nil {
		skip(t, "no sandbox on this host: "+err.Error())
	}
}
