package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// helperTimeout bounds the helper programs: a script never hangs.
const helperTimeout = 60 * time.Second

// mcpClient is a tiny MCP client for scripts:
//
//	mcp-client METHOD PARAMS [METHOD PARAMS]… -- SERVER [ARG…]
//	mcp-client METHOD PARAMS … -- http SERVER --http 127.0.0.1:0 [ARG…]
//
// It starts the server, shakes hands, makes the requests one after the other
// and prints each answer as one line of JSON, on HTTP after its status. It
// fails when the server writes anything but protocol, or does not end well
// after the end of its input, on HTTP after SIGTERM. $MCP_TOKEN replaces the
// token that the server names.
func mcpClient() {
	at := slices.Index(os.Args, "--")
	if at < 0 || at%2 == 0 || at+1 >= len(os.Args) {
		fatal("usage: mcp-client METHOD PARAMS … -- SERVER…")
	}
	requests, server := os.Args[1:at], os.Args[at+1:]
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	if server[0] == "http" {
		check(overHTTP(ctx, server[1:], requests))
		return
	}
	check(talkStdio(ctx, server, requests))
}

// handshake are the requests every session begins with.
var handshake = []string{
	"initialize", `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"mcp-client","version":"1"}}`,
	"notifications/initialized", `{}`,
}

func talkStdio(ctx context.Context, server, requests []string) error {
	cmd := exec.CommandContext(ctx, server[0], server[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 8<<20)
	id := 0
	for pair := range slices.Chunk(append(slices.Clone(handshake), requests...), 2) {
		id++
		if _, err := fmt.Fprintln(in, message(id, pair[0], pair[1])); err != nil {
			return err
		}
		if strings.HasPrefix(pair[0], "notifications/") {
			continue
		}
		answer, err := awaitAnswer(lines, id)
		if err != nil {
			return fmt.Errorf("%s: %w", pair[0], err)
		}
		fmt.Println(answer)
	}
	if err := in.Close(); err != nil {
		return err
	}
	if lines.Scan() {
		return fmt.Errorf("output after the last answer: %s", lines.Text())
	}
	return cmd.Wait()
}

// awaitAnswer skips notifications; every line must be JSON.
func awaitAnswer(lines *bufio.Scanner, id int) (string, error) {
	for lines.Scan() {
		var head struct {
			JSONRPC string `json:"jsonrpc"`
			ID      int    `json:"id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &head); err != nil || head.JSONRPC != "2.0" {
			return "", fmt.Errorf("not protocol: %q", lines.Text())
		}
		if head.ID == id {
			return lines.Text(), nil
		}
	}
	return "", errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

func message(id int, method, params string) string {
	if strings.HasPrefix(method, "notifications/") {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s}`, method, params)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params)
}

// overHTTP starts the server, finds its address and token in what it says on
// standard error, talks to it and stops it.
func overHTTP(ctx context.Context, server, requests []string) error {
	cmd := exec.CommandContext(ctx, server[0], server[1:]...)
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	url, file := "", ""
	lines := bufio.NewScanner(said)
	for file == "" && lines.Scan() {
		fmt.Fprintln(os.Stderr, lines.Text())
		if text, ok := strings.CutPrefix(lines.Text(), "bottle-mcp serves "); ok {
			url = text
		}
		if text, ok := strings.CutPrefix(lines.Text(), "the bearer token is in "); ok {
			file = text
		}
	}
	if file == "" {
		return fmt.Errorf("the server names no token: %w", cmd.Wait())
	}
	go func() { _, _ = io.Copy(os.Stderr, said) }()
	token, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if other, ok := os.LookupEnv("MCP_TOKEN"); ok {
		token = []byte(other)
	}
	talked := talkHTTP(ctx, url, strings.TrimSpace(string(token)), requests)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return errors.Join(talked, cmd.Wait())
}

func talkHTTP(ctx context.Context, url, token string, requests []string) error {
	session := ""
	id := 0
	for pair := range slices.Chunk(append(slices.Clone(handshake), requests...), 2) {
		id++
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(message(id, pair[0], pair[1])))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", "application/json, text/event-stream")
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		if session != "" {
			request.Header.Set("Mcp-Session-Id", session)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		fmt.Println(response.StatusCode, strings.TrimSpace(string(body)))
		if response.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s: %s", pair[0], response.Status)
		}
		if s := response.Header.Get("Mcp-Session-Id"); s != "" {
			session = s
		}
	}
	return nil
}

// signalRun starts a command, waits until it says "ready" on standard output
// and sends it signals:
//
//	signal-run NUMBER[,NUMBER]… COMMAND [ARG…]
//
// It passes the output on and ends with the command's exit code.
func signalRun() {
	if len(os.Args) < 3 {
		fatal("usage: signal-run NUMBER[,NUMBER]… COMMAND [ARG…]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[2], os.Args[3:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Println(lines.Text())
		if lines.Text() != "ready" {
			continue
		}
		for text := range strings.SplitSeq(os.Args[1], ",") {
			number, err := strconv.Atoi(text)
			check(err)
			check(cmd.Process.Signal(syscall.Signal(number)))
			time.Sleep(200 * time.Millisecond) // equal pending signals are one
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	check(err)
}

func check(err error) {
	if err != nil {
		fatal(err.Error())
	}
}

func fatal(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
