package macoscontainer

import (
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// scene is a bottle that runs as it was tested.
func scene(now time.Time) (objects, record) {
	r := record{
		ID: "task", Owner: "me", Topology: twoNetwork, Services: []sidecars.Service{sidecars.Egress},
		Created: now.Add(-time.Hour), Expires: now.Add(time.Hour), SidecarAddress: "192.168.65.2",
		SidecarStarted: now.Add(-time.Hour).Truncate(time.Second), AgentStarted: now.Add(-time.Minute).Truncate(time.Second),
	}
	o := objects{identity: r.identity(), networks: map[role]cli.Network{roleInternal: {}, roleEgress: {}}}
	o.containers = map[role]cli.Container{
		roleAgent: {State: "running", Started: r.AgentStarted},
		roleSidecar: {State: "running", Started: r.SidecarStarted, Attachments: []cli.Attachment{
			{Network: "bot-bottle-egress-task", IPv4: "192.168.64.9"}, {Network: "bot-bottle-task", IPv4: "192.168.65.2"},
		}},
	}
	return o, r
}

func TestInstance(t *testing.T) {
	now := time.Now()
	change := func(r role, f func(*cli.Container)) func(*objects, *record) {
		return func(o *objects, _ *record) {
			c := o.containers[r]
			f(&c)
			o.containers[r] = c
		}
	}
	tests := []struct {
		name    string
		change  func(*objects, *record)
		want    backend.State
		serving bool
	}{
		{"as tested", func(*objects, *record) {}, backend.Running, true},
		{"sidecar ended", change(roleSidecar, func(c *cli.Container) { c.State = "stopped" }), backend.Degraded, false},
		{"sidecar vanished", func(o *objects, _ *record) { delete(o.containers, roleSidecar) }, backend.Degraded, false},
		{"sidecar started again", change(roleSidecar, func(c *cli.Container) { c.Started = c.Started.Add(time.Minute) }), backend.Degraded, false},
		{"sidecar moved", change(roleSidecar, func(c *cli.Container) { c.Attachments[1].IPv4 = "192.168.70.2" }), backend.Degraded, false},
		{"agent started again", change(roleAgent, func(c *cli.Container) { c.Started = c.Started.Add(time.Minute) }), backend.Degraded, true},
		{"agent ended", change(roleAgent, func(c *cli.Container) { c.State = "stopped" }), backend.Dead, true},
		{"agent not started yet", func(o *objects, r *record) {
			delete(o.containers, roleAgent)
			r.AgentStarted = time.Time{}
		}, backend.Starting, true},
		{"agent furnished", func(_ *objects, r *record) { r.AgentStarted = time.Time{} }, backend.Starting, true},
		{"agent vanished", func(o *objects, _ *record) { delete(o.containers, roleAgent) }, backend.Dead, true},
		{"networks alone", func(o *objects, _ *record) { clear(o.containers) }, backend.Dead, false},
		{"expired", func(o *objects, _ *record) {
			clear(o.containers)
			o.expires = now
		}, backend.Expired, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, r := scene(now)
			tt.change(&o, &r)
			i := o.instance(r, true, now)
			if i.State != tt.want || i.Services[sidecars.Egress] != tt.serving {
				t.Errorf("state %s, serving %v; want %s, %v", i.State, i.Services[sidecars.Egress], tt.want, tt.serving)
			}
			if i.ID != "task" || i.Owner != "me" || i.Usage.PIDs >= 0 {
				t.Errorf("%+v", i)
			}
		})
	}
	t.Run("without a record", func(t *testing.T) {
		o, _ := scene(now)
		if i := o.instance(record{}, false, now); i.State == backend.Running {
			t.Errorf("a bottle nobody tested is %s", i.State)
		}
	})
}

func TestInternalAddress(t *testing.T) {
	tests := []struct {
		a    cli.Attachment
		want string
	}{
		{cli.Attachment{Network: "bot-bottle-task", IPv4: "192.168.65.2"}, "192.168.65.2"},
		{cli.Attachment{Network: "bot-bottle-egress-task", IPv4: "192.168.65.2"}, ""},
		{cli.Attachment{Network: "bot-bottle-task", IPv4: "192.168.65.2/24"}, ""},
		{cli.Attachment{Network: "bot-bottle-task", IPv4: "evil.example"}, ""},
		{cli.Attachment{Network: "bot-bottle-task", IPv4: "fd00::1"}, ""},
		{cli.Attachment{Network: "bot-bottle-task"}, ""},
	}
	for _, tt := range tests {
		if got := internalAddress(cli.Container{Attachments: []cli.Attachment{tt.a}}, "task"); got != tt.want {
			t.Errorf("%+v gives %q", tt.a, got)
		}
	}
}
