package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// facts are what the job finds out about itself: see job/main.go.
type facts struct {
	Shared   []string
	Unseen   []string
	Writable bool
	Visible  int
	Privs    bool
	Filter   bool
	Caps     string
	Root     bool
	Links    int
}

// kinds of namespaces that a sandbox should have of its own. Those of time offsets are not among them: ours has one only if asked.
var kinds = []string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"}

// namespacesHere are this process's, as /proc names them.
func namespacesHere() []string {
	var all []string
	for _, k := range kinds {
		if s, err := os.Readlink("/proc/self/ns/" + k); err == nil {
			all = append(all, k+":"+s[len(k)+1:])
		}
	}
	return all
}

// lacks runs the job as the subject runs the program, and names what isolates it less than ours should.
func (s *subject) lacks(outside []string) ([]string, error) {
	out, err := s.look(append([]string{"probe"}, outside...)...)
	if err != nil {
		return nil, err
	}
	var f facts
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		return nil, fmt.Errorf("what the probe says: %w: %.200q", err, out)
	}
	return f.lacks(), nil
}

// fewProcesses is what a sandbox may have in its /proc beside the program: a first process or two.
const fewProcesses = 4

func (f facts) lacks() []string {
	var all []string
	say := func(is bool, what string) {
		if is {
			all = append(all, what)
		}
	}
	for _, k := range f.Shared {
		all = append(all, k+" namespace")
	}
	for _, k := range f.Unseen {
		all = append(all, k+" namespace (cannot be seen)")
	}
	say(f.Writable, "read-only root")
	say(f.Visible > fewProcesses, "own /proc")
	say(f.Visible == 0, "/proc")
	say(f.Privs, "no_new_privs")
	say(!f.Filter, "seccomp")
	say(f.Caps != "", "no capabilities")
	say(f.Root, "unprivileged uid")
	say(f.Links > 0, "no network")
	return all
}
