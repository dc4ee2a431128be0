package sandbox

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Errors by which a caller decides, for errors.Is. The first three are the standard
// library's own, so that an errno anywhere inside an error answers to them without this
// package's help.
var (
	// ErrUnsupported: this host, kernel or build cannot do what was asked. It is
	// [errors.ErrUnsupported], which ENOSYS and EOPNOTSUPP also are.
	ErrUnsupported = errors.ErrUnsupported
	// ErrPermission: the host can, but not for this process. It is [fs.ErrPermission],
	// which EPERM and EACCES also are.
	ErrPermission = fs.ErrPermission
	// ErrInvalid: the caller's mistake, found before anything was done. It is
	// [fs.ErrInvalid]. EINVAL, which the kernel says for many reasons, is not.
	ErrInvalid = fs.ErrInvalid
	// ErrClosed: the sandbox has ended: by Close, by Kill, or because what held it did.
	ErrClosed = errors.New("sandbox has ended")
)

// Error says which step of which stage went wrong, on what, and why. The stage "options"
// stands for a mistake in what was asked, found by New before it did anything; its Op is
// the option and its Path the text that was given.
type Error struct {
	Stage string // part of the set-up: "options", "root", "cgroup", "exec", …
	Op    string // system call or option: "mount", "WithMemory", …
	Path  string // what it was done to; may come from inside a sandbox
	Err   error  // why; an errno stays one
}

// Error returns "stage: op path: why" without the parts that are empty. Bytes that could
// forge a line or control a terminal are quoted.
func (e *Error) Error() string {
	what := e.Op
	if e.Path != "" {
		path := quotePath(e.Path)
		if e.Stage == stageOptions {
			path = strconv.Quote(e.Path)
		}
		what = strings.TrimSpace(what + " " + path)
	}
	var parts []string
	for _, part := range []string{e.Stage, what} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return escape(strings.Join(parts, ": "))
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// stageOptions is the stage of everything newSpec and Limits.validate find.
const stageOptions = "options"

// invalid returns the error of an option, or of a field of Limits.
func invalid(option, text, why string) *Error {
	return &Error{Stage: stageOptions, Op: option, Path: text, Err: &mistake{why: why, err: ErrInvalid}}
}

// mistaken is invalid with a reason that is an error already.
func mistaken(option, text string, err error) *Error {
	return &Error{Stage: stageOptions, Op: option, Path: text, Err: &mistake{why: err.Error(), err: err}}
}

// mistake is an error that reads as why and is both ErrInvalid and err.
type mistake struct {
	why string
	err error
}

func (m *mistake) Error() string        { return m.why }
func (m *mistake) Unwrap() error        { return m.err }
func (m *mistake) Is(target error) bool { return target == ErrInvalid }

// quotePath returns a path as it is if it is plain, and quoted if anything in it could be
// taken for something else.
func quotePath(s string) string {
	if q := strconv.Quote(s); strings.Contains(s, " ") || q != `"`+s+`"` {
		return q
	}
	return s
}

// escape makes control bytes and invalid UTF-8 visible and leaves the rest, quotation
// marks included, as it is.
func escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) && strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if strconv.IsPrint(r) && (size > 1 || r < 0x80) {
			b.WriteString(s[:size])
		} else {
			q := strconv.Quote(s[:size])
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[size:]
	}
	return b.String()
}
