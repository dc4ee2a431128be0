package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"

	"github.com/belljar-go/belljar/sandbox"
	"github.com/belljar-go/belljar/seccomp"
)

// sandboxRunner runs each job in a sandbox that nobody has used before and nobody uses after.
type sandboxRunner struct{}

func (sandboxRunner) run(ctx context.Context, j job) (out outcome, err error) {
	sb, err := sandbox.New(j.options()...)
	if err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, sb.Close()) }()
	for _, f := range j.files {
		if err := sb.WriteFile("/box/"+f.name, f.data, f.mode); err != nil {
			return outcome{}, err
		}
	}
	cmd := sb.Command(j.argv[0], j.argv[1:]...)
	cmd.Stdin = bytes.NewReader(j.stdin)
	cmd.Stdout, cmd.Stderr = j.stdout, j.stderr
	res, err := cmd.Run(ctx)
	if unrunnable(err) {
		// The path is the judge's, but the file is the submission's: a program whose loader does not exist is its own fault.
		return outcome{verdict: RE, detail: err.Error()}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	out = ended(res, j.limits)
	if out.verdict == AC && len(j.keep) > 0 {
		out.files, err = collect(sb.FS(), j.keep, j.keepMax)
	}
	return out, err
}

// options are all that a job may do; what they leave out is the sandbox's default, which allows least.
func (j job) options() []sandbox.Option {
	opts := []sandbox.Option{
		sandbox.WithMemory(strconv.FormatInt(j.limits.Memory, 10)),
		sandbox.WithPids(j.limits.Pids),
		sandbox.WithCPUTime(j.limits.CPU),
		sandbox.WithWallTime(j.limits.Wall),
		sandbox.WithOutput(strconv.FormatInt(j.limits.Output, 10)),
		sandbox.WithEnv(j.env...),
		sandbox.WithDir("/box"),
	}
	for _, b := range j.binds {
		opts = append(opts, sandbox.WithBind(b.from, b.to, sandbox.ReadOnly))
	}
	if j.box != "" {
		opts = append(opts, sandbox.WithTmpfs("/box", j.box))
	}
	if j.strict {
		opts = append(opts, sandbox.WithSeccomp(seccomp.Default().WithDenied(seccomp.KillProcess)))
	}
	return opts
}

// unrunnable reports that the program itself could not be started.
func unrunnable(err error) bool {
	var e *sandbox.Error
	return errors.As(err, &e) && e.Stage == "exec"
}

// verdicts translates the sandbox's word into the judge's.
var verdicts = map[sandbox.Verdict]Verdict{
	sandbox.OK:               AC,
	sandbox.NonZeroExit:      RE,
	sandbox.Signaled:         RE,
	sandbox.CPUTimeExceeded:  TLE,
	sandbox.WallTimeExceeded: TLE,
	sandbox.MemoryExceeded:   MLE,
	sandbox.OutputExceeded:   OLE,
	sandbox.PidsExceeded:     RE,
	sandbox.DiskExceeded:     RE,
	sandbox.SyscallDenied:    SE,
	sandbox.Canceled:         JE,
	sandbox.Killed:           JE,
}

func ended(res *sandbox.Result, l limits) outcome {
	out := outcome{
		verdict: verdicts[res.Verdict],
		cpu:     res.Usage.CPU.Total, wall: res.Usage.Wall, memory: res.Usage.PeakMemory,
	}
	if out.verdict == "" {
		out.verdict = JE
	}
	switch res.Verdict {
	case sandbox.OK:
	case sandbox.CPUTimeExceeded:
		out.detail = fmt.Sprintf("more than %v of CPU time", l.CPU)
	case sandbox.WallTimeExceeded:
		out.detail = fmt.Sprintf("still there after %v", l.Wall)
	case sandbox.MemoryExceeded:
		out.detail = "more than " + formatSize(l.Memory) + " of memory"
	case sandbox.OutputExceeded:
		out.detail = "more than " + formatSize(l.Output) + " of output"
	case sandbox.PidsExceeded:
		out.detail = fmt.Sprintf("more than %d processes and threads", l.Pids)
	default:
		out.detail = res.Err().Error()
	}
	return out
}

// keepFiles is the most files that a program may consist of: a source of a megabyte has room for 100,000 Java classes.
const keepFiles = 500

// collect reads the files in /box that match the patterns, no more than limit bytes in all. Too many, too large, or no
// regular files are as good as not there: what a compiler leaves is not to be trusted.
func collect(root fs.FS, patterns []string, limit int64) ([]file, error) {
	var files []file
	for _, pattern := range patterns {
		names, err := fs.Glob(root, path.Join("box", pattern))
		if err != nil || len(names) > keepFiles {
			return nil, err
		}
		for _, name := range names {
			data, err := readAtMost(root, name, limit)
			if err != nil {
				return nil, err
			}
			if data == nil {
				return nil, nil
			}
			limit -= int64(len(data))
			files = append(files, file{path.Base(name), data, 0o755})
		}
	}
	return files, nil
}

// readAtMost returns nil for what is larger than limit or no regular file.
func readAtMost(root fs.FS, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(data)) > limit {
		return nil, err
	}
	return data, nil
}
