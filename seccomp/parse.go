package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
)

// maxProfile bounds a profile file; the largest in use are some 20 KiB.
const maxProfile = 4 << 20

// Parse reads a policy in the JSON form of Docker's and Podman's profile files, which OCI runtimes take as linux.seccomp.
//
// What a profile says of capabilities is read for a program that has none. Conditions on the architecture and the least
// kernel version are decided for this host. A policy is for one architecture: if the profile lists architectures, this
// host's must be among them; the others, such as i386 beside amd64, stay refused. Where a rule has several conditions on
// one argument, any one of them suffices, as in runc. Rules for a call behind one that takes it whatever its arguments
// are left out: profiles in use have them. SCMP_ACT_KILL and SCMP_ACT_KILL_THREAD become [KillProcess]: a
// process that lost one thread hangs more often than it ends. Unknown numbers answer ENOSYS unless the profile's default
// lets calls through.
//
// The policy is valid. Errors are of type *[ParseError] and say where; besides those of [Policy.Validate] there are
// [ErrUnsupported] for actions, flags and listeners a Policy cannot hold, and reading errors as they come.
func Parse(r io.Reader) (Policy, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxProfile+1))
	if err != nil {
		return Policy{}, fmt.Errorf("read profile: %w", err)
	}
	if len(text) > maxProfile {
		return Policy{}, fmt.Errorf("read profile: %w: more than %d bytes", ErrTooLarge, maxProfile)
	}
	p := parser{text: text, dec: json.NewDecoder(bytes.NewReader(text)), taken: map[string]bool{}}
	p.dec.DisallowUnknownFields() // a misspelt condition must not become none
	if err := p.profile(); err != nil {
		return Policy{}, p.located(err)
	}
	return p.policy()
}

// ParseError is a mistake in a profile.
type ParseError struct {
	Line, Column int    // from 1; bytes, not characters
	Path         string // such as "syscalls[3]"; may be empty
	Err          error
}

// Error has the form "line 12, column 3: syscalls[3]: seccomp: rule 3, "opne": unknown system call".
func (e *ParseError) Error() string {
	text := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Path != "" {
		text += e.Path + ": "
	}
	return text + e.Err.Error()
}

// Unwrap gives Err.
func (e *ParseError) Unwrap() error { return e.Err }

// profile is the part of the form that is no list of rules.
type profile struct {
	DefaultAction    string         `json:"defaultAction"`
	DefaultErrnoRet  *uint          `json:"defaultErrnoRet"`
	DefaultErrno     string         `json:"defaultErrno"`
	Architectures    []string       `json:"architectures"`
	ArchMap          []architecture `json:"archMap"`
	Flags            []string       `json:"flags"`
	ListenerPath     string         `json:"listenerPath"`
	ListenerMetadata string         `json:"listenerMetadata"`
}

type architecture struct {
	Architecture     string   `json:"architecture"`
	SubArchitectures []string `json:"subArchitectures"`
}

// entry is one of the profile's syscalls.
type entry struct {
	Name     string      `json:"name"` // the older form
	Names    []string    `json:"names"`
	Action   string      `json:"action"`
	ErrnoRet *uint       `json:"errnoRet"`
	Errno    string      `json:"errno"`
	Args     []condArg   `json:"args"`
	Includes constraints `json:"includes"`
	Excludes constraints `json:"excludes"`
	Comment  string      `json:"comment"`
}

type condArg struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type constraints struct {
	Caps      []string `json:"caps"`
	Arches    []string `json:"arches"`
	MinKernel string   `json:"minKernel"`
}

type parser struct {
	text    []byte
	dec     *json.Decoder
	head    profile
	entries []entry
	places  []int64 // where each entry begins
	sources []int   // for each rule made, its entry
	taken   map[string]bool
}

// at is an error with its place.
type at struct {
	offset int64
	path   string
	err    error
}

func (e *at) Error() string { return e.err.Error() }

// profile reads the file's one object. Its keys are walked by hand to know where every entry begins.
func (p *parser) profile() error {
	if err := p.delim('{'); err != nil {
		return err
	}
	fields := map[string]any{
		"defaultAction": &p.head.DefaultAction, "defaultErrnoRet": &p.head.DefaultErrnoRet, "defaultErrno": &p.head.DefaultErrno,
		"architectures": &p.head.Architectures, "archMap": &p.head.ArchMap, "flags": &p.head.Flags,
		"listenerPath": &p.head.ListenerPath, "listenerMetadata": &p.head.ListenerMetadata, "syscalls": nil,
	}
	for p.dec.More() {
		begin := p.begin()
		token, err := p.dec.Token()
		if err != nil {
			return err
		}
		key := token.(string) // in an object's key position the decoder accepts nothing else
		into, ok := fields[key]
		if !ok {
			return &at{begin, "", fmt.Errorf("%w: unknown or repeated field %q", ErrInvalid, key)}
		}
		delete(fields, key)
		if key == "syscalls" {
			err = p.syscalls()
		} else {
			err = p.dec.Decode(into)
		}
		if err != nil {
			return p.within(err, begin, key)
		}
	}
	if err := p.delim('}'); err != nil {
		return err
	}
	if end := p.begin(); end < int64(len(p.text)) {
		return &at{end, "", fmt.Errorf("%w: text after the profile", ErrInvalid)}
	}
	return nil
}

