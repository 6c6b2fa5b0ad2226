package pid1

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Exit codes of the init and of "sidecar ready". A stopped init returns the
// largest code of its daemons.
const (
	exitFailure = 1
	exitUsage   = 2
)

// maxUntil is a time that every clock can count to.
const maxUntil = 1 << 40

// options are the command line and environment of the init, read.
type options struct {
	configDir string
	where     place
	until     time.Time
	daemons   []sidecars.Service
	timing    timing
	stderr    io.Writer
}

func parseOptions(args []string, lookup func(string) (string, bool), stderr io.Writer) (options, error) {
	o := options{timing: defaultTiming(), stderr: stderr}
	flags := flag.NewFlagSet("sidecar init", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	listenAt := flags.String("listen", DefaultListen, "")
	until := flags.Int64("until", 0, "")
	flags.StringVar(&o.configDir, "config", DefaultConfigDir, "")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%.80q is one word too many", flags.Arg(0))
	}
	if err == nil && (*until < 0 || *until > maxUntil) {
		err = errors.New("--until takes seconds since 1970")
	}
	if err != nil {
		return o, fmt.Errorf("%w; it takes --listen interface:NAME or unix:DIR, --config DIR and --until SECONDS", err)
	}
	if *until > 0 {
		o.until = time.Unix(*until, 0)
	}
	if o.where, err = parsePlace(*listenAt); err != nil {
		return o, err
	}
	list, isSet := lookup(sidecars.DaemonsEnv)
	o.daemons, err = selectDaemons(list, isSet)
	return o, err
}

// machine is the init at work.
type machine struct {
	options
	lines    *lineLog
	log      *slog.Logger
	reaper   *reaper
	services []*service

	logs *logFiles

	mu          sync.Mutex
	settings    *settings
	reloads     int
	reloadError string
}

func newMachine(o options) *machine {
	lines := newLineLog(o.stderr)
	handler := slog.NewTextHandler(lines.writer("init"), nil)
	return &machine{options: o, lines: lines, log: slog.New(handler), reaper: newReaper()}
}

// run is the whole life of the init. It returns its exit code.
func (m *machine) run() int {
	if !m.until.IsZero() && !time.Now().Before(m.until) {
		return 0
	}
	events := make(chan os.Signal, 8)
	signal.Notify(events, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	// Notified of and dropped: a container's log that nobody reads ends nothing.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gone := make(chan struct{})
	defer close(gone)
	expired := make(chan struct{})
	if !m.until.IsZero() {
		go m.expire(expired, gone)
	}
	go func() {
		for {
			select {
			case <-children:
				m.reaper.reap()
			case <-gone:
				return
			}
		}
	}()
	started := make(chan error, 1)
	go func() { started <- m.start(ctx) }()
	return m.attend(ctx, cancel, inbox{events, expired, started})
}

// inbox is what the main loop waits for.
type inbox struct {
	events  <-chan os.Signal
	expired <-chan struct{}
	started <-chan error
}

// attend acts on what happens until the end. Signals only leave a note; what
// they ask for is done here or in the background.
func (m *machine) attend(ctx context.Context, cancel context.CancelFunc, in inbox) int {
	var services sync.WaitGroup
	grace, running := m.timing.grace, false
	asked := make(chan struct{}, 1)
	for stop := false; !stop; {
		select {
		case err := <-in.started:
			if err != nil {
				m.log.Error("the sidecar cannot start", "error", printable(err.Error()))
				return exitFailure
			}
			running = true
			for _, s := range m.services {
				services.Go(func() { s.run(ctx, func() time.Duration { return grace }) })
			}
			services.Go(func() { m.reloader(ctx, asked) })
		case sig := <-in.events:
			if sig != unix.SIGHUP {
				m.log.Info("stopping", "signal", sig.String())
				stop = true
				break
			}
			select {
			case asked <- struct{}{}:
			default: // asked for already, and not begun
			}
		case <-in.expired:
			m.log.Info("the bottle has expired")
			stop = true
		}
	}
	select {
	case <-in.expired:
		grace = m.timing.farewell
	default:
	}
	cancel()
	services.Wait()
	select {
	case <-in.expired:
		return 0
	default:
	}
	if !running { // stopped while it started: no daemon has run
		return 0
	}
	return m.worst()
}

// expire closes expired when the time has come, and ends the process a moment
// after the daemons' time to stop, whatever else happens.
func (m *machine) expire(expired chan<- struct{}, gone <-chan struct{}) {
	if !awaitDeadline(m.until, gone) {
		return
	}
	close(expired)
	select {
	case <-gone:
	case <-time.After(m.timing.farewell + time.Second):
		os.Exit(0) // everything in the machine ends with its first process
	}
}

// start does all that comes before the daemons.
func (m *machine) start(ctx context.Context) error {
	if err := secure(); err != nil {
		return err
	}
	var err error
	if m.logs, err = openLogs(m.configDir, m.lines); err != nil {
		return err
	}
	s, err := loadSettings(m.configDir)
	if err != nil {
		return err
	}
	if s.config.CACert == "" || s.secrets.CAKey.Empty() {
		return errNoCA
	}
	if m.daemons == nil {
		m.daemons = withSecrets(s)
	}
	if err := s.validate(m.daemons); err != nil {
		return err
	}
	if len(s.config.Routes) > 0 && s.trustsNobody() {
		m.log.Warn("no CA for upstreams is known here; every TLS connection will fail: mount " + sidecars.RootsFile)
	}
	m.settings = s
	status, err := listenStatus(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, m.timing.device)
	defer cancel()
	spawner, err := newSpawner()
	if err != nil {
		return fmt.Errorf("prepare to start daemons: %w", err)
	}
	for _, name := range m.daemons {
		l := &launcher{name: name, spawner: spawner, reaper: m.reaper, lines: m.lines, patience: m.timing.start}
		if l.listeners, err = listen(waiting, m.where, name, m.log); err != nil {
			return err
		}
		if name == sidecars.Egress {
			l.records = m.logs.records()
		}
		m.services = append(m.services, newService(l, s, m.timing, m.log))
	}
	go serveStatus(status, m.status)
	return nil
}

// secure keeps what this process will hold from others, and from its children
// what it was started with.
func secure() error {
	if os.Geteuid() != 0 {
		return errors.New("sidecar init must be root to start daemons as another user; run it as the container's first process with user 0")
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the init undumpable: %w", err)
	}
	if err := limit(unix.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	// Where the kernel is older than 5.11 nothing was inherited by mistake
	// either: the runtime closes what it does not mean to pass.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("close inherited descriptors to daemons: %w", err)
	}
	return nil
}

// worst is the largest exit code of all daemons.
func (m *machine) worst() int {
	code := 0
	for _, s := range m.services {
		_, c := s.state()
		code = max(code, c)
	}
	return code
}

// status is what the init tells "sidecar ready".
func (m *machine) status() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Report{
		Bottle: m.settings.config.Bottle, Reloads: m.reloads, ReloadError: m.reloadError,
		Config:  m.settings.digest,
		Daemons: map[sidecars.Service]Daemon{},
	}
	for _, s := range m.services {
		r.Daemons[s.name], _ = s.state()
	}
	return r
}
