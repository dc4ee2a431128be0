package main

import (
	"context"
	"fmt"
	"time"
)

// A compiler is as hostile as its input: it can be made to read, to loop and to fill memory and disks by source text alone.
var compileLimits = limits{
	CPU:    15 * time.Second,
	Wall:   30 * time.Second,
	Memory: 512 << 20,
	Output: 64 << 10,
	Pids:   64,
}

const (
	compileBox  = "256m"
	artefactMax = 32 << 20 // bytes of program brought out of the sandbox
)

// compile returns the files to run, or nil after it has put a verdict in r.
func (j *judge) compile(ctx context.Context, tool *toolchain, source []byte, r *Report) []file {
	src := file{name: tool.source, data: source, mode: 0o644}
	if tool.prepare != nil {
		if err := tool.prepare(ctx); err != nil {
			r.Verdict, r.Detail = JE, plain([]byte(err.Error()))
			return nil
		}
	}
	// One after the other, as compilers use several threads anyway.
	j.slots <- struct{}{}
	defer func() { <-j.slots }()

	run := job{
		argv: tool.compile, env: compileEnv(), files: []file{src}, binds: tool.binds,
		limits: compileLimits.scale(j.factor), box: compileBox,
		stdout: &capped{left: 4096}, stderr: &capped{left: 8192},
		keep: tool.keep, keepMax: artefactMax,
	}
	out, err := j.runner.run(ctx, run)
	if err != nil {
		r.Verdict, r.Detail = JE, plain([]byte(err.Error()))
		return nil
	}
	report := out.report("compile")
	report.Stderr = firstLines(append(run.stderr.buf.Bytes(), run.stdout.buf.Bytes()...), 10)
	r.Compile = &report
	if out.verdict == JE {
		r.Verdict, r.Detail = JE, out.detail
		return nil
	}
	if why := compileError(out, report.Stderr); why != "" {
		r.Verdict, r.Detail = CE, why
		return nil
	}
	return out.files
}

// compileError says why there is no program; empty if there is one.
func compileError(out outcome, messages string) string {
	switch {
	case out.verdict == RE && messages != "":
		return messages
	case out.verdict != AC:
		return fmt.Sprintf("compiler: %s: %s", out.verdict, out.detail)
	case len(out.files) == 0:
		return "compiler: no program, or one larger than " + formatSize(artefactMax)
	}
	return ""
}

func compileEnv() []string {
	return append(runEnv(), "TMPDIR=/box", "LC_ALL=C.UTF-8")
}
