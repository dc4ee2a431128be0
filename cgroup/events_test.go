package cgroup

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEventKindText(t *testing.T) {
	seen := map[string]bool{}
	for k := EventKind(1); k&AllEvents != 0; k <<= 1 {
		assert.NotEmpty(t, k.String())
		assert.False(t, seen[k.String()], k.String())
		seen[k.String()] = true
	}
	assert.Len(t, seen, eventBits)
	assert.Equal(t, "OOM kill,pids limit", (EventOOMKill | EventPidsLimit).String())
	assert.Equal(t, "event 0x8000", EventKind(1<<15).String())
}

func TestEventOptions(t *testing.T) {
	ok := DefaultTrigger(EventMemoryPressure)
	require.NoError(t, EventOptions{Kinds: AllEvents, Pressure: []PressureTrigger{ok}}.Validate())
	for _, change := range []func(*PressureTrigger){
		func(p *PressureTrigger) { p.Kind = 0 },
		func(p *PressureTrigger) { p.Kind = EventOOM },
		func(p *PressureTrigger) { p.Kind |= EventCPUPressure },
		func(p *PressureTrigger) { p.Window = time.Millisecond },
		func(p *PressureTrigger) { p.Window = time.Minute },
		func(p *PressureTrigger) { p.Stall = 0 },
		func(p *PressureTrigger) { p.Stall = -time.Second },
		func(p *PressureTrigger) { p.Stall = 3 * time.Second },
	} {
		p := ok
		change(&p)
		require.ErrorIs(t, EventOptions{Pressure: []PressureTrigger{p}}.Validate(), ErrInvalid, "%+v", p)
	}
	require.ErrorIs(t, EventOptions{Kinds: 1 << 15}.Validate(), ErrInvalid)
}

// A reader who does not read loses no count and no kind, and costs no more
// than a bound.
func TestPendingEvents(t *testing.T) {
	var p []Event
	for i := range uint64(3) {
		p = addEvent(p, Event{Kind: EventFrozen, Count: 1, Total: 2*i + 1})
		p = addEvent(p, Event{Kind: EventThawed, Count: 1, Total: 2*i + 2})
	}
	p = addEvent(p, Event{Kind: EventFrozen, Count: 1, Total: 7})
	assert.Equal(t, []Event{{Kind: EventThawed, Count: 3, Total: 6}, {Kind: EventFrozen, Count: 4, Total: 7}}, p, "the last tells how it stands")

	p = nil
	const leaves = 5000
	for i := range leaves {
		p = addEvent(p, Event{Kind: EventOOMKill, Leaf: fmt.Sprint(i), Count: 2, Total: 2})
		if i%10 == 0 {
			p = addEvent(p, Event{Kind: EventPidsLimit, Leaf: fmt.Sprint(i), Count: 1, Total: 1})
		}
		require.LessOrEqual(t, len(p), maxPending)
	}
	sum := map[EventKind]uint64{}
	for _, ev := range p {
		sum[ev.Kind] += ev.Count
	}
	assert.Equal(t, map[EventKind]uint64{EventOOMKill: 2 * leaves, EventPidsLimit: leaves / 10}, sum)
	last := p[len(p)-1]
	assert.Equal(t, fmt.Sprint(leaves-1), last.Leaf, "what is new is not merged")
}
