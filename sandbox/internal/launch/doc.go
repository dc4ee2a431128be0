// Package launch starts a process and walks a prepared list of system calls in it.
//
// A launch is clone3 with vfork semantics: the child shares the parent's memory until it calls execve, so its price
// does not grow with the parent's heap. Unlike vfork the parent is not suspended: the child runs a short assembly loop that
// touches no stack, no goroutine and no Go code (walk_*.s), and everything it reads or writes lies in an [Arena] outside the Go
// heap. The parent waits on a word that the kernel clears when the child execs or dies (CLONE_CHILD_CLEARTID), with a
// deadline; a child that hangs in execve therefore blocks nobody.
//
// Joining a standing sandbox takes two processes, both made here: the first joins the namespaces and clones the
// second with CLONE_PARENT, because a process never enters a PID namespace itself, only its children do.
//
// Nothing but this package runs between clone and execve.
package launch
