package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// IOLimit bounds what a group may move to and from one block device. A field
// that is 0 sets no limit, Max takes one away.
type IOLimit struct {
	// Device is a whole disk, as major:minor ("8:0") or by the path of its
	// node ("/dev/sda"), which New looks up. A partition is refused: the
	// kernel divides disks only.
	Device string
	// ReadBytes and WriteBytes are bytes per second, ReadOps and WriteOps
	// operations per second: io.max, or blkio.throttle.* on v1. On v1 what
	// goes through the page cache is written by the kernel later, and not on
	// the group's account; limits of the groups above do not hold below; and
	// leaves have no accounts of devices in a sandbox with such limits.
	ReadBytes, WriteBytes, ReadOps, WriteOps int64
	// Weight takes the place of Limits.IOWeight for this device.
	Weight int
}

// minRate keeps a process that waits for one request of a megabyte from
// waiting, where SIGKILL does not reach it, for much longer than a minute.
const minRate = 16 << 10

// rates lists what bounds the device, with the key of io.max and the file of v1.
func (l *IOLimit) rates() [4]ioRate {
	return [4]ioRate{
		{"ReadBytes", "rbps", "blkio.throttle.read_bps_device", l.ReadBytes},
		{"WriteBytes", "wbps", "blkio.throttle.write_bps_device", l.WriteBytes},
		{"ReadOps", "riops", "blkio.throttle.read_iops_device", l.ReadOps},
		{"WriteOps", "wiops", "blkio.throttle.write_iops_device", l.WriteOps},
	}
}

type ioRate struct {
	field, key, v1 string
	value          int64
}

// String is the limit in the kernel's words: "8:0 rbps=1048576 weight=50".
func (l IOLimit) String() string {
	s := l.Device + l.max()
	if l.Weight != 0 {
		s += " weight=" + strconv.Itoa(l.Weight)
	}
	return s
}

// max is the line of io.max without the device.
func (l *IOLimit) max() string {
	s := ""
	for _, r := range l.rates() {
		if r.value != 0 {
			s += " " + r.key + "=" + maxOr(r.value)
		}
	}
	return s
}

// hasRates reports whether anything is bounded, rather than only weighed.
func (l Limits) hasRates() bool {
	for i := range l.IO {
		if l.IO[i].max() != "" {
			return true
		}
	}
	return false
}

// with is l with what o sets.
func (l IOLimit) with(o IOLimit) IOLimit {
	for _, f := range []struct {
		to   *int64
		from int64
	}{{&l.ReadBytes, o.ReadBytes}, {&l.WriteBytes, o.WriteBytes}, {&l.ReadOps, o.ReadOps}, {&l.WriteOps, o.WriteOps}} {
		if f.from != 0 {
			*f.to = f.from
		}
	}
	if o.Weight != 0 {
		l.Weight = o.Weight
	}
	return l
}

func (l Limits) validateIO() error {
	seen := map[string]bool{}
	for i := range l.IO {
		d := &l.IO[i]
		bad := func(why string) error { return &InvalidError{"IO", d.String(), why} }
		switch {
		case d.Device == "":
			return bad("names no device")
		case strings.ContainsFunc(d.Device, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return bad("has a device whose name contains a blank or a control character")
		case !isDevice(d.Device) && d.Device[0] != '/':
			return bad("has a device that is neither major:minor nor an absolute path")
		case seen[d.Device]:
			return bad("names a device that was named before")
		}
		seen[d.Device] = true
		for _, r := range d.rates() {
			switch v := r.value; {
			case v == 0 || v == Max:
			case v < 0:
				return bad(r.field + " is negative")
			case strings.HasSuffix(r.field, "Bytes") && v < minRate:
				return bad(fmt.Sprintf("%s is less than %d a second: a process waiting for a large request could not be killed for minutes", r.field, minRate))
			case strings.HasSuffix(r.field, "Ops") && v >= math.MaxUint32:
				return bad(r.field + " is more than the kernel's 4294967294")
			}
		}
		if d.Weight < 0 || d.Weight > maxWeight {
			return bad("has a weight outside of 1 to 10000")
		}
		if *d == (IOLimit{Device: d.Device}) {
			return bad("sets nothing")
		}
	}
	if l.IOWeight < 0 || l.IOWeight > maxWeight {
		return invalid("IOWeight", int64(l.IOWeight), "outside of 1 to 10000")
	}
	return nil
}

// bfqWeight fits the scale of cgroup v2 into BFQ's, which ends at 1000 and has
// the same default. The order of weights is kept, above 100 not their ratio.
func bfqWeight(w int) int {
	if w <= 100 {
		return w
	}
	return 100 + (w-100)*900/9900
}

// mergeIO is a with the entries of b, which take precedence field by field.
func mergeIO(a, b []IOLimit) []IOLimit {
	all := append([]IOLimit(nil), a...)
next:
	for _, o := range b {
		for i := range all {
			if all[i].Device == o.Device {
				all[i] = all[i].with(o)
				continue next
			}
		}
		all = append(all, o)
	}
	return all
}

// IOChange is what Update must be given so that limits on devices become those of
// to, and no others, where they were those of from.
func IOChange(from, to []IOLimit) []IOLimit { return undoIO(to, from) }

// undoIO is what must be set so that a holds again after b has been set.
func undoIO(a, b []IOLimit) []IOLimit {
	back := func(before, set int64) int64 {
		if set != 0 && before == 0 {
			return Max
		}
		return before
	}
	all := append([]IOLimit(nil), a...)
	for _, o := range b {
		i := 0
		for i < len(all) && all[i].Device != o.Device {
			i++
		}
		if i == len(all) {
			all = append(all, IOLimit{Device: o.Device})
		}
		d := &all[i]
		d.ReadBytes, d.WriteBytes = back(d.ReadBytes, o.ReadBytes), back(d.WriteBytes, o.WriteBytes)
		d.ReadOps, d.WriteOps = back(d.ReadOps, o.ReadOps), back(d.WriteOps, o.WriteOps)
		if o.Weight != 0 && d.Weight == 0 {
			d.Weight = defaultWeight
		}
	}
	return all
}

const defaultWeight = 100 // CGROUP_WEIGHT_DFL
