package seccomp

import (
	"slices"
	"strings"
)

// Policy says what happens to each system call. It is a value: methods return changed copies and share no memory with
// the policy they were called on.
type Policy struct {
	// Default is the action for known calls that no rule covers.
	Default Action
	// Unknown is the action for numbers that are no call in this package's tables. Zero stands for ENOSYS.
	Unknown Action
	// Rules hold what differs from Default. Those that name the same call are tried in their order; the first whose
	// conditions all hold decides.
	Rules []Rule
	// SubArches are whose calls the rules are for too, by name, where the program is for the architecture they stand beside: I386 beside
	// AMD64, ARM beside ARM64. The program kills what comes from others, and with none, which is what every [Preset] has, from all but its own.
	// A sub-architecture has calls of its own that do what rules for other names forbid: on I386, socketcall and ipc are all of the
	// network's and System V IPC's calls, with arguments in memory that no filter sees. Its arguments have 32 bits.
	// Profiles of container engines name what its programs need; the presets do not, which lack mmap2, fcntl64, set_thread_area and such.
	SubArches []Arch
	// Flags are for whoever loads the program; see [Program.Flags].
	Flags Flags

	broken error // why the result of Merge or Restrict is none: it does not validate
}

// Rule gives an action to calls.
type Rule struct {
	Names  []string // the calls, by the kernel's names
	Action Action
	Args   []Arg // all must hold; none: the rule holds for any arguments
	// Arches are the architectures the rule is for; none: all. On others it is as if the rule did not stand there.
	// A rule that is for an architecture is for those of the SubArches that stand beside it.
	Arches []Arch
}

// on tells whether the rule is for an architecture.
func (r Rule) on(arch Arch) bool { return len(r.Arches) == 0 || slices.Contains(r.Arches, arch.main()) }

// beside are the sub-architectures let in beside an architecture, each once, in the order of [tabled].
func (p Policy) beside(arch Arch) (subs []Arch) {
	for _, a := range tabled {
		if a != arch && a.main() == arch && slices.Contains(p.SubArches, a) {
			subs = append(subs, a)
		}
	}
	return subs
}

// Clone copies the policy, so that changing the copy's rules leaves the original alone.
func (p Policy) Clone() Policy {
	rules := make([]Rule, len(p.Rules))
	for i, r := range p.Rules {
		rules[i] = Rule{Names: slices.Clone(r.Names), Action: r.Action, Args: slices.Clone(r.Args), Arches: slices.Clone(r.Arches)}
	}
	p.Rules, p.SubArches = rules, slices.Clone(p.SubArches)
	return p
}

// With gives the calls that the rules name these rules in place of those they had.
func (p Policy) With(rules ...Rule) Policy {
	var names []string
	for _, r := range rules {
		names = append(names, r.Names...)
	}
	p = p.Without(names...)
	p.Rules = append(p.Rules, Policy{Rules: rules}.Clone().Rules...)
	return p
}

// Without drops the rules for the calls: the default action applies to them again.
func (p Policy) Without(names ...string) Policy {
	gone := make(map[string]bool, len(names))
	for _, name := range names {
		gone[name] = true
	}
	p = p.Clone()
	for i := range p.Rules {
		p.Rules[i].Names = slices.DeleteFunc(p.Rules[i].Names, func(name string) bool { return gone[name] })
	}
	p.Rules = slices.DeleteFunc(p.Rules, func(r Rule) bool { return len(r.Names) == 0 })
	return p
}

// Allow lets the calls through, whatever their arguments.
func (p Policy) Allow(names ...string) Policy {
	return p.With(Rule{Names: names, Action: Allow})
}

// WithDenied replaces the action of denied calls: the default action, and every rule's action that equals it. Rules with
// another action stay, and so does the answer to unknown numbers: under Default().WithDenied(KillProcess) a program
// dies of a forbidden call, but clone3 and calls younger than this package still answer ENOSYS, or no current libc
// could work. It is meant for allow-lists: where the default action lets calls through, it would deny those.
func (p Policy) WithDenied(a Action) Policy {
	p = p.Clone()
	for i := range p.Rules {
		if p.Rules[i].Action == p.Default {
			p.Rules[i].Action = a
		}
	}
	p.Unknown, p.Default = p.unknown(), a
	return p
}

func (p Policy) unknown() Action {
	if p.Unknown == 0 {
		return Errno(enosys)
	}
	return p.Unknown
}

// takes tells whether the policy has an action anywhere.
func (p Policy) takes(a Action) bool {
	return p.Default == a || p.unknown() == a || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Action == a })
}

// String prints the policy for people, a rule a line. Policies with the same parts in the same order print alike.
func (p Policy) String() string {
	var b strings.Builder
	b.WriteString("default: " + p.Default.String() + "\nunknown: " + p.unknown().String() + "\n")
	if p.Flags != 0 {
		b.WriteString("flags: " + p.Flags.String() + "\n")
	}
	if len(p.SubArches) > 0 {
		b.WriteString("sub-architectures:")
		for _, arch := range p.SubArches {
			b.WriteString(" " + arch.String())
		}
		b.WriteString("\n")
	}
	for _, r := range p.Rules {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// String prints the rule: "allow socket if arg0 == 0x1", "allow open on amd64".
func (r Rule) String() string {
	text := r.Action.String() + " " + strings.Join(r.Names, " ")
	for i, arch := range r.Arches {
		word := ", "
		if i == 0 {
			word = " on "
		}
		text += word + arch.String()
	}
	for i, a := range r.Args {
		word := " and "
		if i == 0 {
			word = " if "
		}
		text += word + a.String()
	}
	return text
}
