package starter

import "regexp"

// Kind is a kind of project.
type Kind struct {
	// Title is what people call its packages.
	Title string
	// markers are names, or patterns, of files in the project's directory.
	markers []string
	// hosts are the public hosts that its tools download from.
	hosts []string
	// env makes its tools content with downloads.
	env []variable
	// config are files of the project that may name other hosts.
	config []configFile
	// mirrors are variables by which an operator names other hosts.
	mirrors []string
}

type variable struct{ name, value, why string }

// configFile is a file with addresses on the lines that match.
type configFile struct {
	name string
	line *regexp.Regexp
}

// kinds is the table of the well-known public package hosts. They are the
// defaults of each tool; nothing else in this program knows a package host.
func kinds() []Kind {
	return []Kind{
		{
			Title: "npm packages", markers: []string{"package.json"},
			hosts: []string{"registry.npmjs.org"},
			env: []variable{
				{"NPM_CONFIG_AUDIT", "false", "an audit sends the list of packages"},
				{"NPM_CONFIG_UPDATE_NOTIFIER", "false", ""},
			},
			config:  []configFile{{".npmrc", regexp.MustCompile(`registry\s*=`)}, {".yarnrc.yml", regexp.MustCompile(`npmRegistryServer:`)}},
			mirrors: []string{"NPM_CONFIG_REGISTRY", "npm_config_registry", "YARN_NPM_REGISTRY_SERVER"},
		},
		{
			Title: "Yarn packages", markers: []string{"yarn.lock"},
			hosts: []string{"registry.yarnpkg.com"},
		},
		{
			Title: "Go modules", markers: []string{"go.mod", "go.work"},
			hosts:   []string{"proxy.golang.org", "sum.golang.org"},
			mirrors: []string{"GOPROXY"},
		},
		{
			Title: "Python packages", markers: []string{"pyproject.toml", "requirements*.txt", "setup.py", "Pipfile"},
			hosts: []string{"pypi.org", "files.pythonhosted.org"},
			env:   []variable{{"PIP_DISABLE_PIP_VERSION_CHECK", "1", ""}},
			config: []configFile{
				{"requirements.txt", regexp.MustCompile(`^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b`)},
				{"pyproject.toml", regexp.MustCompile(`^\s*url\s*=`)},
				{"Pipfile", regexp.MustCompile(`^\s*url\s*=`)},
			},
			mirrors: []string{"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"},
		},
		{
			Title: "Rust crates", markers: []string{"Cargo.toml"},
			hosts:  []string{"index.crates.io", "static.crates.io"},
			config: []configFile{{".cargo/config.toml", regexp.MustCompile(`^\s*(index|registry)\s*=`)}},
		},
		{
			Title: "Ruby gems", markers: []string{"Gemfile", "*.gemspec"},
			hosts:  []string{"rubygems.org", "index.rubygems.org"},
			config: []configFile{{"Gemfile", regexp.MustCompile(`^\s*source\b`)}},
		},
		{
			Title: "PHP packages", markers: []string{"composer.json"},
			hosts:  []string{"repo.packagist.org"},
			config: []configFile{{"composer.json", regexp.MustCompile(`"url"\s*:`)}},
		},
	}
}
