package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

func TestImages(t *testing.T) {
	enter(t)
	dir := t.TempDir()
	save := func(format string) string {
		file := filepath.Join(dir, format+".tar")
		if _, err := world.Podman(t.Context(), "save", "--format", format, "-o", file, world.AgentImage); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Run("documents", func(t *testing.T) {
		one := valid(t, "image inspect", must(t, "image", "inspect", world.AgentImage))
		if !strings.Contains(one, `"architecture" : "`+engine.Architecture()+`"`) {
			t.Errorf("the platform is missing: %s", one)
		}
		valid(t, "image list --format json", must(t, "image", "list", "--format", "json"))
		refuses(t, `notFound: "image not found: nothing:1"`, "image", "inspect", world.AgentImage, "nothing:1")
	})
	t.Run("tag and delete", func(t *testing.T) {
		if got := must(t, "image", "tag", world.AgentImage, "other"); got != "docker.io/library/other:latest\n" {
			t.Errorf("printed %q", got)
		}
		if got := must(t, "run", "--rm", "--network", "none", "--", "other", "echo", "hello"); got != "hello\n" {
			t.Errorf("by its other name it says %q", got)
		}
		must(t, "image", "delete", "other")
		refuses(t, "notFound", "image", "delete", "other")
		if r := container(t, "image", "delete", "-f", "other"); r.code != 0 || r.out != "" {
			t.Errorf("forced: exit %d, %q", r.code, r.out)
		}
		must(t, "image", "inspect", world.AgentImage)
	})
	t.Run("load", func(t *testing.T) {
		file := save("oci-archive")
		if got := must(t, "image", "load", "-i", file); got != world.AgentImage+"\n" {
			t.Errorf("printed %q", got)
		}
		give := func(cmd *exec.Cmd) {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdin = in
		}
		if r := run(t, give, "image", "load"); r.code != 0 || r.out != world.AgentImage+"\n" {
			t.Errorf("from standard input: exit %d, %q, %q", r.code, r.out, r.complaint)
		}
		refuses(t, "oci-layout", "image", "load", "-i", save("docker-archive"))
		refuses(t, "notFound", "image", "load", "-i", filepath.Join(dir, "nothing"))
	})
	t.Run("no registry", func(t *testing.T) {
		refuses(t, "failed to fetch image", "image", "pull", "nothing:1")
		refuses(t, "failed to fetch image", "run", "--", "nothing:1")
		refuses(t, "failed to fetch image", "run", "--platform", "linux/s390x", "--", world.AgentImage)
	})
}

func TestBuild(t *testing.T) {
	w := enter(t)
	dir := w.BuildContext(t)
	t.Cleanup(func() {
		clean(t, "builder", "delete", "-f")
		if _, err := world.Podman(late{t}.Context(), "rmi", "-f", "bottle-mcp.invalid/container-builder-shim:1"); err != nil {
			t.Error(err)
		}
	})
	if got := must(t, "builder", "status", "--format", "json"); got != "[]\n" {
		t.Errorf("no builder is %s", got)
	}
	must(t, "builder", "stop") // none is fine

	t.Run("an image", func(t *testing.T) {
		r := container(t, "build", "-t", "built:1", dir)
		if r.code != 0 || r.out != "docker.io/library/built:1\n" || !strings.Contains(r.complaint, "RUN echo built") {
			t.Fatalf("exit %d, stdout %q, stderr %q", r.code, r.out, r.complaint)
		}
		valid(t, "image inspect", must(t, "image", "inspect", "built:1"))
		if got := must(t, "run", "--rm", "--network", "none", "--", "built:1", "sh", "-c", "cat /built /home/agent/greeting; echo $GREETED"); got != "built\nhello from the build context\nyes\n" {
			t.Errorf("in it: %q", got)
		}
		must(t, "image", "delete", "built:1")
	})
	t.Run("a step that fails", func(t *testing.T) {
		r := container(t, "build", "-t", "fails:1", "-f", filepath.Join(dir, "Dockerfile.fails"), dir)
		if r.code != 1 || r.out != "" || !strings.Contains(r.complaint, "the last words") {
			t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.complaint)
		}
		refuses(t, "Dockerfile does not exist", "build", "-f", filepath.Join(dir, "nothing"), dir)
	})
	t.Run("a step on the network", func(t *testing.T) {
		must(t, "build", "-t", "fetched:1", "-f", filepath.Join(dir, "Dockerfile.network"), dir)
		w.AwaitEvent(t, func(e internet.Event) bool { return strings.Contains(e.Path, "from-the-builder") })
		must(t, "image", "delete", "fetched:1")
	})
	t.Run("names", func(t *testing.T) {
		valid(t, "builder status --format json", must(t, "builder", "status", "--format", "json"))
		if got := must(t, "exec", "--", engine.Builder, "getent", "hosts", world.AllowedName); !strings.HasPrefix(got, world.PublicAddress) {
			t.Errorf("the builder resolves %s to %q", world.AllowedName, got)
		}
		must(t, "exec", "--", engine.Builder, "nslookup", world.AllowedName)
		if r := container(t, "exec", "--", engine.Builder, "getent", "hosts", world.MissingName); r.code != 2 {
			t.Errorf("a name that is missing: exit %d", r.code)
		}
	})
	t.Run("made anew for other DNS", func(t *testing.T) {
		created := func() string {
			lines := strings.SplitAfter(must(t, "inspect", engine.Builder), "\n")
			for _, line := range lines {
				if strings.Contains(line, "startedDate") {
					return line + must(t, "exec", "--", engine.Builder, "getent", "hosts", world.AllowedName)
				}
			}
			return ""
		}
		mark := "/marker"
		must(t, "cp", filepath.Join(dir, "greeting"), engine.Builder+":"+mark)
		must(t, "builder", "start")
		must(t, "cp", engine.Builder+":"+mark, filepath.Join(dir, "kept")) // the same one
		must(t, "builder", "start", "--dns", world.DNSAddress)
		refuses(t, "notFound", "cp", engine.Builder+":"+mark, filepath.Join(dir, "gone"))
		if created() == "" {
			t.Error("the new one has not started")
		}
	})
	t.Run("stop and delete", func(t *testing.T) {
		refuses(t, "invalidState", "builder", "delete")
		must(t, "builder", "stop")
		must(t, "builder", "delete")
		must(t, "builder", "delete") // none is fine
	})
}
