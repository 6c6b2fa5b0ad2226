package provisiontest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// packages answers package managers with whole packages, and leaves to next
// what next knows. The first element of a path is the client's tag.
func packages(t *testing.T, next http.Handler) http.Handler {
	t.Helper()
	const module = "example.com/left/@v/"
	files := map[string][]byte{
		"left-1.0.0.tgz":       tarball(t, map[string]string{"package/package.json": `{"name":"left","version":"1.0.0"}`}),
		module + "list":        []byte("v1.0.0\n"),
		module + "v1.0.0.info": []byte(`{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}`),
		module + "v1.0.0.mod":  []byte("module example.com/left\n"),
		module + "v1.0.0.zip":  zipped(t, map[string]string{"example.com/left@v1.0.0/go.mod": "module example.com/left\n", "example.com/left@v1.0.0/left.go": "package left\n"}),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if data, ok := files[rest]; ok {
			_, _ = w.Write(data)
			return
		}
		if rest == "left" && tag == "npm" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"name":"left","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"left","version":"1.0.0",`+
				`"dist":{"tarball":"https://%s%s/npm/left-1.0.0.tgz"}}}}`, r.Host, openPrefix)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var raw bytes.Buffer
	packed := gzip.NewWriter(&raw)
	w := tar.NewWriter(packed)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := zip.NewWriter(&raw)
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}
