//go:build linux

package zygote

import (
	"sync/atomic"
	"time"
)

// traffic knows whether requests are under way, so that what can wait is done when there are none.
type traffic struct {
	under atomic.Int32
	last  atomic.Int64 // when the last one ended, as time since epoch
}

var epoch = time.Now()

// lull is how long after a request the next may be on its way: whoever has the answer goes on with something.
const lull = 300 * time.Microsecond

// begin counts a request until the returned function is called.
func (t *traffic) begin() (end func()) {
	t.under.Add(1)
	return t.end
}

func (t *traffic) end() {
	t.last.Store(int64(time.Since(epoch)))
	t.under.Add(-1)
}

// quiet tells whether there is nothing that could be disturbed.
func (t *traffic) quiet() bool {
	return t == nil || t.under.Load() == 0 && time.Since(epoch)-time.Duration(t.last.Load()) >= lull
}
