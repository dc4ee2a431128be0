//go:build linux

package launch

import (
	"errors"
	"os"
	"sync"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
)

// Joiner is the first process of a join that stays: it has walked the steps before the fork of plans with the same base, sleeps, and clones the second process of one launch
// after the other. What these steps cost, and the process itself, is paid once.
//
// It is in no job's cgroup, and in the PID namespace of this process, so that nobody in the sandbox can name it; see cloner. It shares descriptors with this process, and its memory with the process that it has
// cloned last until that one's exec. It holds the sandbox's namespaces while it lives, so whoever takes a sandbox down ends it first.
type Joiner struct {
	cloner
	base *plan.Plan

	mu     sync.Mutex
	busy   bool // with a launch
	closed bool
}

// JoinerName is what ps(1) calls a joiner.
const JoinerName = "belljar-joiner"

var errNoFork = errors.New("the plan has no process to join with")

// errFirstGone: somebody has killed the first process, or the joiner, and the launch has not begun.
var errFirstGone = errors.New("the first process of a launch has been killed")

// NewJoiner walks the steps before the fork of base; files are the first of its inputs.
func NewJoiner(base *plan.Plan, files ...int) (*Joiner, error) {
	fork := forkOf(base)
	if fork < 0 || len(files) > len(base.Inputs) {
		return nil, errNoFork
	}
	p := stay(&plan.Plan{Data: base.Data, Relocs: base.Relocs, Regs: base.Regs, Exec: -1, Child: base.Child[:fork]}, JoinerName, os.Getpid())
	a, err := newClonerArena(p)
	if err != nil {
		return nil, err
	}
	for i, fd := range files {
		*a.reg(base.Inputs[i]) = int64(fd)
	}
	j := &Joiner{cloner: cloner{arena: a}, base: base}
	if err := j.come(); err != nil {
		return nil, err
	}
	return j, nil
}

// forkOf is the index of the step at which the second process is cloned; -1: there is none.
func forkOf(p *plan.Plan) int {
	for i := range p.Child {
		if p.Child[i].Fork {
			return i
		}
	}
	return -1
}

// Base is the plan it has been made for.
func (j *Joiner) Base() *plan.Plan { return j.base }

// Alive tells whether it can serve, now or when it is done with what it does.
func (j *Joiner) Alive() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.closed && !j.gone()
}

// take reserves the joiner for one launch. It is not free while it sleeps until an exec.
func (j *Joiner) take(l *launch) bool {
	return j != nil && l.Plan.Base == j.base && l.Mode == Join && l.Listen == nil && j.reserve()
}

func (j *Joiner) reserve() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.busy || j.closed || !j.idle() || j.gone() {
		return false
	}
	j.busy = true
	return true
}

// leave ends what take began.
func (j *Joiner) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.busy = false
	if j.closed {
		j.end()
	}
}

// launch has it clone the second process.
func (j *Joiner) launch(l *launch) { j.ring(l.ctl, &l.ctl.inner, forkOf(j.base)+1) }

// Kill has it end soon, for who is going to call Close.
func (j *Joiner) Kill() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.busy && !j.closed {
		j.kill()
	}
}

// Close ends the joiner and returns when it is gone, or at once if a launch is under way with it, at whose end it goes.
func (j *Joiner) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		if j.closed = true; !j.busy {
			j.end()
		}
	}
}
