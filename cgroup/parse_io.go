package cgroup

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseIOStat reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func parseIOStat(b []byte) []DeviceIO {
	var all []DeviceIO
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || !isDevice(f[0]) {
			continue
		}
		d := DeviceIO{Device: f[0]}
		for _, kv := range f[1:] {
			k, s, _ := strings.Cut(kv, "=")
			v, ok := parseUint([]byte(s))
			if !ok {
				continue
			}
			switch k {
			case "rbytes":
				d.ReadBytes = bytesOf(v)
			case "wbytes":
				d.WriteBytes = bytesOf(v)
			case "dbytes":
				d.DiscardBytes = bytesOf(v)
			case "rios":
				d.Reads = v
			case "wios":
				d.Writes = v
			case "dios":
				d.Discards = v
			}
		}
		all = append(all, d)
	}
	return all
}

// parseBlkio adds one of blkio.throttle.io_service_bytes_recursive ("8:0 Read
// 4096") and blkio.throttle.io_serviced_recursive (ops) to all.
func parseBlkio(b []byte, all []DeviceIO, ops bool) []DeviceIO {
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 || !isDevice(f[0]) {
			continue
		}
		v, ok := parseUint([]byte(f[2]))
		if !ok {
			continue
		}
		i := 0
		for i < len(all) && all[i].Device != f[0] {
			i++
		}
		if i == len(all) {
			all = append(all, DeviceIO{Device: f[0]})
		}
		all[i].addBlkio(f[1], v, ops)
	}
	return all
}

func (d *DeviceIO) addBlkio(what string, v uint64, ops bool) {
	switch {
	case what == "Read" && ops:
		d.Reads = v
	case what == "Read":
		d.ReadBytes = bytesOf(v)
	case what == "Write" && ops:
		d.Writes = v
	case what == "Write":
		d.WriteBytes = bytesOf(v)
	case what == "Discard" && ops:
		d.Discards = v
	case what == "Discard":
		d.DiscardBytes = bytesOf(v)
	}
}

func isDevice(s string) bool {
	a, b, ok := strings.Cut(s, ":")
	_, ok1 := parseUint([]byte(a))
	_, ok2 := parseUint([]byte(b))
	return ok && ok1 && ok2
}

// parsePressure reads a .pressure file:
// "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
func parsePressure(b []byte) Stall {
	var s Stall
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		t := parseStallTime(f[1:])
		switch f[0] {
		case "some":
			s.Some = t
		case "full":
			s.Full = t
		}
	}
	return s
}

func parseStallTime(fields []string) StallTime {
	var t StallTime
	for _, kv := range fields {
		k, v, _ := strings.Cut(kv, "=")
		if k == "total" {
			if n, ok := parseUint([]byte(v)); ok {
				t.Total = nanos(n, time.Microsecond)
			}
			continue
		}
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || !(x >= 0 && x <= 100) {
			continue
		}
		switch k {
		case "avg10":
			t.Avg10 = x
		case "avg60":
			t.Avg60 = x
		case "avg300":
			t.Avg300 = x
		}
	}
	return t
}

// addIO is the sum of two accounts. It changes neither.
func addIO(a, b []DeviceIO) []DeviceIO {
	sum := append([]DeviceIO(nil), a...)
next:
	for _, d := range b {
		for i := range sum {
			if s := &sum[i]; s.Device == d.Device {
				s.ReadBytes += d.ReadBytes
				s.WriteBytes += d.WriteBytes
				s.DiscardBytes += d.DiscardBytes
				s.Reads += d.Reads
				s.Writes += d.Writes
				s.Discards += d.Discards
				continue next
			}
		}
		sum = append(sum, d)
	}
	return sum
}

// used leaves out devices that nothing has reached.
func used(all []DeviceIO) []DeviceIO {
	return slices.DeleteFunc(all, func(d DeviceIO) bool { return d == (DeviceIO{Device: d.Device}) })
}
