package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

const (
	name    = "org.freedesktop.systemd1"
	manager = name + ".Manager"
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
)

// bus is a connection to one systemd. Its context ends it.
type bus struct {
	conn    *dbus.Conn
	of      Manager
	manager dbus.BusObject
}

// connect finds the message bus and introduces itself. ctx ends the connection too.
func connect(ctx context.Context, m Manager) (*bus, error) {
	addr := address(m, os.Getenv)
	if m == System && !booted() {
		return nil, &Error{Op: "connect", Kind: ErrNoSystemd, Err: errNotBooted, remedy: remedyNoSystemd}
	}
	conn, err := dbus.Connect(addr, dbus.WithContext(ctx))
	switch {
	case err == nil:
		return &bus{conn, m, conn.Object(name, object)}, nil
	case ctx.Err() != nil:
		return nil, &Error{Op: "connect", Unit: addr, Err: ctx.Err()}
	case !booted():
		return nil, &Error{Op: "connect", Kind: ErrNoSystemd, Err: errNotBooted, remedy: remedyNoSystemd}
	}
	e := &Error{Op: "connect", Unit: addr, Kind: ErrNoBus, Err: err, remedy: remedyNoBus}
	if m == User {
		e.remedy += "; " + remedyNoUser
	}
	return nil, e
}

var errNotBooted = errors.New("the machine was not booted with it: there is no " + bootedDir)

const bootedDir = "/run/systemd/system"

// booted is what sd_booted(3) asks.
func booted() bool {
	i, err := os.Lstat(bootedDir)
	return err == nil && i.IsDir()
}

// address is where the bus listens. Only sockets of this machine count: processes
// elsewhere cannot be moved, and "unixexec:" would execute something. A program with
// more rights than whoever started it does not believe its environment.
func address(m Manager, env func(string) string) string {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		env = func(string) string { return "" }
	}
	given, usual := env("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket"
	if m == User {
		dir := env("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = "/run/user/" + strconv.Itoa(os.Geteuid())
		}
		given, usual = env("DBUS_SESSION_BUS_ADDRESS"), "unix:path="+dbus.EscapeBusAddressValue(dir+"/bus")
	}
	var local []string
	for _, a := range strings.Split(given, ";") {
		if strings.HasPrefix(a, "unix:") {
			local = append(local, a)
		}
	}
	if len(local) == 0 {
		return usual
	}
	return strings.Join(local, ";")
}

func (b *bus) close() { _ = b.conn.Close() }

// call asks the manager for something. Nothing is started for it.
func (b *bus) call(ctx context.Context, unit, method string, out any, args ...any) error {
	c := b.manager.CallWithContext(ctx, manager+"."+method, dbus.FlagNoAutoStart, args...)
	err := c.Err
	if err == nil && out != nil {
		err = c.Store(out)
	}
	if err == nil {
		return nil
	}
	return b.refused(ctx, method, unit, err)
}

// refused makes an error of this package out of one of the connection, which ends with
// ctx and may say that it is closed before anybody says why.
func (b *bus) refused(ctx context.Context, op, unit string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return refusal(op, unit, b.of, err)
}

// property is an element of a(sv).
type property struct {
	Name  string
	Value dbus.Variant
}

// start makes the unit and waits until its job is done.
func (b *bus) start(ctx context.Context, unit string, props []property) (err error) {
	// The signal goes to those who have asked systemd for signals, and is filtered by
	// the bus; asked for first, it cannot come too early to be heard.
	signals := make(chan *dbus.Signal, 16)
	b.conn.Signal(signals)
	defer b.conn.RemoveSignal(signals)
	match := []dbus.MatchOption{
		dbus.WithMatchSender(name), dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"), dbus.WithMatchArg(2, unit),
	}
	if err := b.conn.AddMatchSignalContext(ctx, match...); err != nil {
		return b.refused(ctx, "AddMatch", unit, err)
	}
	if err := b.call(ctx, unit, "Subscribe", nil); err != nil {
		return err
	}
	var job dbus.ObjectPath
	var none []struct {
		Name       string
		Properties []property
	}
	if err := b.call(ctx, unit, "StartTransientUnit", &job, unit, "fail", props, none); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			b.cancel(job)
			return &Error{Op: "StartTransientUnit", Unit: unit, Err: fmt.Errorf("its job was not done in time: %w", ctx.Err())}
		case s, ok := <-signals:
			if !ok {
				return b.refused(ctx, "StartTransientUnit", unit, dbus.ErrClosed)
			}
			var id uint32
			var path dbus.ObjectPath
			var of, result string
			if dbus.Store(s.Body, &id, &path, &of, &result) != nil || path != job {
				continue
			}
			if result != "done" {
				return &Error{Op: "StartTransientUnit", Unit: unit, Err: fmt.Errorf("its job ended as %q", result), remedy: "see journalctl -u " + unit}
			}
			return nil
		}
	}
}

// cancel takes a job back that nobody waits for any more. The connection may have
// ended with the caller's context: it takes one of its own.
func (b *bus) cancel(job dbus.ObjectPath) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	again, err := connect(ctx, b.of)
	if err != nil {
		return
	}
	defer again.close()
	_ = again.conn.Object(name, job).CallWithContext(ctx, name+".Job.Cancel", dbus.FlagNoAutoStart).Err
}

// group is the unit's group, from the top of the hierarchy.
func (b *bus) group(ctx context.Context, unit string) (string, error) {
	var path dbus.ObjectPath
	if err := b.call(ctx, unit, "GetUnit", &path, unit); err != nil {
		return "", err
	}
	var v dbus.Variant
	c := b.conn.Object(name, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, name+".Scope", "ControlGroup")
	if err := c.Store(&v); err != nil {
		return "", b.refused(ctx, "get ControlGroup of", unit, err)
	}
	s, _ := v.Value().(string)
	return s, nil
}

// loaded says whether systemd knows the unit.
func (b *bus) loaded(ctx context.Context, unit string) (bool, error) {
	err := b.call(ctx, unit, "GetUnit", nil, unit)
	var d dbus.Error
	if errors.As(err, &d) && d.Name == name+".NoSuchUnit" {
		return false, nil
	}
	return err == nil, err
}
