package main

import (
	"time"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

// Verdict is a judge's word on a submission or on one case.
type Verdict string

// The verdicts.
const (
	AC  Verdict = "AC"  // accepted
	WA  Verdict = "WA"  // wrong answer
	TLE Verdict = "TLE" // time limit exceeded, CPU or wall
	MLE Verdict = "MLE" // memory limit exceeded
	RE  Verdict = "RE"  // runtime error: exit status, signal, too many processes, full disk
	OLE Verdict = "OLE" // output limit exceeded
	CE  Verdict = "CE"  // compile error
	SE  Verdict = "SE"  // security: a refused system call
	JE  Verdict = "JE"  // the judge failed, not the submission
)

// Report is what the judge says about one submission.
type Report struct {
	File     string       `json:"file"`
	Language string       `json:"language"`
	Verdict  Verdict      `json:"verdict"`
	Case     string       `json:"case,omitempty"`   // the first that failed
	Detail   string       `json:"detail,omitempty"` // why; may have several lines
	Compile  *CaseReport  `json:"compile,omitempty"`
	Cases    []CaseReport `json:"cases"`
	Total    int          `json:"total"` // cases of the problem; fewer are run when one fails
}

// CaseReport is what the judge says about one run.
type CaseReport struct {
	Name    string        `json:"name"`
	Verdict Verdict       `json:"verdict"`
	Detail  string        `json:"detail,omitempty"`
	Stderr  string        `json:"stderr,omitempty"` // its first lines
	CPU     time.Duration `json:"cpu_ns"`
	Wall    time.Duration `json:"wall_ns"`
	Memory  int64         `json:"peak_bytes"`
}

// score turns the end of one run into the case's report: the kernel's word first, then the checker's.
func score(p *Problem, c problems.Case, out outcome, stdout, stderr []byte) CaseReport {
	r := out.report(c.Name)
	r.Stderr = firstLines(stderr, 5)
	if r.Verdict == AC {
		if why := p.check(c.Input, c.Answer, stdout); why != "" {
			r.Verdict, r.Detail = WA, why
		}
	}
	return r
}

// report without a checker's word.
func (out outcome) report(name string) CaseReport {
	return CaseReport{
		Name: name, Verdict: out.verdict, Detail: out.detail,
		CPU: out.cpu, Wall: out.wall, Memory: out.memory,
	}
}

// summarise sets the submission's verdict: the first failing case in the problem's order decides, whatever order they ended in.
func (r *Report) summarise(cases []CaseReport) {
	r.Verdict, r.Cases = AC, cases
	for _, c := range cases {
		if c.Verdict != AC {
			r.Verdict, r.Case, r.Detail = c.Verdict, c.Name, c.Detail
			return
		}
	}
}

// passed counts the accepted cases.
func (r *Report) passed() int {
	n := 0
	for _, c := range r.Cases {
		if c.Verdict == AC {
			n++
		}
	}
	return n
}

// shown is the run whose figures stand for the submission: the failing one, or the most of each over all cases.
func (r *Report) shown() CaseReport {
	var most CaseReport
	for _, c := range r.Cases {
		if c.Name == r.Case {
			return c
		}
		most.CPU, most.Wall = max(most.CPU, c.CPU), max(most.Wall, c.Wall)
		most.Memory = max(most.Memory, c.Memory)
	}
	return most
}
