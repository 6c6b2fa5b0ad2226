package shape

// Container is an element of list and inspect.
type Container struct {
	ID            string          `json:"id"`
	Configuration Configuration   `json:"configuration"`
	Status        ContainerStatus `json:"status"`
}

// ContainerStatus is what changes while a container lives. It has no exit code,
// no finish time and no process id.
type ContainerStatus struct {
	State       string       `json:"state"`
	StartedDate string       `json:"startedDate,omitempty"` // absent if never started
	Networks    []Attachment `json:"networks"`              // only while it runs
}

// The states of a container. One that was never started is stopped.
const (
	StateRunning  = "running"
	StateStopped  = "stopped"
	StateStopping = "stopping"
)

// Attachment is a running container's place on a network.
type Attachment struct {
	Network     string `json:"network"`
	Hostname    string `json:"hostname"`
	IPv4Address string `json:"ipv4Address"` // with its prefix
	IPv4Gateway string `json:"ipv4Gateway"` // bare
	IPv6Address string `json:"ipv6Address,omitempty"`
	MACAddress  string `json:"macAddress,omitempty"`
	MTU         int    `json:"mtu,omitempty"`
	Variant     string `json:"variant,omitempty"` // since 1.1.0
}

// Configuration is a container as it was asked for.
type Configuration struct {
	ID               string            `json:"id"`
	Image            ImageRef          `json:"image"`
	Labels           map[string]string `json:"labels"`
	InitProcess      Process           `json:"initProcess"`
	Mounts           []Mount           `json:"mounts"`
	Networks         []WantedNetwork   `json:"networks"`
	PublishedPorts   []Port            `json:"publishedPorts"`
	PublishedSockets []Socket          `json:"publishedSockets"`
	DNS              *DNS              `json:"dns,omitempty"` // absent with --no-dns
	Platform         Platform          `json:"platform"`
	Resources        Resources         `json:"resources"`
	CapAdd           []string          `json:"capAdd"`
	CapDrop          []string          `json:"capDrop"`
	ReadOnly         bool              `json:"readOnly"`
	Rosetta          bool              `json:"rosetta"`
	SSH              bool              `json:"ssh"`
	UseInit          bool              `json:"useInit"`
	Virtualization   bool              `json:"virtualization"`
	RuntimeHandler   string            `json:"runtimeHandler"`
	Sysctls          map[string]string `json:"sysctls"`
	CreationDate     string            `json:"creationDate"`
	ShmSize          int64             `json:"shmSize,omitempty"`
	StopSignal       string            `json:"stopSignal,omitempty"`
	MaskedPaths      []string          `json:"maskedPaths,omitempty"`
	ReadonlyPaths    []string          `json:"readonlyPaths,omitempty"`
}

// ImageRef names the image that a container was made from.
type ImageRef struct {
	Reference  string     `json:"reference"`
	Descriptor Descriptor `json:"descriptor"`
}

// Descriptor points at a blob.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// Process is the init process of a container.
type Process struct {
	Executable         string   `json:"executable"`
	Arguments          []string `json:"arguments"`
	Environment        []string `json:"environment"` // K=V, in no order
	WorkingDirectory   string   `json:"workingDirectory"`
	Terminal           bool     `json:"terminal"`
	User               User     `json:"user"`
	SupplementalGroups []uint32 `json:"supplementalGroups"`
	Rlimits            []Rlimit `json:"rlimits"`
}

// User has exactly one of its fields.
type User struct {
	ID  *UserID  `json:"id,omitempty"`
	Raw *UserRaw `json:"raw,omitempty"`
}

// UserID is a user by numbers.
type UserID struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// UserRaw is a user whom the guest looks up.
type UserRaw struct {
	UserString string `json:"userString"`
}

// Rlimit is a resource limit of a process.
type Rlimit struct {
	Limit string `json:"limit"`
	Soft  uint64 `json:"soft"`
	Hard  uint64 `json:"hard"`
}

// Mount is something mounted in a container; Type has one key, its kind.
type Mount struct {
	Type        map[string]any `json:"type"`
	Source      string         `json:"source"`
	Destination string         `json:"destination"`
	Options     []string       `json:"options"`
}

// The kinds of mount.
const (
	MountVirtiofs = "virtiofs"
	MountTmpfs    = "tmpfs"
)

// WantedNetwork is an attachment as asked for, present also when stopped.
type WantedNetwork struct {
	Network string         `json:"network"`
	Options NetworkOptions `json:"options"`
}

// NetworkOptions are the options of an attachment.
type NetworkOptions struct {
	Hostname   string `json:"hostname"`
	MTU        int    `json:"mtu,omitempty"`
	MACAddress string `json:"macAddress,omitempty"`
}

// Port is a published port or range of ports.
type Port struct {
	HostAddress   string `json:"hostAddress"`
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Proto         string `json:"proto"`
	Count         int    `json:"count"`
}

// Socket is a guest's UNIX socket at a host path.
type Socket struct {
	HostPath      string `json:"hostPath"`
	ContainerPath string `json:"containerPath"`
}

// DNS is what goes into the guest's resolv.conf.
type DNS struct {
	Nameservers   []string `json:"nameservers"`
	SearchDomains []string `json:"searchDomains"`
	Options       []string `json:"options"`
	Domain        string   `json:"domain,omitempty"`
}

// Platform is an operating system and an architecture.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// Resources are a container's limits.
type Resources struct {
	CPUs          int   `json:"cpus"`
	MemoryInBytes int64 `json:"memoryInBytes"`
	CPUOverhead   int   `json:"cpuOverhead"`
}

// Stats is an element of stats.
type Stats struct {
	ID               string `json:"id"`
	MemoryUsageBytes uint64 `json:"memoryUsageBytes"`
	MemoryLimitBytes uint64 `json:"memoryLimitBytes"`
	CPUUsageUsec     uint64 `json:"cpuUsageUsec"`
	NetworkRxBytes   uint64 `json:"networkRxBytes"`
	NetworkTxBytes   uint64 `json:"networkTxBytes"`
	BlockReadBytes   uint64 `json:"blockReadBytes"`
	BlockWriteBytes  uint64 `json:"blockWriteBytes"`
	NumProcesses     uint64 `json:"numProcesses"`
}
