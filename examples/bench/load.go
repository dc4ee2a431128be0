package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Line is one curve of a plot.
type Line struct {
	Name string    `json:"name"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// lines gather points by name, in the order of first appearance.
type lines struct{ all []Line }

func (l *lines) add(name string, x, y float64) {
	for i := range l.all {
		if l.all[i].Name == name {
			l.all[i].X, l.all[i].Y = append(l.all[i].X, x), append(l.all[i].Y, y)
			return
		}
	}
	l.all = append(l.all, Line{name, []float64{x}, []float64{y}})
}

// heaps measures with a host program whose heap has these sizes in MiB, all of it touched: the price of a fork that copies page
// tables grows with it.
func (l *lab) heaps(all []*subject, sizes []int, n int) ([]Line, error) {
	var out lines
	for _, mib := range sizes {
		ballast := make([]byte, mib<<20)
		for i := 0; i < len(ballast); i += 4096 {
			ballast[i] = 1
		}
		rows, err := measure(all, n)
		runtime.KeepAlive(ballast)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.N > 0 {
				out.add(r.Name, float64(mib), float64(r.Median)/1e6)
			}
		}
		ballast = nil
		debug.FreeOSMemory()
	}
	return out.all, nil
}

// busy measures while goroutines of the host program work, as those of a server do: a little, then they wait.
func busy(all []*subject, goroutines, n int) ([]Row, error) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					work := make([]byte, 4<<10)
					for i := range work {
						work[i] = byte(i)
					}
					atomic.AddInt64(&spent, int64(work[len(work)-1]))
				}
			}
		})
	}
	rows, err := measure(all, n)
	close(stop)
	wg.Wait()
	return rows, err
}

var spent int64

// throughput is how many runs a second so many callers get, each of whom waits for one before the next.
func throughput(all []*subject, callers []int, each time.Duration) ([]Line, error) {
	var out lines
	for _, n := range callers {
		for _, s := range all {
			if s.absent != "" {
				continue
			}
			rate, err := s.rate(n, each)
			if err != nil {
				return nil, fmt.Errorf("%s, %d callers: %w", s.name, n, err)
			}
			out.add(s.name, float64(n), rate)
		}
	}
	return out.all, nil
}

func (s *subject) rate(callers int, each time.Duration) (float64, error) {
	if s.rest != nil {
		s.rest()
	}
	var done atomic.Int64
	errs := make([]error, callers)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range callers {
		wg.Go(func() {
			for ok := true; ok; ok = time.Since(begin) < each {
				if errs[i] = s.run(); errs[i] != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// live measures while so many other sandboxes stand idle, and what one of those costs in memory.
func (l *lab) live(all []*subject, counts []int, n int) (out lines, idle float64, err error) {
	var standing []*sandbox.Sandbox
	defer func() {
		for _, sb := range standing {
			err = errors.Join(err, sb.Close())
		}
	}()
	before := memory()
	for _, count := range counts {
		for len(standing) < count {
			sb, err := sandbox.New(l.opts...)
			if err != nil {
				return out, 0, fmt.Errorf("sandbox %d: %w", len(standing)+1, err)
			}
			standing = append(standing, sb)
		}
		rows, err := measure(all, n)
		if err != nil {
			return out, 0, err
		}
		for _, r := range rows {
			if r.N > 0 {
				out.add(r.Name, float64(count), float64(r.Median)/1e6)
			}
		}
	}
	if len(standing) > 0 && before > 0 {
		runtime.GC()
		idle = float64(memory()-before) / float64(len(standing))
	}
	return out, idle, nil
}
