//go:build !(linux && cgo && (amd64 || arm64))

package seccomp

import "fmt"

func dispatch(map[uint32]label) ([]byte, error) {
	return nil, fmt.Errorf("%w: built without cgo or not for Linux on amd64 or arm64", ErrUnsupported)
}
