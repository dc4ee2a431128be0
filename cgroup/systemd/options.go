package systemd

import (
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/cgroup"
)

// Manager is one of the systemds of a machine.
type Manager int

// Which systemd makes the scope.
const (
	Auto   Manager = iota // System for root, User for everybody else
	System                // the first process, by the system's message bus
	User                  // the user's own, by the session's message bus
)

func (m Manager) String() string {
	switch m {
	case Auto:
		return "auto"
	case System:
		return "system"
	case User:
		return "user"
	}
	return "manager " + strconv.Itoa(int(m))
}

// Options of a scope. The zero value is a scope for the calling program.
type Options struct {
	// Name of the unit, with ".scope" or without. "" is one that no other
	// process uses: belljar-PID-START-N.scope.
	Name string
	// Description in systemd's listings; "" is one that names the program's pid.
	Description string
	// Slice to put the scope into, as "jobs.slice". "" leaves it to systemd:
	// system.slice, or app.slice of the user.
	Slice string
	// Manager is Auto unless a certain one is wanted.
	Manager Manager
	// PIDs are the processes that become the scope; they must not be threads, and
	// an ordinary user can only name processes of its own. None is the calling
	// process, with those of its descendants that are in the same group, an ordinary
	// user's own only: the helper of a sandbox that was made before, for one.
	PIDs []int
	// Need are the controllers without which New fails. 0 is memory and pids.
	Need cgroup.Controllers
	// Properties are further ones of the unit, by the names and with the types of
	// org.freedesktop.systemd1(5): "MemoryMax": uint64(1<<30), "TasksMax":
	// uint64(1000). They bound all that is in the scope.
	Properties map[string]any
}

// ours are the properties that make it the scope that was promised.
var ours = []string{"PIDs", "Delegate", "DelegateControllers", "CollectMode", "Description", "Slice"}

const (
	suffix = ".scope"
	// maxName is UNIT_NAME_MAX of systemd's unit-name.h, with the 0 at the end.
	maxName = 255
)

// check finds every mistake that needs no look at the machine, as a
// *cgroup.InvalidError, and fills in what was left open.
func (o *Options) check(self string) error {
	bad := func(field, value, why string) error {
		return &cgroup.InvalidError{Field: "systemd " + field, Value: value, Reason: why}
	}
	if o.Name == "" {
		o.Name = self
	}
	if !strings.HasSuffix(o.Name, suffix) {
		o.Name += suffix
	}
	if why := badUnit(o.Name, suffix); why != "" {
		return bad("name", o.Name, why)
	}
	if o.Slice != "" {
		if why := badUnit(o.Slice, ".slice"); why != "" {
			return bad("slice", o.Slice, why)
		}
	}
	if strings.ContainsAny(o.Description, "\x00\n\r") {
		return bad("description", o.Description, "holds a line end or NUL")
	}
	if o.Manager < Auto || o.Manager > User {
		return bad("manager", o.Manager.String(), "there is no such manager")
	}
	for i, pid := range o.PIDs {
		if pid <= 1 {
			return bad("pid", strconv.Itoa(pid), "no process that could be moved")
		}
		for _, other := range o.PIDs[:i] {
			if other == pid {
				return bad("pid", strconv.Itoa(pid), "named twice")
			}
		}
	}
	for _, name := range ours {
		if _, ok := o.Properties[name]; ok {
			return bad("property", name, "is set by this package")
		}
	}
	if o.Need == 0 {
		o.Need = cgroup.MemoryController | cgroup.PidsController
	}
	return nil
}

// badUnit says what is wrong with the name of a unit, by the rules of
// systemd.unit(5). Templates and their instances are left out: a scope is neither.
func badUnit(name, suffix string) string {
	stem, ok := strings.CutSuffix(name, suffix)
	switch {
	case !ok:
		return "does not end in " + suffix
	case stem == "":
		return "is empty"
	case len(name) > maxName:
		return "is longer than " + strconv.Itoa(maxName) + " bytes"
	case stem[0] == '.':
		return "begins with a dot"
	}
	for _, c := range []byte(stem) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune(`:-_.\`, rune(c)) {
			return "holds " + strconv.QuoteRune(rune(c)) + `: only letters, digits and :-_.\ may be`
		}
	}
	return ""
}
