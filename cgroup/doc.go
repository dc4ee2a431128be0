// Package cgroup puts limits on groups of processes, reads their accounts and
// ends them, through the control group file system of Linux.
//
// One API covers the unified hierarchy (v2), the per-controller hierarchies of
// v1, and hosts which mount both. Each controller is looked for in v2 first,
// then in v1. Nothing is dropped in silence: a limit which the host cannot
// enforce is an error that matches [ErrUnsupported]; what is enforced in a
// weaker way is listed by [Manager.Notes], what is not counted by
// [Manager.Missing].
//
// # Layout
//
//	BASE/belljar-<pid>-<start>/<sandbox>/<leaf>
//
// BASE is where this process may make groups ([Host.Base]). The next level is
// one program ([NewOwner]); its name tells [Sweep] whether that program still
// lives. The sandbox's group ([New]) carries the limits of everything in it,
// a leaf ([Manager.NewLeaf]) is one command: accounts, a handle to kill it by,
// and limits of its own if it has any. On v2 processes are in leaves only, for
// the kernel allows no process in a group whose children have controllers.
//
// # Entering a leaf
//
// A new process enters at birth: on v2 by clone3 with CLONE_INTO_CGROUP and
// [Leaf.FD], on v1 by writing "0" to each of [Leaf.TasksFDs] before it
// executes anything. Nothing here writes a pid to cgroup.procs on that path:
// moving a whole process waits for an RCU grace period of several
// milliseconds.
//
// # Sources
//
// cgroups(7), and Documentation/admin-guide/cgroup-v2.rst and
// cgroup-v1/*.rst in the kernel's tree. The package wants Linux 5.14; newer
// counters (memory.peak 5.19, pids.peak 6.1) are zero where they are missing.
package cgroup
