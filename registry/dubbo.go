package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Keys of Instance.Metadata that Dubbo defines and Weir reads. Everything else
// in the map is carried as it is.
const (
	// KeyEndpoints holds a JSON list of {"port":20000,"protocol":"tri"}.
	KeyEndpoints = "dubbo.endpoints"
	// KeyRevision holds the revision of what the instance offers.
	KeyRevision = "dubbo.metadata.revision"
	// KeyTag holds the traffic tag.
	KeyTag = "dubbo.tag"
)

// DubboEndpoints reads the endpoints that metadata names under KeyEndpoints,
// sorted by port and then protocol, without repeats. Metadata that names none
// has none. The error is written for the instance's owner.
func DubboEndpoints(metadata map[string]string) ([]Endpoint, error) {
	text := metadata[KeyEndpoints]
	if text == "" {
		return nil, nil
	}
	var entries []struct {
		Port     int    `json:"port"`
		Protocol string `json:"protocol"`
	}
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		if len(text) > 60 {
			text = text[:60] + "…"
		}
		return nil, fmt.Errorf(`%s is %q, which is no JSON list like [{"port":20000,"protocol":"tri"}]`, KeyEndpoints, text)
	}
	endpoints := make([]Endpoint, 0, len(entries))
	for _, e := range entries {
		if e.Port < 1 || e.Port > 65535 {
			return nil, fmt.Errorf("%s names port %d, which is none", KeyEndpoints, e.Port)
		}
		if e.Protocol == "" {
			return nil, fmt.Errorf("%s names no protocol for port %d", KeyEndpoints, e.Port)
		}
		endpoints = append(endpoints, Endpoint{Protocol: e.Protocol, Port: uint16(e.Port)})
	}
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Protocol, b.Protocol))
	})
	return slices.Compact(endpoints), nil
}
