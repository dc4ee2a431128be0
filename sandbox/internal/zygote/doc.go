// Package zygote is the process that does a host program's launching: the host program's own binary, executed again once,
// and taken over by this package's init function before main.
//
// It holds nothing of the host program: no heap, no environment, no descriptor but one end of the control socket.
// It makes cgroups, maps ids, launches processes, waits for them and reads their accounts. It ends when the
// socket does, and everything it started ends with it.
package zygote
