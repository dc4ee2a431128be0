package sandbox

import "github.com/belljar-go/belljar/sandbox/internal/wire"

// callSoon is call for a request that is answered within a moment, without files: who asks waits for the answer in the very call that receives it, if there is a lane free.
func (c *zygoteClient) callSoon(r request) (*wire.Answer, error) {
	lane := c.takeLane()
	if lane == nil {
		a, _, err := c.call(r)
		return a, err
	}
	r.tampered()
	if lane.Send(r.kind, c.next.Add(1), r.body, r.raw(), r.files) != nil {
		c.closeLane(lane)
		a, _, err := c.call(r) // the other socket tells what is the matter
		return a, err
	}
	m, err := lane.Receive()
	if err == nil {
		c.leaveLane(lane)
		a, _, err := c.answer(m, r.plan)
		return a, err
	}
	c.closeLane(lane)
	return nil, c.lost(err)
}
