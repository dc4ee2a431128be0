package image

import (
	"math"
	"strings"
)

// budget is what all layers of an image may still cost.
type budget struct {
	raw     int64 // bytes that layers uncompress to
	bytes   int64 // in files, holes counted in full
	entries int64
	names   int64 // see maxNames
	looks   int64 // see perEntry
	of      Limits
}

func newBudget(l Limits) *budget {
	return &budget{raw: l.Bytes, bytes: l.Bytes, entries: l.Entries, looks: perEntry * min(l.Entries, math.MaxInt64/perEntry), of: l}
}

// perEntry is how many names may be looked up for each entry that there may be. Real images take some dozens: the depth of a path, in each
// layer; an archive can be made for paths as deep as can be.
const perEntry = 100

// look takes the names of a path from what may be looked up.
func (b *budget) look(p string, layers int) error {
	if b.looks -= int64(strings.Count(p, "/")+1) * int64(layers); b.looks < 0 {
		return tooMuch("more than %d names to look up", perEntry*min(b.of.Entries, math.MaxInt64/perEntry))
	}
	return nil
}

// What is remembered of directories until a layer is complete is bounded, in bytes: their paths, and what else there is of each.
const (
	maxNames   = 64 << 20
	perDirName = 128
)

func (b *budget) entry() error {
	if b.entries--; b.entries < 0 {
		return tooMuch("more than %d files and directories", b.of.Entries)
	}
	return nil
}

func (b *budget) file(size int64) error {
	if size < 0 || size > b.bytes {
		return tooMuch("more than %d bytes in files", b.of.Bytes)
	}
	b.bytes -= size
	return nil
}

// tally counts what there is, and what is not as the archive has it.
type tally struct {
	bytes, entries         int64
	devices, owners, attrs int64
}
