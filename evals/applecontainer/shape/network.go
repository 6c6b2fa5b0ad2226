package shape

// Network is an element of network list and network inspect.
type Network struct {
	ID            string               `json:"id"`
	Configuration NetworkConfiguration `json:"configuration"`
	Status        NetworkStatus        `json:"status"`
}

// NetworkConfiguration is a network as it was asked for. The subnets are
// present only if they were.
type NetworkConfiguration struct {
	Name         string            `json:"name"`
	Mode         string            `json:"mode"`
	CreationDate string            `json:"creationDate"`
	Labels       map[string]string `json:"labels"`
	Plugin       string            `json:"plugin"`
	Options      map[string]string `json:"options"`
	IPv4Subnet   string            `json:"ipv4Subnet,omitempty"`
	IPv6Subnet   string            `json:"ipv6Subnet,omitempty"`
}

// NetworkStatus is what a network has.
type NetworkStatus struct {
	IPv4Subnet  string `json:"ipv4Subnet"`
	IPv4Gateway string `json:"ipv4Gateway"`
	IPv6Subnet  string `json:"ipv6Subnet,omitempty"`
}

// The modes of a network.
const (
	ModeNAT      = "nat"
	ModeHostOnly = "hostOnly"
)

// RoleLabel marks what the program made for itself.
const RoleLabel = "com.apple.container.resource.role"
