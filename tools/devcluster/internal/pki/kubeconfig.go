package pki

import (
	"encoding/json"
	"fmt"
)

// kubeconfig is the part of client-go's format that is used here. It is
// written as JSON, which is YAML.
type kubeconfig struct {
	APIVersion     string              `json:"apiVersion"`
	Kind           string              `json:"kind"`
	CurrentContext string              `json:"current-context"`
	Clusters       []kubeconfigCluster `json:"clusters"`
	Users          []kubeconfigUser    `json:"users"`
	Contexts       []kubeconfigContext `json:"contexts"`
}

type kubeconfigCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type kubeconfigUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

type kubeconfigContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

func (p Plan) kubeconfig(user string, authority, holder *pair) ([]byte, error) {
	key, err := keyPEM(holder.key)
	if err != nil {
		return nil, fmt.Errorf("write a kubeconfig for %s: %w", user, err)
	}
	// The names are the cluster's, so that several kubeconfigs merge.
	userName := p.Name + "-" + user
	k := kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: p.Name,
		Clusters: make([]kubeconfigCluster, 1), Users: make([]kubeconfigUser, 1), Contexts: make([]kubeconfigContext, 1),
	}
	k.Clusters[0].Name = p.Name
	k.Clusters[0].Cluster.Server = p.Server
	k.Clusters[0].Cluster.CA = authority.certPEM()
	k.Users[0].Name = userName
	k.Users[0].User.Cert = holder.certPEM()
	k.Users[0].User.Key = key
	k.Contexts[0].Name = p.Name
	k.Contexts[0].Context.Cluster = p.Name
	k.Contexts[0].Context.User = userName
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write a kubeconfig for %s: %w", user, err)
	}
	return append(b, '\n'), nil
}
