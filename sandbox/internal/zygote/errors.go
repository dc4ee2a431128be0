//go:build linux

package zygote

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// stageError is an error of one of the zygote's own actions.
type stageError struct {
	stage, op, path string
	err             error
}

func (e *stageError) Error() string { return e.op + " " + e.path + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// toWire flattens an error without losing its errno, step or object.
func toWire(err error) *wire.Error {
	w := &wire.Error{
		Text: err.Error(), Unsupported: errors.Is(err, cgroup.ErrUnsupported) || errors.Is(err, errors.ErrUnsupported),
		Limits: cgroup.FieldsOf(err),
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		w.Errno = errno
	}
	var step *launch.StepError
	var stage *stageError
	var group *cgroup.Error
	var lack *cgroup.UnsupportedError
	var parent *cgroup.ParentError
	var call *os.SyscallError
	switch {
	case errors.As(err, &step):
		w.Step, w.HasStep, w.Regs = step.Step, true, step.Regs
	case errors.As(err, &stage):
		w.Stage, w.Op, w.Path = stage.stage, stage.op, stage.path
		w.Text = stage.err.Error()
	case errors.As(err, &parent):
		w.Stage, w.Op, w.Path = "cgroup", "parent", parent.Dir
		if parent.Controller != "" { // what needs it may be given up
			w.Op = parent.Controller + " controller"
		}
		if w.Path == "" {
			w.Path = parent.Parent
		}
		w.Text, w.Remedy = parent.Text(), parent.Remedy
	case errors.As(err, &group):
		w.Remedy = group.Remedy()
		w.Stage, w.Op, w.Path = "cgroup", group.Op, group.Path
		w.Text = groupText(group)
	case errors.As(err, &lack):
		w.Stage, w.Op, w.Remedy = "cgroup", lack.Feature, lack.Remedy
		w.Text = strings.TrimPrefix(lack.Error(), "cgroup: "+lack.Feature+": ")
	case errors.As(err, &call):
		w.Stage, w.Op = "zygote", call.Syscall
	default:
		w.Stage = "zygote"
	}
	return w
}

func stepError(err error) *launch.StepError {
	var step *launch.StepError
	if errors.As(err, &step) {
		return step
	}
	return nil
}

// groupText is why an operation on a cgroup failed, with what was written and what to do.
func groupText(e *cgroup.Error) string {
	text := e.Err.Error()
	if e.Data != "" {
		text = strconv.Quote(e.Data) + ": " + text
	}
	if r := e.Remedy(); r != "" {
		text += " (" + r + ")"
	}
	return text
}
