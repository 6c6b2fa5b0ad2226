package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// onlyFlags narrow a bottle's policy for one launch. What they name must be
// allowed already.
type onlyFlags struct {
	hosts, paths, methods []string
}

func (o *onlyFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.hosts, "only-host", nil, "keep only this of the allowed hosts; may be repeated")
	flags.StringArrayVar(&o.paths, "only-path", nil, "HOST/PATH: keep only this path of the host and what is below it; may be repeated")
	flags.StringSliceVar(&o.methods, "only-method", nil, "keep only these methods, on each host that is kept; such as GET,HEAD")
}

// rules says the flags in provision's words; nil keeps everything.
func (o *onlyFlags) rules() ([]provision.OnlyRule, error) {
	var out []provision.OnlyRule
	rule := func(host string) *provision.OnlyRule {
		i := slices.IndexFunc(out, func(r provision.OnlyRule) bool { return strings.EqualFold(r.Host, host) })
		if i < 0 {
			out = append(out, provision.OnlyRule{Host: host, Methods: o.methods})
			i = len(out) - 1
		}
		return &out[i]
	}
	for _, host := range o.hosts {
		rule(host)
	}
	for _, text := range o.paths {
		host, path, ok := strings.Cut(text, "/")
		if !ok || host == "" {
			return nil, usagef("run", "--only-path %q is not HOST/PATH, such as api.example.com/v1", text)
		}
		r := rule(host)
		r.Paths = append(r.Paths, "/"+path)
	}
	if len(o.methods) > 0 && len(out) == 0 {
		return nil, usagef("run", "--only-method needs the hosts it is for: name them with --only-host or --only-path")
	}
	return out, nil
}
