package egress

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// allowedHost is one route as the agent may see it.
type allowedHost struct {
	Host string `json:"host"`
	// Ports that may be used; empty means 443 for https and 80 for http.
	Ports []int `json:"ports,omitempty"`
	// HTTPSOnly is set where a credential is added to requests.
	HTTPSOnly bool `json:"https_only,omitempty"`
	// Credential says that the proxy adds one and drops the agent's own.
	Credential bool `json:"credential_injected,omitempty"`
}

// renderAllowlist is the live table without secrets, slots or addresses.
func renderAllowlist(cfg sidecars.Config) ([]byte, error) {
	list := struct {
		Bottle  string        `json:"bottle"`
		Default string        `json:"default"`
		Allowed []allowedHost `json:"allowed"`
	}{cfg.Bottle, sidecars.Deny, []allowedHost{}}
	for _, r := range cfg.Routes {
		list.Allowed = append(list.Allowed, allowedHost{Host: r.Host, Ports: r.Ports, HTTPSOnly: r.Auth != nil, Credential: r.Auth != nil})
	}
	b, err := json.MarshalIndent(list, "", "  ")
	return append(b, '\n'), err
}

// serveLocal answers http://_egress.local/: questions about the proxy itself.
func (ex *exchange) serveLocal(a ask) {
	if a.method != http.MethodGet && a.method != http.MethodHead {
		no := protocolRefusal(reasonMethod, "The proxy's own pages can only be read.", "Use GET.")
		no.Status = http.StatusMethodNotAllowed
		ex.refuse(no)
		return
	}
	h := ex.w.Header()
	h.Set("Cache-Control", "no-store")
	ex.d.Rule, ex.d.Status = localHost, http.StatusOK
	switch a.path {
	case "/healthz":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(ex.w, "ok %s\n", ex.p.bottle)
	case "/allowlist":
		h.Set("Content-Type", "application/json")
		_, _ = ex.w.Write(ex.p.allowlist)
	default:
		ex.refuse(&refusal{Status: http.StatusNotFound, Layer: layerProxy, Reason: reasonUnknownLocal,
			Message: "The proxy has no such page.", Ask: "Read /allowlist or /healthz."})
	}
}
