package sandbox

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
)

// TestFaultReady makes each step fail of a process that is made ready before there is a command for it, and of the one that makes it. Such a process is nobody's: what is told is how the
// first command fares, which walks the same steps but those that only a process made ahead does.
func TestFaultReady(t *testing.T) {
	opts := []Option{WithMemory("256m"), WithPids(20), WithHostname("ready-faults")}
	first := grouped(t, standing(t, opts...))
	_, err := first.Run(inTime(t), "/bin/true")
	require.NoError(t, err)
	e := first.engine
	good := e.shape.base(e, usual)
	require.True(t, good.held)
	use := func(b *commandBase) {
		e.shape.mu.Lock()
		defer e.shape.mu.Unlock()
		e.shape.bases[baseKey{usual, e.tasks}] = b
	}
	defer use(good)
	receives := launch.Receives(good.plan)
	before := settled(t)
	try := func(i int) error {
		sb, err := New(opts...)
		require.NoError(t, err)
		require.Same(t, e.shape, sb.engine.shape)
		sb.engine.warm(&habit{})
		if i < 0 || i > receives {
			eventually(t, fmt.Sprintf("step %d comes after what it waits for", i), func() bool { return len(readyOf(t)) == 1 })
		} else {
			eventually(t, fmt.Sprintf("nobody is ready who lacks step %d", i), func() bool { return len(readyOf(t)) == 0 })
		}
		res, err := sb.Run(inTime(t), "/bin/sh", "-c", "exit 5")
		if err == nil {
			assert.Equal(t, 5, res.ExitCode)
		}
		require.NoError(t, sb.Close())
		return err
	}
	require.NoError(t, try(-1), "the control")
	unchanged(t, before, "after the control")
	ahead := 0
	for i := 0; i < len(good.plan.Child); i += stride() {
		if good.plan.Child[i].Fork {
			continue // a joiner clones without it
		}
		bad := compileBase(e.spec, e.ids, e.facts.lastCap, e.tasks, &e.walls, usual)
		require.True(t, bad.plan.Inject(i, injected))
		use(e.z.shareBase(bad))
		err := try(i)
		s := good.plan.Child[i]
		switch {
		case err == nil && i >= receives-3: // it is walked by a process that is made ahead alone, or is passed over
			ahead++
		default:
			require.ErrorIs(t, err, injected, s.Call+" "+s.Object)
			requireStep(t, err, s, injected)
		}
		unchanged(t, before, fmt.Sprintf("after step %d, %s %s", i, s.Call, s.Object))
	}
	if !testing.Short() {
		assert.GreaterOrEqual(t, ahead, 4)
	}
	use(good)
	require.NoError(t, try(-1), "the next one works")
	unchanged(t, before, "at the end")
}
