package cgroup

import "time"

// liftAfter is how long the killed may take to die before it is put down to a
// device which is bounded: a process that waits for one does not hear SIGKILL
// until its request has had its turn, which can take minutes.
const liftAfter = 20 * time.Millisecond

// lifter takes the rates of IO limits away while a kill is under way.
type lifter struct {
	p     *place
	rates []IOLimit
	since time.Time
	done  bool
}

func newLifter(p *place, rates []IOLimit) *lifter {
	return &lifter{p: p, rates: rates, since: time.Now()}
}

// lift is called until it is time, and takes the rates away once.
func (l *lifter) lift() {
	if l == nil || l.done || l.p == nil || len(l.rates) == 0 || time.Since(l.since) < liftAfter {
		return
	}
	l.done = true
	free := make([]IOLimit, len(l.rates))
	for i, r := range l.rates {
		free[i] = IOLimit{Device: r.Device}
		for _, f := range []struct {
			to  *int64
			was int64
		}{{&free[i].ReadBytes, r.ReadBytes}, {&free[i].WriteBytes, r.WriteBytes}, {&free[i].ReadOps, r.ReadOps}, {&free[i].WriteOps, r.WriteOps}} {
			if f.was != 0 {
				*f.to = Max
			}
		}
	}
	l.p.writeRates(free)
}

// restore puts them back.
func (l *lifter) restore() {
	if l != nil && l.done {
		l.p.writeRates(l.rates)
	}
}

func (p *place) writeRates(rates []IOLimit) {
	for i := range rates {
		if p.Version == 2 {
			if line := rates[i].max(); line != "" {
				_ = p.write("io.max", rates[i].Device+line)
			}
			continue
		}
		throttleV1(&rates[i], func(file, data string) *step { _ = p.write(file, data); return nil })
	}
}
