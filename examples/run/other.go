//go:build !linux

package main

import (
	"os"

	"github.com/belljar-go/belljar/sandbox"
)

// Sandboxes are Linux's: elsewhere run compiles, and says so when it is started.

type terminal struct{}

func openTerminal(*os.File) (*terminal, error) { return nil, sandbox.ErrUnsupported }

func (*terminal) makeRaw() error           { return sandbox.ErrUnsupported }
func (*terminal) restore()                 {}
func (*terminal) size() sandbox.WindowSize { return sandbox.WindowSize{} }

type relay struct{}

func catchSignals(*terminal) *relay { return &relay{} }

func (*relay) forward(*sandbox.Sandbox, *sandbox.Cmd) {}
func (*relay) ended()                                 {}
func (*relay) stop()                                  {}
