// Package servicemode tests Service mode on a real kube-proxy in each of its modes:
// over how many pods the connections of a consumer spread, and how many there are,
// as pods come and go. Its test binary is what runs in the pods.
package servicemode
