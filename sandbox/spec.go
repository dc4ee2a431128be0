package sandbox

import (
	"cmp"
	"maps"
	"slices"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
)

// What a sandbox has if no option says otherwise.
const (
	defaultHostname = "belljar"
	defaultID       = 1000 // user and group of the job, inside
	defaultDir      = "/box"
	defaultPath     = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// spec is a sandbox as it was asked for: all options folded into one value, with the
// defaults filled in and every mistake already found. It knows nothing of the host. It is
// never changed after newSpec; clone makes a copy to change.
type spec struct {
	name string // of the handle; "" for none

	namespaces     namespace.Set // of its own
	hostname       string        // "" if the UTS namespace is the host's
	offsets        *namespace.Offsets
	uidMap, gidMap []namespace.IDMap // nil: the engine chooses

	limits  cgroup.Limits // of the sandbox as a whole
	countIO bool          // block devices are accounted for
	parent  string        // the cgroup to be below; "" leaves it to the zygote
	run     Limits        // of each command; Memory and Pids are left to limits
	rlimits []Rlimit

	rootfsDir  string            // absolute; "" for the default root, or layers
	layers     []string          // absolute, the lowest first; nil: none
	image      *imageRoot        // whose layers the engine makes these; nil: none
	scratch    int64             // bytes of the layer in memory that takes what is written; 0: none
	upper      string            // absolute: the layer of the host that takes it; "": none
	upperSize  int64             // bytes that it may hold; 0: not bounded
	ops        []rootfs.Op       // the caller's, parents before children
	volumes    []rootfs.Volume   // whose directories some of the ops bind
	hosts      map[string]string // name to address, for /etc/hosts
	resolvConf []string          // lines of /etc/resolv.conf
	chroot     bool              // may stand in for pivot_root
	view       View              // of which machine the files of /proc tell
	hidePID    rootfs.HidePID
	pidsOnly   bool // /proc has processes and nothing else

	uid, gid uint32
	groups   []uint32
	caps     []uintptr // numbers, ascending
	env      []string  // ascending by name
	dir      string    // working directory; "" leaves it to the engine
	policy   *seccomp.Policy
	handlers []seccomp.Handler // never changed
	landlock landlockMode

	explicit   map[string]bool // options that were given, by name
	bestEffort map[string]bool // of those, the ones given only as BestEffort; see given

	asked  namespace.Set        // kinds asked for by WithPID and its like
	host   namespace.Set        // kinds given to WithHost
	values map[string]given     // values of the options that are single, to find contradictions
	strict map[string]bool      // keys that were given at least once without BestEffort
	files  map[string]rootfs.Op // operations by target, to find contradictions
	fresh  map[string]bool      // while a clone's options are folded: keys that they have given; nil otherwise
}

// Rlimit is one resource limit of every process of a command (getrlimit(2)).
type Rlimit struct {
	Resource   int // RLIMIT_* as Linux numbers it
	Soft, Hard uint64
}

// newSpec folds the options. It is pure but for looking up the current directory where a
// path of the host is relative. Its errors are *Error of stage "options".
func newSpec(opts []Option) (*spec, error) {
	s := &spec{
		hostname:   defaultHostname,
		rlimits:    defaultRlimits(),
		uid:        defaultID,
		gid:        defaultID,
		explicit:   map[string]bool{},
		bestEffort: map[string]bool{},
		values:     map[string]given{},
		strict:     map[string]bool{},
		files:      map[string]rootfs.Op{},
	}
	for _, o := range opts {
		if err := applyOption(o, s); err != nil {
			return nil, err
		}
	}
	for key := range s.strict {
		delete(s.bestEffort, key)
	}
	s.settle()
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// settle derives what depends on several options.
func (s *spec) settle() {
	own := namespace.All().Without(namespace.Time).Without(s.host.Kinds()...)
	if s.offsets != nil {
		own = own.With(namespace.Time)
	}
	s.namespaces = own
	if !own.Has(namespace.UTS) {
		s.hostname = ""
	}
	// Memory that is not limited needs no controller, so nothing is set for it.
	s.limits.OOMGroup = s.limits.Memory > 0
	s.env = withPath(s.env)
	slices.Sort(s.groups)
	slices.SortFunc(s.rlimits, func(a, b Rlimit) int { return a.Resource - b.Resource })
	slices.SortFunc(s.limits.Hugepages, func(a, b cgroup.HugepageLimit) int { return cmp.Compare(a.Size, b.Size) })
	s.ops = sortedOps(s.files)
}

// clone returns a copy that shares nothing with s that either could change.
func (s *spec) clone() *spec {
	c := *s
	if s.offsets != nil {
		o := *s.offsets
		c.offsets = &o
	}
	if s.policy != nil {
		p := s.policy.Clone()
		c.policy = &p
	}
	c.handlers = slices.Clone(s.handlers)
	c.uidMap, c.gidMap = slices.Clone(s.uidMap), slices.Clone(s.gidMap)
	c.limits.IO, c.limits.Hugepages = slices.Clone(s.limits.IO), slices.Clone(s.limits.Hugepages)
	c.rlimits, c.groups, c.caps = slices.Clone(s.rlimits), slices.Clone(s.groups), slices.Clone(s.caps)
	c.env, c.resolvConf, c.layers = slices.Clone(s.env), slices.Clone(s.resolvConf), slices.Clone(s.layers)
	c.ops, c.volumes = cloneOps(s.ops), slices.Clone(s.volumes)
	c.hosts, c.values = maps.Clone(s.hosts), maps.Clone(s.values)
	c.explicit, c.bestEffort, c.strict = maps.Clone(s.explicit), maps.Clone(s.bestEffort), maps.Clone(s.strict)
	c.files = make(map[string]rootfs.Op, len(s.ops))
	for _, op := range c.ops {
		c.files[op.Path()] = op
	}
	return &c
}

// mayGiveUp reports whether what the option of this name asks for may be left out if the
// host cannot enforce it. Options that were not given are requirements too: the defaults.
// For WithRlimit the name is followed by a space and the resource's.
func (s *spec) mayGiveUp(option string) bool { return s.bestEffort[option] }

// commandLimits returns the limits of a command: the sandbox's own, tightened by l.
func (s *spec) commandLimits(l Limits) Limits {
	own := s.run
	own.Memory, own.Pids = max(s.limits.Memory, 0), s.limits.Pids
	return l.within(own)
}
