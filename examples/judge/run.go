package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

// job is one run of one program, in a sandbox of its own.
type job struct {
	argv    []string
	env     []string
	files   []file // put into /box before the run
	binds   []bind
	limits  limits
	box     string // size of /box; empty: the sandbox's default
	strict  bool   // end the run at a refused system call, instead of an EPERM for the program
	stdin   []byte
	stdout  *capped
	stderr  *capped
	keep    []string // patterns below /box to bring out
	keepMax int64    // bytes, all together
}

// file is a file in /box.
type file struct {
	name string
	data []byte
	mode os.FileMode
}

// bind makes a folder of the host visible, read-only.
type bind struct{ from, to string }

// outcome is the end of a job. A verdict of AC says only that the program ended well within its limits.
type outcome struct {
	verdict   Verdict
	detail    string
	cpu, wall time.Duration
	memory    int64 // peak, bytes
	files     []file
}

// runner runs jobs. An error means that the sandbox failed, not the program.
type runner interface {
	run(ctx context.Context, j job) (outcome, error)
}

// judge judges submissions to one problem. Its methods may be called from several goroutines: they share the slots.
type judge struct {
	problem  *Problem
	tools    *toolset
	runner   runner
	slots    chan struct{}
	factor   float64 // of all time limits
	all      bool    // go on after a failed case
	language string  // overrides the file's name
	progress *progress
}

func newJudge(p *Problem, tools *toolset, r runner, slots int) *judge {
	return &judge{problem: p, tools: tools, runner: r, slots: make(chan struct{}, slots), factor: 1}
}

// judge compiles a submission and runs it against the cases.
func (j *judge) judge(ctx context.Context, path string) Report {
	r := Report{File: path, Verdict: JE, Total: len(j.problem.Cases), Cases: []CaseReport{}}
	source, err := readSource(path)
	if err != nil {
		r.Detail = err.Error()
		return r
	}
	tool, err := j.tools.find(path, j.language)
	if err != nil {
		r.Detail = err.Error()
		return r
	}
	r.Language = tool.name
	j.progress.name(filepath.Base(path))
	prog := j.compile(ctx, tool, source, &r)
	if prog == nil {
		return r
	}
	r.summarise(j.runCases(ctx, tool, prog))
	if ctx.Err() != nil {
		r.Verdict, r.Detail = JE, "interrupted"
	}
	return r
}

func readSource(path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes of source: want at most %d", path, info.Size(), most)
	}
	return os.ReadFile(path)
}

// runCases starts the cases in order and returns those up to the first that failed, in order; or all.
func (j *judge) runCases(ctx context.Context, tool *toolchain, prog []file) []CaseReport {
	reports := make([]CaseReport, len(j.problem.Cases))
	var failed atomic.Bool
	var wg sync.WaitGroup
	for i, c := range j.problem.Cases {
		j.slots <- struct{}{}
		if failed.Load() || ctx.Err() != nil {
			<-j.slots
			break
		}
		wg.Go(func() {
			defer func() { <-j.slots }()
			reports[i] = j.runCase(ctx, tool, prog, c)
			if reports[i].Verdict != AC && !j.all {
				failed.Store(true)
			}
			j.progress.step()
		})
	}
	wg.Wait()
	return j.decisive(reports)
}

// decisive leaves out what came after the first failed case: whether a case was under way by then depends on timing.
func (j *judge) decisive(reports []CaseReport) []CaseReport {
	for i, r := range reports {
		if r.Verdict == "" {
			return reports[:i]
		}
		if r.Verdict != AC && !j.all {
			return reports[:i+1]
		}
	}
	return reports
}

func (j *judge) runCase(ctx context.Context, tool *toolchain, prog []file, c problems.Case) CaseReport {
	l := tool.allow(j.problem.Limits).scale(j.factor)
	run := job{
		argv: tool.run(j.problem.Limits), env: runEnv(), files: prog, binds: tool.binds,
		limits: l, strict: true, stdin: c.Input,
		stdout: &capped{left: int(l.Output)}, stderr: &capped{left: 4096},
	}
	out, err := j.runner.run(ctx, run)
	if err != nil {
		return CaseReport{Name: c.Name, Verdict: JE, Detail: plain([]byte(err.Error()))}
	}
	return score(j.problem, c, out, run.stdout.buf.Bytes(), run.stderr.buf.Bytes())
}

func runEnv() []string {
	return []string{"PATH=/usr/bin:/bin", "HOME=/box", "LANG=C.UTF-8"}
}

// scale multiplies the times.
func (l limits) scale(factor float64) limits {
	l.CPU = time.Duration(float64(l.CPU) * factor)
	l.Wall = time.Duration(float64(l.Wall) * factor)
	return l
}
