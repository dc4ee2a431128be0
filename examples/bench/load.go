package main

import (
	"errors"
	"fmt"
	"os"
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

func (l *lines) addRows(rows []Row, x float64) {
	for _, r := range rows {
		if r.N > 0 {
			l.add(r.Name, x, float64(r.Median)/1e6)
		}
	}
}

// heaps measures in host programs whose heaps have these sizes in MiB, all of it touched: the price of a fork that copies page tables grows with it.
func (l *lab) heaps(names []string, sizes []int, n int, rest time.Duration) (_ []Line, _ []Pair, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	var workers []*worker
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.stop())
		}
	}()
	for _, mib := range sizes {
		w, err := l.startWorker(fmt.Sprintf("%d MiB", mib), program, mib)
		if err != nil {
			return nil, nil, err
		}
		workers = append(workers, w)
	}
	rows, err := together(workers, names, n, rest)
	if err != nil {
		return nil, nil, err
	}
	var out lines
	for i, mib := range sizes {
		out.addRows(rows[i], float64(mib))
	}
	return out.all, pairs(rows[0], rows[len(rows)-1]), nil
}

// busy measures while goroutines of the host program work, as those of a server do: a little, then they wait.
func busy(all []*subject, goroutines, n int, rest time.Duration) ([]Row, error) {
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
	rows, err := measure(all, n, rest)
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
			time.Sleep(settling)
		}
	}
	return out.all, nil
}

func (s *subject) rate(callers int, each time.Duration) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, callers)
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

// Idle is what an idle sandbox has cost when the most stood. Sizes are bytes of PSS.
type Idle struct {
	Count  int     `json:"count"`
	Inside float64 `json:"inside_bytes"` // of its own process
	Zygote float64 `json:"zygote_bytes"` // by which the zygote has grown
	Host   float64 `json:"host_bytes"`   // by which this program has
	Files  float64 `json:"descriptors"`  // of both
}

// live measures while so many other sandboxes stand idle, and what one of those costs.
func (l *lab) live(all []*subject, counts []int, n int, rest time.Duration) (_ []Line, idle *Idle, err error) {
	var standing []*sandbox.Sandbox
	defer func() {
		for _, sb := range standing {
			err = errors.Join(err, sb.Close())
		}
	}()
	var out lines
	debug.FreeOSMemory()
	before := look()
	for _, count := range counts {
		for len(standing) < count {
			sb, err := sandbox.New(l.opts...)
			if err != nil {
				return nil, nil, fmt.Errorf("sandbox %d: %w", len(standing)+1, err)
			}
			standing = append(standing, sb)
		}
		rows, err := measure(all, n, rest)
		if err != nil {
			return nil, nil, err
		}
		out.addRows(rows, float64(count))
	}
	if count := float64(len(standing)); count > 0 && os.Geteuid() == 0 { // nobody else may see which processes there are, and how large
		debug.FreeOSMemory()
		now := look()
		idle = &Idle{
			Count: len(standing), Inside: float64(now.inside-before.inside) / count, Zygote: float64(now.zygote-before.zygote) / count,
			Host: float64(now.host-before.host) / count, Files: float64(now.files+now.zygoteFiles-before.files-before.zygoteFiles) / count,
		}
	}
	return out.all, idle, nil
}

// Age is a moment of a program's life in which it makes many sandboxes, one after the other.
type Age struct {
	Sandboxes   int   `json:"sandboxes"` // so far
	P10         int64 `json:"p10_ns"`    // of those since the last line
	Median      int64 `json:"median_ns"`
	P99         int64 `json:"p99_ns"`
	Host        int64 `json:"host_bytes"` // PSS
	Zygote      int64 `json:"zygote_bytes"`
	Files       int   `json:"descriptors"` // of this program and of the zygote
	Goroutines  int   `json:"goroutines"`
	Descendants int   `json:"descendants"` // processes
}

// life makes so many sandboxes, runs the program in each, and looks ten times at what has become of memory, descriptors and latency.
func (l *lab) life(s *subject, count int) ([]Age, error) {
	var all []Age
	var took []time.Duration
	for i := 1; i <= count; i++ {
		d, err := s.turn(0)
		if err != nil {
			return nil, fmt.Errorf("sandbox %d: %w", i, err)
		}
		took = append(took, d)
		if i%max(count/10, 1) != 0 {
			continue
		}
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		r := Row{samples: took}
		r.sum(&Row{})
		time.Sleep(settling)
		debug.FreeOSMemory() // or it would show when garbage was last collected
		f := look()
		all = append(all, Age{
			Sandboxes: i, P10: r.P10, Median: r.Median, P99: r.P99, Host: f.host, Zygote: f.zygote, Files: f.files + f.zygoteFiles,
			Goroutines: runtime.NumGoroutine(), Descendants: len(descendants(os.Getpid())),
		})
		took = nil
	}
	return all, nil
}
