package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	// One host program of many below the same parent. It says "up" when its sandbox works, sweeps and works until its input ends, and says "fine".
	hosts["crowd"] = func(args []string) {
		sb, err := New(WithCgroupParent(args[0]), WithMemory("64m"), WithPids(20))
		check(err)
		sayZygote()
		idle := sb.Command("/bin/sleep", "1000")
		check(idle.Start(background))
		died := make(chan *Result, 1)
		go func() {
			res, err := idle.Wait()
			check(err)
			died <- res
		}()
		say("ready")
		over := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(over)
		}()
		for done := false; !done; {
			_, err := Sweep(args[0])
			check(err)
			res, err := sb.Run(background, "/bin/true")
			check(err)
			check(res.Err())
			select {
			case res := <-died:
				check(fmt.Errorf("the idle command ended: %v", res.Verdict))
			case <-over:
				done = true
			default:
			}
		}
		check(idle.Kill())
		<-died
		check(sb.Close())
		say("fine")
	}
}

// member is one host program of a crowd, seen from the test.
type member struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	out    *bufio.Reader
	zygote int
}

func joinCrowd(t *testing.T, parent string) *member {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	m := &member{cmd: exec.CommandContext(t.Context(), exe)}
	m.cmd.Env = append(os.Environ(), partEnv+"=host crowd "+parent)
	m.cmd.Stderr = os.Stderr
	m.stdin, err = m.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := m.cmd.StdoutPipe()
	require.NoError(t, err)
	m.out = bufio.NewReader(out)
	require.NoError(t, m.cmd.Start())
	return m
}

// up waits until the program has its sandbox.
func (m *member) up(t *testing.T) {
	t.Helper()
	for {
		line, err := m.out.ReadString('\n')
		require.NoError(t, err, line)
		if pid, ok := strings.CutPrefix(strings.TrimSpace(line), "zygote "); ok {
			m.zygote, err = strconv.Atoi(pid)
			require.NoError(t, err)
		}
		if line == "ready\n" {
			return
		}
	}
}

// Many host programs side by side, half of which are killed at any moment, with their zygotes or without, while all the others sweep, and
// new ones come: what the dead have left goes, and nothing of the living is touched.
func TestSweepCrowd(t *testing.T) {
	size := 12
	if testing.Short() {
		if os.Geteuid() != 0 {
			t.Skip("slow: every sandbox of an ordinary user copies its zygote")
		}
		size = 2
	}
	parent, dirs := namedGroup(t, "-crowd")
	crowd := make([]*member, size)
	for i := range crowd {
		crowd[i] = joinCrowd(t, parent)
	}
	// A pid is not enough to be taken for alive: this process's, of another start.
	reused := fmt.Sprintf("belljar-%d-1", os.Getpid())
	for _, d := range dirs {
		err := os.MkdirAll(d+"/"+reused+"/sandbox-1", 0o755)
		for errors.Is(err, os.ErrNotExist) { // somebody has swept it half made
			err = os.MkdirAll(d+"/"+reused+"/sandbox-1", 0o755)
		}
		require.NoError(t, err)
	}
	for _, m := range crowd {
		m.up(t)
	}
	stop := make(chan struct{})
	var sweeps sync.WaitGroup
	sweeps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, err := Sweep(parent)
				assert.NoError(t, err)
			}
		}
	})
	doomed, living := crowd[:size/2], crowd[size/2:]
	var fresh []*member
	for i, m := range doomed {
		time.Sleep(rand.N(40 * time.Millisecond))
		if i%2 == 0 { // else the zygote cleans up by itself
			require.NoError(t, unix.Kill(m.zygote, unix.SIGKILL))
		}
		require.NoError(t, m.cmd.Process.Kill())
		fresh = append(fresh, joinCrowd(t, parent))
		_, _ = io.Copy(io.Discard, m.out)
		_ = m.cmd.Wait()
	}
	for _, m := range fresh {
		m.up(t)
	}
	living = append(living, fresh...)
	eventually(t, "only the groups of the living are left", func() bool {
		leaktest.ReapOrphans()
		owners := map[string]bool{}
		for _, d := range dirs {
			found, _ := filepath.Glob(d + "/belljar-*")
			for _, f := range found {
				owners[strings.Split(filepath.Base(f), "-")[1]] = true
			}
		}
		for _, m := range living { // control: theirs are all there
			if !owners[strconv.Itoa(m.zygote)] {
				require.NoError(t, unix.Kill(m.zygote, 0), "the program has failed by itself")
				t.Fatalf("the group of zygote %d, which lives, is gone", m.zygote)
			}
		}
		return len(owners) == len(living)
	})
	close(stop)
	sweeps.Wait()
	for _, m := range living {
		require.NoError(t, m.stdin.Close())
	}
	for _, m := range living {
		said, err := io.ReadAll(m.out)
		require.NoError(t, err)
		assert.Equal(t, "fine\n", string(said))
		assert.NoError(t, m.cmd.Wait())
	}
	for _, d := range dirs {
		left, _ := filepath.Glob(d + "/belljar-*")
		assert.Empty(t, left)
		assert.NoDirExists(t, d+"/"+reused)
	}
}
