package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

// Problem is a problem folder, read.
type Problem struct {
	Name      string
	Title     string
	Statement string
	Limits    limits
	Cases     []problems.Case
	check     problems.Checker
}

// limits bound one run of a program.
type limits struct {
	CPU    time.Duration // of all its processes together
	Wall   time.Duration
	Memory int64 // bytes
	Output int64 // bytes, on stdout and stderr together
	Pids   int   // processes and threads at a time
}

// problemFile is problem.json.
type problemFile struct {
	Title     string        `json:"title"`
	Statement string        `json:"statement"`
	Limits    limitsFile    `json:"limits"`
	Checker   checkerFile   `json:"checker"`
	Generator generatorFile `json:"generator"`
}

type limitsFile struct {
	CPU    string `json:"cpu"`
	Wall   string `json:"wall"`
	Memory string `json:"memory"`
	Output string `json:"output"`
	Pids   int    `json:"pids"`
}

type checkerFile struct {
	Name string  `json:"name"`
	Eps  float64 `json:"eps"`
}

type generatorFile struct {
	Name  string `json:"name"`
	Seed  uint64 `json:"seed"`
	Cases int    `json:"cases"`
}

// loadProblem reads a problem folder: problem.json, the cases that stand in cases/, and after them the generated ones.
func loadProblem(dir string) (*Problem, error) {
	path := filepath.Join(dir, "problem.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, gen, err := parseProblem(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p.Name = filepath.Base(abs)
	if p.Cases, err = readCases(filepath.Join(dir, "cases")); err != nil {
		return nil, err
	}
	if gen.Name != "" {
		p.Cases = append(p.Cases, problems.Generators[gen.Name].Cases(gen.Seed, gen.Cases)...)
	}
	if len(p.Cases) == 0 {
		return nil, fmt.Errorf("%s: no test case in cases/ and no generator", path)
	}
	return p, nil
}

func parseProblem(data []byte) (*Problem, generatorFile, error) {
	var f problemFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelt limit must not be no limit
	if err := d.Decode(&f); err != nil {
		return nil, f.Generator, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, f.Generator, errors.New("something follows the object")
	}
	p := &Problem{Title: f.Title, Statement: f.Statement}
	var err error
	if p.Limits, err = f.Limits.parse(); err != nil {
		return nil, f.Generator, err
	}
	if p.check, err = f.Checker.find(); err != nil {
		return nil, f.Generator, err
	}
	return p, f.Generator, f.Generator.validate()
}

func (g generatorFile) validate() error {
	if g == (generatorFile{}) {
		return nil
	}
	if _, ok := problems.Generators[g.Name]; !ok {
		return fmt.Errorf("generator: unknown name %q", g.Name)
	}
	if g.Cases < 1 || g.Cases > 1000 {
		return fmt.Errorf("generator: cases %d: want 1 to 1000", g.Cases)
	}
	return nil
}

func (f limitsFile) parse() (limits, error) {
	var l limits
	var err error
	if l.CPU, err = parseDuration("cpu", f.CPU); err != nil {
		return l, err
	}
	if l.Wall, err = parseDuration("wall", f.Wall); err != nil {
		return l, err
	}
	if l.Memory, err = parseSize("memory", f.Memory); err != nil {
		return l, err
	}
	if l.Output, err = parseSize("output", f.Output); err != nil {
		return l, err
	}
	if f.Pids < 1 {
		return l, fmt.Errorf("limits: pids %d: want at least 1", f.Pids)
	}
	l.Pids = f.Pids
	return l, nil
}

func parseDuration(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("limits: %s: %w", name, err)
	}
	if d <= 0 || d > time.Hour {
		return 0, fmt.Errorf("limits: %s %q: want more than 0 and at most an hour", name, text)
	}
	return d, nil
}

// parseSize reads bytes in docker's manner: 512k, 64m, 1.5g.
func parseSize(name, text string) (int64, error) {
	units := map[string]float64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
	number, unit := text, 1.0
	if len(text) > 0 {
		if u, ok := units[strings.ToLower(text[len(text)-1:])]; ok {
			number, unit = text[:len(text)-1], u
		}
	}
	if strings.Trim(number, "0123456789.") != "" { // no signs, exponents, "inf" or "nan"
		return 0, fmt.Errorf("limits: %s %q: want a size such as 64m", name, text)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("limits: %s %q: want a size such as 64m", name, text)
	}
	if n *= unit; n < 1 || n > math.MaxInt64/2 {
		return 0, fmt.Errorf("limits: %s %q is out of range", name, text)
	}
	return int64(n), nil
}

// readCases reads the pairs NAME.in and NAME.out of a folder, in the order of their names. No folder: no cases.
func readCases(dir string) ([]problems.Case, error) {
	inputs, err := filepath.Glob(filepath.Join(dir, "*.in"))
	if err != nil {
		return nil, err
	}
	slices.Sort(inputs)
	var cases []problems.Case
	for _, path := range inputs {
		base := strings.TrimSuffix(path, ".in")
		c := problems.Case{Name: filepath.Base(base)}
		if c.Input, err = os.ReadFile(path); err != nil {
			return nil, err
		}
		if c.Answer, err = os.ReadFile(base + ".out"); err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// writeCases writes cases in the form readCases reads.
func writeCases(dir string, cases []problems.Case) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range cases {
		base := filepath.Join(dir, c.Name)
		if err := os.WriteFile(base+".in", c.Input, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(base+".out", c.Answer, 0o644); err != nil {
			return err
		}
	}
	return nil
}
