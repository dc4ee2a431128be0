package seccomp

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxProfile bounds a profile file; the largest in use are some 20 KiB.
const maxProfile = 1 << 20

// Parse reads a policy in the JSON form of Docker's and Podman's profile files, which OCI runtimes take as linux.seccomp,
// for a program without capabilities on this host. [ParseFor] reads it for others.
//
// Rules are tried in the file's order, and the first that holds decides; [Policy.Portable] tells where a runtime on
// libseccomp, which knows no order, would decide otherwise. Rules for a call behind one that takes it whatever its
// arguments are left out: profiles in use have them. Where a rule has several conditions on one argument, any one of
// them suffices, as in runc. SCMP_ACT_KILL and SCMP_ACT_KILL_THREAD become [KillProcess]: a process that lost one thread
// hangs more often than it ends. SCMP_ACT_NOTIFY becomes [Ask]. Unknown numbers answer ENOSYS unless the profile's default
// lets calls through.
//
// If the profile lists architectures, the host's must be among them. Sub-architectures become [Policy.SubArches], as in
// engines' profiles 386 beside amd64: set that to nil to have no 32-bit programs. Of x32 nothing comes, whose calls
// answer ENOSYS, as of architectures this package has no table of. Conditions on the architecture become [Rule.Arches].
//
// The policy is valid. Errors are of type *[ParseError] and say where; besides those of [Policy.Validate] there are
// [ErrUnsupported] for actions, flags and listeners a Policy cannot hold, and reading errors as they come. A field that is
// misspelt, stands twice or has a value of another type is an [ErrInvalid].
func Parse(r io.Reader) (Policy, error) { return ParseFor(r, Target{}) }

// Target is for whom a profile is read: its "includes" and "excludes" are decided by it.
type Target struct {
	Arch         Arch     // zero: this host's
	Capabilities []string // those the program will have, as in "CAP_SYS_ADMIN"; none by default
	Kernel       string   // the kernel's version, as in "6.1"; empty: this host's
}

// ParseFor is [Parse] for a program with other capabilities, another kernel or another architecture.
func ParseFor(r io.Reader, t Target) (Policy, error) {
	t, err := t.complete()
	if err != nil {
		return Policy{}, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxProfile+1))
	if err != nil {
		return Policy{}, fmt.Errorf("read profile: %w", err)
	}
	if len(text) > maxProfile {
		return Policy{}, fmt.Errorf("read profile: %w: more than %d bytes", ErrTooLarge, maxProfile)
	}
	p := parser{reader: newReader(text), target: t, taken: map[Arch]map[string]bool{AMD64: {}, ARM64: {}}}
	policy, err := p.parse()
	if err != nil {
		return Policy{}, p.located(err)
	}
	return policy, nil
}

