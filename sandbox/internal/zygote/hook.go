//go:build linux

package zygote

import (
	"os"

	"golang.org/x/sys/unix"
)

// Name is the zygote's argv[0]. It alone makes nothing a zygote, see isZygote.
const Name = "belljar-zygote"

// SocketFD is where a zygote finds its end of the control socket.
const SocketFD = 3

func init() {
	if len(os.Args) == 1 && os.Args[0] == Name && isZygote() {
		serve()
		os.Exit(0)
	}
}

// isZygote tells a process started by this library from one that only bears its name: descriptor 3 must be a
// seqpacket socket which was made by our parent under our own uid. Whoever can arrange that could run the program's code with the
// same rights anyway; only a set-user-ID or file-capability host program has more than its caller, and it is never a zygote.
func isZygote() bool {
	const atSecure = 23 // AT_SECURE, getauxval(3)
	aux, err := unix.Auxv()
	if err != nil {
		return false
	}
	for _, v := range aux {
		if v[0] == atSecure && v[1] != 0 {
			return false
		}
	}
	kind, err := unix.GetsockoptInt(SocketFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return false
	}
	domain, err := unix.GetsockoptInt(SocketFD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return false
	}
	peer, err := unix.GetsockoptUcred(SocketFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Pid) == os.Getppid() && int(peer.Uid) == os.Geteuid()
}
