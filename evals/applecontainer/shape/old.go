package shape

import "time"

// appleEpoch is 2001-01-01, from which dates were counted before 1.0.0.
const appleEpoch = 978307200

// OldContainer is a container as releases before 1.0.0 printed it: the state as
// a word at the top and dates as seconds.
func OldContainer(c Container) map[string]any {
	old := map[string]any{
		"status":        c.Status.State,
		"configuration": c.Configuration,
		"networks":      c.Status.Networks,
	}
	if seconds, ok := oldDate(c.Status.StartedDate); ok {
		old["startedDate"] = seconds
	}
	return old
}

// OldNetwork is a network as releases before 1.0.0 printed it.
func OldNetwork(n Network) map[string]any {
	config := map[string]any{"id": n.ID, "mode": n.Configuration.Mode, "labels": n.Configuration.Labels}
	if seconds, ok := oldDate(n.Configuration.CreationDate); ok {
		config["creationDate"] = seconds
	}
	return map[string]any{
		"id": n.ID, "state": StateRunning, "config": config,
		"status": map[string]any{"address": n.Status.IPv4Subnet, "gateway": n.Status.IPv4Gateway},
	}
}

// OldImage is an image as releases before 1.0.0 printed it: the index beside
// the name and no digest of a variant.
func OldImage(i Image) map[string]any {
	variants := make([]map[string]any, 0, len(i.Variants))
	for _, v := range i.Variants {
		variants = append(variants, map[string]any{"platform": v.Platform, "size": v.Size, "config": v.Config})
	}
	return map[string]any{"name": i.Configuration.Name, "index": i.Configuration.Descriptor, "variants": variants}
}

func oldDate(date string) (int64, bool) {
	t, err := time.Parse(time.RFC3339, date)
	return t.Unix() - appleEpoch, err == nil
}
