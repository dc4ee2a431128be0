package systemd

import (
	"context"
	"errors"
	"strings"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/godbus/dbus/v5"
)

// Sentinels a caller may decide by. The first three match cgroup.ErrUnsupported too.
var (
	// ErrNoSystemd: the machine was not booted with systemd, or the user has none.
	ErrNoSystemd = errors.New("no systemd")
	// ErrNoBus: systemd may be there, the message bus is not.
	ErrNoBus = errors.New("no message bus")
	// ErrRefused: systemd, polkit or the bus do not let this user.
	ErrRefused = errors.New("refused")
	// ErrExists: there is a unit of that name.
	ErrExists = errors.New("the unit exists")
)

// Error is something that systemd did not do. errors.Is finds its kind, which is
// one of the sentinels or nil, and what is below: an errno, dbus.Error, or
// context.DeadlineExceeded where ctx ended first.
type Error struct {
	Op   string // what was asked: "StartTransientUnit"
	Unit string // the unit, or the address of the bus
	Kind error
	Err  error

	remedy string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("systemd: " + e.Op)
	if e.Unit != "" {
		b.WriteString(" " + e.Unit)
	}
	if e.Kind != nil {
		b.WriteString(": " + e.Kind.Error())
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.remedy != "" {
		b.WriteString(" (" + e.remedy + ")")
	}
	return b.String()
}

// Remedy says what to do about it, or "".
func (e *Error) Remedy() string { return e.remedy }

// Is makes errors.Is(err, cgroup.ErrUnsupported) true of what this machine, or
// this user on it, lacks.
func (e *Error) Is(target error) bool {
	return target == e.Kind && target != nil ||
		target == cgroup.ErrUnsupported && (e.Kind == ErrNoSystemd || e.Kind == ErrNoBus || e.Kind == ErrRefused)
}

func (e *Error) Unwrap() error { return e.Err }

const (
	remedyNoSystemd = "make a group by hand and name it to WithCgroupParent, or, as root, leave it to the library to find one"
	remedyNoUser    = "log in by a session of its own rather than by su or sudo, or have root run: loginctl enable-linger USER; without a user manager: systemd-run --scope -p Delegate=yes --uid=USER PROGRAM, as root"
	remedyNoBus     = "install dbus, and for user managers dbus-user-session; as an ordinary user set XDG_RUNTIME_DIR=/run/user/UID"
	remedyRefused   = "as an ordinary user leave the manager to the library (the user's own), or have root start the program: systemd-run --scope -p Delegate=yes --uid=USER PROGRAM"
	remedyExists    = "choose another name, leave it open, or end the unit: systemctl stop UNIT"
)

// refusal makes an error of this package out of one of the bus.
func refusal(op, unit string, m Manager, err error) error {
	e := &Error{Op: op, Unit: unit, Err: err}
	var d dbus.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Kind = nil
	case errors.As(err, &d):
		e.remedy, e.Kind = kindOf(d.Name, m)
		e.Err = spoken{d}
	case errors.Is(err, dbus.ErrClosed):
		e.Kind, e.remedy = ErrNoBus, remedyNoBus
	}
	e.remedy = strings.ReplaceAll(e.remedy, "UNIT", unit)
	return e
}

// kindOf sorts errors by the names that bus, systemd and polkit give them.
func kindOf(name string, m Manager) (remedy string, kind error) {
	switch name {
	case "org.freedesktop.systemd1.UnitExists":
		return remedyExists, ErrExists
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.AuthFailed",
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
		"org.freedesktop.PolicyKit1.Error.Failed", "org.freedesktop.PolicyKit1.Error.NotAuthorized":
		return remedyRefused, ErrRefused
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.Spawn.ChildExited", "org.freedesktop.DBus.Error.Spawn.ServiceNotFound":
		if m == User {
			return remedyNoUser, ErrNoSystemd
		}
		return remedyNoSystemd, ErrNoSystemd
	case "org.freedesktop.DBus.Error.NoServer", "org.freedesktop.DBus.Error.Disconnected":
		return remedyNoBus, ErrNoBus
	}
	return "", nil
}

// spoken is an error of the bus with its name beside its words.
type spoken struct{ said dbus.Error }

func (s spoken) Error() string { return s.said.Error() + " [" + s.said.Name + "]" }

func (s spoken) Unwrap() error { return s.said }
