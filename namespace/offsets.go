package namespace

import (
	"fmt"
	"io/fs"
	"time"
)

// Offsets is how far the clocks of a time namespace are ahead of the host's; negative is
// behind. The real-time clock is the same in all namespaces (time_namespaces(7)).
type Offsets struct {
	Monotonic, Boottime time.Duration
}

// maxOffset is half of what the kernel's clocks can hold: KTIME_SEC_MAX/2, some 146 years.
// It refuses an offset that sets a clock beyond it with ERANGE (Linux 5.6,
// kernel/time/namespace.c).
const maxOffset = 4611686018 * time.Second

// OffsetError says which clock of a time namespace cannot be set so. It is an
// [fs.ErrInvalid].
type OffsetError struct {
	Clock  string // "monotonic" or "boottime"
	Offset time.Duration
	Why    string
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("%s offset %s: %s", e.Clock, e.Offset, e.Why)
}

// Unwrap returns [fs.ErrInvalid].
func (e *OffsetError) Unwrap() error { return fs.ErrInvalid }

// Validate reports, as an [*OffsetError], an offset that the kernel takes on no host.
func (o Offsets) Validate() error {
	return o.each(func(clock string, offset time.Duration) error {
		if offset > maxOffset || offset < -maxOffset {
			return &OffsetError{clock, offset, "more than 146 years"}
		}
		return nil
	})
}

// ValidateAt is Validate on a host whose clocks show the given times: it also refuses an
// offset that would set a clock before zero, or too far ahead.
func (o Offsets) ValidateAt(monotonic, boottime time.Duration) error {
	if err := o.Validate(); err != nil {
		return err
	}
	now := map[string]time.Duration{"monotonic": monotonic, "boottime": boottime}
	return o.each(func(clock string, offset time.Duration) error {
		switch {
		case offset < -now[clock]:
			return &OffsetError{clock, offset, fmt.Sprintf("before the clock's zero, which was %s ago", now[clock])}
		case offset > maxOffset-now[clock]:
			return &OffsetError{clock, offset, "more than 146 years after the clock's zero"}
		}
		return nil
	})
}

// each calls f for both clocks and returns its first error.
func (o Offsets) each(f func(clock string, offset time.Duration) error) error {
	if err := f("monotonic", o.Monotonic); err != nil {
		return err
	}
	return f("boottime", o.Boottime)
}

// Text returns the offsets as they are written to /proc/PID/timens_offsets. It takes
// effect only before the first process enters the namespace; the kernel answers EACCES
// afterwards.
func (o Offsets) Text() string {
	return clockLine("monotonic", o.Monotonic) + clockLine("boottime", o.Boottime)
}

// clockLine splits d into seconds and nanoseconds. The kernel wants the nanoseconds never
// negative: -1.5s is -2 seconds and 500000000 nanoseconds.
func clockLine(clock string, d time.Duration) string {
	seconds, nanos := int64(d/time.Second), int64(d%time.Second)
	if nanos < 0 {
		seconds--
		nanos += int64(time.Second)
	}
	return fmt.Sprintf("%s %d %d\n", clock, seconds, nanos)
}
