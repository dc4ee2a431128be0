package image

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// Errors by which a caller decides, for errors.Is.
var (
	// ErrInvalid: the image is malformed, ambiguous, or not what its digests say. It is
	// [fs.ErrInvalid].
	ErrInvalid = fs.ErrInvalid
	// ErrNotFound: there is no image of that name or for that platform, or a part of the image
	// is missing. It is [fs.ErrNotExist].
	ErrNotFound = fs.ErrNotExist
	// ErrLimit: the image is larger than the [Limits] allow.
	ErrLimit = errors.New("image exceeds a limit")
	// ErrUnsupported: the image has a form or compression that this package does not know. It
	// is [errors.ErrUnsupported].
	ErrUnsupported = errors.ErrUnsupported
)

// Error says what was done to which part of an image, and why that did not work.
type Error struct {
	Op   string // "open", "verify", "unpack", …
	Name string // a file, digest or name; an entry's comes from the image
	Err  error  // why; an errno stays one
}

// Error returns "op name: why", with odd bytes of the name quoted.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + quote(e.Name) + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// quote returns s as it is if it is plain, and quoted and shortened otherwise.
func quote(s string) string {
	const most = 200
	q := strconv.Quote(s)
	if q == `"`+s+`"` && len(s) <= most {
		return s
	}
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return q
}

// reason is an error that reads as why and is kind.
type reason struct {
	why  string
	kind error
}

func (r *reason) Error() string { return r.why }
func (r *reason) Unwrap() error { return r.kind }

func malformed(format string, args ...any) error {
	return &reason{fmt.Sprintf(format, args...), ErrInvalid}
}

func missing(format string, args ...any) error {
	return &reason{fmt.Sprintf(format, args...), ErrNotFound}
}

func unsupported(format string, args ...any) error {
	return &reason{fmt.Sprintf(format, args...), ErrUnsupported}
}

func tooMuch(format string, args ...any) error {
	return &reason{fmt.Sprintf(format, args...), ErrLimit}
}
