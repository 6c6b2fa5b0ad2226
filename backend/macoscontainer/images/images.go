package images

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// Settings of the operator, read from the environment.
const (
	// EnvLinuxBinary names the linux build of this program.
	EnvLinuxBinary = "BOTTLE_MCP_LINUX_BINARY"
	// EnvSidecarImage names a sidecar image to use instead of our own.
	EnvSidecarImage = "BOT_BOTTLE_SIDECAR_IMAGE"
	// EnvDNS lists the resolvers of the builder and the sidecars.
	EnvDNS = "BOT_BOTTLE_MACOS_CONTAINER_DNS"
	// EnvAgentDockerfile and EnvAgentImage replace the default agent image.
	EnvAgentDockerfile = "BOTTLE_MCP_AGENT_DOCKERFILE"
	EnvAgentImage      = "BOTTLE_MCP_AGENT_IMAGE"
)

// registry is where images made here claim to come from. It never resolves.
const registry = "bottle-mcp.invalid/"

// Engine is what this package needs of Apple's container program.
type Engine interface {
	ImageInspect(ctx context.Context, ref string) (cli.Image, error)
	ImageLoad(ctx context.Context, path string) ([]string, error)
	Build(ctx context.Context, req cli.BuildRequest) ([]string, error)
	BuilderStatus(ctx context.Context) (cli.Builder, error)
	BuilderStart(ctx context.Context, req cli.BuilderRequest) error
	BuilderStop(ctx context.Context) error
	Exec(ctx context.Context, req cli.ExecRequest) (cli.ExecResult, error)
}

// Config configures Images. Only CLI and CacheDir are needed.
type Config struct {
	CLI Engine
	// CacheDir is a private directory for locks, archives and staged build
	// contexts. It is made when missing.
	CacheDir string
	// LookupEnv reads the operator's settings; nil = os.LookupEnv.
	LookupEnv func(string) (string, bool)
	Logger    *slog.Logger
	// Architecture is the guests'; "" = arm64 on a Mac, else this host's.
	Architecture string
	// ResolverText gives what `scutil --dns` prints. nil asks scutil on a Mac
	// and nobody elsewhere.
	ResolverText func(context.Context) ([]byte, error)
	// ResolvConf is read when ResolverText knows nothing; "" = /etc/resolv.conf.
	ResolvConf string
}

// Images makes images available. Use New. It is safe for concurrent use, also
// by several servers that share a CacheDir.
type Images struct {
	cfg  Config
	log  *slog.Logger
	host host
	poll time.Duration // between two looks at a builder that is stopping

	mu       sync.Mutex
	embedded string            // path of the embedded twin, once it is written
	made     map[string]made   // sidecar images by the identity of their binary
	users    map[string]string // USER of images that were looked at, by name
}

// host is what this process is. Tests replace it.
type host struct {
	system     string
	arch       string
	executable func() (string, error)
	build      func() (*debug.BuildInfo, bool)
	twin       string // the embedded one, "" when there is none
	userCache  func() (string, error)
	lossy      []string // where the builder loses directories of a context
}

// New returns Images. It touches nothing yet.
func New(cfg Config) *Images {
	if cfg.LookupEnv == nil {
		cfg.LookupEnv = os.LookupEnv
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Architecture == "" {
		cfg.Architecture = runtime.GOARCH
		if runtime.GOOS == "darwin" {
			cfg.Architecture = "arm64" // guests are not translated, also where this process is
		}
	}
	if cfg.ResolverText == nil && runtime.GOOS == "darwin" {
		cfg.ResolverText = scutil
	}
	return &Images{
		cfg: cfg, log: cfg.Logger, poll: 500 * time.Millisecond, made: map[string]made{},
		host: host{
			system: runtime.GOOS, arch: runtime.GOARCH, executable: os.Executable, build: debug.ReadBuildInfo,
			twin: embeddedTwin, userCache: os.UserCacheDir, lossy: lossyDirs(runtime.GOOS),
		},
	}
}

// Platform is the guests', as the container program spells it.
func (i *Images) Platform() string { return "linux/" + i.cfg.Architecture }

// setting is what the operator set, without surrounding space; an empty value
// is the same as none.
func (i *Images) setting(name string) string {
	value, _ := i.cfg.LookupEnv(name)
	return strings.TrimSpace(value)
}

// cache makes the cache directory and returns its real path.
func (i *Images) cache() (string, error) {
	if err := os.MkdirAll(i.cfg.CacheDir, 0o700); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	path, err := filepath.EvalSymlinks(i.cfg.CacheDir)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return path, nil
}

// scutil asks the Mac which resolvers it uses.
func scutil(ctx context.Context) ([]byte, error) {
	r, err := command.Run(ctx, command.Spec{Name: "/usr/sbin/scutil", Args: []string{"--dns"}, Timeout: 10 * time.Second})
	return r.Stdout, err
}

// variant is the image's for our guests.
func (i *Images) variant(img cli.Image) (cli.Variant, bool) {
	for _, v := range img.Variants {
		if v.OS == "linux" && v.Architecture == i.cfg.Architecture {
			return v, true
		}
	}
	return cli.Variant{}, false
}

// fitting is variant, and remembers the image's user.
func (i *Images) fitting(ref string, img cli.Image) (cli.Variant, bool) {
	v, ok := i.variant(img)
	if ok {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.users == nil {
			i.users = map[string]string{}
		}
		i.users[ref] = v.User
	}
	return v, ok
}

// User is an image's USER: "name" or "uid", perhaps with ":group"; "" is root.
// It is what was found when the image was made available.
func (i *Images) User(ctx context.Context, ref string) (string, error) {
	i.mu.Lock()
	user, ok := i.users[ref]
	i.mu.Unlock()
	if ok {
		return user, nil
	}
	img, err := i.cfg.CLI.ImageInspect(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("look for the user of image %s: %w", ref, err)
	}
	v, _ := i.fitting(ref, img)
	return v.User, nil
}

// platforms lists what an image is for.
func platforms(img cli.Image) string {
	var names []string
	for _, v := range img.Variants {
		names = append(names, v.OS+"/"+v.Architecture)
	}
	if len(names) == 0 {
		return "no platform"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// reference is the alphabet of image references; it begins with no dash.
var reference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,254}$`)

// local makes sure that an image the operator named is here and for our
// guests. It is never pulled: what runs was put here on purpose. The origin
// says who named it.
func (i *Images) local(ctx context.Context, ref, origin string) error {
	if !reference.MatchString(ref) {
		return fmt.Errorf("%s: %.80q is not an image reference", origin, ref)
	}
	img, err := i.cfg.CLI.ImageInspect(ctx, ref)
	if missing(err) {
		return fmt.Errorf("%s: image %s is not on this machine and is never pulled by itself: run `container image pull --platform %s %s`: %w",
			origin, ref, i.Platform(), ref, err)
	}
	if err != nil {
		return fmt.Errorf("%s: look at image %s: %w", origin, ref, err)
	}
	if _, ok := i.fitting(ref, img); !ok {
		return fmt.Errorf("%s: image %s is for %s, guests need %s: pull or build it for that platform",
			origin, ref, platforms(img), i.Platform())
	}
	return nil
}

// missing reports whether the engine says that there is no such image.
func missing(err error) bool { return cli.KindOf(err) == cli.KindNotFound }
