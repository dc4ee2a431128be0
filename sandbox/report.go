package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// Report says what holds for a sandbox: nothing that was asked for is missing from it
// without being named.
type Report struct {
	Enforced []string  // what is enforced, one thing a line
	GivenUp  []GivenUp // what BestEffort allowed to give up, and was
	Image    string    // digest of the image that WithImage found, such as "sha256:…"; "" without one
	Notes    []string  // what works in another way than usual on this host
	// Stages is where the time of the set-up went, in order: "zygote", finding or starting that process; "image", reading one; "compile", from options to a
	// plan; "create", what the zygote did, the parts of which come before it as "zygote: …". They are Ahead in a sandbox that was made ahead of time, and
	// "pool" or "clone" is how long [Pool.Get] or [Sandbox.Clone] took. Once the sandbox has ended, "close" is how long that took, with its parts before it.
	Stages []Stage
}

// GivenUp is an option that the host could not enforce.
type GivenUp struct {
	Option string // "WithMemory"
	Reason string
}

// String returns the report for people, a thing a line.
func (r Report) String() string {
	var b strings.Builder
	for _, s := range r.Enforced {
		fmt.Fprintf(&b, "enforced: %s\n", escape(s))
	}
	if r.Image != "" {
		fmt.Fprintf(&b, "image: %s\n", escape(r.Image))
	}
	for _, g := range r.GivenUp {
		fmt.Fprintf(&b, "given up: %s: %s\n", escape(g.Option), escape(g.Reason))
	}
	for _, s := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", escape(s))
	}
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "stage: %v\n", s)
	}
	return b.String()
}

func (r Report) clone() Report {
	return Report{
		Image:    r.Image,
		Enforced: slices.Clone(r.Enforced), GivenUp: slices.Clone(r.GivenUp), Notes: slices.Clone(r.Notes), Stages: slices.Clone(r.Stages),
	}
}
