package systemd

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptionsBad(t *testing.T) {
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Name: "a/b"}, `holds '/'`},
		{Options{Name: "a b"}, `holds ' '`},
		{Options{Name: "a\x00"}, "holds '\\x00'"},
		{Options{Name: "a@b"}, `holds '@'`},
		{Options{Name: ".scope"}, "is empty"},
		{Options{Name: "..a"}, "begins with a dot"},
		{Options{Name: strings.Repeat("a", 250)}, "longer than 255"},
		{Options{Slice: "jobs"}, "does not end in .slice"},
		{Options{Slice: "../jobs.slice"}, "begins with a dot"},
		{Options{Description: "a\nb"}, "line end"},
		{Options{Manager: 3}, "no such manager"},
		{Options{Manager: -1}, "no such manager"},
		{Options{PIDs: []int{0}}, "no process"},
		{Options{PIDs: []int{1}}, "no process"},
		{Options{PIDs: []int{-5}}, "no process"},
		{Options{PIDs: []int{5, 6, 5}}, "named twice"},
		{Options{Properties: map[string]any{"PIDs": []uint32{1}}}, "set by this package"},
		{Options{Properties: map[string]any{"Delegate": false}}, "set by this package"},
	} {
		_, err := New(t.Context(), c.o)
		require.ErrorIs(t, err, cgroup.ErrInvalid, c.says)
		assert.Contains(t, err.Error(), c.says)
	}
}

func TestOptionsFilledIn(t *testing.T) {
	o := Options{}
	require.NoError(t, o.check("belljar-1-2-3"))
	assert.Equal(t, "belljar-1-2-3.scope", o.Name)
	assert.Equal(t, cgroup.MemoryController|cgroup.PidsController, o.Need)
	for _, name := range []string{"a", "a.scope", `a\x20b:c_d.e`, strings.Repeat("a", 249)} {
		o := Options{Name: name, Slice: "a-b.slice"}
		require.NoError(t, o.check(""))
		assert.True(t, strings.HasSuffix(o.Name, ".scope"))
	}
}

// A group that Sweep removes is named otherwise than a scope.
func TestScopeNameIsNoOwner(t *testing.T) {
	self, err := cgroup.OwnerName(os.Getpid())
	require.NoError(t, err)
	o := Options{}
	require.NoError(t, o.check(self+"-7"))
	assert.NotEqual(t, self+"-7", o.Name)
}

func TestAddress(t *testing.T) {
	uid := "/run/user/" + itoa(os.Geteuid())
	for _, c := range []struct {
		m    Manager
		env  map[string]string
		want string
	}{
		{System, nil, "unix:path=/run/dbus/system_bus_socket"},
		{System, map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/a;tcp:host=b;unix:abstract=c"}, "unix:path=/a;unix:abstract=c"},
		{System, map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": "unixexec:path=/bin/sh"}, "unix:path=/run/dbus/system_bus_socket"},
		{System, map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=/a"}, "unix:path=/run/dbus/system_bus_socket"},
		{User, nil, "unix:path=" + uid + "/bus"},
		{User, map[string]string{"XDG_RUNTIME_DIR": "/r u"}, "unix:path=/r%20u/bus"},
		{User, map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=/a", "XDG_RUNTIME_DIR": "/r"}, "unix:path=/a"},
		{User, map[string]string{"DBUS_SESSION_BUS_ADDRESS": "tcp:host=b"}, "unix:path=" + uid + "/bus"},
	} {
		assert.Equal(t, c.want, address(c.m, func(k string) string { return c.env[k] }))
	}
}

// Every kind is found by errors.Is, with what is below it, and says what to do.
func TestErrorKinds(t *testing.T) {
	for _, c := range []struct {
		name        string
		m           Manager
		kind        error
		unsupported bool
	}{
		{"org.freedesktop.systemd1.UnitExists", User, ErrExists, false},
		{"org.freedesktop.DBus.Error.AccessDenied", System, ErrRefused, true},
		{"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", System, ErrRefused, true},
		{"org.freedesktop.DBus.Error.ServiceUnknown", User, ErrNoSystemd, true},
		{"org.freedesktop.DBus.Error.NameHasNoOwner", System, ErrNoSystemd, true},
		{"org.freedesktop.DBus.Error.Disconnected", System, ErrNoBus, true},
	} {
		err := refusal("StartTransientUnit", "a.scope", c.m, dbus.Error{Name: c.name, Body: []any{"words"}})
		require.ErrorIs(t, err, c.kind)
		assert.Equal(t, c.unsupported, errors.Is(err, cgroup.ErrUnsupported))
		var d dbus.Error
		require.ErrorAs(t, err, &d)
		assert.Equal(t, c.name, d.Name)
		var r interface{ Remedy() string }
		require.ErrorAs(t, err, &r)
		assert.NotEmpty(t, r.Remedy())
		assert.Contains(t, err.Error(), "words")
		assert.Contains(t, err.Error(), "a.scope")
	}
	other := refusal("StartTransientUnit", "a.scope", User, dbus.Error{Name: "org.freedesktop.DBus.Error.InvalidArgs"})
	for _, kind := range []error{ErrExists, ErrRefused, ErrNoSystemd, ErrNoBus, cgroup.ErrUnsupported} {
		assert.NotErrorIs(t, other, kind)
	}
	require.ErrorIs(t, refusal("GetUnit", "a.scope", User, dbus.ErrClosed), ErrNoBus)
	late := refusal("GetUnit", "a.scope", User, context.DeadlineExceeded)
	require.ErrorIs(t, late, context.DeadlineExceeded)
	assert.NotErrorIs(t, late, ErrNoBus)
}

// Nothing is asked of anybody when the time is over before it began.
func TestScopeDone(t *testing.T) {
	ctx, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	_, err := New(ctx, Options{})
	if !errors.Is(err, cgroup.ErrUnsupported) { // of a machine without v2
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}