func (p *parser) syscalls() error {
	if err := p.delim('['); err != nil {
		return err
	}
	for p.dec.More() {
		var e entry
		begin := p.begin()
		if err := p.dec.Decode(&e); err != nil {
			return p.within(err, begin, fmt.Sprintf("syscalls[%d]", len(p.entries)))
		}
		p.entries, p.places = append(p.entries, e), append(p.places, begin)
	}
	return p.delim(']')
}

func (p *parser) delim(want json.Delim) error {
	begin := p.begin()
	token, err := p.dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return &at{begin, "", fmt.Errorf("%w: %v in place of %v", ErrInvalid, token, want)}
	}
	return nil
}

// begin is where the next value starts: the decoder stands at the end of the last one.
func (p *parser) begin() int64 {
	i := p.dec.InputOffset()
	for i < int64(len(p.text)) && bytes.IndexByte([]byte(" \t\r\n,:"), p.text[i]) >= 0 {
		i++
	}
	return i
}

// within gives an error of the decoder the place of the value it was decoding, unless it has one that is closer.
func (p *parser) within(err error, begin int64, path string) error {
	var place *at
	var syntax *json.SyntaxError
	if errors.As(err, &place) || errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &at{begin, path, fmt.Errorf("%w: %w", ErrInvalid, err)}
}

// located turns an error into a *ParseError.
func (p *parser) located(err error) error {
	offset, path := int64(len(p.text)), ""
	var place *at
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &place):
		offset, path, err = place.offset, place.path, place.err
	case errors.As(err, &syntax):
		offset, err = max(syntax.Offset-1, 0), fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: the text ends early", ErrInvalid)
	}
	before := p.text[:min(offset, int64(len(p.text)))]
	line := bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return &ParseError{Line: line + 1, Column: column + 1, Path: path, Err: err}
}

// policy makes a policy of what was read, and checks it.
func (p *parser) policy() (Policy, error) {
	var policy Policy
	var err error
	if err := p.head.check(); err != nil {
		return Policy{}, p.located(&at{0, "", err})
	}
	if p.head.DefaultAction == "" {
		return Policy{}, p.located(&at{0, "defaultAction", &PolicyError{Rule: -1, Reason: "no default action", Err: ErrEmpty}})
	}
	if policy.Default, err = action(p.head.DefaultAction, p.head.DefaultErrnoRet, p.head.DefaultErrno); err != nil {
		return Policy{}, p.located(&at{0, "defaultAction", err})
	}
	if policy.Default == Allow || policy.Default == Log {
		policy.Unknown = policy.Default
	}
	for i, e := range p.entries {
		rules, err := e.rules()
		if err != nil {
			return Policy{}, p.located(p.entryError(i, err))
		}
		for _, r := range rules {
			if r.Names = p.reachable(r); len(r.Names) > 0 {
				policy.Rules = append(policy.Rules, r)
				p.sources = append(p.sources, i)
			}
		}
	}
	if err := policy.Validate(); err != nil {
		return Policy{}, p.located(p.policyError(err))
	}
	return policy, nil
}

// reachable gives the calls of a rule that no earlier rule has taken whatever their arguments.
func (p *parser) reachable(r Rule) []string {
	names := slices.DeleteFunc(slices.Clone(r.Names), func(name string) bool { return p.taken[name] })
	if len(r.Args) == 0 {
		for _, name := range names {
			p.taken[name] = true
		}
	}
	return names
}

func (p *parser) entryError(i int, err error) error {
	return &at{p.places[i], "syscalls[" + strconv.Itoa(i) + "]", err}
}

// policyError gives a mistake Validate found the place of the entry its rule came from.
func (p *parser) policyError(err error) error {
	var e *PolicyError
	if !errors.As(err, &e) || e.Rule < 0 {
		return &at{0, "", err}
	}
	return p.entryError(p.sources[e.Rule], err)
}

func (h profile) check() error {
	switch {
	case len(h.Flags) > 0:
		return fmt.Errorf("%w: flags %q", ErrUnsupported, h.Flags)
	case h.ListenerPath != "" || h.ListenerMetadata != "":
		return fmt.Errorf("%w: listener %q", ErrUnsupported, h.ListenerPath)
	}
	names := h.Architectures
	for _, a := range h.ArchMap {
		names = append(names, a.Architecture)
	}
	if len(names) == 0 {
		return nil
	}
	if slices.Contains(names, scmpArches[runtime.GOARCH]) {
		return nil
	}
	return fmt.Errorf("%w: for architectures %q, not for %s", ErrInvalid, names, runtime.GOARCH)
}

var scmpArches = map[string]string{"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}
