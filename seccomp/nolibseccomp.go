//go:build !(linux && cgo && (amd64 || arm64)) || belljar_noseccomplib

package seccomp

// Backend names what compiles policies in this build: "libseccomp", or "built-in" without cgo, with the build tag
// belljar_noseccomplib, and where libseccomp's tables lack the architecture.
const Backend = "built-in"

// nativeBackend compiles for the architecture this program runs on.
func nativeBackend(arch Arch, p Policy) ([]insn, error) { return builtin(arch, p) }
