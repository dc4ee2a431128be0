//go:build !linux

package seccomp

import (
	"context"
	"os"
)

// Serve is Linux's alone: elsewhere the error is [ErrUnsupported].
func (s *Supervisor) Serve(context.Context, *os.File) error { return ErrUnsupported }
