//go:build linux

package zygote

import (
	"errors"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// warm makes ready what the first command of a sandbox needs, which would otherwise be made for the third at the earliest (spareFrom): for those that are made ahead of time, so that
// nobody waits for it. The leaf is there, see firstLeaf. What cannot be made ready is made when it is needed, and the reason told then.
func (z *zygote) warm(m *wire.Message) (*wire.Answer, []int, error) {
	var req wire.WarmRequest
	if err := m.Decode(&req); err != nil {
		return nil, nil, err
	}
	base, err := z.bases.find(req.Base, m.Raw)
	if errors.Is(err, errNoBase) {
		return &wire.Answer{NoBase: true}, nil, err
	}
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
	if launch.Mode(req.Launch.Mode) != launch.Join || !b.ownPIDs || b.group == nil || b.started.Load() > 0 {
		return nil, nil, nil
	}
	// What a command like that would leave to the next.
	c := &command{box: b, req: wire.StartRequest{Launch: req.Launch, Ruleset: req.Ruleset, Socket: req.Socket}}
	p := &plan.Plan{Base: base}
	if b.fillSpare(c, p) {
		z.keepSpare(b)
	}
	z.makeReady(c, p)
	return nil, nil, nil
}
