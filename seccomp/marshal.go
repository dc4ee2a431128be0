package seccomp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Marshal writes the policy in the form [Parse] reads, indented, with a line feed at the end. Parse gives back a policy
// that does the same with every call, and is equal to p as far as p has no rules that are never reached and no
// conditions that say nothing.
//
// The form has no field for unknown numbers, and a rule of it has no two conditions on one argument. A policy that needs
// either and cannot be said in another way is an [ErrUnsupported]; one that is not valid is what [Policy.Validate] says.
//
// Other programs read the form too, and most know no order among rules: see [Policy.Portable].
func (p Policy) Marshal() ([]byte, error) {
	text, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "\t"); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// MarshalJSON is [Policy.Marshal], for a policy within other JSON.
func (p Policy) MarshalJSON() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if want := p.parsedUnknown(); p.unknown() != want {
		return nil, fmt.Errorf("marshal policy: %w: unknown numbers: %s, and the form says %s with default %s", ErrUnsupported, p.unknown(), want, p.Default)
	}
	out := jsonProfile{Syscalls: []jsonEntry{}}
	out.DefaultAction, out.DefaultErrnoRet = actionJSON(p.Default)
	for _, n := range flagNames {
		if p.Flags&n.flag != 0 {
			out.Flags = append(out.Flags, flagPrefix+n.name)
		}
	}
	out.Architectures = p.architectures()
	simple, err := p.simplified()
	if err != nil {
		return nil, fmt.Errorf("marshal policy: %w", err)
	}
	for _, r := range simple.Rules {
		out.Syscalls = append(out.Syscalls, r.json())
	}
	return json.Marshal(out)
}

// parsedUnknown is what Parse makes of unknown numbers under the default action.
func (p Policy) parsedUnknown() Action {
	if p.Default == Allow || p.Default == Log {
		return p.Default
	}
	return Errno(enosys)
}

// architectures are those the policy lets in, if that is more than whoever reads it has by itself. They stand on one level, which OCI
// runtimes read as well as engines.
func (p Policy) architectures() (names []string) {
	for _, arch := range supported {
		names = append(names, scmpArches[arch])
		for _, sub := range p.beside(arch) {
			names = append(names, scmpArches[sub])
		}
	}
	if len(names) == len(supported) {
		return nil
	}
	return names
}

type jsonProfile struct {
	DefaultAction   string      `json:"defaultAction"`
	DefaultErrnoRet *uint64     `json:"defaultErrnoRet,omitempty"`
	Architectures   []string    `json:"architectures,omitempty"`
	Flags           []string    `json:"flags,omitempty"`
	Syscalls        []jsonEntry `json:"syscalls"`
}

type jsonEntry struct {
	Names    []string        `json:"names"`
	Action   string          `json:"action"`
	ErrnoRet *uint64         `json:"errnoRet,omitempty"`
	Args     []jsonCondition `json:"args,omitempty"`
	Includes *jsonIncludes   `json:"includes,omitempty"`
}