// UnmarshalJSON is [Parse], for a policy within other JSON. Lines are counted from where the policy begins.
func (p *Policy) UnmarshalJSON(text []byte) error {
	policy, err := Parse(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	*p = policy
	return nil
}

func (t Target) complete() (Target, error) {
	if t.Arch == 0 {
		t.Arch = NativeArch()
	} else if !slices.Contains(supported, t.Arch) {
		return t, fmt.Errorf("%w: target: %s", ErrUnsupported, t.Arch)
	}
	if t.Kernel == "" {
		major, minor := kernelVersion()
		t.Kernel = fmt.Sprintf("%d.%d", major, minor)
	}
	if _, err := parseVersion(t.Kernel); err != nil {
		return t, fmt.Errorf("target: %w", err)
	}
	return t, nil
}

// ParseError is a mistake in a profile.
type ParseError struct {
	Line, Column int    // from 1; bytes, not characters
	Path         string // such as "syscalls[3].names[0]"; may be empty
	Err          error
}

// Error has the form "line 12, column 3: syscalls[3].names[0]: seccomp: rule 3, "opne": unknown system call".
func (e *ParseError) Error() string {
	text := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Path != "" {
		text += e.Path + ": "
	}
	return text + e.Err.Error()
}

// Unwrap gives Err.
func (e *ParseError) Unwrap() error { return e.Err }

type parser struct {
	*reader
	target  Target
	head    head
	entries []entry
	sources []int // for each rule made, its entry
	taken   map[Arch]map[string]bool
}

// head is the part of the form that is no list of rules.
type head struct {
	action                         actionFields
	architectures, sub, flags      []value[string]
	listenerPath, listenerMetadata value[string]
}

// actionFields say what is done, the errno by number or by name.
type actionFields struct {
	action, errno value[string]
	errnoRet      value[uint64]
}

// parse reads the file's one object and makes a policy of it.
func (p *parser) parse() (Policy, error) {
	h := &p.head
	if p.begin() < int64(len(p.text)) && p.text[p.begin()] == 'n' {
		return Policy{}, &at{p.here(), fmt.Errorf("%w: null in place of an object", ErrInvalid)}
	}
	err := p.object(map[string]func() error{
		"defaultAction":    p.wordField(&h.action.action),
		"defaultErrnoRet":  p.numberField(&h.action.errnoRet),
		"defaultErrno":     p.wordField(&h.action.errno),
		"architectures":    p.wordsField(&h.architectures),
		"archMap":          func() error { return p.list(p.archMap) },
		"flags":            p.wordsField(&h.flags),
		"listenerPath":     p.wordField(&h.listenerPath),
		"listenerMetadata": p.wordField(&h.listenerMetadata),
		"syscalls":         func() error { return p.list(p.entry) },
	})
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return Policy{}, err
	}
	return p.policy()
}

// archMap reads an architecture with those that may stand beside it.
func (p *parser) archMap() error {
	var sub []value[string]
	main := value[string]{place: p.here()}
	err := p.object(map[string]func() error{
		"architecture":     p.wordField(&main),
		"subArchitectures": p.wordsField(&sub),
	})
	if err != nil {
		return err
	}
	p.head.architectures = append(p.head.architectures, main)
	for _, s := range sub {
		if err := checkArchitecture(s); err != nil {
			return err
		}
	}
	p.head.sub = append(p.head.sub, sub...)
	return nil
}

func (p *parser) policy() (Policy, error) {
	policy, err := p.frame()
	if err != nil {
		return Policy{}, err
	}
	for i, e := range p.entries {
		rules, err := e.rules(p.target)
		if err != nil {
			return Policy{}, err
		}
		for _, r := range rules {
			for _, r := range p.reachable(r) {
				policy.Rules = append(policy.Rules, r)
				p.sources = append(p.sources, i)
			}
		}
	}
	if err := policy.Validate(); err != nil {
		return Policy{}, p.policyError(err)
	}
	return policy, nil
}

// frame makes a policy without its rules.
func (p *parser) frame() (policy Policy, err error) {
	h := &p.head
	if !h.action.action.set {
		return Policy{}, &at{place{0, "defaultAction"}, &PolicyError{Rule: -1, Reason: "no default action", Err: ErrEmpty}}
	}
	if policy.Default, err = h.action.read(); err != nil {
		return Policy{}, err
	}
	if policy.Default == Allow || policy.Default == Log {
		policy.Unknown = policy.Default
	}
	if l := h.listenerPath; l.v != "" {
		return Policy{}, &at{l.place, fmt.Errorf("%w: a listener at %q: who answers is up to the loader of the filter", ErrUnsupported, clipped(l.v))}
	}
	if policy.Flags, err = readFlags(h.flags); err != nil {
		return Policy{}, err
	}
	if err := p.checkArchitectures(); err != nil {
		return Policy{}, err
	}
	policy.SubArches = p.subArches()
	return policy, nil
}

