package seccomp

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// rules makes of a profile's entry what a Policy holds: no rule where its constraints leave the host out, several where
// its conditions are alternatives.
func (e entry) rules() ([]Rule, error) {
	applies, err := e.applies()
	if err != nil {
		return nil, err
	}
	names := e.Names
	if e.Name != "" {
		names = append(slices.Clone(names), e.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no name", ErrInvalid)
	}
	act, err := action(e.Action, e.ErrnoRet, e.Errno)
	if err != nil {
		return nil, err
	}
	args, err := e.conditions()
	if err != nil || !applies {
		return nil, err
	}
	if !repeats(args) {
		return []Rule{{Names: names, Action: act, Args: args}}, nil
	}
	var rules []Rule
	for _, a := range args {
		rules = append(rules, Rule{Names: slices.Clone(names), Action: act, Args: []Arg{a}})
	}
	return rules, nil
}

// applies decides the constraints for a program without capabilities on this host.
func (e entry) applies() (bool, error) {
	newEnough, err := atLeastKernel(e.Includes.MinKernel)
	if err != nil {
		return false, err
	}
	if len(e.Includes.Caps) > 0 || !newEnough {
		return false, nil
	}
	if len(e.Includes.Arches) > 0 && !slices.Contains(e.Includes.Arches, runtime.GOARCH) {
		return false, nil
	}
	if e.Excludes.MinKernel != "" {
		excluded, err := atLeastKernel(e.Excludes.MinKernel)
		if err != nil || excluded {
			return false, err
		}
	}
	return !slices.Contains(e.Excludes.Arches, runtime.GOARCH), nil
}

// atLeastKernel compares the running kernel with a version as profiles write it, "4.8".
func atLeastKernel(version string) (bool, error) {
	if version == "" {
		return true, nil
	}
	first, second, ok := strings.Cut(version, ".")
	major, err := strconv.ParseUint(first, 10, 16)
	minor, err2 := strconv.ParseUint(second, 10, 16)
	if !ok || err != nil || err2 != nil {
		return false, fmt.Errorf("%w: kernel version %q", ErrInvalid, version)
	}
	hostMajor, hostMinor := kernelVersion()
	return hostMajor > major || hostMajor == major && hostMinor >= minor, nil
}

var scmpActions = map[string]Action{
	"SCMP_ACT_ALLOW": Allow, "SCMP_ACT_LOG": Log, "SCMP_ACT_TRAP": Trap,
	"SCMP_ACT_KILL": KillProcess, "SCMP_ACT_KILL_PROCESS": KillProcess, "SCMP_ACT_KILL_THREAD": KillProcess,
}

// action reads an action with its errno, which is EPERM unless given by number or by name.
func action(name string, number *uint, errno string) (Action, error) {
	if name != "SCMP_ACT_ERRNO" {
		a, ok := scmpActions[name]
		switch {
		case ok:
			return a, nil
		case name == "SCMP_ACT_TRACE" || name == "SCMP_ACT_NOTIFY":
			return 0, fmt.Errorf("%w: action %q", ErrUnsupported, name)
		}
		return 0, fmt.Errorf("%w: action %q", ErrInvalid, name)
	}
	switch {
	case number != nil && *number > maxErrno:
		return 0, fmt.Errorf("%w: errno %d is not in 0 to %d", ErrInvalid, *number, maxErrno)
	case number != nil:
		return Errno(syscall.Errno(*number)), nil
	case errno == "":
		return Errno(eperm), nil
	}
	e, ok := errnoByName(errno)
	if !ok {
		return 0, fmt.Errorf("%w: errno %q", ErrInvalid, errno)
	}
	return Errno(e), nil
}

var scmpOps = map[string]Op{
	"SCMP_CMP_EQ": Equal, "SCMP_CMP_NE": NotEqual, "SCMP_CMP_LT": Less, "SCMP_CMP_LE": LessOrEqual,
	"SCMP_CMP_GT": Greater, "SCMP_CMP_GE": GreaterOrEqual, "SCMP_CMP_MASKED_EQ": MaskedEqual,
}

func (e entry) conditions() ([]Arg, error) {
	var args []Arg
	for i, c := range e.Args {
		op, ok := scmpOps[c.Op]
		if !ok {
			return nil, fmt.Errorf("%w: args[%d]: comparison %q", ErrInvalid, i, c.Op)
		}
		if c.Index > 5 {
			return nil, fmt.Errorf("%w: args[%d]: index %d is not in 0 to 5", ErrInvalid, i, c.Index)
		}
		a := Arg{Index: int(c.Index), Op: op, Value: c.Value}
		if op == MaskedEqual { // elsewhere profiles carry a second value without meaning
			a.ValueTwo = c.ValueTwo
		}
		args = append(args, a)
	}
	return args, nil
}

// repeats tells whether two conditions are about one argument.
func repeats(args []Arg) bool {
	for i, a := range args {
		if slices.ContainsFunc(args[:i], func(b Arg) bool { return a.Index == b.Index }) {
			return true
		}
	}
	return false
}
