// Package systemd gets a group of its own for a program from systemd: a
// transient scope with Delegate=yes, below which package cgroup, and so sandboxes,
// may make theirs. It is what systemd-run --scope -p Delegate=yes PROGRAM does,
// from within a program that runs already.
//
//	scope, err := systemd.New(ctx, systemd.Options{})
//	...
//	defer scope.Close()
//	sb, err := sandbox.New(sandbox.WithMemory("64m"), sandbox.WithCgroupParent(scope.Parent()))
//
// An ordinary user needs it where the program was started in a group that is not
// the user's, as in every login session. As root it works without; systemd then
// regards the groups as its own, though, and may remove controllers from them when
// its configuration is loaded again. A service does better with Delegate=yes in its
// unit, which makes its own group usable with no scope and no message bus.
//
// Only unified hosts (v2) are served: systemd delegates nothing safely in a
// hierarchy of v1, where root needs no delegation anyway.
//
// It talks to systemd over the message bus, through github.com/godbus/dbus/v5. No
// other package of the module imports this one, so that nobody else pays for that.
//
// # Sources
//
// org.freedesktop.systemd1(5), systemd.scope(5), systemd.resource-control(5), and
// "Control Group APIs and Delegation" in systemd's documentation (CGROUP_DELEGATION).
package systemd