// subArches are those listed, on either level, together with the architecture they stand beside.
func (p *parser) subArches() (subs []Arch) {
	listed := func(list []value[string], name string) bool {
		return slices.ContainsFunc(list, func(v value[string]) bool { return v.v == name })
	}
	for _, arch := range tabled {
		name, main := scmpArches[arch], arch.main()
		beside := listed(p.head.architectures, scmpArches[main]) || main == p.target.Arch && listed(p.head.architectures, scmpNative)
		if main != arch && beside && (listed(p.head.sub, name) || listed(p.head.architectures, name)) {
			subs = append(subs, arch)
		}
	}
	return subs
}

func readFlags(names []value[string]) (flags Flags, err error) {
	for _, name := range names {
		i := slices.IndexFunc(flagNames, func(f flagName) bool { return flagPrefix+f.name == name.v })
		if i < 0 {
			return 0, &at{name.place, fmt.Errorf("%w: flag %q", ErrUnsupported, clipped(name.v))}
		}
		flags |= flagNames[i].flag
	}
	return flags, nil
}

func (p *parser) checkArchitectures() error {
	var names []string
	for _, a := range p.head.architectures {
		if err := checkArchitecture(a); err != nil {
			return err
		}
		names = append(names, a.v)
	}
	if len(names) == 0 || slices.Contains(names, scmpArches[p.target.Arch]) || slices.Contains(names, scmpNative) {
		return nil
	}
	return &at{p.head.architectures[0].place, fmt.Errorf("%w: for architectures %q, not for %s", ErrInvalid, names, p.target.Arch)}
}

func checkArchitecture(a value[string]) error {
	if name, ok := strings.CutPrefix(a.v, "SCMP_ARCH_"); ok && slices.Contains(archNames, name) {
		return nil
	}
	return &at{a.place, fmt.Errorf("%w: architecture %q", ErrInvalid, clipped(a.v))}
}

// reachable gives what is left of a rule: the calls that no earlier rule has taken whatever their arguments, on the
// architectures where that is so.
func (p *parser) reachable(r Rule) []Rule {
	var parts []Rule
	for _, name := range r.Names {
		var on []Arch
		for _, arch := range supported {
			if r.on(arch) && !p.taken[arch][name] {
				on = append(on, arch)
				if len(r.Args) == 0 {
					p.taken[arch][name] = true
				}
			}
		}
		if len(on) == 0 {
			continue
		}
		if len(on) == len(supported) {
			on = nil
		}
		i := slices.IndexFunc(parts, func(r Rule) bool { return slices.Equal(r.Arches, on) })
		if i < 0 {
			i, parts = len(parts), append(parts, Rule{Action: r.Action, Args: r.Args, Arches: on})
		}
		parts[i].Names = append(parts[i].Names, name)
	}
	return parts
}

// policyError gives a mistake Validate found the place of the name, or else the entry, that its rule came from.
func (p *parser) policyError(err error) error {
	var e *PolicyError
	if !errors.As(err, &e) || e.Rule < 0 {
		return &at{place{0, ""}, err}
	}
	source := p.entries[p.sources[e.Rule]]
	if i := slices.IndexFunc(source.names, func(n value[string]) bool { return n.v == e.Call }); i >= 0 && errors.Is(err, ErrUnknownCall) {
		return &at{source.names[i].place, err}
	}
	return &at{source.place, err}
}

var scmpArches = map[Arch]string{AMD64: "SCMP_ARCH_X86_64", ARM64: "SCMP_ARCH_AARCH64", I386: "SCMP_ARCH_X86", ARM: "SCMP_ARCH_ARM"}

// scmpNative is the architecture of whoever reads the profile.
const scmpNative = "SCMP_ARCH_NATIVE"

// archNames are the architectures of the form, without SCMP_ARCH_ (OCI runtime specification, config-linux.md).
var archNames = []string{
	"NATIVE", "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64",
	"MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "PARISC", "PARISC64", "SH", "SHEB",
}
