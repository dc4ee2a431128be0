package cgroup

import "strconv"

// ioLimits writes what bounds devices, and weights: to both schedulers that
// know them, as far as the kernel has them.
func ioLimits(version int, l Limits, write writer) {
	for i := range l.IO {
		if version == 2 {
			if line := l.IO[i].max(); line != "" {
				write("io.max", l.IO[i].Device+line)
			}
		} else {
			throttleV1(&l.IO[i], write)
		}
	}
	weight := ioWeightV2
	if version == 1 {
		weight = ioWeightV1
	}
	if l.IOWeight != 0 {
		weight("", l.IOWeight, write)
	}
	for i := range l.IO {
		if l.IO[i].Weight != 0 {
			weight(l.IO[i].Device, l.IO[i].Weight, write)
		}
	}
}

// throttleV1 has a file for each rate; 0 takes a limit away there.
func throttleV1(d *IOLimit, write writer) {
	for _, r := range d.rates() {
		if r.value != 0 {
			write(r.v1, d.Device+" "+strconv.FormatInt(max(r.value, 0), 10))
		}
	}
}

// ioWeightV2 is for the group if device is empty. Each scheduler refuses
// devices which it does not schedule, so a device's weight is written where it
// is taken.
func ioWeightV2(device string, w int, write writer) {
	of := "default"
	if device != "" {
		of = device
	}
	cost := write("io.weight", of+" "+strconv.Itoa(w))
	at, group := cost.at, cost.rel[:len(cost.rel)-len("io.weight")]
	bfq := step{do: opWrite, at: at, rel: group + "io.bfq.weight", data: of + " " + strconv.Itoa(bfqWeight(w))}
	cost.orElse = &bfq
	if device != "" {
		cost.elsewhere = true
		return
	}
	write("io.bfq.weight", bfq.data).optional = true
}

func ioWeightV1(device string, w int, write writer) {
	file, data := "blkio.bfq.weight", strconv.Itoa(bfqWeight(w))
	if device != "" {
		file, data = "blkio.bfq.weight_device", device+" "+data
	}
	write(file, data)
}
