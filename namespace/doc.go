// Package namespace holds values that describe Linux namespaces: which kinds a process
// has of its own ([Set]), how ids inside a user namespace stand for ids outside
// ([IDMaps]), which ids an ordinary user may use for that ([SubIDs]), and how far the
// clocks of a time namespace are shifted ([Offsets]).
//
// Everything here is pure: values, validation and the exact text that the kernel reads
// from files below /proc. Nothing makes a system call, so nothing can be done to the
// calling process by mistake, and the package works the same on every operating system.
package namespace
