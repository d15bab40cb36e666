package role

import (
	"strings"
	"testing"
)

func TestABridgeIsCheckedAtTheStart(t *testing.T) {
	for want, b := range map[string]Bridge{
		"give both or none":            {Apps: []string{"shop/*"}},
		"no application is named":      {ZooKeeper: "zk"},
		`"shop" names no applications`: {ZooKeeper: "zk", Apps: []string{"shop"}},
		"write it as host:2181":        {ZooKeeper: "zk:2181/x", Apps: []string{"shop/*"}},
		`"a/b" is no name of a bridge`: {ZooKeeper: "zk", Apps: []string{"shop/*"}, Name: "a/b"},
	} {
		if err := b.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
