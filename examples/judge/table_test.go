package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

func sampleReports() (*Problem, []Report) {
	p := &Problem{Name: "sums", Title: "Sums", Limits: limits{CPU: time.Second, Wall: 2 * time.Second, Memory: 64 << 20}}
	p.Cases = make([]problems.Case, 2)
	good := Report{File: "dir/ok.c", Language: "c", Total: 2}
	good.summarise([]CaseReport{
		{Name: "01", Verdict: AC, CPU: 2 * time.Millisecond, Wall: 9 * time.Millisecond, Memory: 900 << 10},
		{Name: "02", Verdict: AC, CPU: 3 * time.Millisecond, Wall: 4 * time.Millisecond, Memory: 1500 << 10},
	})
	bad := Report{File: "dir/wrong.py", Language: "python", Total: 2}
	bad.summarise([]CaseReport{
		{Name: "01", Verdict: AC, CPU: time.Second, Memory: 1 << 30},
		{Name: "02", Verdict: WA, Detail: `line 1: "1", want "2"`, CPU: time.Millisecond, Memory: 12 << 20, Stderr: "note"},
	})
	broken := Report{File: "dir/broken.c", Language: "c", Verdict: CE, Detail: "main.c:1: no\nmain.c:2: never", Total: 2}
	lost := Report{File: "x.rb", Verdict: JE, Detail: "x.rb: no language", Total: 2}
	return p, []Report{good, bad, broken, lost}
}

func TestTable(t *testing.T) {
	p, reports := sampleReports()
	var b bytes.Buffer
	require.NoError(t, printTable(&b, p, reports, false))
	assert.Equal(t, strings.TrimPrefix(`
Sums: 2 cases, 1s CPU, 2s wall, 64M memory

SUBMISSION  LANGUAGE  VERDICT  CASE  CPU     WALL    MEMORY
ok.c        c         AC       2/2   0.003s  0.009s  1.5M
wrong.py    python    WA       02    0.001s  0.000s  12M     line 1: "1", want "2"
broken.c    c         CE       -     -       -       -       main.c:1: no
x.rb        -         JE       -     -       -       -       x.rb: no language

broken.c:
  main.c:1: no
  main.c:2: never
`, "\n"), b.String())
}

func TestVerboseTableShowsEveryCase(t *testing.T) {
	p, reports := sampleReports()
	var b bytes.Buffer
	require.NoError(t, printTable(&b, p, reports, true))
	assert.Regexp(t, `(?m)^\s+AC\s+01\s+0\.002s\s+0\.009s\s+900k`, b.String())
	assert.Regexp(t, `(?m)^\s+WA\s+02\s+0\.001s\s+0\.000s\s+12M\s+line 1: "1", want "2"\n\s+\| note$`, b.String())
}

func TestJSON(t *testing.T) {
	p, reports := sampleReports()
	var b bytes.Buffer
	require.NoError(t, printJSON(&b, p, reports))
	var got struct {
		Problem, Title string
		Submissions    []map[string]any
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	assert.Equal(t, "sums", got.Problem)
	require.Len(t, got.Submissions, 4)
	assert.Equal(t, "AC", got.Submissions[0]["verdict"])
	assert.NotContains(t, got.Submissions[0], "case")
	assert.Equal(t, "02", got.Submissions[1]["case"])
	second := got.Submissions[1]["cases"].([]any)[1].(map[string]any)
	assert.Equal(t, "WA", second["verdict"])
	assert.EqualValues(t, 1e6, second["cpu_ns"])
	assert.EqualValues(t, 12<<20, second["peak_bytes"])
}

func TestFirstFailureDecides(t *testing.T) {
	var r Report
	r.summarise([]CaseReport{{Name: "1", Verdict: AC}, {Name: "2", Verdict: TLE, Detail: "cpu"}, {Name: "3", Verdict: WA}})
	assert.Equal(t, TLE, r.Verdict)
	assert.Equal(t, "2", r.Case)
	assert.Equal(t, "cpu", r.Detail)
	assert.Equal(t, 1, r.passed())
}

func TestScoreAsksTheCheckerOnlyAfterTheKernel(t *testing.T) {
	p := &Problem{check: checkTokens}
	c := problems.Case{Name: "1", Answer: []byte("5")}
	assert.Equal(t, AC, score(p, c, outcome{verdict: AC}, []byte("5"), nil).Verdict)
	assert.Equal(t, WA, score(p, c, outcome{verdict: AC}, []byte("6"), nil).Verdict)
	for _, v := range []Verdict{TLE, MLE, RE, OLE, SE, JE} {
		assert.Equal(t, v, score(p, c, outcome{verdict: v}, []byte("5"), nil).Verdict)
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0k", 1 << 19: "512k", 3 << 19: "1.5M", 64 << 20: "64M", 3 << 30: "3072M"} {
		assert.Equal(t, want, formatSize(n))
	}
}
