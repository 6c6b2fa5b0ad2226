package schema

// bottle is a file in ~/.bot-bottle/bottles.
type bottle struct {
	Extends   names       `json:"extends,omitempty" jsonschema_description:"Bottles that this one builds on, joined from left to right"`
	Env       env         `json:"env,omitempty" jsonschema_description:"Variables of everything in the bottle: text; ${NAME} copies a host variable at launch; ? or ?question asks at launch"`
	Egress    *egress     `json:"egress,omitempty" jsonschema_description:"The only way out. Without it nothing can be reached"`
	Supervise bool        `json:"supervise,omitempty" jsonschema_description:"Lets the agent ask the operator for more"`
	GitGate   *gate       `json:"git-gate,omitempty" jsonschema_description:"Git identity, and repositories whose keys stay outside the bottle"`
	Provider  *provider   `json:"agent_provider,omitempty" jsonschema_description:"The agent that is set up in the bottle"`
	Image     image       `json:"image,omitempty" jsonschema_description:"OCI image of the guest's root. Not together with agent_provider.dockerfile"`
	Backend   name        `json:"backend,omitempty" jsonschema_description:"Engine, such as linux or macos-container. Default: this host's"`
	Isolation name        `json:"isolation,omitempty" jsonschema_description:"Isolation class of the engine, such as namespace. Default: the engine's"`
	Resources *resources  `json:"resources,omitempty" jsonschema_description:"Limits. A launch can only lower them"`
	TTL       duration    `json:"ttl,omitempty" jsonschema_description:"Life of the bottle, such as 90m. A launch can only shorten it"`
	Sub       *subBottles `json:"sub_bottles,omitempty" jsonschema_description:"Bottles that the agent inside may launch"`
	Publish   []port      `json:"publish,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Guest ports that the host may reach"`
}

type egress struct {
	Routes []route  `json:"routes,omitempty" jsonschema:"maxItems=1024" jsonschema_description:"Hosts that may be reached, one entry each. The most specific one decides"`
	Log    logLevel `json:"log,omitempty" jsonschema_description:"bot-bottle's level. Every decision is recorded either way; 2 is refused, since whole requests hold live tokens"`
}

type route struct {
	Host    host    `json:"host" jsonschema_description:"Name, *.name for everything below it, or an IPv4 address that stands in private too"`
	Ports   []port  `json:"ports,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Ports. Default: 443 for https and 80 for http"`
	Private []cidr  `json:"private,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Private addresses and prefixes that the host may resolve to. Default: public ones only"`
	Auth    *auth   `json:"auth,omitempty" jsonschema_description:"Credential that the proxy adds. The agent never has it, and its own is taken off"`
	Matches []match `json:"matches,omitempty" jsonschema:"minItems=1,maxItems=64" jsonschema_description:"A request must satisfy one of them. Default: the whole host"`
	Git     *git    `json:"git,omitempty" jsonschema_description:"Git over HTTPS"`
	DLP     *dlp    `json:"dlp,omitempty" jsonschema_description:"How traffic is scanned. Default: every detector but entropy"`

	Budget   *budget   `json:"budget,omitempty" jsonschema_description:"What one bottle may use of the route in its life. Default: no bound"`
	Response *response `json:"response,omitempty" jsonschema_description:"What may be answered. Default: anything"`
}

type auth struct {
	Scheme   string   `json:"scheme" jsonschema:"enum=Bearer,enum=token,enum=Basic,enum=header" jsonschema_description:"Scheme of the Authorization header; header puts the credential into another one"`
	Header   string   `json:"header,omitempty" jsonschema:"minLength=1,maxLength=128" jsonschema_description:"The other header, such as X-Api-Key. Needed with the scheme header, and only there"`
	TokenRef variable `json:"token_ref" jsonschema_description:"Host variable that holds the credential"`
	Pin      *pin     `json:"pin,omitempty" jsonschema_description:"What counts as a credential of the agent's own. Default: what is known of the usual ones"`
}

