package sandbox

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// template is what a shape's sandboxes are begun from once there is more than one of them. The zygote has the thing itself.
type template struct {
	ops    []rootfs.Op // nil: there can be none
	ground bool        // it is a ground

	mu      sync.Mutex
	made    *initSetup // nil: not yet, or not any more
	vain    restraint  // when one could not be made, or was gone when it was to be used
	useless bool       // it cannot be used here
}

// errTemplateGone says that the zygote has no such template, so that the sandbox has to be set up without.
var errTemplateGone = errors.New("no template")

// tamperTemplates has requests that are tampered with use templates too, which tests want that count their steps.
var tamperTemplates atomic.Bool

// useTemplate has e begun from the shape's template, which is made if there is none. Without one the set-up takes longer, and that is all.
func (e *engine) useTemplate(src *sources) {
	t := &e.shape.root
	if t.ops == nil || tamper.Load() != nil && !tamperTemplates.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil && !t.useless && t.vain.over() {
		made, err := e.makeTemplate(t, src)
		if err != nil {
			t.vain.failed()
			return
		}
		t.made = made
	}
	if t.made != nil {
		e.setup = t.made
	}
}

// makeTemplate has the zygote make a template.
func (e *engine) makeTemplate(t *template, src *sources) (*initSetup, error) {
	ground := compileGround(e.spec, e.facts)
	s := &initSetup{id: e.z.next.Add(1), template: ground, ground: e.z.next.Add(1)}
	if err := e.askTemplate(s.ground, ground, unix.CLONE_NEWPID, nil); err != nil {
		return nil, err
	}
	ops := t.ops
	if t.ground {
		s.initPlan = compileInitPart(e.spec, e.facts, e.ids, ops, src, e.walls.landlock, groundedPart)
		return s, nil
	}
	full := &sources{at: map[string]source{}, layered: src.layered}
	var fixed []string
	for _, op := range ops {
		b, ok := op.(rootfs.Bind)
		if !ok {
			continue
		}
		if own, ok := src.at[b.Source]; ok && own.fd >= 0 {
			full.at[b.Source] = own
		} else if dir, ok := e.facts.kinds[b.Source]; ok {
			full.at[b.Source] = source{fd: -1, dir: dir}
			fixed = append(fixed, b.Source)
		} else {
			return nil, unix.ENOENT
		}
	}
	s.template, s.number = compileTemplate(e.spec, e.facts, ops, full), e.z.next.Add(1)
	s.initPlan = compileInitPart(e.spec, e.facts, e.ids, ops, full, e.walls.landlock, ownPart)
	return s, e.askTemplate(s.number, s.template, 0, fixed)
}

// askTemplate asks the zygote for one of that number. namespaces are those that it is made in, sources what it takes of the host by name.
func (e *engine) askTemplate(number uint64, p *plan.Plan, namespaces uint64, sources []string) error {
	_, _, err := e.z.call(request{kind: wire.Template, plan: p, body: wire.TemplateRequest{
		Template: number, Launch: wire.Launch{Mode: uint8(launch.Direct), Flags: unix.CLONE_FILES | namespaces, Timeout: launchPatience}, Sources: sources,
	}})
	return err
}

// templateWorked notes that it was of use.
func (e *engine) templateWorked() {
	if e.setup.template == nil {
		return
	}
	t := &e.shape.root
	t.mu.Lock()
	defer t.mu.Unlock()
	t.vain.worked()
}

// withoutTemplate goes back to the whole plan if that may help after an error.
func (e *engine) withoutTemplate(err error) bool {
	if e.setup.template == nil {
		return false
	}
	var where *Error
	gone := errors.Is(err, errTemplateGone)
	refused := errors.As(err, &where) && where.Stage == "template"
	if !gone && !refused {
		return false
	}
	t := &e.shape.root
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == e.setup {
		t.made = nil
		t.vain.failed()
		t.useless = t.useless || refused
	}
	e.setup = e.shape.setup
	return true
}