type jsonCondition struct {
	Index    int    `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type jsonIncludes struct {
	Arches []string `json:"arches"`
}

var (
	opNames     = inverted(scmpOps)
	actionNames = map[Action]string{
		Allow: "SCMP_ACT_ALLOW", Log: "SCMP_ACT_LOG", Trap: "SCMP_ACT_TRAP", Ask: "SCMP_ACT_NOTIFY", KillProcess: "SCMP_ACT_KILL_PROCESS",
	}
)

func inverted[K, V comparable](m map[K]V) map[V]K {
	inverse := make(map[V]K, len(m))
	for k, v := range maps.All(m) {
		inverse[v] = k
	}
	return inverse
}

func actionJSON(a Action) (name string, errno *uint64) {
	if e, ok := a.Errno(); ok {
		number := uint64(e)
		return "SCMP_ACT_ERRNO", &number
	}
	return actionNames[a], nil
}

func (r Rule) json() jsonEntry {
	e := jsonEntry{Names: r.Names}
	e.Action, e.ErrnoRet = actionJSON(r.Action)
	for _, a := range r.Args {
		e.Args = append(e.Args, jsonCondition{a.Index, a.Value, a.ValueTwo, opNames[a.Op]})
	}
	for _, arch := range r.Arches {
		if e.Includes == nil {
			e.Includes = &jsonIncludes{}
		}
		e.Includes.Arches = append(e.Includes.Arches, arch.String())
	}
	return e
}

// simplified has at most one condition on each argument in a rule.
func (p Policy) simplified() (Policy, error) {
	p = p.Clone()
	for i, r := range p.Rules {
		args, err := oneEach(r.Args)
		if err != nil {
			return Policy{}, fmt.Errorf("rule %d: %w", i, err)
		}
		p.Rules[i].Args = args
	}
	if err := p.Validate(); err != nil { // a rule that was never reached may now be seen to contradict the one before it
		return Policy{}, fmt.Errorf("%w: two conditions on one argument, joined: %w", ErrUnsupported, err)
	}
	return p, nil
}

// oneEach says conditions with at most one on each argument, which is all the form has room for: there, several on one
// argument are alternatives.
func oneEach(args []Arg) ([]Arg, error) {
	if !repeats(args) {
		return args, nil
	}
	args = needed(args)
	var out []Arg
	for _, a := range args {
		i := slices.IndexFunc(out, func(b Arg) bool { return a.Index == b.Index })
		switch {
		case i < 0:
			out = append(out, a)
		case a.Op == MaskedEqual && out[i].Op == MaskedEqual:
			out[i].Value, out[i].ValueTwo = out[i].Value|a.Value, out[i].ValueTwo|a.ValueTwo
		default:
			return nil, fmt.Errorf("%w: two conditions on one argument: %s and %s", ErrUnsupported, out[i], a)
		}
	}
	return out, nil
}

// Portable is nil if what [Policy.Marshal] writes means the same to every runtime that reads the form. Those built on
// libseccomp do not try rules in order, and let a rule without conditions win: if two rules of one call give different
// actions and can hold for the same arguments, the first of them may be lost there, and with it a refusal. The error,
// an [ErrUnsupported], names the first such call. [Default] and its kin have one: everything by ioctl but two requests.
//
// Where 386 is a sub-architecture, rules for socket, bind, shmget and their kin are an error too: libseccomp has them hold for the
// socketcall and ipc that do the same there.
//
// Unknown numbers get the default action from some runtimes and ENOSYS from others.
func (p Policy) Portable() error {
	if _, err := p.MarshalJSON(); err != nil {
		return err
	}
	if slices.Contains(p.SubArches, I386) {
		for _, r := range p.Rules {
			for _, name := range r.Names {
				if slices.Contains(multiplexed, name) {
					return fmt.Errorf("%w: %s: on 386 other runtimes have its rules hold for socketcall and ipc", ErrUnsupported, name)
				}
			}
		}
	}
	for _, arch := range p.distinct() {
		for name, indices := range p.byCall(arch) {
			for n, i := range indices {
				for _, j := range indices[:n] {
					if p.depends(p.Rules[j], p.Rules[i]) {
						return fmt.Errorf("%w: %s: what rules %d and %d say depends on their order", ErrUnsupported, name, j, i)
					}
				}
			}
		}
	}
	return nil
}

// multiplexed are the calls that 32-bit x86 has within socketcall and ipc (linux/net.h, linux/ipc.h) beside those of their own.
var multiplexed = strings.Fields("socket bind connect listen accept accept4 getsockname getpeername socketpair send recv sendto recvfrom shutdown " +
	"setsockopt getsockopt sendmsg recvmsg recvmmsg sendmmsg semop semget semctl semtimedop msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl")

// depends tells whether the order of two rules for a call may matter.
func (p Policy) depends(a, b Rule) bool {
	return a.Action != b.Action && !apart(a.Args, b.Args)
}
