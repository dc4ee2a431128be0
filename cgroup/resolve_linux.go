package cgroup

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// resolved is l with devices as major:minor, checked to be whole disks, and
// with weights that some device goes by.
func (l Limits) resolved(dirs []Dir) (Limits, error) {
	if len(l.IO) > 0 {
		l.IO = append([]IOLimit(nil), l.IO...)
	}
	for i := range l.IO {
		id, err := resolveDevice(l.IO[i].Device)
		if err != nil {
			return l, err
		}
		for _, o := range l.IO[:i] {
			if o.Device == id {
				return l, &InvalidError{"IO", l.IO[i].String(), "names a device that was named before, as " + id}
			}
		}
		l.IO[i].Device = id
	}
	if l.IOWeight != 0 && l.IOWeight != defaultWeight && !weightsCount(dirs) {
		return l, &UnsupportedError{
			Feature: "IOWeight", Reason: "no block device here is shared by weight",
			Remedy: "echo bfq > /sys/block/DISK/queue/scheduler, or on v2 enable iocost (io.cost.qos)", Fields: []string{"IOWeight"},
		}
	}
	return l, nil
}

// resolveDevice returns major:minor of a whole disk, by its node or by numbers.
func resolveDevice(name string) (string, error) {
	fail := func(why, remedy string, err error) (string, error) {
		return "", &UnsupportedError{Feature: "IO limit of " + name, Reason: why, Remedy: remedy, Err: err, Fields: []string{"IO"}}
	}
	id := name
	if !isDevice(name) {
		var st unix.Stat_t
		switch err := unix.Stat(name, &st); {
		case err != nil:
			return fail("no such device", "lsblk -o PATH,MAJ:MIN lists those there are", err)
		case st.Mode&unix.S_IFMT != unix.S_IFBLK:
			return fail("it is no block device", "name the disk: findmnt -no SOURCE -T "+name+" tells on which device a file is", unix.ENOTBLK)
		}
		id = itoa(int(unix.Major(st.Rdev))) + ":" + itoa(int(unix.Minor(st.Rdev)))
	}
	const sys = "/sys/dev/block/"
	link, err := os.Readlink(sys + id)
	if err != nil {
		if unix.Access(sys, unix.F_OK) != nil {
			return id, nil // no sysfs: the kernel says it when the limit is written
		}
		return fail("there is no block device "+id, "lsblk -o PATH,MAJ:MIN lists those there are", unix.ENODEV)
	}
	if unix.Access(sys+id+"/partition", unix.F_OK) == nil {
		disk := path.Base(path.Dir(link))
		s, _ := readString(unix.AT_FDCWD, sys+id+"/../dev")
		return fail("it is a partition, and the kernel divides whole disks", "name /dev/"+disk+" ("+strings.TrimSpace(s)+")", unix.ENODEV)
	}
	return id, nil
}

// countDevices has v1 keep accounts of every disk: kernels since 6.10 do so only
// once something has been said about a limit on it (blk_throtl_init in
// tg_set_conf, block/blk-throttle.c). What is said is that there is none.
func (ps places) countDevices(bounded []IOLimit) {
	p := ps.of(IOController)
	if p == nil || p.Version == 2 {
		return
	}
	disks, _ := os.ReadDir("/sys/block")
	for _, d := range disks {
		id, err := readString(unix.AT_FDCWD, "/sys/block/"+d.Name()+"/dev")
		id = strings.TrimSpace(id)
		if err == nil && !slices.ContainsFunc(bounded, func(l IOLimit) bool { return l.Device == id }) {
			// A disk that cannot be bounded is not counted either.
			_ = p.write("blkio.throttle.read_bps_device", id+" 0")
		}
	}
}

// weightsCount reports whether a device is shared by weight. Where that cannot
// be seen, it is taken to be so.
func weightsCount(dirs []Dir) bool {
	disks, err := os.ReadDir("/sys/block")
	if err != nil {
		return true
	}
	for _, d := range disks {
		s, err := readString(unix.AT_FDCWD, "/sys/block/"+d.Name()+"/queue/scheduler")
		if err == nil && strings.Contains(s, "[bfq]") {
			return true
		}
	}
	return iocostOn(dirs)
}

// iocostOn looks at io.cost.qos, which is in the root group only.
func iocostOn(dirs []Dir) bool {
	for _, d := range dirs {
		if d.Version != 2 || !d.Controllers.Has(IOController) {
			continue
		}
		for dir := d.Path; ; dir = path.Dir(dir) {
			s, err := readString(unix.AT_FDCWD, dir+"/io.cost.qos")
			if err == nil {
				return strings.Contains(s, "enable=1")
			}
			if unix.Access(dir+"/cgroup.controllers", unix.F_OK) != nil {
				break // the root is out of sight
			}
		}
	}
	return false
}

// checkSets compares what the cpuset controller of v2 uses with what it was
// given: it takes any list, and falls back on the CPUs and nodes of the group
// above if that has none of them. v1 refuses a list that is not part of the one above.
func (ps places) checkSets(l Limits) (notes []string, err error) {
	p := ps.of(CPUSetController)
	if p == nil || p.Version == 1 {
		return nil, nil
	}
	for _, s := range l.sets() {
		if s.value == "" || s.value == AllOfThem {
			continue
		}
		var text string
		if err := p.read(s.file+".effective", func(b []byte) { text = string(b) }); err != nil {
			return nil, err
		}
		want, err := parseSet(s.value, s.most)
		if err != nil {
			return nil, err
		}
		have, err := parseSet(text, s.most)
		if err != nil {
			return nil, &Error{Op: "read", Path: p.Path + "/" + s.file + ".effective", Data: text, Err: errors.Join(unix.EPROTO, err)}
		}
		switch usable := want.and(have); {
		case len(usable) == 0:
			return nil, &UnsupportedError{
				Feature: s.field, Reason: "none of the " + s.things + " " + want.String() + " can be used here, only " + have.String(),
				Remedy: "choose among those, or give the group above more", Err: unix.EINVAL, Fields: []string{s.field},
			}
		case usable.String() != want.String():
			notes = append(notes, s.field+" "+want.String()+": only "+usable.String()+" of them can be used here, for the group above has no more")
		}
	}
	return notes, nil
}
