package guest

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// etcDirs of the host are bound when present: they steer programs below /usr
// and hold nothing private on any distribution.
var etcDirs = []string{
	"alternatives", "fonts", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk",
	"java-25-openjdk", "ld.so.conf.d", "perl", "python3", "python3.11", "python3.12",
	"python3.13", "python3.14", "terminfo", "crypto-policies", "maven",
}

// etcFiles of the host are copied when present and public.
var etcFiles = []string{
	"bash.bashrc", "debian_version", "gai.conf", "host.conf", "inputrc", "ld.so.cache",
	"ld.so.conf", "localtime", "lsb-release", "magic", "mime.types", "os-release",
	"profile", "protocols", "rpc", "services", "shells", "timezone",
}

// maxEtcFile bounds a copied file; ld.so.cache is the largest at some 100 KiB.
const maxEtcFile = 4 << 20

func (b *rootBuilder) etc() {
	b.mkdir("/etc/ssl/certs", 0o755)
	for _, dir := range etcDirs {
		if info, err := os.Stat("/etc/" + dir); err == nil && info.IsDir() {
			b.mkdir("/etc/"+dir, 0o755)
			b.bind("/etc/"+dir, "/etc/"+dir, noExec)
		}
	}
	for _, name := range etcFiles {
		if text, ok := publicFile("/etc/" + name); ok {
			b.write("/etc/"+name, text)
		}
	}
	b.accounts()
	b.names()
	if text, ok := publicFile("/etc/ssl/openssl.cnf"); ok {
		b.write("/etc/ssl/openssl.cnf", text)
	}
	b.symlink(backend.GuestCABundle, "/etc/ssl/certs/ca-certificates.crt")
	b.symlink(backend.GuestCABundle, "/etc/ssl/cert.pem")
	b.mkdir("/etc/pki/tls/certs", 0o755)
	b.symlink(backend.GuestCABundle, "/etc/pki/tls/certs/ca-bundle.crt")
	b.symlink(backend.GuestCABundle, "/etc/pki/tls/cert.pem")
	b.mkdir("/etc/pki/ca-trust/extracted/pem", 0o755)
	b.symlink(backend.GuestCABundle, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
	b.symlink(backend.GuestCABundle, "/etc/ssl/ca-bundle.pem")
	b.systemFiles()
}

// systemFiles brings what the bottle's launch wants in /etc. It replaces nothing
// that this recipe has put there.
func (b *rootBuilder) systemFiles() {
	for _, name := range slices.Sorted(maps.Keys(b.setup.SystemFiles)) {
		if b.err != nil {
			return
		}
		if !strings.HasPrefix(name, "/etc/") || path.Clean(name) != name {
			b.fail(errors.New("it lies outside /etc"), "bring %q", name)
			return
		}
		b.mkdir(path.Dir(name), 0o755)
		f, err := os.OpenFile(staging+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			b.fail(err, "bring %s", name)
			return
		}
		_, err = f.Write(b.setup.SystemFiles[name])
		b.fail(errors.Join(err, f.Close()), "bring %s", name)
	}
}

// publicFile reads a file everybody on the host may read; anything else may
// hold a secret and is left out.
func publicFile(path string) (string, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 || info.Size() > maxEtcFile {
		return "", false
	}
	data, err := os.ReadFile(path)
	return string(data), err == nil
}

func (b *rootBuilder) accounts() {
	shell := "/bin/sh"
	if info, err := os.Stat("/bin/bash"); err == nil && info.Mode()&fs.ModeDir == 0 {
		shell = "/bin/bash"
	}
	id := strconv.Itoa(backend.AgentUID)
	b.write("/etc/passwd", "root:x:0:0:root:/root:"+shell+"\n"+
		backend.AgentUser+":x:"+id+":"+id+":agent:"+backend.AgentHome+":"+shell+"\n"+
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
	b.write("/etc/group", "root:x:0:\n"+backend.AgentUser+":x:"+id+":\nnogroup:x:65534:\n")
	b.mkdir("/root", 0o700)
}

// names makes every lookup end at once: there is no resolver in a bottle, the
// egress proxy resolves.
func (b *rootBuilder) names() {
	host := b.setup.Hostname
	b.write("/etc/hostname", host+"\n")
	b.write("/etc/hosts", "127.0.0.1 localhost "+host+"\n::1 localhost ip6-localhost ip6-loopback\n")
	b.write("/etc/resolv.conf", "# No resolver: names are resolved by the bottle's egress proxy.\noptions timeout:1 attempts:1\n")
	b.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n")
}
