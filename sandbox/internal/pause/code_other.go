//go:build !amd64 && !arm64

package pause

const machine = 0

var code []byte
