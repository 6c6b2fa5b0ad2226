package trust

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func TestBottles(t *testing.T) {
	status := http.StatusNotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || r.URL.Path != "/mcp" {
			t.Errorf("it is asked %s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
	}))
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // it is not asked
	url := server.URL + "/mcp"
	for code, want := range map[int]string{404: "", 503: "not running", 502: "answers 502"} {
		status = code
		if got := bottles(t.Context(), url); (len(got) == 0) != (want == "") || want != "" && !strings.Contains(got[0].Problem, want) {
			t.Errorf("%d: %+v", code, got)
		}
	}
	server.Close()
	for _, bad := range []string{url, "http://a b/", "mcp"} {
		if got := bottles(t.Context(), bad); len(got) != 1 {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if got := bottles(t.Context(), ""); got != nil {
		t.Errorf("a bottle that launches none: %+v", got)
	}
	e := backend.Endpoints{Egress: "http://127.0.0.1:9099", Bottles: url}
	if got := variables(e)[BottlesVariable]; got != url {
		t.Errorf("written down is %q", got)
	}
	e.Bottles = ""
	if got, ok := variables(e)[BottlesVariable]; ok {
		t.Errorf("written down is %q", got)
	}
}
