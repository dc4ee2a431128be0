package sandbox

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
)

// shape is what sandboxes that were asked for in the same words have in common: all that is compiled, which depends on nothing but the spec and the
// facts of the host. What a sandbox has of the host, its descriptors above all, is opened for each anew. It is never changed once it is shared.
type shape struct {
	spec    *spec // as asked for
	facts   *hostFacts
	ids     idPlan
	walls   walls
	setup   *initSetup // without a template
	root    template   // with one
	points  []string
	bounded []string          // disk.targets
	ops     []rootfs.Op       // of the root
	opened  map[string]source // what is opened for each sandbox anew
	known   map[string]source // what need not be
	layered bool              // the root lacked something that is made in a layer over it
	skipped []string          // optional binds without a source
	notes   []string          // of the report, that come of compiling

	mu    sync.Mutex
	bases map[baseKey]*commandBase
}

// initSetup is a plan of PID 1 that the zygote may have.
type initSetup struct {
	*initPlan
	id       uint64      // of the zygote's copy of the plan; 0: it has none
	known    atomic.Bool // the zygote has it
	template *plan.Plan  // what made the template, or the ground alone, that the plan goes on from; nil: there is none
	number   uint64      // of the template; 0: there is a ground alone
	ground   uint64      // number of the ground
}

type baseKey struct {
	commandShape
	tasks int
}

// maxShapes bounds what is kept of sandboxes of different shapes, here and in the zygote, and of commands of different shapes in one of them.
const maxShapes = 16

// shapes are those used last, the newest first.
type shapes struct {
	mu   sync.Mutex
	list []*shape
}

// find returns the shape of a spec, if there has been one. Functions in a spec make it equal to no other.
func (l *shapes) find(s *spec, f *hostFacts) *shape {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, sh := range l.list {
		if sh.facts == f && (sh.spec == s || sh.spec.alike(s) && reflect.DeepEqual(sh.spec, s)) {
			copy(l.list[1:i+1], l.list[:i])
			l.list[0] = sh
			return sh
		}
	}
	return nil
}

// alike is false for most specs that differ.
func (s *spec) alike(o *spec) bool {
	return s.name == o.name && s.hostname == o.hostname && s.dir == o.dir && s.rootfsDir == o.rootfsDir && s.uid == o.uid &&
		len(s.ops) == len(o.ops) && len(s.env) == len(o.env) && len(s.values) == len(o.values) && s.limits.Memory == o.limits.Memory
}

func (l *shapes) add(sh *shape) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.Insert(l.list[:min(len(l.list), maxShapes-1)], 0, sh)
}

// drop forgets one that the host has outgrown.
func (l *shapes) drop(sh *shape) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(o *shape) bool { return o == sh })
}

// shareable tells whether another sandbox of the same words is the same but for its descriptors: nothing of the host is taken, made or looked into for
// this one alone.
func (e *engine) shareable(ops []rootfs.Op) bool {
	s := e.spec
	if s.image != nil || len(s.layers) > 0 || s.writable() || s.view != ViewHost || len(s.volumes) > 0 || len(s.handlers) > 0 ||
		e.walls.listening != nil || len(e.report.GivenUp) > 0 {
		return false
	}
	return !slices.ContainsFunc(ops, func(op rootfs.Op) bool {
		switch op := op.(type) {
		case rootfs.Bind:
			return op.Flags&rootfs.BindCreate != 0
		case rootfs.Base, rootfs.Tmpfs, rootfs.File, rootfs.Dir, rootfs.Symlink, rootfs.Proc, rootfs.Dev, rootfs.Mask, rootfs.ReadOnly:
			return false
		}
		return true
	})
}

// newShape notes what was compiled for e, for others too if they may use it.
func (e *engine) newShape(asked *spec, p *initPlan, src *sources, ops []rootfs.Op) {
	sh := &shape{
		spec: asked, facts: e.facts, ids: e.ids, walls: e.walls, setup: &initSetup{initPlan: p}, points: e.points, bounded: e.disk.targets,
		opened: map[string]source{}, known: map[string]source{}, skipped: src.skipped, ops: ops, layered: src.layered, notes: slices.Clone(e.report.Notes),
	}
	e.shape, e.setup = sh, sh.setup
	if !e.shareable(ops) {
		return
	}
	for path, s := range src.at {
		if s.fd >= 0 {
			sh.opened[path] = s
		} else {
			sh.known[path] = s
		}
	}
	sh.setup.id = e.z.next.Add(1)
	if templatable(e.spec, e.facts, e.ids, ops, src) {
		sh.root.ops = ops
	} else if groundable(e.spec, e.facts, e.ids, ops) {
		sh.root.ops, sh.root.ground = ops, true
	}
	e.z.shapes.add(sh)
}

// useShape makes e one of a shape that is known, and opens what it has of the host. It is false where the host has changed so that everything has
// to be looked at again.
func (e *engine) useShape(sh *shape) (*sources, bool) {
	src := &sources{at: maps.Clone(sh.known)}
	if !sh.finds(src) {
		src.close()
		return nil, false
	}
	e.spec, e.facts, e.ids, e.walls, e.shape, e.setup = sh.spec, sh.facts, sh.ids, sh.walls, sh, sh.setup
	e.points, e.disk.targets, e.held = sh.points, sh.bounded, &holdings{}
	e.report.Notes = slices.Clone(sh.notes)
	return src, true
}

// finds opens what there is of the host, and is false if it, or what it has in it, is not what the plan was compiled for.
func (sh *shape) finds(src *sources) bool {
	for path, s := range sh.opened {
		if src.open(path, s.handle) != nil || src.at[path].dir != s.dir {
			return false
		}
	}
	for _, path := range sh.skipped {
		if _, err := os.Stat(path); err == nil {
			return false
		}
	}
	if src.checkPoints(sh.ops) != nil || !sh.spec.writable() && src.incomplete(sh.ops) != sh.layered {
		return false
	}
	src.layered = sh.layered
	return true
}

// base returns the plan that commands of a sandbox of this shape begin with.
func (sh *shape) base(e *engine, c commandShape) *commandBase {
	key := baseKey{c, e.tasks}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if b := sh.bases[key]; b != nil {
		return b
	}
	b := e.z.shareBase(compileBase(e.spec, e.ids, e.facts.lastCap, e.tasks, &e.walls, c))
	if sh.bases == nil || len(sh.bases) >= maxShapes {
		sh.bases = map[baseKey]*commandBase{}
	}
	sh.bases[key] = b
	return b
}
