package sandbox

import "time"

// restraint is for what is made ahead of time, and in vain if the host changes. After that it is left off for a moment, for longer each time, and for a
// moment only once it has been of use again: a host that mounts something now and then costs little, and on one that mounts all the time little is made.
type restraint struct {
	pause time.Duration
	until time.Time
}

const (
	restraintLeast = time.Second / 32
	restraintMost  = time.Second
)

// failed notes that it was in vain.
func (r *restraint) failed() {
	r.pause = min(max(2*r.pause, restraintLeast), restraintMost)
	r.until = time.Now().Add(r.pause)
}

// worked notes that it was of use.
func (r *restraint) worked() { r.pause = 0 }

// over tells whether it may be tried.
func (r *restraint) over() bool { return !time.Now().Before(r.until) }
