// Package wire is the one protocol between a host program and its zygote.
//
// It runs over a SOCK_SEQPACKET socket pair, so messages keep their bounds and end of file is the other side's death. A
// message has a fixed head (version, kind, sizes, request number), a body (the fields of one of the structs here, see codec.go) and a part that is not looked into (an
// encoded plan), and may carry descriptors. A message too long for one packet travels in a sealed memfd.
//
//	host program                          zygote                              sandbox
//	     | ---- Create(plan, fds) -------> |                                     |
//	     |                                 | mkdir cgroup, clone3 -------------> | PID 1 walks, waits
//	     |                                 | id maps, idmapped trees, go ------> | walks on, execs pause
//	     | <--- Reply(pid) --------------- |                                     |
//	     | ---- Start(plan, stdio) ------> |                                     |
//	     | <--- Listening(fd) ------------ | if its filter has a listener, before the exec
//	     |                                 | mkdir leaf, clone3 ---> joins ----> | clone3: walks, execs the program
//	     | <--- Reply(pid) --------------- |                                     |
//	     |                                 | <--------------------------------- | ends
//	     |                                 | kills leftovers, reads accounts
//	     | <--- Exited(status, stats) ---- | rmdir leaf                          |
//	     | ---- CloseBox ----------------> | kills PID 1 and with it everything  |
//	     | <--- Reply -------------------- |                                     |
//
// A program that waits for nothing but a command's end asks for it over a socket of its own, a lane, whose other end is handed over by a Lane: a thread blocks
// in it on either side, and nothing stands between them. What comes first, Reply or Exited, comes back there; an Exited that follows a Reply, or
// events, which it must not overtake, comes over the first socket.
//
// Every request but Lane is answered by exactly one Reply with its number; a Start that succeeded is followed by exactly one Exited. Requests are
// independent: a slow one delays no other. No process that runs a job holds either end of the socket.
package wire
