package sandbox

import (
	"sync/atomic"

	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// habit is the shape of the command that was started last in any of the sandboxes that are made ahead for the same caller.
type habit struct{ last atomic.Pointer[commandShape] }

// usual is a command with input, output and error output, none of which it may open again.
var usual = commandShape{files: 3}

func (h *habit) shape() commandShape {
	if last := h.last.Load(); last != nil {
		return *last
	}
	return usual
}

func (h *habit) note(c commandShape) {
	if h == nil {
		return
	}
	if last := h.last.Load(); last == nil || *last != c {
		h.last.Store(&c)
	}
}

// warm has ready what the first command of a sandbox needs that nobody waits for, should it be one of the habit. If that fails it is made when it is needed.
func (e *engine) warm(h *habit) {
	e.habit = h
	base := e.shape.base(e, h.shape())
	if !e.grouped || !base.held || base.listen != nil {
		return
	}
	req := wire.WarmRequest{Box: e.box, Base: base.id, Launch: wire.Launch{Mode: uint8(base.mode)}, Ruleset: base.shared, Socket: int32(base.socket)}
	for {
		r := request{kind: wire.Warm, body: req}
		known := base.known.Load()
		if !known {
			r.base = base.encoded
		}
		a, _, err := e.z.call(r)
		if a != nil && a.NoBase && known {
			base.known.Store(false)
			continue
		}
		if err == nil {
			base.known.Store(true)
		}
		return
	}
}
