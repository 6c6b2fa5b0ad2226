package policy

import (
	"net/http"
	"testing"
)

func TestGitUse(t *testing.T) {
	tests := []struct {
		path, query, contentType string
		want                     gitUse
	}{
		{"/o/r.git/git-receive-pack", "", "", gitPush},
		{"/o/r.git/git-receive-pack/", "", "", gitPush},
		{"/o/r.git/GIT-Receive-Pack", "", "", gitPush},
		{"/o/r.git/git%2Dreceive%2dpack", "", "", gitPush},
		{"/o/r.git/git%252Dreceive-pack", "", "", gitPush},
		{"/o/r.git%2Fgit-receive-pack", "", "", gitPush},
		{"/o/r.git/git-receive-pack;v=1", "", "", gitPush},
		{"/o/r.git/git-receive-pack/./x/..", "", "", gitPush},
		{"/o/r.git%5cgit-receive-pack", "", "", gitPush},
		{"/o/r.git/git-receive-pack%00", "", "", gitPush},
		{"/o/r.git/info/refs", "service=git-receive-pack", "", gitPush},
		{"/o/r.git/info/refs", "a=%zz&service=git%2Dreceive-pack", "", gitPush},
		{"/o/r.git/info/refs", "service=git-upload-pack&service=git-receive-pack", "", gitPush},
		{"/o/r.git/info/x/../refs", "service=git-receive-pack", "", gitPush},
		{"/anything", "", "application/x-git-receive-pack-request", gitPush},
		{"/o/r.git/info/refs", "service=git-upload-pack", "", gitFetch},
		{"/o/r.git/git-upload-pack", "", "application/x-git-upload-pack-request", gitFetch},
		{"/blog/git-receive-pack-explained", "", "", noGit},
		{"/git-receive-pack/docs", "", "", noGit},
		{"/", "q=git-receive-pack", "", noGit},
		{"", "", "", noGit},
		{"/..", "", "", noGit},
	}
	for _, tt := range tests {
		t.Run(tt.path+"?"+tt.query, func(t *testing.T) {
			r := Request{RawPath: tt.path, RawQuery: tt.query, Header: http.Header{}}
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			if got := gitUseOf(&r); got != tt.want {
				t.Errorf("gitUseOf = %v, want %v", got, tt.want)
			}
		})
	}
}
