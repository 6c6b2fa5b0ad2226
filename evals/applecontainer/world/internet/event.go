package internet

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"
)

// Kinds of an Event.
const (
	KindConnect = "connect" // a TCP connection was accepted
	KindHTTP    = "http"    // a whole request head arrived
	KindDNS     = "dns"     // a question was asked
	KindUDP     = "udp"     // any other datagram
)

// Places of an Event.
const (
	PlaceInternet = "internet"
	PlaceHost     = "host" // the services of the Mac itself
)

// Event is something that reached a listener.
type Event struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	// Place names the listener's machine.
	Place string `json:"place"`
	// From and To are the addresses with ports, as the listener saw them.
	From string `json:"from"`
	To   string `json:"to"`

	TLS    bool        `json:"tls,omitempty"`
	Method string      `json:"method,omitempty"`
	Host   string      `json:"host,omitempty"`
	Path   string      `json:"path,omitempty"`
	Header http.Header `json:"header,omitempty"`

	// Name and Type are those of a DNS question.
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
}

// Log appends events to a file that other processes read while it grows.
type Log struct {
	place string
	mu    sync.Mutex
	file  *os.File
}

// OpenLog opens the log at path for the listeners of one place.
func OpenLog(path, place string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the event log cannot be opened: %w", err)
	}
	return &Log{place: place, file: file}, nil
}

// Add writes e. An event that cannot be written would be a leak that nobody
// sees, so the process ends instead: the world falls with it.
func (l *Log) Add(e Event) {
	e.Time, e.Place = time.Now(), l.place
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		panic(fmt.Errorf("the event log cannot be written: %w", err))
	}
}

// ReadLog returns the events in the log at path so far. A last line that is
// still being written is left out.
func ReadLog(path string) ([]Event, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the event log cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }()
	var events []Event
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return events, nil // an unfinished line belongs to the next reading
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("the event log has a line that is no event: %w", err)
		}
		events = append(events, e)
	}
}
