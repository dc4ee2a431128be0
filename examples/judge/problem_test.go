package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

const small = `{"title": "T", "limits": {"cpu": "1s", "wall": "1.5s", "memory": "64m", "output": "1.5k", "pids": 3}, "checker": {"name": "exact"}}`

func TestParseProblem(t *testing.T) {
	p, gen, err := parseProblem([]byte(small))
	require.NoError(t, err)
	assert.Equal(t, limits{time.Second, 1500 * time.Millisecond, 64 << 20, 1536, 3}, p.Limits)
	assert.Equal(t, "T", p.Title)
	assert.Zero(t, gen)
}

func TestParseProblemRefuses(t *testing.T) {
	limits := func(cpu, memory, pids string) string {
		return `{"limits": {"cpu": "` + cpu + `", "wall": "1s", "memory": "` + memory + `", "output": "1m", "pids": ` + pids + `}, "checker": {"name": "exact"}}`
	}
	for text, want := range map[string]string{
		"":                         "EOF",
		small + "{}":               "something follows the object",
		`{"titel": "T"}`:           `json: unknown field "titel"`,
		`{}`:                       `limits: cpu: time: invalid duration ""`,
		limits("0s", "1m", "1"):    `limits: cpu "0s": want more than 0 and at most an hour`,
		limits("-1s", "1m", "1"):   `limits: cpu "-1s": want more than 0 and at most an hour`,
		limits("9999h", "1m", "1"): `limits: cpu "9999h": want more than 0 and at most an hour`,
		limits("1s", "", "1"):      `limits: memory "": want a size such as 64m`,
		limits("1s", "-1m", "1"):   `limits: memory "-1m": want a size such as 64m`,
		limits("1s", "1e3", "1"):   `limits: memory "1e3": want a size such as 64m`,
		limits("1s", "nan", "1"):   `limits: memory "nan": want a size such as 64m`,
		limits("1s", "0", "1"):     `limits: memory "0" is out of range`,
		limits("1s", "1m", "0"):    "limits: pids 0: want at least 1",
		limits("1s", "99999999999999999999g", "1"): `limits: memory "99999999999999999999g" is out of range`,
	} {
		_, _, err := parseProblem([]byte(text))
		assert.EqualError(t, err, want, text)
	}
	for name, n := range map[string]int{"nobody": 3, "roads": 0, "edits": 1001} {
		assert.Error(t, generatorFile{Name: name, Cases: n}.validate())
	}
}

func FuzzParseProblem(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(`{"limits": {"memory": ".g"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := parseProblem(data)
		if err != nil {
			return
		}
		l := p.Limits
		assert.True(t, l.CPU > 0 && l.Wall > 0 && l.Memory > 0 && l.Output > 0 && l.Pids > 0 && p.check != nil, "%+v", l)
	})
}

func TestLoadProblemTakesCasesInOrder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "problem.json"), []byte(small), 0o644))
	_, err := loadProblem(dir)
	assert.ErrorContains(t, err, "no test case in cases/ and no generator")

	cases := []problems.Case{
		{Name: "01", Input: []byte("a"), Answer: []byte("b")},
		{Name: "02", Input: []byte("c"), Answer: []byte("d")},
	}
	require.NoError(t, writeCases(filepath.Join(dir, "cases"), cases))
	p, err := loadProblem(dir)
	require.NoError(t, err)
	assert.Equal(t, cases, p.Cases)
	assert.Equal(t, filepath.Base(dir), p.Name)

	require.NoError(t, os.Remove(filepath.Join(dir, "cases", "02.out")))
	_, err = loadProblem(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = loadProblem(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// The sample cases were written by hand; the reference solution must agree with them.
func TestSamplesAgreeWithTheReference(t *testing.T) {
	for _, name := range problemNames(t) {
		p, err := loadProblem(filepath.Join("problems", name))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, len(p.Cases), 24, name)
		for _, c := range p.Cases[:2] {
			require.NotContains(t, c.Name, "gen", name)
			answer := problems.Generators[name].Answer(c.Input)
			assert.Empty(t, p.check(c.Input, c.Answer, answer), "%s %s", name, c.Name)
			assert.Empty(t, p.check(c.Input, answer, c.Answer), "%s %s", name, c.Name)
		}
	}
}

func problemNames(t *testing.T) []string {
	files, err := filepath.Glob("problems/*/problem.json")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	require.GreaterOrEqual(t, len(names), 3)
	return names
}
