package cgroup

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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

// addLift has a kill lift the rates of a group, if it has any.
func (k *killer) addLift(p *place, rates []IOLimit) {
	if p != nil && len(rates) > 0 {
		k.lifts = append(k.lifts, &lifter{p: p, rates: rates, since: time.Now()})
	}
}

// addLiftAll is addLift for a group that goes, whatever is bounded in it and
// below.
func (k *killer) addLiftAll(p *place) {
	if p != nil {
		k.lifts = append(k.lifts, &lifter{p: p, since: time.Now()})
	}
}

// lift is called until it is time, and takes the rates away once.
func (l *lifter) lift() {
	if l.done || time.Since(l.since) < liftAfter {
		return
	}
	l.done = true
	if l.rates == nil {
		freeTree(l.p.fd, l.p.dirName(), l.p.Version)
		return
	}
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
	if l.done && l.rates != nil {
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

// freeTree takes every rate away in a group and in those below it.
func freeTree(dirfd int, name string, version int) {
	fd, subs, err := openSubdirs(dirfd, name)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	files := []string{"io.max"}
	if version == 1 {
		files = files[:0]
		for _, r := range (&IOLimit{}).rates() {
			files = append(files, r.v1)
		}
	}
	for _, f := range files {
		s, _ := readString(fd, f)
		for _, line := range strings.Split(s, "\n") {
			dev, _, _ := strings.Cut(line, " ")
			switch {
			case !isDevice(dev):
			case version == 1:
				_ = writeAt(fd, f, dev+" 0")
			default:
				_ = writeAt(fd, f, dev+" rbps=max wbps=max riops=max wiops=max")
			}
		}
	}
	for _, s := range subs {
		freeTree(fd, s, version)
	}
}
