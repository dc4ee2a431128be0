package cgroup

import (
	"os"
	"sync/atomic"
)

// place is one group in one hierarchy as seen through a descriptor: the
// descriptor's own directory if name is empty, or the one below it.
type place struct {
	Dir    // of the group itself
	fd     int
	prefix string        // "" or "name/"
	limit  *atomic.Int64 // of memory, set by us; may be nil
	kept   []keptFile    // open already
	texts  *sheetTexts   // read already, by somebody else
}

// keptFile is an account file that stays open: reading it at offset 0 makes the kernel look again.
type keptFile struct {
	name string
	fd   int
}

// content hands f what a file has.
func (p *place) content(file string, f func(b []byte)) error {
	if p.texts != nil {
		return p.texts.content(file, f)
	}
	for _, k := range p.kept {
		if k.name == file {
			return readFD(k.fd, false, f)
		}
	}
	return withFile(p.fd, p.prefix+file, f)
}

// places of one group, one per hierarchy.
type places []place

// of returns the place which has controller c.
func (ps places) of(c Controllers) *place {
	for i := range ps {
		if ps[i].Controllers.Has(c) {
			return &ps[i]
		}
	}
	return nil
}

func (p *place) err(op, file, data string, err error) error {
	return &Error{op, p.Path + "/" + file, data, err}
}

func (p *place) read(file string, f func(b []byte)) error {
	if err := p.content(file, f); err != nil {
		return p.err("read", file, "", err)
	}
	return nil
}

// readIf leaves out a file which this kernel does not have.
func (p *place) readIf(file string, f func(b []byte)) error {
	if err := p.content(file, f); err != nil && !absent(err) {
		return p.err("read", file, "", err)
	}
	return nil
}

func (p *place) write(file, data string) error {
	if err := writeAt(p.fd, p.prefix+file, data); err != nil {
		return p.err("write", file, data, err)
	}
	return nil
}

// number puts the value of a one-number file into v. An absent file and "max"
// leave v alone.
func (p *place) number(file string, v *int64) error {
	return p.readIf(file, func(b []byte) {
		if n, ok := parseUint(b); ok {
			*v = bytesOf(n)
		}
	})
}

// dirName is the group's directory relative to fd.
func (p *place) dirName() string {
	if p.prefix == "" {
		return "."
	}
	return p.prefix[:len(p.prefix)-1]
}

// reached reports whether usage has been at the memory limit, which the
// kernel rounds down to pages.
func (p *place) reached(peak int64) bool {
	if p.limit == nil {
		return false
	}
	l := p.limit.Load()
	return l > 0 && peak > l-int64(os.Getpagesize())
}
