package sandbox

import (
	"context"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
)

// Who looks at an execution trace of the program (runtime/trace) sees regions for what callers wait for, and a task for each command, from Start to its end; the
// stages of both are logged there, since most of them are spent in the zygote, which is another process. Without a trace this costs some nanoseconds.

// traced is a command in a trace.
type traced struct {
	ctx  context.Context
	task *trace.Task
}

// region begins a region of the calling goroutine.
func region(ctx context.Context, name string) *trace.Region {
	if ctx == nil {
		ctx = context.Background()
	}
	return trace.StartRegion(ctx, name)
}

// beginTask begins the task of a command, if there is a trace, and a region of the calling goroutine in it.
func (c *Cmd) beginTask(ctx context.Context, name string) *trace.Region {
	if trace.IsEnabled() && ctx != nil && c.sandbox != nil && !c.started.Load() && c.traced.Load() == nil {
		t := new(traced)
		t.ctx, t.task = trace.NewTask(ctx, "sandbox.Cmd")
		if c.traced.CompareAndSwap(nil, t) {
			trace.Log(t.ctx, "command", c.Path)
		} else {
			t.task.End()
		}
	}
	return c.region(name)
}

// region begins a region of the calling goroutine in the command's task, if it has one.
func (c *Cmd) region(name string) *trace.Region {
	if t := c.traced.Load(); t != nil {
		return trace.StartRegion(t.ctx, name)
	}
	return trace.StartRegion(context.Background(), name)
}

// endTask ends the task of a command in a trace, if it has one.
func (c *Cmd) endTask() {
	t := c.traced.Load()
	if t == nil {
		return
	}
	if c.result != nil {
		logStages(t.ctx, c.result.Stages())
	}
	t.task.End()
}

// logStages writes stages into the trace, if there is one.
func logStages(ctx context.Context, stages []Stage) {
	if !trace.IsEnabled() {
		return
	}
	for _, s := range stages {
		trace.Log(ctx, "stage", s.String())
	}
}

// label marks the calling goroutine, which must be one of the library's own, so that a profile tells for which sandbox it is there, and what for. ctx adds
// labels of the caller's.
func (e *engine) label(ctx context.Context, does string) {
	name := e.spec.name
	if name == "" {
		name = "pid " + strconv.Itoa(e.pid)
	}
	label(ctx, "sandbox", name, "belljar", does)
}

// label is the same for a command.
func (c *Cmd) label(ctx context.Context, does string) {
	c.proc.e.label(pprof.WithLabels(ctx, pprof.Labels("command", c.Path)), does)
}

func label(ctx context.Context, labels ...string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels(labels...)))
}
