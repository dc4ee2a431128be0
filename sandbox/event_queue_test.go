package sandbox

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Nothing that is counted is lost on one who reads late, and nothing blocks who adds.
func TestEventQueueOfALateReader(t *testing.T) {
	for _, pids := range []int{1, 10, 5000} {
		q := newEventQueue()
		const n = 10000
		for i := range n {
			q.add(Event{Kind: OOMKill, PID: 1 + i%pids, Count: 1})
			if i%10 == 0 {
				q.add(Event{Kind: StateChange, State: Paused, Count: 1})
			}
		}
		q.add(Event{Kind: StateChange, State: Exited, Count: 1})
		q.end()
		q.end()
		q.add(Event{Kind: OOMKill, Count: 1}) // too late
		var kills uint64
		var last State
		events := 0
		for ev := range q.out {
			events++
			if ev.Kind == OOMKill {
				kills += ev.Count
			} else {
				last = ev.State
			}
		}
		assert.EqualValues(t, n, kills)
		assert.Equal(t, Exited, last)
		assert.LessOrEqual(t, events, 2*eventBuffer) // some may have been read before the rest was merged
	}
}

// A reader who keeps up finds an event at once, and no goroutine has served it.
func TestEventQueueOfAPromptReader(t *testing.T) {
	q := newEventQueue()
	before := runtime.NumGoroutine()
	for i := range uint64(1000) {
		q.add(Event{Kind: PidsLimitHit, Count: i})
		select {
		case ev := <-q.out:
			assert.Equal(t, i, ev.Count)
		default:
			t.Fatal("not there yet")
		}
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // other tests' may be on their way out
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before, "somebody serves it")
	q.end()
	_, open := <-q.out
	assert.False(t, open)
}

// One who reads again after a while is served in order.
func TestEventQueueCatchesUp(t *testing.T) {
	q := newEventQueue()
	for i := range 2 * eventBuffer {
		q.add(Event{Kind: OOMKill, PID: i, Count: 1})
	}
	for i := range 2 * eventBuffer {
		select {
		case ev := <-q.out:
			assert.Equal(t, i, ev.PID)
		case <-time.After(time.Minute):
			t.Fatal("stuck")
		}
	}
	q.end()
	for range q.out {
	}
}
