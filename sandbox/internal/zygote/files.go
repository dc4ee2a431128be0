//go:build linux

package zygote

import (
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// do walks a plan without execve in the sandbox's namespaces and returns the descriptors it opened. The process shares
// the zygote's descriptor table, which is how they get here.
func (z *zygote) do(m *wire.Message) (*wire.Answer, []int, error) {
	var req wire.DoRequest
	if err := m.Decode(&req); err != nil {
		return nil, nil, err
	}
	p, err := plan.Decode(m.Raw)
	if err != nil {
		return nil, nil, err
	}
	b, err := z.box(req.Box)
	if err != nil {
		return nil, nil, err
	}
	if !b.enter() {
		return nil, nil, errGone
	}
	defer b.starting.Done()
	handle := &launch.Handle{}
	defer b.killing(handle)()
	proc, err := launch.Launch(&launch.Request{
		Plan: p, Files: append([]int{b.pidfd}, m.Files...), Mode: launch.Direct, Flags: unix.CLONE_FILES, Cgroup: -1,
		Until: deadline(req.Launch.Timeout), Handle: handle,
	})
	if err != nil {
		for _, fd := range outputs(p, parentRegs(err)) {
			_ = unix.Close(fd)
		}
		return nil, nil, launchError("files", err)
	}
	var ws unix.WaitStatus
	_, _ = launch.Wait(proc.PID, &ws, 0, nil)
	_ = unix.Close(proc.PIDFD)
	files := outputs(p, proc.Regs)
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return &wire.Answer{}, files, &stageError{"files", "walk", "sandbox", unix.EINTR}
	}
	return &wire.Answer{Regs: proc.Regs}, files, nil
}

func parentRegs(err error) []int64 {
	if step := stepError(err); step != nil {
		return step.Regs
	}
	return nil
}

func outputs(p *plan.Plan, regs []int64) []int {
	var fds []int
	for _, r := range p.Outputs {
		if int(r) < len(regs) && regs[r] >= 0 {
			fds = append(fds, int(regs[r]))
		}
	}
	return fds
}
