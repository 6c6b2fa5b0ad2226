package tools

import (
	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

type setupOutput struct {
	CASHA256 string       `json:"ca_sha256" jsonschema_description:"Fingerprint of the CA that programs in the guest trust: SHA-256 of the certificate, in hex"`
	Files    int          `json:"files" jsonschema_description:"Configuration files in place in the guest"`
	Left     []skipOutput `json:"left" jsonschema_description:"Files of the image's own that stay as they are, and why"`
}

// setupOf shows what a launch wrote beside the workspace; nil = nothing is known,
// as of a bottle that another version launched.
func setupOf(r provision.SetupReport) *setupOutput {
	if r.CASHA256 == "" {
		return nil
	}
	return &setupOutput{CASHA256: r.CASHA256, Files: r.Files, Left: skipsOf(r.Left)}
}

// surveyed is what a look at the workspace said would be copied.
func surveyed(w *provision.WorkspacePlan) *copyCounts {
	if w == nil || w.Survey == nil {
		return nil
	}
	s := w.Survey
	return countsOf(&backend.CopyReport{Files: s.Files, Bytes: s.Bytes, Skipped: s.Skipped, SkippedMore: s.SkippedMore})
}

// planFiles says in words what would be copied.
func planFiles(t *text, w *provision.WorkspacePlan) {
	if w == nil {
		t.line("Files: none are copied; %s is empty.", backend.GuestWorkspace)
		return
	}
	counts := surveyed(w)
	what := ""
	if counts != nil {
		what = " (" + plural(counts.Files, "file") + ", " + byteSize(counts.Bytes) + ")"
	}
	t.line("Files: %s%s would be copied to %s; changes there reach the host only by a copy out.", cleanLine(w.Host, 300), what, w.Guest)
	if counts != nil {
		renderSkips(t, counts.Skipped, counts.SkippedMore)
	}
}
