package main

import (
	"reflect"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

func TestOnlyFlags(t *testing.T) {
	get := []string{"GET"}
	tests := []struct {
		name  string
		flags onlyFlags
		want  []provision.OnlyRule
		code  int
	}{
		{"none", onlyFlags{}, nil, 0},
		{"hosts", onlyFlags{hosts: []string{"a", "b"}}, []provision.OnlyRule{{Host: "a"}, {Host: "b"}}, 0},
		{"paths of one host", onlyFlags{paths: []string{"a/v1", "A/v2/", "b/"}}, []provision.OnlyRule{{Host: "a", Paths: []string{"/v1", "/v2/"}}, {Host: "b", Paths: []string{"/"}}}, 0},
		{"all", onlyFlags{hosts: []string{"a"}, paths: []string{"b/x"}, methods: get}, []provision.OnlyRule{{Host: "a", Methods: get}, {Host: "b", Paths: []string{"/x"}, Methods: get}}, 0},
		{"a path without a host", onlyFlags{paths: []string{"/v1"}}, nil, exitUsage},
		{"a host without a path", onlyFlags{paths: []string{"a"}}, nil, exitUsage},
		{"methods of nothing", onlyFlags{methods: get}, nil, exitUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.flags.rules()
			if exitCode(err) != tt.code || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
