package rpc

import (
	"errors"

	"dubbo.apache.org/dubbo-go/v3"
)

// withKubernetes joins Weir's registry.
func withKubernetes() (dubbo.InstanceOption, error) {
	return nil, errors.New("this build has no -registry kubernetes; use -registry direct")
}
