package sandbox

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

func init() {
	hosts["claiming"] = func(args []string) {
		check(Prepare())
		sayZygote()
		claiming(args[0])
		say("ready")
		sleep()
	}
}

// claiming begins to start a command by itself, and does not come to say so to the zygote.
func claiming(how string) {
	sb, err := New(BestEffort(WithMemory("256m")))
	check(err)
	if !sb.engine.grouped {
		say("no cgroup")
		return
	}
	o := claim(sb)
	switch how {
	case "wanted": // for something else meanwhile
		_, err := sb.Stats()
		check(err)
	case "running":
		c := &commandSpec{path: "/bin/sleep", args: []string{"sleep", "1000"}, dir: "/", whole: true}
		if _, ok := o.start(sb.engine, c); !ok {
			say("not sent")
		}
		for sleeps := false; !sleeps; time.Sleep(time.Millisecond) {
			p, _ := leaktest.Lookup(strconv.Itoa(o.pid))
			sleeps = p.Name == "sleep"
		}
	}
}

// claim takes the process that stands ready, and with it the lock.
func claim(sb *Sandbox) *offer {
	d := &sb.engine.direct
	for {
		res, err := sb.Run(background, "/bin/true")
		check(err)
		check(res.Err())
		time.Sleep(time.Millisecond)
		d.mu.Lock()
		if d.line != nil {
			o, ok, err := d.claim()
			check(err)
			if ok {
				return &o
			}
		}
		d.mu.Unlock()
	}
}

// start starts a command in what has been claimed.
func (o *offer) start(e *engine, c *commandSpec) (*wire.StartRequest, bool) {
	req, fds := e.startRequest(c, make([]programFile, 3))
	base := e.shape.base(e, c.shape())
	req.Base, req.Ruleset, req.Launch.Mode, req.Socket = base.id, base.shared, uint8(base.mode), int32(base.socket)
	return &req, e.direct.null.ready() && e.direct.packet.fill(c, base, o.place) && e.direct.send(&req, fds)
}

// A host program that dies while it starts a command by itself leaves as little as another, and its zygote goes as soon.
func TestHostDiesWhileStarting(t *testing.T) {
	for _, how := range []string{"claimed", "wanted", "running"} {
		t.Run(how, func(t *testing.T) {
			before := leaktest.Take()
			h := startHost(t, "claiming "+how)
			if slices.Contains(h.said, "no cgroup") {
				skip(t, "needs cgroup delegation")
			}
			require.NotContains(t, h.said, "not sent")
			assert.NotEmpty(t, groupsOf(h.zygote), "the control")
			h.kill()
			assert.Empty(t, before.Await(patience))
		})
	}
}

// A sandbox is closed at once though this program has begun to start a command in it and says nothing of it yet.
func TestCloseWhileStarting(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	o := claim(sb)
	sb.engine.direct.mu.Unlock() // which its end needs
	_, err := sb.engine.z.callSoon(request{kind: wire.CloseBox, body: wire.BoxRequest{Box: sb.engine.box}})
	require.NoError(t, err, "it does not wait for what does not come")
	_, ok := leaktest.Lookup(strconv.Itoa(o.pid))
	assert.False(t, ok)
	require.NoError(t, sb.Close())
}
