package sandbox

import (
	"context"
	"slices"
	"sync"
)

const (
	eventBuffer  = 64   // what a channel holds
	eventBacklog = 1024 // what is kept beside it, command by command
	stateBacklog = 16   // changes of state that are kept
)

// eventQueue is one subscription. Adding never blocks. As long as the reader keeps up, events go right into the channel, so whoever has seen
// something later finds them there; only one who does not is served by a goroutine.
type eventQueue struct {
	out chan Event

	mu      sync.Mutex
	pending []Event
	pumping bool // a goroutine serves pending, and has perhaps taken one from it
	ended   bool
	over    chan struct{} // closed with ended
	stop    func()        // ends what fills the queue
	forget  func() bool   // the context's watch
}

func newEventQueue() *eventQueue {
	return &eventQueue{out: make(chan Event, eventBuffer), over: make(chan struct{})}
}

func (q *eventQueue) add(ev Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	if !q.pumping {
		select {
		case q.out <- ev:
			return
		default:
		}
		q.pumping = true
		go q.pump()
	}
	q.pending = mergeEvent(q.pending, ev)
	if len(q.pending) > eventBacklog {
		q.pending = wholeSandbox(q.pending)
	}
}

// pump moves what is pending into the channel until nothing is left, or the queue ends.
func (q *eventQueue) pump() {
	for {
		q.mu.Lock()
		if q.ended {
			q.mu.Unlock()
			q.finish(nil)
			return
		}
		if len(q.pending) == 0 {
			q.pumping = false
			q.mu.Unlock()
			return
		}
		ev := q.pending[0]
		q.pending = q.pending[1:]
		q.mu.Unlock()
		select {
		case q.out <- ev:
		case <-q.over:
			q.finish([]Event{ev})
			return
		}
	}
}

// finish leaves in the channel what it can hold of the rest, and closes it: nobody waits for a reader who never comes. It is called once, by
// whoever alone sends by then.
func (q *eventQueue) finish(taken []Event) {
	var all []Event
	for len(q.out) > 0 {
		select {
		case ev := <-q.out:
			all = append(all, ev)
		default: // read meanwhile
		}
	}
	all = append(append(all, taken...), q.pending...)
	if len(all) > eventBuffer {
		all = wholeSandbox(all)
	}
	for _, ev := range all {
		q.out <- ev
	}
	close(q.out)
}

// end closes the channel and stops what fills it. Nothing is added afterwards.
func (q *eventQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	q.ended = true
	close(q.over)
	if !q.pumping {
		close(q.out)
	}
	if q.forget != nil {
		q.forget()
	}
	if q.stop != nil {
		go q.stop() // it asks the zygote
	}
}

// filledBy takes over the function that ends what fills the queue.
func (q *eventQueue) filledBy(stop func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = stop
	if q.ended {
		go stop()
	}
}

// stopOn calls f when ctx is done, unless the queue has ended before.
func (q *eventQueue) stopOn(ctx context.Context, f func()) {
	forget := context.AfterFunc(ctx, f)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget = forget
	if q.ended {
		forget()
	}
}

// mergeEvent adds an event to others. One of the same kind and command counts up; changes of state stay apart, the last of them.
func mergeEvent(list []Event, ev Event) []Event {
	if ev.Kind == StateChange {
		is := func(o Event) bool { return o.Kind == StateChange }
		n := 0
		for _, o := range list {
			if is(o) {
				n++
			}
		}
		if n >= stateBacklog {
			i := slices.IndexFunc(list, is)
			list = slices.Delete(list, i, i+1)
		}
		return append(list, ev)
	}
	i := slices.IndexFunc(list, func(o Event) bool { return o.Kind == ev.Kind && o.PID == ev.PID })
	if i < 0 {
		return append(list, ev)
	}
	ev.Count += list[i].Count
	list[i] = ev
	return list
}

// wholeSandbox merges the events of all commands, so that few are left.
func wholeSandbox(list []Event) []Event {
	var few []Event
	for _, ev := range list {
		ev.PID = 0
		few = mergeEvent(few, ev)
	}
	return few
}
