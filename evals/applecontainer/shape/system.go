package shape

// Status is system status up to 1.2.x.
type Status struct {
	Status           string `json:"status"`
	AppRoot          string `json:"appRoot"`
	InstallRoot      string `json:"installRoot"`
	APIServerVersion string `json:"apiServerVersion"` // a whole sentence
	APIServerCommit  string `json:"apiServerCommit"`
	APIServerBuild   string `json:"apiServerBuild"`
	APIServerAppName string `json:"apiServerAppName"`
}

// Version is an element of system version.
type Version struct {
	AppName   string `json:"appName"`
	Version   string `json:"version"`
	BuildType string `json:"buildType"`
	Commit    string `json:"commit"`
}

// Program says which release of the program is imitated.
type Program struct{ Release string }

// The build that the contract was read from.
const (
	commit      = "0190097d06df0b9065f4c2d2c7873c649d81d493"
	build       = "release"
	cliName     = "container"
	serverName  = "container-apiserver"
	appRoot     = "/Users/me/Library/Application Support/com.apple.container/"
	installRoot = "/usr/local/"
)

// Line is what --version prints.
func (p Program) Line() string { return "container CLI" + p.sentence() }

func (p Program) server() string { return serverName + p.sentence() }

func (p Program) sentence() string {
	return " version " + p.Release + " (build: " + build + ", commit: " + commit[:7] + ")"
}

// Versions is system version: the program and, if it answers, the daemon.
func (p Program) Versions(answers bool) []Version {
	versions := []Version{{AppName: cliName, Version: p.Release, BuildType: build, Commit: commit}}
	if answers {
		versions = append(versions, Version{AppName: serverName, Version: p.server(), BuildType: build, Commit: commit})
	}
	return versions
}

// Status is system status; a daemon that does not answer has empty fields.
func (p Program) Status(state string) Status {
	if state != StateRunning {
		return Status{Status: state}
	}
	return Status{
		Status: state, AppRoot: appRoot, InstallRoot: installRoot, APIServerVersion: p.server(),
		APIServerCommit: commit, APIServerBuild: build, APIServerAppName: serverName,
	}
}

// Counts are numbers that the nested status has.
type Counts struct{ Running, Total, Images, CPUs int }

// NestedStatus is system status as it is reported for 1.3.0 and later; the
// source of those releases was not read.
func (p Program) NestedStatus(state string, counts Counts) map[string]any {
	if state != StateRunning {
		return map[string]any{"status": state}
	}
	app := func(name string) map[string]any {
		return map[string]any{"appName": name, "build": build, "commit": commit[:7], "version": p.Release}
	}
	return map[string]any{
		"status": state,
		"client": app(cliName),
		"server": app(serverName),
		"host":   map[string]any{"architecture": "arm64", "cpus": counts.CPUs, "operatingSystem": "macOS 26.5"},
		"paths":  map[string]any{"appRoot": appRoot, "installRoot": installRoot},
		"resources": map[string]any{
			"containersRunning": counts.Running, "containersTotal": counts.Total, "images": counts.Images,
		},
	}
}