type pin struct {
	Query      []string `json:"query,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Further parameters of URLs that carry one"`
	Headers    []string `json:"headers,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Further headers that carry one"`
	AllowQuery []string `json:"allow_query,omitempty" jsonschema:"maxItems=64,uniqueItems=true" jsonschema_description:"Parameters that carry none at this host, such as key"`
	Cookies    string   `json:"cookies,omitempty" jsonschema:"enum=strip,enum=refuse,enum=allow,default=strip" jsonschema_description:"strip leaves them out, refuse refuses a request with one, allow lets them through"`
}

type match struct {
	Paths   []path   `json:"paths,omitempty" jsonschema:"minItems=1,maxItems=64" jsonschema_description:"One of them must hold"`
	Methods []method `json:"methods,omitempty" jsonschema:"minItems=1,maxItems=32,uniqueItems=true" jsonschema_description:"One of them must hold, such as GET. Case does not matter"`
	Headers []header `json:"headers,omitempty" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"All of them must hold"`
}

type path struct {
	Type  string `json:"type" jsonschema:"enum=exact,enum=prefix,enum=regex" jsonschema_description:"prefix takes whole segments; regex is RE2's and holds for the whole path"`
	Value string `json:"value" jsonschema:"minLength=1,maxLength=1024" jsonschema_description:"Path as it is on the wire, without query; it begins with / unless it is a regex"`
}

type header struct {
	Name  string `json:"name" jsonschema:"minLength=1,maxLength=128" jsonschema_description:"Header. Not one that holds a credential, and not Host"`
	Type  string `json:"type,omitempty" jsonschema:"enum=exact,enum=regex,default=exact" jsonschema_description:"How the value is compared"`
	Value string `json:"value" jsonschema:"minLength=1,maxLength=1024" jsonschema_description:"Value"`
}

type git struct {
	Fetch bool `json:"fetch,omitempty" jsonschema_description:"Allows clone and fetch. Push over HTTPS is never allowed"`
}

type dlp struct {
	Outbound       outbound `json:"outbound_detectors,omitempty" jsonschema_description:"Detectors for requests. entropy is opt-in and only warns"`
	Inbound        inbound  `json:"inbound_detectors,omitempty" jsonschema_description:"Detectors for answers"`
	OnMatch        string   `json:"outbound_on_match,omitempty" jsonschema:"enum=supervise,enum=redact,enum=block" jsonschema_description:"What happens to a request that holds a secret"`
	InboundOnMatch string   `json:"inbound_on_match,omitempty" jsonschema:"enum=report,enum=block" jsonschema_description:"What happens to an answer that tries to instruct a model. Default: report"`
}

type budget struct {
	Requests  int       `json:"requests,omitempty" jsonschema:"minimum=1,maximum=281474976710656" jsonschema_description:"Requests"`
	BytesOut  byteCount `json:"bytes_out,omitempty" jsonschema_description:"Bytes of bodies to the server"`
	BytesIn   byteCount `json:"bytes_in,omitempty" jsonschema_description:"Bytes of bodies from the server"`
	PerMinute int       `json:"per_minute,omitempty" jsonschema:"minimum=1,maximum=1048576" jsonschema_description:"Requests that may begin within a minute"`
}

type response struct {
	MaxBytes byteCount   `json:"max_bytes,omitempty" jsonschema_description:"Bytes of one answer's body"`
	Types    []mediaType `json:"types,omitempty" jsonschema:"minItems=1,maxItems=32,uniqueItems=true" jsonschema_description:"Media types, such as application/json or text/*"`
}

type gate struct {
	User  *user `json:"user,omitempty" jsonschema_description:"Git identity in the guest"`
	Repos repos `json:"repos,omitempty" jsonschema_description:"Repositories, by the name they have in the guest"`
}

type user struct {
	Name  string `json:"name,omitempty" jsonschema:"minLength=1,maxLength=256" jsonschema_description:"Name of the author"`
	Email string `json:"email,omitempty" jsonschema:"minLength=1,maxLength=256" jsonschema_description:"E-mail address of the author"`
}

