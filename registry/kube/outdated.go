package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weirmesh/weir/registry"
)

// A cluster may have definitions of an older version of Weir: without the status
// subresource, or without a field of it. What they do know is written all the same.

// errOldDefinition is the cause of what such definitions refuse.
var errOldDefinition = errors.New("it is older than this version of Weir")

// undeclared finds the fields in what the API server says of an apply whose fields the
// definition does not have. It refuses the whole.
var undeclared = regexp.MustCompile(`(\.[A-Za-z][\w.]*): field not declared in schema`)

// statusField finds the fields of a status among them.
var statusField = regexp.MustCompile(`\.status\.(\w+)`)

// explainDefinition is for fields that only an older definition refuses; nil where err
// is something else.
func explainDefinition(err error, a attempt) *registry.Error {
	var fields []string
	for _, m := range undeclared.FindAllStringSubmatch(err.Error(), -1) {
		fields = append(fields, m[1])
	}
	if len(fields) == 0 || a.resource.version != groupVersion {
		return nil
	}
	return outdatedError(fmt.Sprintf("the definition of %s in the cluster does not know %s", a.resource.full(), strings.Join(fields, ", ")))
}

func noSubresource(r *resource) *registry.Error {
	return outdatedError(fmt.Sprintf("the definition of %s in the cluster has no status subresource", r.full()))
}

func outdatedError(message string) *registry.Error {
	return &registry.Error{Code: registry.Invalid, Message: message, Err: errOldDefinition, Fix: "install this version's: weir manifests | kubectl apply --server-side -f -"}
}

// stands reports whether an object is there whose status is not found. It may be
// listed, by its role, but not be got.
func (c *Caretaker) stands(ctx context.Context, s statusWrite) bool {
	list, err := c.hub.client.list(ctx, s.task.resource, s.namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
	if err != nil {
		return false
	}
	found := false
	err = meta.EachListItem(list, func(o runtime.Object) error {
		object, err := meta.Accessor(o)
		found = found || err == nil && object.GetUID() == s.uid
		return err
	})
	return err == nil && found
}

// lackingFields stands, in the place of a UID, for the fields of a status that a
// definition does not know.
const lackingFields = "fields"

// outdated notes what a definition does not know. That is told of the cluster, not of
// its namespaces.
func (c *Caretaker) outdated(what task, why *registry.Error) {
	t, uid := trouble{task: what}, ""
	for _, m := range statusField.FindAllStringSubmatch(why.Message, -1) {
		if c.lacking[what] == nil {
			c.lacking[what] = map[string]bool{}
		}
		c.lacking[what][m[1]] = true
		uid = lackingFields
	}
	c.round.failed[t] = why
	c.round.needed[laterKey{t, uid}] = true
	c.putOff(t, uid)
}

// fit leaves out of a status what the cluster's definition does not know, until it is
// time to try the whole again. It reports whether there is anything new in the rest.
func (c *Caretaker) fit(s statusWrite) (statusWrite, bool) {
	lacking := c.lacking[s.task]
	if lacking == nil {
		return s, true
	}
	key := laterKey{trouble{task: s.task}, lackingFields}
	c.round.needed[key] = true
	if l := c.later[key]; l == nil || !time.Now().Before(l.due) {
		delete(c.lacking, s.task)
		return s, true
	}
	wanted, old := without(s.status, lacking), without(s.old, lacking)
	s.status = wanted
	return s, !reflect.DeepEqual(wanted, old)
}

// without is a status without some of its fields.
func without(status any, fields map[string]bool) map[string]any {
	rest := map[string]any{}
	if text, err := json.Marshal(status); err == nil {
		_ = json.Unmarshal(text, &rest) // of what was just made
	}
	for field := range fields {
		delete(rest, field)
	}
	return rest
}
