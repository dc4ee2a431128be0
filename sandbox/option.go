package sandbox

import (
	"fmt"
	"reflect"
)

// Option is one thing asked of a sandbox. Options record; nothing happens before New, and
// their order does not matter. Each is a requirement: if the host cannot enforce it, New
// returns an error, unless it was wrapped in BestEffort. An option that can be given once
// may be given again with the same value; another value is an ErrInvalid.
//
// The interface is sealed: options come from this package.
type Option interface {
	apply(s *spec) error
	name() string
}

// option is the one implementation but for BestEffort.
type option struct {
	label string // "WithMemory"
	text  string // what was given, for errors
	key   string // options of the same key contradict each other unless their values are equal; "" never
	value any    // what is compared
	soft  bool   // BestEffort may wrap it
	set   func(s *spec, soft bool) error
}

func (o option) name() string { return o.label }

func (o option) apply(s *spec) error { return o.record(s, false) }

// record folds the option into s; soft says it was wrapped in BestEffort.
func (o option) record(s *spec, soft bool) error {
	if o.key != "" {
		old := s.superseded(o.key)
		if before, ok := s.values[o.key]; ok && !old && !reflect.DeepEqual(before.value, o.value) {
			return o.fail(before.contradicted())
		}
		s.values[o.key] = given{o.value, o.text}
	}
	if err := o.set(s, soft); err != nil {
		return err
	}
	s.explicit[o.label] = true
	key := o.key
	if key == "" {
		key = o.label
	}
	if soft {
		s.bestEffort[key] = true
	} else {
		s.strict[key] = true
	}
	return nil
}

// given is the value of an option that was folded already.
type given struct {
	value any
	text  string
}

func (g given) contradicted() string {
	if g.text == "" {
		return "was given before with another value"
	}
	return fmt.Sprintf("was given before with another value, %q", g.text)
}

// fail returns the option's error.
func (o option) fail(why string) error { return invalid(o.label, o.text, why) }

// bestEffort wraps an option that may be given up.
type bestEffort struct{ of Option }

// BestEffort makes a wish of a requirement: if the host cannot enforce the option, the
// sandbox does without, and its Report says so and why. A value that makes no sense is an
// error all the same. Around WithBind it covers a source that does not exist.
//
// It takes namespaces of one's own, limits, WithHostname, WithBind, WithCapabilities and
// WithSeccomp. Around an option that says what is run, as whom or on what, which cannot be
// left out without doing something else than was asked, it is an ErrInvalid.
func BestEffort(opt Option) Option { return bestEffort{opt} }

func (b bestEffort) name() string { return "BestEffort" }

func (b bestEffort) apply(s *spec) error {
	switch of := b.of.(type) {
	case option:
		if !of.soft {
			return invalid("BestEffort", of.label, "is not an option that can be given up")
		}
		return of.record(s, true)
	case bestEffort:
		return of.apply(s)
	}
	return invalid("BestEffort", "", "nil option")
}

// applyOption folds an option that may be nil.
func applyOption(o Option, s *spec) error {
	if o == nil {
		return invalid("Option", "", "nil option")
	}
	return o.apply(s)
}

// single is an option that is given once and only has to store its value.
func single[T any](label, text string, value T, fault string, store func(*spec, T)) option {
	o := option{label: label, text: text, key: label, value: value}
	o.set = func(s *spec, _ bool) error {
		if fault != "" {
			return o.fail(fault)
		}
		store(s, value)
		return nil
	}
	return o
}

// softly marks an option as one that BestEffort may wrap.
func softly(o option) option {
	o.soft = true
	return o
}
