package provision

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// imageBed is a bed whose guests come from an image that has files of its own.
func imageBed(t *testing.T, files map[string]string) (*bed, LaunchRequest) {
	t.Helper()
	b, req := fullBed(t)
	req.ID, req.Workspace = "x", ""
	b.fake.caps.Images = true
	b.fake.before = func(method string) {
		if method == "StartAgent" {
			for name, text := range files {
				put(t, b.fake.guest("x", "/"), name, text)
			}
		}
	}
	return b, req
}

// TestConfigureImage: root brings what an image's /etc lacks, and what the image
// has stays.
func TestConfigureImage(t *testing.T) {
	b, req := imageBed(t, map[string]string{
		"home/agent/.gitconfig":             "[user]\n\tname = Image",
		"home/agent/.config/pip/pip.conf":   "[global]\nindex-url = x\n",
		"etc/ssl/certs/ca-certificates.crt": "roots\n",
		"etc/environment":                   "A=1\n",
	})
	live := b.launch(req)
	if agent := b.fake.bottles["x"].agent; agent.SystemFiles != nil {
		t.Errorf("the backend was to bring %d files", len(agent.SystemFiles))
	}
	if left := live.Setup.Left; len(left) != 1 || left[0].Path != "/home/agent/.config/pip/pip.conf" || live.Setup.Files < 18 {
		t.Errorf("the launch reports %+v", live.Setup)
	}
	ca := string(b.fake.bottles["x"].agent.CACert)
	for name, want := range map[string][]string{
		"home/agent/.gitconfig":             {"[user]\n\tname = Image\n[include]\n"},
		"home/agent/.config/pip/pip.conf":   {"[global]\nindex-url = x\n"},
		"etc/ssl/certs/ca-certificates.crt": {"roots\n" + ca},
		"etc/environment":                   {"A=1\n", "https_proxy=http://127.0.0.1:9099\n"},
		"etc/gitconfig":                     {"directory = " + backend.GuestWorkspace},
	} {
		data, err := os.ReadFile(b.fake.guest("x", name))
		for _, part := range want {
			if err != nil || !strings.Contains(string(data), part) {
				t.Errorf("%s holds %q, %v", name, data, err)
			}
		}
	}
	if _, err := os.Stat(b.fake.guest("x", "etc/ssl/cert.pem")); err == nil {
		t.Error("a store was made that the image does not have")
	}
}

// TestConfigureOneUser: without a root nobody writes to /etc, and that is no
// failure.
func TestConfigureOneUser(t *testing.T) {
	b, req := imageBed(t, nil)
	b.fake.caps.MultiUser = false
	b.launch(req)
	if _, err := os.Stat(b.fake.guest("x", "etc/gitconfig")); err == nil {
		t.Error("somebody wrote to /etc")
	}
}

func TestConfigureFails(t *testing.T) {
	tests := []struct {
		name string
		make func(b *bed)
		want string
	}{
		{"the backend brought no /etc", func(b *bed) {
			b.fake.before = func(method string) {
				if method == "Exec" {
					_ = os.RemoveAll(b.fake.guest("x", "/etc/gitconfig"))
				}
			}
		}, "/etc/gitconfig in the guest is absent"},
		{"the home is a file", func(b *bed) {
			b.fake.before = func(method string) {
				if method == "Exec" {
					_ = os.RemoveAll(b.fake.guest("x", backend.AgentHome))
					put(b.t, b.fake.guest("x", "/home"), "agent", "")
				}
			}
		}, "cacerts.jks in the guest is failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, req := fullBed(t)
			req.ID, req.Workspace = "x", ""
			tt.make(b)
			_, err := b.Launch(t.Context(), b.plan(req), nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step != "configure" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
			b.nothingLeft()
		})
	}
}

// TestHostileAnswer: a guest's word is not taken for more than it is.
func TestHostileAnswer(t *testing.T) {
	files := []setup.File{{Path: "/a", Content: []byte("x"), How: setup.Create}}
	for name, answer := range map[string]string{
		"nothing": "", "no JSON": "hello", "endless": strings.Repeat("x", setup.MaxResult+1),
		"a lie": `{"files":[{"path":"/a","state":"written","sum":"00"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := setup.Decode([]byte(answer), files); err == nil {
				t.Error("it was believed")
			}
			w := &bounded{limit: setup.MaxResult}
			if _, err := bytes.NewReader([]byte(answer)).WriteTo(w); (err != nil) != (name == "endless") {
				t.Errorf("kept %d bytes, %v", w.data.Len(), err)
			}
		})
	}
	outcomes := []setup.Outcome{{Path: "/a", State: setup.Left}}
	for how, ok := range map[setup.How]bool{setup.Create: true, setup.Append: true, setup.Extend: true, setup.Replace: false, setup.Check: false} {
		files[0].How = how
		if err := mustHave(files, outcomes); (err == nil) != ok {
			t.Errorf("%s, left: %v", how, err)
		}
	}
	if mustHave(files, []setup.Outcome{{Path: "/a", State: setup.Failed}}) == nil {
		t.Error("a failed file is no failure")
	}
}
