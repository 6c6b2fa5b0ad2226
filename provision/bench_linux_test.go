package provision_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// provisioningBudget is for the steps between the self-test and the hand-over,
// without a workspace.
const provisioningBudget = 40 * time.Millisecond

// BenchmarkLaunchSteps launches real bottles without a workspace and says what
// each step takes, in the median, and what share of the launch is provisioning.
// Beyond the budget it fails.
func BenchmarkLaunchSteps(b *testing.B) {
	store, err := state.Open(filepath.Join(b.TempDir(), "state"))
	if err != nil {
		b.Fatal(err)
	}
	engine := linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()})
	if _, err := engine.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	m, err := provision.NewManager(provision.Config{
		Backends: []backend.Backend{engine}, State: store, LookupEnv: os.LookupEnv, ManifestHome: b.TempDir(),
	})
	if err != nil {
		b.Fatal(err)
	}
	took := map[string][]time.Duration{}
	var order []string
	for b.Loop() {
		for _, s := range launchOnce(b, m) {
			if took[s.Step] == nil {
				order = append(order, s.Step)
			}
			took[s.Step] = append(took[s.Step], s.Elapsed)
		}
	}
	var whole time.Duration
	for _, name := range order {
		slices.Sort(took[name])
		median := took[name][len(took[name])/2]
		whole += median
		b.ReportMetric(float64(median.Microseconds())/1000, name+"-ms")
	}
	configure := took["configure"][len(took["configure"])/2]
	b.ReportMetric(100*configure.Seconds()/whole.Seconds(), "configure-%")
	if configure > provisioningBudget {
		b.Errorf("provisioning takes %s in the median, more than %s", configure, provisioningBudget)
	}
}

// launchOnce launches and removes one bottle.
func launchOnce(b *testing.B, m *provision.Manager) []provision.StepTiming {
	b.Helper()
	who := provision.Principal{Kind: provision.Operator}
	plan, err := m.Plan(b.Context(), provision.LaunchRequest{Principal: who})
	if err != nil {
		b.Fatal(err)
	}
	live, err := m.Launch(b.Context(), plan, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	if _, err := m.Cleanup(ctx, provision.CleanupRequest{IDs: []backend.ID{live.ID}, Principal: who}, func(provision.Event) {}); err != nil {
		b.Fatal(err)
	}
	return live.StepTimings
}
