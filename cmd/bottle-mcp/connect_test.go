package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestCanary(t *testing.T) {
	for value, ok := range map[string]bool{
		"": true, "9.9.9.9": true, "2620:fe::fe": true,
		"dns.example": false, "9.9.9.9:53": false, "fe80::1%eth0": false,
	} {
		t.Run(value, func(t *testing.T) {
			t.Setenv(envCanary, value)
			got, err := canary()
			if (err == nil) != ok || ok && got != value {
				t.Errorf("%q, %v", got, err)
			}
			if ok {
				return
			}
			// A server that would prove nothing does not start.
			_, err = connect(t.Context(), paths{stateDir: t.TempDir(), manifests: t.TempDir()}, wiring{}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), envCanary) {
				t.Errorf("connect: %v", err)
			}
		})
	}
}
