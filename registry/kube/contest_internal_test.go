package kube

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The first loss is mended at once. Those that follow soon wait longer each time, up to
// a limit, until what was written has stayed for a while.
func TestLossesInARowWaitLonger(t *testing.T) {
	var c contest
	now := time.Now()
	var pauses []time.Duration
	for range 13 {
		c.lost(now, now.Add(time.Second))
		pauses = append(pauses, c.pause)
	}
	if pauses[0] != 0 || pauses[1] != firstContestWait || pauses[12] != maxContestWait {
		t.Errorf("pauses %v", pauses)
	}
	for i := 1; i < len(pauses); i++ {
		if pauses[i] != min(2*pauses[i-1], maxContestWait) && i > 1 {
			t.Errorf("pause %d is %v, after %v", i, pauses[i], pauses[i-1])
		}
	}
	if c.lost(now, now.Add(calm)); c.pause != 0 || c.losses != 1 {
		t.Errorf("after a calm: %+v", c)
	}
}

func TestManagersOfAnAnnotation(t *testing.T) {
	at := func(minute int) *metav1.Time {
		at := metav1.NewTime(time.Unix(int64(60*minute), 0))
		return &at
	}
	fields := func(json string) *metav1.FieldsV1 { return &metav1.FieldsV1{Raw: []byte(json)} }
	managed := []metav1.ManagedFieldsEntry{
		{Manager: "kubelet", Time: at(9), FieldsV1: fields(`{"f:status":{}}`)},
		{Manager: "early", Time: at(1), FieldsV1: fields(`{"f:metadata":{"f:annotations":{".":{},"f:io.dubbo/metadata":{}}}}`)},
		{Manager: "late", Time: at(2), FieldsV1: fields(`{"f:metadata":{"f:annotations":{"f:weirmesh.io/instance":{},"f:io.dubbo/metadata":{}}}}`)},
		{Manager: "broken", Time: at(3), FieldsV1: fields(`{"f:metadata":`)},
		{Manager: "empty", Time: at(3)},
	}
	for want, keys := range map[string][]string{
		"late, early": {AnnotationMetadata}, "late": {AnnotationInstance}, "": {"example.com/other"},
	} {
		if got := managers(managed, keys...); got != want {
			t.Errorf("%v is held by %q, want %q", keys, got, want)
		}
	}
}
