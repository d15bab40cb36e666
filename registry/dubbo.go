package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	// KeyMetadataService holds a JSON map of where the instance tells what it offers:
	// {"port":"20000","protocol":"dubbo"}.
	KeyMetadataService = "dubbo.metadata-service.url-params"
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

// DubboMetadataService reads where metadata says that the instance tells what it
// offers. The error is written for the instance's owner.
func DubboMetadataService(metadata map[string]string) (Endpoint, error) {
	text := metadata[KeyMetadataService]
	if text == "" {
		return Endpoint{}, errors.New("it names no metadata service")
	}
	var at struct {
		Port     any    `json:"port"` // Java writes a string
		Protocol string `json:"protocol"`
	}
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		return Endpoint{}, fmt.Errorf(`%s is no JSON map like {"port":"20000","protocol":"dubbo"}`, KeyMetadataService)
	}
	port, err := strconv.ParseUint(fmt.Sprint(at.Port), 10, 16)
	if err != nil || port == 0 || at.Protocol == "" {
		return Endpoint{}, fmt.Errorf("%s names no port and protocol", KeyMetadataService)
	}
	return Endpoint{Protocol: at.Protocol, Port: uint16(port)}, nil
}

// DubboWeight returns the share of calls that a service's parameters name; named is
// unset where they name none. dubbo-go writes 0 where none was configured; of Java's,
// 0 is a wish for no calls.
func DubboWeight(params map[string]string) (weight int, named bool) {
	n, err := strconv.Atoi(params["weight"])
	if err != nil || n < 0 || n == 0 && strings.HasPrefix(params["release"], "dubbo-golang") {
		return DefaultWeight, false
	}
	return n, true
}

// WeightOf returns the share of calls of a service at the instance. own is what the
// service names, nil where it names nothing. The instance's word holds before it, but
// for the default, which says nothing.
func (i *Instance) WeightOf(own *int) int {
	if w := i.Details.Weight; w > 0 && w != DefaultWeight || own == nil {
		return cmp.Or(i.Details.Weight, DefaultWeight)
	}
	return *own
}
