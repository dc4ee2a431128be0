package main

import (
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
	"github.com/belljar-go/belljar/sandbox"
)

// request is a parsed command line.
type request struct {
	command []string // program and arguments; none with --plan or --report alone
	options []wish

	env       map[string]string
	stdin     bool   // -i
	tty       bool   // -t
	rootfs    string // "" for the default root
	image     string // "" for none
	store     string // of its layers; "" for the library's own
	memory    int64  // bytes, for --memory-swap, which counts both
	swap      string // --memory-swap as given
	caps      []string
	uid, gid  int
	user      bool // --user was given
	groups    []int
	stats     bool
	plan      bool
	report    bool
	learn     string // --learn: where the policy goes
	giveUp    bool   // --best-effort
	help      bool
	version   bool
	hosts     map[string]string
	nameserve []string
}

// wish is an option of the sandbox, which --best-effort may turn into one that can be given up.
type wish struct {
	sandbox.Option
	soft bool
}

// want records an option that says what is run and on what.
func (r *request) want(o sandbox.Option) { r.options = append(r.options, wish{Option: o}) }

// limit records an option that --best-effort lets go.
func (r *request) limit(o sandbox.Option) { r.options = append(r.options, wish{Option: o, soft: true}) }

// setEnv has the last of several values win, as in docker.
func (r *request) setEnv(name, value string) {
	if r.env == nil {
		r.env = map[string]string{}
	}
	r.env[name] = value
}

// sandboxOptions are the options of the sandbox. term is the kind of the user's terminal, for -t.
func (r *request) sandboxOptions(term string) []sandbox.Option {
	var opts []sandbox.Option
	for _, w := range r.options {
		if w.soft && r.giveUp {
			w.Option = sandbox.BestEffort(w.Option)
		}
		opts = append(opts, w.Option)
	}
	if r.image != "" {
		opts = append(opts, sandbox.WithImage(r.image, image.WithStore(rootfs.Store{Dir: r.store})))
	}
	if r.user || len(r.groups) > 0 {
		opts = append(opts, sandbox.WithCredential(r.uid, r.gid, r.groups...))
	}
	if len(r.caps) > 0 {
		opts = append(opts, sandbox.WithCapabilities(r.caps...))
	}
	if len(r.hosts) > 0 {
		opts = append(opts, sandbox.WithHosts(r.hosts))
	}
	if len(r.nameserve) > 0 {
		opts = append(opts, sandbox.WithResolvConf(r.nameserve...))
	}
	return append(opts, sandbox.WithEnv(r.environment(term)...))
}

// environment is what the program gets: what shells and editors cannot do without, and what was asked for. The
// library adds a PATH.
func (r *request) environment(term string) []string {
	env := map[string]string{}
	switch {
	case r.image != "": // has its own
	case r.rootfs != "":
		env["HOME"] = "/"
	default:
		env["HOME"] = "/box"
	}
	if r.tty {
		env["TERM"] = term
		if term == "" {
			env["TERM"] = "xterm" // as docker does
		}
	}
	for name, value := range r.env {
		env[name] = value
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}