type repo struct {
	URL            sshURL       `json:"url,omitempty" jsonschema_description:"Upstream behind SSH: ssh://git@host/path or git@host:path. Needed"`
	Identity       hostPath     `json:"identity,omitempty" jsonschema_description:"Private key's file. One of identity, provisioned_key and key is needed"`
	ProvisionedKey *provisioned `json:"provisioned_key,omitempty" jsonschema_description:"Key that is made at launch and removed with the bottle"`
	Key            *repoKey     `json:"key,omitempty" jsonschema_description:"The later form of both"`
	HostKey        string       `json:"host_key,omitempty" jsonschema:"minLength=1" jsonschema_description:"The upstream's host key, as in ssh-ed25519 AAAA…. The gate forwards nothing without it"`
}

type provisioned struct {
	Provider string   `json:"provider" jsonschema:"enum=gitea" jsonschema_description:"Kind of server"`
	TokenEnv variable `json:"token_env" jsonschema_description:"Host variable that holds the server's token"`
	APIURL   httpsURL `json:"api_url,omitempty" jsonschema_description:"The server. Default: https on the upstream's host"`
}

type repoKey struct {
	Provider string   `json:"provider" jsonschema:"enum=static,enum=gitea" jsonschema_description:"static: a file; gitea: made at launch and removed with the bottle"`
	Path     hostPath `json:"path,omitempty" jsonschema_description:"static: private key's file"`
	TokenEnv variable `json:"forge_token_env,omitempty" jsonschema_description:"gitea: host variable that holds the server's token"`
	APIURL   httpsURL `json:"api_url,omitempty" jsonschema_description:"gitea: the server. Default: https on the upstream's host"`
}

type provider struct {
	Template   name     `json:"template,omitempty" jsonschema_description:"Name of a provider, such as claude or codex"`
	Dockerfile hostPath `json:"dockerfile,omitempty" jsonschema_description:"Dockerfile of the guest's root. Not together with image"`
	AuthToken  variable `json:"auth_token,omitempty" jsonschema_description:"Host variable with the credential for the provider's own host, which only the proxy gets"`
	Forward    bool     `json:"forward_host_credentials,omitempty" jsonschema_description:"Uses the host's own login instead, which only the proxy gets. Not together with auth_token"`
}

type resources struct {
	CPUs   float64 `json:"cpus,omitempty" jsonschema:"minimum=0.01,maximum=1024" jsonschema_description:"CPUs, fractions allowed"`
	Memory size    `json:"memory,omitempty" jsonschema_description:"Memory, such as 4GiB"`
	Disk   size    `json:"disk,omitempty" jsonschema_description:"Writable disk"`
	PIDs   int     `json:"pids,omitempty" jsonschema:"minimum=1,maximum=4194304" jsonschema_description:"Processes and threads"`
}

type subBottles struct {
	Max   int `json:"max,omitempty" jsonschema:"minimum=0,maximum=64" jsonschema_description:"How many may live at one time; 0 is none. Needed"`
	Depth int `json:"depth,omitempty" jsonschema:"minimum=1,maximum=8,default=1" jsonschema_description:"How many generations there may be"`
}

// agent is a file in ~/.bot-bottle/agents or in a workspace's
// .bot-bottle/agents.
type agent struct {
	Bottle name       `json:"bottle,omitempty" jsonschema_description:"Bottle it works in. Default: the caller's choice"`
	Skills []skill    `json:"skills,omitempty" jsonschema:"maxItems=256,uniqueItems=true" jsonschema_description:"Skill directories of the host that are copied in, by name"`
	Gate   *agentGate `json:"git-gate,omitempty" jsonschema_description:"Overlays the bottle's git identity; repos are refused here"`
	// Claude Code's keys: one file serves both programs.
	Name        any `json:"name,omitempty" jsonschema_description:"Claude Code's; accepted and ignored"`
	Description any `json:"description,omitempty" jsonschema_description:"Claude Code's; accepted and ignored"`
	Model       any `json:"model,omitempty" jsonschema_description:"Claude Code's; accepted and ignored"`
	Color       any `json:"color,omitempty" jsonschema_description:"Claude Code's; accepted and ignored"`
	Memory      any `json:"memory,omitempty" jsonschema_description:"Claude Code's; accepted and ignored"`
}

type agentGate struct {
	User *user `json:"user,omitempty" jsonschema_description:"Git identity in the guest"`
}
